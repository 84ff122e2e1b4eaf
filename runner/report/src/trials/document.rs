//! [`TrialDocument`]: one trial with rows, logs and files. [`find_trial`] finds a trial by a text that a user typed.

use std::collections::{BTreeMap, BTreeSet};
use std::{cmp::Reverse, io::BufRead as _, iter};

use runner_model::log::{LogLine, Said};
use runner_model::row::Artifact;
use runner_model::visible::common_ends;
use runner_model::{
    Digest, Outcome, RowRef, RunStatus, Text, TrialId, id_word, known::KnownState, test::Test,
};
use runner_record::{InFlight, Manifest, RecordError, ResultsRoot, RunDir, WaitingTrial};
use runner_results::RunTable;
use runner_scenario::{IdGlob, Suite, similar};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use super::past::PastResult;
use crate::{
    KnownResult, KnownTrial, StaleEntry, VERSION, failure,
    list::short_of,
    rows::{Line, StoredRow},
};

/// `runner show RUN TRIAL`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TrialDocument {
    /// Always [`VERSION`].
    pub v: u8,
    /// The run's id.
    pub run: String,
    /// The directory as a user would type it.
    pub run_dir: String,
    pub trial: TrialId,
    /// The test's id.
    pub test: String,
    /// The provider's name.
    pub provider: String,
    /// Whether the provider's plugin is a development form. Absent if not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) development: bool,
    /// The planned test, with `input`, and with the `expect` that judged the shown row. `null` if the stored suite cannot be
    /// read.
    #[schemars(with = "Option<Test<'static>>")]
    pub planned: Option<Box<RawValue>>,
    /// All rows of the trial.
    #[schemars(with = "Vec<StoredRow>")]
    pub rows: Vec<Line>,
    /// `seq` of the row that the page shows: of `--attempt`, or the row that settles the trial, or else the newest.
    pub shown: Option<u64>,
    /// Present if the trial is a known failure or an unexpected pass.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownResult>,
    /// Entries of the list of known failures that match the trial and do not apply.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) stale: Vec<StaleEntry>,
    /// Present while an attempt of the trial runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<InFlight>,
    /// Present while the trial waits for a retry or a rate limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingTrial>,
    /// Status of the run.
    pub run_status: RunStatus,
    /// The settling rows of the same test and repeat on other providers.
    #[schemars(with = "Vec<StoredRow>")]
    pub others: Vec<Line>,
    /// Those of `others` that are known failures or unexpected passes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) others_known: Vec<KnownTrial>,
    /// Results of the test on the provider by repeat, up to 100. Empty if there is one repeat.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) repeats: Vec<RepeatResult>,
    /// Results of the trial in the newest runs of the scenario, the oldest first.
    pub(super) history: Vec<PastResult>,
    /// The command that repeats the attempt.
    pub reproduce: String,
    /// The command that shows the changes in the attempt's workspace.
    #[serde(skip)]
    pub diff: String,
    /// The command that shows the attempt's transcript.
    #[serde(skip)]
    pub transcript: String,
    /// Logs and output of its attempts.
    pub(crate) logs: Vec<LogText>,
    /// Files of its attempts.
    pub(crate) artifacts: Vec<ArtifactFile>,
    /// The planned test of the rows that no session of `rescore` has judged.
    #[serde(skip)]
    pub stored: Option<Box<RawValue>>,
    /// Sessions of `rescore` with the suites that they judged by.
    #[serde(skip)]
    pub rescores: Vec<(u32, Digest)>,
    /// `seq` of the row that settles the trial.
    #[serde(skip)]
    pub settling: Option<u64>,
}

/// The result of a repeat.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RepeatResult {
    /// The trial's id.
    trial: String,
    /// From 1.
    repeat: u32,
    /// Outcome of the deciding attempt.
    outcome: Outcome,
    /// Whether the trial passed after an attempt that did not.
    flaky: bool,
    /// `known` for a known failure, `unexpected-pass` for a pass that the list does not expect. Absent for other results.
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<KnownState>,
}

