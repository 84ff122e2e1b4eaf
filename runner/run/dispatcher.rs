//! The dispatcher: one event loop that owns a session's state and decides everything.
//!
//! It assigns trials to the pool, takes reports, decides between retry and final, hands rows to the recorder, and counts
//! what the recorder says is on disk. It holds no future of an executor.

mod lacking;
mod stopping;
mod supplying;
mod suspecting;

use std::{
    collections::{BinaryHeap, HashMap},
    io,
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc::UnboundedReceiver;

use self::{lacking::Lacking, stopping::Stop};
use super::{
    Event, SessionError,
    executor::Task,
    fingerprint::Fingerprints,
    lane::{Lane, Readiness, Retry},
    poison::Suspects,
    pool::Pool,
    retry::{self, Later},
    stop::{Cause, StopRequest},
};
use crate::{
    model::{Attempt, Counts, Outcome, Reason, StopMode, TrialId},
    plugin::{Interrupt, Moment, clock},
    record::{Accepted, AttemptKey, Entry, RecordError, Recorder, State, Written, accept},
    scenario::Test,
};

/// Rows that may wait for the disk before assignment pauses.
const MAX_UNWRITTEN_ROWS: usize = 4096;
/// How often the display learns what is running.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);
/// How long reports may gather while executors have work.
const GATHER: Duration = Duration::from_millis(1);

/// Everything that can happen to a dispatcher.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is a report"
)]
pub enum Message {
    /// An executor has made an attempt.
    Report(Attempt),
    /// An executor has panicked, with these words.
    Broken(String),
    /// Rows are on disk, or never will be.
    Written(Written),
    /// Someone asks for a stop.
    Stop(StopRequest),
}

/// What bounds a session.
pub(super) struct Rules {
    /// What the memory limits of running attempts may add up to, in bytes.
    pub(super) memory: u64,
    /// At how many trials that ended badly the run gives up.
    pub(super) fail_fast: Option<u64>,
    /// How long guests are asked to stop before they are interrupted.
    pub(super) grace: Duration,
    /// The run's own deadline.
    pub(super) ends: Moment,
    /// What sets it, for people.
    pub(super) limit: String,
}

/// How a session ended.
#[derive(Debug)]
pub struct Ending {
    /// Why work remains; `None` if nothing is left to do.
    pub cause: Option<Cause>,
    /// Whether somebody did not want to wait for anything more.
    pub is_forced: bool,
    /// What is on disk.
    pub counts: Counts,
    /// What kept rows from the disk.
    pub storage: Option<RecordError>,
    /// What the runner's machine lacked, in words, if trials remain for that.
    pub lacked: Option<String>,
}

/// The dispatcher of one session.
pub(super) struct Dispatcher<'a> {
    lanes: Vec<Lane>,
    state: State,
    recorder: &'a mut Recorder,
    pool: Pool,
    interrupt: Interrupt,
    rules: Rules,
    fingerprints: Fingerprints,
    observe: &'a mut dyn FnMut(Event<'_>),
    in_flight: HashMap<u64, InFlight>,
    memory_in_use: u64,
    suspects: Suspects,
    /// Whether busy executors could need more memory than they may be promised together.
    is_memory_scarce: bool,
    /// Retries whose backoff has not passed.
    later: BinaryHeap<Later>,
    /// What the recorder gets after this turn.
    outbox: Vec<Entry>,
    unwritten: Unwritten,
    /// Trials of this session that ended badly, on disk or not yet.
    bad: u64,
    /// How long attempts take, smoothed.
    pace: Option<Duration>,
    stop: Option<Stop>,
    storage: Option<RecordError>,
    lacking: Lacking,
    /// What an executor said that has panicked.
    broken: Option<String>,
}

/// An attempt that was assigned and not answered.
struct InFlight {
    number: u32,
    tries: u32,
    trial: TrialId,
    lane: usize,
    test: Arc<Test>,
    trial_ends: Option<Moment>,
}

/// What the recorder has and has not acknowledged.
#[derive(Default)]
struct Unwritten {
    rows: usize,
    bytes: u64,
}

