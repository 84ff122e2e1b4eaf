//! How much may pass between a guest and the host in one call.

/// Bytes that any guest may hand over, or be handed, in one call: the host has a copy of them.
pub(in crate::plugin) const MAX_HANDOVER: u64 = 32 * 1024 * 1024;
/// The same for a command that is a component, whose texts become up to twice as long on the way and are copied again; its
/// files are written through streams, a part at a time.
pub(in crate::plugin) const MAX_COMPONENT_HANDOVER: u64 = 8 * 1024 * 1024;
/// What the canonical ABI needs for itself on top of a reply's own bytes.
pub(in crate::plugin) const HANDOVER_MARGIN: u64 = 64 * 1024;
