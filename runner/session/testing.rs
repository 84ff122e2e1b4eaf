//! What tests of this room share.

use std::time::Duration;

use super::{Host, SessionLog};
use crate::run;

/// A host that offers nothing but time.
pub(super) fn host() -> Host {
    Host {
        program: "runner".into(),
        cache: None,
        scratch_root: "/tmp".into(),
        search_path: "".into(),
        variable: |_| None,
        signals: None,
        log: SessionLog::default(),
        arguments: Vec::new(),
        now: run::wall_clock,
        pause: |_: Duration| (),
    }
}
