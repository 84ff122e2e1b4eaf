//! Calls of commands: a program with arguments, standard input and output.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytesize::ByteSize;
use jiff::Timestamp;
use serde_json::Value;
use wasmtime::Store;
use wasmtime_wasi::{I32Exit, WasiCtxBuilder, p2::bindings::CommandPre, p2::pipe::MemoryInputPipe};

use super::{
    classify::{classify, halted, out_of_memory},
    description::Description,
    ended::{Ended, Ending, Reply},
    json_cost::{Allowance, Unread},
    protocol,
    reply::too_large,
    request::{Call, Invocation, StdoutForm},
};
use crate::{
    model::{AttemptError, ErrorClass, Limits},
    plugin::{
        code::{config::Metering, footprint::Footprint},
        failure::{beginning, failure},
        fs::{attempt_folders::Role, error::FilesError, files::Files},
        interrupt::Guard,
        listener::{Heard, Listener},
        sandbox::{
            handover::{MAX_COMPONENT_HANDOVER, MAX_HANDOVER},
            host::AttemptHost,
            stdio::Capture,
            store::{Meter, Sandbox, Spent, StoreRecipe},
        },
    },
};

/// `argv[0]` of the JSON protocol.
const JSON_NAME: &str = "provider";

/// A linked command.
pub(in crate::plugin) struct Program {
    pub(in crate::plugin) code: ProgramCode,
    pub(in crate::plugin) metering: Metering,
    pub(in crate::plugin) footprint: Footprint,
}

/// What a program is linked from.
pub(in crate::plugin) enum ProgramCode {
    /// A preview 1 module.
    Module(wasmtime::InstancePre<Sandbox>),
    /// A component that exports `wasi:cli/run`.
    Component(CommandPre<Sandbox>),
}

/// What one execution of a program is given.
struct ProgramStart {
    argv: Vec<String>,
    stdin: Vec<u8>,
    host: AttemptHost,
    /// Environment and mounts.
    wasi: WasiCtxBuilder,
    files: Files,
}

/// One finished execution of a program.
struct FinishedProgram {
    exit: wasmtime::Result<i32>,
    spent: Spent,
    sandbox: Sandbox,
    files: Files,
}

/// Runs one attempt by the plain protocol; `name` is `argv[0]`.
pub(in crate::plugin) async fn run_plain(
    program: &Program,
    name: &str,
    invocation: Invocation,
    call: &Call<'_>,
    guard: &Guard,
) -> Ended {
    let (wasi, files) = match surroundings(call, guard).await {
        Ok(found) => found,
        Err(error) => return Ended::without_sandbox(error),
    };
    let mut argv = vec![name.to_owned()];
    argv.extend(invocation.args);
    let start = ProgramStart {
        argv,
        stdin: invocation.stdin,
        host: AttemptHost::of(call, guard),
        wasi,
        files,
    };
    let execution = program.execute(start, &call.limits, guard).await;

    let read = |exit_code, sandbox: &Sandbox| match read_output(
        invocation.output,
        exit_code,
        &sandbox.stdout,
        &call.limits,
    ) {
        Ok(output) => Ending::Reply(plain_reply(output, exit_code)),
        Err(error) => Ending::Error(error),
    };
    execution.end(read).await
}

/// Runs one attempt by the JSON protocol.
pub(in crate::plugin) async fn run_json(
    program: &Program,
    call: &Call<'_>,
    guard: &Guard,
) -> Ended {
    let (wasi, files) = match surroundings(call, guard).await {
        Ok(found) => found,
        Err(error) => return Ended::without_sandbox(error),
    };
    let mut host = AttemptHost::of(call, guard);
    let times = Arc::new(Mutex::new(Vec::new()));
    host.listener = Some(hearing_records(call.listener.clone(), Arc::clone(&times)));
    let start = ProgramStart {
        argv: vec![JSON_NAME.to_owned(), "run".to_owned()],
        stdin: protocol::question(call),
        host,
        wasi,
        files,
    };
    let mut execution = program.execute(start, &call.limits, guard).await;

    // Whatever its end was: what it said until then counts.
    let stderr = execution.sandbox.stderr.text();
    let mut times = mem::take(&mut *lock(&times)).into_iter();
    for line in stderr.lines() {
        if let Some(record) = protocol::log_record(line, times.next()) {
            execution.sandbox.host.log.push(record);
        }
    }
    let read = |exit_code, sandbox: &Sandbox| match whole(&sandbox.stdout, &call.limits) {
        Ok(stdout) => protocol::answer(stdout, exit_code, sandbox, (&call.limits, guard)),
        Err(error) => Ending::Error(error),
    };
    execution.end(read).await
}

