//! The queue of a results root: what is to run once there is room, and starting it in processes of their own.

mod change;
mod known;
mod launch;
mod requested;
mod work;

pub use change::{
    AddedRequest, QueuePlace, enqueue, enqueue_once, enqueue_resume, list_queue, move_queued,
    remove_queued,
};
pub use launch::{
    ActiveRuns, DetachedStart, RefusedStart, StartedRun, resume_detached, start_detached,
};
pub use requested::{START_ARGUMENT, run_requested};
pub use work::{NextStart, QueueWork, start_next};
