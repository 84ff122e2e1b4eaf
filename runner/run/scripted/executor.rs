//! [`Scripted`]: an executor that does what its script says.

use std::{collections::VecDeque, ops::Range, time::Duration};

use jiff::Timestamp;

use super::{
    agenda::{Agenda, Happening},
    random::Random,
};
use crate::{
    model::{Attempt, AttemptError, CheckVerdict, ErrorClass, HostFault, Outcome, TrialId},
    record::AttemptKey,
    run::{
        attempt::unfinished::{AttemptIdentity, blank, stop_error},
        seam::{
            Assignment, Capacity, ExecutorId, FromExecutors, GRADERS, Loss, MachineName, ToExecutor,
        },
    },
};

/// What an attempt comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScriptedOutcome {
    Passed,
    Failed,
    Timeout,
    /// An error that may be gone a moment later.
    Unavailable,
    /// An error that is the machine's.
    Lacking,
    /// It passed, and what it has left cannot be kept where the session is.
    Unkept,
    /// What the trial's number decides, whoever makes it.
    OfTrial,
}

impl ScriptedOutcome {
    /// What it is for this trial.
    fn of(self, ordinal: u64) -> Self {
        match (self, ordinal % 5) {
            (Self::OfTrial, 0) => Self::Failed,
            (Self::OfTrial, 1) => Self::Timeout,
            (Self::OfTrial, _) => Self::Passed,
            (settled, _) => settled,
        }
    }
}

/// How an executor answers for an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) enum ScriptedAnswer {
    /// After so long with this.
    After(Duration, ScriptedOutcome),
    /// After so long with this, and once more.
    Twice(Duration, ScriptedOutcome),
    /// Never.
    Never,
    /// It says after so long that the attempt is lost.
    Lost(Duration),
    /// The same, and answers for it after as long again.
    LateAfterLost(Duration, ScriptedOutcome),
    /// It gives it back and does not begin it.
    Returned,
}

/// In which way an executor goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Exit {
    /// Whoever carries its messages says that it has left, and nothing else.
    Dies,
    /// It is said first what it held.
    DiesHolding,
    /// It gives back what it has not begun, and says that the rest is lost.
    Leaves,
}

/// What an executor does.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) capacity: Capacity,
    pub(super) machine: MachineName,
    /// From when until when its machine lacks what attempts need.
    pub(super) lacks: Range<Duration>,
    /// Trials for which it lacks that always.
    pub(super) heavy: Vec<u64>,
    /// How long its messages, and those to it, are on their way.
    pub(super) lag: Duration,
    pub(super) joins_at: Duration,
    pub(super) leaves: Option<(Duration, Exit)>,
    /// How it answers: one of these for each attempt.
    pub(super) answers: Vec<ScriptedAnswer>,
    /// Attempts of these trials it loses.
    pub(super) killers: Vec<u64>,
    /// Whether it does nothing of what it is told but make attempts, and its guests cannot be interrupted.
    pub(super) is_deaf: bool,
    /// Whether it says what it has begun.
    pub(super) says_started: bool,
    /// How long it takes to leave once it is told to.
    pub(super) tears_down: Duration,
}

/// An executor.
pub(super) struct Scripted {
    who: ExecutorId,
    script: Script,
    ready: VecDeque<Assignment>,
    running: Vec<ScriptedAttempt>,
    /// What it has said to be lost and will answer for.
    late: Vec<ScriptedAttempt>,
    is_there: bool,
    is_aside: bool,
    /// By provider, or by grader, what an attempt may take.
    memory: Vec<u64>,
    /// Under which seed its answers are chosen.
    random: Random,
}

struct ScriptedAttempt {
    key: AttemptKey,
    trial: TrialId,
    /// What is reserved for it.
    memory: u64,
    /// What it holds at most: growing beyond what is reserved is between it and its executor.
    peak: u64,
    began_at: Duration,
    answer: ScriptedAnswer,
}

impl Scripted {
    pub(super) fn new(
        who: ExecutorId,
        script: Script,
        memory: Vec<u64>,
        seed: u64,
        agenda: &mut Agenda,
    ) -> Self {
        agenda.at(script.joins_at, Happening::Joins(who));
        if let Some((at, _)) = script.leaves {
            agenda.at(at, Happening::Leaves(who));
        }
        Self {
            who,
            script,
            ready: VecDeque::new(),
            running: Vec::new(),
            late: Vec::new(),
            is_there: false,
            is_aside: false,
            memory,
            random: Random(seed),
        }
    }

    pub(super) fn lag(&self) -> Duration {
        self.script.lag
    }

