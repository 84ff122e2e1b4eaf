//! Results roots with many runs.

use std::path::{Path, PathBuf};

use super::lists::{self, Lists};

/// A results root with this many runs of one trial.
pub(crate) fn many(lists: &mut Lists, root: &str, runs: u64) -> PathBuf {
    lists.write(1);
    let args = ["exec", "1.toml", "--quiet", "--results", root];
    lists::time(&mut lists.program(&args));
    let root = lists.path(root);
    let run = only_run(&root);
    for number in 1..runs {
        copy(&run, &format!("2026-01-01_00-00-00-000-{number:08x}"));
    }
    root
}

/// The run of a results root in which there is one.
pub(crate) fn only_run(root: &Path) -> PathBuf {
    fs_err::read_dir(root)
        .expect("the results root can be read")
        .map(|entry| entry.expect("the results root can be read").path())
        .find(|path| path.join("benchmark.json").exists())
        .expect("there is a run")
}

/// Copies a run, which has no folders, to a run of another name.
pub(crate) fn copy(run: &Path, name: &str) {
    let other = run.with_file_name(name);
    fs_err::create_dir(&other).expect("a folder can be made");
    for entry in fs_err::read_dir(run).expect("a run can be read") {
        let entry = entry.expect("a run can be read");
        fs_err::copy(entry.path(), other.join(entry.file_name())).expect("a file can be copied");
    }
}
