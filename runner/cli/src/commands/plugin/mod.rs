//! `runner plugin`: the commands for authors of plugins.

pub mod build;
pub mod doctor;
pub mod inspect;
pub mod new;
mod provider;
pub mod run;
