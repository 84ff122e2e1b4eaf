//! The thread that writes `live.json`.

use std::sync::mpsc::{self, SyncSender};
use std::thread;

use runner_record::{Live, LiveWriter};

/// Starts the thread that writes `live.json`. It ends when the sender is dropped. The channel holds one state: with `try_send`
/// a slow disk makes the coordinator skip states instead of waiting.
pub(super) fn write_live(writer: LiveWriter) -> SyncSender<Live> {
    let (states, received) = mpsc::sync_channel(1);
    let thread = thread::Builder::new().name("live".into());
    // `live.json` is only for display, so the session runs without the thread, too.
    let _ = thread.spawn(move || {
        for live in received {
            writer.write(&live);
        }
    });
    states
}
