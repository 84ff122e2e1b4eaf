//! [`Grading`]: the trials of which graders have still to speak, and the graders' own lanes, executors and attempts.
//!
//! Nothing here is shared with the work on providers, so that a slow grader holds nobody's slot. The attempts of graders have
//! no numbers in the run: here they are counted from 1 for each trial and session.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
};

use super::{
    held::HeldGradings,
    lane::{Lane, Trial},
    pace::AHEAD,
    poison::Suspects,
    work::Work,
};
use crate::{
    model::Attempt,
    record::{Entry, GradingDeaths, JudgedMark, JudgementEntry, Row, State},
    run::grading::{Backlog, GradedTrial, Graders, ToJudge, Ungraded, UngradedParts},
    scenario::Test,
};

/// Trials that may wait for their graders before no more are begun.
const MAX_TRIALS: usize = 4096;
/// Bytes of outputs that may wait for graders before no more trials are begun.
const MAX_BYTES: u64 = 64 << 20;
/// Attempts on disk that are looked at before messages are heard again.
const AT_ONCE: usize = 256;

/// What grades, and what is to be graded from earlier sessions.
pub(in crate::run) struct GradingParts {
    pub(in crate::run) graders: Arc<Graders>,
    /// One for each grader that tests name, with its place among the graders as its provider.
    pub(in crate::run) lanes: Vec<Lane>,
    pub(in crate::run) backlog: Backlog,
    /// How many trials there are.
    pub(in crate::run) planned: u64,
    /// At how many deaths of a process trials were being graded, and by whom.
    pub(in crate::run) deaths: GradingDeaths,
    /// At how many of these one is graded last and alone; 0 for never.
    pub(in crate::run) poison_after: u32,
}

/// The trials of which graders have still to speak.
pub(super) struct Grading {
    pub(super) work: Work,
    graders: Arc<Graders>,
    /// What is on disk and has yet to be looked through; `None` once that is done, or is not to be done any more.
    backlog: Option<Backlog>,
    /// By ordinal.
    trials: HashMap<u64, GradedTrial>,
    /// How much memory they take, in bytes.
    bytes: u64,
    /// Those of which graders have spoken, by ordinal.
    spoken: VecDeque<u64>,
    /// Those of which one has spoken and others are asked once that is on disk, by ordinal.
    answered: VecDeque<u64>,
    /// The test of each attempt whose row is on its way to the disk, with the place of its provider; by ordinal.
    coming: HashMap<u64, (Arc<Test>, usize)>,
    /// The row of each attempt whose judgement is on its way to the disk; by ordinal.
    judged: HashMap<u64, Row<'static>>,
    held: HeldGradings,
}

impl Grading {
    pub(super) fn begin(parts: GradingParts) -> Self {
        let planned = match parts.lanes.is_empty() {
            true => 0,
            false => parts.planned,
        };
        let state = State::planned(planned);
        Self {
            work: Work::new(state, parts.lanes, Suspects::default(), AHEAD),
            graders: parts.graders,
            backlog: Some(parts.backlog),
            trials: HashMap::new(),
            bytes: 0,
            spoken: VecDeque::new(),
            answered: VecDeque::new(),
            coming: HashMap::new(),
            judged: HashMap::new(),
            held: HeldGradings::new(parts.deaths, parts.poison_after),
        }
    }

    /// Reads on in what is on disk, as far as graders keep up; gives what has a judgement already.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read.
    pub(super) fn read_on(&mut self) -> io::Result<Vec<JudgementEntry>> {
        let mut judged = Vec::new();
        for _ in 0..AT_ONCE {
            if self.is_too_much() {
                break;
            }
            let Some(backlog) = &mut self.backlog else {
                break;
            };
            match backlog.next() {
                None => self.backlog = None,
                Some(item) => match item?.map(|unjudged| unjudged.0) {
                    None => {}
                    Some(ToJudge::ToGrade(trial)) => self.add(*trial),
                    Some(ToJudge::Judged(judgement, row)) => {
                        self.judged.insert(judgement.mark.key.ordinal, *row);
                        judged.push(*judgement);
                    }
                },
            }
        }
        Ok(judged)
    }

    /// Tells whether there is more to be read, and graders keep up.
    pub(super) fn can_read_on(&self) -> bool {
        self.backlog.is_some() && !self.is_too_much()
    }

    /// Tells whether there is anything to do, now or later.
    pub(super) fn is_left(&self) -> bool {
        !(self.is_quiet() && self.held.is_empty())
    }

    /// Tells whether nothing is left but trials that may have killed the process when they were graded.
    pub(super) fn is_quiet(&self) -> bool {
        self.trials.is_empty() && self.coming.is_empty() && self.backlog.is_none()
    }

    /// How many trials are on disk of which graders have still to speak.
    pub(super) fn waiting(&self) -> u64 {
        (self.trials.len() + self.held.len()) as u64
    }

