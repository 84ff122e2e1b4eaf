//! [`Activity`]: the status line of a running guest.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The current activity of a slot's guest. Clones share it. A slot serves one call after the other.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    progress: String,
    /// Hosts and ports of requests without a response.
    requests: Vec<Arc<str>>,
}

/// An open request. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    activity: Activity,
    host: Arc<str>,
}

impl Activity {
    /// Describes a guest that does not use the processor: its last progress message, or its open
    /// request.
    pub fn word(&self) -> String {
        let known = self.known();
        match known.requests.last() {
            _ if !known.progress.is_empty() => known.progress.clone(),
            Some(host) => format!("waits for http {host}"),
            // Only requests and sleeping keep a guest off the processor for long.
            None => "sleeps".to_owned(),
        }
    }

    /// Starts another call. Requests of the previous one may still be open.
    pub(crate) fn begin(&self) {
        self.known().progress.clear();
    }

    /// Sets the progress message, which must be redacted.
    pub(crate) fn progress(&self, word: String) {
        self.known().progress = word;
    }

    /// Adds a request to `host`, a host and port without secrets.
    pub(crate) fn request(&self, host: String) -> OpenRequest {
        let host: Arc<str> = host.into();
        self.known().requests.push(host.clone());
        OpenRequest { activity: self.clone(), host }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let requests = &mut self.activity.known().requests;
        if let Some(index) = requests.iter().position(|it| Arc::ptr_eq(it, &self.host)) {
            requests.swap_remove(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Activity;

    #[test]
    fn progress_comes_before_requests() {
        let activity = Activity::default();
        assert_eq!(activity.word(), "sleeps");
        let one = activity.request("a:1".to_owned());
        let two = activity.request("b:2".to_owned());
        assert_eq!(activity.word(), "waits for http b:2");
        drop(two);
        assert_eq!(activity.word(), "waits for http a:1");
        activity.progress("half".to_owned());
        assert_eq!(activity.word(), "half");
        activity.begin();
        drop(one);
        assert_eq!(activity.word(), "sleeps");
    }
}
