//! The HTTP requests of guests, whichever interface they come by, under their provider's grants.
//!
//! A request is admitted by its URL before anything leaves ([`policy`]), and again by the address that its host turns
//! out to have ([`connect`]), which is the one that is connected to. Redirects are returned and not followed, proxies
//! of the environment are not used, nothing is stored and nothing is decompressed.

mod address;
mod connect;
mod failure;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
mod headers;
pub(super) mod network;
pub(super) mod outbound;
mod policy;
mod response;
mod send;
mod traffic;
pub(super) mod unsent;
mod wasi;
mod wire;

#[cfg(test)]
mod tests;
