//! Tools: plugins that a guest calls. Each call runs in a sandbox of its own, inside of the caller's
//! attempt.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};

use runner_model::ErrorClass;
use runner_model::grants::Grant;
use runner_model::row::{Raw, RowError};
use runner_model::{log::Said, visible::visible_line};
use serde::Serialize;
use serde_json::json;
use wasmtime_wasi::WasiView as _;
use wasmtime_wasi::filesystem::Descriptor;

use super::ended::{Ended, Ending};
use super::json::read_json;
use super::toolbox::{Inside, Lent, Toolbox};
use crate::contract::runner::provider::tools::{self, ToolErrorKind};
use crate::fs::AttemptWorkspace;
use crate::interrupt::Halt;
use crate::message::{cut, cut_redacted};
use crate::store::{Sandbox, determinism::Determinism, host::Host, steps::ToolCall};

/// Maximum bytes of a guest's name in a message.
const SHOWN_NAME: usize = 128;

/// The tools, the index of the called one, and the input.
type Admitted = (Arc<dyn Toolbox>, usize, Raw<'static>);

/// The result of a command.
#[derive(Serialize)]
pub(super) struct CommandOutput<'a> {
    pub(super) exit_code: i32,
    pub(super) stdout: &'a str,
    pub(super) stderr: &'a str,
}

impl tools::Host for Sandbox {
    fn list(&mut self) -> Vec<tools::Tool> {
        self.host.calls += 1;
        let tools = self.host.tools.iter().flat_map(|tools| tools.list());
        let listed = tools.map(|tool| tools::Tool {
            name: tool.name.clone(),
            description: tool.description.clone(),
            input_schema: tool.input_schema.clone(),
        });
        listed.collect()
    }

    async fn call(
        &mut self,
        name: String,
        input: String,
    ) -> wasmtime::Result<Result<String, tools::ToolError>> {
        self.host.calls += 1;
        let (tools, index, input) = match self.host.admit(&name, input) {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(error)),
        };
        let lent = self.lend_workspace()?;
        let determinism = self.host.guard.determinism.as_mut().map(Determinism::of_tool);
        let time = determinism.as_ref().and_then(|one| one.tool.clone());
        let inside = Inside {
            rest: self.host.guard.remaining().into(),
            used_up: self.host.outbound.counts().used_up.clone(),
            determinism,
            quota: self.quota.clone(),
            workspace: lent.clone(),
        };
        let run = tools.run(index, input.get(), inside);
        let ended = self.host.guard.wait_for_tool(run).await;
        let took = ended.had_sandbox.then_some(ended.duration);
        // First, because all that follows may end the caller.
        let result = self.host.end_tool(&name, ended);
        let (name, input, result_of) = (&*name, input.get(), result.as_ref().map(String::as_str));
        self.host.add_call(&ToolCall { name, input, result: result_of, took });
        if let Some(lent) = lent {
            self.take_back(lent.take())?;
        }
        self.host.guard.check_halt()?;
        let is_over = match (&time, result.as_ref().map_err(|error| error.kind)) {
            (None, _) | (_, Err(ToolErrorKind::Stopped)) => false,
            // Only time that later guests find again may decide the result of a deterministic guest.
            (Some(time), Err(ToolErrorKind::Timeout)) => !time.keep_end().await,
            (Some(time), _) => {
                time.check_end().await;
                false
            }
        };
        if is_over { Err(Halt::Timeout.into()) } else { Ok(result) }
    }
}

impl Sandbox {
    /// Takes the workspace out of the sandbox while a tool has it.
    fn lend_workspace(&mut self) -> io::Result<Option<Lent>> {
        let Some(mut workspace) = self.workspace.take() else { return Ok(None) };
        let tree = Arc::clone(&workspace.tree);
        tree.hide()?;
        let open =
            self.wasi.ctx().table.iter_mut().filter_map(|entry| match entry.downcast_ref() {
                Some(Descriptor::File(file)) => tree.number_of(&file.file),
                _ => None,
            });
        workspace.watched = open.map(|number| (number, None)).collect();
        Ok(Some(Lent::new(workspace)))
    }

    /// Takes the workspace back. Open files of the guest that the tool has replaced become the new files.
    fn take_back(&mut self, workspace: Option<AttemptWorkspace>) -> io::Result<()> {
        let Some(mut workspace) = workspace else { return Ok(()) };
        let is_over = std::mem::take(&mut workspace.is_over);
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        let watched: HashMap<u32, Option<Arc<File>>> = std::mem::take(&mut workspace.watched);
        for entry in self.wasi.ctx().table.iter_mut() {
            if let Some(Descriptor::File(file)) = entry.downcast_mut()
                && let Some(number) = workspace.tree.number_of(&file.file)
                && let Some(Some(broken)) = watched.get(&number)
            {
                file.file = Arc::clone(broken);
            }
        }
        let shown = workspace.tree.show_hidden();
        self.workspace = Some(workspace);
        shown
    }
}

