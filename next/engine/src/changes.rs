//! What has changed between the plan of a run and the files that it was made of: what a resumed run says of it, and what it
//! does about it if it takes the changes over.

use std::{
    collections::{BTreeMap, HashMap},
    fmt, fs,
    io::{self, Read as _},
    path::Path,
};

use runner_model::{
    Digest, ErrorClass, Places, RowRef, digest,
    row::{LogPlace, OUTPUT_ARTIFACT, read_line},
};
use runner_record::{Fold, Manifest, ReadLine, RecordError, RunDir};
use runner_scenario::{Scenario, Suite, load, resolve};
use serde_json::{Map, Value, value::RawValue};

use crate::{
    exec,
    flights::TestLine,
    plan::{Ids, Plan},
    plugins,
};

/// An output of more bytes is not sent to be judged again; its trial runs again.
const MAX_OUTPUT: u64 = 8 << 20;
/// How many names of a kind are shown.
const SHOWN: usize = 3;

/// The trials whose stored output is judged again.
#[derive(Debug, Default)]
pub(crate) struct Rejudge(Option<(RunDir, HashMap<u64, Place>)>);

/// Where the row that settles a trial is.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: u64,
    bytes: usize,
    had_bad: bool,
}

/// A row that is judged again.
pub(crate) struct StoredRow {
    /// As JSON, with the whole output.
    pub(crate) bytes: Vec<u8>,
    pub(crate) attempt: u32,
    judged: JudgedRow,
}

/// What of such a row goes into the new one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JudgedRow {
    pub(crate) seq: u64,
    /// Whether an earlier attempt did not pass.
    pub(crate) had_bad: bool,
    pub(crate) logs: Option<LogPlace>,
}

/// What of a trial was seen in its rows, as bits: what is to be done with the newest final row, and attempts that did not pass.
const RUN: u8 = 1;
const JUDGE: u8 = 2;
const BAD_LAST: u8 = 4;
const BAD_BEFORE: u8 = 8;

impl Rejudge {
    /// Compares the rows that settle trials with what the plan says now. What is executed in another way is marked in the
    /// fold, and what is only judged in another way too, if it does not run in any case; that is judged again.
    pub(crate) fn find(run: &RunDir, plan: &Plan, fold: &mut Fold) -> Result<Self, RecordError> {
        let (mut states, mut rows) = (vec![0; plan.suite.trials() as usize], HashMap::new());
        let mut line = Vec::new();
        run.rows(&mut |at, read| {
            let ReadLine::Row(row, bytes) = read else {
                return;
            };
            let Some(index) = plan.suite.index(&row.trial) else {
                return;
            };
            let state = &mut states[index as usize];
            if row.judged.is_none() && *state & BAD_LAST != 0 {
                *state |= BAD_BEFORE;
            }
            let bad = if row.outcome.is_bad() { BAD_LAST } else { 0 };
            *state = *state & !BAD_LAST | bad;
            if row.r#final != Some(true) {
                return;
            }
            // A test that cannot be read shows itself when it runs.
            let todo = todo(plan, index, &row, &mut line).unwrap_or(RUN);
            *state = *state & !(RUN | JUDGE) | todo;
            rows.remove(&index);
            if todo == JUDGE {
                let place = Place {
                    at,
                    bytes: bytes.len(),
                    had_bad: *state & BAD_BEFORE != 0,
                };
                rows.insert(index, place);
            }
        })?;
        for (index, state) in (0..).zip(states) {
            if state & JUDGE != 0 && fold.trial(index).is_pending {
                rows.remove(&index);
            }
            if state & (RUN | JUDGE) != 0 {
                fold.mark(index);
            }
        }
        Ok(Self(Some((run.clone(), rows))))
    }

    /// Tells whether the trial's output is judged again.
    pub(crate) fn has(&self, trial: u64) -> bool {
        let rows = self.0.as_ref().map(|(_, rows)| rows);
        rows.is_some_and(|rows| rows.contains_key(&trial))
    }

    /// The row of a trial that is to be judged again; none for a trial that is to run.
    pub(crate) fn row(&self, trial: u64) -> Option<StoredRow> {
        let (run, rows) = self.0.as_ref()?;
        let place = rows.get(&trial)?;
        // What cannot be read any more runs again.
        let line = run.row(place.at, place.bytes).ok()?;
        let row = read_line(&line).ok()?;
        Some(StoredRow {
            attempt: row.attempt,
            judged: JudgedRow {
                seq: row.seq?,
                had_bad: place.had_bad,
                logs: row.logs,
            },
            bytes: match row.artifacts.first() {
                None => line,
                Some(output) => with_output(&line, &output_of(run, output.sha256)?)?,
            },
        })
    }
}

