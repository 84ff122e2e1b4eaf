//! [`send_all`]: notifies receivers at the same time, and repeats failed attempts until a deadline. Programs of `runner.toml`
//! run in the hidden child `__command`.

use std::process::{ExitStatus, Stdio};
use std::{env, io, sync::mpsc, thread, time::Duration};

use runner_model::units::show_duration;
use runner_prepare::children::{describe_exit, memory_file, program};

use super::attempt::{Attempt, Deadline, Message};
use super::receiver::{Receiver, Target};
use super::webhook;

/// Notifies receivers, each with the id of its notification, and calls `each` with the receiver's index after each attempt.
/// Returns once each has been notified, or at the deadline. Calls commands only once.
pub(super) fn send_all(
    receivers: &[(&Receiver, String)],
    message: &Message,
    deadline: &Deadline<'_>,
    mut each: impl FnMut(usize, Attempt),
) {
    let (sender, attempts) = mpsc::channel();
    thread::scope(|scope| {
        for (index, (receiver, id)) in receivers.iter().enumerate() {
            let sender = sender.clone();
            scope.spawn(move || {
                deadline.repeat(receiver.events.timeout, |timeout| {
                    let attempt = match &receiver.target {
                        Target::Webhook(webhook) => {
                            webhook::post(webhook, id, message, timeout, deadline)
                        }
                        Target::Command(command) => {
                            run_program(command, message, timeout, deadline)
                        }
                    };
                    let least = match (&attempt, &receiver.target) {
                        (Attempt::Failed { retry_after, .. }, Target::Webhook(_)) => {
                            Some(retry_after.unwrap_or_default())
                        }
                        _ => None,
                    };
                    let _ = sender.send((index, attempt));
                    least
                });
            });
        }
        drop(sender);
        attempts.into_iter().for_each(|(index, attempt)| each(index, attempt));
    });
}

/// Starts a program with the message as its standard input, and waits for its end. Kills its process group at the deadline, after
/// `timeout` or when this process dies.
fn run_program(
    command: &[String],
    message: &Message,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> Attempt {
    match call(command, message, timeout, deadline) {
        Err(error) => Attempt::failed(format!("cannot start a process: {error}")),
        Ok((Some(status), _)) if status.success() => Attempt::Delivered(status.to_string()),
        Ok((Some(_), end)) => Attempt::failed(end),
        Ok((None, _)) if (deadline.is_over)() => {
            Attempt::failed("killed because the wait for it ended")
        }
        Ok((None, _)) => Attempt::failed(format!(
            "killed because it did not end within {}",
            show_duration(timeout)
        )),
    }
}

/// Returns the exit status and the end of the program's messages. The status is `None` if the program was killed.
fn call(
    command: &[String],
    message: &Message,
    timeout: Duration,
    deadline: &Deadline<'_>,
) -> io::Result<(Option<ExitStatus>, String)> {
    let stderr = memory_file("stderr", b"")?;
    let mut child = program(&["__command"])
        .arg(message.secrets.join(","))
        .args(command)
        .envs(env::vars_os())
        .envs(message.variables.iter().map(|(name, value)| (name, value)))
        .current_dir(&message.folder)
        .stdin(memory_file("stdin", message.body.as_bytes())?)
        .stdout(Stdio::null())
        .stderr(stderr.try_clone()?)
        .spawn()?;
    let status = deadline.wait_for(&mut child, timeout)?;
    let end = status.map_or_else(String::new, |status| describe_exit(status, &stderr));
    Ok((status, end))
}
