//! The queue of a results root: requests that start runs once there is room.

mod change;
mod error;
mod preemption;
mod step;

pub use self::change::{QueuePlace, add, list, move_request, remove};
pub use self::error::QueueError;
pub use self::step::{Step, start, step};
