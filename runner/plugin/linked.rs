//! [`Plugin`]: a plugin that is linked, and calls of it.

use std::{fmt, sync::Arc};

use bytesize::ByteSize;

use super::{
    activity::Activity,
    call::{
        command::{self, Program},
        component,
        description::Description,
        ended::Ended,
        instance::{Instance, TEARDOWN_TIME},
        request::{Call, CommandProtocol},
    },
    clock::Moment,
    code::sniff::Kind,
    failure::failure,
    interrupt::Guard,
    redact::ended::redacted,
    sandbox::contain::contain,
};
use crate::model::{AttemptError, ErrorClass, Limits};

/// A plugin that is compiled and checked against what this host offers; its clones are one.
#[derive(Clone)]
pub struct Plugin(pub(super) Arc<LinkedPlugin>);

/// What the clones of a plugin share.
pub(super) struct LinkedPlugin {
    pub(super) kind: Kind,
    pub(super) compiled: Compiled,
    /// `argv[0]` of a plain command.
    pub(super) name: String,
    pub(super) code: Runnable,
}

/// What a plugin was compiled to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Whether it was in the cache already.
    pub is_cached: bool,
    /// The bytes of its machine code and data.
    pub size: u64,
    /// Why each of its sandboxes is made on demand; absent where they are pooled.
    pub unpooled: Option<String>,
}

/// What is called.
pub(super) enum Runnable {
    Component(component::LinkedComponent),
    Command(Program),
}

/// What is called of a plugin that was linked before anybody asked for it.
pub(super) struct LinkedAhead {
    /// The bytes of its machine code and data.
    pub(super) size: u64,
    pub(super) code: Runnable,
}

impl Plugin {
    /// What it was compiled to.
    pub fn compiled(&self) -> &Compiled {
        &self.0.compiled
    }

    /// Asks the plugin what it is; a command of the plain protocol cannot be asked.
    pub async fn describe(
        &self,
        protocol: CommandProtocol,
        limits: &Limits,
        guard: &Guard,
    ) -> Result<Option<Description>, AttemptError> {
        let describe = async {
            match (&self.0.code, protocol) {
                (Runnable::Component(guest), _) => {
                    component::describe(guest, limits, guard).await.map(Some)
                }
                (Runnable::Command(program), CommandProtocol::Json) => {
                    command::describe(program, limits, guard).await.map(Some)
                }
                (Runnable::Command(_), CommandProtocol::Plain) => Ok(None),
            }
        };
        contain(describe).await?
    }

    /// Runs one attempt in a fresh sandbox. Dropping the future ends the guest, unless it is inside one long
    /// instruction.
    pub async fn run(&self, call: Call<'_>, guard: &Guard) -> Ended {
        let mut slot = None;
        let ended = self.run_in(&mut slot, call, guard).await;
        if let Some(instance) = slot {
            let guard = Guard {
                deadline: Moment::now() + TEARDOWN_TIME,
                interrupt: guard.interrupt.clone(),
                memory: None,
                activity: Activity::default(),
            };
            instance.tear_down(&guard).await;
        }
        ended
    }

    /// Runs one attempt in the instance that is in `slot`, or in a fresh one that is there afterwards. After anything but
    /// a reply or an error of the provider's own the instance is gone. A command always runs in a fresh sandbox.
    pub async fn run_in(
        &self,
        slot: &mut Option<Instance>,
        mut call: Call<'_>,
        guard: &Guard,
    ) -> Ended {
        if let Some(error) = oversized(&call) {
            return Ended::without_sandbox(error);
        }
        let invocation = call.invocation.take();
        if let (Some(listener), Some(redactor)) = (&call.listener, call.access.secrets.redactor()) {
            call.listener = Some(Arc::clone(redactor).listener(listener.clone()));
        }
        let run = async {
            match (&self.0.code, invocation) {
                (Runnable::Component(guest), _) => component::run(guest, slot, &call, guard).await,
                (Runnable::Command(program), Some(invocation)) => {
                    command::run_plain(program, &self.0.name, invocation, &call, guard).await
                }
                (Runnable::Command(program), None) => {
                    command::run_json(program, &call, guard).await
                }
            }
        };
        let ended = contain(run).await.unwrap_or_else(Ended::without_sandbox);
        redacted(ended, &call.access.secrets, &call.access.scratch_root).await
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Plugin")
            .field("name", &self.0.name)
            .field("kind", &self.0.kind)
            .finish_non_exhaustive()
    }
}

fn oversized(call: &Call<'_>) -> Option<AttemptError> {
    let stdin = call
        .invocation
        .as_ref()
        .map_or(0, |invocation| invocation.stdin.len());
    let parts = [
        ("input", call.input.len()),
        ("configuration", call.config.len()),
        ("standard input", stdin),
    ];
    let (part, bytes) = parts
        .into_iter()
        .find(|(_, bytes)| *bytes as u64 > call.limits.input)?;
    let message = format!(
        "the {part} has {}, and `limits.input` is {}",
        ByteSize(bytes as u64),
        ByteSize(call.limits.input)
    );
    Some(failure(ErrorClass::Limit, "input", message))
}
