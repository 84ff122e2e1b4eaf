//! Beats: a worker says again and again that it is there, so that one that is stopped or hangs is told from one whose
//! guests take their time.

use std::{
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::net::UnixStream;

use super::{socket::send_now, wire::encode_beat};

/// How often a worker says that it is there.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How long a worker may say nothing, in the time in which its runner could work: then whatever it has is lost. It is many
/// beats, because a process that is merely starved of processors or memory comes back.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// How long an attempt may go on behind its deadline, which every guest is interrupted at: then what it runs in hangs.
pub(super) const OVERDUE: Duration = Duration::from_secs(30);

/// Beats from a thread of its own while a worker is set up, which takes as long as its plugins and tests are large. Ends when
/// it is dropped, and nothing else may be sent until then.
pub(super) struct Beating {
    ending: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Beating {
    pub(super) fn begin(stream: &Arc<UnixStream>) -> Self {
        let stream = Arc::clone(stream);
        let (ending, ended) = mpsc::channel();
        let beat = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(BEAT) {
                if send_now(&stream, &encode_beat()).is_err() {
                    return;
                }
            }
        };
        // Without a thread it may be taken for one that hangs, and another takes its place.
        let thread = thread::Builder::new().name("beat".into()).spawn(beat);
        Self {
            ending: Some(ending),
            thread: thread.ok(),
        }
    }
}

impl Drop for Beating {
    fn drop(&mut self) {
        drop(self.ending.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say of how it ended.
            let _ = thread.join();
        }
    }
}
