//! The driver: the thin loop that gives the dispatcher its clock and its messages, and carries out what it decides.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    clock::Now,
    dispatcher::{Dispatcher, Effects, SessionMessage, Turn},
    event::Event,
    local::Pool,
    seam::{ExecutorId, FromExecutors, GRADERS, ToExecutor},
    session_end::SessionEnd,
    stop::PauseNews,
    workers::{Crew, CrewEvent},
};
use crate::{
    plugin::clock,
    record::{Entry, InFlight, JudgementEntry, Recorder, WaitingTrials},
};

/// How long reports may gather while executors have work.
const BATCH_WINDOW: Duration = Duration::from_millis(1);

/// What the dispatcher's decisions reach.
pub(super) struct LiveEffects<'a> {
    pub(super) crew: Crew<'a>,
    /// Executes graders, if there are any.
    pub(super) graders: Option<Pool>,
    pub(super) recorder: &'a mut Recorder,
    /// Where it is said which trials wait, and what was said there last.
    pub(super) in_flight: InFlight,
    pub(super) waits: WaitingTrials,
    pub(super) observe: &'a mut dyn FnMut(Event<'_>),
}

/// What happens to a session.
pub(super) struct Inboxes<'a> {
    pub(super) session: &'a mut UnboundedReceiver<SessionMessage>,
    pub(super) executors: UnboundedReceiver<FromExecutors>,
    pub(super) crew: UnboundedReceiver<CrewEvent>,
    /// Who has paused the session, if somebody has.
    pub(super) pauses: PauseNews,
}

impl Effects for LiveEffects<'_> {
    fn send(&mut self, who: ExecutorId, message: ToExecutor) {
        if who == GRADERS {
            if let Some(pool) = &self.graders {
                pool.take(message);
            }
            return;
        }
        self.crew.send(who, message);
    }

    fn record(&mut self, entries: Vec<Entry>) {
        self.crew.made(entries.len());
        self.recorder.record(entries);
    }

    fn judge(&mut self, judgements: Vec<JudgementEntry>) {
        self.recorder.judge(judgements);
    }

    fn flush(&mut self) {
        self.recorder.flush();
    }

    fn wait(&mut self, waits: WaitingTrials) {
        if self.waits != waits {
            self.in_flight.note_waits(&waits);
            self.waits = waits;
        }
    }

    fn show(&mut self, event: Event<'_>) {
        (self.observe)(event);
    }
}

/// Lets a session go on until no trial is left, or a stop wins.
pub(super) async fn drive(
    mut dispatcher: Dispatcher<LiveEffects<'_>>,
    mut inboxes: Inboxes<'_>,
) -> SessionEnd {
    // Somebody may have paused it before.
    inboxes.pauses.mark_changed();
    loop {
        match dispatcher.turn(Now::read()) {
            Ok(Turn::Wait(until)) => inboxes.wait(&mut dispatcher, until).await,
            Ok(Turn::Over) => break,
            Err(error) => {
                let error = format!("cannot read the run's tests: {error}");
                return SessionEnd::broken(error, dispatcher.counts());
            }
        }
        if dispatcher.may_wait() {
            tokio::time::sleep(BATCH_WINDOW).await;
        }
    }
    dispatcher.end()
}

impl Inboxes<'_> {
    /// Waits for a message, but not for longer than `until`, and lets the dispatcher have all that are there.
    async fn wait(
        &mut self,
        dispatcher: &mut Dispatcher<LiveEffects<'_>>,
        until: crate::plugin::Moment,
    ) {
        tokio::select! {
            biased;
            Ok(()) = self.pauses.changed() => self.pause(dispatcher),
            Some(message) = self.session.recv() => dispatcher.receive(Now::read(), message),
            Some(message) = self.executors.recv() => dispatcher.receive_from_executor(Now::read(), message),
            Some(event) = self.crew.recv() => self.hear(dispatcher, event),
            () = clock::sleep_until(until) => return,
        }
        let now = Now::read();
        while let Ok(message) = self.session.try_recv() {
            dispatcher.receive(now, message);
        }
        self.hear_executors(dispatcher, now);
        while let Ok(event) = self.crew.try_recv() {
            self.hear(dispatcher, event);
        }
    }

    /// Lets workers wait, or go on, and tells it.
    fn pause(&mut self, dispatcher: &mut Dispatcher<LiveEffects<'_>>) {
        let by = self.pauses.borrow_and_update().clone();
        if dispatcher.out.crew.pause(by.is_some()) {
            dispatcher.out.show(match &by {
                Some(by) => Event::Paused { by },
                None => Event::Unpaused,
            });
        }
    }

    /// Lets the crew have what happened to it, after what its executors have said before.
    fn hear(&mut self, dispatcher: &mut Dispatcher<LiveEffects<'_>>, event: CrewEvent) {
        let now = Now::read();
        self.hear_executors(dispatcher, now);
        for message in dispatcher.out.crew.take(event) {
            dispatcher.receive_from_executor(now, message);
        }
    }

    fn hear_executors(&mut self, dispatcher: &mut Dispatcher<LiveEffects<'_>>, now: Now) {
        while let Ok(message) = self.executors.try_recv() {
            dispatcher.receive_from_executor(now, message);
        }
    }
}
