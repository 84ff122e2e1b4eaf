//! What a trial costs.

fn main() {}
