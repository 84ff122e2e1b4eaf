//! [`send_all`]: notifies receivers at the same time, and repeats failed attempts until a deadline.

use std::{sync::mpsc, thread, time::Duration};

use super::attempt::{Attempt, Deadline};
use super::message::Message;
use super::receiver::{Receiver, Target};
use super::{program, webhook};

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
        match &self.target {
            Target::Webhook(webhook) => {
                webhook::post(webhook, id, &message.body, timeout, deadline)
            }
            Target::Command(command) => program::run(command, message, timeout, deadline),
        }
    }
}
