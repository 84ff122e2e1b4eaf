//! Every integration test, in one binary: linking dominates the time to build one.

mod plugins;
mod scenarios;
mod support;
mod upkeep;
