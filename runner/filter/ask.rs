//! [`Facts`]: what can be known of a trial.

use std::{borrow::Cow, time::Duration};

use serde_json::{Map, Value};

use crate::model::{ErrorClass, Outcome};

/// What is known of a trial that a filter is asked about; `None` is what nobody knows yet.
pub trait Facts {
    /// Its test's id.
    fn test(&self) -> Option<&str>;
    /// Its provider's name.
    fn provider(&self) -> Option<&str>;
    /// Its own id.
    fn trial(&self) -> Option<Cow<'_, str>>;
    /// Its test's tags.
    fn tags(&self) -> Option<&[String]>;
    /// What its test says of itself; `None` where that is not known.
    fn meta(&self) -> Option<&Map<String, Value>>;
    /// What it came to.
    fn came_to(&self) -> Option<CameTo>;
}

/// What a trial came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct CameTo {
    /// `None` for one that has no final row.
    pub outcome: Option<Outcome>,
    /// The class of its error.
    pub error: Option<ErrorClass>,
    /// Whether it passed only after an attempt that did not.
    pub is_flaky: bool,
    /// How long its last attempt took.
    pub duration: Option<Duration>,
}
