//! [`Work`]: which trials are left, who has which, and who gets which next.

use std::{collections::BinaryHeap, io, sync::Arc, time::Duration};

use super::{
    executors::Executors,
    flights::{Flight, Flights},
    lacking::Lacking,
    lane::{Lane, Trial},
    lanes::{Choice, Lanes},
    pace::{Ahead, AttemptPace},
    poison::{Suspect, Suspects},
    retry::Later,
};
use crate::{
    model::TrialId,
    plugin::Moment,
    record::{AttemptKey, MAX_WAITS, State, WaitReason, WaitingTrial, WaitingTrials},
    run::{
        clock::Now,
        event::Running,
        seam::{Assignment, ExecutorId},
    },
};

/// How many of the trials that wait are looked at to find those that are due first. They stand in a heap, near its front.
const MAX_LOOKED_AT: usize = 1024;

/// The trials of a session and the executors that they are for.
pub(super) struct Work {
    pub(super) state: State,
    pub(super) executors: Executors,
    pub(super) flights: Flights,
    pub(super) suspects: Suspects,
    pub(super) pace: AttemptPace,
    lanes: Lanes,
    /// Trials that are begun again, but not yet.
    later: BinaryHeap<Later>,
    /// The suspect that is being executed: nothing else is, then.
    alone: Option<AttemptKey>,
    /// When the next suspect may begin.
    alone_at: Option<Moment>,
    has_told_of_memory: bool,
}

/// How much may be assigned now.
#[derive(Clone, Copy)]
pub(super) struct AssignBounds {
    /// How many attempts may be assigned and not answered.
    pub(super) most: usize,
    /// Whether there is no row that is not on disk, and nothing that is graded.
    pub(super) is_all_written: bool,
}

/// A trial that is being executed.
pub(super) struct UnderWay {
    pub(super) trial: String,
    pub(super) elapsed: Duration,
}

impl UnderWay {
    pub(super) fn shown(&self) -> Running<'_> {
        Running {
            trial: &self.trial,
            elapsed: self.elapsed,
        }
    }
}

impl Work {
    /// Nothing has begun. `ahead` is how much work is to lie ready for executors.
    pub(super) fn new(state: State, lanes: Vec<Lane>, suspects: Suspects, ahead: Ahead) -> Self {
        let lanes = Lanes::new(lanes);
        Self {
            state,
            executors: Executors::new(lanes.largest()),
            flights: Flights::default(),
            suspects,
            pace: AttemptPace::new(ahead),
            lanes,
            later: BinaryHeap::new(),
            alone: None,
            alone_at: None,
            has_told_of_memory: false,
        }
    }

    /// Puts what executors can take into their batches, and says when to look again.
    /// What is `lacking` somewhere is looked for elsewhere.
    pub(super) fn assign(
        &mut self,
        now: Now,
        room: AssignBounds,
        lacking: &Lacking,
    ) -> io::Result<Option<Moment>> {
        if self.alone.is_some() {
            return Ok(None);
        }
        self.wake_later(now.at);
        let each_ahead = self.pace.each_ahead();
        self.executors.begin_turn(self.pace.least_ahead());
        let machines = lacking.has_failed().then(|| self.executors.machines());
        let mut lane_at = None::<Moment>;
        while self.flights.len() < room.most {
            let Some(member) = self.executors.most_idle(each_ahead) else {
                break;
            };
            let takes = |memory, may_wait| member.takes(memory, may_wait);
            let avoids = |ordinal, memory| {
                let machines = machines.as_deref().unwrap_or_default();
                lacking.avoids(ordinal, &member.machine, machines, memory)
            };
            match self.lanes.choose(&self.state, now.at, takes, avoids)? {
                Choice::Lane(lane, ordinal) => {
                    let who = member.who;
                    self.begin_attempt(now, who, lane, ordinal);
                }
                Choice::Wait(until) => {
                    member.pass_over();
                    lane_at = [lane_at, until].into_iter().flatten().min();
                }
            }
        }
        // Last, also where others wait for their rate. Alone, also with the disk: if it ends the process, it takes no row
        // of another trial with it.
        let is_nothing_left = self.flights.is_empty() && self.later.is_empty();
        if is_nothing_left && lane_at.is_none() && room.is_all_written {
            return Ok(self.assign_suspect(now));
        }
        let later_at = self.later.peek().map(|later| later.at);
        Ok([later_at, lane_at].into_iter().flatten().min())
    }

