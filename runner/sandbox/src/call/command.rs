//! Calls of commands: programs with arguments, standard input and standard output.

use std::{ops::RangeInclusive, path::PathBuf, pin::pin};

use runner_model::provider::{Description, OutputForm, Protocol};
use runner_model::row::{Raw, RowError};
use runner_model::{ErrorClass, Limits};
use wasmtime::{Engine, Store, component::types::ComponentItem};
use wasmtime_wasi::p2::{bindings::CommandPre, pipe::MemoryInputPipe};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, p3::bindings as p3};

use super::classify::{classify, into_error, out_of_memory};
use super::ended::{Ended, Ending, Reply};
use super::inputs::{Call, CommandCall};
use super::{json::read_json, protocol, tools::CommandOutput};
use crate::{
    fs::{AttemptFiles, Role},
    interrupt::{CallTime, Guard, Halt, UsedUp},
    message::{failure, stderr_tail, too_large, with_excerpt},
    store::{
        MAX_COMPONENT_HANDOVER, Sandbox, StoreRecipe,
        host::{Host, MAX_HANDOVER},
        stdio::{Capture, Spool},
    },
};

const JSON_NAME: &str = "provider";
const EXIT: &str = "wasi:cli/exit@0.";
const EXIT_WITH_CODE: &str = "exit-with-code";

/// A linked command.
pub(crate) enum Program {
    /// A preview 1 module.
    Module(wasmtime::InstancePre<Sandbox>),
    /// A component that exports `wasi:cli/run` of WASI 0.2, and whether its parts call each other.
    Component(CommandPre<Sandbox>, bool),
    /// A component that exports `wasi:cli/run` of WASI 0.3, and whether its parts call each other.
    Async(p3::CommandPre<Sandbox>, bool),
}

/// The inputs of one execution.
struct ProgramStart<'a> {
    argv: Vec<String>,
    stdin: Vec<u8>,
    /// Lines of standard error that get a time stamp.
    timed_lines: u64,
    /// Receives standard output.
    spool: Option<Spool>,
    limits: &'a Limits,
    host: Host,
    /// Environment and folders.
    wasi: WasiCtxBuilder,
    files: AttemptFiles,
    roots: Vec<PathBuf>,
}

/// A finished execution.
struct ProgramEnd {
    exit: wasmtime::Result<i32>,
    time: CallTime,
    sandbox: Sandbox,
    files: AttemptFiles,
}

/// Makes one call in a fresh sandbox.
pub(crate) async fn run(program: &Program, mut call: Call<'_>, guard: Guard) -> Ended {
    let Some(command) = call.command.take() else {
        let message = "the plugin is a command, but the call names no protocol";
        let error = failure(ErrorClass::Internal, "command", message);
        return Ended::without_sandbox(Ending::Error(error));
    };
    let mut wasi = WasiCtxBuilder::new();
    wasi.envs(call.env);
    let files = match AttemptFiles::mount(&call, Role::Command, &guard, &mut wasi).await {
        Ok(files) => files,
        Err(ended) => return *ended,
    };
    match command.protocol {
        Protocol::Plain => run_plain(program, command, &call, guard, wasi, files).await,
        Protocol::Json => run_json(program, &call, guard, wasi, files).await,
    }
}

/// Reads a command's description, by the JSON protocol.
pub(crate) async fn describe(
    program: &Program,
    limits: &Limits,
    guard: Guard,
) -> Result<Description, RowError<'static>> {
    let interrupt = guard.interrupt.clone();
    let start = ProgramStart {
        argv: vec![JSON_NAME.to_owned(), "describe".to_owned()],
        stdin: Vec::new(),
        timed_lines: 0,
        spool: None,
        limits,
        host: Host::new(limits, guard),
        wasi: WasiCtxBuilder::new(),
        files: AttemptFiles::default(),
        roots: Vec::new(),
    };
    let ProgramEnd { exit, mut sandbox, .. } = program.execute(start, Protocol::Json).await;
    let exit_code = exit.map_err(|error| into_error(classify(&error, &mut sandbox)))?;
    let stdout = whole(&sandbox.stdout, limits)?;
    protocol::read_description(&stdout, exit_code, &sandbox, &interrupt)
}