/// The parts that a dispatcher is made of.
pub(super) struct Parts<'a> {
    pub(super) lanes: Vec<Lane>,
    pub(super) state: State,
    pub(super) suspects: Suspects,
    pub(super) recorder: &'a mut Recorder,
    pub(super) pool: Pool,
    pub(super) interrupt: Interrupt,
    pub(super) rules: Rules,
    pub(super) fingerprints: Fingerprints,
    pub(super) observe: &'a mut dyn FnMut(Event<'_>),
}

impl<'a> Dispatcher<'a> {
    pub(super) fn new(parts: Parts<'a>) -> Self {
        let largest = parts.lanes.iter().map(|lane| lane.memory).max();
        let needed = largest.map_or(0, |bytes| bytes.saturating_mul(parts.pool.size() as u64));
        Self {
            is_memory_scarce: needed > parts.rules.memory,
            lanes: parts.lanes,
            state: parts.state,
            suspects: parts.suspects,
            recorder: parts.recorder,
            pool: parts.pool,
            interrupt: parts.interrupt,
            rules: parts.rules,
            fingerprints: parts.fingerprints,
            observe: parts.observe,
            in_flight: HashMap::new(),
            memory_in_use: 0,
            later: BinaryHeap::new(),
            outbox: Vec::new(),
            unwritten: Unwritten::default(),
            bad: 0,
            pace: None,
            stop: None,
            storage: None,
            lacking: Lacking::default(),
            broken: None,
        }
    }

    /// Runs until no trial is left, or a stop wins.
    pub(super) async fn run(
        mut self,
        inbox: &mut UnboundedReceiver<Message>,
    ) -> Result<Ending, SessionError> {
        let result = self.go_on(inbox).await;
        let counts = self.state.counts();
        match result {
            Ok(()) if let Some(panic) = &self.broken => Err(SessionError::Run {
                error: format!("the runner itself failed: {panic}"),
                counts,
            }),
            Ok(()) => Ok(self.ending()),
            Err(error) => Err(SessionError::Run {
                error: format!("cannot read the run's tests: {error}"),
                counts,
            }),
        }
    }

