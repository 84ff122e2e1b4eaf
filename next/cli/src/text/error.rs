//! Why a command could not do its work: what, where, and what to do.

use std::{fmt::Display, path::Path};

use runner_engine::EngineError;
use runner_model::{exit::Exit, visible::visible};
use runner_record::{RecordError, ResultsRoot, now};
use runner_report::{RunList, RunSummary, phrases};
use runner_scenario::Problems;

use super::{layout::Table, out, style};

/// Runs that a message names.
const MOST_CANDIDATES: usize = 5;

/// Why a command could not do its work.
#[derive(Debug)]
pub struct CommandError {
    exit: Exit,
    /// As it is printed.
    text: String,
}

impl CommandError {
    /// A mistake of the user; nothing was created. The lines behind the first say what to do.
    pub fn usage(text: impl Display) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// A file that could not be written.
    pub fn cannot_write(path: &Path, error: impl Display) -> Self {
        let text = format!("cannot write {}: {error}", path.display());
        Self::new(Exit::Storage, text)
    }

    /// A process that could not be started, or has ended before there was a run.
    pub fn failed(text: impl Display) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// With this exit code.
    pub fn new(exit: Exit, text: impl Display) -> Self {
        let text = format!(
            "{} {}",
            style::error("error:"),
            visible(&text.to_string()).replace('\n', "\n  ")
        );
        Self { exit, text }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// For a document: without colours, and without the word before it.
    pub fn message(&self) -> String {
        let plain = style::plain(&self.text);
        plain.strip_prefix("error: ").unwrap_or(&plain).to_owned()
    }

    /// As it is printed.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let exit = error.exit();
        match error {
            EngineError::Scenario(problems) => problems.into(),
            EngineError::Several(errors) => {
                let texts = errors.into_iter().map(|error| Self::from(error).text);
                let text = texts.collect::<Vec<_>>().join("\n");
                Self { exit, text }
            }
            EngineError::Record(error) => Self::new(exit, of_record(&error)),
            EngineError::NothingSelected => Self::new(
                exit,
                "no test was selected\n`--test`, `--provider` and `--tag` leave nothing of the scenario, or its lists have no tests that their `select` and `exclude` leave\nits trials are listed by `runner exec --dry-run SCENARIO`",
            ),
            error => Self::new(exit, error),
        }
    }
}

impl From<RecordError> for CommandError {
    fn from(error: RecordError) -> Self {
        EngineError::from(error).into()
    }
}

/// Problems of a file that the user has written are laid out for the screen.
impl From<Problems> for CommandError {
    fn from(problems: Problems) -> Self {
        let width = out::message_columns().unwrap_or(200);
        let text = problems.render(out::has_coloured_messages(), width);
        Self { exit: Exit::Usage, text: text.trim_end().to_owned() }
    }
}

/// What is wrong with a results root; of names that do not name one run, which runs there are.
fn of_record(error: &RecordError) -> String {
    let (name, root, meant) = match error {
        RecordError::Unknown { name, root } => (name, root, None),
        RecordError::Ambiguous { name, root, candidates } => (name, root, Some(candidates)),
        error => return error.to_string(),
    };
    let list = ResultsRoot::existing(root).and_then(|root| RunList::read(&root));
    let Ok(RunList { runs, .. }) = list else {
        return error.to_string();
    };
    match meant {
        _ if runs.is_empty() => {
            let root = root.display();
            format!("there are no runs in {root}\nmake one: runner exec SCENARIO")
        }
        None => {
            let head = format!("there is no run `{name}`; the newest runs are");
            with_runs(&head, runs.iter())
        }
        Some(meant) => {
            let head = format!("`{name}` could be one of {} runs", meant.len());
            with_runs(&head, runs.iter().filter(|run| meant.contains(&run.run)))
        }
    }
}

/// A message with the first of these runs.
fn with_runs<'a>(head: &str, runs: impl Iterator<Item = &'a RunSummary>) -> String {
    let now = now();
    let mut table = Table::new([("", 0); 3]);
    for run in runs.take(MOST_CANDIDATES) {
        let standing = phrases::standing(run);
        let started = phrases::ago(now, run.started_at);
        let standing = format!("{standing}, {started}");
        table.row([run.short.clone(), run.scenario.clone(), standing]);
    }
    format!("{head}:\n{}", table.render(None))
}