    pub(super) fn join(&mut self, agenda: &mut Agenda) {
        self.is_there = true;
        let joined = FromExecutors::Joined {
            who: self.who,
            capacity: self.script.capacity,
            machine: self.script.machine.clone(),
        };
        self.send(agenda, joined);
    }

    pub(super) fn leave(&mut self, agenda: &mut Agenda) {
        if !self.is_there {
            return;
        }
        let who = self.who;
        let ready: Vec<_> = self.ready.drain(..).map(|ready| ready.key()).collect();
        let running: Vec<_> = self.running.drain(..).map(|running| running.key).collect();
        let why = Loss::Gone;
        match self.script.leaves {
            Some((_, Exit::DiesHolding)) => {
                let attempts = [running, ready].concat();
                self.send(agenda, FromExecutors::Lost { who, attempts, why });
            }
            Some((_, Exit::Leaves)) => {
                let attempts = ready;
                self.send(agenda, FromExecutors::Returned { who, attempts });
                let attempts = running;
                self.send(agenda, FromExecutors::Lost { who, attempts, why });
            }
            Some((_, Exit::Dies)) | None => {}
        }
        self.send(agenda, FromExecutors::Left { who });
        self.is_there = false;
    }

    pub(super) fn take(&mut self, message: ToExecutor, agenda: &mut Agenda) {
        let who = self.who;
        match message {
            _ if !self.is_there => {}
            ToExecutor::Assign(batch) => {
                self.ready.extend(batch);
                self.begin(agenda);
            }
            _ if self.script.is_deaf => {}
            ToExecutor::TakeBack => self.give_back(agenda),
            ToExecutor::SetAside { .. } => {
                self.give_back(agenda);
                self.is_aside = true;
                self.leave_if_aside(agenda);
            }
            ToExecutor::Stop { grace } => agenda.after(grace, Happening::Interrupts(who)),
            ToExecutor::Close => {
                agenda.after(self.script.tears_down, Happening::Leaves(who));
            }
        }
    }

    /// Leaves with what it has begun, once it is set aside.
    fn leave_if_aside(&self, agenda: &mut Agenda) {
        if self.is_aside && self.running.is_empty() {
            agenda.after(self.script.tears_down, Happening::Leaves(self.who));
        }
    }

    fn give_back(&mut self, agenda: &mut Agenda) {
        let who = self.who;
        let attempts = self.ready.drain(..).map(|ready| ready.key()).collect();
        self.send(agenda, FromExecutors::Returned { who, attempts });
    }

    /// Interrupts guests: they end at once.
    pub(super) fn interrupt(&mut self, wall: Timestamp, agenda: &mut Agenda) {
        let (who, now) = (self.who, agenda.now);
        let attempts = self.running.drain(..).map(|running| {
            let error = Some(stop_error());
            Attempt {
                error,
                ..running.attempt(Outcome::Stopped, now, wall)
            }
        });
        let attempts = attempts.collect();
        self.send(agenda, FromExecutors::Reports { who, attempts });
    }

    /// Lets an attempt come to what the script says.
    pub(super) fn end(&mut self, key: AttemptKey, wall: Timestamp, agenda: &mut Agenda) {
        let Some(index) = self.running.iter().position(|running| running.key == key) else {
            return;
        };
        let running = self.running.swap_remove(index);
        match running.answer {
            ScriptedAnswer::After(_, end) => self.answer(&running, end, wall, agenda),
            ScriptedAnswer::Twice(_, end) => {
                self.answer(&running, end, wall, agenda);
                self.answer(&running, end, wall, agenda);
            }
            ScriptedAnswer::Lost(_) => self.lose(key, agenda),
            ScriptedAnswer::LateAfterLost(after, _) => {
                self.lose(key, agenda);
                agenda.after(after, Happening::Late(self.who, key));
                self.late.push(running);
            }
            ScriptedAnswer::Never | ScriptedAnswer::Returned => {}
        }
        self.begin(agenda);
        self.leave_if_aside(agenda);
    }

    /// Answers for what was said to be lost.
    pub(super) fn answer_late(&mut self, key: AttemptKey, wall: Timestamp, agenda: &mut Agenda) {
        let found = self.late.iter().position(|late| late.key == key);
        let late = self.late.swap_remove(found.unwrap());
        if let ScriptedAnswer::LateAfterLost(_, end) = late.answer {
            self.answer(&late, end, wall, agenda);
        }
    }

