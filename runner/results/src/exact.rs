//! [`ExactComparison`]: whether the results of two runs are equal.

use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;

use runner_model::{Digest, Outcome, digest, row::read_line};
use runner_record::{Manifest, ReadLine, RecordError, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, Value, to_raw_value};

use crate::{PlanOrder, RunTable};

/// Keys of rows that differ between equal attempts: places, times, resources and the machine. Rows of older versions have no
/// `service_failed`.
const LEFT_OUT: [&str; 14] = [
    "seq",
    "session",
    "attempt",
    "judged",
    "logs",
    "worker",
    "started_at",
    "duration_ms",
    "suspended_ms",
    "continued",
    "usage",
    "service_failed",
    "stopped_by",
    "crc",
];

/// Keys of rows that also depend on whether an attempt was fast enough for `max_duration`: graders are called only then.
const AFTER_DURATION: [&str; 3] = ["outcome", "grades", "flaky"];

/// The attempts of two runs, compared row by row.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ExactComparison {
    /// Attempts with equal rows.
    pub equal: u64,
    /// Attempts that timed out in both runs.
    pub left_out: u64,
    /// Compared attempts with a check of `max_duration`, which judges real time and is left out.
    pub without_duration: u64,
    /// Attempts whose rows differ, or that only one run has.
    pub different: u64,
    /// Attempts among them that only the base has.
    pub only_in_base: u64,
    /// Attempts among them that only the new run has.
    pub only_in_new: u64,
    /// Trials that the base needs and that have no result in it.
    pub missing_in_base: u64,
    /// Trials that the new run needs and that have no result in it.
    pub missing_in_new: u64,
    /// The first of these trials, in the order of the plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_missing: Option<String>,
    /// The first difference by the names of attempts. One that only one run has comes after the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Difference>,
}

/// The first key that differs between two rows.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// The trial's id.
    pub trial: String,
    /// The number of the attempt among those that were not stopped, from 1.
    pub attempt: u32,
    /// A key of rows. `row` if only one run has the attempt.
    pub key: String,
    /// The value in the base. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub base: Option<Box<RawValue>>,
    /// The value in the new run. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub new: Option<Box<RawValue>>,
    /// The names of the artifacts that differ, sorted. Empty if another key differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactDifference>,
}

/// An artifact that differs between two rows.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct ArtifactDifference {
    /// The name, which a guest may have chosen.
    pub name: String,
    /// Whether the base has such an artifact.
    pub in_base: bool,
    /// Whether the new run has such an artifact. If both have it, its content differs.
    pub in_new: bool,
}

/// Trial, and number of the attempt among those that were not stopped, from 1.
type Place = (String, u32);

/// The keys of a row with their JSON as it is on disk: parsed numbers would lose digits.
type Keys = BTreeMap<String, Box<RawValue>>;

/// The name of an artifact in a row.
#[derive(Deserialize)]
struct ArtifactName {
    name: String,
}

/// The newest row of an attempt.
struct Compared {
    /// First byte and length of the line.
    line: (u64, usize),
    hash: [u8; 16],
    /// A timeout is by real time, so two of them are not compared.
    is_timeout: bool,
    has_max_duration: bool,
    /// Whether it failed by `max_duration` alone.
    is_late: bool,
    has_transcript: bool,
    is_retried: bool,
}

/// The compared keys of a row.
struct ComparedKeys {
    keys: Keys,
    /// Whether a check of `max_duration` was removed.
    has_max_duration: bool,
    /// Whether that check alone decided the outcome.
    is_late: bool,
}

impl ExactComparison {
    /// Compares two runs.
    ///
    /// # Errors
    ///
    /// A run or a line cannot be read.
    pub fn read(runs: [&RunDir; 2]) -> Result<Self, RecordError> {
        runs[0].snapshot(|| runs[1].snapshot(|| Self::read_once(runs)))
    }

