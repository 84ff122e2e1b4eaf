//! What will run: a [`Plan`] is made of a scenario or of what a run has stored, and knows its digest.

mod adopt;
mod canonical;
mod ceiling;
mod divided;
mod error;
mod fingerprint;
mod first_recipe;
mod granted;
mod handed;
mod live;
mod machine;
mod names;
mod new_run;
mod planned;
mod sharing;
mod stored;
mod threads;

pub use self::{
    adopt::{AdoptError, PlanChanges},
    ceiling::set_limits,
    divided::DividedPlan,
    error::{PlanError, ProviderError},
    granted::{check_scenario, read_for_validation},
    live::idle_graders,
    machine::{NoRoom, Reduced},
    names::TrialNames,
    planned::{Plan, larger_budgets},
    sharing::LeftToOthers,
    stored::StoredError,
};
pub(super) use self::{
    fingerprint::{Fingerprints, of_grader, of_question},
    handed::HandedPlan,
    names::open_stored_suite,
    planned::{PlannedGrader, PlannedProvider, Staffing},
};
