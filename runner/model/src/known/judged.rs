//! [`Judged`]: the tests that an entry of a list of known failures was written for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::{Fingerprint, KnownMember, digest};

/// Tests of an entry.
pub const MAX_MEMBERS: usize = 10_000;

/// The tests for which an entry was written: the entry applies to no other test that its globs match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Judged {
    /// Hash of a test and its expectations.
    Test(Fingerprint),
    /// Hash of the id, the test and its expectations for each test, sorted. At most [`MAX_MEMBERS`].
    Tests(Vec<KnownMember>),
}

impl Judged {
    /// Returns the value for these tests, with the fingerprints of the tests and their expectations.
    pub fn of<'t>(tests: impl IntoIterator<Item = (&'t str, Fingerprint)>) -> Self {
        let members = tests.into_iter().map(|(id, judged)| member(id, judged));
        let mut members: Vec<_> = members.collect();
        members.sort_unstable();
        members.dedup();
        Self::Tests(members)
    }

    /// Returns whether this is a list of no tests, which an update fills.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Tests(members) if members.is_empty())
    }

    /// Returns whether the entry was written for a test with this fingerprint.
    pub fn confirms(&self, id: &str, judged: Fingerprint) -> bool {
        match self {
            Self::Test(test) => *test == judged,
            Self::Tests(members) => members.binary_search(&member(id, judged)).is_ok(),
        }
    }
}

fn member(id: &str, judged: Fingerprint) -> KnownMember {
    let Fingerprint(judged) = judged;
    let hash = digest(&[&judged, id.as_bytes()].concat()).0;
    KnownMember([hash[0], hash[1], hash[2], hash[3]])
}
