//! [`Network`]: the grants and connections of one provider. [`Traffic`]: counts of the requests of
//! one attempt.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, time::Duration};

use http::StatusCode;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use runner_model::{NetGrant, row::Denied};
use wasmtime_wasi_http::WasiBody;

use super::connect::{Connector, Lookup, system_lookup};
use super::failure::{Failure, MAX_HEAD, MAX_HEADERS};
use super::{policy::NetPolicy, retry_after::RetryAfter, retry_after::is_busy};
use crate::store::spending::UsedUpLimit;

/// Time after which an idle connection is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);
/// Maximum number of different denials that are kept of one call.
const MAX_DENIED: usize = 20;
/// Shortest timeout of a guest that says something about the service.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);

/// The network grants of a provider, and the connections of its attempts. Clones share both.
///
/// Each provider has its own, so that no request uses a connection that another provider's grants
/// opened. The default allows no request.
#[derive(Clone)]
pub struct Network(pub(super) Arc<NetworkState>);

pub(super) struct NetworkState {
    pub(super) policy: Arc<NetPolicy>,
    pub(super) client: Client<Connector, WasiBody>,
}

impl Network {
    /// Creates the network of one provider.
    pub fn new(grants: Vec<NetGrant>) -> Self {
        Self::with_lookup(grants, system_lookup)
    }

    pub(super) fn with_lookup(grants: Vec<NetGrant>, lookup: Lookup) -> Self {
        Self::with_policy(NetPolicy::new(grants), lookup)
    }

    /// Creates the network of a webhook.
    pub(super) fn of_webhook(is_private: bool) -> Self {
        Self::with_policy(NetPolicy::of_webhook(is_private), system_lookup)
    }

    fn with_policy(policy: NetPolicy, lookup: Lookup) -> Self {
        let policy = Arc::new(policy);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(MAX_IDLE_TIME)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_HEADERS)
            .build(Connector::new(Arc::clone(&policy), lookup));
        Self(Arc::new(NetworkState { policy, client }))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new(Vec::new())
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Network").field(&self.0.policy).finish()
    }
}

/// Counts of one attempt's requests, including those in the background. Clones share the counts.
#[derive(Clone, Default)]
pub(crate) struct Traffic(Arc<Mutex<Counts>>);

#[derive(Clone, Default)]
pub(crate) struct Counts {
    /// Requests over `wasi:http`, admitted or not.
    pub(crate) calls: u64,
    /// Requests that were admitted.
    pub(crate) requests: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// Not redacted yet: a guest can put a secret into a host's name.
    pub(crate) denied: Denials,
    /// Key of the first limit of usage that is used up, and the reason for refused requests.
    pub(crate) used_up: Option<UsedUpLimit>,
    /// Requests that were refused because a limit is used up.
    pub(super) refused: u32,
    /// The wait that the last response requested.
    pub(crate) retry_after: Option<RetryAfter>,
    /// Whether the last request failed for a reason of its service. `None` before the first one has ended.
    pub(crate) service_failed: Option<bool>,
}

impl Traffic {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        // Each change under the lock is complete, so a panic leaves nothing inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the end of a request, or that the body of its response has broken off. `timeout` is the shortest one that the guest
    /// has set.
    pub(super) fn note_end(&self, end: Result<StatusCode, &Failure>, timeout: Option<Duration>) {
        let has_failed = match end {
            Ok(status) => is_busy(status),
            // A guest that does not wait for a healthy service would excuse its own failure.
            Err(Failure::Timeout) => timeout.is_some_and(|timeout| timeout >= LEAST_TIMEOUT),
            Err(failure) => matches!(failure, Failure::Unreachable { .. }),
        };
        self.counts().service_failed = Some(has_failed);
    }
}

/// Denied requests of one call, each once.
#[derive(Clone, Default)]
pub(crate) struct Denials(pub(crate) Vec<Denied<'static>>);

impl Denials {
    /// Adds a denial, unless it is known or there are [`MAX_DENIED`].
    pub(crate) fn add(&mut self, denied: Denied<'static>) {
        if self.0.len() < MAX_DENIED && !self.0.contains(&denied) {
            self.0.push(denied);
        }
    }
}
