//! Results and what is done with them later: going on, keeping them in order, and reading those of other versions.

mod adopt;
mod attempt_logs;
mod formats;
mod gone_rows;
mod huge_plans;
mod listed;
mod live_logs;
mod many_rows;
mod naming;
mod newer;
mod odd_files;
mod odd_roots;
// A release build has no failpoints, which those need that are behind `debug_assertions`.
#[cfg(debug_assertions)]
mod resume;
#[cfg(debug_assertions)]
mod resume_refused;
#[cfg(debug_assertions)]
mod row_files;
mod sharing;
mod upkeep;
