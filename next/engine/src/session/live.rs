//! The thread that writes `live.json`.

use std::{
    sync::mpsc::{self, SyncSender},
    thread,
};

use runner_record::{Live, LiveWriter};

/// Starts the thread that writes `live.json`. It ends when the sender is dropped; while the disk is busy with one, the next is
/// dropped.
pub(super) fn write_live(writer: LiveWriter) -> SyncSender<Live> {
    let (states, received) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("live".into());
    // Without a thread nothing is written, and no answer changes.
    let _ = thread.spawn(move || {
        for live in received {
            writer.write(&live);
        }
    });
    states
}
