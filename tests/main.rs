//! Every integration test, in one binary: linking dominates the time to build one.

mod exec;
mod plugins;
mod support;
