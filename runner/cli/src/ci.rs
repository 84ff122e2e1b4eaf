//! Output for CI systems: annotations and a summary on GitHub, folded sections on GitLab and Buildkite.

use std::io::{self, Write as _};
use std::{borrow::Cow, collections::HashMap, env, fs, fs::OpenOptions, path::Path};

use runner_model::units::plural;
use runner_model::visible::{shown_path, visible_line};
use runner_report::{
    FailureGroup, Failures, Form, FormError, FormOptions, RunDocument, run_facts, write_report,
};
use runner_scenario::load;

use crate::text::Out;

/// Annotations of a step that GitHub shows.
const MOST_ANNOTATIONS: usize = 10;
/// Bytes of all summaries of a step on GitHub.
const MOST_SUMMARY: u64 = 1 << 20;
/// Characters of a message.
const MOST_MESSAGE: usize = 1000;
/// Sections of failures.
const MOST_SECTIONS: usize = 50;

/// A CI system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    GitHub,
    GitLab,
    Buildkite,
}

impl System {
    /// Returns the system that runs this process.
    pub fn of_environment() -> Option<Self> {
        let systems = [
            ("GITHUB_ACTIONS", Self::GitHub),
            ("GITLAB_CI", Self::GitLab),
            ("BUILDKITE", Self::Buildkite),
        ];
        systems
            .into_iter()
            .find(|(name, _)| env::var_os(name).is_some_and(|value| value == "true"))
            .map(|(_, system)| system)
    }

    /// Prints the failures of a run, and writes its summary. `ran_nothing` is whether the session ran no trial.
    ///
    /// # Errors
    ///
    /// The rows cannot be read, or the summary cannot be written.
    pub fn write(
        self,
        document: &RunDocument,
        ran_nothing: bool,
        out: &Out,
    ) -> Result<(), FormError> {
        let failed = document.rows.failures()?;
        match self {
            Self::GitHub => {
                annotate(document, &failed, out);
                append_summary(document, ran_nothing)
            }
            Self::GitLab | Self::Buildkite => {
                let time = document.manifest.completed_at.map_or(0, |time| time.as_millis() / 1000);
                for (number, group) in failed.failed().into_iter().take(MOST_SECTIONS).enumerate() {
                    out.ci(&self.section(number, time, &group));
                }
                if failed.checks().is_some() {
                    out.ci(&visible_line(&failed.extent()));
                }
                known_line(document, &failed).iter().for_each(|line| out.ci(line));
                Ok(())
            }
        }
    }

    /// Formats a folded section.
    fn section(self, number: usize, time: i64, group: &FailureGroup) -> String {
        let count = plural(group.trials, "trial", "trials");
        let title = format!("{}, {count}: {}", group.outcome, group.reason);
        let lines = group.block.iter().map(|(_, line)| format!("  {line}\n"));
        let text = format!("{}\n{}", group.first_names(), lines.collect::<String>());
        match self {
            Self::GitLab => format!(
                "\x1b[0Ksection_start:{time}:runner_{number}[collapsed=true]\r\x1b[0K{title}\n{text}\x1b[0Ksection_end:{time}:runner_{number}\r\x1b[0K"
            ),
            _ => format!("--- {title}\n{text}"),
        }
    }
}

/// Prints an annotation for each reason, at the place of its first test.
fn annotate(document: &RunDocument, failed: &Failures, out: &Out) {
    let manifest = &document.manifest;
    let mut groups = failed.failed();
    if groups.len() > MOST_ANNOTATIONS {
        groups.truncate(MOST_ANNOTATIONS - 1);
    }
    let first = groups.iter().filter_map(|group| group.first().next());
    let tests: Vec<_> = first.map(|trial| trial.split('@').next().unwrap_or_default()).collect();
    let path = Path::new(&manifest.scenario_path);
    let places = match load(path, &manifest.metadata.selection.overrides) {
        Ok(scenario) if !tests.is_empty() => scenario.test_places(&tests.iter().copied().collect()),
        _ => HashMap::new(),
    };
    // A gate may accept failures.
    let level = if document.run.exit_code == Some(0) { "warning" } else { "error" };
    for (group, test) in groups.iter().zip(tests) {
        let count = plural(group.trials, "trial", "trials");
        let place = match places.get(test) {
            Some((file, line)) => format!("file={},line={line}", property(&in_workspace(file))),
            None => format!("file={}", property(&in_workspace(&manifest.scenario_path))),
        };
        let title = property(&format!("{}: {}, {count}", manifest.scenario, group.outcome));
        let message = data(&format!("{}: {}", group.first_names(), group.reason));
        out.ci(&format!("::{level} {place},title={title}::{message}"));
    }
    if let Some(gate) = document.manifest.gate.as_ref().filter(|gate| !gate.held) {
        let place = property(&in_workspace(&manifest.scenario_path));
        let title = property(&format!("{}: {}", manifest.scenario, gate.title()));
        out.ci(&format!("::error file={place},title={title}::{}", data(&run_facts::gate(gate))));
    }
    if let Some(line) = known_line(document, failed) {
        out.ci(&format!("::notice::{}", data(&line)));
    }
    if failed.checks().is_some() {
        out.ci(&format!("::notice::{}", data(&failed.extent())));
    }
    if let Some(left) = failed.left_out(&groups) {
        let command = document.run.command("show", &document.run.short, &["--failed"]);
        out.ci(&format!("::{level}::{}", data(&format!("{left}: {command}"))));
    }
}

/// Formats the number of known failures and the command that shows them.
fn known_line(document: &RunDocument, failed: &Failures) -> Option<String> {
    let text = plural(failed.known, "known failure is", "known failures are");
    let command = document.run.command("show", &document.run.short, &["-E", "known()"]);
    (failed.known > 0).then(|| format!("{text} not listed: {command}"))
}

/// Returns a path relative to the checkout, if it is in it.
fn in_workspace(path: &str) -> Cow<'_, str> {
    // The scenario's path has no links either.
    let workspace = env::var_os("GITHUB_WORKSPACE").and_then(|path| fs::canonicalize(path).ok());
    let inside = workspace.and_then(|workspace| Path::new(path).strip_prefix(workspace).ok());
    inside.map_or(path.into(), |inside| inside.to_string_lossy())
}

/// Escapes the message of a workflow command.
fn data(text: &str) -> String {
    let text: String = visible_line(text).chars().take(MOST_MESSAGE).collect();
    text.replace('%', "%25")
}

/// Escapes a property of a workflow command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Adds the run as Markdown to the step's summary, if it has room.
fn append_summary(document: &RunDocument, ran_nothing: bool) -> Result<(), FormError> {
    let Some(path) = env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else {
        return Ok(());
    };
    let mut text = Vec::new();
    let options = FormOptions { junit_strict: false, ran_nothing, changed_lines: None };
    write_report(Form::Markdown, document, options, &mut text)?;
    text.push(b'\n');
    append(Path::new(&path), &text).map_err(|error| {
        let path = shown_path(Path::new(&path));
        io::Error::other(format!("cannot add the summary to {path}: {error}")).into()
    })
}

fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.metadata()?.len() + text.len() as u64 > MOST_SUMMARY {
        return Err(io::Error::other("it is full"));
    }
    file.write_all(text)
}
