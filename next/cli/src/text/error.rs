//! Why a command could not do its work: what, where, and what to do.

use std::path::Path;

use runner_engine::EngineError;
use runner_model::{Time, exit::Exit, visible::visible};
use runner_record::{RecordError, ResultsRoot, now};
use runner_report::{RunList, RunSummary};
use runner_scenario::Problems;

use super::{out::Out, style, summary};

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
    pub fn usage(text: &str) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// A file that could not be written.
    pub fn storage(text: &str) -> Self {
        Self::new(Exit::Storage, text)
    }

    /// A process that could not be started, or has ended before there was a run.
    pub fn failed(text: &str) -> Self {
        Self::new(Exit::Failed, text)
    }

    /// A run that another process still works on.
    pub fn held(text: &str) -> Self {
        Self::new(Exit::Held, text)
    }

    /// What `engine` says of a results root, with the problems of scenarios laid out for the screen.
    pub fn of_engine(error: EngineError, root: &Path, out: &Out) -> Self {
        let exit = error.exit();
        match error {
            EngineError::Scenario(problems) => Self::of_problems(&problems, out),
            EngineError::Several(errors) => {
                let texts = errors.into_iter();
                let texts = texts.map(|error| Self::of_engine(error, root, out).text);
                let text = texts.collect::<Vec<_>>().join("\n");
                Self { exit, text }
            }
            EngineError::Record(error) => Self::of_record(error, root),
            EngineError::NothingSelected => Self::new(
                exit,
                "no test was selected\n`--test`, `--provider` and `--tag` leave nothing of the scenario",
            ),
            EngineError::NothingMeant(_) | EngineError::Stopped(_) => {
                Self::new(exit, &error.to_string())
            }
            EngineError::Usage(text) | EngineError::Machine(text) => Self::new(exit, &text),
        }
    }

    /// Problems of a file that the user has written, laid out for the screen.
    pub fn of_problems(problems: &Problems, out: &Out) -> Self {
        let width = out.message_columns().unwrap_or(200);
        let text = problems.render(out.has_coloured_messages(), width);
        Self {
            exit: Exit::Usage,
            text: text.trim_end().to_owned(),
        }
    }

    /// What `record` says of a results root; of names that do not name one run, which runs there are.
    pub fn of_record(error: RecordError, root: &Path) -> Self {
        let now = now();
        let runs = || {
            let list = RunList::read(&ResultsRoot::existing(root).ok()?).ok()?;
            Some(list.runs)
        };
        let text = match &error {
            RecordError::Unknown(name) => runs().map(|runs| {
                if runs.is_empty() {
                    let root = root.display();
                    return format!("there are no runs in {root}\nmake one: runner exec SCENARIO");
                }
                let head = format!("there is no run `{name}`; the newest runs are");
                with_runs(&head, runs.iter(), now)
            }),
            RecordError::Ambiguous { name, candidates } => runs().map(|runs| {
                let head = format!("`{name}` could be one of {} runs", candidates.len());
                let runs = runs.iter().filter(|run| candidates.contains(&run.run));
                with_runs(&head, runs, now)
            }),
            _ => None,
        };
        let text = text.unwrap_or_else(|| error.to_string());
        Self::new(EngineError::from(error).exit(), &text)
    }

    fn new(exit: Exit, text: &str) -> Self {
        let text = format!(
            "{} {}",
            style::error("error:"),
            visible(text).replace('\n', "\n  ")
        );
        Self { exit, text }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// As it is printed.
    pub fn text(&self) -> String {
        self.text.clone()
    }
}

/// A message with the first of these runs.
fn with_runs<'a>(head: &str, runs: impl Iterator<Item = &'a RunSummary>, now: Time) -> String {
    let line = |run: &RunSummary| {
        let standing = summary::standing_words(run);
        let started = summary::ago(now, run.started_at);
        format!("\n{}  {}  {standing}, {started}", run.short, run.scenario)
    };
    let lines: String = runs.take(MOST_CANDIDATES).map(line).collect();
    format!("{head}:{lines}")
}
