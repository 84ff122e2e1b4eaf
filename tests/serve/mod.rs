//! The server, the queue, notifications and labels.

mod access;
mod actions;
mod duties;
mod events;
mod labels;
mod live;
mod matrix;
mod notify;
mod queue;
mod reading;
mod transcripts;