/// Logs and output of an attempt.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LogText {
    /// `seq` of the attempt's row.
    pub seq: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Log records, standard output and standard error as in `logs.jsonl`. `null` if they cannot be read.
    #[schemars(with = "Option<Said<'static>>")]
    pub said: Option<Box<RawValue>>,
}

/// A file that an attempt left.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ArtifactFile {
    /// `seq` of the attempt's row.
    pub seq: u64,
    #[serde(flatten)]
    pub artifact: Artifact<'static>,
    /// The file's path as a user would type it.
    pub path: String,
}

/// The trials of a run that match a text.
#[derive(Debug, PartialEq, Eq)]
pub enum FoundTrials {
    One(TrialId),
    /// The trials of a test, of a test on a provider, or of a glob, in order.
    Named(Vec<TrialId>),
    /// The ids of all trials that contain the text, in order.
    Several(Vec<String>),
    Nothing {
        /// All trials of the run that run or have a row, in order.
        trials: Vec<String>,
    },
}

/// Trials that a message names.
const MOST_NAMED: usize = 10;
/// Repeats in a document.
const MOST_REPEATS: usize = 100;
/// Trials that are compared with a text that matches none.
const MOST_COMPARED: usize = 10_000;

impl FoundTrials {
    /// Returns the only match, or up to `most` trials that the text names together.
    ///
    /// # Errors
    ///
    /// As [`Self::only`].
    pub fn named(self, run: &str, text: &str, most: usize) -> Result<Vec<TrialId>, String> {
        match self {
            Self::Named(trials) if trials.len() <= most => Ok(trials),
            other => Ok(vec![other.only(run, text)?]),
        }
    }

    /// Returns the only match.
    ///
    /// # Errors
    ///
    /// A message with the matches, or with the existing trials if nothing matches.
    pub fn only(self, run: &str, text: &str) -> Result<TrialId, String> {
        let trials = match self {
            Self::One(trial) => return Ok(trial),
            Self::Named(trials) => trials.iter().map(TrialId::to_string).collect(),
            Self::Several(trials) => trials,
            Self::Nothing { trials } if trials.is_empty() => {
                return Err("no trial of the run has a result yet".to_owned());
            }
            Self::Nothing { trials } => {
                let head = format!("no trial with a result in run {run} matches `{text}`");
                let near = nearest(&trials, text);
                return Err(match near.is_empty() {
                    true => listed(&format!("{head}; its trials are"), &trials),
                    false => listed(&format!("{head}; the nearest are"), &near),
                });
            }
        };
        Err(listed(&format!("`{text}` matches {} trials", trials.len()), &trials))
    }
}

/// Formats the first trials of a list.
fn listed(head: &str, trials: &[String]) -> String {
    let (named, left) = trials.split_at(trials.len().min(MOST_NAMED));
    let more = match left.len() {
        0 => String::new(),
        left => format!("\n… and {left} more"),
    };
    format!("{head}:\n{}{more}", named.join("\n"))
}

/// Returns the trials of which a text may be a slip, sorted by the length of the starts and ends that they share with it, the
/// longest first.
fn nearest(trials: &[String], text: &str) -> Vec<String> {
    let (test, provider) = test_and_provider(text);
    let near = trials.iter().take(MOST_COMPARED).filter(|trial| {
        let (known, on) = test_and_provider(trial);
        let last = known.rsplit('/').next();
        similar(test, last.into_iter().chain([known])).is_some()
            && (provider.is_empty() || similar(provider, iter::once(on)).is_some())
    });
    let mut near: Vec<_> = near.cloned().collect();
    near.sort_by_cached_key(|trial| {
        let (trial, _) = trial.rsplit_once('#').unwrap_or((trial, ""));
        let (start, end) = common_ends([trial, text]);
        Reverse(start + end)
    });
    near
}

