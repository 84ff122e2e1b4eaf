//! [`Decision`]: whether a trial runs in a session, and why.

/// What becomes of a trial in a session that goes on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the trial runs or is judged again.
    pub is_pending: bool,
    /// Why, as a sentence without an end.
    pub why: String,
}
