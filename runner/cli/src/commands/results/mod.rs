//! Commands about results of trials, the ends of runs and the queue, and the texts of their answers.

pub mod compare;
pub mod history;
pub mod merge;
pub mod notify;
pub mod queue;
pub mod trial;
