//! Errors of commands: the cause, the place and the next step.

use std::{fmt::Display, io, path::Path};

use runner_engine::EngineError;
#[cfg(feature = "fleet")]
use runner_fleet::FleetError;
use runner_model::visible::{shown_path, visible, visible_line};
use runner_model::{exit::Exit, status::RunVerdict, units::grouped};
use runner_operations::settings::SettingsError;
use runner_record::{RecordError, ResultsRoot, advice};
use runner_report::{RunList, RunSummary, phrases};
use runner_scenario::{Problems, similar};

use super::{layout::Table, out, style};

/// Runs that a message lists.
const MAX_CANDIDATES: usize = 5;

/// Formats the message of a mistake of the user, see [`CommandError::usage`].
macro_rules! mistake {
    ($($text:tt)+) => { $crate::text::CommandError::usage(format_args!($($text)+)) };
}
pub(crate) use mistake;

/// An error with its exit code.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    /// The message with colours and `error:`.
    text: String,
}

impl CommandError {
    /// A mistake of the user; nothing was created. Lines after the first contain the next steps.
    pub fn usage(text: impl Display) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// A file that could not be written.
    pub fn cannot_write(path: &Path, error: &io::Error) -> Self {
        let advice = advice(path, error);
        Self::new(Exit::Storage, format!("cannot write {}: {error}{advice}", shown_path(path)))
    }

    /// A process that could not be started, or ended before its run existed.
    pub fn failed(text: impl Display) -> Self {
        Self::new(Exit::Failed, text)
    }

    pub fn new(exit: Exit, text: impl Display) -> Self {
        let text = visible(&text.to_string()).replace('\n', "\n  ");
        Self { exit, text: format!("{} {text}", style::error("error:")) }
    }

    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Returns the message for a document: without colours and without `error:`.
    pub fn message(&self) -> String {
        let plain = style::plain(&self.text);
        plain.strip_prefix("error: ").unwrap_or(&plain).to_owned()
    }

    /// Returns the message for a terminal: with colours and `error:`.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let exit = error.exit();
        match error {
            EngineError::Scenario(problems) => Self { exit, ..problems.into() },
            EngineError::Several(errors) => {
                let texts: Vec<_> =
                    errors.into_iter().map(|error| Self::from(error).text).collect();
                Self { exit, text: texts.join("\n") }
            }
            EngineError::Record(RecordError::Io { ref path, ref source, .. })
                if source.kind() == io::ErrorKind::NotADirectory =>
            {
                let file = path.ancestors().find(|path| path.is_file()).unwrap_or(path);
                Self::usage(format!("a folder is needed; {} is a file", shown_path(file)))
            }
            EngineError::Record(error) => Self::new(exit, record_message(&error)),
            EngineError::NotOneIncomplete { ref root, ref candidates, ref skipped } => {
                let message = not_one_incomplete(root, candidates, skipped);
                Self::new(exit, message.unwrap_or_else(|| error.to_string()))
            }
            error => Self::new(exit, error),
        }
    }
}

#[cfg(feature = "fleet")]
impl From<FleetError> for CommandError {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::Usage(text) => Self::usage(text),
            FleetError::Unreachable(text) | FleetError::Refused(text) => Self::failed(text),
        }
    }
}

impl From<SettingsError> for CommandError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Record(error) => error.into(),
            SettingsError::Problems(problems) => problems.into(),
        }
    }
}

impl From<RecordError> for CommandError {
    fn from(error: RecordError) -> Self {
        EngineError::from(error).into()
    }
}

/// Problems of a file are rendered with the lines of the file, for the width of the screen.
impl From<Problems> for CommandError {
    fn from(problems: Problems) -> Self {
        let width = out::message_columns().unwrap_or(200);
        let text = problems.render(out::has_coloured_messages(), width);
        Self { exit: Exit::Usage, text: text.trim_end().to_owned() }
    }
}

/// Returns the message, with a list of runs if a name matches no run or several.
fn record_message(error: &RecordError) -> String {
    let (name, root, candidates) = match error {
        RecordError::Unknown { name, root } => (name, root, None),
        RecordError::Ambiguous { name, root, candidates } => (name, root, Some(candidates)),
        error => return error.to_string(),
    };
    let list = ResultsRoot::existing(root).and_then(|root| RunList::read(&root));
    let Ok(RunList { runs, unreadable, .. }) = list else {
        return error.to_string();
    };
    match candidates {
        _ if runs.is_empty() && !unreadable.is_empty() => {
            let runs = unreadable.iter().map(|run| format!("\n  {}: {}", run.run, run.problem));
            format!("no run in {} can be read{}", shown_path(root), runs.collect::<String>())
        }
        _ if runs.is_empty() => no_runs(root),
        None => {
            list_instead(name).or_else(|| group_instead(name, root, &runs)).unwrap_or_else(|| {
                let head = format!("no run matches `{}`; the newest runs are", visible_line(name));
                let meant = meant(name, &runs).map(|meant| format!("\n{meant}"));
                with_runs(&head, runs.iter()) + &meant.unwrap_or_default()
            })
        }
        Some(candidates) => {
            let head = format!("`{}` matches {} runs", visible_line(name), candidates.len());
            with_runs(&head, runs.iter().filter(|run| candidates.contains(&run.head.id)))
        }
    }
}

