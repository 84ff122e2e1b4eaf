//! [`Activity`]: what a guest says that it does, or what it waits for, for whoever looks from outside.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the guest of a slot does; its clones are one. It serves one call after the other.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    progress: String,
    /// Hosts and ports of requests without an answer yet.
    requests: Vec<Arc<str>>,
}

/// A request that is on its way; it is over when this is dropped.
#[derive(Debug)]
pub(crate) struct OpenRequest {
    activity: Activity,
    host: Arc<str>,
}

impl Activity {
    /// For a guest that is not on the processor: the word of progress that it said last, else what it waits for.
    pub fn word(&self) -> String {
        let known = self.known();
        match known.requests.last() {
            _ if !known.progress.is_empty() => known.progress.clone(),
            Some(host) => format!("waits for http {host}"),
            // Nothing else keeps a guest waiting for long.
            None => "sleeps".to_owned(),
        }
    }

    /// Another call begins. Requests of the one before may still be open.
    pub(crate) fn begin(&self) {
        self.known().progress.clear();
    }

    /// Keeps a word of progress, redacted.
    pub(crate) fn progress(&self, word: String) {
        self.known().progress = word;
    }

    /// Notes a request to a host and port, as anybody may see them.
    pub(crate) fn request(&self, host: String) -> OpenRequest {
        let host: Arc<str> = host.into();
        self.known().requests.push(host.clone());
        OpenRequest { activity: self.clone(), host }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // What is changed under the lock is changed whole.
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
