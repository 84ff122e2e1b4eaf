//! `queue` and `exec --queue`: what waits, and what came of changing that.

use std::path::Path;

use super::{
    Output, format,
    table::{Cell, Column, Table},
};
use crate::{
    model::Actor,
    session::ActiveRuns,
    view::{QueueChange, QueueStep, QueuedRun, RunQueue},
};

/// Prints what waits in a results root, in order, and which runs are active.
pub fn print_queue(queue: &RunQueue, root: &Path, output: &Output) {
    for odd in &queue.unreadable {
        let path = format::path(&odd.path);
        output.warn(&format!("request `{path}` cannot be read: {}", odd.error));
    }
    if queue.requests.is_empty() {
        output.plain(&format!("nothing waits in `{}`", format::path(root)));
    } else {
        output.data(&table(queue, output.columns()));
    }
    for refused in &queue.requests {
        if let Some(error) = &refused.error {
            output.warn(&format!("{} cannot be started: {error}", short(refused)));
        }
    }
    let most = queue.max_active_runs;
    let active: Vec<_> = queue.active.iter().map(|run| run.id.as_str()).collect();
    output.hint(&match active[..] {
        [] => format!("no run is active, of at most {most}"),
        _ => format!(
            "{} active, of at most {most}: {}",
            format::plural(active.len() as u64, "run"),
            active.join(", ")
        ),
    });
}

/// Prints what was done to a request.
pub fn print_queue_change(change: &QueueChange, output: &Output) {
    let request = &change.request;
    let place = match (change.result, request.place) {
        ("removed", _) | (_, None) => String::new(),
        (_, Some(1)) => ", the first".to_owned(),
        (_, Some(place)) => format!(
            ", after {}",
            format::plural(place as u64 - 1, "other request")
        ),
    };
    output.plain_data(&format!("{} {}{place}", change.result, request.id));
}

/// Says who starts what waits.
pub fn print_queue_hint(output: &Output) {
    output.hint("`runner queue` lists what waits; `runner queue work` or a server starts it");
}

/// Prints what became of a request that somebody has tried to start.
pub fn print_queue_step(step: &QueueStep, is_json: bool, output: &Output) {
    if is_json {
        output.line(step);
        return;
    }
    match (&step.run, &step.error) {
        (Some(run), _) => output.plain_data(&format!("started {run}")),
        (None, Some(error)) => output.warn(&format!(
            "request {} was {}: {error}",
            step.request, step.result
        )),
        (None, None) => output.plain_data("nothing was left to do"),
    }
}

/// Says which runs keep what waits from being started.
pub fn print_busy(active: &ActiveRuns, output: &Output) {
    let runs: Vec<_> = active.runs.iter().map(|run| run.id.as_str()).collect();
    let starting = match active.starting {
        0 => String::new(),
        count => format!(" and {count} about to be"),
    };
    output.plain(&format!(
        "{} active{starting}, of at most {}: {}",
        format::plural(runs.len() as u64, "run"),
        active.max,
        runs.join(", ")
    ));
}

fn table(queue: &RunQueue, width: Option<usize>) -> String {
    let mut table = Table::new([
        Column::new("").right(),
        Column::new("request").brief(0),
        Column::new("priority").right().go(6),
        Column::new("what").cut(4, 12),
        Column::new("by").go(5),
        Column::new("since").brief(1).go(3),
    ]);
    for request in &queue.requests {
        let place = match request.place {
            Some(place) => place.to_string(),
            None => request.state.to_owned(),
        };
        table.row([
            place.into(),
            Cell::new(request.id.as_str()).or(short(request)),
            request.priority.to_string().into(),
            match request.command {
                "resume" => format!("resume {}", request.what).into(),
                _ => request.what.as_str().into(),
            },
            Actor::from(request.by.clone()).to_string().into(),
            Cell::new(format::local(request.since)).or(format::local_minute(request.since)),
        ]);
    }
    table.fitted(width)
}

/// The end of a request's id, which tells it from others.
fn short(request: &QueuedRun) -> &str {
    request.id.rsplit('-').next().unwrap_or(&request.id)
}
