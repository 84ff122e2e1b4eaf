//! [`Audit`]: what must hold at every message, found without the dispatcher's own books.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    graded::{AGAIN_AFTER, GradingAudit, backoff},
    machines::MachineAudit,
    shape::{AuditRules, PlanShape, Starts},
};
use crate::{
    model::{Attempt, Outcome, Reason, StopMode},
    record::{Accepted, AttemptKey, Entry, JudgementEntry, Mark, State},
    run::seam::{Assignment, Capacity, ExecutorId, FromExecutors, GRADERS},
};

/// How long interrupted guests have to answer.
const ANSWER_TIME: Duration = Duration::from_millis(50);
/// After how many attempts it is known what a provider's attempts hold.
const ENOUGH_TO_TELL: u32 = 8;
/// What is reserved at least, in bytes.
const LEAST_MEMORY: u64 = 1024 * 1024;
/// How many deaths alone make a suspect the cause.
const DEATHS_ALONE: u32 = 3;

/// The books of somebody who hears every message.
pub(super) struct Audit {
    shape: Arc<PlanShape>,
    rules: AuditRules,
    pub(super) machines: MachineAudit,
    /// What is assigned and not answered, by ordinal.
    open: HashMap<u64, OpenAttempt>,
    trials: Vec<Known>,
    /// When each provider's attempts have begun.
    started: Vec<Starts>,
    /// How many of each provider's attempts were made, and the most that one of them held.
    held: Vec<(u32, u64)>,
    /// The rows that must be recorded, each once.
    expected: HashMap<AttemptKey, Expected>,
    recorded: HashSet<AttemptKey>,
    /// The rows that are on disk, in their order.
    pub(super) written: Vec<Mark>,
    unwritten: usize,
    bad: u64,
    /// The trials of which an attempt was assigned.
    pub(super) begun: BTreeSet<u64>,
    stopping: Option<AuditedStop>,
    /// Whether somebody was waited for in vain when the stop began.
    was_forsaken: bool,
    pub(super) grading: GradingAudit,
    pub(super) has_storage_failed: bool,
}

struct OpenAttempt {
    who: ExecutorId,
    number: u32,
    memory: u64,
    is_begun: bool,
}

#[derive(Clone, Default)]
struct Known {
    is_settled: bool,
    /// The number of the last attempt that has or will have a row.
    number: u32,
    /// Attempts that the scenario's retries count.
    tries: u32,
    not_before: Duration,
    deaths: u32,
}

struct Expected {
    outcome: Outcome,
    is_final: bool,
    /// It came when the dispatcher may have given up waiting for it.
    is_optional: bool,
}

struct AuditedStop {
    mode: StopMode,
    /// From when on attempts may have been given up.
    gives_up_at: Option<Duration>,
}

impl Audit {
    pub(super) fn new(shape: Arc<PlanShape>, rules: AuditRules) -> Self {
        Self {
            trials: vec![Known::default(); shape.trials.len()],
            started: vec![Starts::default(); shape.providers.len()],
            held: vec![(0, 0); shape.providers.len()],
            grading: GradingAudit::new(Arc::clone(&shape), rules.ends),
            machines: MachineAudit::new(Arc::clone(&shape)),
            shape,
            rules,
            open: HashMap::new(),
            expected: HashMap::new(),
            recorded: HashSet::new(),
            written: Vec::new(),
            unwritten: 0,
            bad: 0,
            begun: BTreeSet::new(),
            stopping: None,
            was_forsaken: false,
            has_storage_failed: false,
        }
    }

    /// An attempt is assigned.
    pub(super) fn assigned(&mut self, now: Duration, who: ExecutorId, assignment: &Assignment) {
        let key = assignment.key();
        assert!(self.stopping.is_none(), "{key:?} is assigned after a stop");
        if who == GRADERS {
            let beside = self.open.keys().find(|ordinal| self.is_suspect(**ordinal));
            assert_eq!(beside, None, "{key:?} is graded beside a suspect");
            return self.grading.asked(now, assignment);
        }
        let is_suspect = self.is_suspect(key.ordinal);
        let capacity = self.machines.assigned(who, key.ordinal, is_suspect);
        let slots = self.machines.slots();
        let trial = &self.trials[key.ordinal as usize];
        assert!(!trial.is_settled, "{key:?} is assigned after its final row");
        assert!(
            !self.open.contains_key(&key.ordinal),
            "{key:?} is assigned twice"
        );
        assert_eq!(key.number, trial.number + 1, "{key:?} has another's number");
        assert!(
            now >= trial.not_before,
            "{key:?} is begun at {now:?}, before {:?}",
            trial.not_before
        );

        let planned = &self.shape.trials[key.ordinal as usize];
        assert_eq!(planned.provider, assignment.provider);
        let provider = &self.shape.providers[planned.provider];
        self.check_memory(who, capacity, assignment);
        let keeps_rate = self.started[planned.provider].add(now, provider.gap());
        assert!(keeps_rate, "{key:?} is begun too fast");
        let of_provider =
            |ordinal: &&u64| self.shape.trials[**ordinal as usize].provider == planned.provider;
        let running = self.open.keys().filter(of_provider).count();
        assert!(
            provider.concurrency.is_none_or(|most| running < most),
            "{key:?} is one too many of its provider"
        );
        if let Some(most) = self.rules.fail_fast {
            let left = most.saturating_sub(self.bad).max(slots as u64);
            assert!(
                (self.open.len() as u64) < left,
                "{key:?} is begun although {} open attempts suffice to fail",
                self.open.len()
            );
        }
        self.check_suspects(key);
        self.open.insert(
            key.ordinal,
            OpenAttempt {
                who,
                number: key.number,
                memory: assignment.memory,
                is_begun: false,
            },
        );
        self.begun.insert(key.ordinal);
    }

