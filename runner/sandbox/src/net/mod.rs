//! HTTP requests of guests. `request` decides on each request, whichever interface it uses;
//! `policy` knows the grants, and `connect` connects only to addresses that `policy` allows.

mod address;
mod connect;
mod failure;
#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing/requests.rs"]
pub(crate) mod fuzzing;
mod headers;
mod network;
mod policy;
mod post;
mod request;
mod response;
mod retry_after;
mod traffic;
pub(crate) mod wasi;
mod wire;

pub(crate) use self::request::Outbound;
pub use self::{connect::load_certificates, network::Network, post::post};

#[cfg(test)]
mod tests;
