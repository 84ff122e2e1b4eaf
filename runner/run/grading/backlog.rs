//! [`Backlog`]: attempts that are on disk and are to be judged, one after the other, as graders keep up.

use std::io;

use super::{graded::GradedTrial, ungraded::Ungraded};
use crate::record::{JudgementEntry, Row};

/// Attempts that are on disk and are to be judged. An item without one says that more is to be looked through.
pub type Backlog = Box<dyn Iterator<Item = io::Result<Option<Unjudged>>>>;

/// An attempt that is on disk and is to be judged.
pub struct Unjudged(pub(in crate::run) ToJudge);

/// What is left to be done for a judgement.
pub(in crate::run) enum ToJudge {
    /// It is there; the row is as it was written.
    Judged(Box<JudgementEntry>, Box<Row<'static>>),
    /// Graders have still to speak.
    ToGrade(Box<GradedTrial>),
}

impl Unjudged {
    /// One of which graders have still to speak.
    pub(in crate::run) fn ungraded(ungraded: Ungraded) -> Self {
        Self(ToJudge::ToGrade(Box::new(GradedTrial::new(ungraded))))
    }
}
