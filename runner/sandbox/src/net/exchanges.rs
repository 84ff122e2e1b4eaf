//! [`Exchanges`]: the requests of a deterministic call. When a guest sees a response is a function of its own clock.
//!
//! Each response has a time of the guest's clock. A guest that waits sees what is first: a response or the end of a sleep. A
//! live response gets its time when it has come, later than all that the guest has seen; a recorded one has it from the
//! journal. So the guest cannot tell them apart.

use std::collections::BTreeMap;
use std::future::{pending, ready};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicU64};

use runner_model::protocol::{Entry, Exchange};
use runner_model::row::Calls;
use runner_model::{Micros, Time, provider::InFlight, units::show_size};
use tokio::sync::Notify;

use super::failure::Failure;
use super::journal::{Answer, Asked, Journal, JournalEnd, Kept, RecordedEnd, RecordedExchange};
use super::written::{Counted, Written};
use crate::Redactor;
use crate::store::virtual_clock::VirtualClock;

/// The requests of one call. Clones share them.
#[derive(Clone)]
pub(crate) struct Exchanges(Arc<Shared>);

/// Storage of the exchanges of a call.
pub(crate) struct KeptExchanges {
    /// `None` if nothing is kept.
    pub(crate) journal: Option<Journal>,
    pub(crate) redactor: Option<Arc<Redactor>>,
    /// Most bytes of entries.
    pub(crate) limit: u64,
}

struct Shared {
    clock: VirtualClock,
    /// `None` if nothing is kept.
    journal: Option<Journal>,
    redactor: Option<Arc<Redactor>>,
    /// Most bytes of entries.
    limit: u64,
    /// Bytes that the bodies of requests in the background may still have.
    unsent: AtomicU64,
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
    /// Recorded ends of tools that the guest has not called yet, by the number of the call.
    ended: BTreeMap<u32, RecordedEnd>,
    /// When the guest last saw a recorded response, or the end of a tool.
    last_recorded: u64,
    last_ticket: u64,
    /// By ticket: requests in the background that are not answered.
    waiting: BTreeMap<u64, Waiting>,
    /// `None` without a journal, and once the attempt has ended, so that nothing more is kept.
    written: Option<Written>,
    end: Option<JournalEnd>,
}