/// Returns the name of a newest run that a name may mean: the name or file of its scenario, or a slip of `latest`.
fn meant(name: &str, runs: &[RunSummary]) -> Option<String> {
    let file = name.strip_suffix(".toml").and_then(|path| path.rsplit('/').next());
    let own = runs.iter().find(|run| *run.head.scenario == *file.unwrap_or(name));
    let mut known = runs.iter().map(|run| format!("latest:{}", run.head.scenario));
    let near = match (own, file) {
        (Some(run), _) => format!("latest:{}", run.head.scenario),
        (None, Some(_)) => {
            let example = known.next()?;
            return Some(format!(
                "the newest run of a scenario: `latest:NAME`, such as `{}`",
                visible_line(&example)
            ));
        }
        (None, None) => {
            let known: Vec<_> = ["latest".to_owned()].into_iter().chain(known).collect();
            similar(name, known.iter().map(String::as_str))?.to_owned()
        }
    };
    Some(format!("did you mean `{}`?", visible_line(&near)))
}

/// Returns a message if a name is the path of a results root.
fn list_instead(name: &str) -> Option<String> {
    let root = ResultsRoot::existing(Path::new(name)).ok()?;
    let has_runs = !RunList::read(&root).ok()?.runs.is_empty();
    has_runs.then(|| {
        let list = root.command(&["list"]);
        format!("`{}` is a folder of runs, not a run\nlist its runs: {list}", visible_line(name))
    })
}

/// Returns a message if a name is a part of a group's id.
fn group_instead(name: &str, root: &Path, runs: &[RunSummary]) -> Option<String> {
    let mut groups = runs.iter().filter_map(|run| run.head.group.as_ref());
    let group = groups.find(|group| group.id.contains(name))?;
    Some(needs_one_run(&ResultsRoot::existing(root).ok()?, &group.id))
}

/// Returns the message about a group that a command about one run got.
pub fn needs_one_run(root: &ResultsRoot, group: &str) -> String {
    let list = root.command(&["list", "--group", group]);
    let group = visible_line(group);
    format!("`{group}` is a group; name one of its runs\nlist its runs: {list}")
}

/// Returns the message about a results root without runs.
pub fn no_runs(root: &Path) -> String {
    if !root.is_dir() {
        return format!("there are no runs: the folder {} does not exist", shown_path(root));
    }
    format!("there are no runs in {}\nstart one: runner exec SCENARIO", shown_path(root))
}

/// Returns the message of a `resume` without a run. `None` if the runs cannot be listed.
fn not_one_incomplete(root: &Path, candidates: &[String], skipped: &[String]) -> Option<String> {
    let results = ResultsRoot::existing(root).ok()?;
    let runs = RunList::read(&results).ok()?.runs;
    let mut lines = match candidates.len() {
        0 if runs.is_empty() => vec![no_runs(root)],
        0 => {
            let head = format!("no run in {} is incomplete; the newest runs are", shown_path(root));
            let rerun = results.command(&["resume", "RUN", "--rerun", "failed"]);
            let rerun = format!("to run failed trials of one again: {rerun}");
            let lost = runs.iter().find(|run| run.head.verdict == RunVerdict::Damaged);
            let lost = lost
                .map(|run| format!("to replace lost results: {}", run.resume_command(&run.short)));
            [with_runs(&head, runs.iter()), rerun].into_iter().chain(lost).collect()
        }
        several => {
            let head = format!("{several} runs are incomplete");
            let chosen = runs.iter().filter(|run| candidates.contains(&run.head.id));
            let resume =
                format!("to continue one of them: {}", results.command(&["resume", "RUN"]));
            let list = results.command(&["list", "--status", "incomplete"]);
            let all = (several > MAX_CANDIDATES).then(|| format!("to list all of them: {list}"));
            [with_runs(&head, chosen), resume].into_iter().chain(all).collect()
        }
    };
    lines.extend(skipped.iter().cloned());
    Some(lines.join("\n"))
}

/// Formats the first of these runs, each with its short id, scenario, progress, status and start.
pub fn with_runs<'a>(head: &str, runs: impl Iterator<Item = &'a RunSummary>) -> String {
    let mut table = Table::new([("", 0), ("", 2), (">", 0), ("", 0), ("", 1)]);
    for run in runs.take(MAX_CANDIDATES) {
        let counts = run.head.counts;
        table.row([
            run.short.clone(),
            run.head.scenario.clone(),
            format!("{}/{}", grouped(counts.done.done()), grouped(counts.planned)),
            phrases::status_text(&run.head),
            phrases::clock(run.head.started_at),
        ]);
    }
    // Two columns for the indent.
    let columns = out::message_columns().map(|columns| columns.saturating_sub(2));
    format!("{head}:\n{}", table.render(columns))
}
