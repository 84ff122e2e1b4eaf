//! [`QueueError`].

use std::{error::Error, fmt};

use runner_model::visible::visible_line;
use runner_record::RecordError;

use crate::settings::SettingsError;

/// Reason why the queue was not changed.
#[derive(Debug)]
pub enum QueueError {
    Record(RecordError),
    /// `runner.toml` has problems.
    Settings(SettingsError),
    /// No request has this id.
    Unknown {
        id: String,
        list: String,
    },
    /// Several requests have this part of an id.
    Ambiguous {
        id: String,
        list: String,
    },
    /// The request is being started, or another one continues its run, in words.
    Held(String),
    /// A request can be moved only before one that waits.
    NotWaiting(String),
    /// The request is of another user. `why` is the end of a sentence about it.
    Foreign {
        id: String,
        why: String,
    },
    /// The user has no key to sign requests with, for this reason.
    NoKey(String),
    /// A request with this id and another body was sent before.
    OtherBody(String),
}

impl Error for QueueError {}

impl fmt::Display for QueueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |id: &str| visible_line(id).into_owned();
        match self {
            Self::Record(error) => error.fmt(out),
            Self::Settings(error) => error.fmt(out),
            Self::Unknown { id, list } => {
                write!(out, "no request matches `{}`\nlist all requests: {list}", shown(id))
            }
            Self::Ambiguous { id, list } => {
                write!(out, "`{}` matches several requests\nlist all requests: {list}", shown(id))
            }
            Self::Held(problem) => out.write_str(problem),
            Self::NotWaiting(id) => {
                write!(out, "request {} does not wait; name a request that waits", shown(id))
            }
            Self::OtherBody(id) => write!(
                out,
                "request {} was sent before, with another body\nchoose another id, or send the same body",
                shown(id)
            ),
            Self::Foreign { id, why } => write!(out, "request {} {}", shown(id), shown(why)),
            Self::NoKey(problem) => {
                write!(out, "the queue starts only requests that your key has signed: {problem}")
            }
        }
    }
}

impl From<RecordError> for QueueError {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}