async fn run_plain(
    program: &Program,
    command: CommandCall,
    call: &Call<'_>,
    guard: Guard,
    wasi: WasiCtxBuilder,
    files: AttemptFiles,
) -> Ended {
    let mut argv = vec![command.program];
    argv.extend(command.args);
    let stdin = command.stdin.unwrap_or_default();
    let host = Host::for_call(call, guard, stdin.len());
    let spool = match Spool::for_call(
        call.records,
        call.limits.reply,
        "standard output",
        &host.artifacts,
    ) {
        Ok(spool) => spool,
        Err(error) => return Ended::without_sandbox(Ending::Error(error)),
    };
    let start = ProgramStart {
        host,
        argv,
        stdin,
        timed_lines: 0,
        spool,
        limits: call.limits,
        wasi,
        roots: files.roots(call),
        files,
    };
    let finished = program.execute(start, Protocol::Plain).await;
    if let Some(spool) = finished.sandbox.stdout.take_spool() {
        return finished.end_with_records(spool, call.limits).await;
    }
    finished
        .end(call.limits, |exit_code, sandbox| {
            // The likely reason of the exit code. The exit code is judged in any case.
            if let Some(denied) = out_of_memory(sandbox).filter(|_| exit_code != 0) {
                sandbox.host.deny(denied.message, None);
            }
            if call.inside.is_some() {
                return tool_reply(exit_code, sandbox);
            }
            read_output(command.output, exit_code, sandbox, call.limits)
                .map_or_else(Ending::Error, |output| plain_reply(output, exit_code))
        })
        .await
}

async fn run_json(
    program: &Program,
    call: &Call<'_>,
    guard: Guard,
    wasi: WasiCtxBuilder,
    files: AttemptFiles,
) -> Ended {
    let stdin = match protocol::encode_input(call) {
        Ok(stdin) => stdin,
        Err(error) => {
            let message = format!("the input or the configuration is not JSON: {error}");
            let error = failure(ErrorClass::Internal, "input", message);
            return Ended::without_sandbox(Ending::Error(error));
        }
    };
    let interrupt = guard.interrupt.clone();
    let start = ProgramStart {
        argv: vec![JSON_NAME.to_owned(), "run".to_owned()],
        host: Host::for_call(call, guard, stdin.len()),
        stdin,
        timed_lines: call.limits.log_records,
        spool: None,
        limits: call.limits,
        wasi,
        roots: files.roots(call),
        files,
    };
    let mut finished = program.execute(start, Protocol::Json).await;
    // Records count even if the command failed.
    protocol::read_log(&mut finished.sandbox);
    let read = |exit_code, sandbox: &mut Sandbox| {
        whole(&sandbox.stdout, call.limits).map_or_else(Ending::Error, |stdout| {
            protocol::read_reply(&stdout, exit_code, sandbox, &interrupt)
        })
    };
    finished.end(call.limits, read).await
}

/// Returns whether the host has ended a guest, which may have left files half written.
fn is_interrupt(error: &wasmtime::Error) -> bool {
    error.is::<Halt>() || error.is::<UsedUp>()
}

impl ProgramEnd {
    /// Makes standard output an artifact, if the program has ended well.
    async fn end_with_records(mut self, spool: Spool, limits: &Limits) -> Ended {
        let records = spool.finish();
        if records.is_err() && !self.exit.as_ref().is_err_and(is_interrupt) {
            // The failed write has ended the program.
            self.exit = Ok(0);
        }
        let read = |exit_code, sandbox: &mut Sandbox| {
            let error = match records {
                Ok(records) if exit_code == 0 => {
                    sandbox.host.artifacts.files = vec![records];
                    match Raw::of(&()) {
                        Ok(nothing) => return plain_reply(nothing, exit_code),
                        Err(error) => failure(ErrorClass::Internal, "json", error.to_string()),
                    }
                }
                Ok(_) => {
                    let message = format!("it exited with code {exit_code}");
                    failure(ErrorClass::Other, "exit-code", message)
                }
                Err(error) => error,
            };
            Ending::Error(RowError { stderr: stderr_tail(&sandbox.stderr.text()), ..error })
        };
        self.end(limits, read).await
    }

