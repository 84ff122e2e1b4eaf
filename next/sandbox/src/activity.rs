//! [`Activity`]: the status line of a running guest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The current activity of a slot's guest. Clones share it. A slot serves one call after the other.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<ActivityState>>);

#[derive(Debug, Default)]
struct ActivityState {
    progress: String,
    /// Hosts and ports of requests without a response.
    requests: Vec<Arc<str>>,
    is_ready: bool,
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

    /// Starts another call. Requests of the previous one may still be open.
    pub(crate) fn start_call(&self) {
        self.lock().progress.clear();
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

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let requests = &mut self.activity.lock().requests;
        if let Some(index) = requests.iter().position(|it| Arc::ptr_eq(it, &self.host)) {
            requests.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
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
        activity.start_call();
        drop(one);
        assert_eq!(activity.word(true), "sleep");
    }
}
