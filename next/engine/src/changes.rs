//! What has changed between the plan of a run and the files that it was made of: what a resumed run says of it, and what it
//! does about it if it takes the changes over.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{self, Read as _},
    path::Path,
};

use runner_model::{
    Digest, ErrorClass, Places, RowRef, digest,
    provider::Provider,
    row::{LogPlace, OUTPUT_ARTIFACT, read_line},
};
use runner_prepare::plugins;
use runner_record::{Fold, Manifest, ReadLine, RecordError, RunDir};
use runner_scenario::{Scenario, Suite, load, resolve};
use serde_json::value::RawValue;

use crate::{
    exec,
    in_flight::TestLine,
    plan::{self, Plan},
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
    pub(crate) judged: JudgedRow,
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
            let ReadLine::Row(_, bytes) = read else {
                return;
            };
            let Ok(row) = read_line(bytes) else { return };
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
                let place = Place { at, bytes: bytes.len(), had_bad: *state & BAD_BEFORE != 0 };
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
            judged: JudgedRow { seq: row.seq?, had_bad: place.had_bad, logs: row.logs },
            bytes: match row.artifacts.first() {
                None => line,
                Some(output) => with_output(&line, &output_of(run, output.sha256)?)?,
            },
        })
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
    let can_be_judged = (!row.truncated || row.checks.is_empty())
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
            // Only tests name attachments and schemas.
            let has_blobs = manifest.metadata.blobs.is_some();
            if is_other || has_blobs || live.list_files().any(|file| is_newer(&file)) {
                found.extend(compare(manifest, plan, &live));
                if found.is_empty() && is_other {
                    found.push("only keys that decide no result".to_owned());
                }
            }
            for provider in &live.providers {
                let stored = manifest.providers.iter();
                let mut stored = stored.filter(|stored| stored.name == *provider.name);
                let plugin = live.folder.join(&provider.plugin);
                // A folder says nothing of when the file in it was built.
                let may_differ =
                    provider.plugin.starts_with("bundled:") || plugin.is_dir() || is_newer(&plugin);
                if let Some(stored) = stored.next()
                    && may_differ
                    && plugins::read(&provider.plugin, &live.folder, provider.limits.file)
                        .is_ok_and(|found| found.digest != stored.digest)
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
    let (stored, suite) = (&plan.scenario.providers, &plan.suite);
    let mut found = Vec::new();
    let providers = |providers: &[Provider]| -> Digests {
        let text = |one| serde_json::to_vec(one).unwrap_or_default();
        let providers = providers.iter();
        let providers = providers.map(|one| (one.name.to_string(), digest(&text(one))));
        providers.collect()
    };
    let live_providers = providers(&live.providers);
    tell(&mut found, "providers", &providers(stored), &live_providers);
    let selected = &manifest.metadata.selection;
    let only =
        selected.last_failed.then(|| plan::tests(suite, stored, |_| true).unwrap_or_default());
    let selection = exec::selection(selected, only);
    let file = tempfile::tempfile();
    match file.map(|mut file| resolve(live, &selection, &mut file)) {
        Ok(Ok(new)) => {
            let (old, new) = (tests(suite, stored), tests(&new, &live.providers));
            tell(&mut found, "tests", &old, &new);
        }
        _ => found.push("its tests have problems; see `runner validate`".to_owned()),
    }
    found
}

/// Names, with digests of what they stand for.
type Digests = BTreeMap<String, Digest>;

/// The tests of a suite. Their lines have the numbers of providers, which are those of one scenario.
fn tests(suite: &Suite, providers: &[Provider]) -> Digests {
    let mut line = Vec::new();
    let mut test = |test| {
        suite.line(test, &mut line).ok()?;
        let mut keys: BTreeMap<&str, &RawValue> = serde_json::from_slice(&line).ok()?;
        let id = serde_json::from_str(keys.get("id")?.get()).ok()?;
        let on: Vec<usize> = serde_json::from_str(keys.remove("providers")?.get()).ok()?;
        let on: Option<Vec<_>> =
            on.iter().map(|index| Some(&providers.get(*index)?.name)).collect();
        Some((id, digest(&serde_json::to_vec(&(on, keys)).ok()?)))
    };
    (0..suite.tests()).filter_map(&mut test).collect()
}

/// Tells which names came, went, or stand for something else.
fn tell(found: &mut Vec<String>, what: &str, old: &Digests, new: &Digests) {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    let changed = new.iter().filter(|(name, new)| old.get(*name).is_some_and(|old| old != *new));
    for (verb, names) in [
        ("added", added.collect::<Vec<_>>()),
        ("removed", removed.collect()),
        ("changed", changed.map(|(name, _)| name).collect()),
    ] {
        let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`"));
        let shown = shown.collect::<Vec<_>>().join(", ");
        found.extend(match names.len() {
            0 => None,
            1..=SHOWN => Some(format!("{what} {verb}: {shown}")),
            count => Some(format!("{what} {verb}: {shown} and {} more", count - SHOWN)),
        });
    }
}