    /// Tells whether there are trials that may have killed the process when they were graded.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Lets the next trial be graded that may have killed the process when it was: there is nothing else then.
    pub(super) fn begin_held(&mut self) {
        if self.is_quiet()
            && let Some(trial) = self.held.next()
        {
            self.admit(trial);
        }
    }

    /// Tells whether graders do not keep up.
    pub(super) fn is_too_much(&self) -> bool {
        self.trials.len() + self.coming.len() >= MAX_TRIALS || self.bytes >= MAX_BYTES
    }

    /// Notes that the row of an attempt on this provider is on its way to the disk, which is graded then.
    pub(super) fn expect(&mut self, ordinal: u64, test: &Arc<Test>, provider: usize) {
        self.coming.insert(ordinal, (Arc::clone(test), provider));
    }

    /// Takes an attempt whose row is on disk, with the row's line.
    pub(super) fn arrive(&mut self, entry: Entry, line: &[u8]) {
        let Some((test, provider)) = self.coming.remove(&entry.attempt.ordinal) else {
            return;
        };
        let parts = UngradedParts {
            row: Row::decode(line).expect("a row that was just written can be read"),
            test,
            is_plain: self.graders.is_plain(provider),
            answers: Vec::new(),
            fingerprint: entry.fingerprint.judgement,
        };
        let output = entry.attempt.output.unwrap_or_default();
        self.add(GradedTrial::new(Ungraded::new(parts, output)));
    }

    fn add(&mut self, trial: GradedTrial) {
        if let Some(trial) = self.held.hold(trial) {
            self.admit(trial);
        }
    }

    fn admit(&mut self, trial: GradedTrial) {
        let ordinal = trial.of.key().ordinal;
        self.bytes += trial.of.size();
        self.trials.insert(ordinal, trial);
        self.ask(ordinal);
    }

    /// Puts the next question into its grader's lane, or the trial among those of which graders have spoken.
    fn ask(&mut self, ordinal: u64) {
        let Some(trial) = self.trials.get_mut(&ordinal) else {
            return;
        };
        let Some(question) = trial.next(&self.graders) else {
            self.spoken.push_back(ordinal);
            return;
        };
        if let Some(deaths) = self.held.poisoned(ordinal, question.grader) {
            trial.killed(deaths);
            self.spoken.push_back(ordinal);
            return;
        }
        let trial = Trial {
            ordinal,
            test: question.test,
            repeat: trial.of.row.repeat,
            tries: 0,
            ends: None,
        };
        let lane = self.work.lane_of(question.grader);
        self.work.put(lane, trial);
    }

    /// Takes an attempt of a grader that is made again.
    pub(super) fn tried(&mut self, attempt: &Attempt) {
        if let Some(trial) = self.trials.get_mut(&attempt.ordinal) {
            trial.tried(attempt);
        }
    }

    /// Takes the last attempt of a grader. Where another one is to be asked, the answer is on disk before that: whoever goes on
    /// after a death of the process asks nobody twice.
    pub(super) fn answered(&mut self, attempt: &Attempt) {
        let ordinal = attempt.ordinal;
        if let Some(trial) = self.trials.get_mut(&ordinal) {
            trial.answered(&self.graders, attempt);
            match trial.next(&self.graders) {
                Some(_) => self.answered.push_back(ordinal),
                None => self.spoken.push_back(ordinal),
            }
        }
    }

    /// The answers so far of the next trial of which others have still to be asked.
    pub(super) fn part(&mut self) -> Option<JudgementEntry> {
        let ordinal = self.answered.pop_front()?;
        Some(self.trials.get(&ordinal)?.part(&self.graders))
    }

    /// Takes that a judgement is on disk. If graders have still to speak of its trial, the next one is asked.
    pub(super) fn written(&mut self, judgement: &JudgedMark) {
        if judgement.is_part() {
            self.ask(judgement.mark.key.ordinal);
        }
    }

    /// Lets go of a trial that cannot be graded now.
    pub(super) fn give_up(&mut self, ordinal: u64) {
        if let Some(trial) = self.trials.remove(&ordinal) {
            self.bytes -= trial.of.size();
        }
    }

    /// What graders have said of the next trial of which they have spoken; `is_shaky` tells of a trial whether an attempt of
    /// it ended badly.
    pub(super) fn judgement(&mut self, is_shaky: impl Fn(u64) -> bool) -> Option<JudgementEntry> {
        let ordinal = self.spoken.pop_front()?;
        let trial = self.trials.remove(&ordinal)?;
        self.bytes -= trial.of.size();
        self.judged.insert(ordinal, trial.of.row.clone());
        Some(trial.judgement(&self.graders, is_shaky(ordinal)))
    }

    /// The row of an attempt whose judgement is on disk, as the judgement's line has it now.
    pub(super) fn row(&mut self, judgement: &JudgedMark, line: &[u8]) -> Option<Row<'static>> {
        if judgement.is_part() {
            return None;
        }
        let mut row = self.judged.remove(&judgement.mark.key.ordinal)?;
        row.judge_by(line).ok()?;
        Some(row)
    }
}
