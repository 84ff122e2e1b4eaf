//! [`Exchanges`]: the requests of a deterministic call. When a guest sees a response is a function of its own clock.
//!
//! Each response has a time of the guest's clock. A guest that waits sees what is first: a response or the end of a sleep. A
//! response that is live gets its time when it has come and the guest waits, later than all that the guest has seen; a
//! recorded one has it from the journal. So the guest cannot tell them apart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64};
use std::{future::pending, mem, pin::pin};

use runner_model::protocol::{Entry, Exchange};
use runner_model::row::Calls;
use runner_model::{Digest, Micros, Time, provider::InFlight, units::show_size};
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

use super::failure::Failure;
use super::journal::{Answer, Asked, Journal, JournalEnd, RecordedExchange};
use crate::store::virtual_clock::VirtualClock;
use crate::{Call, Redactor};

/// The requests of one call. Clones share them.
#[derive(Clone)]
pub(crate) struct Exchanges(Arc<Shared>);

struct Shared {
    clock: VirtualClock,
    /// The entry with which the journal starts.
    start: Entry<'static>,
    /// `None` if nothing is kept.
    journal: Option<Journal>,
    redactor: Option<Arc<Redactor>>,
    /// Most bytes of entries.
    limit: u64,
    /// Bytes that the bodies of requests in the background may still have.
    unsent: Arc<AtomicU64>,
    state: Mutex<State>,
    /// Notified after each change of the state.
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// Number of the last request.
    last: u32,
    /// Recorded exchanges whose request the guest has not made yet, by its number.
    recorded: BTreeMap<u32, RecordedExchange>,
    /// When the guest last saw a recorded response.
    last_recorded: u64,
    last_ticket: u64,
    /// By ticket: requests in the background that are not answered.
    waiting: BTreeMap<u64, Waiting>,
    /// Answers that have come and have no time yet.
    come: VecDeque<Come>,
    /// By ticket: answers that have a time.
    answers: BTreeMap<u64, Answer>,
    has_started: bool,
    count: u32,
    hash: Sha256,
    /// Bytes of entries.
    bytes: u64,
    end: Option<JournalEnd>,
}

/// A request in the background.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When the guest sees the answer, if that is known.
    at: Option<u64>,
    /// Whether the guest has dropped the request. Its answer still takes time, because it did so before.
    is_dropped: bool,
    /// The entry that a replay keeps again when the guest sees the answer.
    place: Option<usize>,
}

/// An answer that has come.
struct Come {
    ticket: u64,
    number: u32,
    asked: Asked,
    /// When the request was sent, by the guest's clock.
    sent: u64,
    timed: Timed,
}

/// A live answer.
pub(super) struct Timed {
    pub(super) answer: Answer,
    /// Time from the request to the end of the response.
    pub(super) took: Micros,
    /// Real time of the attempt so far, without that of earlier guests.
    pub(super) used: Micros,
}

/// A request in the background. Dropping it forgets the request.
pub(super) struct Ticket {
    exchanges: Exchanges,
    id: u64,
    /// 0 for a request that is refused.
    number: u32,
    recorded: Option<RecordedExchange>,
}

/// What happens next while a guest waits.
pub(crate) enum Next {
    /// A recorded response, at this time.
    Recorded(u64),
    /// The end of a sleep: nothing recorded answers the open requests, and further ones are recorded or nothing is live.
    Sleep,
    /// Something that is not recorded.
    Live,
}

