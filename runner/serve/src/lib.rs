//! `runner serve`: the HTTP API of a results root, its events, and its pages.
//!
//! The server owns no run. It reads the root's files at each request, starts runs as processes of their own, and leaves requests
//! to running ones in files. [`api`] has one table of routes, from which the router and the OpenAPI document are made. Depends on
//! `model`, `scenario`, `record`, `results`, `engine`, `report` and `operations`.
//!
//! Start reading at [`BoundServer`]. A request passes `listener`, then `guard`, which checks it with `access`, and then a call of
//! `api` or `pages`. Programs have a `token`, and browsers a `login`.

mod access;
mod api;
mod body;
mod bound;
mod guard;
mod link_socket;
mod listener;
mod login;
mod pages;
mod server;
mod tables;
mod timed_stream;
mod token;

/// Server-sent events: the progress of a run, and the changes of all runs.
///
/// Nothing is kept for a client. An event's id is a cursor into the files, so a client that reconnects, also to another server,
/// misses nothing. One thread reads a run for all its clients.
mod events {
    mod polled_states;
    mod root;
    mod run;
    mod stream;

    pub(crate) use self::polled_states::PolledStates;
    pub(crate) use self::root::RootWatch;
    pub(crate) use self::run::{RunCursor, RunSnapshot, each_line, follow_run};
    pub(crate) use self::stream::{permits, start};
}

pub use self::api::openapi;
pub use self::bound::BoundServer;
pub use self::link_socket::links;
pub use self::server::{Listen, ServeSettings};
