//! [`Notices`]: what a use case has to say beside its answer, for people.

use super::Output;
use crate::session::{Notice, Observe};

/// Says what a use case has to say, and sees nothing else of it.
pub struct Notices(pub Output);

impl Observe for Notices {
    fn notice(&mut self, notice: &Notice<'_>) {
        tell(notice, &self.0);
    }
}

/// Says one thing.
pub(super) fn tell(notice: &Notice<'_>, output: &Output) {
    match notice {
        Notice::AwaitingEnd { run } => output.talk(&format!("waiting for {run} to end")),
        Notice::RequestStays { error } => {
            output.warn(&format!("the request cannot be taken back: {error}"));
        }
    }
}
