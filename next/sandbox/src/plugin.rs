//! [`Plugin`]: a plugin that was loaded and linked, and calls of it.

use std::fmt;

use runner_model::{
    Limits, Micros,
    provider::{Description, PluginKind, Protocol},
    row::RowError,
};

use crate::{
    call::{
        Call, Ended, Ending,
        command::{self, Program},
        component::{self, LinkedComponent},
        instance::Instance,
    },
    interrupt::{Guard, Interrupt},
    message::too_large,
};

/// How long a plugin may take to describe itself.
const DESCRIBE_TIME: Micros = Micros(5_000_000);

/// A plugin that was loaded and linked.
pub struct Plugin {
    pub(crate) linked: Linked,
    /// Keeps the thread alive that ticks.
    pub(crate) interrupt: Interrupt,
}

/// What is called.
pub(crate) enum Linked {
    Component(Box<LinkedComponent>),
    Command(Program),
}

impl Plugin {
    /// What it is.
    pub fn kind(&self) -> PluginKind {
        match self.linked {
            Linked::Component(_) => PluginKind::Component,
            Linked::Command(_) => PluginKind::Command,
        }
    }

    /// Asks what it says of itself: no grants, 5 s. `None` of plain commands.
    ///
    /// # Errors
    ///
    /// It broke, took too long or says more than is allowed.
    pub async fn describe(
        &self,
        protocol: Protocol,
        limits: &Limits,
    ) -> Result<Option<Description>, RowError<'static>> {
        let guard = Guard::new(self.interrupt.clone(), DESCRIBE_TIME);
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

    /// Makes one call, of a component in the instance that is in `kept`, else in a fresh sandbox. An instance that can serve
    /// another call is in `kept` afterwards: whoever does not call it again [tears it down](Instance::tear_down).
    ///
    /// Never panics and never fails: whatever the guest does is in the answer. Needs a tokio runtime with its time. Dropping
    /// the future ends the guest, unless it is inside one long instruction.
    pub async fn run(&self, kept: &mut Option<Instance>, call: Call<'_>) -> Ended {
        if let Some(error) = oversized(&call) {
            return Ended::without_sandbox(Ending::Error(error));
        }
        let guard = Guard::watched(self.interrupt.clone(), call.timeout, call.activity.clone());
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
