//! Calls of commands: a program with arguments, standard input and output.

use runner_model::{
    ErrorClass, Limits,
    provider::{Description, OutputForm, Protocol},
    row::{Raw, RowError},
};
use wasmtime::{Engine, Store};
use wasmtime_wasi::{
    I32Exit, WasiCtxBuilder,
    p2::{bindings::CommandPre, pipe::MemoryInputPipe},
};

use super::{
    Call, CommandCall, Ended, Ending, Reply,
    classify::{classify, into_error, out_of_memory},
    protocol,
    reply::read_json,
};
use crate::{
    interrupt::{Guard, Took},
    message::{beginning, failure, too_large},
    store::{
        MAX_COMPONENT_HANDOVER, MAX_HANDOVER, Sandbox, StoreRecipe, host::Host, stdio::Capture,
    },
};

/// `argv[0]` of the JSON protocol.
const JSON_NAME: &str = "provider";

/// A linked command.
pub(crate) enum Program {
    /// A preview 1 module.
    Module(wasmtime::InstancePre<Sandbox>),
    /// A component that exports `wasi:cli/run`.
    Component(CommandPre<Sandbox>),
}

/// What one execution of a program is given.
struct Start<'a> {
    argv: Vec<String>,
    stdin: Vec<u8>,
    /// How many lines of standard error get the time at which they came.
    timed_lines: u64,
    limits: &'a Limits,
    guard: Guard,
}

/// One finished execution of a program.
struct Finished {
    exit: wasmtime::Result<i32>,
    took: Took,
    sandbox: Sandbox,
}

/// Makes one call in a fresh sandbox.
pub(crate) async fn run(
    program: &Program,
    engine: &Engine,
    mut call: Call<'_>,
    guard: Guard,
) -> Ended {
    match call.command.take() {
        Some(command) if command.protocol == Protocol::Plain => {
            run_plain(program, engine, command, &call, guard).await
        }
        Some(_) => run_json(program, engine, &call, guard).await,
        None => {
            let message = "the plugin is a command, and it was not said how to call it";
            Ended::without_sandbox(failure(ErrorClass::Internal, "command", message))
        }
    }
}

/// Asks a command what it is, by the JSON protocol.
pub(crate) async fn describe(
    program: &Program,
    engine: &Engine,
    limits: &Limits,
    guard: Guard,
) -> Result<Description, RowError<'static>> {
    let interrupt = guard.interrupt.clone();
    let start = Start {
        argv: vec![JSON_NAME.to_owned(), "describe".to_owned()],
        stdin: Vec::new(),
        timed_lines: 0,
        limits,
        guard,
    };
    let Finished {
        exit, mut sandbox, ..
    } = program.execute(engine, start).await;
    let exit_code = exit.map_err(|error| into_error(classify(&error, &mut sandbox)))?;
    let stdout = whole(&sandbox.stdout, limits)?;
    protocol::description(&stdout, exit_code, &sandbox, &interrupt)
}

async fn run_plain(
    program: &Program,
    engine: &Engine,
    command: CommandCall,
    call: &Call<'_>,
    guard: Guard,
) -> Ended {
    let mut argv = vec![command.program];
    argv.extend(command.args);
    let start = Start {
        argv,
        stdin: command.stdin.unwrap_or_default(),
        timed_lines: 0,
        limits: call.limits,
        guard,
    };
    let mut finished = program.execute(engine, start).await;
    let sandbox = &mut finished.sandbox;
    let ending = match finished.exit {
        Err(error) => classify(&error, sandbox),
        Ok(exit_code) => {
            // It may be why the program gave up; its exit code is judged all the same.
            if let Some(denied) = out_of_memory(sandbox).filter(|_| exit_code != 0) {
                sandbox.host.deny(denied.message.to_string(), None);
            }
            read_output(command.output, exit_code, &sandbox.stdout, call.limits)
                .map_or_else(Ending::Error, |output| plain_reply(output, exit_code))
        }
    };
    end(finished.sandbox, ending, finished.took, call.limits)
}

