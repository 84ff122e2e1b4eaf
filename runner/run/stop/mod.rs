//! How a stop reaches a session: requests and signals become values, and a watchdog sees that it is over in time.

mod bounds;
mod pauses;
mod request;
mod signals;
mod watchdog;

pub(super) use self::bounds::unanswered;
pub use self::{
    pauses::{PauseNews, Pauses},
    request::{Cause, StopRequest},
    signals::StopSignals,
    watchdog::{Overdue, OverdueAction, Watchdog, WatchdogSettings},
};
