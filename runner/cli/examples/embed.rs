//! Runs a scenario, stops the run after three trials, and continues it: the program of `docs/embedding.md`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use runner_engine::{EngineError, ExecRequest, ResumeRequest, RunEvent, exec, resume, stop};

fn main() -> Result<(), EngineError> {
    runner_worker::main_if_child();
    let mut run = String::new();
    let mut observer = |event: &RunEvent<'_>| match event {
        RunEvent::Created { manifest, .. } => run.clone_from(&manifest.id),
        RunEvent::Row { line, row, counts, .. } => {
            println!("{}", String::from_utf8_lossy(line));
            if row.is_final && counts.done() == 3 {
                println!("stop: {:?}", stop("results", &run));
            }
        }
        _ => {}
    };
    let stopped = exec(&ExecRequest::new("scenario.toml", "results"), &mut observer)?;
    println!("{}: {}", stopped.manifest.status, stopped.manifest.counts);
    let ended = resume(&ResumeRequest::new(stopped.manifest.id, "results"), &mut observer)?;
    println!("{}: {}", ended.manifest.status, ended.manifest.counts);
    Ok(())
}
