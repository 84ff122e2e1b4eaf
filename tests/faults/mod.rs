//! Whatever may happen to a run: deaths of its process, disks that are full or gone, a machine that has nothing left, and everybody at once.

// A release build has no failpoints, which those need that are behind `debug_assertions`.
#[cfg(debug_assertions)]
mod crash;
mod machine;
mod ownership;
mod poison;
#[cfg(debug_assertions)]
mod power_loss;
mod random_kills;
mod storm;
mod suspended;
mod watchdog;