/// Asks a command what it is, by the JSON protocol.
pub(in crate::plugin) async fn describe(
    program: &Program,
    limits: &Limits,
    guard: &Guard,
) -> Result<Description, AttemptError> {
    let start = ProgramStart {
        argv: vec![JSON_NAME.to_owned(), "describe".to_owned()],
        stdin: Vec::new(),
        host: AttemptHost::new(limits, [].into(), guard.clone()),
        wasi: WasiCtxBuilder::new(),
        files: Files::default(),
    };
    let execution = program.execute(start, limits, guard).await;

    let sandbox = &execution.sandbox;
    let exit_code = execution
        .exit
        .map_err(|error| classify(&error, sandbox).into_error())?;
    let stdout = whole(&sandbox.stdout, limits)?;
    protocol::description(stdout, exit_code, sandbox, (limits, guard))
}

/// The environment and the files of one attempt.
async fn surroundings(
    call: &Call<'_>,
    guard: &Guard,
) -> Result<(WasiCtxBuilder, Files), FilesError> {
    let mut wasi = WasiCtxBuilder::new();
    wasi.envs(&call.env);
    let files = Files::mount(call, Role::Command, guard, &mut wasi).await?;
    Ok((wasi, files))
}

impl Program {
    async fn execute(
        &self,
        start: ProgramStart,
        limits: &Limits,
        guard: &Guard,
    ) -> FinishedProgram {
        let mut host = start.host;
        host.bytes_in = start.stdin.len() as u64;
        let mut wasi = start.wasi;
        wasi.args(&start.argv)
            .stdin(MemoryInputPipe::new(start.stdin));
        let recipe = StoreRecipe {
            wasi,
            host,
            quota: start.files.quota(),
            // The whole output counts or none of it: there is no tail to keep.
            stdout: Capture::new(limits.reply, 0),
            limits,
            // A program may write much at once; its output is bounded where it arrives.
            handover: limits.memory.min(match self.code {
                ProgramCode::Component(_) => MAX_COMPONENT_HANDOVER,
                ProgramCode::Module(_) => MAX_HANDOVER,
            }),
        };
        let mut store = recipe.store(self.engine(), self.metering);

        let mut meter = Meter::start(&store);
        let exit = exit_code(guard.bound(self.start(&mut store, &mut meter)).await);
        FinishedProgram {
            exit,
            spent: meter.stop(&store),
            sandbox: store.into_data(),
            files: start.files,
        }
    }

    /// Runs the program; an exit code arrives as a value or as an [`I32Exit`].
    async fn start(&self, store: &mut Store<Sandbox>, meter: &mut Meter) -> wasmtime::Result<i32> {
        store
            .data_mut()
            .limiter
            .hold_instances(self.footprint)
            .await?;
        match &self.code {
            ProgramCode::Module(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                meter.instantiated();
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(store, ()).await?;
                Ok(0)
            }
            ProgramCode::Component(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                meter.instantiated();
                let ended = command.wasi_cli_run().call_run(store).await?;
                Ok(i32::from(ended.is_err()))
            }
        }
    }

    fn engine(&self) -> &wasmtime::Engine {
        match &self.code {
            ProgramCode::Module(pre) => pre.module().engine(),
            ProgramCode::Component(pre) => pre.engine(),
        }
    }
}