    /// Collects the guest's files and removes its folders. `read` converts the output to an ending.
    async fn end(
        mut self,
        limits: &Limits,
        read: impl FnOnce(i32, &mut Sandbox) -> Ending,
    ) -> Ended {
        let sandbox = &mut self.sandbox;
        // An interrupted guest leaves files half written.
        if !self.exit.as_ref().is_err_and(is_interrupt) {
            let artifacts = &mut sandbox.host.artifacts.files;
            if let Some(message) = self.files.collect(limits, artifacts).await {
                sandbox.host.warn(message);
            }
        }
        let is_partial = self.exit.is_err();
        let ending = match self.exit {
            Err(error) => classify(&error, sandbox),
            Ok(exit_code) => read(exit_code, sandbox),
        };
        // Has no tail: the output counts whole or not at all. `shorten` redacts it before it cuts.
        let redactor = sandbox.host.redactor().cloned();
        sandbox.stdout.shorten(limits.stdio, redactor.as_ref());
        let mut ended = Ended::collect(sandbox, ending, self.time, 0);
        self.files.give_back(sandbox.workspace.take());
        drop(self.sandbox);
        self.files.add_changes(&mut ended, limits.workspace, redactor, is_partial).await;
        self.files.remove().await;
        ended
    }
}

impl Program {
    async fn execute(&self, start: ProgramStart<'_>, protocol: Protocol) -> ProgramEnd {
        let limits = start.limits;
        let guard = start.host.guard.clone();
        let exchanges = guard.determinism.as_ref().map(|one| one.exchanges.clone());
        let redactor = start.host.redactor();
        // Has no tail: a reply counts whole or not at all. Kept without redaction until `shorten`,
        // because replies are redacted as JSON.
        let stdout = Capture::new(limits.reply, 0);
        let stdout = match protocol {
            Protocol::Plain => {
                let stdout = stdout.raw().redacted_by(redactor).shown_in(&guard.activity);
                stdout.spooled(start.spool)
            }
            // A reply is not output for people.
            Protocol::Json => stdout,
        };
        let mut wasi = start.wasi;
        wasi.args(&start.argv).stdin(MemoryInputPipe::new(start.stdin));
        let recipe = StoreRecipe {
            wasi,
            quota: start.files.quota(),
            workspace: start.files.workspace(),
            roots: start.roots,
            stdout,
            stderr: Capture::new(limits.stdio, limits.stdio)
                .with_times(start.timed_lines, exchanges)
                .redacted_by(redactor)
                .shown_in(&guard.activity),
            host: start.host,
            limits,
            is_composed: match self {
                Self::Module(_) => false,
                Self::Component(_, is_composed) | Self::Async(_, is_composed) => *is_composed,
            },
            // A program may write more at once than a reply may have; the capture bounds what is
            // kept.
            handover: (
                limits.memory.min(match self {
                    Self::Component(..) | Self::Async(..) => MAX_COMPONENT_HANDOVER,
                    Self::Module(_) => MAX_HANDOVER,
                }),
                "the most for this command; let it write less at once",
            ),
        };
        let mut store = recipe.create_store(self.engine());
        let exit = guard.bound(pin!(self.start(&mut store))).await;
        let exit = guard.check_end(exit);
        let exit = exit.or_else(|error| match error.downcast_ref::<I32Exit>() {
            // As the kernel keeps it: `sys.exit(-1)` of Python is 255 in a shell, too.
            Some(exit) => Ok(exit.0 & i32::from(u8::MAX)),
            None => Err(error),
        });
        ProgramEnd { exit, time: guard.elapsed(), sandbox: store.into_data(), files: start.files }
    }

