//! [`By`]: who asked for something, as it is written.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{self, InstantSchema};
use crate::model::Actor;

/// Who asked for something from another process, when, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct By {
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's number.
    pub uid: u32,
    /// The host that the process was on.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When.
    #[serde(with = "words::instant")]
    #[schemars(with = "InstantSchema")]
    pub at: Timestamp,
    /// Why, in the user's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl From<&Actor> for By {
    fn from(actor: &Actor) -> Self {
        Self {
            user: actor.user.clone(),
            uid: actor.uid,
            host: actor.host.clone(),
            pid: actor.pid,
            // As it is written, so that what is read back is equal.
            at: Timestamp::from_millisecond(actor.at.as_millisecond()).unwrap_or(actor.at),
            text: actor.text.clone(),
        }
    }
}

impl From<By> for Actor {
    fn from(by: By) -> Self {
        Self {
            user: by.user,
            uid: by.uid,
            host: by.host,
            pid: by.pid,
            at: by.at,
            text: by.text,
        }
    }
}
