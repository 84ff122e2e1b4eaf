//! The scheduler. It has no clock and no I/O, so tests can run it through any sequence of events.
//!
//! Start reading at [`Schedule::apply`]. A trial leaves its lane (`lanes`, `rates`) and is sent to a worker with room
//! (`window`, `memory`). Its report settles it or puts it back (`retries`). Deaths of workers are in `suspects`, early ends in
//! `stopping` and `budgets`.

mod budgets;
mod effect;
mod lanes;
mod memory;
mod rates;
mod retries;
#[allow(clippy::module_inception, reason = "the folder is named for its main type")]
mod schedule;
mod settings;
mod stop_state;
mod stopping;
mod suspects;
mod window;

pub use self::effect::{Assignment, Blame, Effect, LostReason, StopMode, Waiting};
pub use self::settings::{Bounds, Pending, Policy, ScheduleSettings, Trials};
pub use self::{budgets::Spending, schedule::Schedule};

#[cfg(test)]
#[path = "../tests/schedule_bounds.rs"]
mod bounds;
#[cfg(test)]
#[path = "../tests/schedule_graders.rs"]
mod graders;
#[cfg(test)]
#[path = "../tests/schedule_harness.rs"]
mod harness;
#[cfg(test)]
#[path = "../tests/schedule_random.rs"]
mod random;
#[cfg(test)]
#[path = "../tests/schedule.rs"]
mod tests;