impl FinishedProgram {
    async fn end(mut self, read: impl FnOnce(i32, &Sandbox) -> Ending) -> Ended {
        // What was interrupted has left its files half done.
        let is_own_end = !self
            .exit
            .as_ref()
            .is_err_and(|error| halted(error).is_some());
        if is_own_end {
            self.files.keep_artifacts(&mut self.sandbox.host).await;
        }
        self.files.remove().await;

        let gave_up = self.exit.as_ref().is_ok_and(|code| *code != 0);
        let denied = gave_up.then(|| out_of_memory(&self.sandbox)).flatten();
        let ending = match (self.exit, &self.sandbox.host.artifacts.lost) {
            // Nobody could tell the guest.
            (Ok(_), Some(error)) => Ending::Error(error.clone()),
            (Ok(code), None) => read(code, &self.sandbox),
            (Err(error), _) => classify(&error, &self.sandbox),
        };
        let mut ended = Ended::collect(&mut self.sandbox, ending, self.spent, 0);
        // Says why to whoever judges the exit code.
        ended.hint = ended.hint.or(denied.map(|error| error.message));
        ended
    }
}

/// Hears the lines of standard error as the log records that they are by the JSON protocol, and notes when each came.
fn hearing_records(listener: Option<Listener>, times: Arc<Mutex<Vec<Timestamp>>>) -> Listener {
    Listener::new(move |heard| {
        let now = Timestamp::now();
        if let Heard::Stderr(_) = heard {
            lock(&times).push(now);
        }
        let Some(listener) = &listener else { return };
        match heard {
            Heard::Stderr(line) => {
                if let Some(record) = protocol::log_record(line, Some(now)) {
                    listener.hear(Heard::Log(&record));
                }
            }
            Heard::Log(_) | Heard::Stdout(_) | Heard::Progress { .. } => listener.hear(heard),
        }
    })
}

/// Locks times, which no panic can leave half noted.
fn lock(times: &Mutex<Vec<Timestamp>>) -> MutexGuard<'_, Vec<Timestamp>> {
    times.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exit_code(result: wasmtime::Result<i32>) -> wasmtime::Result<i32> {
    result.or_else(|error| match error.downcast_ref::<I32Exit>() {
        Some(exit) => Ok(exit.0),
        None => Err(error),
    })
}

fn plain_reply(output: Value, exit_code: i32) -> Reply {
    Reply {
        output,
        verdict: None,
        score: None,
        summary: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        exit_code: Some(exit_code),
    }
}

fn read_output(
    form: StdoutForm,
    exit_code: i32,
    stdout: &Capture,
    limits: &Limits,
) -> Result<Value, AttemptError> {
    let broken = |code: &str, what: String, bytes: &[u8]| {
        let message = format!("the standard output is not {what}{}", beginning(bytes));
        failure(ErrorClass::Protocol, code, message)
    };
    let text = String::from_utf8(whole(stdout, limits)?).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        broken(
            "utf-8",
            format!("UTF-8 from byte {place} on"),
            error.as_bytes(),
        )
    })?;
    match form {
        StdoutForm::Text => Ok(Value::String(text)),
        StdoutForm::Trimmed => Ok(Value::String(text.trim().to_owned())),
        // A program that gives up has nothing to say on standard output; its exit code is judged.
        StdoutForm::Json if text.is_empty() && exit_code != 0 => Ok(Value::Null),
        StdoutForm::Json => {
            let parsed = Allowance::of(limits).parse(text.as_bytes());
            parsed.map_err(|error| match error {
                Unread::TooLarge(_) => too_large("standard output", &error),
                Unread::Json(error) => broken("json", format!("JSON: {error}"), text.as_bytes()),
            })
        }
    }
}

fn whole(stdout: &Capture, limits: &Limits) -> Result<Vec<u8>, AttemptError> {
    let written = stdout.written();
    stdout.take_whole().ok_or_else(|| {
        failure(
            ErrorClass::Limit,
            "reply",
            format!(
                "the standard output has {}, and `limits.reply` is {}",
                ByteSize(written),
                ByteSize(limits.reply)
            ),
        )
    })
}