    /// What is reserved is what others have shown to be needed, and never more than there is.
    fn check_memory(&self, who: ExecutorId, capacity: Capacity, assignment: &Assignment) {
        let limit = self.shape.providers[assignment.provider].memory;
        let reserved = match self.held[assignment.provider] {
            (made, largest) if made >= ENOUGH_TO_TELL => (largest * 2).max(LEAST_MEMORY).min(limit),
            _ => limit,
        };
        assert_eq!(assignment.memory, reserved, "{:?}", assignment.key());
        let providers = self.shape.providers.iter();
        let largest = providers.map(|provider| provider.memory).max();
        let is_scarce = largest.unwrap() * capacity.slots as u64 > capacity.memory;
        let own = self.open.values().filter(|open| open.who == who);
        let others: u64 = own.map(|open| open.memory).sum();
        assert!(
            !is_scarce || others + reserved <= capacity.memory,
            "{:?} does not fit beside {others} bytes",
            assignment.key()
        );
    }

    /// A suspect runs when all others are settled, and alone, also with the disk.
    fn check_suspects(&self, key: AttemptKey) {
        let beside = self.open.keys().find(|ordinal| self.is_suspect(**ordinal));
        assert_eq!(beside, None, "{key:?} is begun beside a suspect");
        if self.is_suspect(key.ordinal) {
            assert!(self.open.is_empty(), "the suspect {key:?} is not alone");
            assert_eq!(self.unwritten, 0, "the suspect {key:?} endangers rows");
            let is_graded = self.grading.is_any_left();
            assert!(!is_graded, "the suspect {key:?} is beside graders");
            let trials = (0..).zip(&self.trials);
            let mut left = trials.filter(|(ordinal, trial)| {
                !trial.is_settled && self.machines.may_be_made(*ordinal)
            });
            let other = left.find(|(ordinal, _)| !self.is_suspect(*ordinal));
            assert!(other.is_none(), "the suspect {key:?} is not the last");
        }
    }

    fn is_suspect(&self, ordinal: u64) -> bool {
        let after = self.rules.poison_after;
        after > 0 && self.trials[ordinal as usize].deaths >= after
    }

    /// An executor's message reaches the dispatcher.
    pub(super) fn heard(&mut self, now: Duration, message: &FromExecutors) {
        let (FromExecutors::Joined { who, .. }
        | FromExecutors::Started { who, .. }
        | FromExecutors::Reports { who, .. }
        | FromExecutors::Unkept { who, .. }
        | FromExecutors::Returned { who, .. }
        | FromExecutors::Lost { who, .. }
        | FromExecutors::Left { who }) = message;
        if *who == GRADERS {
            self.grading.heard(now, message);
            if std::mem::take(&mut self.grading.has_carried) {
                self.machines.carried_at_home();
            }
            return;
        }
        match message {
            FromExecutors::Joined {
                who,
                capacity,
                machine,
            } => self.machines.joined(*who, *capacity, machine),
            FromExecutors::Started { who, attempts } => {
                for key in attempts {
                    if let Some(open) = self.open.get_mut(&key.ordinal)
                        && (open.who, open.number) == (*who, key.number)
                    {
                        open.is_begun = true;
                    }
                }
            }
            FromExecutors::Reports { who, attempts } => {
                for attempt in attempts {
                    self.reported(now, *who, attempt, true);
                }
            }
            FromExecutors::Unkept { who, attempts } => {
                for attempt in attempts {
                    self.reported(now, *who, attempt, false);
                }
            }
            FromExecutors::Returned { who, attempts }
            | FromExecutors::Lost { who, attempts, .. } => {
                for key in attempts {
                    self.lost(now, *who, *key);
                }
            }
            FromExecutors::Left { who } => {
                let open = self.open.iter().filter(|(_, open)| open.who == *who);
                let mut keys: Vec<_> = open
                    .map(|(ordinal, open)| AttemptKey {
                        ordinal: *ordinal,
                        number: open.number,
                    })
                    .collect();
                keys.sort_unstable();
                for key in keys {
                    self.lost(now, *who, key);
                }
                self.machines.left(*who);
            }
        }
    }

