//! Folders of plugins.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::fs::{CWD, Mode, mkfifoat};

use super::{Source, SourceState};

fn folder(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
    folder
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Writes the built file and the digest of the source, as a build does.
fn build(source: &Source) {
    let (file, digest) = (source.file(), source.digest_path());
    for (path, text) in [(file, "built".to_owned()), (digest, source.digests().unwrap())] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn stale(why: &str) -> Result<SourceState, String> {
    Ok(SourceState::Stale(why.to_owned()))
}

#[test]
fn changed_source_makes_plugin_stale() {
    let folder = folder(
        "name = \"x\"\nkind = \"command\"\nbuild = \"mkdir -p dist; cp src/a.txt dist/plugin.wasm\"\n",
    );
    let path = folder.path();
    write(path, "src/a.txt", "one");
    write(path, "src/a.toml", "a = 1");
    let source = Source::open(path).unwrap();
    assert_eq!(source.state(), Ok(SourceState::Missing));
    build(&source);
    write(path, "first.toml", "name = \"first\"\n[[tests]]\nid = \"a\"\n");
    write(path, "lists.toml", "[[test_lists]]\nfiles = \"tests.csv\"\n");
    assert_eq!(source.state(), Ok(SourceState::Fresh));
    for name in [
        "scenario.toml",
        ".venv/x",
        "target/x",
        "out.log",
        "NOTES.md",
        "results.csv",
        "out/.lock",
        "out/run/x",
    ] {
        write(path, name, "new");
        assert_eq!(source.state(), Ok(SourceState::Fresh), "{name}");
    }
    write(path, "src/b.txt", "new");
    assert_eq!(source.state(), stale("`src/b.txt` was added after it was built"));
    build(&source);
    write(path, "src/a.txt", "two");
    assert_eq!(source.state(), stale("`src/a.txt` has changed since it was built"));
    build(&source);
    fs::remove_file(path.join("src/a.txt")).unwrap();
    assert_eq!(source.state(), stale("`src/a.txt` was removed after it was built"));
    write(path, "dist/plugin.digest", "");
    assert_eq!(source.state(), stale("its last build failed"));
    fs::remove_file(source.digest_path()).unwrap();
    assert_eq!(source.state(), stale("it is not known which source it was built from"));
}

#[test]
fn further_folders_belong_to_the_source() {
    let outer = tempfile::tempdir().unwrap();
    write(
        outer.path(),
        "plugin/plugin.toml",
        "name = \"x\"\nkind = \"command\"\nbuild = \"cat ../sdk/a > out.wasm\"\nfile = \"out.wasm\"\nsources = [\"../sdk\"]\n",
    );
    write(outer.path(), "sdk/a", "one");
    let source = Source::open(&outer.path().join("plugin")).unwrap();
    build(&source);
    assert_eq!(source.state(), Ok(SourceState::Fresh));
    write(outer.path(), "sdk/a", "two");
    assert_eq!(source.state(), stale("`../sdk/a` has changed since it was built"));
}

#[test]
fn links_and_nested_folders_are_source() {
    let outer = tempfile::tempdir().unwrap();
    let manifest = "name = \"x\"\nkind = \"command\"\nbuild = \"true\"\n";
    write(outer.path(), "plugin/plugin.toml", manifest);
    let files =
        ["common/a.txt", "common/b.txt", "plugin/results/c.txt", "plugin/src/results/d.txt"];
    for file in files {
        write(outer.path(), file, "one");
    }
    let plugin = outer.path().join("plugin");
    symlink("../common/a.txt", plugin.join("a.txt")).unwrap();
    symlink("../common", plugin.join("linked")).unwrap();
    symlink("nowhere", plugin.join("broken")).unwrap();
    let source = Source::open(&plugin).unwrap();
    let shown = |file: &str| match file {
        "common/a.txt" => "`a.txt` has changed since it was built".to_owned(),
        "common/b.txt" => "`linked/b.txt` has changed since it was built".to_owned(),
        file => format!("`{}` has changed since it was built", &file["plugin/".len()..]),
    };
    for file in files {
        build(&source);
        assert_eq!(source.state(), Ok(SourceState::Fresh));
        write(outer.path(), file, file);
        let expected = match file.starts_with("plugin/results/") {
            true => Ok(SourceState::Fresh),
            false => stale(&shown(file)),
        };
        assert_eq!(source.state(), expected, "{file}");
    }
    build(&source);
    symlink("..", plugin.join("src/cycle")).unwrap();
    assert!(!source.digests().unwrap().contains("cycle"));
}

#[test]
fn loader_depends_on_the_files_that_it_names() {
    let folder = folder(
        "name = \"x\"\nkind = \"component\"\nbuild = \"true\"\n[dev]\nloader = \"true\"\nfrom = [\"a.txt\", \"parts\"]\nsource = \"true\"\n",
    );
    let path = folder.path();
    let origin = || {
        let source = Source::open(path).unwrap();
        source.loader_origin(source.development().unwrap())
    };
    write(path, "a.txt", "1");
    write(path, "parts/b.txt", "1");
    write(path, "main.txt", "1");
    let mut known = vec![origin().unwrap()];
    write(path, "main.txt", "2");
    assert_eq!(origin().unwrap(), known[0]);
    write(path, "linked.txt", "1");
    symlink("../linked.txt", path.join("parts/link.txt")).unwrap();
    for file in ["a.txt", "parts/b.txt", "parts/c.txt", "parts/.d", "parts/e.md", "linked.txt"] {
        write(path, file, "2");
        let changed = origin().unwrap();
        assert!(!known.contains(&changed), "{file}");
        known.push(changed);
    }
    let manifest = fs::read_to_string(path.join("plugin.toml")).unwrap();
    write(path, "plugin.toml", &manifest.replace("loader = \"true\"", "loader = \"false\""));
    assert!(!known.contains(&origin().unwrap()));
    fs::remove_file(path.join("a.txt")).unwrap();
    assert!(origin().unwrap_err().contains("a.txt"));
}

#[test]
fn bad_manifests_are_refused_with_reason() {
    for (manifest, says) in [
        ("", "missing field"),
        ("name = 1", "plugin.toml"),
        ("name = \"x\"\nkind = \"library\"\nbuild = \"true\"\n", "library"),
        (
            "name = \"x\"\nkind = \"command\"\nbuild = \"true\"\nbuid = \"c\"\n",
            "plugin.toml:4:1`: unknown field `buid`",
        ),
        (
            "name = \"x\"\nkind = \"command\"\nbuild = \"true\"\n[dev]\nloader = \"true\"\nfrom = []\nsource = \"true\"\n",
            "only a component can have a development form",
        ),
        (
            "name = \"x\"\nkind = \"component\"\nbuild = \"true\"\n[dev]\nloader = \"true\"\nform = []\nsource = \"true\"\n",
            "plugin.toml:6:1`: unknown field `form`, expected one of `loader`, `from`, `source`",
        ),
        ("name = \"x\"\nlanguage = \"c\"\n", "plugin new NAME --lang LANGUAGE"),
    ] {
        let problem = Source::open(folder(manifest).path()).unwrap_err();
        assert!(problem.contains(says), "{problem}");
    }
    let none = tempfile::tempdir().unwrap();
    let problem = Source::open(none.path()).unwrap_err();
    assert!(problem.contains("no `plugin.toml`"), "{problem}");
}

#[test]
fn linked_manifests_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "secret", "root:x:0:0");
    symlink("secret", folder.path().join("plugin.toml")).unwrap();
    let problem = Source::open(folder.path()).unwrap_err();
    assert!(problem.ends_with("it is a symbolic link"), "{problem}");
}

