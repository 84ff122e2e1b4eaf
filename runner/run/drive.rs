//! The driver: the thin loop that gives the dispatcher its clock and its messages, and carries out what it decides.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    clock::Now,
    dispatcher::{Dispatcher, Effects, SessionMessage, Turn},
    event::Event,
    local::Pool,
    seam::{ExecutorId, FromExecutors, ToExecutor},
    session_end::SessionEnd,
};
use crate::{
    plugin::clock,
    record::{Entry, Recorder},
};

/// How long reports may gather while executors have work.
const BATCH_WINDOW: Duration = Duration::from_millis(1);

/// What the dispatcher's decisions reach.
pub(super) struct LiveEffects<'a> {
    pub(super) pool: Pool,
    pub(super) recorder: &'a mut Recorder,
    pub(super) observe: &'a mut dyn FnMut(Event<'_>),
}

/// What happens to a session.
pub(super) struct Inboxes<'a> {
    pub(super) session: &'a mut UnboundedReceiver<SessionMessage>,
    pub(super) executors: UnboundedReceiver<FromExecutors>,
}

impl Effects for LiveEffects<'_> {
    fn send(&mut self, _: ExecutorId, message: ToExecutor) {
        // There is but one.
        self.pool.take(message);
    }

    fn record(&mut self, entries: Vec<Entry>) {
        self.recorder.record(entries);
    }

    fn flush(&mut self) {
        self.recorder.flush();
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
            Some(message) = self.session.recv() => dispatcher.receive(Now::read(), message),
            Some(message) = self.executors.recv() => dispatcher.receive_from_executor(Now::read(), message),
            () = clock::sleep_until(until) => return,
        }
        let now = Now::read();
        while let Ok(message) = self.session.try_recv() {
            dispatcher.receive(now, message);
        }
        while let Ok(message) = self.executors.try_recv() {
            dispatcher.receive_from_executor(now, message);
        }
    }
}
