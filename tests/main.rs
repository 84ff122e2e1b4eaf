//! Every integration test, in one binary: linking dominates the time to build one.

mod bad_input;
mod exec;
mod outcomes;
mod plugins;
mod scenarios;
mod schedule;
mod schemas;
mod stop;
mod support;
mod tidy;
