use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _, fs::symlink};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use runner_model::Digest;
use runner_model::grants::FsMode;
use runner_model::provider::MountedFolder;
use runner_record::PluginCache;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{FolderReader, MOST_BYTES, MOST_FILES};

/// A folder `data` and a cache.
struct Bench {
    root: tempfile::TempDir,
    cache: PluginCache,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let cache = root.path().join("cache");
        fs::create_dir_all(root.path().join("data/sub")).unwrap();
        let bench = Self { cache: PluginCache::open_at(&cache).unwrap(), root };
        bench.write("a.txt", "one");
        bench.write("sub/b.txt", "two");
        bench
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.root.path().join("data").join(name), text).unwrap();
    }

    fn read(&self, most_files: usize, most_bytes: u64) -> Option<Digest> {
        self.read_without(most_files, most_bytes, None)
    }

    fn read_without(
        &self,
        most_files: usize,
        most_bytes: u64,
        without: Option<&str>,
    ) -> Option<Digest> {
        let reader = FolderReader { cache: &self.cache, most_files, most_bytes };
        reader.digest(&self.folder(), without).ok()
    }

    fn folder(&self) -> MountedFolder {
        MountedFolder {
            host: self.root.path().join("data").to_str().unwrap().to_owned(),
            guest: "/data".into(),
            mode: FsMode::ReadOnly,
            device: 0,
            inode: 0,
            content: None,
        }
    }

    fn digest(&self) -> Digest {
        self.read(MOST_FILES, MOST_BYTES).unwrap()
    }

    /// Returns the number of files whose digests are in the cache.
    fn cached(&self) -> usize {
        let mut names = fs::read_dir(self.cache.path()).unwrap().map(|entry| entry.unwrap().path());
        let entry = names.find(|path| path.extension().is_some_and(|end| end == "files"));
        entry.map_or(0, |path| (fs::read(path).unwrap().len() - 16 - 32) / (5 * 8 + 32))
    }

    fn clear_cache(&self) {
        for entry in fs::read_dir(self.cache.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

/// Waits until the changes in a folder are older than the two seconds in which digests are not cached.
fn wait_until_settled(bench: &Bench) {
    let start = Instant::now();
    while bench.cached() < 2 {
        bench.digest();
        assert!(start.elapsed() < Duration::from_secs(30), "nothing was cached");
    }
}

#[test]
fn digest_covers_names_kinds_and_bytes() {
    let bench = Bench::new();
    let data = bench.root.path().join("data");
    let mut seen = vec![bench.digest()];
    let mut assert_new = |what: &str| {
        let now = bench.digest();
        assert!(!seen.contains(&now), "{what}");
        seen.push(now);
    };
    bench.write("a.txt", "One");
    assert_new("bytes");
    bench.write("sub/b.txt", "");
    assert_new("an empty file");
    fs::rename(data.join("a.txt"), data.join("c.txt")).unwrap();
    assert_new("a name");
    fs::rename(data.join("c.txt"), data.join("sub/c.txt")).unwrap();
    assert_new("a place");
    fs::create_dir(data.join("empty")).unwrap();
    assert_new("an empty folder");
    symlink("sub/b.txt", data.join("link")).unwrap();
    assert_new("a link");
    fs::remove_file(data.join("link")).unwrap();
    symlink("sub/c.txt", data.join("link")).unwrap();
    assert_new("another target");
    mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    assert_new("a pipe");
    // Times and permissions are not content.
    let before = bench.digest();
    fs::set_permissions(data.join("sub/c.txt"), Permissions::from_mode(0o700)).unwrap();
    let file = File::open(data.join("sub/c.txt")).unwrap();
    file.set_times(FileTimes::new().set_modified(SystemTime::UNIX_EPOCH)).unwrap();
    assert_eq!(bench.digest(), before);
}

#[test]
fn links_lead_out_of_no_digest() {
    let bench = Bench::new();
    let outside = bench.root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bench.root.path().join("data/out")).unwrap();
    symlink("/dev/zero", bench.root.path().join("data/endless")).unwrap();
    let before = bench.digest();
    fs::write(outside.join("new"), "1").unwrap();
    assert_eq!(bench.digest(), before);
}

#[test]
fn cache_changes_no_answer() {
    let began = Instant::now();
    let bench = Bench::new();
    let first = bench.digest();
    // A file that was just changed may change again and keep its time.
    assert!(bench.cached() == 0 || began.elapsed() > Duration::from_secs(1));
    wait_until_settled(&bench);
    assert_eq!(bench.digest(), first);
    // Another content of the same length, with the old times.
    let path = bench.root.path().join("data/a.txt");
    let modified = path.metadata().unwrap().modified().unwrap();
    bench.write("a.txt", "eno");
    let file = File::options().write(true).open(&path).unwrap();
    file.set_times(FileTimes::new().set_modified(modified)).unwrap();
    let second = bench.digest();
    assert_ne!(second, first);
    bench.clear_cache();
    assert_eq!(bench.digest(), second);
    wait_until_settled(&bench);
    for damage in 0..3 {
        let entries = fs::read_dir(bench.cache.path()).unwrap();
        for path in entries.map(|entry| entry.unwrap().path()) {
            let mut bytes = fs::read(&path).unwrap();
            match damage {
                0 => bytes[60] ^= 1,
                1 => bytes.truncate(bytes.len() / 2),
                _ => bytes.clear(),
            }
            fs::write(&path, bytes).unwrap();
        }
        assert_eq!(bench.digest(), second, "{damage}");
    }
}

#[test]
fn large_folders_have_no_digest() {
    let bench = Bench::new();
    // Two files and a folder, of six bytes.
    assert!(bench.read(3, 6).is_some());
    assert!(bench.read(2, 6).is_none());
    assert!(bench.read(3, 5).is_none());
    wait_until_settled(&bench);
    assert!(bench.read(3, 5).is_none(), "cached files count, too");
}

#[test]
fn results_root_is_left_out() {
    let bench = Bench::new();
    let before = bench.read_without(MOST_FILES, MOST_BYTES, Some("sub"));
    bench.write("sub/b.txt", "other");
    let without = |path: &str| bench.read_without(MOST_FILES, MOST_BYTES, Some(path));
    assert_eq!(without("sub"), before);
    assert_ne!(without("sub/b.txt"), before);
    bench.write("sub.txt", "a name with the same start");
    assert_ne!(without("sub"), before);
}

#[test]
fn folder_has_no_digest_if_results_cannot_be_left_out() {
    let bench = Bench::new();
    let data = bench.root.path().join("data");
    let reader = FolderReader::new(&bench.cache);
    let content = |root: &Path| reader.content(&bench.folder(), Some(root)).ok();
    assert_eq!(content(&data.join("sub")).unwrap().without.unwrap(), "sub");
    assert!(content(&data).is_none());
    assert!(content(&data.join(OsStr::from_bytes(b"\xff"))).is_none());
    assert_eq!(content(bench.root.path()).unwrap().without, None);
}

#[test]
fn unreadable_entries_are_part_of_the_digest() {
    let bench = Bench::new();
    let data = bench.root.path().join("data");
    let before = bench.digest();
    fs::set_permissions(data.join("a.txt"), Permissions::from_mode(0o0)).unwrap();
    fs::set_permissions(data.join("sub"), Permissions::from_mode(0o0)).unwrap();
    let after = bench.digest();
    // Root reads everything.
    assert_eq!(after == before, rustix::process::geteuid().is_root());
    fs::set_permissions(data.join("sub"), Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn warm_cache_is_fast_for_many_files() {
    let is_full = std::env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let files = if is_full { 49_000 } else { 2_000 };
    let bench = Bench::new();
    for index in 0..files {
        bench.write(&format!("sub/{index}"), &index.to_string());
    }
    let first = bench.digest();
    let start = Instant::now();
    while bench.cached() < files + 2 {
        bench.digest();
        assert!(start.elapsed() < Duration::from_secs(60), "{} are cached", bench.cached());
    }
    // The shortest of several, because a machine may stand still for a moment.
    let times = (0..5).map(|_| {
        let start = Instant::now();
        assert_eq!(bench.digest(), first);
        start.elapsed()
    });
    let took = times.min().unwrap();
    assert!(took < Duration::from_secs(2), "{took:?}");
}
