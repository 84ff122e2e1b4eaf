//! `runner serve`: the HTTP API of a results root, its events, and its pages.
//!
//! The server owns no run. It reads the root's files at each request, starts runs as processes of their own, and leaves requests
//! to running ones in files. [`api`] has one table of routes, from which the router and the OpenAPI document are made. Depends on
//! `model`, `scenario`, `record`, `engine`, `report` and `operations`. Start reading at `api/mod.rs`.

mod access;
mod api;
mod background;
mod body;
mod bound;
mod connections;
mod events;
mod guard;
mod indexes;
mod link_socket;
mod listener;
mod login;
mod memory;
mod pages;
mod server;
mod settings;
mod timed_stream;
mod token;

pub use self::api::openapi;
pub use self::bound::BoundServer;
pub use self::link_socket::links;
pub use self::settings::{Listen, ServeError, ServeSettings};
