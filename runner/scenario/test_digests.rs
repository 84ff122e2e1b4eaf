//! What of a test decides results, as hashes.

use sha2::{Digest as _, Sha256};

use crate::model::Digest;

/// Begins the preimage of every judgement's fingerprint; another number, another recipe.
const JUDGEMENT: &[u8] = b"runner-judgement-1\0";

/// Hashes what decides what a provider does: id, input, tags and files, the last three as JSON.
pub(super) fn execution_digest(parts: [&str; 4]) -> Digest {
    let mut hasher = Sha256::new();
    // Neither an id nor JSON text has a newline in it.
    for part in parts {
        hasher.update(part);
        hasher.update("\n");
    }
    Digest::finish(hasher)
}

/// Hashes an expectation, in which a schema is its digest.
pub(super) fn judgement_digest(expect: &str) -> Digest {
    let hasher = Sha256::new().chain_update(JUDGEMENT).chain_update(expect);
    Digest::finish(hasher)
}

/// Hashes a judgement that a reference is part of.
pub(super) fn with_reference(judgement: Digest, reference: &str) -> Digest {
    let hasher = Sha256::new()
        .chain_update(judgement.as_bytes())
        .chain_update(reference);
    Digest::finish(hasher)
}