impl StoredRow {
    pub(crate) fn facts(&self) -> JudgedRow {
        self.judged
    }
}

/// What is to be done with a trial that this row settles.
fn todo(plan: &Plan, index: u64, row: &RowRef<'_>, line: &mut Vec<u8>) -> io::Result<u8> {
    let planned = plan.suite.trial(index);
    plan.suite.line(planned.test, line)?;
    let (execution, judgement) = TestLine::read(line)?.prints(plan, planned.provider);
    let class = row.error.as_ref().and_then(|error| error.class);
    let outputs = &row.artifacts;
    // Of a row that was cut the provider's own checks may be missing.
    let can_be_judged = !(row.truncated && !row.checks.is_empty())
        && class != Some(ErrorClass::Crash)
        && outputs
            .iter()
            .all(|output| *output.name == *OUTPUT_ARTIFACT && output.bytes <= MAX_OUTPUT);
    Ok(match row.judgement_fingerprint == Some(judgement) {
        _ if row.fingerprint != Some(execution) => RUN,
        true => 0,
        false if can_be_judged => JUDGE,
        false => RUN,
    })
}

fn output_of(run: &RunDir, digest: Digest) -> Option<Box<RawValue>> {
    let mut text = String::new();
    let file = run.artifact(&digest).ok()?;
    file.take(MAX_OUTPUT).read_to_string(&mut text).ok()?;
    RawValue::from_string(text).ok()
}

/// The row with its output in place of the artifact.
fn with_output(line: &[u8], output: &RawValue) -> Option<Vec<u8>> {
    let mut row: BTreeMap<&str, &RawValue> = serde_json::from_slice(line).ok()?;
    row.remove("artifacts");
    row.insert("output", output);
    serde_json::to_vec(&row).ok()
}

/// Says how the files that a run was made of differ from what is stored; none if they do not, as far as is cheap to tell:
/// files that are older than the run are not read.
pub(crate) fn differences(manifest: &Manifest, plan: &Plan) -> Option<String> {
    let path = Path::new(&manifest.scenario_path);
    let mut found = Vec::new();
    match load(path) {
        Err(_) if !path.exists() => found.push("its file is gone".to_owned()),
        Err(_) => found.push("its file has problems; see `runner validate`".to_owned()),
        Ok(live) => {
            let is_newer = |path: &Path| {
                let changed = fs::metadata(path).and_then(|about| about.modified());
                changed.is_ok_and(|changed| manifest.started_at < changed.into())
            };
            let is_other = digest(live.text.as_bytes()) != manifest.metadata.scenario_sha256;
            if is_other || live.list_files().any(|file| is_newer(&file)) {
                found.extend(compare(manifest, plan, &live));
                if found.is_empty() && is_other {
                    found.push("only keys that decide no result".to_owned());
                }
            }
            for provider in &live.providers {
                let stored = manifest.providers.iter();
                let mut stored = stored.filter(|stored| stored.name == *provider.name);
                let plugin = live.folder.join(&provider.plugin);
                let may_differ = provider.plugin.starts_with("bundled:") || is_newer(&plugin);
                if let Some(stored) = stored.next()
                    && may_differ
                    && plugins::read(&provider.plugin, &live.folder, provider.limits.file)
                        .is_ok_and(|bytes| digest(&bytes) != stored.digest)
                {
                    found.push(format!("plugin of `{}` changed", provider.name));
                }
            }
        }
    }
    (!found.is_empty()).then(|| {
        format!(
            "the scenario is not as it was when the run began: {}. The run goes on with what is stored; `runner resume {} --accept-changes` takes the changes over",
            found.join("; "),
            manifest.id
        )
    })
}

