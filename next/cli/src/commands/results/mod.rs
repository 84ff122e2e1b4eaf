//! Commands about results of trials, and the texts of their answers.

pub mod compare;
pub mod history;
pub mod merge;
pub mod trial;
