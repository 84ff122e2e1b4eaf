//! [`Activity`]: the status line and the last output of a running guest.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runner_model::log::LogRecord;
use runner_model::recent_output::{MAX_RECENT, RecentOutput};

/// The current activity of a slot's guest. Clones share it. A slot serves one call after the other.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<ActivityState>>);

#[derive(Debug, Default)]
struct ActivityState {
    progress: String,
    /// Hosts and ports of requests without a response.
    requests: Vec<Arc<str>>,
    is_ready: bool,
    /// The end of the output.
    output: VecDeque<u8>,
    /// Bytes of all output.
    written: u64,
}

/// An open request. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    activity: Activity,
    host: Arc<str>,
}

impl Activity {
    /// Returns the guest's last progress message, or else the call that it waits for if `is_waiting`.
    pub fn word(&self, is_waiting: bool) -> String {
        let state = self.lock();
        match state.requests.last() {
            _ if !state.progress.is_empty() || !is_waiting => state.progress.clone(),
            Some(host) => format!("http {host}"),
            // Only requests and sleeping keep a guest off the processor for long.
            None => "sleep".to_owned(),
        }
    }

    /// Returns whether the guest can continue, and another guest is on the processor.
    pub fn is_ready(&self) -> bool {
        self.lock().is_ready
    }

    /// Sets whether the guest was woken, or gave its turn to others, since it was last polled.
    pub fn set_ready(&self, is_ready: bool) {
        self.lock().is_ready = is_ready;
    }

    /// Returns the end of the guest's output. A line may still lack its end.
    pub fn output(&self) -> RecentOutput {
        let mut state = self.lock();
        let bytes = state.written;
        let output = state.output.make_contiguous();
        // The first character may have been cut.
        let is_cut = bytes > output.len() as u64;
        let rest =
            output.iter().take(3).take_while(|byte| is_cut && **byte & 0b1100_0000 == 0b1000_0000);
        let start = rest.count();
        let mut recent =
            RecentOutput { bytes, text: String::from_utf8_lossy(&output[start..]).into_owned() };
        drop(state);
        recent.cut();
        recent
    }

    /// Starts another task or call. Requests of the previous one may still be open.
    pub fn start(&self) {
        let mut state = self.lock();
        state.progress.clear();
        state.output.clear();
        state.written = 0;
    }

    /// Adds output, which must be redacted.
    pub(crate) fn add_output(&self, bytes: &[u8]) {
        self.lock().add_output(bytes);
    }

    /// Adds a log record as a line. It must be redacted.
    pub(crate) fn add_record(&self, record: &LogRecord<'_>) {
        // Adding output does not fail.
        let _ = writeln!(self.lock(), "{record}");
    }

    /// Sets the progress message, which must be redacted.
    pub(crate) fn set_progress(&self, word: String) {
        self.lock().progress = word;
    }

    /// Adds a request to `host`, a host and port without secrets.
    pub(crate) fn open_request(&self, host: String) -> OpenRequest {
        let host: Arc<str> = host.into();
        self.lock().requests.push(host.clone());
        OpenRequest { activity: self.clone(), host }
    }

    fn lock(&self) -> MutexGuard<'_, ActivityState> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActivityState {
    fn add_output(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        push_last(&mut self.output, bytes, MAX_RECENT);
    }
}

impl fmt::Write for ActivityState {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add_output(text.as_bytes());
        Ok(())
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let requests = &mut self.activity.lock().requests;
        if let Some(index) = requests.iter().position(|it| Arc::ptr_eq(it, &self.host)) {
            requests.swap_remove(index);
        }
    }
}

/// Appends bytes, and drops all but the last `limit`. Returns the number of dropped bytes.
pub(crate) fn push_last(tail: &mut VecDeque<u8>, bytes: &[u8], limit: usize) -> usize {
    let last = &bytes[bytes.len().saturating_sub(limit)..];
    let overflow = (tail.len() + last.len()).saturating_sub(limit);
    tail.drain(..overflow);
    tail.extend(last);
    bytes.len() - last.len() + overflow
}

#[cfg(test)]
mod tests {
    use runner_model::recent_output::MAX_RECENT;

    use super::Activity;

    #[test]
    fn progress_hides_open_requests() {
        let activity = Activity::default();
        assert_eq!(activity.word(true), "sleep");
        let one = activity.open_request("a:1".to_owned());
        let two = activity.open_request("b:2".to_owned());
        assert_eq!(activity.word(true), "http b:2");
        drop(two);
        assert_eq!(activity.word(true), "http a:1");
        assert_eq!(activity.word(false), "");
        activity.set_progress("half".to_owned());
        assert_eq!(activity.word(true), "half");
        activity.start();
        drop(one);
        assert_eq!(activity.word(true), "sleep");
    }

    #[test]
    fn output_is_cut_at_characters() {
        let activity = Activity::default();
        for _ in 0..MAX_RECENT {
            activity.add_output("\u{20ac}".as_bytes());
        }
        let output = activity.output();
        assert_eq!((output.bytes, output.text), (3 * 1024, "\u{20ac}".repeat(MAX_RECENT / 3)));
        activity.start();
        activity.add_output(b"\x80 half \xe2\x82");
        assert_eq!(activity.output().text, "\u{fffd} half \u{fffd}");
    }
}
