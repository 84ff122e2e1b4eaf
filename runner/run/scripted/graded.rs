//! [`GradingAudit`]: what must hold of graders at every message.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::shape::{PlanShape, Starts};
use crate::{
    model::{Attempt, AttemptError, CheckVerdict, ErrorClass, Outcome},
    record::{AttemptKey, JudgementEntry, Mark},
    run::seam::{Assignment, FromExecutors},
    scenario::{ExpectedError, Retries},
};

/// After how long a trial may be begun again, or a grader asked, that was given back, lost or stopped.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// The books on trials of which graders have to speak.
pub(super) struct GradingAudit {
    shape: Arc<PlanShape>,
    /// When the run has its deadline.
    ends: Duration,
    /// By ordinal.
    trials: BTreeMap<u64, Graded>,
    /// The last question of each grader.
    asked_at: HashMap<usize, Starts>,
    /// The judgements that are on disk, in their order.
    written: Vec<Mark>,
    /// Whether an attempt of a grader has come to something in the last message.
    pub(super) has_carried: bool,
}

/// A trial of which graders have to speak.
struct Graded {
    /// The attempt that they judge.
    key: AttemptKey,
    is_on_disk: bool,
    /// How many have answered.
    answered: usize,
    /// How many of their answers are on disk.
    kept: usize,
    has_failed: bool,
    has_erred: bool,
    /// The grader that is being asked, and its attempt.
    open: Option<(usize, u32)>,
    tries: u32,
    not_before: Duration,
    is_judged: bool,
}

impl GradingAudit {
    pub(super) fn new(shape: Arc<PlanShape>, ends: Duration) -> Self {
        Self {
            shape,
            ends,
            trials: BTreeMap::new(),
            asked_at: HashMap::new(),
            written: Vec::new(),
            has_carried: false,
        }
    }

    /// Graders have to speak of an attempt, whose row is yet to be written.
    pub(super) fn expect(&mut self, key: AttemptKey) {
        let graded = Graded {
            key,
            is_on_disk: false,
            answered: 0,
            kept: 0,
            has_failed: false,
            has_erred: false,
            open: None,
            tries: 0,
            not_before: Duration::ZERO,
            is_judged: false,
        };
        let twice = self.trials.insert(key.ordinal, graded);
        assert!(twice.is_none(), "{key:?} is to be graded twice");
    }

    /// The row of an attempt is on disk.
    pub(super) fn is_on_disk(&mut self, mark: Mark) {
        if mark.outcome == Outcome::Ungraded {
            let graded = self.trials.get_mut(&mark.key.ordinal).unwrap();
            assert_eq!(graded.key, mark.key);
            graded.is_on_disk = true;
        }
    }

    /// Tells whether there is a trial of which graders have still to speak.
    pub(super) fn is_any_left(&self) -> bool {
        self.trials.values().any(|graded| !graded.is_judged)
    }

    /// Of how many trials they have still to speak.
    pub(super) fn left(&self) -> usize {
        let left = self.trials.values().filter(|graded| !graded.is_judged);
        left.count()
    }

    /// A grader is asked.
    pub(super) fn asked(&mut self, now: Duration, assignment: &Assignment) {
        let key = assignment.key();
        let grader = assignment.provider;
        let open = self.trials.values().filter_map(|graded| graded.open);
        let beside = open.filter(|(other, _)| *other == grader).count();
        let bounds = &self.shape.graders[grader];
        assert!(
            beside < bounds.concurrency,
            "{key:?} is one too many of its grader"
        );
        let asked = self.asked_at.entry(grader).or_default();
        assert!(asked.add(now, bounds.gap()), "{key:?} is asked too fast");

        let graded = self.trials.get_mut(&key.ordinal);
        let graded = graded.unwrap_or_else(|| panic!("{key:?} is not to be graded"));
        assert!(
            graded.is_on_disk,
            "{key:?} is graded before its row is on disk"
        );
        assert!(!graded.is_judged, "{key:?} is graded after its judgement");
        assert!(!graded.has_erred, "{key:?} is graded after the last word");
        assert_eq!(graded.open, None, "{key:?} is asked of two graders");
        let kept = (graded.kept, graded.answered);
        assert_eq!(
            kept.0, kept.1,
            "{key:?} is asked on before answers are kept"
        );
        assert!(now >= graded.not_before, "{key:?} is asked too soon again");
        let named = &self.shape.trials[key.ordinal as usize]
            .test
            .expect
            .graders();
        assert_eq!(named[graded.answered], bounds.name(), "{key:?}");
        graded.open = Some((grader, key.number));
    }

