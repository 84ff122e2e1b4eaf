//! [`prestart`]: starts the first worker of a session, or the only one without a session.

use std::io;

use runner_model::test_setting;
use runner_prepare::{children, machine};

use super::inputs::{Launch, PrestartedWorker};
use super::link::{EventSink, WorkerLink};
use super::process::WorkerProcess;
use crate::error::{EngineError, machine_error};

/// Returns a function that starts worker processes.
fn processes() -> Launch {
    // Black-box tests run a hostile worker.
    let name = test_setting("RUNNER_TEST_WORKER").unwrap_or_else(|| "__worker".to_owned());
    Box::new(move |sink| Ok(Box::new(WorkerProcess::start(&name, sink)?)))
}

/// Starts a worker process for a coordinator on another machine. Never blocks.
///
/// # Errors
///
/// The system has no more files or threads.
pub fn start_worker(sink: EventSink) -> io::Result<Box<dyn WorkerLink>> {
    processes()(sink)
}

/// Checks the limits of the machine and the program, before anything is created.
pub(crate) fn check_machine() -> Result<(), EngineError> {
    // Each child would start a session, and that session a child.
    if children::is_child() {
        let problem = "this process is a child of the runner, and its `main` does not handle that\nlet `main` start with `runner_worker::main_if_child()`";
        return Err(EngineError::Usage(problem.to_owned()));
    }
    machine::check().map_err(EngineError::Machine)
}

/// Starts the first worker, in parallel with planning.
///
/// # Errors
///
/// A limit of the machine is too low, or no process can be started.
pub(crate) fn prestart() -> Result<PrestartedWorker, EngineError> {
    check_machine()?;
    PrestartedWorker::start(processes()).map_err(machine_error)
}
