//! Granted folders and variables, and no others.

use std::{
    fs,
    os::unix::{fs::symlink, net::UnixListener},
};

use runner_model::{ErrorClass, grants::FsMode};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{MIB, World, denied, error, names, output, warnings};
use crate::Call;

#[test]
fn guest_without_grants_has_no_files_or_environment() {
    let world = World::new();
    world.assert_all(&json!([["env"]]), &json!([{"ok": {}}]));
    world.assert_all_fail(&json!([
        ["list", "/"],
        ["list", "."],
        ["read", "/etc/passwd"],
        ["read", "/proc/self/environ"],
        ["list", "/scratch"],
        ["list", "/artifacts"],
        ["list", "/files"],
        ["write", "/tmp/x", ""],
        ["write", "x", ""],
    ]));
}

#[test]
fn guest_has_its_granted_environment() {
    let world = World::new();
    let env = [("EMPTY", ""), ("LANG", "C.UTF-8")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (kind, plugin) in world.all() {
        let acts = json!([["env"]]).to_string();
        let call = Call { env: &env, ..world.call(plugin, &acts) };
        let ended = world.bench.runtime.block_on(plugin.run(&mut None, call));
        let expected = json!([{"ok": {"EMPTY": "", "LANG": "C.UTF-8"}}]);
        assert_eq!(output(ended), expected, "{kind}");
    }
}

#[test]
fn read_only_folder_is_not_changed() {
    let world = World::new().mount("open", "/data", FsMode::ReadOnly).scratch(MIB);
    world.assert_all(
        &json!([["read", "/data/file"], ["list", "/data"], ["size", "/data/file"]]),
        &json!([{"ok": "content"}, {"ok": ["file", "sub"]}, {"ok": 7}]),
    );
    world.assert_all_fail(&json!([
        ["write", "/data/file", "changed"],
        ["write", "/data/new", ""],
        ["append", "/data/file", "more"],
        ["write-at", "/data/file", 0, "x"],
        ["pwrite", "/data/file", 0, "x"],
        ["write-to-read", "/data/file"],
        ["set-size", "/data/file", 0],
        ["truncate-read", "/data/file"],
        ["touch", "/data/file"],
        ["touch", "/data"],
        ["mkdir", "/data/new"],
        ["rmdir", "/data/sub"],
        ["remove", "/data/file"],
        ["rename", "/data/file", "/data/other"],
        ["rename", "/data/file", "/scratch/file"],
        ["rename", "/data/sub", "/scratch/sub"],
        ["link", "/data/file", "/data/other"],
        ["link", "/data/file", "/scratch/file"],
        ["symlink", "file", "/data/link"],
        ["write", "/data/../data/file", "changed"],
        ["write", "/scratch/../data/file", "changed"],
    ]));
}

#[test]
fn refused_changes_are_denied_requests() {
    let world = World::new()
        .mount("open", "/data", FsMode::ReadOnly)
        .attach("a.txt", "attached")
        .scratch(MIB);
    let change = |path: &str| format!("changing `{path}`, which is in a read-only folder");
    for (act, path) in [
        (json!(["write", "/data/new", ""]), "new"),
        (json!(["append", "/data/file", ""]), "file"),
        (json!(["mkdir", "/data/sub/new"]), "sub/new"),
        (json!(["rmdir", "/data/sub"]), "sub"),
        (json!(["remove", "/data/file"]), "file"),
        (json!(["rename", "/scratch/a", "/data/b"]), "b"),
        (json!(["rename", "/data/file", "/scratch/b"]), "file"),
        (json!(["link", "/data/file", "/data/b"]), "file"),
        (json!(["symlink", "a", "/data/b"]), "b"),
        (json!(["touch", "/data/file"]), "file"),
        (json!(["set-times", "/data/file", 1, "nofollow"]), "file"),
    ] {
        for (kind, plugin) in world.all() {
            let ended = world.run(plugin, &json!([["write", "/scratch/a", ""], act]));
            assert_eq!(denied(&ended), [change(path)], "{kind}: {act}");
        }
    }
    for (kind, plugin) in world.commands() {
        let ended = world.run(plugin, &json!([["write", "/files/a.txt", ""]]));
        assert_eq!(denied(&ended), [change("a.txt")], "{kind}");
        let ended = world.run(plugin, &json!([["truncate-read", "/data/file"]]));
        let open = "changing an open file of a read-only folder";
        assert_eq!(denied(&ended), [open], "{kind}");
    }
    world.assert_all(&json!([["read", "/data/file"]]), &json!([{"ok": "content"}]));
}

#[test]
fn times_of_links_are_kept() {
    let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(MIB);
    for (kind, plugin) in world.all() {
        for folder in ["/scratch", "/data"] {
            let path = |name: &str| format!("{folder}/{name}");
            let (file, link) = (path("timed"), path("link"));
            let acts = json!([
                ["write", file, ""],
                ["symlink", "timed", link],
                ["set-times", link, 7, "nofollow"],
                ["modified", link, "nofollow"],
                ["set-times", link, 9, "follow"],
                ["modified", file, "nofollow"],
                ["modified", link, "follow"],
                ["modified", link, "nofollow"],
                ["set-times", file, 11, "nofollow"],
                ["modified", link, "follow"],
                ["mkdir", path("d")],
                ["set-times", path("d"), 13, "nofollow"],
                ["modified", path("d"), "nofollow"],
                ["set-times", path("none"), 13, "nofollow"],
                ["rmdir", path("d")],
                ["remove", link],
                // A new link has its own times, with any inode number.
                ["symlink", "none", link],
                ["set-times", link, 13, "follow"],
                ["remove", link],
                ["remove", file],
            ]);
            let found = output(world.run(plugin, &acts));
            let expected = [
                (3, json!({"ok": 7})),
                (5, json!({"ok": 9})),
                (6, json!({"ok": 9})),
                (7, json!({"ok": 7})),
                (9, json!({"ok": 11})),
                (12, json!({"ok": 13})),
                (13, json!({"err": "noent"})),
                (17, json!({"err": "noent"})),
            ];
            for (index, act) in acts.as_array().unwrap().iter().enumerate() {
                let known = expected.iter().find(|(known, _)| *known == index);
                let expected = known.map_or(json!({"ok": null}), |(_, known)| known.clone());
                assert_eq!(found[index], expected, "{kind}: {act}");
            }
        }
    }
}

#[test]
fn writable_folder_is_changed() {
    let guests = World::new();
    for (kind, plugin) in guests.all() {
        let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(MIB);
        let acts = json!([
            ["write", "/data/file", "changed"],
            ["append", "/data/file", " twice"],
            ["mkdir", "/data/new"],
            ["rename", "/data/file", "/data/new/file"],
            ["link", "/data/new/file", "/data/hard"],
            ["symlink", "new/file", "/data/soft"],
            ["read", "/data/soft"],
            ["rmdir", "/data/sub"],
            ["touch", "/data/hard"],
        ]);
        let ended = world.run(plugin, &acts);
        assert_eq!(warnings(&ended), [""; 0]);
        let results = output(ended);
        assert_eq!(results[6], json!({"ok": "changed twice"}), "{kind}");
        let results = results.as_array().unwrap();
        assert!(results.iter().all(|result| result.get("err").is_none()), "{kind}: {results:?}");
        assert_eq!(world.read("open/new/file"), "changed twice");
        assert_eq!(names(&world.path("open")), ["hard", "new", "soft"]);
    }
}

#[test]
fn missing_granted_folder_is_named() {
    let world = World::new();
    fs::create_dir(world.path("gone")).unwrap();
    let world =
        world.mount("open", "/data", FsMode::ReadOnly).mount("gone", "/gone", FsMode::ReadOnly);
    fs::remove_dir(world.path("gone")).unwrap();
    for (kind, plugin) in world.all() {
        let error = error(world.run(plugin, &json!([])));
        assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}");
        let gone = world.path("gone");
        let expected = format!("cannot mount the folder `{}` at `/gone`: ", gone.display());
        assert!(error.message.starts_with(&expected), "{kind}: {}", error.message);
    }
}

