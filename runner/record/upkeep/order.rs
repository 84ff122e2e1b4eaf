//! [`Order`]: what is wrong with rows that only shows where all are seen, one after the other.

use std::collections::{HashMap, HashSet};

use crate::record::{
    format::{judgement::JudgementLine, manifest::Manifest, row::Row},
    reading::trial_pages::TrialPages,
};

/// Tells the id of the trial with a place in the plan that was stored, if it is known.
pub type TrialIds<'a> = &'a mut dyn FnMut(u64) -> Option<String>;

/// What the order of rows shows.
pub(super) struct Order<'a> {
    manifest: &'a Manifest,
    providers: HashSet<&'a str>,
    planned: TrialIds<'a>,
    seq: u64,
    session: u32,
    /// The number of each trial's latest attempt; what does not fit is in `large`.
    attempts: TrialPages<u8>,
    large: HashMap<u64, u32>,
    /// The number of that attempt's row, if a judgement may name it.
    rows: TrialPages<u64>,
    /// Damaged lines since the last good one; each may have been a row.
    damaged: u64,
    /// Whether there was any; then a judgement may be one of a row that nobody can read.
    has_damage: bool,
}

impl<'a> Order<'a> {
    pub(super) fn new(manifest: &'a Manifest, planned: TrialIds<'a>) -> Self {
        let names = manifest
            .providers
            .iter()
            .map(|provider| provider.name.as_str());
        Self {
            manifest,
            providers: names.collect(),
            planned,
            seq: 0,
            session: 1,
            attempts: TrialPages::default(),
            large: HashMap::new(),
            rows: TrialPages::default(),
            damaged: 0,
            has_damage: false,
        }
    }

    /// Notes a line that gives no row.
    pub(super) fn damaged(&mut self) {
        self.damaged += 1;
        self.has_damage = true;
    }

    /// Says what is wrong with a row after those before it.
    pub(super) fn check(&mut self, row: &Row<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.check_seq(row.seq));
        problems.extend(self.check_session(row.session));
        problems.extend(self.check_trial(row));
        problems
    }

    /// Says what is wrong with a judgement after the rows before it.
    pub(super) fn check_judgement(&mut self, judgement: &JudgementLine<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        problems.extend(self.check_seq(judgement.seq));
        problems.extend(self.check_session(judgement.session));
        let JudgementLine {
            ordinal,
            attempt,
            of,
            ..
        } = *judgement;
        let is_apart = self.manifest.is_judged_apart();
        let is_of_latest =
            self.latest(ordinal) == attempt && self.rows.get(ordinal).copied() == Some(of);
        if is_apart && !is_of_latest && !self.has_damage {
            problems.push(format!(
                "it judges row {}, which is not attempt {} of the trial with place {}",
                of, attempt, ordinal
            ));
        }
        if !is_apart {
            problems.push("the run's manifest does not say that judgements stand apart".into());
        }
        problems
    }

    fn check_seq(&mut self, seq: u64) -> Option<String> {
        let (last, damaged) = (self.seq, std::mem::take(&mut self.damaged));
        if seq <= last {
            return Some(format!("row {seq} comes after row {last}"));
        }
        self.seq = seq;
        let missing = seq - last - 1;
        (missing > damaged).then(|| format!("rows are missing between row {last} and row {seq}"))
    }

    fn check_session(&mut self, session: u32) -> Option<String> {
        let last = std::mem::replace(&mut self.session, session);
        let sessions = self.manifest.sessions.len();
        if session < last || session as usize > sessions {
            return Some(format!(
                "it is of session {session}, after session {last} of {sessions}"
            ));
        }
        None
    }

    fn check_trial(&mut self, row: &Row<'_>) -> Option<String> {
        let trial = &row.trial;
        let name = format!("{}@{}#{}", row.test, row.provider, row.repeat);
        if *trial != name || !self.providers.contains(row.provider.as_ref()) {
            return Some(format!("{trial} is not a trial of this run"));
        }
        let planned = self.manifest.metadata.planned_test_count;
        if row.ordinal >= planned {
            return Some(format!(
                "{trial} has place {} in a plan of {planned} trials",
                row.ordinal
            ));
        }
        if let Some(planned) = (self.planned)(row.ordinal)
            && *trial != planned
        {
            return Some(format!(
                "{trial} has place {}, which is that of {planned} in the plan: it is another run's row",
                row.ordinal
            ));
        }
        let last = self.latest(row.ordinal);
        self.set_latest(row);
        (row.attempt <= last).then(|| {
            format!(
                "attempt {} of {trial} comes after attempt {last}",
                row.attempt
            )
        })
    }

    /// The number of a trial's latest attempt; 0 if it had none.
    fn latest(&self, ordinal: u64) -> u32 {
        match self.attempts.get(ordinal) {
            Some(&u8::MAX) => self.large.get(&ordinal).copied().unwrap_or(0),
            number => number.map_or(0, |number| u32::from(*number)),
        }
    }

    fn set_latest(&mut self, row: &Row<'_>) {
        let small = u8::try_from(row.attempt).unwrap_or(u8::MAX);
        *self.attempts.slot(row.ordinal) = small;
        if small == u8::MAX {
            self.large.insert(row.ordinal, row.attempt);
        }
        // Nothing else needs eight bytes a trial.
        if self.manifest.is_judged_apart() {
            *self.rows.slot(row.ordinal) = row.seq;
        }
    }
}
