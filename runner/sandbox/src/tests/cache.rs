//! Which folders and files count as ours.

use std::{
    fs,
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use super::{open_file, open_private, path_of};

fn reason(folder: &Path) -> String {
    open_private(folder).unwrap_err().to_string()
}

#[test]
fn private_folder_has_private_ancestors() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    let set = |name: &str, mode: u32| {
        fs::set_permissions(place(name), Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(place("above/cache")).unwrap();
    set("above/cache", 0o700);
    open_private(&place("above/cache")).unwrap();

    for mode in [0o775, 0o757, 0o777] {
        set("above", mode);
        assert!(reason(&place("above/cache")).contains("above it can be written to"));
    }
    set("above", 0o1777);
    open_private(&place("above/cache")).unwrap();
    set("above/cache", 0o1777);
    assert!(reason(&place("above/cache")).contains("chmod go-w"));
    set("above/cache", 0o700);

    symlink(place("above/cache"), place("link")).unwrap();
    open_private(&place("link")).unwrap();
    set("above", 0o777);
    assert!(reason(&place("link")).contains("above it can be written to"));
}

#[test]
fn folder_replaced_after_its_check_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| root.path().join(name);
    for (name, content) in [("cache", "ours"), ("other", "theirs")] {
        fs::create_dir(place(name)).unwrap();
        fs::write(place(name).join("a"), content).unwrap();
    }
    let folder = open_private(&place("cache")).unwrap();
    fs::rename(place("cache"), place("away")).unwrap();
    fs::rename(place("other"), place("cache")).unwrap();
    let file = open_file(&folder, "a").unwrap();
    fs::remove_file(place("away/a")).unwrap();
    fs::write(place("away/a"), "theirs").unwrap();
    assert_eq!(fs::read_to_string(path_of(&file)).unwrap(), "ours");
}

#[test]
fn files_of_another_user_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let cache = root.path().join("above/cache");
    fs::create_dir_all(&cache).unwrap();
    let give = |path: &Path, user| std::os::unix::fs::chown(path, Some(user), None).unwrap();
    fs::write(cache.join("a"), "x").unwrap();
    give(&cache.join("a"), 12_345);
    open_file(&open_private(&cache).unwrap(), "a").unwrap_err();
    give(&cache, 12_345);
    assert!(reason(&cache).contains("belongs to another user"));
    give(&cache, 0);
    give(&root.path().join("above"), 12_345);
    assert!(reason(&cache).contains("above it belongs to another user"));
}

#[test]
fn file_that_others_can_write_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_private(root.path()).unwrap();
    let path = root.path().join("a");
    fs::write(&path, "x").unwrap();
    open_file(&folder, "a").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    open_file(&folder, "a").unwrap_err();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    symlink(&path, root.path().join("link")).unwrap();
    open_file(&folder, "link").unwrap_err();
    open_file(&folder, ".").unwrap_err();
}