    /// Runs the program. Its exit code is the value, or an [`I32Exit`] error.
    async fn start(&self, store: &mut Store<Sandbox>) -> wasmtime::Result<i32> {
        match self {
            Self::Module(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(store, ()).await?;
                Ok(0)
            }
            Self::Component(pre, _) => {
                let command = pre.instantiate_async(&mut *store).await?;
                Ok(i32::from(command.wasi_cli_run().call_run(store).await?.is_err()))
            }
            Self::Async(pre, _) => {
                let command = pre.instantiate_async(&mut *store).await?;
                let run = command.wasi_cli_run();
                let ended = store.run_concurrent(async |store| run.call_run(store).await).await??;
                Ok(i32::from(ended.is_err()))
            }
        }
    }

    /// Returns the exit codes that it can have. `exit` of `wasi:cli/exit` has success and failure alone; `exit-with-code` is
    /// in 0.2.12 and 0.3. The 32 bits of preview 1 are cut to 8.
    pub(crate) fn exit_codes(&self) -> RangeInclusive<i32> {
        let component = match self {
            Self::Module(_) => return 0..=i32::from(u8::MAX),
            Self::Component(pre, _) => pre.instance_pre().component(),
            Self::Async(pre, _) => pre.instance_pre().component(),
        };
        let engine = component.engine();
        let has_codes = component.component_type().imports(engine).any(|(name, import)| {
            let ComponentItem::ComponentInstance(interface) = import.ty else { return false };
            name.starts_with(EXIT) && interface.get_export(engine, EXIT_WITH_CODE).is_some()
        });
        0..=if has_codes { i32::from(u8::MAX) } else { 1 }
    }

    fn engine(&self) -> &Engine {
        match self {
            Self::Module(pre) => pre.module().engine(),
            Self::Component(pre, _) => pre.engine(),
            Self::Async(pre, _) => pre.engine(),
        }
    }
}

fn plain_reply(output: Raw<'static>, exit_code: i32) -> Ending {
    Ending::Reply(Box::new(Reply { exit_code: Some(exit_code), ..Reply::new(output) }))
}

/// Returns the result of a tool, which may be cut.
fn tool_reply(exit_code: i32, sandbox: &Sandbox) -> Ending {
    let stdout = match sandbox.stdout.take_whole() {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => sandbox.stdout.text(),
    };
    let stderr = sandbox.stderr.text();
    let output = CommandOutput { exit_code, stdout: &stdout, stderr: &stderr };
    match Raw::of(&output) {
        Ok(output) => plain_reply(output, exit_code),
        Err(error) => Ending::Error(failure(ErrorClass::Internal, "json", error.to_string())),
    }
}

fn read_output(
    form: OutputForm,
    exit_code: i32,
    sandbox: &Sandbox,
    limits: &Limits,
) -> Result<Raw<'static>, RowError<'static>> {
    let redactor = sandbox.host.redactor();
    let text = String::from_utf8(whole(&sandbox.stdout, limits)?).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let message = format!("the standard output is not UTF-8 from byte {valid} on");
        let refusal = failure(ErrorClass::Protocol, "utf-8", message);
        with_excerpt(refusal, error.as_bytes(), redactor)
    })?;
    let no_json =
        |error: serde_json::Error| failure(ErrorClass::Internal, "json", error.to_string());
    match form {
        OutputForm::Text => Raw::of(&text).map_err(no_json),
        OutputForm::Trimmed => Raw::of(&text.trim()).map_err(no_json),
        // A failed program usually prints nothing. Its exit code is judged.
        OutputForm::Json if text.is_empty() && exit_code != 0 => Raw::of(&()).map_err(no_json),
        OutputForm::Json => read_json("standard output", text, redactor),
    }
}

fn whole(stdout: &Capture, limits: &Limits) -> Result<Vec<u8>, RowError<'static>> {
    stdout
        .take_whole()
        .map_err(|written| too_large("standard output", written, "reply", limits.reply))
}