impl Exchanges {
    pub(crate) fn new(call: &Call<'_>, clock: VirtualClock, start: Time, timeout: Micros) -> Self {
        let mut state = State::default();
        let recorded = call.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
        if let Some(recorded) = recorded {
            state.recorded.clone_from(&recorded.exchanges);
            let times = recorded.exchanges.values().map(|exchange| exchange.at_ns);
            state.last_recorded = times.max().unwrap_or(0);
        }
        let is_replay = call.journal.as_ref().is_some_and(|journal| journal.is_replay);
        // A replay is an attempt of its own run, whose entries are kept again.
        let before = recorded.filter(|_| !is_replay);
        if let Some(recorded) = before {
            recorded.entries.iter().for_each(|entry| state.add(entry));
        }
        Self(Arc::new(Shared {
            clock,
            start: Entry::Start {
                clock: start,
                timeout_us: timeout.0,
                compile_key: call.journal.as_ref().map_or("", |journal| &journal.compile_key).to_owned(),
                continues: before.is_some(),
            },
            journal: call.journal.clone(),
            redactor: call.access.secrets.redactor().cloned(),
            limit: call.limits.journal,
            unsent: Arc::new(AtomicU64::new(call.limits.journal)),
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    /// Returns what the row has of the exchanges. `None` without any.
    pub(crate) fn calls(&self) -> Option<Calls> {
        self.0.journal.as_ref()?;
        let state = self.lock();
        let sha256 = Digest(state.hash.clone().finalize().into());
        (state.count > 0).then_some(Calls { count: state.count, sha256 })
    }

    /// Returns why the call must end.
    pub(crate) fn end(&self) -> Option<JournalEnd> {
        self.lock().end.clone()
    }

    /// Returns whether the call has another run's responses, and waits for nothing.
    pub(crate) fn is_replay(&self) -> bool {
        self.0.journal.as_ref().is_some_and(|journal| journal.is_replay)
    }

    /// Ends the call of a guest that returns, if earlier guests of the attempt did more before.
    pub(crate) fn check_end(&self) {
        if self.is_replay() {
            return;
        }
        let now = self.0.clock.now();
        let mut state = self.lock();
        let is_early = state.waiting.values().any(|one| one.at.is_some_and(|at| at > now));
        let difference = match state.recorded.keys().next() {
            Some(number) => format!("it made request {number} before, and now ends without it"),
            None if is_early => "it received a response before, and now ends without it".to_owned(),
            None => return,
        };
        state.end.get_or_insert(JournalEnd::Diverged(difference));
    }

    /// Returns the bytes that the bodies of requests in the background may still have.
    pub(super) fn unsent(&self) -> Arc<AtomicU64> {
        self.0.unsent.clone()
    }

    pub(super) fn redactor(&self) -> Option<&Redactor> {
        self.0.redactor.as_deref()
    }

    /// Makes a request and waits for its answer. `live` sends it.
    pub(super) async fn exchange(&self, asked: Asked, live: impl Future<Output = Timed>) -> Answer {
        let (number, recorded) = self.lock().next();
        let (at, answer) = match recorded {
            Some(recorded) => {
                let answer = self.answer_of(&recorded, number, &asked).await;
                self.keep_again(&[recorded.place]).await;
                (recorded.at_ns, answer)
            }
            None => {
                self.before(number, &asked).await;
                let sent = self.0.clock.now();
                let come = Come { ticket: 0, number, asked, sent, timed: live.await };
                self.keep(come, None).await
            }
        };
        self.0.clock.advance_to(at);
        answer
    }

    /// Starts a request in the background. A refused one has no exchange, and is answered at once.
    pub(super) fn start(&self, is_refused: bool) -> Ticket {
        let now = self.0.clock.now();
        let mut state = self.lock();
        let (number, recorded) = if is_refused { (0, None) } else { state.next() };
        state.last_ticket += 1;
        let id = state.last_ticket;
        let at = recorded.as_ref().map(|recorded| recorded.at_ns).or(is_refused.then_some(now));
        let place = recorded.as_ref().map(|recorded| recorded.place);
        state.waiting.insert(id, Waiting { at, is_dropped: false, place });
        drop(state);
        Ticket { exchanges: self.clone(), id, number, recorded }
    }

    /// Returns a recorded answer. Never resolves if the request differs from the recorded one.
    async fn answer_of(&self, recorded: &RecordedExchange, number: u32, asked: &Asked) -> Answer {
        let journal = self.0.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
        let Some(journal) = journal else { return self.halt().await };
        let difference = match journal.exchange(recorded) {
            Err(problem) => problem.to_owned(),
            Ok((before, answer)) => match asked.difference(&before, number) {
                None => return answer,
                Some(difference) => difference,
            },
        };
        self.differ(difference).await
    }

    /// Ends the call of a guest that does something else than before.
    async fn differ<T>(&self, difference: String) -> T {
        let end = match self.is_replay() {
            true => JournalEnd::Replay(difference),
            false => JournalEnd::Diverged(difference),
        };
        self.lock().end.get_or_insert(end);
        self.halt().await
    }

    /// Keeps entries of the replayed attempt as this one's.
    async fn keep_again(&self, places: &[usize]) {
        let Some(journal) = self.0.journal.as_ref().filter(|journal| journal.is_replay) else {
            return;
        };
        let Some(recorded) = &journal.recorded else { return };
        for entry in places.iter().filter_map(|place| recorded.entries.get(*place)) {
            self.write(journal, entry, true).await;
        }
    }

    /// Prepares for sending a request. Never resolves if it must not be sent: an earlier guest may have sent it, or this is a
    /// replay.
    async fn before(&self, number: u32, asked: &Asked) {
        if self.is_replay() {
            let missing = format!("its request {number}, {asked}, has no recorded response");
            return self.differ(missing).await;
        }
        let stops = |journal: &&Journal| journal.in_flight == InFlight::Stop;
        let Some(journal) = self.0.journal.as_ref().filter(stops) else { return };
        let recorded = journal.recorded.as_ref();
        if recorded.is_some_and(|recorded| recorded.sent.contains(&number)) {
            let request = format!("request {number}, {asked},");
            self.lock().end.get_or_insert(JournalEnd::Interrupted(request));
            return self.halt().await;
        }
        self.write(journal, &Entry::Sent { number }.to_bytes(), false).await;
    }

    /// Keeps an answer. Returns it with the time at which the guest sees it, at the latest at `end`.
    async fn keep(&self, come: Come, end: Option<u64>) -> (u64, Answer) {
        let Come { number, asked, sent, timed: Timed { answer, took, used }, .. } = come;
        // Later than all that the guest has seen, or it would see the answer earlier when it continues.
        let least = self.0.clock.now().max(self.lock().last_recorded) + 1;
        let at = sent.saturating_add(took.0.saturating_mul(1000)).max(least);
        let at_ns = end.map_or(at, |end| at.min(end));
        let Some(journal) = &self.0.journal else { return (at_ns, answer) };
        let (response, failure, redacted) = match &answer {
            Ok(answered) => {
                let (response, is_redacted) = answered.write(self.redactor());
                (Some(response), None, is_redacted)
            }
            Err(failure) => (None, Some(failure.to_call()), false),
        };
        let before = journal.recorded.as_ref().map_or(0, |recorded| recorded.used.0);
        let (took_us, used_us, request) = (took.0, before + used.0, asked.0);
        let exchange =
            Exchange { number, at_ns, took_us, used_us, request, response, failure, redacted };
        self.write(journal, &Entry::Exchange(exchange).to_bytes(), true).await;
        (at_ns, answer)
    }

    /// Writes an entry. Never resolves beyond the limit.
    async fn write(&self, journal: &Journal, entry: &[u8], is_exchange: bool) {
        let Ok(is_first) = self.lock().count_written(entry, is_exchange, self.0.limit) else {
            return self.halt().await;
        };
        let start = is_first.then(|| journal.keeper.keep(&self.0.start.to_bytes()));
        let kept = journal.keeper.keep(entry);
        if let Some(start) = start {
            start.await;
        }
        kept.await;
    }

    /// Never resolves, and lets the call end for the reason that was set.
    async fn halt<T>(&self) -> T {
        self.0.changed.notify_waiters();
        pending().await
    }

    /// Waits until the requests in the background whose time has come are answered.
    pub(crate) async fn settle(&self) {
        let now = self.0.clock.now();
        let seen = self.lock().seen(now);
        self.keep_again(&seen).await;
        let is_due = |one: &Waiting| !one.is_dropped && one.at.is_some_and(|at| at <= now);
        // Those that wait for the clock look at it.
        self.0.changed.notify_waiters();
        self.until(|state| (!state.waiting.values().any(is_due)).then_some(())).await;
    }

    /// Returns what happens next, after [`Self::settle`].
    pub(crate) fn next(&self) -> Next {
        let now = self.0.clock.now();
        let mut state = self.lock();
        state.waiting.retain(|_, one| one.at.is_none_or(|at| at > now));
        match state.waiting.values().filter_map(|one| one.at).min() {
            Some(at) => Next::Recorded(at),
            None if !state.recorded.is_empty() || self.is_replay() => Next::Sleep,
            None => Next::Live,
        }
    }

    /// Ends the call of a guest that waits only for what did not happen before.
    pub(crate) async fn diverge(&self) {
        let next = self.lock().recorded.keys().next().copied();
        self.differ::<()>(match next {
            Some(number) => {
                format!("it made request {number} before, and now waits for something else")
            }
            None => "it waits for a response that is not recorded".to_owned(),
        })
        .await;
    }

    /// Waits until an answer has come.
    pub(crate) async fn come(&self) {
        self.until(|state| (!state.come.is_empty()).then_some(())).await;
    }

    /// Gives the oldest answer that has come its time, at the latest `end`, and lets the clock reach it.
    pub(crate) async fn admit(&self, end: Option<u64>) {
        let Some(come) = self.lock().come.pop_front() else { return };
        let ticket = come.ticket;
        let (at, answer) = self.keep(come, end).await;
        self.0.clock.advance_to(at);
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(&ticket) {
            waiting.at = Some(at);
            state.answers.insert(ticket, answer);
        }
    }

    /// Returns whether an answer has come.
    pub(crate) fn has_come(&self) -> bool {
        !self.lock().come.is_empty()
    }

    /// Waits until `find` returns something. It is called after each change.
    async fn until<T>(&self, mut find: impl FnMut(&mut State) -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.0.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            let found = find(&mut self.lock());
            match found {
                Some(found) => return found,
                None => changed.await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Numbers a request. Returns its number and its recorded exchange.
    fn next(&mut self) -> (u32, Option<RecordedExchange>) {
        self.last += 1;
        (self.last, self.recorded.remove(&self.last))
    }

    /// Takes the places of the recorded answers that the guest sees by now, in their order.
    fn seen(&mut self, now: u64) -> Vec<usize> {
        let seen = self.waiting.values_mut().filter(|one| one.at.is_some_and(|at| at <= now));
        let mut places: Vec<_> = seen.filter_map(|one| one.place.take()).collect();
        places.sort_unstable();
        places
    }

    /// Counts the entry of an exchange.
    fn add(&mut self, entry: &[u8]) {
        self.count += 1;
        self.bytes += entry.len() as u64;
        self.hash.update(entry);
    }

    /// Counts an entry that is to be written. Returns whether it is the first one of this guest.
    ///
    /// # Errors
    ///
    /// It is beyond the limit, which ends the call.
    fn count_written(&mut self, entry: &[u8], is_exchange: bool, limit: u64) -> Result<bool, ()> {
        if self.bytes + entry.len() as u64 > limit {
            self.end.get_or_insert(JournalEnd::Full(show_size(limit)));
            return Err(());
        }
        match is_exchange {
            true => self.add(entry),
            false => self.bytes += entry.len() as u64,
        }
        Ok(!mem::replace(&mut self.has_started, true))
    }
}

impl Ticket {
    /// Answers the request. `live` sends it.
    pub(super) async fn answer(self, asked: Asked, live: impl Future<Output = Timed>) -> Answer {
        let exchanges = &self.exchanges;
        if let Some(recorded) = &self.recorded {
            let answer = exchanges.answer_of(recorded, self.number, &asked).await;
            self.due().await;
            return answer;
        }
        if exchanges.is_replay() {
            // The other run may have dropped it before its response. Waiting for it alone is an error.
            return pending().await;
        }
        exchanges.before(self.number, &asked).await;
        let sent = exchanges.0.clock.now();
        let timed = live.await;
        let come = Come { ticket: self.id, number: self.number, asked, sent, timed };
        exchanges.lock().come.push_back(come);
        exchanges.0.changed.notify_waiters();
        self.due().await;
        let answer = exchanges.lock().answers.remove(&self.id);
        answer.unwrap_or(Err(Failure::Timeout))
    }

    /// Waits until the guest sees the answer.
    pub(super) async fn due(&self) {
        let Self { exchanges, id, .. } = self;
        let clock = &exchanges.0.clock;
        let is_due = |one: &Waiting| one.at.is_some_and(|at| at <= clock.now());
        exchanges.until(|state| state.waiting.get(id).is_none_or(is_due).then_some(())).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let now = self.exchanges.0.clock.now();
        let mut state = self.exchanges.lock();
        state.come.retain(|come| come.ticket != self.id);
        state.answers.remove(&self.id);
        if let Some(waiting) = state.waiting.get_mut(&self.id) {
            waiting.is_dropped = true;
        }
        let id = self.id;
        state.waiting.retain(|other, one| *other != id || one.at.is_some_and(|at| at > now));
        drop(state);
        self.exchanges.0.changed.notify_waiters();
    }
}
