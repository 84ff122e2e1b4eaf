//! [`Instance`]: a component's instance between two attempts.

use std::{fmt, time::Duration};

use wasmtime::Store;

use super::{
    Ending, Guard,
    classify::classify,
    contract,
    host::Host,
    lifecycle::Lifecycle,
    sandbox::{Sandbox, contain},
};
use crate::model::{Limits, LogRecord};

/// How long all that one executor keeps may take to be torn down.
pub const TEARDOWN_TIME: Duration = Duration::from_secs(5);

/// An instance that has answered all of its tests so far, and can answer another one.
pub struct Instance {
    pub(super) store: Store<Sandbox>,
    pub(super) exports: Exports,
    pub(super) provider: String,
    pub(super) limits: Limits,
}

/// What an instance can be called for.
pub(super) struct Exports {
    pub(super) plugin: contract::Plugin,
    pub(super) lifecycle: Option<Lifecycle>,
}

impl Instance {
    /// Tells the guest that no test follows, and drops it.
    ///
    /// It has no attempt any more, so what it says goes to the runner's own log, as does a failure.
    pub async fn tear_down(mut self, guard: &Guard) {
        let Some(lifecycle) = &self.exports.lifecycle else {
            return;
        };
        if guard.interrupt.is_now() {
            return;
        }
        let host = Host::new(&self.limits, [].into(), guard.clone());
        let store = &mut self.store;
        store.data_mut().begin_attempt(host);
        let ended = contain(guard.bound(lifecycle.call_teardown(&mut *store))).await;

        let failure = match ended {
            Ok(Ok(())) => None,
            Ok(Err(error)) => match classify(&error, store.data()) {
                Ending::Stopped => None,
                ending => Some(ending.into_error().message),
            },
            Err(panic) => Some(panic.message),
        };
        let provider = &self.provider;
        for record in &store.data().host.log.records {
            tracing::info!("teardown of provider `{provider}`: {}", Line(record));
        }
        if let Some(failure) = failure {
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
struct Line<'a>(&'a LogRecord);

impl fmt::Display for Line<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LogRecord {
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