fn test_and_provider(id: &str) -> (&str, &str) {
    let (id, _) = id.split_once('#').unwrap_or((id, ""));
    id.split_once('@').unwrap_or((id, ""))
}

/// Finds trials that run or have a row by their id, by `test@provider`, test or a glob, or else by a part of their id.
///
/// # Errors
///
/// The rows cannot be read.
pub fn find_trial(run: &RunDir, text: &str) -> Result<FoundTrials, RecordError> {
    Ok(find_trial_in(&RunTable::open(run)?, text))
}

/// Finds trials as [`find_trial`] does, in a table.
#[must_use]
pub fn find_trial_in(table: &RunTable, text: &str) -> FoundTrials {
    if let Some(trial) = TrialId::parse(text).ok().filter(|trial| table.find(trial).is_some()) {
        return FoundTrials::One(trial);
    }
    let running = table.run().live().into_iter().flat_map(|live| live.in_flight);
    let running = running.map(|attempt| attempt.trial);
    let known = (0..table.trials()).filter_map(|trial| table.trial_id(trial));
    find(known.chain(running).map(|trial| trial.to_string()).collect(), text)
}

fn find(trials: BTreeSet<String>, text: &str) -> FoundTrials {
    // `a@p#1` is an id, and `a@p#12` starts with it.
    if trials.contains(text)
        && let Ok(trial) = TrialId::parse(text)
    {
        return FoundTrials::One(trial);
    }
    let glob = text.contains(['*', '\\']).then(|| IdGlob::new(text).ok()).flatten();
    let named = trials.iter().filter(|trial| {
        let rest = trial.strip_prefix(text);
        rest.is_some_and(|rest| rest.starts_with(['@', '#']))
            || glob.as_ref().is_some_and(|glob| {
                glob.is_match(trial)
                    || trial.split('@').next().is_some_and(|test| glob.is_match(test))
            })
    });
    let named: Vec<_> = named.filter_map(|trial| TrialId::parse(trial).ok()).collect();
    if let [only] = named.as_slice() {
        return FoundTrials::One(only.clone());
    }
    if !named.is_empty() {
        return FoundTrials::Named(named);
    }
    let parts: Vec<_> = trials.iter().filter(|trial| trial.contains(text)).cloned().collect();
    match parts.as_slice() {
        [] => FoundTrials::Nothing { trials: trials.into_iter().collect() },
        [only] => TrialId::parse(only).map_or(FoundTrials::Several(parts), FoundTrials::One),
        _ => FoundTrials::Several(parts),
    }
}

impl TrialDocument {
    /// Reads a trial, from the table of its run. `planned` is its planned test, if that is known.
    ///
    /// # Errors
    ///
    /// The run cannot be read. Logs and the planned test are left out if they cannot be read.
    pub fn read(
        root: &ResultsRoot,
        table: &RunTable,
        trial: TrialId,
        planned: Option<Box<RawValue>>,
    ) -> Result<Self, RecordError> {
        Self::of(root, table, &table.run().truth()?, trial, planned)
    }

