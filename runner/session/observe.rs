//! [`Observe`]: who sees what a use case does.

use super::Notice;

/// Sees what a use case does, as it happens. A terminal, a stream of events, a file and a server are observers, and none
/// of them knows of another.
pub trait Observe {
    /// Something that whoever asked should know, and that changes nothing.
    fn notice(&mut self, notice: &Notice<'_>);
}