#[test]
fn replaced_granted_folder_is_not_mounted() {
    let link =
        json!([["rename", "/data/sub", "/data/moved"], ["symlink", "../../secret", "/data/sub"],]);
    let folder = json!([["rename", "/data/sub", "/data/moved"], ["mkdir", "/data/sub"]]);
    // A link further up leads nowhere else, either.
    let above = json!([["rename", "/data/deep", "/data/moved"], ["symlink", "..", "/data/deep"],]);
    let guests = World::new();
    for (kind, plugin) in guests.all() {
        for acts in [&link, &folder, &above] {
            let world = World::new();
            fs::create_dir_all(world.path("open/deep/secret")).unwrap();
            let world = world
                .mount("open", "/data", FsMode::ReadWrite)
                .mount("open/sub", "/sub", FsMode::ReadOnly)
                .mount("open/deep/secret", "/deep", FsMode::ReadOnly)
                .scratch(MIB);
            let swapped = output(world.run(plugin, acts));
            let worked = json!([{"ok": null}, {"ok": null}]);
            assert_eq!(swapped, worked, "{kind}: {acts}");

            let look = json!([["read", "/sub/file"], ["read", "/deep/file"]]);
            let error = error(world.run(plugin, &look));
            assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}: {acts}");
            let expected = "cannot mount the folder `";
            assert!(error.message.starts_with(expected), "{}", error.message);
            assert!(!error.message.contains("secret\n"), "{}", error.message);
        }
    }
}