    /// Reads a trial of a run with this manifest.
    pub(crate) fn of(
        root: &ResultsRoot,
        table: &RunTable,
        manifest: &Manifest,
        trial: TrialId,
        planned: Option<Box<RawValue>>,
    ) -> Result<Self, RecordError> {
        let run = table.run();
        let planned =
            planned.or_else(|| self::planned(root, &manifest.metadata.suite, &trial.test));
        let is_over = manifest.status.is_terminal();
        let live = if is_over { None } else { run.live() }.unwrap_or_default();
        let running = live.in_flight.into_iter().find(|attempt| attempt.trial == trial);
        let waiting = live.waiting.into_iter().find(|attempt| attempt.trial == trial);
        let sessions = manifest.sessions.iter();
        let repeats = repeats(table, &trial);
        let mut providers = manifest.planned();
        let development = providers.any(|one| *one.name == *trial.provider && one.is_development);
        let mut document = Self {
            v: VERSION,
            run: run.id().to_owned(),
            run_dir: run.path().to_string_lossy().into_owned(),
            test: trial.test.to_string(),
            provider: trial.provider.to_string(),
            development,
            planned: None,
            stored: planned,
            trial,
            rows: Vec::new(),
            shown: None,
            known: None,
            stale: Vec::new(),
            running,
            waiting,
            run_status: manifest.status,
            others: Vec::new(),
            others_known: Vec::new(),
            repeats,
            history: Vec::new(),
            reproduce: String::new(),
            diff: String::new(),
            transcript: String::new(),
            logs: Vec::new(),
            artifacts: Vec::new(),
            rescores: sessions.filter_map(|one| Some((one.number, one.suite?))).collect(),
            settling: None,
        };
        let known = table.known()?;
        let entries = known.matching(&document.test, &document.provider).into_iter();
        let entries = entries.map(|number| &known.list().entries[number as usize]);
        let stale =
            entries.filter_map(|entry| StaleEntry::of(entry, entry.stale_for(&document.test)));
        document.stale = stale.collect();
        let mut others = BTreeMap::new();
        table.each_row_in_order(&table.rows_of_repeat(&document.trial), |indexed, row, line| {
            let is_result = table.result(indexed.trial) == Some(indexed);
            if row.trial == document.trial {
                document.settling = document.settling.or(row.seq.filter(|_| is_result));
                document.rows.extend(Line::of(line));
                document.logs.extend(log(run, row));
                document.artifacts.extend(files(run, row));
            } else if is_result {
                others.extend(Line::of(line).map(|line| (row.provider.to_string(), line)));
                let trial = row.trial.to_string();
                let known = KnownResult::of(&known, row);
                document.others_known.extend(known.map(|known| KnownTrial { trial, known }));
            }
        })?;
        document.others = others.into_values().collect();
        let other = document.settling().and_then(|row| StaleEntry::of_other(&known, &row));
        document.stale.extend(other);
        document.known = document.settling().and_then(|row| KnownResult::of(&known, &row));
        let shown = document.settling.or_else(|| document.rows().next()?.seq);
        document.show(root, shown);
        Ok(document)
    }

