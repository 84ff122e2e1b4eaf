//! Folders that other users can write to.

use std::{
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use super::PluginCache;
use crate::tests::folder;

#[test]
fn entries_are_kept_and_replaced() {
    let folder = folder();
    let path = folder.path().join("a/cache");
    let cache = PluginCache::open_at(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    assert!(cache.path().is_absolute());
    assert_eq!(cache.read("entry"), None);
    for text in [b"one", b"two"] {
        let mut draft = cache.draft().unwrap();
        draft.write_all(text).unwrap();
        cache.keep(draft, "entry").unwrap();
        assert_eq!(cache.read("entry").as_deref(), Some(&text[..]));
    }
    let entry = fs::metadata(path.join("entry")).unwrap();
    assert_eq!(entry.mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
    symlink("entry", path.join("link")).unwrap();
    assert_eq!(cache.read("link"), None);
}

#[test]
fn cache_that_others_can_write_is_refused() {
    let folder = folder();
    for (outer, inner, is_fine) in [
        (0o755, 0o755, true),
        (0o777, 0o700, false),
        (0o1777, 0o700, true),
        (0o770, 0o700, false),
        (0o700, 0o720, false),
        (0o700, 0o1777, false),
    ] {
        let path = folder.path().join(format!("{outer:o}-{inner:o}/cache"));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(inner)).unwrap();
        fs::set_permissions(path.parent().unwrap(), Permissions::from_mode(outer)).unwrap();
        let opened = PluginCache::open_at(&path);
        assert_eq!(opened.is_ok(), is_fine, "{outer:o} {inner:o}: {opened:?}");
        if let Err(error) = opened {
            let error = error.to_string();
            assert!(error.contains("chmod go-w") && error.contains("RUNNER_CACHE"), "{error}");
        }
    }
}