#[test]
fn longer_mounts_hide_parts_of_the_root() {
    let world = World::new()
        .mount("open", "/", FsMode::ReadWrite)
        .mount("secret", "/sub", FsMode::ReadOnly)
        .scratch(MIB)
        .attach("a.txt", "attached");
    // Mounts hide entries of the same name in the folder.
    for name in ["scratch", "files", "artifacts"] {
        fs::create_dir_all(world.path("open").join(name)).unwrap();
        fs::write(world.path("open").join(name).join("hidden"), "hidden").unwrap();
    }
    fs::write(world.path("open/sub/hidden"), "hidden").unwrap();
    let before = world.everything();
    let acts = json!([
        ["read", "/file"],
        ["read", "file"],
        ["read", "./file"],
        ["list", "/"],
        ["read", "/sub/file"],
        ["write", "/scratch/new", "x"],
        ["list", "/scratch"],
        ["write", "/new", "x"],
        ["rename", "/new", "/scratch/moved"],
        ["read", "/sub/hidden"],
        ["read", "/scratch/hidden"],
        ["write", "/sub/new", "x"],
        ["list", "/files"],
    ]);
    for (kind, plugin) in world.all() {
        let results = output(world.run(plugin, &acts));
        let is_component = kind == "component";
        let own = match is_component {
            // Components have an import for attachments, so nothing hides the folder's entry.
            true => json!({"ok": ["hidden"]}),
            false => json!({"ok": ["a.txt"]}),
        };
        let root = json!({"ok": ["artifacts", "file", "files", "scratch", "sub"]});
        let (done, content) = (json!({"ok": null}), json!({"ok": "content"}));
        let expected = [
            &content,
            &content,
            &content,
            &root,
            &json!({"ok": "secret"}),
            &done,
            &json!({"ok": ["new"]}),
            &done,
            &done,
        ];
        for (index, expected) in expected.into_iter().enumerate() {
            assert_eq!(&results[index], expected, "{kind}: {}", acts[index]);
        }
        for index in 9..12 {
            let (act, result) = (&acts[index], &results[index]);
            assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
        }
        assert_eq!(results[12], own, "{kind}");
        assert_eq!(world.everything(), before, "{kind}");
    }
}