    /// Returns all rows, the newest first.
    pub(super) fn rows(&self) -> impl Iterator<Item = RowRef<'_>> {
        self.rows.iter().rev().filter_map(Line::row)
    }

    fn settling(&self) -> Option<RowRef<'_>> {
        self.rows().find(|row| self.settling.is_some() && row.seq == self.settling)
    }

    /// Returns the state of another provider's result. `None` if it counts as without a list.
    pub(crate) fn known_of(&self, row: &RowRef<'_>) -> Option<KnownState> {
        let other = self.others_known.iter().find(|other| other.trial == row.trial.to_string());
        other.map(|other| other.known.state)
    }

    /// Returns the row that the page shows.
    pub fn row(&self) -> Option<RowRef<'_>> {
        self.rows().find(|row| row.seq == self.shown)
    }

    /// Returns the planned test.
    pub(super) fn planned(&self) -> Value {
        let planned = self.planned.as_ref().map(|test| serde_json::from_str(test.get()));
        planned.and_then(Result::ok).unwrap_or(Value::Null)
    }

    /// Returns the suite that a session of `rescore` judged a row by.
    pub(super) fn rescored(&self, row: &RowRef<'_>) -> Option<&Digest> {
        let mut rescores = self.rescores.iter();
        rescores.find(|(session, _)| Some(*session) == row.session).map(|(_, suite)| suite)
    }

    fn show(&mut self, root: &ResultsRoot, seq: Option<u64>) {
        self.shown = seq;
        self.planned = match self.row().and_then(|row| self.rescored(&row)) {
            Some(suite) => planned(root, suite, &self.test),
            None => self.stored.clone(),
        };
        let run = short_of(root, &self.run);
        let trial = id_word(&self.trial.to_string());
        let words = ["plugin", "run", "--from", &run, "--trial", &trial];
        let row = self.row();
        // The grader if that decided.
        let grade = row.as_ref().and_then(failure::deciding_grade);
        let grader = grade.iter().flat_map(|grade| ["--grader", &*grade.grader]);
        let reproduce = root.command(&words.into_iter().chain(grader).collect::<Vec<_>>());
        let other = row.as_ref().filter(|row| row.seq != self.settling);
        let attempt = other.map(|row| format!("--attempt={}", row.attempt));
        let [diff, transcript] = ["--diff", "--transcript"].map(|flag| {
            let words = ["show", &run, &trial, flag].into_iter().chain(attempt.as_deref());
            root.command(&words.collect::<Vec<_>>())
        });
        drop(row);
        (self.reproduce, self.diff, self.transcript) = (reproduce, diff, transcript);
    }

    /// Sets the attempt that the page shows.
    ///
    /// # Errors
    ///
    /// A message with the existing attempts.
    pub fn show_attempt(&mut self, root: &ResultsRoot, attempt: u32) -> Result<(), String> {
        let seq = self.rows().find(|row| row.attempt == attempt).and_then(|row| row.seq);
        if seq.is_some() {
            self.show(root, seq);
            return Ok(());
        }
        let attempts: BTreeSet<_> = self.rows().map(|row| row.attempt).collect();
        let attempts: Vec<_> = attempts.iter().map(u32::to_string).collect();
        let attempts = attempts.join(", ");
        Err(format!("`{}` has no attempt {attempt}; its attempts: {attempts}", self.trial))
    }

    /// Reads the results of the trial in the newest runs of the scenario. Calls `progress` before each run.
    ///
    /// # Errors
    ///
    /// The results root cannot be read.
    pub fn read_history(
        &mut self,
        root: &ResultsRoot,
        run: &RunDir,
        progress: &mut dyn FnMut(),
    ) -> Result<(), RecordError> {
        let row = self.settling();
        let state = self.known.as_ref().map(|known| known.state);
        let result = row.as_ref().map(|row| (row, state));
        let history = PastResult::read(root, &run.manifest()?, &self.trial, result, progress)?;
        drop(row);
        self.history = history;
        Ok(())
    }
}

fn repeats(table: &RunTable, trial: &TrialId) -> Vec<RepeatResult> {
    let mut repeats = table.repeats(trial);
    repeats.truncate(MOST_REPEATS);
    if repeats.len() < 2 {
        return Vec::new();
    }
    let results = repeats.into_iter().map(|row| {
        let repeat = table.repeat(row.trial);
        RepeatResult {
            trial: TrialId { repeat, ..trial.clone() }.to_string(),
            repeat,
            outcome: row.outcome,
            flaky: row.is_flaky(),
            known: row.state.listed(),
        }
    });
    results.collect()
}

fn log(run: &RunDir, row: &RowRef<'_>) -> Option<LogText> {
    let line = run.log(row).transpose()?;
    let said = line.ok().and_then(|line| {
        let read: LogLine<'_> = serde_json::from_str(&line).ok()?;
        serde_json::value::to_raw_value(&read.said).ok()
    });
    Some(LogText { seq: row.seq.unwrap_or(0), attempt: row.attempt, said })
}

fn files(run: &RunDir, row: &RowRef<'_>) -> Vec<ArtifactFile> {
    let folder = run.path().join("artifacts");
    let files = row.artifacts.iter().map(|artifact| ArtifactFile {
        seq: row.seq.unwrap_or(0),
        path: folder.join(artifact.sha256.path()).to_string_lossy().into_owned(),
        artifact: Artifact {
            name: artifact.name.clone().into_owned(),
            media_type: artifact.media_type.clone().into_owned(),
            sha256: artifact.sha256,
            bytes: artifact.bytes,
        },
    });
    files.collect()
}

