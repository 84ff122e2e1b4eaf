//! [`Activity`]: what the guest of an attempt is doing, for whoever looks from outside.
//!
//! A guest waits where a poll of its future is pending and it has not only made room for others. What it waits for is what
//! it has asked the host for last, so a guest that never waits tells nothing, and that costs nothing.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::clock::Moment;

/// What the guest of an attempt is doing; its clones are one. The default is nobody's, and tells nothing.
#[derive(Clone, Debug, Default)]
pub struct Activity(Option<Arc<WatchedGuest>>);

/// What a guest is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doing {
    /// What it waits for in the host: `http api.example.com:443`, `sleep`, `file`, `memory`, or `host` where it is none of
    /// these. Absent while it computes.
    pub waits_for: Option<Arc<str>>,
    /// Since when.
    pub since: Moment,
}

/// What a guest may wait for.
#[derive(Clone, Debug)]
pub(super) enum HostCall {
    /// A clock.
    Sleep,
    /// A file or a folder.
    File,
    /// Memory that others have.
    Memory,
    /// An answer to a request, from this host and port.
    Http(Arc<str>),
}

#[derive(Debug)]
struct WatchedGuest {
    /// Whether it only makes room for others.
    is_yielding: AtomicBool,
    calls: Mutex<Calls>,
}

#[derive(Debug)]
struct Calls {
    last: Option<HostCall>,
    /// How many there were.
    count: u64,
    /// The requests that have no answer yet.
    requests: Vec<Arc<str>>,
    is_waiting: bool,
    /// Since when it has computed, where it is not waiting.
    computes_since: Moment,
    /// What it waited for last, after how many calls.
    wait: Option<(u64, Doing)>,
}

/// A request on its way; it is over when this is dropped.
pub(super) struct OpenRequest {
    activity: Activity,
    host: Arc<str>,
}

impl Activity {
    /// That of one executor's guests, one after another.
    pub fn watched() -> Self {
        Self(Some(Arc::new(WatchedGuest {
            is_yielding: AtomicBool::new(false),
            calls: Mutex::new(Calls::new()),
        })))
    }

    /// Another guest begins.
    pub fn begin(&self) {
        if let Some(guest) = &self.0 {
            guest.is_yielding.store(false, Ordering::Relaxed);
            *guest.lock() = Calls::new();
        }
    }

    /// Waits for the memory that an attempt needs before its guest can begin.
    pub async fn waiting_for_memory<T>(&self, memory: impl Future<Output = T>) -> T {
        let mut memory = pin!(memory);
        let admitted = poll_fn(|context| {
            let admitted = memory.as_mut().poll(context);
            if admitted.is_pending() {
                self.call(HostCall::Memory);
                self.pends();
            }
            admitted
        });
        let admitted = admitted.await;
        self.begin();
        admitted
    }

    /// What the guest is doing; `None` if nobody watches it.
    pub fn doing(&self) -> Option<Doing> {
        let guest = self.0.as_ref()?;
        let calls = guest.lock();
        Some(match &calls.wait {
            Some((_, wait)) if calls.is_waiting => wait.clone(),
            _ => Doing {
                waits_for: None,
                since: calls.computes_since,
            },
        })
    }

    /// The host is asked for something that may take its time.
    pub(super) fn call(&self, call: HostCall) {
        if let Some(guest) = &self.0 {
            guest.lock().note(call);
        }
    }

    /// The host is asked to send a request; `None` if nobody watches the guest.
    pub(super) fn request(&self, host: impl FnOnce() -> String) -> Option<OpenRequest> {
        let guest = self.0.as_ref()?;
        let host: Arc<str> = host().into();
        let mut calls = guest.lock();
        calls.note(HostCall::Http(Arc::clone(&host)));
        calls.requests.push(Arc::clone(&host));
        Some(OpenRequest {
            activity: self.clone(),
            host,
        })
    }

    /// The guest makes room for others, or does so no more.
    pub(super) fn yields(&self, is_yielding: bool) {
        if let Some(guest) = &self.0 {
            guest.is_yielding.store(is_yielding, Ordering::Relaxed);
        }
    }

