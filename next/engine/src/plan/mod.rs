//! Plans of scenarios: read from files or from the run that stores them, and compared with each other.

mod checks;
mod decision;
mod diff;
mod ids;
mod load;
#[allow(clippy::module_inception, reason = "the folder is named for its main type")]
mod plan;
mod rejudge;
mod stored;
mod test_line;

pub use self::decision::Decision;
pub(crate) use self::{
    checks::Checks,
    diff::{PlanDiff, changes_since},
    ids::Ids,
    load::{load_plan, manifest_providers, metadata, selection},
    plan::Plan,
    rejudge::{JudgedRow, Rejudge},
    stored::{not_passed, stored_plan, tests_of, unreadable},
    test_line::TestLine,
};
