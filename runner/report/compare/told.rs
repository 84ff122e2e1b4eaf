//! Which cases are told one by one.

use crate::view::CaseClass;

/// The classes whose cases are told one by one.
pub(super) const TOLD: [CaseClass; 7] = [
    CaseClass::Regressed,
    CaseClass::Fixed,
    CaseClass::StillFailing,
    CaseClass::Flaky,
    CaseClass::NotJudged,
    CaseClass::New,
    CaseClass::Gone,
];
