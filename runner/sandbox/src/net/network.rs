//! [`Network`]: the grants and connections of one provider.

use std::{fmt, sync::Arc, time::Duration};

use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use runner_model::NetGrant;
use wasmtime_wasi_http::WasiBody;

use super::connect::{Connector, Lookup, system_lookup};
use super::failure::{MAX_HEAD, MAX_HEADERS};
use super::policy::NetPolicy;

/// Time after which an idle connection is closed.
const MAX_IDLE_TIME: Duration = Duration::from_secs(30);

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
