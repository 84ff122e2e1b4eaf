//! `worker` and `engine`: who makes attempts for others, and over what.

use owo_colors::OwoColorize as _;

use super::{
    Output,
    format::{self, visible, visible_line},
    table::{Column, Table},
};
use crate::{
    fleet::WorkerTold,
    model::ShownDuration,
    session::Begin,
    view::{EngineCleaning, EngineReport, ListedWorker, WorkerList},
};

/// Says what a worker does. What others have said in it begins no line, and steers nothing.
pub fn worker_line(told: WorkerTold<'_>) -> String {
    match told {
        WorkerTold::Waits { engine, name } => format!("{name} waits for runs at {engine}"),
        WorkerTold::Begins {
            run,
            scenario,
            processes,
            slots,
        } => {
            let processes = match processes {
                1 => "one process".to_owned(),
                several => format!("{several} processes"),
            };
            format!(
                "makes attempts of {} ({}): {slots} at once, in {processes}",
                visible_line(run),
                visible_line(scenario)
            )
        }
        WorkerTold::Declines { run, reason } => {
            format!(
                "makes no attempts of {}: {}",
                visible_line(run),
                words(reason)
            )
        }
        WorkerTold::Lost { words: said } => {
            format!("a process has ended{}; another one is started", words(said))
        }
        WorkerTold::SetAside { run, why } => format!(
            "{} {} has set this worker aside, and goes on with others: {}\n  \
             mend that and start this worker again, and it makes attempts of that run again; those of other runs it \
             makes as before",
            "warning:".yellow().bold(),
            visible_line(run),
            words(why)
        ),
        WorkerTold::Ends { run } => format!("is done with {}", visible_line(run)),
        WorkerTold::Leaves => "makes what it has begun, and nothing more; Ctrl-C again ends that"
            .dimmed()
            .to_string(),
    }
}

/// What somebody else has said.
fn words(text: &str) -> String {
    visible(text).replace('\n', "\n  ")
}

/// How many attempts of a session run at once.
pub(super) fn how_many(begin: &Begin<'_>) -> String {
    match begin.is_spread {
        true => "by workers".to_owned(),
        false => format!("{} at a time", begin.jobs),
    }
}

/// Prints the workers at an engine.
pub fn print_workers(list: &WorkerList, is_json: bool, output: &Output) {
    if is_json {
        return output.document(list);
    }
    if list.workers.is_empty() {
        output.talk("no worker is there");
    } else {
        output.data(&table(&list.workers, output.columns()));
    }
    if !list.runs.is_empty() {
        let runs: Vec<_> = list.runs.iter().map(|run| visible_line(run)).collect();
        output.hint(&format!("would have workers: {}", runs.join(", ")));
    }
}

/// Prints what an engine is.
pub fn print_engine(report: &EngineReport, is_json: bool, output: &Output) {
    if is_json {
        return output.document(report);
    }
    let trip = std::time::Duration::from_secs_f64(report.round_trip_ms / 1e3);
    output.show(&format!(
        "{} is nats-server {}, {} away; it takes messages of {} and keeps {} of plugins and tests, {}",
        report.at,
        report.version,
        ShownDuration(trip),
        format::size(report.max_payload as u64),
        format::plural(report.blobs as u64, "file"),
        format::size(report.blob_bytes)
    ));
    match &report.problem {
        Some(problem) => output.warn(problem),
        None => output.talk("it can do what is needed"),
    }
}

/// Prints what was removed from an engine, or would be.
pub fn print_engine_cleaning(cleaning: &EngineCleaning, is_json: bool, output: &Output) {
    if is_json {
        return output.document(cleaning);
    }
    let what = format!(
        "{} of plugins and tests, {}",
        format::plural(cleaning.blobs as u64, "file"),
        format::size(cleaning.bytes)
    );
    if cleaning.blobs == 0 {
        output.talk("nothing to remove");
    } else if cleaning.is_dry_run {
        output.show(&format!("would remove {what}"));
        output.hint("nothing was removed; `--no-dry-run` removes");
    } else {
        output.show(&format!("removed {what}"));
    }
}

fn table(workers: &[ListedWorker], columns: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("worker").cut(3, 12),
        Column::new("machine").go(4),
        Column::new("cores").right().go(5),
        Column::new("labels").go(6),
        Column::new("run"),
    ]);
    for worker in workers {
        let labels = worker.labels.iter();
        let labels: Vec<_> = labels
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let run = worker.run.as_deref().unwrap_or(match worker.is_leaving {
            true => "leaves",
            false => "waits",
        });
        table.row([
            worker.name.as_str().into(),
            worker.host.as_str().into(),
            worker.cores.to_string().into(),
            labels.join(" ").into(),
            run.into(),
        ]);
    }
    table.fitted(columns)
}

#[cfg(test)]
mod tests {
    use super::worker_line;
    use crate::{fleet::WorkerTold, output::format::without_styles};

    #[test]
    fn what_a_run_says_begins_no_line_of_a_worker_and_steers_nothing() {
        let other = "other\u{1b}[31m\nwarning: news\r\u{9b}2J";
        for told in [
            WorkerTold::Begins {
                run: other,
                scenario: other,
                processes: 1,
                slots: 1,
            },
            WorkerTold::Declines {
                run: other,
                reason: other,
            },
            WorkerTold::Lost { words: other },
            WorkerTold::SetAside {
                run: other,
                why: other,
            },
            WorkerTold::Ends { run: other },
        ] {
            let line = worker_line(told);
            assert!(!line.contains("\u{1b}[31mw"), "{line:?}");
            let plain = without_styles(&line);
            let steers = |character: char| character != '\n' && character.is_control();
            assert!(!plain.contains(steers), "{plain:?}");
            assert!(!plain.contains("\nwarning"), "{plain:?}");
        }
    }
}
