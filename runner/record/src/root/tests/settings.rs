//! Settings that other users could have written.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::SettingsFile;
use crate::{ResultsRoot, tests::folder};

#[test]
fn settings_count_only_if_others_cannot_write_them() {
    let folder = folder();
    let path = folder.path().join("results");
    assert_eq!(ResultsRoot::existing(&path).unwrap().settings().unwrap(), SettingsFile::Absent);
    let root = ResultsRoot::open(&path).unwrap();
    assert_eq!(root.settings().unwrap(), SettingsFile::Absent);
    let file = path.join("runner.toml");
    fs::write(&file, "x = 1").unwrap();
    let SettingsFile::Unconfirmed { text, why, .. } = root.settings().unwrap() else {
        panic!("settings count without a confirmation");
    };
    assert!(text == "x = 1" && why.contains("runner trust"), "{why}");
    for open in [&file, &path] {
        let mode = fs::metadata(open).unwrap().permissions();
        fs::set_permissions(open, fs::Permissions::from_mode(0o777)).unwrap();
        let SettingsFile::Ignored(why) = root.settings().unwrap() else {
            panic!("{open:?} counts");
        };
        let shown = open.canonicalize().unwrap();
        assert!(why.contains(&format!("chmod go-w {}", shown.display())), "{why}");
        fs::set_permissions(open, mode).unwrap();
    }
    let SettingsFile::Unconfirmed { text, why, .. } = root.settings().unwrap() else {
        panic!("settings count without a confirmation");
    };
    assert!(text == "x = 1" && why.contains("runner trust"), "{why}");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
    assert!(root.settings().unwrap_err().to_string().contains("symbolic link"));
    // Another user has placed it, and it must not stop this one.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(root.settings().unwrap(), SettingsFile::Ignored(_)));
}
