//! Settings of sessions, and values of a command line that replace those of a scenario.

mod gate;
mod overrides;
mod session;

pub use gate::{Gate, GateCondition, GateResult, GateRule, GateScope};
pub use overrides::{LimitBound, ScenarioOverrides, SetVars};
pub use session::{BudgetName, Budgets, FailFast, SessionOverrides, SessionSettings};
