//! `runner compare --exact`: whether the results of two runs are equal.

use std::collections::{BTreeMap, HashMap};

use runner_model::visible::{cut, visible_line};
use runner_model::{Outcome, digest, exit::Exit, units::plural};
use runner_record::{ReadLine, RecordError, RunDir};
use runner_report::VERSION;
use runner_report::schemars::{self, JsonSchema};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, Value, to_raw_value};

use crate::text::{CommandError, Out};

/// Keys of rows that differ between equal attempts: places, times, resources and the machine.
const LEFT_OUT: [&str; 13] = [
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
    "stopped_by",
    "crc",
];
/// Characters of a value.
const SHOWN: usize = 400;
/// Artifacts that are named.
const MAX_NAMES: usize = 10;

/// `runner compare --exact`.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ExactDocument {
    /// Always [`VERSION`].
    v: u8,
    /// Attempts with equal rows.
    equal: u64,
    /// Attempts that timed out in both runs.
    left_out: u64,
    /// Compared attempts with a check of `max_duration`, which judges real time and is left out.
    without_duration: u64,
    /// Attempts whose rows differ, or that only one run has.
    different: u64,
    /// Attempts among them that only the base has.
    only_in_base: u64,
    /// Attempts among them that only the new run has.
    only_in_new: u64,
    /// The first difference by the names of attempts. One that only one run has comes after the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<Difference>,
}

/// The first key that differs between two rows.
#[derive(Debug, Serialize, JsonSchema)]
struct Difference {
    /// The trial's id.
    trial: String,
    /// The number of the attempt among those that were not stopped, from 1.
    attempt: u32,
    /// A key of rows. `row` if only one run has the attempt.
    key: String,
    /// The value in the base. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    base: Option<Box<RawValue>>,
    /// The value in the new run. Absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    new: Option<Box<RawValue>>,
    /// The names of the artifacts that differ, sorted. Empty if another key differs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactDifference>,
}

/// An artifact that differs between two rows.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct ArtifactDifference {
    /// The name, which a guest may have chosen.
    name: String,
    /// Whether the base has such an artifact.
    in_base: bool,
    /// Whether the new run has such an artifact. If both have it, its content differs.
    in_new: bool,
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
    hash: [u8; 16],
    /// A timeout is by real time, so two of them are not compared.
    is_timeout: bool,
    has_max_duration: bool,
    /// The attempt's number in its run.
    attempt: u32,
}

pub fn run(runs: [&RunDir; 2], is_json: bool, out: &Out) -> Result<Exit, CommandError> {
    let document = compare(runs)?;
    out.document_or(is_json, &document, |document| document.print(out));
    Ok(if document.different == 0 && document.equal > 0 { Exit::Success } else { Exit::Bad })
}

fn compare([base, new]: [&RunDir; 2]) -> Result<ExactDocument, CommandError> {
    let [before, mut now] = [read(base)?, read(new)?];
    let mut document = ExactDocument { v: VERSION, ..ExactDocument::default() };
    let mut first: Option<(bool, Place, [Option<u32>; 2])> = None;
    let mut differs = |place: Place, attempts: [Option<u32>; 2]| {
        // A replay of some trials lacks all others.
        let found = (attempts.contains(&None), place, attempts);
        if first.as_ref().is_none_or(|first| found < *first) {
            first = Some(found);
        }
    };
    for (place, before) in before {
        let now = now.remove(&place);
        let has_max_duration = now.as_ref().is_some_and(|now| now.has_max_duration);
        document.without_duration += u64::from(before.has_max_duration || has_max_duration);
        match &now {
            Some(now) if before.is_timeout && now.is_timeout => document.left_out += 1,
            Some(now) if before.hash == now.hash => document.equal += 1,
            now => {
                document.different += 1;
                document.only_in_base += u64::from(now.is_none());
                differs(place, [Some(before.attempt), now.as_ref().map(|now| now.attempt)]);
            }
        }
    }
    for (place, now) in now {
        document.different += 1;
        document.only_in_new += 1;
        differs(place, [None, Some(now.attempt)]);
    }
    if let Some((_, place, attempts)) = first {
        document.first = Some(difference([base, new], place, attempts)?);
    }
    Ok(document)
}

