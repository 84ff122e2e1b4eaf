//! [`PrestartedWorker`]: a worker that is started before the session is planned, because starting takes a while.

use std::{
    io,
    sync::mpsc::{self, Receiver, Sender},
};

use runner_model::WorkerId;

use super::link::{EventSink, WorkerLink};
use crate::input::Input;

/// Starts a worker.
pub(crate) type Launch = Box<dyn FnMut(EventSink) -> io::Result<Box<dyn WorkerLink>>>;

/// Events of a worker that the session has not taken. With more of them its reader waits: a worker that speaks faster than it
/// is heard costs no memory.
const MAX_UNREAD: usize = 64;

/// The first worker of a session. It is started before it is known what it is to do, because starting takes a while.
pub(crate) struct PrestartedWorker {
    pub(super) launch: Launch,
    pub(super) link: Box<dyn WorkerLink>,
    pub(super) unread: Receiver<()>,
    pub(super) sender: Sender<Input>,
    pub(super) inputs: Receiver<Input>,
}

impl PrestartedWorker {
    /// Starts the worker.
    pub(crate) fn start(mut launch: Launch) -> io::Result<Self> {
        let (sender, inputs) = mpsc::channel();
        let (sink, unread) = event_sink(WorkerId(1), &sender);
        let link = launch(sink)?;
        Ok(Self { launch, link, unread, sender, inputs })
    }
}

/// Sends what is heard of a worker to the session, and waits while too much of it was not taken. Whoever takes an event takes
/// one from the receiver, too.
pub(super) fn event_sink(worker: WorkerId, inputs: &Sender<Input>) -> (EventSink, Receiver<()>) {
    let inputs = inputs.clone();
    let (permits, unread) = mpsc::sync_channel(MAX_UNREAD);
    let sink = Box::new(move |event| {
        // Without a receiver the worker is gone, or the session has ended.
        let _ = permits.send(());
        let _ = inputs.send(Input::Link(worker, event));
    });
    (sink, unread)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use runner_model::WorkerId;

    use super::{super::events::LinkEvent, MAX_UNREAD, event_sink};

    #[test]
    fn reader_waits_for_unread_events() {
        let (sender, _inputs) = mpsc::channel();
        let (sink, unread) = event_sink(WorkerId(1), &sender);
        let sent = AtomicUsize::new(0);
        let has_sent = |count| {
            while sent.load(Ordering::SeqCst) < count {
                thread::yield_now();
            }
            // One that does not wait would go on now.
            thread::sleep(Duration::from_millis(20));
            sent.load(Ordering::SeqCst) == count
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                // Moved, so that it ends with this thread.
                let sink = sink;
                for _ in 0..MAX_UNREAD + 10 {
                    sink(LinkEvent::Messages(Vec::new()));
                    sent.fetch_add(1, Ordering::SeqCst);
                }
            });
            assert!(has_sent(MAX_UNREAD));
            unread.recv().unwrap();
            assert!(has_sent(MAX_UNREAD + 1));
            // Of a worker that is gone nothing is waited for.
            drop(unread);
            assert!(has_sent(MAX_UNREAD + 10));
        });
    }
}
