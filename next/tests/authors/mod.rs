//! What authors of plugins type: `plugin new`, `build`, `run`, `inspect` and `doctor`, without the tools of a language.

mod calls;
mod folders;