async fn run_json(program: &Program, engine: &Engine, call: &Call<'_>, guard: Guard) -> Ended {
    let stdin = match protocol::question(call) {
        Ok(question) => question,
        Err(error) => {
            let message = format!("the input or the configuration is not JSON: {error}");
            return Ended::without_sandbox(failure(ErrorClass::Internal, "input", message));
        }
    };
    let interrupt = guard.interrupt.clone();
    let start = Start {
        argv: vec![JSON_NAME.to_owned(), "run".to_owned()],
        stdin,
        timed_lines: call.limits.log_records,
        limits: call.limits,
        guard,
    };
    let mut finished = program.execute(engine, start).await;
    // Whatever its end was: what it said until then counts.
    protocol::log(&mut finished.sandbox);
    let sandbox = &mut finished.sandbox;
    let ending = match finished.exit {
        Err(error) => classify(&error, sandbox),
        Ok(exit_code) => whole(&sandbox.stdout, call.limits).map_or_else(Ending::Error, |stdout| {
            protocol::answer(&stdout, exit_code, sandbox, &interrupt)
        }),
    };
    end(finished.sandbox, ending, finished.took, call.limits)
}

fn end(sandbox: Sandbox, ending: Ending, took: Took, limits: &Limits) -> Ended {
    // What did not become a reply was kept up to the limit of replies.
    sandbox.stdout.shorten(limits.stdio);
    Ended::collect(sandbox, ending, took, 0)
}

impl Program {
    async fn execute(&self, engine: &Engine, start: Start<'_>) -> Finished {
        let (limits, guard) = (start.limits, start.guard);
        let host = Host::new(limits, guard.clone(), start.stdin.len() as u64);
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&start.argv)
            .stdin(MemoryInputPipe::new(start.stdin));
        let recipe = StoreRecipe {
            wasi,
            host,
            // The whole output counts or nothing of it: there is no tail to keep.
            stdout: Capture::new(limits.reply, 0),
            stderr: Capture::new(limits.stdio, limits.stdio).with_times(start.timed_lines),
            limits,
            // A program may write much at once; its output is bounded where it arrives.
            handover: limits.memory.min(match self {
                Self::Component(_) => MAX_COMPONENT_HANDOVER,
                Self::Module(_) => MAX_HANDOVER,
            }),
        };
        let mut store = recipe.store(engine);
        let exit = guard.bound(self.start(&mut store)).await;
        let exit = exit.or_else(|error| match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(error),
        });
        Finished {
            exit,
            took: guard.took(),
            sandbox: store.into_data(),
        }
    }

    /// Runs the program; an exit code comes as a value or as an [`I32Exit`].
    async fn start(&self, store: &mut Store<Sandbox>) -> wasmtime::Result<i32> {
        match self {
            Self::Module(pre) => {
                let instance = pre.instantiate_async(&mut *store).await?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
                start.call_async(store, ()).await?;
                Ok(0)
            }
            Self::Component(pre) => {
                let command = pre.instantiate_async(&mut *store).await?;
                let ended = command.wasi_cli_run().call_run(store).await?;
                Ok(i32::from(ended.is_err()))
            }
        }
    }
}

fn plain_reply(output: Raw<'static>, exit_code: i32) -> Ending {
    Ending::Reply(Box::new(Reply {
        output,
        verdict: None,
        score: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        exit_code: Some(exit_code),
    }))
}

fn read_output(
    form: OutputForm,
    exit_code: i32,
    stdout: &Capture,
    limits: &Limits,
) -> Result<Raw<'static>, RowError<'static>> {
    let text = String::from_utf8(whole(stdout, limits)?).map_err(|error| {
        let message = format!(
            "the standard output is not UTF-8 from byte {} on{}",
            error.utf8_error().valid_up_to(),
            beginning(error.as_bytes())
        );
        failure(ErrorClass::Protocol, "utf-8", message)
    })?;
    let no_json =
        |error: serde_json::Error| failure(ErrorClass::Internal, "json", error.to_string());
    match form {
        OutputForm::Text => Raw::of(&text).map_err(no_json),
        OutputForm::Trimmed => Raw::of(&text.trim()).map_err(no_json),
        // A program that gives up has nothing to say on standard output; its exit code is judged.
        OutputForm::Json if text.is_empty() && exit_code != 0 => Raw::of(&()).map_err(no_json),
        OutputForm::Json => read_json("standard output", text),
    }
}

fn whole(stdout: &Capture, limits: &Limits) -> Result<Vec<u8>, RowError<'static>> {
    let too_much = |written| too_large("standard output", written, "reply", limits.reply);
    stdout.take_whole().map_err(too_much)
}
