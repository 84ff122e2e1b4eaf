//! [`BuildWatch`]: what goes on between a build and whoever asked for it.

/// What goes on between a build and whoever asked for it.
pub struct BuildWatch<'a> {
    /// Is given every line that the tools print.
    pub on_line: &'a mut dyn FnMut(&str),
    /// Is asked every 50 ms; on `true` the tools are ended, all of them.
    pub is_stopped: &'a dyn Fn() -> bool,
}