    fn reported(&mut self, now: Duration, who: ExecutorId, attempt: &Attempt, is_kept: bool) {
        let key = AttemptKey::from(attempt);
        if self.close(who, key).is_none() {
            return;
        }
        let trial = &mut self.trials[key.ordinal as usize];
        trial.number = key.number;
        let error = attempt.error.as_ref();
        if error.is_some_and(|error| error.fault.is_some()) {
            trial.deaths = 0;
            self.expect(now, key, Outcome::Stopped, false);
            let is_stopping = self.stopping.is_some();
            let pause = match is_kept {
                true => self.machines.failed(who, key.ordinal, is_stopping),
                false => self.machines.could_not_keep(key.ordinal),
            };
            self.trials[key.ordinal as usize].not_before = now + pause;
            return;
        }
        if attempt.outcome == Outcome::Stopped {
            self.expect(now, key, Outcome::Stopped, false);
            return;
        }
        self.machines.carried(who);
        let (made, largest) = &mut self.held[self.shape.trials[key.ordinal as usize].provider];
        *made += 1;
        *largest = attempt.usage.peak_memory.max(*largest);
        trial.deaths = 0;
        trial.tries += 1;
        let retries = &self.shape.trials[key.ordinal as usize].test.retries;
        let again_at = backoff(retries, attempt.outcome, error, trial.tries)
            .map(|backoff| now + backoff)
            .filter(|at| *at < self.rules.ends);
        match again_at {
            Some(at) => trial.not_before = at,
            None => {
                trial.is_settled = true;
                self.bad += u64::from(attempt.outcome.is_bad());
            }
        }
        let graders = &self.shape.trials[key.ordinal as usize]
            .test
            .expect
            .graders();
        if again_at.is_none() && attempt.outcome == Outcome::Passed && !graders.is_empty() {
            self.grading.expect(key);
            return self.expect(now, key, Outcome::Ungraded, false);
        }
        self.expect(now, key, attempt.outcome, again_at.is_none());
    }

    fn lost(&mut self, now: Duration, who: ExecutorId, key: AttemptKey) {
        let Some(open) = self.close(who, key) else {
            return;
        };
        let trial = &mut self.trials[key.ordinal as usize];
        trial.not_before = now + AGAIN_AFTER;
        if !open.is_begun {
            return;
        }
        trial.number = key.number;
        trial.deaths += 1;
        let after = self.rules.poison_after;
        let is_guilty = after > 0 && trial.deaths >= after + DEATHS_ALONE;
        if is_guilty {
            trial.is_settled = true;
            trial.number += 1;
            self.bad += 1;
        }
        self.expect(now, key, Outcome::Stopped, false);
        if is_guilty {
            let number = key.number + 1;
            let accused = AttemptKey { number, ..key };
            self.expect(now, accused, Outcome::Error, true);
        }
    }

    fn close(&mut self, who: ExecutorId, key: AttemptKey) -> Option<OpenAttempt> {
        let open = self.open.get(&key.ordinal)?;
        if (open.who, open.number) != (who, key.number) {
            return None;
        }
        self.open.remove(&key.ordinal)
    }

    fn expect(&mut self, now: Duration, key: AttemptKey, outcome: Outcome, is_final: bool) {
        let stopping = self.stopping.as_ref();
        let gives_up_at = stopping.and_then(|stopping| stopping.gives_up_at);
        let expected = Expected {
            outcome,
            is_final,
            is_optional: gives_up_at.is_some_and(|at| now >= at) || self.has_storage_failed,
        };
        let twice = self.expected.insert(key, expected);
        assert!(twice.is_none(), "{key:?} has two rows");
    }

    /// Rows are on their way to the disk.
    pub(super) fn recorded(&mut self, entries: &[Entry]) {
        for entry in entries {
            let mark = entry.mark();
            let key = mark.key;
            assert!(self.recorded.insert(key), "{key:?} is recorded twice");
            self.unwritten += 1;
            if let Some(expected) = self.expected.remove(&key) {
                let is_final = (mark.outcome, mark.is_final);
                assert_eq!(is_final, (expected.outcome, expected.is_final), "{key:?}");
                continue;
            }
            // What a stop gives up is the one row that nobody has asked for.
            let open = self.open.remove(&key.ordinal);
            let is_given_up = open.is_some_and(|open| open.number == key.number && open.is_begun)
                && self.stopping.is_some()
                && (mark.outcome, mark.is_final) == (Outcome::Stopped, false);
            assert!(is_given_up, "nothing is known of {mark:?}");
        }
    }

