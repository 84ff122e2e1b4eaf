//! [`Network`]: where a provider's requests may go, and the connections that they share.
//!
//! A request is decided on in `net/request.rs`, whichever interface it comes by; the policy is in `net/policy.rs`, and
//! `net/connect.rs` connects to nothing but addresses that it lets pass.

mod address;
mod connect;
mod failure;
#[cfg(any(test, fuzzing))]
#[path = "tests/fuzzing/requests.rs"]
pub(crate) mod fuzzing;
mod headers;
mod policy;
mod request;
mod response;
pub(crate) mod wasi;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioTimer},
};
use runner_model::NetGrant;
use wasmtime_wasi_http::WasiBody;

pub use self::connect::load_certificates;
pub(crate) use self::request::Outbound;
use self::{
    connect::{Connector, Lookup, system_lookup},
    failure::{MAX_HEAD, MAX_HEADERS},
    policy::NetPolicy,
};

/// How long a connection is kept that nobody uses.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);

/// Where the HTTP requests of a provider's attempts may go, and the connections that they share; its clones are one.
///
/// One per provider, made when the provider is made ready: attempts share connections, and no provider ever uses one that it
/// was not granted. The default goes nowhere.
#[derive(Clone)]
pub struct Network(Arc<NetworkState>);

struct NetworkState {
    policy: Arc<NetPolicy>,
    client: Client<Connector, WasiBody>,
}

impl Network {
    /// Makes a network of its own for one provider.
    pub fn new(grants: Vec<NetGrant>) -> Self {
        Self::with_lookup(grants, system_lookup)
    }

    fn with_lookup(grants: Vec<NetGrant>, lookup: Lookup) -> Self {
        let policy = Arc::new(NetPolicy::new(grants));
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

#[cfg(test)]
mod tests;
