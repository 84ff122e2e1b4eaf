//! What goes wrong around a run: processes that die, files that are cut, disks that are full.

mod disk;
mod files;
mod kills;
