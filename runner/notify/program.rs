//! [`start_program`]: one call of a program.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

use super::delivery::Delivery;

/// How often is looked whether the program has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// How much of what the program says is told where it fails.
const MOST_SAID: u64 = 1000;

/// A program and what it gets.
#[derive(Clone, Debug)]
pub struct NotifiedProgram {
    /// The program and its arguments; at least one.
    pub command: Vec<String>,
    /// Variables, beside those of this process.
    pub variables: Vec<(&'static str, OsString)>,
    /// The folder in which it is started.
    pub folder: PathBuf,
}

/// Starts a program with `input` as its standard input, and blocks for at most `timeout`; then it is killed with all that it
/// has started.
pub fn start_program(program: &NotifiedProgram, input: &[u8], timeout: Duration) -> Delivery {
    let Some((name, arguments)) = program.command.split_first() else {
        return Delivery::Refused("there is no program".to_owned());
    };
    let called = || -> io::Result<(Option<ExitStatus>, String)> {
        let mut given = tempfile::tempfile()?;
        given.write_all(input)?;
        given.rewind()?;
        let mut said = tempfile::tempfile()?;
        let mut child = Command::new(name)
            .args(arguments)
            .envs(program.variables.iter().cloned())
            .current_dir(&program.folder)
            .process_group(0)
            .stdin(given)
            .stdout(Stdio::null())
            .stderr(said.try_clone()?)
            .spawn()?;
        let status = ended(&mut child, Instant::now() + timeout)?;
        Ok((status, read(&mut said)?))
    };
    match called() {
        // A program that is missing is missing the next time, too, but somebody may mend that.
        Err(error) => Delivery::Failed(error.to_string()),
        Ok((Some(status), _)) if status.success() => Delivery::Delivered(status.to_string()),
        Ok((Some(status), said)) if said.is_empty() => Delivery::Failed(status.to_string()),
        Ok((Some(status), said)) => Delivery::Failed(format!("{status}: {said}")),
        Ok((None, _)) => {
            let seconds = timeout.as_secs_f64();
            Delivery::Failed(format!("it did not end within {seconds:.1} s"))
        }
    }
}

/// Waits for the end of a program; `None` if it had to be killed.
fn ended(child: &mut Child, until: Instant) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            kill_process_group(Pid::from_child(child), Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

fn read(said: &mut File) -> io::Result<String> {
    said.rewind()?;
    let mut bytes = Vec::new();
    said.take(MOST_SAID).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}
