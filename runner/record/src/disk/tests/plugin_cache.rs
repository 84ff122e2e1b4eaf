//! Folders that other users can write to.

use std::{
    fs::{self, FileTimes, Permissions},
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use runner_model::digest;

use super::PluginCache;
use crate::{disk::fault::now, tests::folder};

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
fn unused_plugins_leave_the_cache() {
    let folder = folder();
    let cache = PluginCache::open_at(folder.path()).unwrap();
    let name = |number: u8| format!("{}-0123456789abcdef-quick", digest(&[number]));
    let is_there = |number| folder.path().join(name(number)).exists();
    let hours = [1000, 50, 30, 20, 0];
    for (number, hours) in (0..).zip(hours) {
        let file = fs::File::create(folder.path().join(name(number))).unwrap();
        file.set_len(1000).unwrap();
        let then = SystemTime::now() - Duration::from_secs(hours * 3600);
        file.set_times(FileTimes::new().set_modified(then).set_accessed(then)).unwrap();
    }
    let others = ["notes.txt".to_owned(), format!("{}-backup", digest(b"mine"))];
    for name in &others {
        let mine = fs::File::create(folder.path().join(name)).unwrap();
        mine.set_times(FileTimes::new().set_modified(UNIX_EPOCH).set_accessed(UNIX_EPOCH)).unwrap();
    }
    let mut draft = cache.draft().unwrap();
    draft.write_all(b"new").unwrap();
    cache.keep(draft, &name(5)).unwrap();
    assert_eq!([0, 1, 2, 3, 4, 5].map(is_there), [false, true, true, true, true, true]);
    cache.trim(now(), 2500);
    assert_eq!([1, 2, 3, 4, 5].map(is_there), [false, false, true, true, true]);
    // Entries that were used just now stay.
    cache.trim(now(), 10);
    assert_eq!([3, 4, 5].map(is_there), [false, true, true]);
    // An entry of a clock that was wrong counts as used just now.
    let later = SystemTime::now() + Duration::from_secs(1000 * 3600);
    let file = fs::File::create(folder.path().join(name(6))).unwrap();
    file.set_times(FileTimes::new().set_modified(later).set_accessed(later)).unwrap();
    cache.trim(now(), 10);
    assert!(is_there(6));
    assert!(others.iter().all(|name| folder.path().join(name).exists()));
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