    /// Tells whether executors have so much to do that messages may gather.
    pub(super) fn is_plenty(&self) -> bool {
        let ahead = self.executors.ahead(self.pace.each_ahead());
        self.flights.len() > self.executors.slots() + ahead / 2
    }

    /// Tells whether attempts begin some at a time, at a rate that allows many.
    pub(super) fn is_paced(&self) -> bool {
        self.lanes.are_fast()
    }

    /// Tells whether there is anything to do, now or later.
    pub(super) fn is_left(&mut self) -> io::Result<bool> {
        Ok(!self.flights.is_empty()
            || !self.later.is_empty()
            || !self.suspects.waiting.is_empty()
            || self.lanes.have_more(&self.state)?)
    }

    /// Takes an attempt from the executor that has it; `None` if it does not have it any more, or never had.
    pub(super) fn release(&mut self, who: ExecutorId, key: AttemptKey) -> Option<Flight> {
        let flight = self.flights.remove(who, key)?;
        self.lanes.release(flight.lane);
        self.executors.release(who, flight.memory);
        if self.alone == Some(key) {
            self.alone = None;
        }
        Some(flight)
    }

    /// Lets a trial be begun before all that its lane has pending.
    pub(super) fn put(&mut self, lane: usize, trial: Trial) {
        self.lanes.put_first(lane, trial);
    }

    /// Lets a trial be begun again, but not before its time.
    pub(super) fn begin_later(&mut self, at: Moment, lane: usize, trial: Trial) {
        if self.lanes.is_closed(lane) {
            return;
        }
        self.later.push(Later { at, lane, trial });
    }

    /// Lets a trial be begun again when nothing else is left, but not before its time.
    pub(super) fn begin_last(&mut self, at: Moment, lane: usize, trial: Trial) {
        if self.lanes.is_closed(lane) {
            return;
        }
        self.alone_at = Some(at);
        self.suspects.waiting.push_back(Suspect {
            provider: self.lanes.provider(lane),
            trial,
        });
    }

    /// Lets nothing more be begun on providers whose name is meant; tells whether something could until then. What is
    /// under way goes on.
    pub(super) fn close(&mut self, means: impl Fn(&str) -> bool) -> bool {
        let closed = self.lanes.close(means);
        if closed.is_empty() {
            return false;
        }
        let lanes = &self.lanes;
        self.later.retain(|later| !lanes.is_closed(later.lane));
        let waiting = &mut self.suspects.waiting;
        waiting.retain(|suspect| !closed.contains(&suspect.provider));
        true
    }

    /// Notes what an attempt of a lane has held at most, in bytes.
    pub(super) fn measure_memory(&mut self, lane: usize, peak: u64) {
        self.lanes.measure(lane, peak);
    }

    /// Tells whether attempts wait for memory that others have, though executors could begin them. The first time it is told to
    /// the run's log, too.
    pub(super) fn waits_for_memory(&mut self, now: Moment) -> io::Result<bool> {
        let executors = &self.executors;
        if self.alone.is_some() || !executors.have_idle() {
            return Ok(false);
        }
        let too_little = |memory| executors.idle_with(memory).is_none();
        let waits = self.lanes.wait_for_memory(&self.state, now, too_little)?;
        if waits && !self.has_told_of_memory {
            self.has_told_of_memory = true;
            let running = self.flights.len();
            tracing::info!(
                "{running} attempts run at a time: what may be reserved for more is less than they may need"
            );
        }
        Ok(waits)
    }

    /// The trials that wait for the time of their next attempt.
    pub(super) fn waits(&mut self, now: Now) -> io::Result<WaitingTrials> {
        let mut due: Vec<_> = self.later.iter().take(MAX_LOOKED_AT).collect();
        due.sort_unstable_by_key(|later| later.at);
        let retries = due.iter().take(MAX_WAITS).map(|later| WaitingTrial {
            key: self.next_of(later.trial.ordinal),
            why: WaitReason::Retry,
            until: now.wall_of(later.at),
        });
        let mut first: Vec<_> = retries.collect();
        for (ordinal, until) in self.lanes.paced(&self.state, now.at)? {
            if first.len() < MAX_WAITS && first.iter().all(|wait| wait.key.ordinal != ordinal) {
                first.push(WaitingTrial {
                    key: self.next_of(ordinal),
                    why: WaitReason::RateLimit,
                    until: now.wall_of(until),
                });
            }
        }
        let more = self.later.len().saturating_sub(MAX_WAITS) as u64;
        Ok(WaitingTrials {
            first,
            more,
            without_workers_since: None,
        })
    }