    fn read_once(runs: [&RunDir; 2]) -> Result<Self, RecordError> {
        let manifests = [runs[0].manifest()?, runs[1].manifest()?];
        // A replay repeats the attempts since a trial was last rerun.
        let is_replay =
            |manifest: &Manifest| manifest.sessions.iter().any(|one| one.replays.is_some());
        let only_new = manifests.iter().any(is_replay);
        let before = read(runs[0], &manifests[0], only_new)?;
        let mut now = read(runs[1], &manifests[1], only_new)?;
        let mut comparison = Self::default();
        (comparison.missing_in_base, comparison.first_missing) = missing(runs[0])?;
        let (missing_in_new, first_missing) = missing(runs[1])?;
        comparison.missing_in_new = missing_in_new;
        comparison.first_missing = comparison.first_missing.or(first_missing);
        let mut first: Option<(bool, Place, [Option<Compared>; 2])> = None;
        for (place, before) in before {
            let now = now.remove(&place);
            let has_max_duration = now.as_ref().is_some_and(|now| now.has_max_duration);
            comparison.without_duration += u64::from(before.has_max_duration || has_max_duration);
            match &now {
                Some(now) if before.is_timeout && now.is_timeout => comparison.left_out += 1,
                Some(now) if is_equal(runs, [&before, now])? => comparison.equal += 1,
                _ => {
                    comparison.different += 1;
                    comparison.only_in_base += u64::from(now.is_none());
                    // A replay of some trials lacks all others.
                    let is_first =
                        |(is_single, first, _): &_| (now.is_none(), &place) < (*is_single, first);
                    if first.as_ref().is_none_or(is_first) {
                        first = Some((now.is_none(), place, [Some(before), now]));
                    }
                }
            }
        }
        for (place, now) in now {
            comparison.different += 1;
            comparison.only_in_new += 1;
            if first
                .as_ref()
                .is_none_or(|(is_single, first, _)| (true, &place) < (*is_single, first))
            {
                first = Some((true, place, [None, Some(now)]));
            }
        }
        if let Some((_, place, rows)) = first {
            comparison.first = Some(difference(runs, place, rows.each_ref().map(Option::as_ref))?);
        }
        Ok(comparison)
    }

    /// Returns whether all results that the runs need are there and equal.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.different == 0 && self.equal > 0 && !self.lacks_results()
    }

    /// Returns whether a trial has no result.
    #[must_use]
    pub fn lacks_results(&self) -> bool {
        self.missing_in_base + self.missing_in_new > 0
    }
}

/// Returns the number of trials without a result that a run needs, and the first of them.
fn missing(run: &RunDir) -> Result<(u64, Option<String>), RecordError> {
    let table = RunTable::open(run)?;
    let order = PlanOrder::read(&table);
    let mut places = order.needed(&table);
    places.retain(|place| order.number(*place).and_then(|trial| table.result(trial)).is_none());
    let first = places.first().and_then(|place| order.trial_id(&table, *place));
    Ok((places.len() as u64, first.map(|trial| trial.to_string())))
}

/// Reads the newest row of each attempt that was not stopped, or only of those since their trial was last rerun.
///
/// # Errors
///
/// A line cannot be read: it may be a row that differs.
fn read(
    run: &RunDir,
    manifest: &Manifest,
    only_new: bool,
) -> Result<HashMap<Place, Compared>, RecordError> {
    let mut unreadable = None;
    let new = HashMap::<String, BTreeMap<u32, Compared>>::new;
    let trials = run.fold_lines(&new, |_| (), &mut |trials, place, (line, _)| {
        let problem = match line {
            ReadLine::Row(head, _) if head.outcome == Outcome::Stopped => return,
            ReadLine::Row(head, bytes) => match compared(bytes) {
                Some(ComparedKeys { keys, has_max_duration, is_late }) => {
                    let row = Compared {
                        line: (place.at, bytes.len()),
                        hash: hash(&keys),
                        is_timeout: head.outcome == Outcome::Timeout,
                        has_max_duration,
                        is_late,
                        has_transcript: keys.contains_key("transcript"),
                        is_retried: only_new && read_line(bytes).is_ok_and(|row| row.is_retried()),
                    };
                    trials.entry(head.trial.to_string()).or_default().insert(head.attempt, row);
                    return;
                }
                None => "it is not a row".to_owned(),
            },
            ReadLine::Damaged(problem) => problem.to_string(),
            ReadLine::Torn if manifest.status.is_terminal() => {
                "the end of the line is missing".to_owned()
            }
            ReadLine::Torn => return,
        };
        unreadable.get_or_insert_with(|| {
            let next = run.command("verify", &[]);
            run.refuse_rows(format!("line {}: {problem}; to list all: {next}", place.number))
        });
    })?;
    if let Some(error) = unreadable {
        return Err(error);
    }
    let numbered = trials.into_iter().flat_map(|(trial, attempts)| {
        let mut rows: Vec<_> = attempts.into_values().collect();
        if only_new && let Some(earlier) = rows.len().checked_sub(1) {
            let last = rows[..earlier].iter().rposition(|row| !row.is_retried);
            rows.drain(..last.map_or(0, |last| last + 1));
        }
        (1..).zip(rows).map(move |(number, row)| ((trial.clone(), number), row))
    });
    Ok(numbered.collect())
}

