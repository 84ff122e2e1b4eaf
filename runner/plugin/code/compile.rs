//! Compiling in a child process: foreign code can keep a compiler busy, or grow it, for as long as it likes.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::AsFd as _, unix::process::ExitStatusExt as _},
    path::PathBuf,
    process::{ExitCode, ExitStatus},
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use rustix::process::Signal;
use thiserror::Error;
use wasmparser::{Encoding, Parser, Payload};

use super::{
    artefact::{CodeForm, MAX_ARTEFACT_BYTES, deserialize},
    config::EngineConfig,
};
use crate::plugin::{
    child::{self, ChildEnd, ChildLimits, ChildWork, Helper},
    interrupt::Interrupt,
    memory::most_of_the_memory,
};

/// The hidden argument that makes the runner's program the compiler; see [`compile_child`].
///
/// `main` looks at it before the command line is parsed, so that no help, completion or manual page names it.
pub const COMPILE_ARGUMENT: &str = "__compile";
/// The hidden argument that makes it load an artefact, to see what that takes; see [`load_child`].
pub const LOAD_ARGUMENT: &str = "__load";
/// What follows for a component; without it, it is a module.
const COMPONENT_ARGUMENT: &str = "component";

const MAX_THREADS: u64 = 4;
const MAX_CPU_SECONDS_PER_THREAD: u64 = 300;
/// Bytes of memory that compiling may take, where the machine has so much. Python's component takes 310 MiB.
const MAX_MEMORY: u64 = 4 * 1024 * 1024 * 1024;

/// Bytes of what a plugin is compiled to beside those for each byte of its file.
const ARTEFACT_BYTES: u64 = 64 * 1024 * 1024;
/// Python's component of 18 MiB comes to 35 MiB; code for 64 bits is a few times as large as WASM.
const ARTEFACT_BYTES_PER_BYTE: u64 = 16;

/// Bytes of memory that loading an artefact may take, beside its own file and what a process has that loads nothing.
const MAX_LOAD_MEMORY: u64 = 64 * 1024 * 1024;
/// What a process has that loads nothing: an engine, stacks of threads.
const IDLE_MEMORY: u64 = 32 * 1024 * 1024;
/// The exit code of a process that had no more memory.
const HEAVY: u8 = 2;
const LOAD_TIME: Duration = Duration::from_secs(30);
const LOAD_CPU_SECONDS: u64 = 30;
/// Bytes of what such a process says.
const LOAD_REPLY: u64 = 64 * 1024;

/// A program that compiles, and how long it may take.
pub(in crate::plugin) struct Compiler {
    pub(in crate::plugin) helper: Helper,
    pub(in crate::plugin) timeout: Duration,
}

/// Why there is no artefact.
#[derive(Debug, Error)]
pub enum CompileError {
    /// The compiler does not accept the file.
    #[error("{0}")]
    Refused(String),
    /// It took too long, and was killed.
    #[error("it took longer than {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// It took too much memory.
    #[error("the compiler needs more than {0} of memory for it, and may have no more")]
    NoMemory(ByteSize),
    /// Its parts are nested too deeply.
    #[error("it is nested more deeply than the compiler can follow")]
    TooDeep,
    /// The artefact is too large.
    #[error("it is compiled to more than {0}, which is too much for a file of its size")]
    TooLarge(ByteSize),
    /// Loading the artefact takes too much memory or time.
    #[error(
        "to load what it is compiled to takes more than {} of memory or {} s, and no more is allowed",
        ByteSize(MAX_LOAD_MEMORY),
        LOAD_TIME.as_secs()
    )]
    Heavy,
    /// The compiler died, most likely of its own limits.
    #[error("the compiler ended with {status}{stderr}")]
    Died {
        /// How it ended.
        status: ExitStatus,
        /// What it wrote last.
        stderr: String,
    },
    /// The compiler could not be run.
    #[error("cannot run the compiler `{}`", program.display())]
    Run {
        /// Its program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was interrupted.
    #[error("it was interrupted")]
    Cancelled,
}

