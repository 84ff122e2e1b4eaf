//! [`Decision`]: whether a resumed session runs a trial.

/// Whether a resumed session runs a trial, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the trial runs or is judged again.
    pub is_pending: bool,
    /// Reason as a clause, for the user.
    pub why: String,
}