fn hash(keys: &Keys) -> [u8; 16] {
    let text = serde_json::to_vec(keys).unwrap_or_default();
    *digest(&text).0.first_chunk().unwrap_or(&[0; 16])
}

/// Returns whether two rows are equal, but for the ids in their transcripts, and for the outcome if real time decided one of them.
fn is_equal(runs: [&RunDir; 2], rows: [&Compared; 2]) -> Result<bool, RecordError> {
    let [before, now] = rows;
    let has_transcripts = before.has_transcript && now.has_transcript;
    if before.hash == now.hash || !has_transcripts && before.is_late == now.is_late {
        return Ok(before.hash == now.hash);
    }
    let [before, now] = keys(runs, rows.map(Some))?;
    Ok(before.is_some() && before.as_ref().map(hash) == now.as_ref().map(hash))
}

/// Reads two rows again, without the keys that cannot be equal. Their transcripts have the digest without the id.
fn keys(
    runs: [&RunDir; 2],
    rows: [Option<&Compared>; 2],
) -> Result<[Option<Keys>; 2], RecordError> {
    let is_late = rows.iter().flatten().any(|row| row.is_late);
    let mut both = [None, None];
    for (side, row) in rows.into_iter().enumerate() {
        let Some(row) = row else { continue };
        let line = runs[side].row(row.line.0, row.line.1)?;
        both[side] = compared(&line).map(|ComparedKeys { mut keys, .. }| {
            // A transcript that is lost keeps its digest.
            let _ = remove_session(runs[side], &mut keys);
            keys.retain(|key, _| !(is_late && AFTER_DURATION.contains(&key.as_str())));
            keys
        });
    }
    Ok(both)
}

/// Replaces digest and size of the transcript by those without `session_id`: in older runs it counts stopped and earlier attempts.
fn remove_session(run: &RunDir, row: &mut Keys) -> Option<()> {
    let mut transcript: Keys = serde_json::from_str(row.get("transcript")?.get()).ok()?;
    let old = transcript.get("sha256")?.clone();
    let mut text = Vec::new();
    let file = Digest::parse(old.get().trim_matches('"'))?;
    run.artifact(&file).ok()?.read_to_end(&mut text).ok()?;
    let mut content: Keys = serde_json::from_slice(&text).ok()?;
    content.remove("session_id")?;
    let text = serde_json::to_vec(&content).ok()?;
    let (new, bytes) = (to_raw_value(&digest(&text)).ok()?, to_raw_value(&text.len()).ok()?);
    let mut artifacts: Vec<Keys> = serde_json::from_str(row.get("artifacts")?.get()).ok()?;
    for artifact in &mut artifacts {
        if artifact.get("sha256")?.get() == old.get() {
            artifact.insert("sha256".to_owned(), new.clone());
            artifact.insert("bytes".to_owned(), bytes.clone());
        }
    }
    row.insert("artifacts".to_owned(), to_raw_value(&artifacts).ok()?);
    transcript.insert("sha256".to_owned(), new);
    row.insert("transcript".to_owned(), to_raw_value(&transcript).ok()?);
    Some(())
}

/// Returns the keys of a row that equal attempts have in common.
fn compared(bytes: &[u8]) -> Option<ComparedKeys> {
    let mut row: Keys = serde_json::from_slice(bytes).ok()?;
    row.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
    remove_hash(&mut row)?;
    if let Some(raw) = row.get_mut("grades") {
        let mut grades: Vec<Keys> = serde_json::from_str(raw.get()).ok()?;
        for grade in &mut grades {
            grade.retain(|key, _| !LEFT_OUT.contains(&key.as_str()));
            remove_hash(grade)?;
        }
        *raw = to_raw_value(&grades).ok()?;
    }
    let (has_max_duration, is_late) = remove_max_duration(&mut row)?;
    Some(ComparedKeys { keys: row, has_max_duration, is_late })
}

