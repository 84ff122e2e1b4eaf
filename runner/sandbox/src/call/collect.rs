//! Builds the [`Ended`] of a call from its sandbox.

use std::mem;

use runner_model::{HostFault, log::Said, row::Usage};

use super::ended::{Ended, Ending};
use crate::{
    fs::quota::Quota,
    interrupt::CallTime,
    message::with_end,
    store::{Sandbox, determinism::Determinism},
};

impl Ended {
    /// Takes everything that the guest left out of its sandbox. `reply_bytes` counts the bytes of a
    /// reply that was not sent over standard output.
    pub(super) fn collect(
        sandbox: &mut Sandbox,
        ending: Ending,
        time: CallTime,
        reply_bytes: u64,
    ) -> Self {
        let host = &mut sandbox.host;
        let traffic = host.outbound.counts().clone();
        let ending = match (ending, traffic.retry_after) {
            (Ending::Error(error), Some(after)) => Ending::Error(after.apply(error)),
            (ending, _) => ending,
        };
        for denied in traffic.denied.0 {
            host.deny(denied.what, denied.grant.map(|grant| grant.0.into_owned()));
        }
        let refused = sandbox.quota.as_ref().and_then(Quota::exceeded);
        if let Some(refused) = &refused {
            host.deny(refused.clone(), None);
        }
        let fixed_limit = sandbox.quota.as_ref().and_then(Quota::fixed_limit);
        let fixed_limit = host.fixed_limit.take().or(fixed_limit);
        if sandbox.quota.as_ref().is_some_and(Quota::is_disk_full) {
            host.fault.get_or_insert(HostFault::Storage);
        }
        let lost = host.artifacts.lost.take().map(|(error, fault)| {
            host.fault = host.fault.or(fault);
            error
        });
        let written = sandbox.quota.as_ref().map_or(0, Quota::written);
        let left = written + host.artifacts.bytes() + host.log.bytes;
        Self {
            ending: with_hint(ending, refused.as_deref()),
            had_sandbox: true,
            duration: time.duration,
            suspended: time.suspended,
            usage: Usage {
                peak_memory: sandbox.limiter.peak_memory() + host.of_tools.peak_memory,
                bytes_in: host.bytes_in + traffic.bytes_in + host.of_tools.bytes_in,
                bytes_out: reply_bytes + sandbox.stdout.written() + left + traffic.bytes_out,
                host_calls: host.calls + traffic.calls + host.of_tools.host_calls,
                http_requests: traffic.requests + host.of_tools.http_requests,
            },
            reported: mem::take(&mut host.spending.own.0),
            reported_by_tools: mem::take(&mut host.spending.of_tools.0),
            denied: mem::take(&mut host.denied.0),
            said: Said {
                log: mem::take(&mut host.log.records),
                dropped: host.log.dropped,
                stdout: sandbox.stdout.text().into(),
                stderr: sandbox.stderr.text().into(),
            },
            artifacts: mem::take(&mut host.artifacts.files),
            workspace: None,
            lost,
            fixed_limit,
            host_fault: host.fault,
            transcript: mem::take(&mut host.transcript.steps),
            dropped_steps: host.transcript.dropped,
            agent_end: host.transcript.ended,
            service_failed: traffic.service_failed,
            calls: host.guard.determinism.as_ref().and_then(Determinism::calls),
        }
    }
}

/// Appends the likely cause of an error to its message.
fn with_hint(ending: Ending, hint: Option<&str>) -> Ending {
    match (ending, hint) {
        (Ending::Error(error), Some(hint)) => Ending::Error(with_end(error, &format!("; {hint}"))),
        (ending, _) => ending,
    }
}

#[cfg(test)]
mod tests {
    use super::{Ending, with_hint};
    use crate::message::failure;

    #[test]
    fn hint_is_not_part_of_standard_error() {
        let mut error = failure(None, "code", "it failed");
        error.stderr = Some("last words".into());
        let ending = with_hint(Ending::Error(error), Some("its folder is full"));
        let Ending::Error(error) = ending else { panic!("{ending:?}") };
        assert_eq!(*error.message, *"it failed; its folder is full");
        assert_eq!(error.stderr.as_deref(), Some("last words"));
    }
}