    /// The guest cannot go on now. Tells whether it waits for something.
    pub(super) fn pends(&self) -> bool {
        let Some(guest) = &self.0 else { return false };
        if guest.is_yielding.load(Ordering::Relaxed) {
            return false;
        }
        let mut calls = guest.lock();
        let count = calls.count;
        // It may be woken in vain.
        if calls.wait.as_ref().is_none_or(|(after, _)| *after != count) {
            let wait = Doing {
                waits_for: Some(calls.waits_for()),
                since: Moment::now(),
            };
            calls.wait = Some((count, wait));
        }
        calls.is_waiting = true;
        true
    }

    /// The guest goes on that has waited for something.
    pub(super) fn goes_on(&self) {
        if let Some(guest) = &self.0 {
            let mut calls = guest.lock();
            calls.is_waiting = false;
            calls.computes_since = Moment::now();
        }
    }
}

impl WatchedGuest {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        // What is changed under the lock is changed whole.
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    fn new() -> Self {
        Self {
            last: None,
            count: 0,
            requests: Vec::new(),
            is_waiting: false,
            computes_since: Moment::now(),
            wait: None,
        }
    }

    fn note(&mut self, call: HostCall) {
        self.last = Some(call);
        self.count += 1;
    }

    fn waits_for(&self) -> Arc<str> {
        match (&self.last, self.requests.last()) {
            (Some(HostCall::File), _) => "file".into(),
            (Some(HostCall::Memory), _) => "memory".into(),
            // A clock beside a request is for how long it waits for the answer.
            (_, Some(host)) | (Some(HostCall::Http(host)), None) => format!("http {host}").into(),
            (Some(HostCall::Sleep), None) => "sleep".into(),
            (None, None) => "host".into(),
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if let Some(guest) = &self.activity.0 {
            let requests = &mut guest.lock().requests;
            if let Some(index) = requests.iter().position(|it| Arc::ptr_eq(it, &self.host)) {
                requests.swap_remove(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Activity, HostCall};

    fn waits_for(activity: &Activity) -> Option<String> {
        let doing = activity.doing().unwrap();
        doing.waits_for.map(|text| text.to_string())
    }

    #[test]
    fn a_guest_waits_for_what_it_has_asked_for_last() {
        let activity = Activity::watched();
        activity.begin();
        assert_eq!(waits_for(&activity), None);
        activity.call(HostCall::Sleep);
        assert_eq!(waits_for(&activity), None);
        assert!(activity.pends());
        assert_eq!(waits_for(&activity), Some("sleep".to_owned()));
        let first = activity.doing().unwrap();
        // Woken in vain, it waits as long as it did.
        activity.goes_on();
        assert_eq!(waits_for(&activity), None);
        assert!(activity.pends());
        assert_eq!(activity.doing().unwrap(), first);

        activity.goes_on();
        let request = activity.request(|| "127.0.0.1:80".to_owned());
        activity.call(HostCall::Sleep);
        assert!(activity.pends());
        let http = Some("http 127.0.0.1:80".to_owned());
        assert_eq!(waits_for(&activity), http);
        activity.call(HostCall::File);
        assert!(activity.pends());
        assert_eq!(waits_for(&activity), Some("file".to_owned()));
        drop(request);
        activity.call(HostCall::Sleep);
        assert!(activity.pends());
        assert_eq!(waits_for(&activity), Some("sleep".to_owned()));

        activity.begin();
        assert_eq!(waits_for(&activity), None);
        assert!(activity.pends());
        assert_eq!(waits_for(&activity), Some("host".to_owned()));
    }

    #[test]
    fn who_makes_room_for_others_waits_for_nothing() {
        let activity = Activity::watched();
        activity.call(HostCall::File);
        activity.yields(true);
        assert!(!activity.pends());
        assert_eq!(waits_for(&activity), None);
        activity.yields(false);
        assert!(activity.pends());
        assert_eq!(waits_for(&activity), Some("file".to_owned()));

        let nobodys = Activity::default();
        assert!(!nobodys.pends());
        assert_eq!(nobodys.doing(), None);
    }
}
