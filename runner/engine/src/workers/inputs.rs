//! [`Input`]: the events of a session's loop. [`PrestartedWorker`]: a worker that starts while the session is planned.

use std::sync::mpsc::{self, Receiver, Sender};
use std::{io, thread, time::Instant};

use runner_model::{Reason, WorkerId, prepare::Ready, protocol::FromWorker, row::Actor};
use runner_prepare::PrepareError;
use runner_record::{Ack, LabelRequest, Owned, RecordError, Request};

use super::link::{EventSink, LinkEvent, MAX_UNREAD, RequestedContent, WorkerExit, WorkerLink};
use super::remote::SourceEvent;
use crate::signals::SignalEvent;

/// An event that a session's loop waits for.
pub(crate) enum Input {
    /// Messages of a worker, in their order. The pool passes on those about tasks and for the log.
    Messages(WorkerId, Vec<FromWorker>),
    Exited(WorkerId, WorkerExit),
    /// The result of a compilation or a blob copy, for the pool.
    Supplied(RequestedContent, Result<(), PrepareError>),
    /// An event of the source of workers on other machines, for the pool.
    Source(SourceEvent),
    /// A plugin is being compiled. Holds its name in the scenario.
    Compiling(String),
    /// The compilation of a plugin has ended. Holds its name in the scenario.
    Compiled(String),
    /// A worker has loaded the plugins, with their descriptions, or a plugin cannot be compiled. Problems are in
    /// [`Pool::problems`](super::Pool::problems).
    Described(Ready),
    /// A message for the user.
    Notice(String),
    /// Content could repeatedly not be given to workers on other machines.
    NotSupplied {
        /// Workers that can run nothing without it or other content.
        lacking: Vec<WorkerId>,
        message: String,
    },
    /// The session cannot continue.
    Failed(Reason, String),
    /// A plugin's compiler was killed or too slow, so that the session cannot continue.
    Interrupted(String),
    Ack(Ack),
    /// The end of a comparison of a worker's copies of bases.
    Compared(Compared),
    Signal(SignalEvent),
    /// Another process's request to end the session.
    Request(Box<Request>),
    /// Another process's request to pause, or `None` once it is withdrawn.
    Pause(Option<Box<Actor>>),
    /// Another process's request to change labels.
    Labels(Box<LabelRequest>),
    /// Sent once the run is on disk. The outer error is a panic of the thread that creates it.
    Created(Box<thread::Result<Result<Owned, RecordError>>>),
}

/// The end of a comparison of a worker's copies of bases.
#[derive(Debug)]
pub(crate) struct Compared {
    pub(crate) worker: WorkerId,
    /// The path of the first file that differs, in the base. `None` if the copies are equal to the bases.
    pub(crate) difference: Option<String>,
    pub(super) started: Instant,
}

/// Starts a worker.
pub(crate) type Launch = Box<dyn FnMut(EventSink) -> io::Result<Box<dyn WorkerLink>>>;

/// A worker's link, and an item for each of its unread events; see [`event_sink`].
pub(super) struct Connection {
    pub(super) link: Box<dyn WorkerLink>,
    pub(super) unread: Receiver<()>,
}

impl Connection {
    /// Connects a worker. `connect` gets the sink of its events.
    pub(super) fn open(
        worker: WorkerId,
        inputs: &Sender<Input>,
        connect: impl FnOnce(EventSink) -> io::Result<Box<dyn WorkerLink>>,
    ) -> io::Result<Self> {
        let (sink, unread) = event_sink(worker, inputs);
        Ok(Self { link: connect(sink)?, unread })
    }
}

/// The first worker of a session, started before its plan is known, because starting a process takes a while. Owns the
/// session's inputs, because its sink needs them before the pool exists.
pub(crate) struct PrestartedWorker {
    pub(super) launch: Launch,
    pub(super) connection: Connection,
    pub(super) sender: Sender<Input>,
    pub(super) inputs: Receiver<Input>,
}

impl PrestartedWorker {
    pub(crate) fn start(mut launch: Launch) -> io::Result<Self> {
        let (sender, inputs) = mpsc::channel();
        let connection = Connection::open(WorkerId(1), &sender, &mut launch)?;
        Ok(Self { launch, connection, sender, inputs })
    }
}

/// Returns a sink that forwards a worker's events to the session, and blocks while [`MAX_UNREAD`] items are unread. For each
/// event that it reads the session must take [`LinkEvent::items`] items from the receiver.
fn event_sink(worker: WorkerId, inputs: &Sender<Input>) -> (EventSink, Receiver<()>) {
    let inputs = inputs.clone();
    let (permits, unread) = mpsc::sync_channel(MAX_UNREAD);
    let sink = Box::new(move |event: LinkEvent| {
        // Without a receiver the worker was removed, or the session has ended.
        for _ in 0..event.items() {
            let _ = permits.send(());
        }
        let _ = inputs.send(match event {
            LinkEvent::Messages(messages) => Input::Messages(worker, messages),
            LinkEvent::Exited(exit) => Input::Exited(worker, exit),
        });
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

    use runner_model::protocol::{FromWorker, ReportHead};
    use runner_model::{TaskId, WorkerId};

    use super::{LinkEvent, MAX_UNREAD, event_sink};

    #[test]
    fn large_messages_count_as_several_events() {
        let report = |bytes| {
            let head = ReportHead { task: TaskId(1), row_bytes: 0, log_bytes: 0, host_fault: None };
            FromWorker::Report { head, body: Vec::with_capacity(bytes) }
        };
        for (messages, items) in [
            (vec![], 1),
            (vec![report(100)], 1),
            (vec![report(100 << 10)], 7),
            (vec![FromWorker::Bye; 10_000], 10_000 * size_of::<FromWorker>() / (16 << 10) + 1),
            // The sink would never get more items than there are.
            (vec![report(12 << 20)], MAX_UNREAD),
        ] {
            assert_eq!(LinkEvent::Messages(messages).items(), items);
        }
    }

    #[test]
    fn reader_waits_for_unread_events() {
        let (sender, _inputs) = mpsc::channel();
        let (sink, unread) = event_sink(WorkerId(1), &sender);
        let sent = AtomicUsize::new(0);
        let has_sent = |count| {
            while sent.load(Ordering::SeqCst) < count {
                thread::yield_now();
            }
            // A sink that does not block would send more in this time.
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
            // The sink of a removed worker does not block.
            drop(unread);
            assert!(has_sent(MAX_UNREAD + 10));
        });
    }
}
