//! [`Observe`]: who sees what a use case does.

use super::{Begin, GroupConclusion, GroupMember, NothingLeft, Notice};
use crate::{record::Conclusion, run, toolchain::Source};

/// Sees what a use case does, as it happens. A terminal, a stream of events, a file and a server are observers, and none
/// of them knows of another.
///
/// Of a session of this process it sees first notices, then its beginning, events, and its conclusion; of one that cannot
/// begin it sees notices alone.
pub trait Observe {
    /// Something that whoever asked should know, and that changes nothing.
    fn notice(&mut self, notice: &Notice<'_>);

    /// A session has begun: from here on its run can be listed and stopped.
    fn begin(&mut self, _begin: &Begin<'_>) {}

    /// Something happens in a session that has begun.
    fn event(&mut self, _event: &run::Event<'_>) {}

    /// A run was to be gone on with, and needs nothing more.
    fn nothing_left(&mut self, _left: &NothingLeft<'_>) {}

    /// A session that has begun is over, and its end is written down.
    fn conclude(&mut self, _conclusion: &Conclusion) {}

    /// The next run of a group is about to begin.
    fn member(&mut self, _member: &GroupMember<'_>) {}

    /// A group of runs is over.
    fn group(&mut self, _group: &GroupConclusion) {}

    /// Asks whether a plugin's build tools may run, outside the sandbox. Only a person can say so, never a scenario.
    fn may_build(&mut self, _source: &Source) -> bool {
        false
    }
}
