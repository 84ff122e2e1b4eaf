//! [`Plugin`]: a loaded and linked plugin.

use std::{fmt, ops::RangeInclusive};

use runner_model::provider::{Description, PluginKind, Protocol};
use runner_model::{Limits, Micros, row::RowError};

use crate::{
    call::{
        Call, Ended, Ending,
        command::{self, Program},
        component::{self, LinkedComponent},
        instance::Instance,
    },
    interrupt::{Guard, Interrupt},
    message::too_large,
    net::KeptExchanges,
    store::determinism::{Determinism, of_attempt},
};

/// Longest time of `describe`.
const DESCRIBE_TIME: Micros = Micros(10_000_000);

/// A loaded and linked plugin.
pub struct Plugin {
    pub(crate) linked: Linked,
    /// Keeps the ticker thread alive.
    pub(crate) interrupt: Interrupt,
    /// Whether its code counts fuel.
    pub(crate) is_metered: bool,
}

pub(crate) enum Linked {
    Component(Box<LinkedComponent>),
    Command(Program),
}

impl Plugin {
    pub fn kind(&self) -> PluginKind {
        match self.linked {
            Linked::Component(_) => PluginKind::Component,
            Linked::Command(_) => PluginKind::Command,
        }
    }

    /// Returns the exit codes that a command can have. Empty for providers.
    pub fn exit_codes(&self) -> RangeInclusive<i32> {
        match &self.linked {
            Linked::Component(_) => RangeInclusive::new(1, 0),
            Linked::Command(program) => program.exit_codes(),
        }
    }

    /// Reads the plugin's description, without grants and within 10 s. `None` for plain commands.
    ///
    /// # Errors
    ///
    /// The guest failed, took too long or exceeded a bound.
    pub async fn describe(
        &self,
        protocol: Protocol,
        limits: &Limits,
    ) -> Result<Option<Description>, RowError<'static>> {
        let mut guard = Guard::new(self.interrupt.clone(), DESCRIBE_TIME);
        guard.is_metered = self.is_metered;
        match (&self.linked, protocol) {
            (Linked::Component(provider), _) => {
                component::describe(provider, limits, guard).await.map(Some)
            }
            (Linked::Command(program), Protocol::Json) => {
                command::describe(program, limits, guard).await.map(Some)
            }
            (Linked::Command(_), Protocol::Plain) => Ok(None),
        }
    }

    /// Makes one call. A component runs in the instance in `kept`, or else in a fresh sandbox.
    /// Afterwards `kept` holds the instance if it can serve another call; [tear it
    /// down](Instance::tear_down) after the last one.
    ///
    /// Never panics: every failure of the guest is in the result. Needs a tokio runtime with time.
    /// Dropping the future ends the guest, except inside one long instruction.
    pub async fn run(&self, kept: &mut Option<Instance>, call: Call<'_>) -> Ended {
        if let Some(error) = oversized(&call) {
            return Ended::without_sandbox(Ending::Error(error));
        }
        let activity = call.activity.clone();
        let determinism = match &call.inside {
            Some(inside) => inside.determinism.clone(),
            None => determinism(&call),
        };
        let tool = determinism.as_ref().and_then(|one| one.tool.clone());
        let tool = tool.filter(|_| self.is_metered);
        let own = call.limits.time.filter(|_| call.inside.is_some());
        let timeout = match own {
            Some(own) if tool.is_none() => own.min(call.timeout),
            _ => call.timeout,
        };
        let mut guard = Guard::with_activity(self.interrupt.clone(), timeout, activity);
        (guard.determinism, guard.is_metered) = (determinism, self.is_metered);
        if let (Some(tool), Some(own)) = (tool, own) {
            guard.limit_tool(&tool, own);
        }
        match &self.linked {
            Linked::Component(provider) => component::run(provider, kept, &call, guard).await,
            Linked::Command(program) => command::run(program, call, guard).await,
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Plugin").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// Returns the clocks and random numbers of a call. `None` if it is not deterministic.
fn determinism(call: &Call<'_>) -> Option<Determinism> {
    let recorded = call.journal.as_ref().and_then(|journal| journal.recorded.as_ref());
    let (start, timeout) = match recorded {
        Some(recorded) => (recorded.clock, recorded.timeout),
        None => (call.deterministic?, call.timeout),
    };
    let kept = KeptExchanges {
        journal: call.journal.clone(),
        redactor: call.access.secrets.redactor().cloned(),
        limit: call.limits.journal,
    };
    let seed = call.random.unwrap_or_else(|| of_attempt(call.seed, call.attempt, call.trial));
    Some(Determinism::new(start, timeout, seed, kept))
}

fn oversized(call: &Call<'_>) -> Option<RowError<'static>> {
    let stdin = call.command.as_ref().and_then(|command| command.stdin.as_ref());
    let limit = call.limits.input;
    [
        ("input", call.input.len()),
        ("configuration", call.config.len()),
        ("standard input", stdin.map_or(0, Vec::len)),
    ]
    .into_iter()
    .map(|(part, bytes)| (part, bytes as u64))
    .find(|(_, bytes)| *bytes > limit)
    .map(|(part, bytes)| too_large(part, bytes, "input", limit))
}
