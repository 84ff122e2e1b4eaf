//! [`send_all`]: notifies receivers at the same time, and repeats failed attempts until a deadline.

use std::{ffi::OsString, path::PathBuf, sync::mpsc, thread, time::Duration};

use super::attempt::{Attempt, Deadline};
use super::receiver::{Receiver, Target};
use super::{program, webhook};

/// A notification and its context.
pub(super) struct Message {
    /// A JSON document.
    pub(super) body: String,
    /// Working folder of commands.
    pub(super) folder: PathBuf,
    /// Environment variables of commands.
    pub(super) variables: Vec<(&'static str, OsString)>,
}

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
                    let attempt = receiver.attempt(id, message, timeout, deadline);
                    let is_failed = matches!(attempt, Attempt::Failed(_));
                    let _ = sender.send((index, attempt));
                    is_failed && matches!(receiver.target, Target::Webhook(_))
                });
            });
        }
        drop(sender);
        attempts.into_iter().for_each(|(index, attempt)| each(index, attempt));
    });
}

impl Receiver {
    fn attempt(
        &self,
        id: &str,
        message: &Message,
        timeout: Duration,
        deadline: &Deadline<'_>,
    ) -> Attempt {
        let Message { body, folder, variables } = message;
        match &self.target {
            Target::Webhook(webhook) => webhook::post(webhook, id, body, timeout, deadline),
            Target::Command(command) => {
                program::run(command, folder, variables, body, timeout, deadline)
            }
        }
    }
}
