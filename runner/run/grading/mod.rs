//! Attempts that graders have still to speak of, and what graders are asked and have said of them.

mod graded;
mod ungraded;

pub(in crate::run) use self::{
    graded::{GradedTrial, GraderRole, Graders},
    ungraded::{Ungraded, UngradedParts},
};
