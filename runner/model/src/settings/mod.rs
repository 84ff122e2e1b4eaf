//! Settings of sessions and reports, and values of a command line that replace those of a scenario.

mod form;
mod gate;
mod overrides;
mod session;
mod shard;

pub use form::Form;
pub use gate::{Gate, GateCondition, GateResult, GateRule, GateScope, MAX_WEIGHT};
pub use overrides::{LimitBound, ScenarioOverrides, SetVars};
pub use session::{BudgetName, Budgets, FailFast, SessionOverrides, SessionSettings};
pub use shard::{MAX_SHARDS, Shard};
