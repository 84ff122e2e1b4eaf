//! What an attempt comes to: by when it must have ended, how its evidence is judged, and what is said of one that nobody
//! made to its end.

mod deadline;
mod judged;
mod rehearsal;
mod stored_evidence;
pub(super) mod unfinished;

pub(super) use self::{
    deadline::Budget,
    judged::judged,
    unfinished::{AttemptIdentity, Deaths, STOPPED, given_up, lost, poisoned},
};
pub use self::{
    rehearsal::{Rehearsal, Rehearsed},
    stored_evidence::{NotEnough, StoredEvidence},
};
