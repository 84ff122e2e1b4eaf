use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use runner_model::{
    Digest, Limits,
    grants::{FsGrant, FsMode},
    provider::{MountedFolder, PluginKind, PreparedProvider, Provider},
};
use runner_record::PluginCache;
use serde_json::json;

use super::{Protected, check, find};

const RO: FsMode = FsMode::ReadOnly;
const RW: FsMode = FsMode::ReadWrite;

fn stored(host: &Path, mode: FsMode) -> MountedFolder {
    MountedFolder {
        host: host.to_str().unwrap().to_owned(),
        guest: "/m".to_owned(),
        mode,
        device: 0,
        inode: 0,
        content: None,
    }
}

/// Returns the reason if the first folder is refused.
fn refused(folders: &[MountedFolder], protected: Vec<Protected>) -> Option<String> {
    let folders = folders.iter().map(|folder| (0, folder, Vec::new()));
    let first = check(folders.collect(), || protected).swap_remove(0);
    first.map(|refusal| refusal.message)
}

fn provider(folders: &[(&str, FsMode)]) -> PreparedProvider {
    let provider = json!({
        "name": "p", "plugin": "bundled:echo", "config": {}, "limits": Limits::default(),
    });
    let mut provider: Provider = serde_json::from_value(provider).unwrap();
    let grants = folders.iter().map(|(path, mode)| FsGrant {
        path: (*path).to_owned(),
        mount: format!("/{}", path.replace('/', "-")),
        mode: *mode,
    });
    provider.grants.fs = grants.collect();
    PreparedProvider {
        provider,
        digest: Digest([0; 32]),
        kind: PluginKind::Component,
        mounts: Vec::new(),
    }
}

fn messages(providers: &mut [PreparedProvider], base: &Path) -> Vec<(u16, String)> {
    let problems = find(providers, base, Vec::new).into_iter();
    problems.map(|problem| (problem.provider, problem.message)).collect()
}

#[test]
fn folders_in_writable_folders_are_refused() {
    let folder = |path: &str, mode| stored(Path::new(path), mode);
    for (inner, outer, is_refused) in [
        (folder("/a/b", RO), folder("/a", RW), true),
        (folder("/a/b", RW), folder("/a", RW), true),
        (folder("/a/b/c", RW), folder("/a", RW), true),
        (folder("/a/b", RW), folder("/a", RO), false),
        (folder("/a", RW), folder("/a", RW), false),
        (folder("/a", RO), folder("/a", RW), false),
        (folder("/ab", RO), folder("/a", RW), false),
        (folder("/a", RW), folder("/a/b", RO), false),
    ] {
        let refused = refused(&[inner.clone(), outer.clone()], Vec::new());
        assert_eq!(refused.is_some(), is_refused, "{inner:?} in {outer:?}: {refused:?}");
        let says =
            refused.is_none_or(|message| message.contains("is in `/a` or reached by a link"));
        assert!(says, "{inner:?} in {outer:?}");
    }
}

#[test]
fn protected_paths_are_found_through_links() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    fs::create_dir_all(root.join("open/deep")).unwrap();
    fs::create_dir(root.join("other")).unwrap();
    symlink("open", root.join("link")).unwrap();
    symlink("../other", root.join("open/out")).unwrap();
    symlink("open/out/file", root.join("twice")).unwrap();
    let refuses = |name: &str, protected: Protected| {
        refused(&[stored(&root.join(name), RW)], vec![protected]).is_some()
    };
    for (path, is_refused) in [
        ("open", true),
        ("open/results", true),
        ("link/results/deeper", true),
        ("none/../open/results", true),
        ("open/../other", false),
        ("other", false),
        ("opened", false),
        // These paths end elsewhere, and a guest decides where.
        ("open/out", true),
        ("open/out/none", true),
        ("twice", true),
        ("open/deep/../../other", true),
    ] {
        let protected = Protected::file("it", root.join(path));
        assert_eq!(refuses("open", protected), is_refused, "{path}");
    }
    let link = root.join("link");
    assert!(!refuses("open/deep", Protected::file("it", &link)));
    assert!(refuses("open/deep", Protected::folder("it", &link)));
    // A guest cannot replace a link in a read-only folder.
    let out = Protected::file("it", root.join("open/out"));
    assert_eq!(refused(&[stored(&root.join("open"), RO)], vec![out]), None);
}

#[test]
fn runs_are_protected_in_any_place() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for folder in ["run/artifacts", "running"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in ["run/benchmark.json", "run/index.jsonl"] {
        fs::write(root.join(file), "").unwrap();
    }
    for (folder, is_refused) in [("run", true), ("run/artifacts", true), ("running", false)] {
        for mode in [RO, RW] {
            let refused = refused(&[stored(&root.join(folder), mode)], Vec::new());
            assert_eq!(refused.is_some(), is_refused && mode == RW, "{folder}");
        }
    }
}

