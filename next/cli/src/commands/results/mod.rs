//! Commands about results of trials and the ends of runs, and the texts of their answers.

pub mod compare;
pub mod history;
pub mod merge;
pub mod notify;
pub mod trial;
