//! Manifests that another program may have written.

use super::Manifest;

/// The input is not a manifest, or it is written as it was read, and its counts have a sum.
pub fn manifests(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let manifest = match Manifest::parse(text, "run") {
        Ok(manifest) => manifest,
        Err(problem) => return assert!(!problem.is_empty()),
    };
    let written = serde_json::to_string(&manifest).expect("a manifest can be written as JSON");
    let again = Manifest::parse(&written, "run").expect("a written manifest can be read");
    assert_eq!(again, manifest);
    assert!(manifest.counts.done() >= manifest.counts.bad());
}
