//! What tests of this room share.

use std::time::Duration;

use super::Host;

/// A host that offers nothing but time.
pub(super) fn host() -> Host {
    Host {
        pause: |_: Duration| (),
        ..Host::new("runner", "/tmp")
    }
}
