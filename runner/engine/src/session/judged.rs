//! [`JudgedReport`]: the new row of a stored one, made from a worker's judgement or grade. The worker cannot change the rest.

use std::time::Duration;

use runner_model::protocol::{DIVERGED, ReportHead, TaskKind};
use runner_model::row::{Calls, Grade, RowError, Usage, check_grade, check_judgement, read_line};
use runner_model::{Outcome, Row, RowRef};

use super::in_flight::{CheckedReport, InFlightTask};

/// A judged row.
pub(crate) struct JudgedReport {
    /// The new row, or the stored one if the grader was interrupted.
    pub(crate) row: Vec<u8>,
    /// The row if the grader is called again after its error.
    pub(crate) ungraded: Option<Vec<u8>>,
    work: JudgedWork,
}

/// The work that made a judged row.
enum JudgedWork {
    Judgement,
    /// The call of the grader of this name.
    Grade(String),
    /// The call of a grader that did not end, and the reason if it cannot continue from its journal.
    Interrupted(Option<String>),
}

impl InFlightTask {
    /// Returns whether the task judges or grades a stored row.
    pub(crate) fn is_judged(&self) -> bool {
        self.stored.is_some()
    }

    /// Checks the report of a task `Judge` or `Grade`. `calls` are those that the journal of the grader has.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(crate) fn check_judged(
        &self,
        head: &ReportHead,
        body: &[u8],
        session: u32,
        calls: Option<Calls>,
    ) -> Result<JudgedReport, String> {
        let bad = |what: &dyn std::fmt::Display| format!("reported {what}");
        if body.len() > head.row_bytes as usize || !self.has_no_drafts() {
            return Err(bad(&"a log or artifacts with a judgement"));
        }
        let stored = self.stored()?;
        if self.task.kind == TaskKind::Judge {
            let graders = self.grader_names(stored.limit_that_cut().is_some());
            let mut judgement =
                check_judgement(body, &stored, &graders).map_err(|error| bad(&error))?;
            // Only its graders have not answered. The worker lacks outputs above 8 MiB and the standard error.
            if stored.outcome == Outcome::Ungraded
                && stored.judgement_fingerprint == Some(self.judgement)
            {
                judgement.outcome = Outcome::Passed;
                judgement.checks =
                    stored.checks.iter().filter(|check| check.kind.is_some()).cloned().collect();
            }
            let mut row = Row::judged(stored, judgement, &graders, self.judges_partial);
            return Ok(JudgedReport::new(row.fit(), JudgedWork::Judgement));
        }
        let interrupted = |why| {
            let row = Row::from(stored.clone()).fit();
            Ok(JudgedReport::new(row, JudgedWork::Interrupted(why)))
        };
        let grade = check_grade(body, self.grader(), self.task.attempt);
        let Some(grade) = grade.map_err(|error| bad(&error))? else { return interrupted(None) };
        if head.host_fault.is_some() {
            return Err(bad(&"a fault of the machine and a grade"));
        }
        let diverged = grade.error.as_ref();
        let diverged = diverged.filter(|error| error.class.is_none() && *error.code == *DIVERGED);
        self.check_calls(diverged.is_some(), grade.error.as_ref(), grade.calls, calls)?;
        match diverged {
            Some(error) => {
                interrupted(Some(format!("grader `{}`: {}", grade.grader, error.message)))
            }
            None => Ok(self.graded(stored, Grade { session, ..grade })),
        }
    }

    /// Creates the report of a grade or judgement that was lost with its worker. `calls` are those that the journal of the grader
    /// has.
    pub(crate) fn lost_judged(
        &self,
        outcome: Outcome,
        error: RowError<'static>,
        took: Duration,
        session: u32,
        calls: Option<Calls>,
    ) -> Result<JudgedReport, String> {
        let stored = self.stored()?;
        if self.task.kind == TaskKind::Judge {
            let error = Some(error);
            let mut row = Row { outcome, error, service_failed: false, ..Row::from(stored) };
            return Ok(JudgedReport::new(row.fit(), JudgedWork::Judgement));
        }
        let grade = Grade {
            grader: self.grader().into(),
            attempt: self.task.attempt,
            verdict: None,
            own_verdict: None,
            score: None,
            min_score: None,
            weight: 1.0,
            explanation: None,
            printed: false,
            error: Some(error),
            log: None,
            duration_ms: took.as_micros() as f64 / 1e3,
            usage: Usage::default(),
            metrics: Vec::new(),
            denied: Vec::new(),
            // A stopped grader continues.
            calls: calls.filter(|_| outcome != Outcome::Stopped),
            asked: None,
            partial: false,
            session,
        };
        Ok(self.graded(stored, grade))
    }

    /// Returns the name of the grader that the task calls.
    fn grader(&self) -> &str {
        let mut graders = self.graders.iter();
        graders.find(|one| one.place == self.task.provider).map_or("", |one| &one.name)
    }

    fn stored(&self) -> Result<RowRef<'_>, String> {
        let line = self.stored.as_ref().map_or(&[][..], |stored| &stored.line);
        read_line(line)
            .map_err(|error| format!("has a task about a line that is not a row: {error}"))
    }

    fn graded<'a>(&self, stored: RowRef<'a>, grade: Grade<'a>) -> JudgedReport {
        let is_cut = stored.cut_by.is_some();
        let (graders, grader) = (self.grader_names(is_cut), grade.grader.to_string());
        let again = grade.error.is_some() && !stored.keeps_outcome();
        let again = again.then(|| Row::graded(stored.clone(), grade.clone(), &graders, true).fit());
        let row = Row::graded(stored, grade, &graders, false).fit();
        JudgedReport { ungraded: again, ..JudgedReport::new(row, JudgedWork::Grade(grader)) }
    }
}

