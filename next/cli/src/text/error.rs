//! Why a command could not do its work: what, where, and what to do.

use std::path::Path;

use runner_engine::EngineError;
use runner_model::{Time, exit::Exit, visible::visible};
use runner_record::{RecordError, ResultsRoot};
use runner_report::RunList;

use super::{out::Out, style, summary};

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

    /// What `engine` says of a results root, with the problems of scenarios laid out for the screen.
    pub fn of_engine(error: EngineError, root: &Path, out: &Out) -> Self {
        let exit = error.exit();
        match error {
            EngineError::Scenario(problems) => {
                let width = out.message_columns().unwrap_or(200);
                let text = problems.render(out.has_coloured_messages(), width);
                let text = text.trim_end().to_owned();
                Self { exit, text }
            }
            EngineError::Record(error) => Self::of_record(error, root),
            EngineError::NothingSelected => Self::new(
                exit,
                "no test was selected\n`--test`, `--provider` and `--tag` leave nothing of the scenario",
            ),
            EngineError::Usage(text) | EngineError::Machine(text) => Self::new(exit, &text),
        }
    }

    /// What `record` says of a results root; of runs that are not found, which there are.
    pub fn of_record(error: RecordError, root: &Path) -> Self {
        let candidates = match &error {
            RecordError::Unknown(_) => newest(root),
            _ => None,
        };
        let mut text = error.to_string();
        if let Some(candidates) = candidates {
            text.push('\n');
            text.push_str(&candidates);
        }
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

/// The newest runs of a results root, for messages.
fn newest(root: &Path) -> Option<String> {
    let now = Time::from(std::time::SystemTime::now());
    let list = RunList::read(&ResultsRoot::existing(root).ok()?, now).ok()?;
    if list.runs.is_empty() {
        return Some(format!("there are no runs in {}", root.display()));
    }
    let line = |run: &runner_report::RunSummary| {
        let standing = summary::standing_words(run);
        format!(
            "{}  {}  {standing}, {}",
            run.short,
            run.scenario,
            summary::ago(now, run.started_at)
        )
    };
    let lines: Vec<_> = list.runs.iter().take(3).map(line).collect();
    Some(format!("the newest runs are:\n{}", lines.join("\n")))
}
