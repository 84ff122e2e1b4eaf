//! `runner serve`: its API, its events, and who may ask what.

mod access;
mod actions;
mod client;
mod contract;
mod events;
mod load;
mod queue;
mod reading;
mod writes;
