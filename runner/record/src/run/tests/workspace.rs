//! Saved workspaces.

use std::fs;

use runner_model::tree::Tree;
use runner_model::workspace::{EntryKind, TreeEntry, base_lines};
use runner_model::{Digest, digest};

use super::{LeftFiles, MAX_FOREIGN_BYTES};
use crate::tests::{dead_run, folder};

#[test]
fn foreign_list_names_one_content_in_bounds() {
    let folder = folder();
    let (_, run) = dead_run(folder.path(), 1, 1);
    let file = |path: &'static str| TreeEntry {
        path: path.into(),
        kind: EntryKind::File,
        mode: 0o644,
        bytes: MAX_FOREIGN_BYTES / 2 + 1,
        sha256: Some(digest(b"a")),
        target: None,
    };
    let base = base_lines(&[file("a"), file("b")]);
    let tree = Tree::rebuild(&base, b"").unwrap();
    let left = LeftFiles { run: run.clone(), contents: None::<Digest>, tree };
    let to = folder.path().join("saved");
    // The run is this user's, and lacks the content.
    let error = left.save(&to).unwrap_err().to_string();
    assert!(!error.contains("another key"), "{error}");
    fs::remove_dir_all(&to).unwrap();
    let path = run.path().join("benchmark.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"signature\"", "\"other\"")).unwrap();
    let error = left.save(&to).unwrap_err().to_string();
    assert!(error.contains("1073741826 B, more than the 1073741824 B"), "{error}");
    assert!(error.contains("another key") && error.contains("runner trust"), "{error}");
    assert!(!to.exists());
}