    /// Begins what there is room for, and holds the memory that is reserved for it.
    fn begin(&mut self, agenda: &mut Agenda) {
        while self.running.len() < self.script.capacity.slots
            && let Some(next) = self.ready.pop_front()
        {
            let (who, key) = (self.who, next.key());
            let is_killer = self.script.killers.contains(&key.ordinal);
            let answer = match is_killer {
                true => ScriptedAnswer::Lost(Duration::from_millis(1)),
                false => *self.random.one_of(&self.script.answers),
            };
            let ends_after = match answer {
                ScriptedAnswer::Returned => {
                    let attempts = vec![key];
                    self.send(agenda, FromExecutors::Returned { who, attempts });
                    continue;
                }
                ScriptedAnswer::After(after, _) | ScriptedAnswer::Twice(after, _) => Some(after),
                ScriptedAnswer::Lost(after) | ScriptedAnswer::LateAfterLost(after, _) => {
                    Some(after)
                }
                ScriptedAnswer::Never => None,
            };
            if self.script.says_started {
                let attempts = vec![key];
                self.send(agenda, FromExecutors::Started { who, attempts });
            }
            if let Some(after) = ends_after {
                agenda.after(after, Happening::Ends(who, key));
            }
            self.running.push(ScriptedAttempt {
                key,
                trial: next.trial,
                memory: next.memory,
                peak: self.random.below(self.memory[next.provider] + 1),
                began_at: agenda.now,
                answer,
            });
            let used: u64 = self.running.iter().map(|running| running.memory).sum();
            assert!(
                used <= self.script.capacity.memory,
                "{who:?} runs attempts of {used} bytes and has {}",
                self.script.capacity.memory
            );
        }
    }

    fn answer(
        &self,
        running: &ScriptedAttempt,
        end: ScriptedOutcome,
        wall: Timestamp,
        agenda: &mut Agenda,
    ) {
        let error = |class, code: &str, fault| AttemptError {
            class,
            code: code.into(),
            message: "as the script says".into(),
            retry_after: None,
            fault,
        };
        let unavailable = Some(ErrorClass::Unavailable);
        let (lacks, heavy) = (&self.script.lacks, &self.script.heavy);
        let end = match lacks.contains(&agenda.now) || heavy.contains(&running.key.ordinal) {
            true => ScriptedOutcome::Lacking,
            false => end.of(running.key.ordinal),
        };
        let (outcome, error) = match end {
            ScriptedOutcome::Passed | ScriptedOutcome::OfTrial => (Outcome::Passed, None),
            ScriptedOutcome::Failed => (Outcome::Failed, None),
            ScriptedOutcome::Timeout => (Outcome::Timeout, Some(error(None, "timeout", None))),
            ScriptedOutcome::Unavailable => {
                (Outcome::Error, Some(error(unavailable, "busy", None)))
            }
            ScriptedOutcome::Lacking | ScriptedOutcome::Unkept => {
                let fault = Some(HostFault::Storage);
                (Outcome::Error, Some(error(None, "full", fault)))
            }
        };
        let mut attempt = Attempt {
            error,
            ..running.attempt(outcome, agenda.now, wall)
        };
        if self.who == GRADERS {
            // A grader says what it thinks of an output, and does not fail itself.
            attempt.verdict = match end {
                ScriptedOutcome::Passed => Some(CheckVerdict::Pass),
                ScriptedOutcome::Failed => Some(CheckVerdict::Fail),
                _ => None,
            };
        }
        let (who, attempts) = (self.who, vec![attempt]);
        let said = match end {
            ScriptedOutcome::Unkept => FromExecutors::Unkept { who, attempts },
            _ => FromExecutors::Reports { who, attempts },
        };
        self.send(agenda, said);
    }

    fn lose(&self, key: AttemptKey, agenda: &mut Agenda) {
        let lost = FromExecutors::Lost {
            who: self.who,
            attempts: vec![key],
            why: Loss::Gone,
        };
        self.send(agenda, lost);
    }

    /// Sends a message, unless the executor is not there any more.
    fn send(&self, agenda: &mut Agenda, message: FromExecutors) {
        if self.is_there {
            agenda.after(self.script.lag, Happening::Heard(message));
        }
    }
}

impl ScriptedAttempt {
    fn attempt(&self, outcome: Outcome, now: Duration, wall: Timestamp) -> Attempt {
        let of = AttemptIdentity {
            ordinal: self.key.ordinal,
            trial: self.trial.clone(),
            number: self.key.number,
            started_at: wall,
        };
        let mut attempt = blank(of, outcome);
        attempt.duration = now - self.began_at;
        attempt.usage.peak_memory = self.peak;
        attempt
    }
}
