//! Attempts that graders have still to speak of, and what graders are asked and have said of them.

mod backlog;
mod graded;
mod ungraded;

pub use self::backlog::{Backlog, Unjudged};
pub(in crate::run) use self::{
    backlog::ToJudge,
    graded::{GradedTrial, GraderRole, Graders},
    ungraded::{RejudgedParts, Ungraded, UngradedParts},
};
