//! [`Delivery`]: what came of an attempt to tell somebody.

/// What came of an attempt to tell somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It has arrived; what was answered.
    Delivered(String),
    /// It was not wanted, or can never arrive: to try again changes nothing.
    Refused(String),
    /// It has not arrived, and perhaps does the next time.
    Failed(String),
}