#[test]
fn special_files_are_not_opened() {
    let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(MIB);
    mknodat(CWD, world.path("open/pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _socket = UnixListener::bind(world.path("open/socket")).unwrap();
    symlink("pipe", world.path("open/link")).unwrap();
    for (kind, plugin) in world.all() {
        let acts = json!([
            ["read", "/data/pipe"],
            ["append", "/data/pipe", "x"],
            ["write-at", "/data/pipe", 0, "x"],
            ["read", "/data/link"],
            ["read", "/data/socket"],
            ["set-times", "/data/pipe", 1, "follow"],
            // The entry is visible.
            ["size", "/data/pipe"],
            ["rename", "/data/pipe", "/data/sub/pipe"],
            ["read", "/data/sub/pipe"],
            ["rename", "/data/sub/pipe", "/data/pipe"],
            ["rename", "/data/pipe", "/scratch/pipe"],
            ["read", "/scratch/pipe"],
            ["rename", "/scratch/pipe", "/data/pipe"],
        ]);
        let perm = json!({"err": "perm"});
        let (ok, size) = (json!({"ok": null}), json!({"ok": 0}));
        let ended = world.run(plugin, &acts);
        let what = |name| format!("opening `{name}`, which is neither a file nor a folder");
        assert_eq!(denied(&ended), ["pipe", "link", "socket", "sub/pipe"].map(what), "{kind}");
        let results = output(ended);
        let expected =
            [&perm, &perm, &perm, &perm, &perm, &perm, &size, &ok, &perm, &ok, &ok, &perm, &ok];
        for (index, expected) in expected.into_iter().enumerate() {
            assert_eq!(&results[index], expected, "{kind}: {}", acts[index]);
        }
    }
}

#[test]
fn number_of_open_files_is_bounded() {
    let world = World::new().mount("open", "/data", FsMode::ReadOnly);
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &json!([["hoard", "/data/file"], ["list", "/data"]]));
        let refused = "having more than 128 files open at once";
        assert_eq!(denied(&ended), [refused], "{kind}");
        assert_eq!(ended.fixed_limit.as_deref(), Some(refused), "{kind}");
        let results = output(ended);
        let name = if kind == "module" { "mfile" } else { "nomem" };
        assert_eq!(results[0], json!({"err": name}), "{kind}");
        // After closing them, there is room again.
        assert_eq!(results[1], json!({"ok": ["file", "sub"]}), "{kind}");
    }
    // Other tests of this process open files elsewhere.
    let (folder, all) = (world.path("open"), fs::read_dir("/proc/self/fd").unwrap());
    let targets = all.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let left = targets.filter(|target| target.starts_with(&folder)).count();
    assert!(left < 100, "{left}");
}

#[test]
fn large_folder_is_listed_whole() {
    // More than a guest or the host reads at once.
    let names: Vec<_> = (1000..2000).map(|name| name.to_string()).collect();
    let world = World::new().mount("open", "/data", FsMode::ReadOnly);
    fs::remove_file(world.path("open/file")).unwrap();
    fs::remove_dir(world.path("open/sub")).unwrap();
    for name in &names {
        fs::write(world.path("open").join(name), "").unwrap();
    }
    world.assert_all(&json!([["list", "/data"]]), &json!([{"ok": names}]));
}

#[test]
fn number_of_folders_being_read_is_bounded() {
    let world = World::new().scratch(MIB);
    let ended = world.run(world.component(), &json!({"listings": 100}));
    assert_eq!(denied(&ended), ["having more than 128 files open at once"]);
    let expected = json!({"names": 100, "open": 125, "refused": "insufficient-memory"});
    assert_eq!(output(ended), expected);
}
