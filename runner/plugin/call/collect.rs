//! [`Ended::collect`]: what an attempt left in its sandbox.

use std::mem;

use super::ended::{Ended, Ending};
use crate::{
    model::{HostFault, Usage},
    plugin::{
        fs::quota::Quota,
        host_fault::fault_error,
        sandbox::store::{Sandbox, Spent},
    },
};

impl Ended {
    /// Takes what an attempt left in its sandbox; `reply_bytes` are those that did not come by standard output.
    pub(super) fn collect(
        sandbox: &mut Sandbox,
        ending: Ending,
        spent: Spent,
        reply_bytes: u64,
    ) -> Self {
        // What was not heard yet is heard before anybody knows the ending.
        sandbox.stdout.end();
        sandbox.stderr.end();

        let Sandbox {
            host,
            limiter,
            quota,
            stdout,
            stderr,
            ..
        } = sandbox;
        let fuel = match ending {
            Ending::Reply(_) | Ending::Error(_) => spent.fuel,
            // A guest keeps its account in a register, which is lost where it is interrupted.
            Ending::Timeout | Ending::Stopped => None,
        };
        let traffic = host.outbound.traffic();
        let (requests, bytes_in, bytes_out) =
            (traffic.requests(), traffic.bytes_in(), traffic.bytes_out());
        for denied in traffic.denied() {
            host.deny(&denied);
        }
        let hint = quota.as_ref().and_then(Quota::exceeded);
        if let Some(hint) = &hint {
            host.warn(hint.clone());
        }
        let written = quota.as_ref().map_or(0, Quota::written);
        let is_disk_full = quota.as_ref().is_some_and(Quota::is_disk_full);
        let bytes = stdout.written() + host.log.bytes + host.artifacts.bytes + written;
        Self {
            ending: ending.with_hint(hint.as_deref()),
            duration: spent.duration,
            instantiate: spent.instantiate,
            usage: Usage {
                peak_memory: limiter.peak_memory(),
                host_calls: host.calls,
                http_requests: requests,
                bytes_in: host.bytes_in + bytes_in,
                bytes_out: reply_bytes + bytes + bytes_out,
                fuel,
            },
            denied: mem::take(&mut host.denied),
            log: mem::take(&mut host.log.records),
            log_dropped: host.log.dropped,
            stderr: stderr.text(),
            stdout: stdout.text(),
            hint,
            artifacts: host.artifacts.take(),
            lost: host.artifacts.lost.take(),
            lacked: is_disk_full
                .then(|| fault_error(HostFault::Storage, "the guest could not write to a file")),
        }
    }
}