impl JudgedReport {
    fn new(row: Vec<u8>, work: JudgedWork) -> Self {
        Self { row, ungraded: None, work }
    }

    /// Returns the new row.
    pub(crate) fn row(&self) -> Result<RowRef<'_>, String> {
        serde_json::from_slice(&self.row).map_err(|error| format!("reported no row: {error}"))
    }

    /// Returns the report as the schedule needs it: with the duration, the resources and the error of the judgement alone.
    pub(crate) fn effort<'a>(&self, row: &RowRef<'a>, head: &ReportHead) -> RowRef<'a> {
        let mut effort = row.clone();
        // The budgets include the metrics of the stored row already.
        effort.metrics.clear();
        if let JudgedWork::Interrupted(diverged) = &self.work {
            let message = head.host_fault.map_or("the run was stopped", |fault| fault.as_str());
            let (code, message) = match diverged {
                Some(difference) => (DIVERGED, difference.clone()),
                None => ("stopped", message.to_owned()),
            };
            effort.outcome = Outcome::Stopped;
            effort.error = Some(RowError {
                code: code.into(),
                message: message.into(),
                ..RowError::default()
            });
        } else if let JudgedWork::Grade(name) = &self.work
            && let Some(place) = row.grades.iter().position(|grade| *grade.grader == **name)
        {
            let grade = effort.grades.swap_remove(place);
            (effort.duration_ms, effort.usage) = (grade.duration_ms, grade.usage);
            effort.metrics = grade.metrics;
            if let Some(error) = &grade.error {
                let is_timeout = error.class.is_none();
                effort.outcome = if is_timeout { Outcome::Timeout } else { Outcome::Error };
            }
            effort.error = grade.error;
            // The outcome of an attempt that was cut off is not the grader's.
            if grade.partial && effort.error.is_none() {
                effort.outcome = Outcome::Passed;
            }
        }
        effort
    }
}

impl From<JudgedReport> for CheckedReport {
    fn from(report: JudgedReport) -> Self {
        let row = report.row().ok();
        Self {
            outcome: row.as_ref().map_or(Outcome::Stopped, |row| row.outcome),
            service_failed: row.as_ref().is_some_and(|row| row.service_failed),
            has_denied: row.is_some_and(|row| row.denies()),
            row: report.row,
            ungraded: report.ungraded,
            decided: None,
            log: None,
            artifacts: Vec::new(),
        }
    }
}
