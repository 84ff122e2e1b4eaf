//! [`PostRequest`]: the document of a webhook, for the hidden child that posts it.

use serde::{Deserialize, Serialize};

use crate::Micros;

/// A document and its address. Sent as JSON. It has no debug text, because address and headers may be secrets.
#[derive(Serialize, Deserialize)]
pub struct PostRequest {
    /// An address of `https` or `http`.
    pub url: String,
    /// Whether the host may have an address that is not public.
    pub private: bool,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub timeout: Micros,
}
