//! `runner serve`: its API, its events, and who may ask what.

mod access;
mod actions;
mod client;
mod events;
mod queue;
mod reading;
