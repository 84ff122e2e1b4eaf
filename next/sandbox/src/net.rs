//! [`Network`]: where a provider's requests may go, and the connections that they share.

use runner_model::NetGrant;

/// Where the HTTP requests of a provider's attempts may go. The default goes nowhere.
#[derive(Clone, Debug, Default)]
pub struct Network {
    _grants: Vec<NetGrant>,
}

impl Network {
    /// Makes a network of its own for one provider.
    pub fn new(grants: Vec<NetGrant>) -> Self {
        Self { _grants: grants }
    }
}