#[test]
fn oversized_sources_are_refused() {
    let manifest = "name = \"x\"\nkind = \"command\"\nbuild = \"true\"\n";
    let refused = |make: &dyn Fn(&Path), says: &str| {
        let folder = folder(manifest);
        write(folder.path(), "dist/plugin.wasm", "");
        make(folder.path());
        let problem = Source::open(folder.path()).unwrap().state().unwrap_err();
        assert!(problem.contains(says), "{problem}");
    };
    let large = |folder: &Path| {
        let model = fs::File::create(folder.join("model.bin")).unwrap();
        model.set_len(200 << 30).unwrap();
    };
    refused(&large, "has more than 512 MiB of files");
    let deep = |folder: &Path| fs::create_dir_all(folder.join("a/".repeat(64))).unwrap();
    refused(&deep, "more than 64 folders deep");
    let many = |folder: &Path| {
        let sources = vec!["\"many\""; 101].join(", ");
        write(folder, "plugin.toml", &format!("{manifest}sources = [{sources}]\n"));
        (0..500).for_each(|name| write(folder, &format!("many/{name}"), ""));
    };
    refused(&many, "more than 50000 files");
    // Pipes are not source files, and opening one would block.
    let folder = folder(manifest);
    write(folder.path(), "dist/plugin.wasm", "");
    mkfifoat(CWD, folder.path().join("pipe"), Mode::RUSR).unwrap();
    let source = Source::open(folder.path()).unwrap();
    assert_eq!(source.state(), stale("it is not known which source it was built from"));
}