    /// Judgements are on their way to the disk.
    pub(super) fn judged(&mut self, judgements: &[JudgementEntry]) {
        for judgement in judgements {
            self.grading.judged(judgement);
            self.unwritten += 1;
            self.bad += u64::from(judgement.mark.outcome.is_bad());
        }
    }

    /// Rows and judgements are on disk.
    pub(super) fn synced(&mut self, entries: &[Entry], judgements: &[JudgementEntry]) {
        self.unwritten -= entries.len() + judgements.len();
        for entry in entries {
            self.grading.is_on_disk(entry.mark());
        }
        self.written.extend(entries.iter().map(Entry::mark));
        self.grading.synced(judgements);
    }

    /// A stop begins, or is made stronger.
    pub(super) fn stopping(&mut self, now: Duration, mode: StopMode) {
        let gives_up_at = match mode {
            StopMode::Drain => None,
            StopMode::Stop | StopMode::Cancel => Some(now + self.rules.grace + ANSWER_TIME),
            StopMode::Kill => Some(now + ANSWER_TIME),
        };
        let old = self.stopping.as_ref();
        assert!(old.is_none_or(|old| mode > old.mode), "a stop gets weaker");
        if old.is_none() && self.is_left() {
            let until = self.forsaken_until().unwrap_or(Duration::MAX);
            assert!(now <= until, "it waits for somebody until {now:?}");
            self.was_forsaken = now == until;
        }
        let sooner = old.and_then(|old| old.gives_up_at);
        self.stopping = Some(AuditedStop {
            mode,
            gives_up_at: [sooner, gives_up_at].into_iter().flatten().min(),
        });
    }

    /// When a stop must be over at the latest, if one is under way that is bounded; the time for the disk not counted.
    pub(super) fn must_end_at(&self) -> Option<Duration> {
        let gives_up_at = self.stopping.as_ref()?.gives_up_at?;
        Some(gives_up_at + ANSWER_TIME)
    }

    /// The dispatcher looks at what has happened until now.
    pub(super) fn looked_at(&mut self, now: Duration) {
        self.machines.looked_at(now, self.open.is_empty());
    }

    /// Until when somebody is waited for, where nobody is there but machines that are set aside.
    fn forsaken_until(&self) -> Option<Duration> {
        Some(self.machines.forsaken_since? + self.rules.forsaken)
    }

    /// Whether somebody may still make a trial.
    fn is_left(&self) -> bool {
        let mut trials = (0..).zip(&self.trials);
        trials.any(|(ordinal, trial)| !trial.is_settled && !self.machines.have_failed(ordinal))
    }

    /// The session is over: compares the dispatcher's state with the fold of what is on disk.
    pub(super) fn ended(&self, live: &State, reason: Option<Reason>) {
        let is_done = reason.is_none();
        if reason == Some(Reason::Storage) && !self.has_storage_failed {
            let trials = (0..).zip(&self.trials);
            let mut left = trials.filter(|(_, trial)| !trial.is_settled);
            let is_failed = left.any(|(ordinal, _)| self.machines.have_failed(ordinal));
            let is_hopeless = self.machines.are_hopeless || is_failed || self.was_forsaken;
            assert!(is_hopeless, "it ends for want of what somebody has");
        }
        assert!(!self.machines.are_hopeless || self.stopping.is_some() || is_done);
        let mut folded = State::planned(self.shape.trials.len() as u64);
        for mark in &self.written {
            folded.replay(*mark);
        }
        for mark in self.grading.written() {
            assert_eq!(folded.judged(*mark), Accepted::New, "{mark:?}");
        }
        assert_eq!(folded.counts(), live.counts());
        assert_eq!(folded.is_complete(), live.is_complete());
        for ordinal in 0..self.shape.trials.len() as u64 {
            assert_eq!(folded.outcome(ordinal), live.outcome(ordinal), "{ordinal}");
            if !self.has_storage_failed {
                assert_eq!(folded.is_pending(ordinal), live.is_pending(ordinal));
                assert_eq!(folded.attempts(ordinal), live.attempts(ordinal));
            }
        }
        assert_eq!(is_done, folded.is_complete() && !self.has_storage_failed);
        let missing = self.expected.iter().find(|(_, row)| !row.is_optional);
        let missing = missing.map(|(key, _)| key);
        assert!(
            missing.is_none() || self.has_storage_failed,
            "{missing:?} was not recorded"
        );
        let settled = self.trials.iter().filter(|trial| trial.is_settled).count();
        let settled = settled - self.grading.left();
        let is_bounded = self.has_storage_failed || self.must_end_at().is_some();
        assert!(
            is_bounded || settled as u64 == folded.counts().done(),
            "{settled} trials are settled, and {:?} counted",
            folded.counts()
        );
    }
}