/// The compiler itself: WASM on standard input, the artefact on standard output, what is wrong on standard error.
/// `arguments` are those behind [`COMPILE_ARGUMENT`]: how much memory it may have, how much it may write, and for which
/// engine it compiles.
pub fn compile_child(arguments: &[OsString]) -> ExitCode {
    let number = |place: usize| arguments.get(place)?.to_str()?.parse().ok();
    let limits = ChildLimits {
        memory: number(0).unwrap_or(MAX_MEMORY),
        cpu_seconds: MAX_CPU_SECONDS_PER_THREAD * MAX_THREADS,
        file: number(1).unwrap_or(MAX_ARTEFACT_BYTES),
    };
    limits.apply();
    let Some(config) = config(arguments, 2) else {
        return child::give_up("it was not said what to compile for");
    };
    match compile_stdin(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => child::give_up(&format!("{error:#}")),
    }
}

/// Loads an artefact, which is its standard input. `arguments` are those behind [`LOAD_ARGUMENT`]: how much memory that may
/// take, for which engine it is, and its form.
pub fn load_child(arguments: &[OsString]) -> ExitCode {
    let memory = arguments
        .first()
        .and_then(|memory| memory.to_str()?.parse().ok());
    let limits = ChildLimits {
        memory: memory.unwrap_or(MAX_LOAD_MEMORY),
        cpu_seconds: LOAD_CPU_SECONDS,
        file: LOAD_REPLY,
    };
    limits.apply();
    let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
    let form = if has(COMPONENT_ARGUMENT) {
        CodeForm::Component
    } else {
        CodeForm::Module
    };
    let Some(config) = config(arguments, 1) else {
        return child::give_up("it was not said what to load for");
    };
    match load_stdin(form, config) {
        Ok(()) => ExitCode::SUCCESS,
        // A lack of memory is not always told by an abort.
        Err(error) if child::lacked_memory(&format!("{error:#}")) => ExitCode::from(HEAVY),
        Err(error) => child::give_up(&format!("{error:#}")),
    }
}

impl Compiler {
    /// Compiles `wasm` into `artefact`; the child is gone when this returns or is dropped.
    pub(in crate::plugin) async fn compile(
        &self,
        wasm: &[u8],
        artefact: File,
        config: EngineConfig,
        cancel: &Interrupt,
    ) -> Result<(), CompileError> {
        let failed = |source| self.not_run(source);
        let compiled = artefact.try_clone().map_err(failed)?;
        self.translate(wasm, artefact, config, cancel).await?;
        self.try_load(is_component(wasm), compiled, config, cancel)
            .await
    }

    /// Loads the artefact in a process of its own first: this one has it in memory for as long as it lives, and a file of
    /// a few KiB can say that it exports a million things.
    async fn try_load(
        &self,
        is_component: bool,
        artefact: File,
        config: EngineConfig,
        cancel: &Interrupt,
    ) -> Result<(), CompileError> {
        let failed = |source| self.not_run(source);
        // What is mapped counts for the limit.
        let size = artefact.metadata().map_err(failed)?.len();
        let memory = (size + MAX_LOAD_MEMORY + IDLE_MEMORY).to_string();
        let mut arguments = vec![LOAD_ARGUMENT, &memory, config.as_argument()];
        arguments.extend(is_component.then_some(COMPONENT_ARGUMENT));
        let work = ChildWork {
            arguments: &arguments,
            env: &[],
            input: artefact,
            output: tempfile::tempfile().map_err(failed)?,
            timeout: LOAD_TIME,
        };
        match self.helper.run(work, cancel).await.map_err(failed)? {
            ChildEnd::Done => Ok(()),
            ChildEnd::Failed(message) => Err(CompileError::Refused(message)),
            ChildEnd::Died(..) | ChildEnd::TimedOut => Err(CompileError::Heavy),
            ChildEnd::Cancelled => Err(CompileError::Cancelled),
        }
    }