    /// What executes graders says something.
    pub(super) fn heard(&mut self, now: Duration, message: &FromExecutors) {
        match message {
            FromExecutors::Joined { .. } | FromExecutors::Started { .. } => {}
            FromExecutors::Unkept { .. } => panic!("a grader leaves nothing"),
            FromExecutors::Reports { attempts, .. } => {
                for attempt in attempts {
                    self.reported(now, attempt);
                }
            }
            FromExecutors::Returned { attempts, .. } | FromExecutors::Lost { attempts, .. } => {
                for key in attempts {
                    if let Some((graded, _)) = self.close(*key) {
                        graded.not_before = now + AGAIN_AFTER;
                    }
                }
            }
            FromExecutors::Left { .. } => {
                for graded in self.trials.values_mut() {
                    if graded.open.take().is_some() {
                        graded.not_before = now + AGAIN_AFTER;
                    }
                }
            }
        }
    }

    fn reported(&mut self, now: Duration, attempt: &Attempt) {
        let ends = self.ends;
        let shape = Arc::clone(&self.shape);
        let key = AttemptKey::from(attempt);
        let trial = self.trials.get(&key.ordinal);
        let open = trial.and_then(|graded| graded.open);
        self.has_carried = attempt.outcome != Outcome::Stopped
            && open.is_some_and(|(_, number)| number == key.number);
        let Some((graded, grader)) = self.close(key) else {
            return;
        };
        if attempt.outcome == Outcome::Stopped {
            graded.not_before = now + AGAIN_AFTER;
            return;
        }
        graded.tries += 1;
        let retries = &shape.graders[grader].definition.retries;
        let again_at = backoff(
            retries,
            attempt.outcome,
            attempt.error.as_ref(),
            graded.tries,
        );
        let again_at = again_at
            .map(|backoff| now + backoff)
            .filter(|at| *at < ends);
        if let Some(at) = again_at {
            graded.not_before = at;
            return;
        }
        graded.tries = 0;
        graded.answered += 1;
        graded.has_erred |= attempt.error.is_some();
        graded.has_failed |= attempt.verdict == Some(CheckVerdict::Fail);
    }

    fn close(&mut self, key: AttemptKey) -> Option<(&mut Graded, usize)> {
        let graded = self.trials.get_mut(&key.ordinal)?;
        let (grader, number) = graded.open?;
        if number != key.number {
            return None;
        }
        graded.open = None;
        Some((graded, grader))
    }

    /// A judgement is on its way to the disk.
    pub(super) fn judged(&mut self, judgement: &JudgementEntry) {
        let mark = judgement.mark;
        let graded = self.trials.get_mut(&mark.key.ordinal);
        let graded = graded.unwrap_or_else(|| panic!("nothing is known of {mark:?}"));
        assert_eq!(graded.key, mark.key);
        assert!(!graded.is_judged, "{mark:?} is judged twice");
        assert_eq!(judgement.grades.len(), graded.answered);
        assert_eq!(
            graded.open, None,
            "{mark:?} is judged before it is answered"
        );
        let named = &self.shape.trials[mark.key.ordinal as usize]
            .test
            .expect
            .graders();
        if judgement.judged().is_part() {
            assert!(!graded.has_erred && graded.answered < named.len());
            assert!(graded.answered > graded.kept, "{mark:?} says nothing new");
            return;
        }
        graded.is_judged = true;
        let is_done = graded.has_erred || graded.answered == named.len();
        assert!(is_done, "{mark:?} is judged before all have spoken");
        let outcome = match (graded.has_erred, graded.has_failed) {
            (true, _) => Outcome::Error,
            (false, true) => Outcome::Failed,
            (false, false) => Outcome::Passed,
        };
        assert_eq!((mark.outcome, mark.is_final), (outcome, true));
    }

    /// Judgements are on disk.
    pub(super) fn synced(&mut self, judgements: &[JudgementEntry]) {
        for judgement in judgements {
            let mark = judgement.mark;
            match self.trials.get_mut(&mark.key.ordinal) {
                Some(graded) if judgement.judged().is_part() => {
                    graded.kept = judgement.grades.len();
                }
                _ => self.written.push(mark),
            }
        }
    }

    /// The judgements that are on disk.
    pub(super) fn written(&self) -> &[Mark] {
        &self.written
    }
}

/// How long to wait before the `tries`th attempt is made again, by what the scenario says.
pub(super) fn backoff(
    retries: &Retries,
    outcome: Outcome,
    error: Option<&AttemptError>,
    tries: u32,
) -> Option<Duration> {
    let is_unavailable = error.is_some_and(|error| error.class == Some(ErrorClass::Unavailable));
    let is_retried = retries.on.iter().any(|on| match on {
        ExpectedError::Timeout => outcome == Outcome::Timeout,
        ExpectedError::Class(ErrorClass::Unavailable) => is_unavailable,
        ExpectedError::Class(_) => false,
    });
    (is_retried && tries <= retries.max).then(|| retries.backoff * 2_u32.pow(tries - 1))
}