    /// The next attempt of a trial.
    fn next_of(&self, ordinal: u64) -> AttemptKey {
        AttemptKey {
            ordinal,
            number: self.state.attempts(ordinal) + 1,
        }
    }

    /// What is reserved for the next attempt of a lane, in bytes.
    pub(super) fn memory(&self, lane: usize) -> u64 {
        self.lanes.memory(lane)
    }

    /// The lane of a provider that has trials.
    pub(super) fn lane_of(&self, provider: usize) -> usize {
        self.lanes.of_provider(provider)
    }

    /// The place in the scenario of a lane's provider.
    pub(super) fn provider(&self, lane: usize) -> usize {
        self.lanes.provider(lane)
    }

    /// The id of one of a lane's trials.
    pub(super) fn id_of(&self, lane: usize, trial: &Trial) -> TrialId {
        self.lanes.id_of(lane, trial)
    }

    /// The attempt that is being executed and began first.
    pub(super) fn longest(&self, now: Now) -> Option<UnderWay> {
        let (flight, begun) = self.flights.oldest()?;
        Some(self.under_way(flight, begun, now))
    }

    /// What is being executed; the one that began first is the first.
    pub(super) fn running(&self, now: Now) -> Vec<UnderWay> {
        let running = self.flights.running().into_iter();
        running
            .map(|(flight, begun)| self.under_way(flight, begun, now))
            .collect()
    }

    fn under_way(&self, flight: &Flight, begun: Now, now: Now) -> UnderWay {
        UnderWay {
            trial: self.id_of(flight.lane, &flight.trial).to_string(),
            elapsed: now.at.saturating_duration_since(begun.at),
        }
    }

    /// Begins an attempt of a lane's trial.
    fn begin_attempt(
        &mut self,
        now: Now,
        who: ExecutorId,
        lane: usize,
        ordinal: u64,
    ) -> AttemptKey {
        let trial = self.lanes.take(lane, ordinal, now.at);
        let number = self.state.assign(trial.ordinal);
        let memory = self.lanes.memory(lane);
        let assignment = Assignment {
            ordinal: trial.ordinal,
            number,
            memory,
            provider: self.lanes.provider(lane),
            trial: self.lanes.id_of(lane, &trial),
            test: Arc::clone(&trial.test),
            trial_left: trial
                .ends
                .map(|ends| ends.saturating_duration_since(now.at)),
        };
        let key = assignment.key();
        self.executors.assign(who, assignment);
        self.flights.add(Flight {
            number,
            who,
            lane,
            memory,
            trial,
            begun: None,
        });
        key
    }

    /// Begins a trial that may have ended a process or an executor before, once nothing else is left to do; says when to
    /// look again if it cannot begin now.
    fn assign_suspect(&mut self, now: Now) -> Option<Moment> {
        let suspect = self.suspects.waiting.front()?;
        let lane = self.lanes.of_provider(suspect.provider);
        let who = self.executors.idle_with(self.lanes.memory(lane))?;
        let waits = [self.alone_at, self.lanes.wait_until(lane, now.at)];
        let until = waits.into_iter().flatten().max();
        if until.is_some_and(|until| until > now.at) {
            return until;
        }
        let suspect = self.suspects.waiting.pop_front()?;
        let ordinal = suspect.trial.ordinal;
        self.lanes.put_first(lane, suspect.trial);
        self.alone = Some(self.begin_attempt(now, who, lane, ordinal));
        None
    }

    fn wake_later(&mut self, now: Moment) {
        while self.later.peek().is_some_and(|later| later.at <= now) {
            if let Some(later) = self.later.pop() {
                self.lanes.put_first(later.lane, later.trial);
            }
        }
    }
}
