//! Every integration test, in one binary: linking dominates the time to build one.

#![expect(
    clippy::unwrap_used,
    reason = "a test that unwraps fails, as it should"
)]

mod adopt;
mod background;
mod bad_input;
mod bad_plugins;
mod bundled;
mod circles;
mod commands;
mod contracts;
mod control;
// A release build has no failpoints, which those below need that are behind `debug_assertions`.
#[cfg(debug_assertions)]
mod crash;
mod docs;
mod documents;
mod dry_runs;
mod embedded;
mod engine;
mod exec;
mod folders;
mod formats;
mod grants;
#[cfg(target_os = "linux")]
mod host_bounds;
mod machine;
mod new_plugins;
mod newer;
mod odd_roots;
mod outcomes;
mod output;
mod ownership;
mod plugin_bombs;
mod plugin_commands;
mod plugin_schemas;
mod poison;
#[cfg(debug_assertions)]
mod power_loss;
mod printed;
mod random_kills;
mod reference;
#[cfg(debug_assertions)]
mod resume;
#[cfg(debug_assertions)]
mod resume_refused;
mod retries;
mod reuse;
mod sandbox;
mod scenarios;
mod schedule;
mod schemas;
mod screens;
mod selection;
mod sharing;
mod stop;
mod storm;
mod support;
mod surroundings;
mod suspended;
mod terminal;
mod tidy;
mod upkeep;
mod watchdog;
mod ways_out;