impl Host {
    /// Returns the tool of a call, by its index, and the input. A call that is refused is a step of the transcript, too.
    fn admit(&mut self, name: &str, input: String) -> Result<Admitted, tools::ToolError> {
        let input = read_json("input", input, None);
        // A guest's name may have any length.
        let shown = cut_redacted(SHOWN_NAME, name, self.redactor());
        let shown = cut(SHOWN_NAME, visible_line(&shown));
        let (error, input) = match (self.find_tool(name, &shown), input) {
            (Ok((tools, index)), Ok(input)) => return Ok((tools, index, input)),
            (Err(error), Ok(input)) => (error, input.get().to_owned()),
            (Err(error), Err(_)) => (error, "{}".to_owned()),
            (Ok(_), Err(error)) => {
                let message = error.message.to_string();
                (tool_error(ToolErrorKind::InvalidInput, message), "{}".to_owned())
            }
        };
        self.add_call(&ToolCall { name: &shown, input: &input, result: Err(&error), took: None });
        Err(error)
    }

    /// Finds a tool, and counts its call. `shown` is its name in messages.
    fn find_tool(
        &mut self,
        name: &str,
        shown: &str,
    ) -> Result<(Arc<dyn Toolbox>, usize), tools::ToolError> {
        let found = self.tools.clone().and_then(|tools| {
            let index = tools.list().iter().position(|tool| tool.name == name)?;
            Some((tools, index))
        });
        let Some(found) = found else {
            return Err(self.deny_tool(name, shown));
        };
        self.tool_calls_left = self.tool_calls_left.checked_sub(1).ok_or_else(|| {
            let message = "`limits.tool_calls` allows no further call";
            tool_error(ToolErrorKind::Limit, message)
        })?;
        Ok(found)
    }

    fn deny_tool(&mut self, name: &str, shown: &str) -> tools::ToolError {
        if self.is_tool {
            let message = "a tool may not call tools";
            self.deny(format!("the tool `{shown}`: {message}"), None);
            return tool_error(ToolErrorKind::Denied, message);
        }
        if self.scenario_tools.iter().any(|known| known == name) {
            self.deny(
                format!("the tool `{shown}`"),
                Some(Grant::Tool(name.to_owned()).to_string()),
            );
        } else {
            self.deny(format!("the tool `{shown}`, which is not in `[tools]`"), None);
        }
        let message = format!("the tool `{shown}` is not granted");
        tool_error(ToolErrorKind::Denied, message)
    }

    /// Counts the use of a tool as that of the attempt. Returns the call's result for the guest.
    fn end_tool(&mut self, name: &str, ended: Ended) -> Result<String, tools::ToolError> {
        self.fault = self.fault.or(ended.host_fault);
        if ended.service_failed.is_some() {
            self.outbound.counts().service_failed = ended.service_failed;
        }
        for denied in ended.denied {
            let add = denied.grant.map(|grant| format!(" (add `{grant}` to its grants)"));
            let add = add.unwrap_or_default();
            self.deny(format!("tool `{name}`: {}{add}", denied.what), None);
        }
        let Said { log, stdout, stderr, .. } = ended.said;
        let written = (!stdout.is_empty() || !stderr.is_empty())
            .then(|| json!({ "stdout": stdout, "stderr": stderr }).to_string());
        for mut record in log {
            record.fields.push(("tool".into(), name.to_owned().into()));
            self.note(record);
        }
        let usage = &mut self.of_tools;
        usage.peak_memory = usage.peak_memory.max(ended.usage.peak_memory);
        usage.bytes_in += ended.usage.bytes_in;
        usage.bytes_out += ended.usage.bytes_out;
        usage.host_calls += ended.usage.host_calls;
        usage.http_requests += ended.usage.http_requests;
        self.add_usage(ended.reported.into_iter().chain(ended.reported_by_tools), true);
        match ended.ending {
            Ending::Reply(reply) => Ok(reply.output.get().to_owned()),
            Ending::Error(error) => Err(of_error(error, written)),
            Ending::Timeout => Err(tools::ToolError {
                details: written,
                ..tool_error(ToolErrorKind::Timeout, "it did not end within its time")
            }),
            Ending::Stopped | Ending::Diverged(_) => Err(tools::ToolError {
                details: written,
                ..tool_error(ToolErrorKind::Stopped, "the run was stopped")
            }),
        }
    }
}

/// Returns an error for the guest. `written` is the tool's output as JSON, for an error without details of its own.
fn of_error(error: RowError<'static>, written: Option<String>) -> tools::ToolError {
    let kind = match error.class {
        Some(ErrorClass::InvalidInput) => ToolErrorKind::InvalidInput,
        Some(ErrorClass::Denied) => ToolErrorKind::Denied,
        Some(ErrorClass::Trap) => ToolErrorKind::Trap,
        Some(ErrorClass::Limit | ErrorClass::OutOfMemory) => ToolErrorKind::Limit,
        _ => ToolErrorKind::Failed,
    };
    let details = error.details.map(|details| details.get().to_owned()).or(written);
    tools::ToolError { kind, message: error.message.to_string(), details }
}

fn tool_error(kind: ToolErrorKind, message: impl Into<String>) -> tools::ToolError {
    tools::ToolError { kind, message: message.into(), details: None }
}