/// Compares providers and tests.
fn compare(manifest: &Manifest, plan: &Plan, live: &Scenario) -> Vec<String> {
    let mut found = Vec::new();
    let (mut added, mut removed, mut changed) = <(Names, Names, Names)>::default();
    let stored = &plan.scenario.providers;
    for provider in &live.providers {
        match stored.iter().find(|stored| stored.name == provider.name) {
            None => added.add(&provider.name),
            Some(stored) if stored != provider => changed.add(&provider.name),
            Some(_) => {}
        }
    }
    for provider in stored {
        if !live.providers.iter().any(|live| live.name == provider.name) {
            removed.add(&provider.name);
        }
    }
    for (what, names) in [
        ("added", &added),
        ("removed", &removed),
        ("changed", &changed),
    ] {
        found.extend((names.count > 0).then(|| format!("providers {what}: {names}")));
    }
    let selected = &manifest.metadata.selection;
    let mut ids = Ids::new(&plan.suite, stored);
    let only = selected.last_failed.then(|| {
        let trials = (0..plan.suite.trials()).filter_map(|trial| ids.trial(trial).ok());
        trials
            .map(|id| format!("{}@{}", id.test, id.provider))
            .collect()
    });
    let selection = exec::selection(selected, only);
    let file = tempfile::tempfile();
    let suite = file.map(|mut file| resolve(live, &selection, &mut file));
    let Ok(Ok(suite)) = suite else {
        found.push("its tests have problems; see `runner validate`".to_owned());
        return found;
    };
    let (mut added, mut removed, mut changed) = <(Names, Names, Names)>::default();
    let (mut new_line, mut old_line) = (Vec::new(), Vec::new());
    let names = |scenario: &Scenario| -> Vec<String> {
        let names = scenario
            .providers
            .iter()
            .map(|provider| provider.name.to_string());
        names.collect()
    };
    let (new_names, old_names) = (names(live), names(&plan.scenario));
    for test in 0..suite.tests() {
        let Ok(id) = id_of(&suite, test, &mut new_line) else {
            continue;
        };
        let old = plan
            .suite
            .test_of(&id)
            .map(|old| id_of(&plan.suite, old, &mut old_line));
        match old {
            None => added.add(&id),
            Some(_) if new_line == old_line && new_names == old_names => {}
            Some(_) if meaning(&new_line, &new_names) == meaning(&old_line, &old_names) => {}
            Some(_) => changed.add(&id),
        }
    }
    for test in 0..plan.suite.tests() {
        if let Ok(id) = id_of(&plan.suite, test, &mut old_line)
            && suite.test_of(&id).is_none()
        {
            removed.add(&id);
        }
    }
    for (what, names) in [
        ("added", &added),
        ("removed", &removed),
        ("changed", &changed),
    ] {
        found.extend((names.count > 0).then(|| format!("tests {what}: {names}")));
    }
    found
}

fn id_of(suite: &Suite, test: u64, line: &mut Vec<u8>) -> io::Result<String> {
    suite.line(test, line)?;
    Ok(TestLine::read(line)?.id.to_string())
}

/// A test with the names of its providers, whose numbers are those of its scenario.
fn meaning(line: &[u8], names: &[String]) -> Option<String> {
    let mut test: Map<String, Value> = serde_json::from_slice(line).ok()?;
    let providers: Vec<usize> = serde_json::from_value(test.remove("providers")?).ok()?;
    let providers: Option<Vec<_>> = providers.iter().map(|index| names.get(*index)).collect();
    serde_json::to_string(&(providers?, test)).ok()
}

/// Names of which the first are shown.
#[derive(Default)]
struct Names {
    first: Vec<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(format!("`{name}`"));
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(out, " and {more} more"),
        }
    }
}