#[test]
fn folders_of_the_kernel_are_never_granted() {
    for path in ["/", "/proc", "/proc/self", "/sys", "/dev"] {
        for mode in [RO, RW] {
            let refused = refused(&[stored(Path::new(path), mode)], Vec::new());
            assert!(refused.unwrap().contains("the kernel shows"), "{path}");
        }
    }
}

#[test]
fn granted_folders_are_found_with_their_identities() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in ["scenario", "read", "write"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    symlink("../read", root.join("scenario/link")).unwrap();
    let base = root.join("scenario");
    let mut found = [provider(&[("link", RO), ("../write", RW)])];
    assert_eq!(messages(&mut found, &base), []);
    let [read, write] = &*found[0].mounts else {
        panic!("{found:?}");
    };
    let about = fs::metadata(root.join("read")).unwrap();
    assert_eq!(Path::new(&read.host), root.join("read"));
    assert_eq!((read.device, read.inode), (about.dev(), about.ino()));
    assert_eq!((&*write.guest, write.mode), ("/..-write", RW));
    assert_eq!(Path::new(&write.host), root.join("write"));

    // A later session looks the folders up at their stored paths, wherever the scenario is.
    let before = found[0].mounts.clone();
    assert_eq!(messages(&mut found, Path::new("/nowhere")), []);
    assert_eq!(found[0].mounts, before);
    fs::remove_dir(root.join("write")).unwrap();
    symlink("read", root.join("write")).unwrap();
    let [(0, message)] = &*messages(&mut found, &base) else {
        panic!("{found:?}");
    };
    assert!(message.ends_with("its path now leads through a symbolic link"), "{message}");
}

#[test]
fn all_refused_folders_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    fs::create_dir_all(folder.path().join("a/b")).unwrap();
    let mut providers = [provider(&[("none", RO)]), provider(&[("a", RO), ("file", RO)])];
    let found = messages(&mut providers, folder.path());
    assert_eq!([found[0].0, found[1].0], [0, 1], "{found:?}");
    assert!(found[0].1.contains("none`, granted as `/none`, cannot be used"), "{found:?}");
    assert!(found[1].1.contains("file`, granted as `/file`, cannot be used"), "{found:?}");

    // A link inside a writable folder decides which folder another provider is granted.
    symlink("b", folder.path().join("a/link")).unwrap();
    symlink("a/link", folder.path().join("outer")).unwrap();
    let mut providers = [provider(&[("outer", RO)]), provider(&[("a", RW)])];
    let found = messages(&mut providers, folder.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].1.contains("granted as `/outer` with mode `ro`, is in"), "{found:?}");
}

#[test]
fn all_files_of_scenarios_are_protected() {
    let folder = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(folder.path()).unwrap();
    for name in [".git", "tests/deep", "lists", "free"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    fs::write(root.join("tests/a.jsonl"), "").unwrap();
    fs::write(root.join("p.wasm"), "").unwrap();
    let text = r#"
        [providers.p]
        plugin = "p.wasm"
        [[test_lists]]
        files = ["tests/deep/../*.jsonl", "tests/a.jsonl"]
    "#;
    let path = root.join("lists/scenario.toml");
    let text = text.replace("\"p.wasm", "\"../p.wasm").replace("\"tests", "\"../tests");
    fs::write(&path, text).unwrap();
    let scenario = runner_scenario::load(&path, &Default::default()).unwrap();
    let protected = Protected::for_scenario(&scenario, &path);
    for (name, what) in [
        ("lists", Some("the scenario")),
        ("tests", Some("a test list")),
        // The glob leads through it.
        ("tests/deep", None),
        ("free", None),
        ("", Some("the scenario")),
    ] {
        let refused = refused(&[stored(&root.join(name), RW)], protected.clone());
        let says = |message: &String| what.is_some_and(|what| message.contains(what));
        assert_eq!(refused.as_ref().is_some_and(says), what.is_some(), "{name}: {refused:?}");
        assert_eq!(refused.is_some(), what.is_some(), "{name}: {refused:?}");
    }
}

#[test]
fn files_of_every_session_are_protected() {
    let cache = PluginCache::open_at(&tempfile::tempdir().unwrap().path().join("cache")).unwrap();
    let protected = Protected::for_process(&cache);
    let program = std::env::current_exe().unwrap();
    for (folder, what) in [
        (cache.path(), "the cache of compiled plugins"),
        (program.parent().unwrap(), "the runner's program"),
        (&std::env::temp_dir(), "the folder for temporary files"),
    ] {
        // A test's cache is a temporary folder.
        let only = protected.iter().filter(|protected| protected.what == what);
        let message = refused(&[stored(folder, RW)], only.cloned().collect());
        assert!(message.is_some_and(|message| message.contains(what)), "{what}");
    }
}
