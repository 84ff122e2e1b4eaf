//! Scenarios with mistakes, and what is said of them.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::{Problems, Scenario, Selection, Suite, load, resolve};

/// A folder with these files, and `x.wasm`, which a provider can name.
pub(crate) fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("x.wasm", "")].iter().chain(files) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub(crate) fn suite_of(
    scenario: &Path,
    selection: &Selection,
) -> Result<(Scenario, Suite), Problems> {
    let scenario = load(scenario)?;
    let suite = resolve(&scenario, selection, &mut tempfile::tempfile().unwrap())?;
    Ok((scenario, suite))
}

/// What is said of a scenario, with the folder's path left out.
fn said(files: &[(&str, &str)]) -> String {
    let folder = folder(files);
    let path = folder.path().join("s.toml");
    let problems = suite_of(&path, &Selection::default()).unwrap_err();
    let text = problems.render(false, 100);
    let root = format!("{}/", folder.path().display());
    text.replace(&root, "")
        .replace(&*folder.path().to_string_lossy(), "FOLDER")
}

#[test]
fn suggestions_name_what_was_meant() {
    let text = said(&[(
        "s.toml",
        "nam = 'x'\nproviders.p.plugin = 'x.wasm'\ntests = [{ id = 'a' }]\n",
    )]);
    assert_eq!(
        text,
        "error: unknown key `nam`\n --> s.toml:1:1\n  |\n1 | nam = 'x'\n  | ^^^ unknown\n  |\n  = help: did you mean `name`?\n"
    );
}
