//! Trials of a run, and their parts.

use std::path::PathBuf;

use runner_model::TrialId;
use runner_record::{ResultsRoot, RunDir};
use runner_report::{
    FoundTrials, RunTable, StepPlace, StepQuery, TrialDocument, find_trial_in, phrases, short_of,
};

use crate::args::whole;
use crate::commands::results::{
    calls::{self, MOST_CALLS},
    changes,
    history::explain_wait,
    transcript, trial,
};
use crate::text::{CommandError, Out};

/// Trials of a test or a glob that are shown.
const MOST_PAGES: usize = 10;

/// The flags about a trial.
#[derive(clap::Args)]
pub(super) struct PartArgs {
    /// Show all of long inputs, outputs and logs of a trial
    #[arg(long, requires = "trial")]
    full: bool,
    /// Show attempt N [default: the deciding one]
    #[arg(long, value_name = "N", requires = "trial", value_parser = whole(1..=u32::MAX))]
    attempt: Option<u32>,
    /// Print only the `output`, `input`, `log`, or a file
    #[arg(long, value_name = "NAME", requires = "trial", conflicts_with_all = ["full", "json"])]
    open: Option<String>,
    /// Save input, output, logs, files and workspace in DIR
    #[arg(long, value_name = "DIR", requires = "trial", conflicts_with_all = ["full", "json", "open"])]
    save: Option<PathBuf>,
    /// Show the calls in the journal of an attempt
    #[arg(long, requires = "trial", conflicts_with_all = ["open", "save"])]
    calls: bool,
    /// Show call N in full
    #[arg(long, value_name = "N", requires = "trial", conflicts_with_all = ["open", "save", "full"])]
    call: Option<String>,
    /// Show the changes in the workspace as `git diff` does
    #[arg(long, requires = "trial", conflicts_with_all = ["open", "save", "full", "calls", "call"])]
    diff: bool,
    /// Show messages and calls of tools in an attempt
    #[arg(long, requires = "trial", conflicts_with_all = ["open", "save", "calls", "call", "diff"])]
    transcript: bool,
}

impl PartArgs {
    fn has_calls(&self) -> bool {
        self.calls || self.call.is_some()
    }
}

/// Shows the trials that a text names. `json` selects documents.
pub(super) fn show_trials(
    text: &str,
    root: &ResultsRoot,
    run: &RunDir,
    (args, json): (&PartArgs, bool),
    out: &Out,
) -> Result<(), CommandError> {
    let has_part = args.diff || args.transcript || args.open.is_some() || args.save.is_some();
    let is_one = json || args.has_calls() || has_part;
    let most = if is_one { 1 } else { MOST_PAGES };
    let table = RunTable::open(run)?;
    let mut found = find_trial_in(&table, text);
    // An interrupted attempt has a journal and no row.
    if let (FoundTrials::Nothing { .. }, Ok(trial)) = (&found, TrialId::parse(text))
        && args.has_calls()
    {
        found = FoundTrials::One(trial);
    }
    let filter = matches!(found, FoundTrials::Several(_)).then(|| word(text)).flatten();
    let trials = found.named(run.id(), text, most).map_err(|message| {
        let name = short_of(root, run.id());
        let list = filter.map(|word| root.command(&["show", &name, "-E", word]));
        let advice = list.map(|list| format!("\nto show their results: {list}"));
        CommandError::usage(message + &advice.unwrap_or_default())
    })?;
    for (index, trial) in trials.into_iter().enumerate() {
        if index > 0 {
            out.data("");
        }
        show_trial(TrialDocument::read(root, &table, trial, None)?, root, run, (args, json), out)?;
    }
    Ok(())
}

/// Shows a trial, or the part of it that a flag selects.
fn show_trial(
    mut document: TrialDocument,
    root: &ResultsRoot,
    run: &RunDir,
    (args, json): (&PartArgs, bool),
    out: &Out,
) -> Result<(), CommandError> {
    if args.has_calls() {
        return show_calls(&document, run, (args, json), out);
    }
    if let Some(attempt) = args.attempt {
        document.show_attempt(root, attempt).map_err(CommandError::usage)?;
    }
    if args.diff {
        show_changes(&document, run, json, out)?;
    } else if args.transcript {
        show_transcript(&document, run, (args, json), out)?;
    } else if let Some(name) = &args.open {
        trial::open(&document, run, name, out)?;
    } else if let Some(folder) = &args.save {
        trial::save(&document, run, folder, out)?;
    } else {
        document.read_history(root, run, &mut explain_wait(out))?;
        out.document_or(json, &document, |document| {
            trial::print(document, run, args.full, out);
        });
    }
    Ok(())
}

/// Prints the calls of an attempt, or one of them in full.
fn show_calls(
    trial: &TrialDocument,
    run: &RunDir,
    (args, json): (&PartArgs, bool),
    out: &Out,
) -> Result<(), CommandError> {
    if let Some(id) = &args.call {
        let (document, sections) = trial.call(run, args.attempt, id)?;
        if document.calls.is_empty() {
            return Err(CommandError::usage(document.missing(id)));
        }
        out.document_or(json, &document, |_| calls::print_whole(&sections, out));
        return Ok(());
    }
    let most = if json || args.full { usize::MAX } else { MOST_CALLS };
    let document = trial.calls(run, args.attempt, 0..most)?;
    out.document_or(json, &document, |document| calls::print(document, run, out));
    Ok(())
}

/// Prints the changes in the workspace of an attempt.
fn show_changes(
    trial: &TrialDocument,
    run: &RunDir,
    json: bool,
    out: &Out,
) -> Result<(), CommandError> {
    let Some((workspace, files)) = trial.workspace(run)? else {
        let is_counted = trial.row().is_some_and(|row| row.workspace.is_some());
        let why = if is_counted {
            "keeps no changes: its `workspace` has `keep = \"none\"`"
        } else {
            "has no attempt with a workspace"
        };
        return Err(CommandError::usage(format!("`{}` {why}", trial.trial)));
    };
    if json {
        out.document(&trial.changes(run, 0..usize::MAX)?);
        return Ok(());
    }
    if workspace.partial || workspace.changes.is_none() {
        out.hint(&format!("{}: {}", trial.trial, phrases::workspace(&workspace)));
    }
    Ok(changes::print(&files.tree.changes, &|left| files.read(left), out)?)
}

/// Prints the transcript of an attempt.
fn show_transcript(
    trial: &TrialDocument,
    run: &RunDir,
    (args, json): (&PartArgs, bool),
    out: &Out,
) -> Result<(), CommandError> {
    let is_full = json || args.full;
    let query = StepQuery { tool: None, from: StepPlace::Offset(0), limit: u64::MAX, is_full };
    let Some(document) = trial.transcript(run, query)? else {
        let attempt = trial.row().map_or(1, |row| row.attempt);
        return Err(CommandError::usage(format!(
            "attempt {attempt} of `{}` has no transcript: it called no tool and reported no step",
            trial.trial
        )));
    };
    if json {
        out.document(&document);
        return Ok(());
    }
    Ok(transcript::print(&document, out)?)
}

/// Returns a part of an id, if a filter reads it as such.
fn word(text: &str) -> Option<&str> {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/_.@#-".contains(letter);
    let is_operator = ["and", "or", "not"].contains(&&*text.to_lowercase());
    (text.chars().all(is_plain) && !is_operator).then_some(text)
}
