//! Who asked for something.

use std::fmt;

use jiff::Timestamp;

/// Somebody who asked a run to stop from another process: who, when and why. Signals do not tell who sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The user's name; a system may have none for a number.
    pub user: Option<String>,
    /// The user's number.
    pub uid: u32,
    /// The host that the process was on.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
    /// Why, in the user's own words.
    pub text: Option<String>,
}

/// `anna@host: disk needed`.
impl fmt::Display for Actor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(formatter, "{user}@{}", self.host)?,
            None => write!(formatter, "uid {}@{}", self.uid, self.host)?,
        }
        match &self.text {
            Some(text) => write!(formatter, ": {text}"),
            None => Ok(()),
        }
    }
}
