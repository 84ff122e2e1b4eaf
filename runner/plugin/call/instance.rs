//! [`Instance`]: a component's instance, which may serve many attempts.

use std::{fmt, path::Path, time::Duration};

use wasmtime::Store;

use super::{
    classify::classify,
    ended::{Ended, Ending},
    lifecycle::Lifecycle,
};
use crate::{
    model::LogRecord,
    plugin::{
        contract,
        fs::files::Files,
        interrupt::Guard,
        redact::ended::redacted,
        sandbox::{
            contain::contain,
            store::{Sandbox, Spent},
        },
    },
};

/// How long all that one executor keeps may take to be torn down.
pub const TEARDOWN_TIME: Duration = Duration::from_secs(5);

/// A component's instance with everything that is made for it.
pub struct Instance {
    pub(in crate::plugin) store: Store<Sandbox>,
    /// None until it is instantiated and set up.
    pub(super) exports: Option<Exports>,
    pub(in crate::plugin) files: Files,
    pub(in crate::plugin) provider: String,
}

/// What an instance can be called for.
pub(super) struct Exports {
    pub(in crate::plugin) plugin: contract::Plugin,
    pub(in crate::plugin) lifecycle: Option<Lifecycle>,
}

/// Host resources that an idle instance may have: files, streams, requests that it has not sent. Each may take 100 KiB of
/// the runner's memory, and a run keeps an instance for each of its providers.
const MAX_IDLE_RESOURCES: usize = 64;

impl Instance {
    /// Tells whether the guest can serve another attempt after this ending: it came to it by itself, nothing that it holds
    /// is used up, and it leaves little to the host to hold for it.
    pub(super) fn can_go_on(&mut self, ending: &Ending) -> bool {
        let sandbox = self.store.data_mut();
        self.exports.is_some()
            && ending.is_answer()
            && !sandbox.is_spent()
            && sandbox.resources() <= MAX_IDLE_RESOURCES
    }

    /// Tells the guest that no test follows, and drops it.
    ///
    /// It has no attempt any more, so what it says goes to the runner's own log, as does a failure.
    pub async fn tear_down(mut self, guard: &Guard) {
        if !guard.interrupt.is_now() {
            self.call_teardown(guard).await;
        }
        self.remove().await;
    }

    /// Drops it, and removes what was made for it.
    pub(in crate::plugin) async fn remove(self) {
        drop(self.store);
        self.files.remove().await;
    }

    async fn call_teardown(&mut self, guard: &Guard) {
        let exports = self.exports.as_ref();
        let Some(lifecycle) = exports.and_then(|exports| exports.lifecycle.as_ref()) else {
            return;
        };
        let store = &mut self.store;
        store.data_mut().begin_attempt();
        store.data_mut().host.begin_teardown(guard.clone());
        let teardown = contain(guard.bound(lifecycle.call_teardown(&mut *store))).await;

        let failure = match teardown {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(classify(&error, store.data())),
            Err(panic) => Some(Ending::Error(panic)),
        };
        // As what an attempt has left, so that secrets are taken out of all of it.
        let ending = failure.unwrap_or(Ending::Stopped);
        let left = Ended::collect(store.data_mut(), ending, Spent::default(), 0);
        // It has no artifacts, and so needs no folder.
        let left = redacted(left, &store.data().host.secrets, Path::new("")).await;
        let provider = &self.provider;
        for record in &left.log {
            tracing::info!("teardown of provider `{provider}`: {}", RecordLine(record));
        }
        if !matches!(left.ending, Ending::Stopped) {
            let failure = left.ending.into_error().message;
            tracing::warn!("the teardown of provider `{provider}` failed: {failure}");
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Instance")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// A log record as one line.
struct RecordLine<'a>(&'a LogRecord);

impl fmt::Display for RecordLine<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogRecord {
            at: _,
            level,
            message,
            fields,
        } = self.0;
        write!(formatter, "{level}: {}", message.escape_debug())?;
        fields
            .iter()
            .try_for_each(|(name, value)| write!(formatter, " {name}={value:?}"))
    }
}