    async fn go_on(&mut self, inbox: &mut UnboundedReceiver<Message>) -> io::Result<()> {
        (self.observe)(Event::Begun {
            counts: self.state.counts(),
        });
        self.record_guilty();
        let mut messages = Vec::new();
        let mut progress_at = Moment::now() + PROGRESS_EVERY;
        loop {
            let now = Moment::now();
            self.enforce(now);
            let wake = self.assign(now)?;
            self.hand_over();
            if self.is_over(now)? {
                break;
            }
            if now >= progress_at {
                self.show_progress(now);
                progress_at = now + PROGRESS_EVERY;
            }

            let wake = [wake, self.next_bound()]
                .into_iter()
                .flatten()
                .fold(progress_at, Moment::min);
            tokio::select! {
                biased;
                _ = inbox.recv_many(&mut messages, MAX_UNWRITTEN_ROWS) => {}
                () = clock::sleep_until(wake) => {}
            }
            for message in messages.drain(..) {
                self.receive(message);
            }
            if self.broken.is_some() {
                return Ok(());
            }
            if self.pool_is_busy() {
                tokio::time::sleep(GATHER).await;
            }
        }
        self.close_pool(inbox).await;
        Ok(())
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Report(attempt) => self.report(attempt),
            Message::Broken(text) => self.broken = Some(text),
            Message::Written(written) => self.written(written),
            Message::Stop(request) => self.asked_to_stop(&request),
        }
    }

    /// Gives the pool what it can take, and says when to look again.
    fn assign(&mut self, now: Moment) -> io::Result<Option<Moment>> {
        if self.stop.is_some() {
            return Ok(None);
        }
        self.wake_retries(now);
        let retry_at = self.later.peek().map(|later| later.at);
        let mut lane_at = None;
        let mut tasks = Vec::new();
        while self.has_room() {
            match self.next_lane(now)? {
                Choice::Lane(index) => tasks.push(self.take(index, now)),
                Choice::Wait(until) => {
                    lane_at = until;
                    break;
                }
            }
        }
        // Last, also where others wait for their rate. Alone, also with the disk: if it ends the process, it takes no row
        // of another trial with it.
        let is_nothing_left = self.in_flight.is_empty() && self.later.is_empty();
        if is_nothing_left && lane_at.is_none() && self.unwritten.rows == 0 {
            tasks.extend(self.next_suspect(now)?);
        }
        if !tasks.is_empty() {
            self.pool.assign(tasks);
        }
        Ok([retry_at, lane_at].into_iter().flatten().min())
    }

    fn wake_retries(&mut self, now: Moment) {
        while self.later.peek().is_some_and(|later| later.at <= now) {
            if let Some(later) = self.later.pop() {
                self.lanes[later.lane].retry(later.retry);
            }
        }
    }

    /// Finds the lane whose next trial comes first in the plan, of those that may start one.
    fn next_lane(&mut self, now: Moment) -> io::Result<Choice> {
        let is_idle_executor = self.in_flight.len() < self.pool.size();
        let memory_left = self.memory_left();
        let mut best = None;
        let mut wait = None::<Moment>;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            let may_lie_ready = lane.is_unbounded() && !self.is_memory_scarce;
            if lane.memory > memory_left || !(is_idle_executor || may_lie_ready) {
                continue;
            }
            match lane.readiness(&self.state, now)? {
                Readiness::Ready(ordinal) if best.is_none_or(|(least, _)| ordinal < least) => {
                    best = Some((ordinal, index));
                }
                Readiness::At(then) => wait = Some(wait.map_or(then, |wait| wait.min(then))),
                Readiness::Ready(_) | Readiness::Blocked => {}
            }
        }
        Ok(match best {
            Some((_, index)) => Choice::Lane(index),
            None => Choice::Wait(wait),
        })
    }

    fn take(&mut self, index: usize, now: Moment) -> Task {
        let lane = &mut self.lanes[index];
        let task = lane.take(&mut self.state, now);
        self.memory_in_use += lane.memory;
        self.in_flight.insert(
            task.ordinal,
            InFlight {
                number: task.number,
                tries: task.tries,
                trial: task.trial.clone(),
                lane: index,
                test: Arc::clone(&task.test),
                trial_ends: task.trial_ends,
            },
        );
        task
    }

    /// Takes an executor's report; what is late, doubled or foreign is dropped.
    fn report(&mut self, mut attempt: Attempt) {
        let is_ours = self
            .in_flight
            .get(&attempt.ordinal)
            .is_some_and(|flight| flight.number == attempt.number);
        if !is_ours {
            tracing::debug!(trial = %attempt.trial, "dropped a late report");
            return;
        }
        let Some(flight) = self.release(attempt.ordinal) else {
            return;
        };
        if self.is_lacking(&flight, &mut attempt) {
            self.enter(&flight, attempt, false);
            self.give_up_lacking();
            return;
        }
        self.measure(attempt.duration);

        let retry_at = self.retry_at(&flight, &attempt);
        let is_final = retry_at.is_none() && attempt.outcome != Outcome::Stopped;
        if let Some((at, trial_ends)) = retry_at {
            self.later.push(Later {
                at,
                lane: flight.lane,
                retry: Retry {
                    ordinal: attempt.ordinal,
                    test: Arc::clone(&flight.test),
                    repeat: attempt.trial.repeat,
                    tries: flight.tries,
                    trial_ends,
                },
            });
        }
        self.enter(&flight, attempt, is_final);
    }

    /// Passes an attempt through `accept` and puts it on the way to the disk.
    fn enter(&mut self, flight: &InFlight, mut attempt: Attempt, is_final: bool) {
        let accepted = accept(&mut self.state, AttemptKey::from(&attempt));
        if accepted != Accepted::New || self.storage.is_some() {
            return;
        }
        self.name_cause(&mut attempt);
        if is_final && attempt.outcome.is_bad() {
            self.bad += 1;
        }
        self.unwritten.rows += 1;
        self.unwritten.bytes += attempt.usage.bytes_out;
        self.outbox.push(Entry {
            is_final,
            is_flaky: is_final
                && attempt.outcome == Outcome::Passed
                && (flight.tries > 1 || self.state.is_shaky(attempt.ordinal)),
            fingerprint: self
                .fingerprints
                .of(self.lanes[flight.lane].provider(), &flight.test),
            attempt,
        });
        if self.rules.fail_fast.is_some_and(|most| self.bad >= most) {
            self.begin_stop(StopMode::Drain, Cause::of(Reason::FailFast));
        }
    }

    /// When the attempt's trial is tried again, and the trial's own deadline.
    ///
    /// A stop changes nothing of it: the retry is not begun, and the trial stays to be done.
    fn retry_at(&self, flight: &InFlight, attempt: &Attempt) -> Option<(Moment, Option<Moment>)> {
        let now = Moment::now();
        let backoff = retry::backoff(&flight.test.retries, attempt, flight.tries)?;
        let at = now + backoff;
        let begun = now.checked_sub(attempt.duration).unwrap_or(now);
        let whole = flight.test.trial_timeout;
        let trial_ends = flight
            .trial_ends
            .or_else(|| whole.map(|whole| begun + whole));
        // A backoff that would cross its parent's deadline is not slept.
        let parent = trial_ends.map_or(self.rules.ends, |ends| ends.min(self.rules.ends));
        (at < parent).then_some((at, trial_ends))
    }

    fn release(&mut self, ordinal: u64) -> Option<InFlight> {
        let flight = self.in_flight.remove(&ordinal)?;
        let lane = &mut self.lanes[flight.lane];
        lane.release();
        self.memory_in_use -= lane.memory;
        Some(flight)
    }

    fn measure(&mut self, duration: Duration) {
        self.pace = Some(match self.pace {
            None => duration,
            Some(pace) => (pace * 7 + duration) / 8,
        });
    }

    fn hand_over(&mut self) {
        if !self.outbox.is_empty() {
            self.recorder.record(std::mem::take(&mut self.outbox));
        }
        if self.in_flight.is_empty() && self.unwritten.rows > 0 {
            self.recorder.flush();
        }
    }

    /// Counts and shows what the recorder is done with.
    fn written(&mut self, written: Written) {
        for entry in &written.entries {
            self.unwritten.rows -= 1;
            self.unwritten.bytes -= entry.attempt.usage.bytes_out;
        }
        if let Some(error) = written.error {
            self.storage = Some(error);
            self.begin_stop(StopMode::Kill, Cause::of(Reason::Storage));
            return;
        }
        for entry in &written.entries {
            self.state.written(entry.mark());
        }
        (self.observe)(Event::Rows {
            entries: &written.entries,
            lines: &written.lines,
            counts: self.state.counts(),
        });
    }

    fn show_progress(&mut self, now: Moment) {
        let begun = self.pool.begun();
        let longest = begun.iter().min_by_key(|begun| begun.at);
        (self.observe)(Event::Progress {
            counts: self.state.counts(),
            running: begun.len(),
            longest: longest.map(|begun| begun.running(now)),
        });
    }

    fn ending(self) -> Ending {
        // A stop that came too late to matter is none.
        let stop = self.stop.filter(|_| !self.state.is_complete());
        let lacked = self.lacking.last.filter(|_| !self.state.is_complete());
        Ending {
            is_forced: stop
                .as_ref()
                .is_some_and(|stop| stop.mode == StopMode::Kill),
            cause: match &self.storage {
                Some(_) => Some(Cause::of(Reason::Storage)),
                None => stop
                    .map(|stop| stop.cause)
                    .or_else(|| lacked.as_ref().map(|(fault, _)| Cause::of(fault.reason()))),
            },
            lacked: lacked.map(|(_, message)| message),
            counts: self.state.counts(),
            storage: self.storage,
        }
    }
}

/// What [`Dispatcher::next_lane`] found.
enum Choice {
    Lane(usize),
    /// None can start one now; if a time is given, one can then.
    Wait(Option<Moment>),
}
