//! Compiling in a child process: foreign code can keep a compiler busy, or grow it, for as long as it likes.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Resource, Rlimit, setrlimit};
use thiserror::Error;
use wasmparser::{Encoding, Parser, Payload};

use super::{
    clock::Moment,
    engine::{self, Metering},
    interrupt::Interrupt,
};

/// The hidden argument that makes the runner's program the compiler; see [`compile_child`].
pub const COMPILE_ARGUMENT: &str = "__compile";
/// What follows it for code that counts its fuel.
const FUEL_ARGUMENT: &str = "fuel";

const MAX_THREADS: u64 = 4;
const MAX_CPU_SECONDS_PER_THREAD: u64 = 300;
const MAX_DATA_BYTES: u64 = 4 * 1024 * 1024 * 1024;
const POLL_INTERVAL: Duration = Duration::from_millis(2);
const MAX_MESSAGE_BYTES: u64 = 16 * 1024;

/// A program that compiles, and how long it may take.
pub(super) struct Compiler {
    pub(super) program: PathBuf,
    pub(super) timeout: Duration,
    pub(super) metering: Metering,
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
/// `arguments` are those behind [`COMPILE_ARGUMENT`].
pub fn compile_child(arguments: &[OsString]) -> ExitCode {
    limit_myself();
    let metering = match arguments {
        [argument] if argument == FUEL_ARGUMENT => Metering::Fuel,
        _ => Metering::Off,
    };
    match compile_stdin(metering) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to be told if this fails.
            let _ = io::stderr().write_all(format!("{error:#}").as_bytes());
            ExitCode::FAILURE
        }
    }
}

impl Compiler {
    /// Compiles `wasm` into `artefact`; the child is gone when this returns or is dropped.
    pub(super) async fn compile(
        &self,
        wasm: &[u8],
        artefact: File,
        cancel: &Interrupt,
    ) -> Result<(), CompileError> {
        let failed = |source| CompileError::Run {
            program: self.program.clone(),
            source,
        };
        let mut stderr = tempfile::tempfile().map_err(failed)?;
        let mut child = self
            .spawn(wasm, artefact, stderr.try_clone().map_err(failed)?)
            .map_err(failed)?;

        let status = tokio::select! {
            status = child.wait(self.timeout) => status.map_err(failed)?,
            () = cancel.interrupted() => return Err(CompileError::Cancelled),
        };
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(verdict(status, &read_message(&mut stderr).map_err(failed)?)),
            None => Err(CompileError::TimedOut(self.timeout)),
        }
    }

    // The child dies with the thread that starts it, so this must not move to a pool of short-lived threads.
    fn spawn(&self, wasm: &[u8], artefact: File, stderr: File) -> io::Result<Running> {
        let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
        let child = Command::new(&self.program)
            .arg(COMPILE_ARGUMENT)
            .args((self.metering == Metering::Fuel).then_some(FUEL_ARGUMENT))
            .env("RAYON_NUM_THREADS", threads.min(MAX_THREADS).to_string())
            .stdin(unnamed_file(wasm)?)
            .stdout(Stdio::from(artefact))
            .stderr(Stdio::from(stderr))
            // Ctrl-C at a terminal is the runner's to answer.
            .process_group(0)
            .spawn()?;
        Ok(Running(child))
    }
}

/// A child that does not outlive its value.
struct Running(Child);

impl Running {
    /// `None` if it takes longer than `timeout`.
    async fn wait(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Moment::now();
        while start.elapsed() < timeout {
            if let Some(status) = self.0.try_wait()? {
                return Ok(Some(status));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Ok(None)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only for a child that has been reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file without a name, so that neither a full pipe nor a leftover has to be thought of.
fn unnamed_file(content: &[u8]) -> io::Result<Stdio> {
    let mut file = tempfile::tempfile()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

fn read_message(stderr: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    stderr.rewind()?;
    stderr.take(MAX_MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn verdict(status: ExitStatus, message: &str) -> CompileError {
    // The code of `ExitCode::FAILURE`; a panic has another one, and a limit is a signal.
    if status.code() == Some(1) && !message.is_empty() {
        return CompileError::Refused(message.to_owned());
    }
    let stderr = match message {
        "" => String::new(),
        message => format!(": {message}"),
    };
    CompileError::Died { status, stderr }
}

fn limit_myself() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    // A lower limit that was set from outside stays; the parent's clock bounds this process in any case.
    lower(Resource::Cpu, MAX_CPU_SECONDS_PER_THREAD * MAX_THREADS);
    lower(Resource::Data, MAX_DATA_BYTES);
}

fn lower(resource: Resource, limit: u64) {
    let maximum = rustix::process::getrlimit(resource).maximum;
    let limit = maximum.map_or(limit, |maximum| maximum.min(limit));
    let _ = setrlimit(
        resource,
        Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        },
    );
}

fn compile_stdin(metering: Metering) -> wasmtime::Result<()> {
    let mut wasm = Vec::new();
    io::stdin().lock().read_to_end(&mut wasm)?;
    let engine = engine::new_wasmtime(metering)?;
    let artefact = if is_component(&wasm) {
        engine.precompile_component(&wasm)?
    } else {
        engine.precompile_module(&wasm)?
    };
    io::stdout().lock().write_all(&artefact)?;
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
