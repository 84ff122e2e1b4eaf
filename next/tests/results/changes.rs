//! What is new since the previous run of a scenario.
