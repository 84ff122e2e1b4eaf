//! [`Fingerprint`]: what decides a trial's result.

use super::Digest;

/// What decides a trial's result, in two parts, because a result can be judged again without another execution.
///
/// Neither part depends on a path, a time, or how many attempts run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of what decides what the provider does: its plugin, configuration, invocation, limits and grants, the test's id,
    /// input, tags and files, and the seed.
    pub execution: Digest,
    /// Of what decides what that means: the test's expectations.
    pub judgement: Digest,
}
