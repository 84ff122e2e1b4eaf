//! What guests leave.

use runner::model::Artifact;

/// What an artifact holds.
pub(crate) fn content(artifact: &Artifact) -> Vec<u8> {
    let mut bytes = Vec::new();
    artifact.content.write_to(&mut bytes).unwrap();
    bytes
}
