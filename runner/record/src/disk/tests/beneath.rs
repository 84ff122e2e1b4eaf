//! Paths that lead out of a folder, modes of new entries, and other code of the crate that opens paths.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use super::Dir;
use crate::tests::folder;

/// Opens a path in both ways, which must agree.
fn open(dir: &Dir, path: &str) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let one = dir.open_at(path, flags, Mode::empty()).map(drop);
    let other = dir.open_in_steps(path, flags, Mode::empty()).map(drop);
    assert_eq!(one.is_ok(), other.is_ok(), "{path}: {one:?}, {other:?}");
    one
}

#[test]
fn nothing_leads_out_of_a_folder() {
    let folder = folder();
    let outside = folder.path().join("outside");
    let inside = folder.path().join("inside");
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "secret").unwrap();
    fs::write(inside.join("a/b/file"), "text").unwrap();
    symlink("/etc/passwd", inside.join("absolute")).unwrap();
    symlink("a/b/file", inside.join("within")).unwrap();
    symlink("../outside", inside.join("a/link")).unwrap();
    symlink("nowhere", inside.join("dangling")).unwrap();
    let dir = Dir::open(&inside).unwrap();
    open(&dir, "a/b/file").unwrap();
    for path in [
        "../outside/file",
        "absolute",
        "within",
        "a/link/file",
        "dangling",
        "/etc/passwd",
        "a//../../outside/file",
        "",
    ] {
        assert!(open(&dir, path).is_err(), "{path}");
    }
    // Nothing is written through a link, either.
    for name in ["dangling", "absolute", "within"] {
        let error = dir.write(name).unwrap_err().to_string();
        assert!(error.contains("symbolic link") && error.contains(name), "{error}");
    }
    assert!(!inside.join("nowhere").exists());
    dir.prepare("within", b"new").unwrap();
    dir.replace("within").unwrap();
    assert_eq!(fs::read(inside.join("within")).unwrap(), b"new");
    assert_eq!(fs::read(inside.join("a/b/file")).unwrap(), b"text");
    assert!(dir.dir("a/link").is_err());
}

#[test]
fn new_entries_are_shared_as_their_folder_is() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777;
    dir.create_dir("run", 0o700).unwrap();
    dir.dir_or_create("inner").unwrap();
    dir.write("file").unwrap();
    let mut draft = dir.unnamed().unwrap();
    draft.write_all(b"one").unwrap();
    dir.place(&draft, "placed").unwrap();
    for (name, expected) in [("run", 0o700), ("inner", 0o700), ("file", 0o600), ("placed", 0o600)] {
        assert_eq!(mode(name) & !expected, 0, "{name}");
    }
}

#[test]
fn an_unnamed_file_replaces_what_has_its_name() {
    let folder = folder();
    let dir = Dir::open(folder.path()).unwrap();
    for text in ["one", "two"] {
        let mut draft = dir.unnamed().unwrap();
        draft.write_all(text.as_bytes()).unwrap();
        dir.place(&draft, "file").unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), text);
    }
    // File systems without unnamed files cannot link, so the bytes are copied.
    let mut unlinked = tempfile::tempfile().unwrap();
    unlinked.write_all(b"three").unwrap();
    dir.place(&unlinked, "file").unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("file")).unwrap(), "three");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn too_large_file_is_not_read_whole() {
    let folder = folder();
    fs::write(folder.path().join("file"), [0; 11]).unwrap();
    let dir = Dir::open(folder.path()).unwrap();
    assert_eq!(dir.read_all("file", 11).unwrap().len(), 11);
    assert!(dir.read_all("file", 10).is_err());
}

/// All paths go through `beneath`. Exceptions are listed with their files.
#[test]
fn no_other_file_of_the_crate_opens_paths() {
    const ALLOWED: &[(&str, &str)] = &[
        // The state of this process, the root folder, and folders that the user named.
        ("permissions.rs", "std::fs::read_to_string(\"/proc/self/status\")"),
        ("permissions.rs", "std::fs::metadata(\"/\")"),
        ("permissions.rs", "std::fs::symlink_metadata(above)"),
        ("owner.rs", "std::fs::read_to_string(USERS)"),
        // The file system of a path in a message.
        ("error.rs", "fs::statvfs"),
        ("lock.rs", "std::fs::read_to_string(format!(\"/proc/{pid}/stat\"))"),
        ("layout.rs", "path.canonicalize()"),
        ("find.rs", "path.canonicalize()"),
        ("user_key.rs", "path.canonicalize()"),
        ("plugin_cache.rs", "path.canonicalize()"),
        ("settings.rs", "canonicalize()"),
        // SQLite opens its own files, which `beneath` has created.
        ("database.rs", "root.path().canonicalize()"),
        ("database.rs", "Connection::open_with_flags(path, flags)"),
        ("database.rs", "Connection::open(\"\")"),
    ];
    const OPENS: &[&str] = &[
        "fs::read",
        "fs::write",
        "fs::metadata",
        "fs::symlink_metadata",
        "fs::remove",
        "fs::rename",
        "fs::create",
        "fs::copy",
        "fs::hard_link",
        "fs::set_permissions",
        "fs::exists",
        "File::open",
        "File::create",
        "OpenOptions",
        "DirBuilder",
        "openat",
        "fs::open",
        "Connection::open",
        "tempfile",
        "canonicalize",
        ".exists()",
        ".is_file()",
        ".is_dir()",
        ".metadata(path",
        "read_dir",
        "linkat",
        "statat",
        "unlinkat",
        "mkdirat",
        "renameat",
        "fs::stat",
    ];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_name().unwrap().to_str().unwrap() {
                "tests" | "tests.rs" | "beneath.rs" | "removal.rs" => {}
                _ if path.is_dir() => folders.push(path),
                name => sources.push((name.to_owned(), path)),
            }
        }
    }
    assert!(sources.len() > 25);
    for (name, path) in sources {
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let is_allowed =
                ALLOWED.iter().any(|(file, text)| *file == name && line.contains(text));
            let opens = OPENS.iter().find(|opens| line.contains(**opens));
            assert!(is_allowed || opens.is_none(), "{name} goes around beneath.rs: {line}");
        }
    }
}
