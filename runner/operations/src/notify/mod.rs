//! Notifications: messages to the receivers of `[notify]` when a run ends or takes long.
//!
//! No file lists the notifications that are left. They are derived from the run's manifest, the receivers of its scenario
//! and of `runner.toml`, and the attempts in its `notifications.jsonl`. So the death of a process loses none.

mod attempt;
mod left;
mod message;
mod program;
mod receiver;
mod recent;
mod send;
mod signature;
mod webhook;

pub use attempt::Deadline;
pub use left::{RunNotifications, SendScope};
pub use receiver::{Receiver, Receivers};
pub use recent::{unsent, visit_recent};
