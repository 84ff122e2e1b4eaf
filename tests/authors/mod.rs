//! Commands for authors of plugins: `plugin new`, `build`, `run`, `inspect` and `doctor`, without language tools.

mod agent;
mod calls;
mod chat;
mod development;
mod doctor;
mod folders;