/// Reads the newest row of each attempt that was not stopped.
fn read(run: &RunDir) -> Result<HashMap<Place, Compared>, RecordError> {
    let mut trials: HashMap<String, BTreeMap<u32, Compared>> = HashMap::new();
    run.rows(&mut |_, line| {
        if let ReadLine::Row(head, bytes) = line
            && head.outcome != Outcome::Stopped
            && let Some((keys, has_max_duration)) = compared(bytes)
        {
            let text = serde_json::to_vec(&keys).unwrap_or_default();
            let row = Compared {
                hash: *digest(&text).0.first_chunk().unwrap_or(&[0; 16]),
                is_timeout: head.outcome == Outcome::Timeout,
                has_max_duration,
                attempt: head.attempt,
            };
            trials.entry(head.trial.to_string()).or_default().insert(head.attempt, row);
        }
    })?;
    let numbered = trials.into_iter().flat_map(|(trial, attempts)| {
        let rows = (1..).zip(attempts.into_values());
        rows.map(move |(number, row)| ((trial.clone(), number), row))
    });
    Ok(numbered.collect())
}

/// Returns the keys of a row that equal attempts have in common, and whether a check of `max_duration` is left out.
fn compared(bytes: &[u8]) -> Option<(Keys, bool)> {
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
    let has_max_duration = remove_max_duration(&mut row)?;
    Some((row, has_max_duration))
}