    fn not_run(&self, source: io::Error) -> CompileError {
        CompileError::Run {
            program: self.helper.program.clone(),
            source,
        }
    }

    async fn translate(
        &self,
        wasm: &[u8],
        artefact: File,
        config: EngineConfig,
        cancel: &Interrupt,
    ) -> Result<(), CompileError> {
        let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let memory = most_of_the_memory().min(MAX_MEMORY);
        let most_bytes = most_artefact_bytes(wasm.len());
        let (memory_argument, bytes_argument) = (memory.to_string(), most_bytes.to_string());
        let arguments = [
            COMPILE_ARGUMENT,
            &memory_argument,
            &bytes_argument,
            config.as_argument(),
        ];
        let env = [("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())];
        let end = match unnamed_file(wasm) {
            Ok(input) => {
                let work = ChildWork {
                    arguments: &arguments,
                    env: &env,
                    input,
                    output: artefact,
                    timeout: self.timeout,
                };
                self.helper.run(work, cancel).await
            }
            Err(error) => Err(error),
        };
        match end {
            Ok(ChildEnd::Done) => Ok(()),
            Ok(ChildEnd::Failed(message)) => Err(CompileError::Refused(message)),
            Ok(ChildEnd::Died(_, message)) if child::lacked_memory(&message) => {
                Err(CompileError::NoMemory(ByteSize(memory)))
            }
            // What Rust says before it aborts.
            Ok(ChildEnd::Died(_, message)) if message.contains("has overflowed its stack") => {
                Err(CompileError::TooDeep)
            }
            Ok(ChildEnd::Died(status, _)) if status.signal() == Some(Signal::XFSZ.as_raw()) => {
                Err(CompileError::TooLarge(ByteSize(most_bytes)))
            }
            Ok(ChildEnd::Died(status, message)) => {
                let stderr = match message.as_str() {
                    "" => String::new(),
                    message => format!(": {message}"),
                };
                Err(CompileError::Died { status, stderr })
            }
            Ok(ChildEnd::TimedOut) => Err(CompileError::TimedOut(self.timeout)),
            Ok(ChildEnd::Cancelled) => Err(CompileError::Cancelled),
            Err(source) => Err(self.not_run(source)),
        }
    }
}

/// How much a file of `bytes` bytes may be compiled to: one of a few KiB can ask for images of its memories of many GiB.
fn most_artefact_bytes(bytes: usize) -> u64 {
    let bytes = ARTEFACT_BYTES_PER_BYTE.saturating_mul(bytes as u64);
    ARTEFACT_BYTES.saturating_add(bytes).min(MAX_ARTEFACT_BYTES)
}

fn unnamed_file(content: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    Ok(file)
}

/// The configuration that is the argument at `place`.
fn config(arguments: &[OsString], place: usize) -> Option<EngineConfig> {
    EngineConfig::of_argument(arguments.get(place)?.to_str()?)
}

fn load_stdin(form: CodeForm, config: EngineConfig) -> wasmtime::Result<()> {
    let engine = config.engine(None)?;
    let artefact = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    deserialize(&engine, form, artefact).map(drop)
}

fn compile_stdin(config: EngineConfig) -> wasmtime::Result<()> {
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm)?;
    let engine = config.compiler(wasm.len())?;
    let artefact = if is_component(&wasm) {
        engine.precompile_component(&wasm)?
    } else {
        engine.precompile_module(&wasm)?
    };
    child::reply(&artefact)?;
    Ok(())
}

fn is_component(wasm: &[u8]) -> bool {
    let first = Parser::new(0).parse_all(wasm).next();
    matches!(
        first,
        Some(Ok(Payload::Version {
            encoding: Encoding::Component,
            ..
        }))
    )
}
