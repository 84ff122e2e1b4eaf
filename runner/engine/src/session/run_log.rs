//! Lines of `runner.log`: about the plan of a session, about requests, and with [`WorkerLog`] about workers.

use runner_model::{Places as _, protocol::LOG_LINE, row::Actor, units::plural};
use runner_record::{Owned, Request, RequestMode};
use runner_scenario::GrantsToml;

use crate::plan::{Plan, access_of, manifest_providers};

/// Bytes of a session's lines about workers in `runner.log`, also if each attempt ends its worker.
const MAX_WORKER_LOG: usize = 4 << 20;

/// Logs the version of this program and the plan of a session that has `left` trials to run.
pub(super) fn log_plan(owned: &Owned, plan: &Plan, session: u32, left: u64) {
    let trials = plural(plan.suite.trials(), "trial", "trials");
    let (version, jobs) = (env!("CARGO_PKG_VERSION"), plan.settings.jobs);
    let place = match plan.broker_address() {
        Some(address) => format!("on the workers at {address}"),
        None => format!("{jobs} at a time"),
    };
    owned.log(&format!(
        "session {session} of runner {version}: {trials}, {left} left to run, {place}"
    ));
    let providers = manifest_providers(plan);
    let access = access_of(&plan.scenario, &owned.manifest().scenario_path, &providers);
    for provider in providers {
        let kind = provider.role();
        let mut grants = GrantsToml::from(&provider.grants).lines();
        if grants.is_empty() {
            grants.push("nothing".to_owned());
        }
        let (name, plugin, digest) = (provider.name, provider.plugin, provider.digest);
        let grants = grants.join("; ");
        owned.log(&format!("{kind} `{name}`: {plugin}, sha256 {digest}, granted: {grants}"));
    }
    // A new run has others of these as notices.
    access.iter().filter(|line| !plan.notices.contains(line)).for_each(|line| owned.log(line));
}

/// Describes a request for `runner.log`.
pub(super) fn describe(request: &Request) -> String {
    let mode = match request.mode {
        RequestMode::Pause => "pause",
        RequestMode::Drain => "stop --drain",
        RequestMode::Stop => "stop",
        RequestMode::Cancel => "cancel",
        RequestMode::Kill => "stop --kill",
    };
    format!("`{mode}` requested by {}", describe_actor(&request.by))
}

/// Formats an actor as `USER on HOST: REASON`.
pub(super) fn describe_actor(by: &Actor) -> String {
    let reason = by.reason.iter().map(|reason| format!(": {reason}"));
    format!("{} on {}{}", by.user, by.host, reason.collect::<String>())
}

/// Lines of and about workers in `runner.log`.
pub(super) struct WorkerLog {
    bytes_left: usize,
}

impl WorkerLog {
    pub(super) fn new() -> Self {
        Self { bytes_left: MAX_WORKER_LOG }
    }

    pub(super) fn add(&mut self, owned: &Owned, line: &str) {
        if self.bytes_left == 0 {
            return;
        }
        owned.log(line);
        self.bytes_left = self.bytes_left.saturating_sub(line.len() + LOG_LINE);
        if self.bytes_left == 0 {
            owned.log(
                "the workers of this session have logged too much; their later lines are left out",
            );
        }
    }
}