/// Removes the check of `max_duration` from a row, and its outcome if no other check decided it. Returns whether there was one.
fn remove_max_duration(row: &mut Keys) -> Option<bool> {
    let Some(raw) = row.get_mut("checks") else { return Some(false) };
    let mut checks: Vec<Keys> = serde_json::from_str(raw.get()).ok()?;
    let has = |part: &Keys, key: &str, value: &str| {
        part.get(key).is_some_and(|own| own.get().trim_matches('"') == value)
    };
    let (removed, left): (Vec<_>, Vec<_>) =
        checks.drain(..).partition(|check| has(check, "kind", "max_duration"));
    let fails = |checks: &[Keys]| checks.iter().any(|check| has(check, "verdict", "fail"));
    *raw = to_raw_value(&left).ok()?;
    if fails(&removed) && !fails(&left) && !has(row, "verdict", "fail") {
        let outcome = if has(row, "verdict", "skip") { "skipped" } else { "passed" };
        row.insert("outcome".to_owned(), to_raw_value(outcome).ok()?);
    }
    if left.is_empty() {
        row.remove("checks");
    }
    Some(!removed.is_empty())
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
    attempts: [Option<u32>; 2],
) -> Result<Difference, RecordError> {
    let [before, now] = [0, 1].map(|side| find(runs[side], &trial, attempts[side]));
    let rows = [before?, now?];
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

fn find(run: &RunDir, trial: &str, attempt: Option<u32>) -> Result<Option<Keys>, RecordError> {
    let mut found = None;
    run.rows(&mut |_, line| {
        if let ReadLine::Row(head, bytes) = line
            && Some(head.attempt) == attempt
            && head.trial.to_string() == trial
        {
            found = compared(bytes).map(|(keys, _)| keys);
        }
    })?;
    Ok(found)
}

impl ExactDocument {
    fn print(&self, out: &Out) {
        if self.left_out > 0 {
            let attempts = plural(self.left_out, "attempt", "attempts");
            out.talk(&format!("not compared: {attempts} that timed out in both runs"));
        }
        if self.without_duration > 0 {
            let attempts = plural(self.without_duration, "attempt", "attempts");
            out.talk(&format!("not compared: `max_duration` of {attempts}"));
        }
        let Some(first) = &self.first else {
            if self.equal == 0 {
                out.data("✗ nothing to compare");
                return;
            }
            let attempts = plural(self.equal, "attempt is", "attempts are");
            out.data(&format!("✓ {attempts} equal, but for times and places"));
            return;
        };
        let differing = self.different - self.only_in_base - self.only_in_new;
        let counts = [
            (differing, "attempt differs", "attempts differ"),
            (self.only_in_base, "attempt is only in base", "attempts are only in base"),
            (self.only_in_new, "attempt is only in new", "attempts are only in new"),
        ];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let counts = counts.map(|(count, one, many)| plural(count, one, many));
        let counts = counts.collect::<Vec<_>>().join(", ");
        out.data(&format!("✗ {counts}, {} equal", self.equal));
        out.data(&format!("  {}, attempt {}: `{}`", first.trial, first.attempt, first.key));
        for ArtifactDifference { name, in_base, in_new } in first.artifacts.iter().take(MAX_NAMES) {
            let how = match (in_base, in_new) {
                (true, false) => "only in base",
                (false, true) => "only in new",
                _ => "other content",
            };
            out.data(&format!("    {}: {how}", visible_line(name)));
        }
        if !first.artifacts.is_empty() {
            let left = first.artifacts.len().saturating_sub(MAX_NAMES) as u64;
            if left > 0 {
                out.data(&format!("    {}", plural(left, "more artifact", "more artifacts")));
            }
            return;
        }
        for (name, value) in [("base", &first.base), ("new", &first.new)] {
            let text = value.as_ref().map_or("nothing", |value| value.get());
            out.data(&format!("  {name:>5} {}", visible_line(&cut(text, SHOWN))));
        }
    }
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
        let [base, new] = [base, new].map(|artifacts| row(artifacts).unwrap().0);
        let found = other_artifacts([&base, &new]);
        let found: Vec<_> = found.iter().map(|one| (&*one.name, one.in_base, one.in_new)).collect();
        assert_eq!(found, [("a", true, false), ("c", true, true), ("d", false, true)]);
    }

    #[test]
    fn continued_attempts_with_as_many_calls_are_equal() {
        let text = |row: &str| serde_json::to_string(&compared(row.as_bytes()).unwrap().0).unwrap();
        let whole = text(r#"{"output": 1, "calls": {"count": 40, "sha256": "aa"}}"#);
        let continued =
            text(r#"{"output": 1, "calls": {"count": 40, "sha256": "bb"}, "continued": 2}"#);
        assert_eq!(whole, continued);
        let fewer = text(r#"{"output": 1, "calls": {"count": 39, "sha256": "aa"}}"#);
        assert_ne!(whole, fewer);
    }

    #[test]
    fn real_time_decides_no_difference() {
        let row = |outcome: &str, more: &str, checks: &[&str]| {
            let row = format!(r#"{{"outcome":"{outcome}"{more},"checks":[{}]}}"#, checks.join(","));
            let (keys, has_max_duration) = compared(row.as_bytes()).unwrap();
            (serde_json::to_string(&keys).unwrap(), has_max_duration)
        };
        let late = r#"{"kind":"max_duration","verdict":"fail","actual":1.5}"#;
        let other = r#"{"kind":"equals","verdict":"fail"}"#;
        let passed = r#"{"outcome":"passed"}"#;
        assert_eq!(row("passed", "", &[]), (passed.to_owned(), false));
        assert_eq!(row("failed", "", &[late]), (passed.to_owned(), true));
        // The duration is not the only reason.
        assert_eq!(row("failed", "", &[late, other]).0, row("failed", "", &[other]).0);
        let own = r#","verdict":"fail""#;
        assert!(row("failed", own, &[late]).0.contains("failed"));
        assert!(row("failed", r#","verdict":"skip""#, &[late]).0.contains("skipped"));
    }
}