/// A request in the background.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When the guest sees the answer, if that is known.
    at: Option<u64>,
    /// Whether the guest has dropped the request. Its answer still takes time, because it did so before.
    is_dropped: bool,
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
    asked: Asked,
    /// Whether the request has its body.
    is_whole: bool,
    /// The recorded exchange, until it has answered the request.
    recorded: Option<RecordedExchange>,
    /// The writing of a replayed exchange. It starts with the request: a guest may drop the request and end before the request
    /// is polled.
    kept: Option<Kept>,
    /// Whether the request is being sent.
    is_open: bool,
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
    pub(crate) fn new(
        kept: KeptExchanges,
        clock: VirtualClock,
        start: Time,
        timeout: Micros,
    ) -> Self {
        let KeptExchanges { journal, redactor, limit } = kept;
        let mut state = State::default();
        let recorded = journal.as_ref().and_then(|journal| journal.recorded.as_ref());
        if let Some(recorded) = recorded {
            state.recorded.clone_from(&recorded.exchanges);
            state.ended.clone_from(&recorded.ended);
            let times = recorded.exchanges.values().map(|exchange| exchange.at_ns);
            let times = times.chain(recorded.ended.values().map(|end| end.at_ns));
            state.last_recorded = times.max().unwrap_or(0);
        }
        let is_replay = journal.as_ref().is_some_and(|journal| journal.is_replay);
        // A replay is an attempt of its own run, whose entries are kept again.
        let before = recorded.filter(|_| !is_replay);
        if let Some(journal) = &journal {
            let start = Entry::Start {
                clock: start,
                timeout_us: timeout.0,
                compile_key: journal.compile_key.clone(),
                continues: before.is_some(),
                records_sent: journal.in_flight == InFlight::Stop,
            };
            state.written = Some(match before {
                None => Written::new(start.to_bytes()),
                Some(recorded) => {
                    // At once and not with its first exchange, so that all interruptions are counted.
                    drop(journal.keeper.keep(&start.to_bytes()));
                    let entries = (0..recorded.entries.len()).filter_map(|at| recorded.entry(at));
                    Written::continued(&recorded.start, recorded.exchanges.len(), entries)
                }
            });
        }
        Self(Arc::new(Shared {
            clock,
            journal,
            redactor,
            limit,
            unsent: AtomicU64::new(limit),
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    /// Ends the journal. Returns what the row has of the exchanges, `None` without any.
    pub(crate) fn calls(&self) -> Option<Calls> {
        self.lock().written.take()?.calls()
    }

    /// Returns why the call must end.
    pub(crate) fn end(&self) -> Option<JournalEnd> {
        self.lock().end.clone()
    }

    /// Returns whether the responses are those of another run, and sleeps take no time.
    pub(crate) fn is_replay(&self) -> bool {
        self.0.journal.as_ref().is_some_and(|journal| journal.is_replay)
    }

    /// Ends the call of a guest that returns, if earlier guests of the attempt did more before.
    pub(crate) fn check_end(&self) {
        if self.is_replay() {
            return;
        }
        let mut state = self.lock();
        let request = state.recorded.keys().next().map(|number| format!("request {number}"));
        let call = state.ended.keys().next().map(|call| format!("call {call} of a tool"));
        if let Some(call) = request.or(call) {
            let end = self.end_by(format!("it made {call} before, and now ends without it"));
            state.end.get_or_insert(end);
        }
    }

    /// Starts a call of a tool, by its number. Returns the end of the same call of an earlier guest, if its time was over.
    pub(crate) fn start_tool(&self, call: u32) -> Option<RecordedEnd> {
        self.lock().ended.remove(&call)
    }

    /// Returns whether the guest does more than earlier ones have done.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_replay() && self.lock().is_live()
    }

    /// Keeps the end of a call of a tool whose time was over.
    pub(crate) async fn keep_end(&self, call: u32, fuel: u64) {
        let Some(journal) = &self.0.journal else { return };
        let entry = Entry::Ended { call, fuel, at_ns: self.0.clock.now() };
        self.write(journal, &entry.to_bytes(), Counted::InHash).await;
    }

    /// Writes the entry of a replayed end as this run's. Does nothing if this is not a replay.
    pub(crate) async fn keep_end_again(&self, recorded: &RecordedEnd) {
        if let Some(kept) = self.keep_again(recorded.place, Counted::InHash) {
            kept.await;
        }
    }

    /// Returns whether the exchanges have a journal.
    pub(super) fn is_recorded(&self) -> bool {
        self.0.journal.is_some()
    }

    /// Returns the number of requests so far. 0 without a journal.
    pub(crate) fn made(&self) -> u32 {
        if self.is_recorded() { self.lock().last } else { 0 }
    }

    /// Returns the bytes that the bodies of requests in the background may still have.
    pub(super) fn unsent(&self) -> &AtomicU64 {
        &self.0.unsent
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
                if let Some(kept) = self.keep_again(recorded.place, Counted::AsExchange) {
                    kept.await;
                }
                (recorded.at_ns, answer)
            }
            None => {
                self.before(number, &asked).await;
                let sent = self.0.clock.now();
                self.keep(None, number, asked, sent, live.await).await
            }
        };
        self.0.clock.advance_to(at);
        answer
    }

    /// Starts a request in the background. A refused one has no exchange, and is answered at once.
    pub(super) fn start(&self, is_refused: bool, asked: Asked) -> Ticket {
        let now = self.0.clock.now();
        let mut state = self.lock();
        let (number, recorded) = if is_refused { (0, None) } else { state.next() };
        state.last_ticket += 1;
        let id = state.last_ticket;
        let at = recorded.as_ref().map(|recorded| recorded.at_ns).or(is_refused.then_some(now));
        state.waiting.insert(id, Waiting { at, is_dropped: false });
        drop(state);
        let kept = recorded
            .as_ref()
            .and_then(|recorded| self.keep_again(recorded.place, Counted::AsExchange));
        let exchanges = self.clone();
        Ticket { exchanges, id, number, asked, is_whole: false, recorded, kept, is_open: false }
    }

    /// Returns a recorded answer. Never resolves if the request differs from the recorded one.
    async fn answer_of(&self, recorded: &RecordedExchange, number: u32, asked: &Asked) -> Answer {
        match self.compare(recorded, number, asked, true) {
            Ok(answer) => answer,
            Err(difference) => self.differ(difference).await,
        }
    }

    /// Compares a request, if it `is_whole` with its body. Returns its recorded answer, or the difference.
    fn compare(
        &self,
        recorded: &RecordedExchange,
        number: u32,
        asked: &Asked,
        is_whole: bool,
    ) -> Result<Answer, String> {
        let journal = self.0.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
        let journal = journal.ok_or("it has no journal")?;
        let (before, answer) = journal.exchange(recorded)?;
        match asked.difference(&before, number, is_whole) {
            None => Ok(answer),
            Some(difference) => Err(difference + &journal.nearest(asked, number)),
        }
    }

    /// Ends the call of a guest that does something else than before.
    pub(crate) async fn differ<T>(&self, difference: String) -> T {
        let end = self.end_by(difference);
        self.lock().end.get_or_insert(end);
        self.halt().await
    }

    /// Returns the end by a difference to what guests did before.
    fn end_by(&self, difference: String) -> JournalEnd {
        match &self.0.journal {
            Some(journal) if journal.is_replay => JournalEnd::Replay(difference),
            Some(journal) if journal.in_flight == InFlight::Stop => {
                JournalEnd::Interrupted(difference)
            }
            _ => JournalEnd::Diverged(difference),
        }
    }

    /// Writes a replayed entry as this run's. `None` if this is not a replay.
    fn keep_again(&self, place: usize, counted: Counted) -> Option<Kept> {
        let journal = self.0.journal.as_ref().filter(|journal| journal.is_replay)?;
        let entry = journal.recorded.as_ref()?.entry(place)?;
        Some(self.write(journal, &entry, counted))
    }

    /// Handles a recorded request that the guest drops before it has seen the answer, as it did before.
    fn drop_recorded(
        &self,
        recorded: &RecordedExchange,
        number: u32,
        asked: &Asked,
        is_whole: bool,
    ) {
        if let Err(difference) = self.compare(recorded, number, asked, is_whole) {
            let end = self.end_by(difference);
            self.lock().end.get_or_insert(end);
        }
    }

    /// Prepares for sending a request. Never resolves if it must not be sent: an earlier guest may have sent it, or this is a
    /// replay.
    async fn before(&self, number: u32, asked: &Asked) {
        if self.is_replay() {
            let journal = self.0.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
            let nearest = journal.map(|journal| journal.nearest(asked, number)).unwrap_or_default();
            let missing =
                format!("its request {number}, {asked}, has no recorded response{nearest}");
            return self.differ(missing).await;
        }
        let stops = |journal: &&Journal| journal.in_flight == InFlight::Stop;
        let Some(journal) = self.0.journal.as_ref().filter(stops) else { return };
        let recorded = journal.recorded.as_ref();
        if recorded.is_some_and(|recorded| recorded.sent.contains(&number)) {
            let request =
                format!("request {number}, {asked}, may have been sent before the interruption");
            self.lock().end.get_or_insert(JournalEnd::Interrupted(request));
            return self.halt().await;
        }
        self.write(journal, &Entry::Sent { number }.to_bytes(), Counted::AsBytes).await;
    }

    /// Keeps an answer. Returns it with the time at which the guest sees it. `ticket` is that of a request in the background.
    async fn keep(
        &self,
        ticket: Option<u64>,
        number: u32,
        asked: Asked,
        sent: u64,
        timed: Timed,
    ) -> (u64, Answer) {
        let Timed { answer, took, used } = timed;
        let at_ns = self.lock().time(&self.0.clock, ticket, sent.saturating_add(nanoseconds(took)));
        // Now and not once it is on disk: no sleep that ends later may come first.
        self.0.changed.notify_waiters();
        let Some(journal) = &self.0.journal else { return (at_ns, answer) };
        let (response, failure, redacted) = match &answer {
            Ok(answered) => {
                let (response, is_redacted) = answered.write(self.redactor());
                (Some(response), None, is_redacted)
            }
            Err(failure) => {
                let (failure, is_redacted) = failure.to_call(self.redactor());
                (None, Some(failure), is_redacted)
            }
        };
        let before = journal.recorded.as_ref().map_or(0, |recorded| recorded.used.0);
        let (took_us, used_us, request) = (took.0, before.saturating_add(used.0), asked.0);
        let exchange =
            Exchange { number, at_ns, took_us, used_us, request, response, failure, redacted };
        self.write(journal, &Entry::Exchange(exchange).to_bytes(), Counted::AsExchange).await;
        (at_ns, answer)
    }

    /// Keeps that a guest has dropped a request that was sent, so that no later guest sends it again.
    fn keep_dropped(&self, ticket: u64, number: u32, asked: Asked) {
        let Some(journal) = &self.0.journal else { return };
        let failure = Failure::Invalid("the guest dropped the request".to_owned());
        let (failure, redacted) = failure.to_call(None);
        let at_ns = self.lock().time(&self.0.clock, Some(ticket), 0);
        let exchange = Exchange {
            number,
            at_ns,
            took_us: 0,
            used_us: 0,
            request: asked.0,
            response: None,
            failure: Some(failure),
            redacted,
        };
        // Nobody waits for it: the entry is on its way before the guest's next one.
        drop(self.write(journal, &Entry::Exchange(exchange).to_bytes(), Counted::AsExchange));
    }

    /// Sends an entry to the disk, and before it the start of the guest if it is the first one. Resolves once they are there, and
    /// never beyond the limit or after the end.
    fn write(&self, journal: &Journal, entry: &[u8], counted: Counted) -> Kept {
        let mut state = self.lock();
        let start = match &mut state.written {
            None => None,
            Some(written) => {
                let start = written.count(entry, counted, self.0.limit);
                if start.is_none() {
                    state.fill(self.0.limit);
                }
                start
            }
        };
        drop(state);
        let Some(start) = start else {
            let exchanges = self.clone();
            return Box::pin(async move { exchanges.halt().await });
        };
        let start: Kept = match start.is_empty() {
            true => Box::pin(ready(())),
            false => journal.keeper.keep(&start),
        };
        let kept = journal.keeper.keep(entry);
        Box::pin(async move {
            start.await;
            kept.await;
        })
    }

    /// Ends the call if its responses have more bytes than its journal may have.
    pub(super) async fn check_arrived(&self, bytes: u64) {
        if bytes > self.0.limit {
            self.lock().fill(self.0.limit);
            self.halt::<()>().await;
        }
    }

    /// Never resolves, and lets the call end for the reason that was set.
    async fn halt<T>(&self) -> T {
        self.0.changed.notify_waiters();
        pending().await
    }

    /// Waits until the requests in the background whose time has come are answered.
    pub(crate) async fn settle(&self) {
        let now = self.0.clock.now();
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
            None if !state.is_live() || self.is_replay() => Next::Sleep,
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

    /// Waits until the time of an answer is known.
    pub(crate) async fn come(&self) {
        self.until(|state| state.waiting.values().any(|one| one.at.is_some()).then_some(())).await;
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
    fn is_live(&self) -> bool {
        self.recorded.is_empty() && self.ended.is_empty()
    }

    /// Numbers a request. Returns its number and its recorded exchange.
    fn next(&mut self) -> (u32, Option<RecordedExchange>) {
        self.last += 1;
        (self.last, self.recorded.remove(&self.last))
    }

    /// Returns the time at which the guest sees an answer: not before `least`, and later than all that the guest has seen, or it
    /// would see the answer earlier when it continues.
    fn time(&mut self, clock: &VirtualClock, ticket: Option<u64>, least: u64) -> u64 {
        let at = least.max(clock.now().max(self.last_recorded).saturating_add(1));
        if let Some(waiting) = ticket.and_then(|ticket| self.waiting.get_mut(&ticket)) {
            waiting.at = Some(at);
        }
        at
    }

    fn fill(&mut self, limit: u64) {
        self.end.get_or_insert(JournalEnd::Full(show_size(limit)));
    }
}

impl Ticket {
    pub(super) fn set_body(&mut self, body: &[u8]) {
        self.asked.set_body(body, self.exchanges.redactor());
        self.is_whole = true;
    }

    /// Answers the request. `live` sends it.
    pub(super) async fn answer(mut self, live: impl Future<Output = Timed>) -> Answer {
        let exchanges = self.exchanges.clone();
        if let Some(recorded) = &self.recorded {
            let answer = exchanges.answer_of(recorded, self.number, &self.asked).await;
            self.recorded = None;
            if let Some(kept) = self.kept.take() {
                kept.await;
            }
            self.due().await;
            return answer;
        }
        if exchanges.is_replay() {
            // The other run may have dropped it before its response. Waiting for it alone is an error.
            return pending().await;
        }
        exchanges.before(self.number, &self.asked).await;
        let sent = exchanges.0.clock.now();
        self.is_open = true;
        let timed = live.await;
        self.is_open = false;
        let asked = self.asked.clone();
        let (_, answer) = exchanges.keep(Some(self.id), self.number, asked, sent, timed).await;
        self.due().await;
        answer
    }

    /// Waits until the guest sees the answer.
    pub(super) async fn due(&mut self) {
        let Self { exchanges, id, .. } = self;
        let clock = &exchanges.0.clock;
        let is_due = |one: &Waiting| one.at.is_some_and(|at| at <= clock.now());
        exchanges.until(|state| state.waiting.get(id).is_none_or(is_due).then_some(())).await;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.is_open {
            self.exchanges.keep_dropped(self.id, self.number, self.asked.clone());
        }
        if let Some(recorded) = &self.recorded {
            self.exchanges.drop_recorded(recorded, self.number, &self.asked, self.is_whole);
        }
        let now = self.exchanges.0.clock.now();
        let mut state = self.exchanges.lock();
        if let Some(waiting) = state.waiting.get_mut(&self.id) {
            waiting.is_dropped = true;
        }
        let id = self.id;
        state.waiting.retain(|other, one| *other != id || one.at.is_some_and(|at| at > now));
        drop(state);
        self.exchanges.0.changed.notify_waiters();
    }
}

fn nanoseconds(time: Micros) -> u64 {
    time.0.saturating_mul(1000)
}
