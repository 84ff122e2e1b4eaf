//! Writes `live.json` on a thread of its own, so that a slow disk holds nobody up.

use std::{
    sync::mpsc::{self, SyncSender},
    thread,
};

use runner_record::{Live, LiveWriter};

/// The thread that writes `live.json`.
pub(crate) struct LiveThread(SyncSender<Live>);

impl LiveThread {
    /// Starts the thread; it ends when this is dropped.
    pub(crate) fn start(writer: LiveWriter) -> Self {
        let (states, received) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("live".into());
        // Without a thread nothing is written, and no answer changes.
        let _ = thread.spawn(move || {
            for live in received {
                writer.write(&live);
            }
        });
        Self(states)
    }

    /// Writes this soon; drops it if the disk is still busy with the last one.
    pub(crate) fn write(&self, live: Live) {
        let _ = self.0.try_send(live);
    }
}
