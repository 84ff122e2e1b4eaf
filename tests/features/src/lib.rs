//! Nothing. `Cargo.toml` is all of it: with other packages selected, cargo gives the same dependencies other features, and builds
//! all that depend on them a second time.
