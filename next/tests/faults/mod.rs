//! What goes wrong around a run: processes that die, files that are cut, disks that are full.

mod beside;
mod disk;
mod failpoints;
mod files;
mod kills;
mod lies;
mod power;
