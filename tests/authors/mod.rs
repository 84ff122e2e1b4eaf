//! Commands for authors of plugins: `plugin new`, `build`, `run`, `inspect` and `doctor`, without language tools.

mod calls;
mod chat;
mod doctor;
mod folders;
