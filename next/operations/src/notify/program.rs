//! [`run`]: one call of a program of `runner.toml`.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::{io, os::unix::process::CommandExt as _, time::Duration};

use runner_model::units::show_duration;
use runner_model::visible::visible_line;
use runner_prepare::children::{describe_exit, memory_file};

use super::attempt::{Attempt, Deadline};

/// Starts a program in `folder`, with `input` as its standard input, and waits for its end. Kills its process group at the
/// deadline or after `timeout`.
pub(super) fn run(
    command: &[String],
    folder: &Path,
    variables: &[(&str, OsString)],
    input: &str,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> Attempt {
    match call(command, folder, variables, input, timeout, deadline) {
        Err(error) => {
            Attempt::Failed(format!("cannot start `{}`: {error}", visible_line(&command[0])))
        }
        Ok((Some(status), _)) if status.success() => Attempt::Delivered(status.to_string()),
        Ok((Some(_), end)) => Attempt::Failed(end),
        Ok((None, _)) if (deadline.is_over)() => {
            Attempt::Failed("killed, as the wait for it was ended".to_owned())
        }
        Ok((None, _)) => Attempt::Failed(format!(
            "killed because it did not end within {}",
            show_duration(timeout)
        )),
    }
}

/// Returns the exit status, with the end of the program's messages. `None` if it had to be killed.
fn call(
    command: &[String],
    folder: &Path,
    variables: &[(&str, OsString)],
    input: &str,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> io::Result<(Option<ExitStatus>, String)> {
    let stderr = memory_file("stderr", b"")?;
    let mut child = Command::new(&command[0])
        .args(&command[1..])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(folder)
        .process_group(0)
        .stdin(memory_file("stdin", input.as_bytes())?)
        .stdout(Stdio::null())
        .stderr(stderr.try_clone()?)
        .spawn()?;
    let status = deadline.wait_for(&mut child, timeout)?;
    let end = status.map_or_else(String::new, |status| describe_exit(status, &stderr));
    Ok((status, end))
}
