//! [`Notice`]: what whoever asked for something should know beside the answer.

use std::io;

use crate::record::RunId;

/// What whoever asked for something should know beside the answer. The words for it are the observer's.
#[derive(Debug)]
pub enum Notice<'a> {
    /// Another process was asked to end a run, and has to answer.
    AwaitingEnd {
        /// The run.
        run: &'a RunId,
    },
    /// A request that was answered is still in the run's directory.
    RequestStays {
        /// Why it cannot be taken back.
        error: &'a io::Error,
    },
}