/// Returns the line of a test in a suite. `None` if the suite lacks it.
#[must_use]
pub fn suite_line(suite: &Suite, test: &str) -> Option<Box<RawValue>> {
    let mut line = Vec::new();
    suite.line(suite.test(test)? as u64, &mut line).ok()?;
    RawValue::from_string(String::from_utf8(line).ok()?).ok()
}

/// Returns the line of a test in the stored suite.
fn planned(root: &ResultsRoot, suite: &Digest, test: &str) -> Option<Box<RawValue>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        id: Text<'a>,
    }
    let suite = root.content(suite).ok()?;
    for line in std::io::BufReader::new(suite).lines() {
        let line = line.ok()?;
        let is_it = serde_json::from_str::<Named<'_>>(&line).is_ok_and(|named| *named.id == *test);
        if is_it {
            return RawValue::from_string(line).ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use runner_model::TrialId;

    use super::{FoundTrials, find};

    #[test]
    fn trials_are_found_by_what_is_typed() {
        let ids = ["a@p#1", "a@p#12", "a@q#1", "b/x@p#1", "b/xy@p#1"];
        let trials: BTreeSet<String> = ids.map(String::from).into();
        let one = |id: &str| FoundTrials::One(TrialId::parse(id).unwrap());
        let several = |ids: &[&str]| {
            FoundTrials::Named(ids.iter().map(|id| TrialId::parse(id).unwrap()).collect())
        };
        for (text, found) in [
            ("a@p#1", one("a@p#1")),
            ("a@q", one("a@q#1")),
            ("a@p", several(&["a@p#1", "a@p#12"])),
            ("a", several(&["a@p#1", "a@p#12", "a@q#1"])),
            ("b/x", one("b/x@p#1")),
            ("xy", one("b/xy@p#1")),
            ("b/*", several(&["b/x@p#1", "b/xy@p#1"])),
            ("*@p#1", several(&["a@p#1", "b/x@p#1", "b/xy@p#1"])),
            (r"\a@p#1", one("a@p#1")),
            ("x", FoundTrials::Several(["b/x@p#1", "b/xy@p#1"].map(String::from).to_vec())),
        ] {
            assert_eq!(find(trials.clone(), text), found, "{text}");
        }
        let trials: Vec<_> = trials.into_iter().collect();
        assert_eq!(find(trials.iter().cloned().collect(), "no"), FoundTrials::Nothing { trials });
    }

    #[test]
    fn a_message_names_ten_trials() {
        let several =
            |count| FoundTrials::Several((0..count).map(|id: u32| format!("t{id}")).collect());
        let message = |found: FoundTrials| found.only("r", "t").unwrap_err();
        assert_eq!(message(several(2)), "`t` matches 2 trials:\nt0\nt1");
        assert_eq!(message(several(10)).lines().last(), Some("t9"));
        let long = message(several(12));
        assert!(long.ends_with("\nt9\n… and 2 more"), "{long}");
        let nothing = |trials| message(FoundTrials::Nothing { trials });
        assert_eq!(nothing(Vec::new()), "no trial of the run has a result yet");
        assert_eq!(
            nothing(vec!["a".to_owned()]),
            "no trial with a result in run r matches `t`; the nearest are:\na"
        );
        for text in ["long-name@reference", "long-name", "LONG-NAM@REF", "b/long-name"] {
            let trials = ["a/one@p#1", "b/long-nam@reference#1"].map(String::from).to_vec();
            let message = FoundTrials::Nothing { trials }.only("r", text).unwrap_err();
            assert!(message.ends_with("; the nearest are:\nb/long-nam@reference#1"), "{message}");
        }
    }
}
