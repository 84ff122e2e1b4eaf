//! Runs from their beginning to their end: which trials, when and how often, what each comes to, and how a run is stopped.

mod background;
mod bad_input;
mod budgets;
mod commands;
mod control;
mod dry_runs;
mod exec;
mod filters;
mod graders;
mod groups;
mod matrix;
mod meta;
mod outcomes;
mod pauses;
mod queue;
mod regrading;
mod rescore;
mod retries;
mod reuse;
mod schedule;
mod selection;
mod sharing;
mod stop;
mod surroundings;
mod waits;
mod workers;
