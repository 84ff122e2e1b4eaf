//! Plans of scenarios: read from files or from the run that stores them, and compared with each other.

mod checks;
mod decision;
mod diff;
mod filtering;
pub(crate) mod gate;
mod ids;
mod load;
#[allow(clippy::module_inception, reason = "the folder is named for its main type")]
mod plan;
mod rejudge;
mod rescore_plan;
mod stored;
mod test_line;

pub(crate) use self::checks::{Checks, provider_problems};
pub use self::decision::Decision;
pub(crate) use self::diff::{PlanDiff, changes_since};
pub(crate) use self::filtering::{RowFilter, matching_rows, selected_filter};
pub use self::filtering::{resolve_filter, resolve_filter_in};
pub(crate) use self::load::{load_plan, manifest_providers, metadata, selection};
pub(crate) use self::rejudge::{Place, Rejudge, StoredRow};
pub(crate) use self::rescore_plan::RescorePlan;
pub(crate) use self::stored::{not_passed, stored_plan, tests_of, unreadable, whole_tests};
pub(crate) use self::{ids::Ids, plan::Plan, test_line::TestLine};
