//! [`PastResult`]: a result of a trial in a run of its scenario.

use std::path::Path;

use runner_model::{Counts, Outcome, RowRef, Time, TrialId, known::KnownState};
use runner_record::{Manifest, RecordError, ResultsRoot};
use runner_results::RunTable;
use schemars::JsonSchema;
use serde::Serialize;

use super::history::Mark;
use crate::{phrases, short_id};

/// Runs that are searched for results of a trial.
const MOST_RUNS: usize = 20;
/// Trials of these runs together, whose results may have to be read from all rows once.
const MOST_TRIALS: u64 = 2_000_000;

/// A result of a trial in a run of its scenario.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct PastResult {
    /// The run's id.
    pub run: String,
    /// The start of the run.
    pub run_started_at: Time,
    /// Outcome of the deciding attempt.
    pub outcome: Outcome,
    /// Whether the trial passed after an attempt that did not.
    pub flaky: bool,
    /// `known` for a known failure of that run, `unexpected-pass` for a pass that its list does not expect. Absent for other
    /// results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownState>,
    /// Duration of the deciding attempt, in milliseconds.
    pub duration_ms: f64,
}

impl PastResult {
    /// Reads the results of a trial in the newest runs of its scenario, the oldest first: of the run `manifest` from its row that
    /// decides, with its state. Leaves out other runs that are running or cannot be read. Calls `progress` before each other run.
    ///
    /// # Errors
    ///
    /// The results root cannot be read.
    pub(super) fn read(
        root: &ResultsRoot,
        manifest: &Manifest,
        trial: &TrialId,
        row: Option<(&RowRef<'_>, Option<KnownState>)>,
        progress: &mut dyn FnMut(),
    ) -> Result<Vec<Self>, RecordError> {
        let own = &manifest.id;
        let mut found = Vec::new();
        let mut rows = 0;
        let runs = root.runs_of(&manifest.scenario, Path::new(&manifest.scenario_path))?;
        // Running runs are left out: their tables are not kept, so all rows would be read each time.
        let kept = runs.flatten().filter(|(run, of)| of.status.is_terminal() || run.id() == own);
        for (run, manifest) in kept.take(MOST_RUNS) {
            rows += manifest.counts.done();
            if rows > MOST_TRIALS && !found.is_empty() {
                break;
            }
            let result = if run.id() == own {
                row.map(|(row, known)| (row.outcome, row.flaky, known, row.duration_ms))
            } else {
                progress();
                // Rows of another version may be newer than those that this runner reads.
                let table = RunTable::open(&run).ok().filter(|table| table.check_version().is_ok());
                let result = table.and_then(|table| table.result(table.find(trial)?));
                result.map(|row| (row.outcome, row.is_flaky(), row.state.listed(), row.ms()))
            };
            found.extend(result.map(|(outcome, flaky, known, duration_ms)| Self {
                run: run.id().to_owned(),
                run_started_at: manifest.started_at,
                outcome,
                flaky,
                known,
                duration_ms,
            }));
        }
        found.reverse();
        Ok(found)
    }

    fn sign(&self) -> Option<char> {
        let mut counts = Counts::default();
        counts.add(self.outcome, self.flaky);
        counts.add_state(self.known.unwrap_or_default());
        Mark::of(&counts).map(Mark::sign)
    }

    fn word(&self) -> &'static str {
        phrases::outcome(self.outcome, self.known)
    }
}

/// Formats results as signs, with the newest change.
pub(super) fn lines(results: &[PastResult]) -> Vec<String> {
    let [first, .., last] = results else { return Vec::new() };
    let signs: String = results.iter().filter_map(PastResult::sign).collect();
    let since = phrases::zoned_clock(first.run_started_at);
    let pairs = results.iter().zip(&results[1..]);
    let change = pairs.rev().find(|(old, new)| old.word() != new.word());
    let change = match change {
        Some((old, new)) => format!(
            "{} since run {}, {}; before: {}",
            last.word(),
            short_id(&new.run),
            phrases::zoned_clock(new.run_started_at),
            old.word()
        ),
        None => {
            let runs = results.len();
            let flaky = match results.iter().filter(|one| one.flaky).count() {
                0 => String::new(),
                flaky => format!(", in {flaky} of them after an attempt that did not pass"),
            };
            format!("{} in each of these {runs} runs{flaky}", last.word())
        }
    };
    vec![format!("{signs} newest last, since {since}"), change]
}
