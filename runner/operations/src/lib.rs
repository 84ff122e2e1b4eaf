//! The queue, notifications and upkeep of a results root: for `queue work`, `notify`, `serve` and the end of a session.
//!
//! Starts runs as processes of their own, and changes a root only through `record`. Depends on `model`, `prepare`,
//! `record`, `report` and `scenario`. Read `launch.rs` first.

pub mod launch;
pub mod preview;
pub mod settings;
pub mod upkeep;

/// Notifications: messages to the receivers of `[notify]` when a run ends or takes long.
///
/// No file lists the notifications that are left. They are derived from the run's manifest, the receivers of its scenario
/// and of `runner.toml`, and the attempts in its `notifications.jsonl`. So the death of a process loses none.
pub mod notify {
    mod attempt;
    mod left;
    mod receiver;
    mod recent;
    mod send;
    mod webhook;

    pub use self::attempt::Deadline;
    pub use self::left::{RunNotifications, SendScope};
    pub use self::receiver::{Receiver, Receivers};
    pub use self::recent::{unsent, visit_recent};
}

/// The queue of a results root: requests that start runs once there is room.
pub mod queue {
    mod change;
    mod error;
    mod preemption;
    mod step;

    pub use self::change::{QueuePlace, add, list, move_request, remove, restore};
    pub use self::error::QueueError;
    pub use self::preemption::continue_preempted;
    pub use self::step::{Step, start, step};
}
