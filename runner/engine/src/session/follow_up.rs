//! The graders of a task, the step after its row, and the coordinator's keys of the row.

use runner_model::{Outcome, Row, RowRef, Tail};

use super::in_flight::InFlightTask;
use crate::plan::{TestGrader, unanswered};
use crate::schedule::Next;

impl InFlightTask {
    /// Returns the graders that a row waits for.
    pub(crate) fn next_graders(&self, row: &RowRef<'_>) -> impl Iterator<Item = &TestGrader> {
        let is_waiting = row.outcome == Outcome::Ungraded || row.keeps_outcome();
        let graders = if is_waiting { &self.graders[..] } else { &[] };
        unanswered(graders, row)
    }

    /// Returns the names of the graders that judge an attempt, in the order of the test.
    pub(super) fn grader_names(&self, is_cut: bool) -> Vec<&str> {
        let graders = self.graders.iter().filter(|grader| grader.has_workspace || !is_cut);
        graders.map(|grader| &*grader.name).collect()
    }

    /// Returns the row of an attempt that was cut off, if its workspace decides about it.
    pub(super) fn decided(&self, row: &RowRef<'_>) -> Option<Vec<u8>> {
        let decides = row.keeps_outcome() && self.judges_partial;
        decides.then(|| Row::decided(row.clone(), &self.grader_names(true)).fit())
    }

    /// Returns the step after a row. `is_decided` if it is that of [`CheckedReport::decided`].
    pub(super) fn next(&self, row: &RowRef<'_>, is_decided: bool) -> Next {
        match self.next_graders(row).next().map(|grader| grader.place) {
            grader if is_decided => Next::Decided(row.outcome, grader),
            Some(grader) if row.keeps_outcome() => Next::Partial(grader),
            Some(grader) => Next::Grader(grader),
            None => Next::Nothing,
        }
    }

    /// Returns whether a pass may count as flaky: for a judged or graded row, only if an earlier attempt did not pass.
    pub(crate) fn can_be_flaky(&self) -> bool {
        self.stored.as_ref().is_none_or(|stored| stored.had_bad)
    }

    /// Returns the keys that the coordinator adds to a row.
    pub(crate) fn tail(&self, is_final: bool, flaky: bool, session: u32) -> Tail {
        let stored = self.stored.as_ref();
        Tail {
            fingerprint: self.execution,
            judgement_fingerprint: self.judgement,
            judged: stored.map(|stored| stored.seq),
            worker: stored.and_then(|stored| stored.worker.clone()),
            stopped_by: None,
            logs: stored.and_then(|stored| stored.logs),
            flaky,
            r#final: is_final,
            session,
            // The writer numbers rows.
            seq: 0,
        }
    }
}