/// Removes the check of `max_duration` from a row. Returns whether there was one, and whether it alone decided the outcome.
fn remove_max_duration(row: &mut Keys) -> Option<(bool, bool)> {
    let Some(raw) = row.get_mut("checks") else { return Some((false, false)) };
    let checks: Vec<Keys> = serde_json::from_str(raw.get()).ok()?;
    let has = |part: &Keys, key: &str, value: &str| {
        part.get(key).is_some_and(|own| own.get().trim_matches('"') == value)
    };
    let (removed, left): (Vec<_>, Vec<_>) =
        checks.into_iter().partition(|check| has(check, "kind", "max_duration"));
    let fails = |checks: &[Keys]| checks.iter().any(|check| has(check, "verdict", "fail"));
    *raw = to_raw_value(&left).ok()?;
    let is_late = fails(&removed) && !fails(&left) && !has(row, "verdict", "fail");
    if left.is_empty() {
        row.remove("checks");
    }
    Some((!removed.is_empty(), is_late))
}

/// Removes the hash of calls from a row or a grade, because it covers their durations.
fn remove_hash(keys: &mut Keys) -> Option<()> {
    let Some(raw) = keys.get_mut("calls") else { return Some(()) };
    let mut calls: Keys = serde_json::from_str(raw.get()).ok()?;
    calls.remove("sha256");
    *raw = to_raw_value(&calls).ok()?;
    Some(())
}

fn difference(
    runs: [&RunDir; 2],
    (trial, attempt): Place,
    rows: [Option<&Compared>; 2],
) -> Result<Difference, RecordError> {
    let rows = keys(runs, rows)?;
    let keys = rows.iter().flatten().flatten().map(|(key, _)| key);
    let differing = keys.filter(|key| {
        let [before, now] =
            rows.each_ref().map(|row| row.as_ref()?.get(*key).map(|value| value.get()));
        before != now
    });
    let is_in_both = rows.iter().all(Option::is_some);
    let key = differing.min().filter(|_| is_in_both).map_or("row", String::as_str);
    let artifacts = match (key, &rows) {
        ("artifacts", [Some(before), Some(now)]) => other_artifacts([before, now]),
        _ => Vec::new(),
    };
    let [base, new] = rows.each_ref().map(|row| match row {
        Some(row) if is_in_both => row.get(key).cloned(),
        row => row.as_ref().and_then(|row| to_raw_value(row).ok()),
    });
    Ok(Difference { trial, attempt, key: key.to_owned(), base, new, artifacts })
}

/// Returns the artifacts that differ between two rows, by name. A row can have several of one name.
fn other_artifacts(rows: [&Keys; 2]) -> Vec<ArtifactDifference> {
    let mut names = BTreeMap::<String, [Vec<&str>; 2]>::new();
    for (side, row) in rows.into_iter().enumerate() {
        let list = row.get("artifacts").map_or("[]", |list| list.get());
        let list: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
        for artifact in list {
            let named: Option<ArtifactName> = serde_json::from_str(artifact.get()).ok();
            let name = named.map(|named| named.name).unwrap_or_default();
            names.entry(name).or_default()[side].push(artifact.get());
        }
    }
    let differing = names.into_iter().filter(|(_, [before, now])| before != now);
    let named = differing.map(|(name, sides)| {
        let [in_base, in_new] = sides.map(|side| !side.is_empty());
        ArtifactDifference { name, in_base, in_new }
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::{compared, other_artifacts};

    #[test]
    fn artifacts_that_differ_are_named() {
        let row = |artifacts: &str| compared(format!(r#"{{"artifacts":{artifacts}}}"#).as_bytes());
        let base =
            r#"[{"name":"a","sha256":"11"},{"name":"b","sha256":"11"},{"name":"c","sha256":"11"}]"#;
        let new = r#"[{"name":"b","sha256":"11"},{"name":"c","sha256":"22"},{"name":"d","sha256":"11"},{"name":"d","sha256":"22"}]"#;
        let [base, new] = [base, new].map(|artifacts| row(artifacts).unwrap().keys);
        let found = other_artifacts([&base, &new]);
        let found: Vec<_> = found.iter().map(|one| (&*one.name, one.in_base, one.in_new)).collect();
        assert_eq!(found, [("a", true, false), ("c", true, true), ("d", false, true)]);
    }

    #[test]
    fn continued_attempts_with_as_many_calls_are_equal() {
        let text =
            |row: &str| serde_json::to_string(&compared(row.as_bytes()).unwrap().keys).unwrap();
        let whole = text(r#"{"output": 1, "calls": {"count": 40, "sha256": "aa"}}"#);
        let continued =
            text(r#"{"output": 1, "calls": {"count": 40, "sha256": "bb"}, "continued": 2}"#);
        assert_eq!(whole, continued);
        let fewer = text(r#"{"output": 1, "calls": {"count": 39, "sha256": "aa"}}"#);
        assert_ne!(whole, fewer);
    }
}
