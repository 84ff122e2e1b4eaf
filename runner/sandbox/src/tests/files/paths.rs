//! Paths and links that would lead out of granted folders.

use std::{
    fs,
    os::unix::fs::symlink,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use runner_model::grants::FsMode;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

use super::{MIB, World, denied, names, output, reply};
use crate::{Ending, Plugin};

#[test]
fn no_path_leads_out() {
    let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(MIB);
    let outside = world.path("secret");
    let outside = outside.to_str().unwrap();
    // Links that another program has left there.
    for (link, target) in [
        ("relative", "../secret"),
        ("absolute", outside),
        ("file-link", "../secret/file"),
        ("chain", "relative/file"),
        ("root", "/"),
        ("up", ".."),
    ] {
        symlink(target, world.path("open").join(link)).unwrap();
    }
    let mut acts = vec![
        json!(["read", "/etc/passwd"]),
        json!(["read", "/data/../secret/file"]),
        json!(["read", "/data/sub/../../secret/file"]),
        json!(["read", "/data//../secret/file"]),
        json!(["read", "/data/../../../../../../../../etc/passwd"]),
        json!(["read", format!("{outside}/file")]),
        json!(["read", "/data/up/secret/file"]),
        json!(["read", "/data/root/etc/passwd"]),
        json!(["read", "/data/root/proc/self/environ"]),
        json!(["read", "/proc/self/cwd/Cargo.toml"]),
        json!(["read", "/proc/self/root/etc/passwd"]),
        json!(["list", "/data/root"]),
        json!(["list", "/data/up"]),
        json!(["list", "/data/.."]),
        json!(["remove", "/data/../secret/file"]),
        json!(["mkdir", "/data/../new"]),
        json!(["rmdir", "/data/../secret"]),
        json!(["write", "/data/../secret/file", "changed"]),
        json!(["rename", "/data/file", "/data/../secret/stolen"]),
        json!(["rename", "/data/../secret/file", "/data/stolen"]),
        json!(["rename", "/data/file", "/data/up/stolen"]),
        json!(["link", "/data/../secret/file", "/data/stolen"]),
        json!(["link", "/data/file", "/data/../secret/stolen"]),
        json!(["link", "/data/relative/file", "/data/stolen"]),
        json!(["symlink", "x", "/data/../secret/link"]),
        json!(["symlink", "/etc/passwd", "/data/sub/absolute"]),
        json!(["touch", "/data/../secret/file"]),
    ];
    for link in ["relative/file", "absolute/file", "file-link", "chain"] {
        let path = format!("/data/{link}");
        acts.push(json!(["read", path]));
        acts.push(json!(["write", path, "changed"]));
        acts.push(json!(["append", path, "changed"]));
        acts.push(json!(["set-size", path, 0]));
        acts.push(json!(["touch", path]));
    }
    world.assert_all_fail(&json!(acts));
}

#[test]
fn no_path_leads_out_of_the_root() {
    let world = World::new().mount("open", "/", FsMode::ReadWrite).scratch(MIB);
    let outside = world.path("secret");
    let outside = outside.to_str().unwrap();
    for (link, target) in [
        ("relative", "../secret"),
        ("absolute", outside),
        ("file-link", "../secret/file"),
        // Not to the folder itself, either: the host reads a link's text, where `/` is another
        // place.
        ("inside", "/file"),
        ("top", "/"),
        ("up", ".."),
    ] {
        symlink(target, world.path("open").join(link)).unwrap();
    }
    let mut acts = vec![
        json!(["read", "/etc/passwd"]),
        json!(["read", "etc/passwd"]),
        json!(["read", "/../secret/file"]),
        json!(["read", "../secret/file"]),
        json!(["read", "/sub/../../secret/file"]),
        json!(["read", "/scratch/../../secret/file"]),
        json!(["read", "/../../../../../../../../etc/passwd"]),
        json!(["read", format!("{outside}/file")]),
        json!(["read", "/up/secret/file"]),
        json!(["read", "/top/etc/passwd"]),
        json!(["read", "/inside"]),
        json!(["read", "/proc/self/environ"]),
        json!(["list", "/top"]),
        json!(["list", "/up"]),
        json!(["list", "/.."]),
        json!(["remove", "/../secret/file"]),
        json!(["mkdir", "/../new"]),
        json!(["rmdir", "/../secret"]),
        json!(["rename", "/file", "/../secret/stolen"]),
        json!(["rename", "/../secret/file", "/stolen"]),
        json!(["link", "/../secret/file", "/stolen"]),
        json!(["link", "/relative/file", "/stolen"]),
        json!(["symlink", "/etc/passwd", "/sub/absolute"]),
        json!(["touch", "/../secret/file"]),
    ];
    for link in ["relative/file", "absolute/file", "file-link"] {
        let path = format!("/{link}");
        acts.push(json!(["read", path]));
        acts.push(json!(["write", path, "changed"]));
        acts.push(json!(["append", path, "changed"]));
        acts.push(json!(["set-size", path, 0]));
    }
    world.assert_all_fail(&json!(acts));
}

#[test]
fn look_outside_is_reported() {
    let world = World::new().mount("open", "/data", FsMode::ReadOnly).scratch(MIB);
    let acts = json!([
        ["read", "/data/../secret/file"],
        ["read", "/data/../secret/file"],
        ["symlink", "/etc/passwd\n", "/scratch/a"],
        ["symlink", "../..", "/scratch/up"],
        ["list", "/scratch/up"],
        // A refused write, or a missing file, does not count as a look outside.
        ["append", "/data/file", "x"],
        ["write", "/data/new", "x"],
        ["read", "/data/nothing"],
        ["write", "/data/../secret/file", "x"],
    ]);
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &acts);
        let looks = ["../secret/file", "up"]
            .map(|path| format!("reading `{path}`, which leads out of its folder"));
        let changes = ["file", "new", "../secret/file"]
            .map(|path| format!("changing `{path}`, which is in a read-only folder"));
        assert_eq!(denied(&ended), [&looks[..], &changes].concat(), "{kind}: {ended:?}");
        assert!(ended.denied.iter().all(|denied| denied.grant.is_none()));
    }
}

#[test]
fn links_of_the_guest_lead_nowhere() {
    let world = World::new().mount("secret", "/secret", FsMode::ReadOnly).scratch(MIB);
    let world = world.mount("open", "/data", FsMode::ReadWrite);
    for (kind, plugin) in world.all() {
        let acts = json!([
            ["mkdir", "/scratch/sub"],
            ["symlink", "../../../../../../etc/passwd", "/scratch/out"],
            ["symlink", "..", "/scratch/up"],
            ["symlink", "sub/../../..", "/scratch/upper"],
            ["symlink", "out", "/scratch/chain"],
            ["symlink", "loop", "/scratch/loop"],
            ["read", "/scratch/out"],
            ["list", "/scratch/up"],
            ["list", "/scratch/upper"],
            ["read", "/scratch/chain"],
            ["read", "/scratch/loop"],
            ["write", "/scratch/out", "changed"],
            // A move between two writable folders does not lead out.
            ["rename", "/scratch/up", "/data/sub/up"],
            ["list", "/data/sub/up"],
            // A link that led nowhere still leads nowhere.
            ["rename", "/data/sub/up", "/data/up"],
            ["list", "/data/up"],
            ["read", "/data/up/secret/file"],
            ["remove", "/data/up"],
            ["link", "/secret/file", "/scratch/file"],
            ["rename", "/secret/file", "/scratch/file"],
        ]);
        let results = output(world.run(plugin, &acts));
        let expected = [
            (0..6, true),
            (6..12, false),
            (12..15, true),
            (15..17, false),
            (17..18, true),
            (18..20, false),
        ];
        for (range, works) in expected {
            for index in range {
                let result = &results[index];
                assert_eq!(
                    result.get("ok").is_some(),
                    works,
                    "{kind}: {} gave {result}",
                    acts[index]
                );
            }
        }
        assert_eq!(names(&world.path("open")), ["file", "sub"]);
    }
}

#[test]
fn raw_calls_reach_no_further_than_libraries() {
    // Opens a path in the first folder, with flags that no library would use.
    let open_at = |mount: &str, path: &str, create: u32, rights: u64| {
        let world = World::new().mount("open", mount, FsMode::ReadOnly).scratch(MIB);
        let plugin = world.bench.text(&format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "path_open"
                   (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 1)
                 (data (i32.const 16) "{path}")
                 (func (export "_start")
                   (call $exit (i32.add (i32.const 1)
                     (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const {length})
                       (i32.const {create}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 0))))))"#,
            length = path.len(),
        ));
        // An exit code of 0 would require output.
        reply(world.run(&plugin, &json!([]))).exit_code.unwrap() - 1
    };
    const PERM: i32 = 63;
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    let open = |path: &str, create: u32, rights: u64| open_at("/data", path, create, rights);
    for mount in ["/data", "/"] {
        assert_eq!(open_at(mount, "file", 0, READ), 0);
        for path in ["/etc/passwd", "/file", "../secret/file", "/", "..", "sub/../../secret"] {
            assert_eq!(open_at(mount, path, 0, READ), PERM, "{mount}: {path}");
        }
    }
    // Creating and truncating, and writing without either.
    assert_eq!(open("file", 1, WRITE), PERM);
    assert_eq!(open("file", 8, READ), PERM);
    assert_eq!(open("file", 0, WRITE), PERM);
    assert_eq!(open("new", 1, READ), PERM);
}

#[test]
fn folders_that_become_links_lead_nowhere() {
    let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(MIB);
    fs::create_dir(world.path("open/x")).unwrap();
    fs::write(world.path("open/x/file"), "inside").unwrap();
    symlink("../secret", world.path("open/y")).unwrap();
    let acts: Vec<_> = (0..200)
        .flat_map(|_| [json!(["read", "/data/x/file"]), json!(["write", "/data/x/file", "inside"])])
        .collect();
    let acts = json!(acts);
    let (x, y) = (world.path("open/x"), world.path("open/y"));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                renameat_with(CWD, &x, CWD, &y, RenameFlags::EXCHANGE).unwrap();
            }
        });
        // The guest meets both. On one processor, all acts of a run may meet the same.
        let is_met = |results: &[Value]| {
            let is_refused = |result: &Value| result["err"].is_string();
            results.iter().any(is_refused) && results.contains(&json!({"ok": "inside"}))
        };
        let run = |(kind, plugin): (&'static str, &Plugin)| {
            let (mut results, began) = (Vec::<Value>::new(), Instant::now());
            while !is_met(&results) && began.elapsed() < Duration::from_secs(60) {
                match world.run(plugin, &acts).ending {
                    Ending::Reply(reply) => {
                        let found: Vec<Value> = serde_json::from_str(reply.output.get()).unwrap();
                        results.extend(found);
                    }
                    other => results.push(json!(format!("{other:?}"))),
                }
            }
            (kind, results)
        };
        let all = world.all().map(run);
        is_over.store(true, Ordering::Relaxed);
        for (kind, results) in all {
            assert!(is_met(&results), "{kind}: {results:?}");
            assert!(!results.contains(&json!({"ok": "secret"})), "{kind}");
            assert!(results.iter().all(Value::is_object), "{kind}: {results:?}");
        }
    });
    assert_eq!(world.read("secret/file"), "secret");
}

#[test]
fn overlong_path_is_not_copied() {
    const NAME_TOO_LONG: i32 = 37;
    const LONG: &str = "(i32.const 65536) (i32.const 5000)";
    // The path is outside of the memory, so copying it would trap.
    const VAST: &str = "(i32.const 65536) (i32.const 1000000000)";
    const SHORT: &str = "(i32.const 65536) (i32.const 1)";
    let calls = [
        (
            "path_open",
            "i32 i32 i32 i32 i32 i64 i64 i32 i32",
            format!(
                "(i32.const 3) (i32.const 0) {VAST} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)"
            ),
        ),
        ("path_create_directory", "i32 i32 i32", format!("(i32.const 3) {VAST}")),
        ("path_remove_directory", "i32 i32 i32", format!("(i32.const 3) {LONG}")),
        ("path_unlink_file", "i32 i32 i32", format!("(i32.const 3) {LONG}")),
        (
            "path_filestat_get",
            "i32 i32 i32 i32 i32",
            format!("(i32.const 3) (i32.const 0) {LONG} (i32.const 16)"),
        ),
        (
            "path_filestat_set_times",
            "i32 i32 i32 i32 i64 i64 i32",
            format!("(i32.const 3) (i32.const 0) {LONG} (i64.const 0) (i64.const 0) (i32.const 2)"),
        ),
        (
            "path_readlink",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {LONG} (i32.const 16) (i32.const 16) (i32.const 32)"),
        ),
        (
            "path_rename",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {SHORT} (i32.const 3) {LONG}"),
        ),
        (
            "path_rename",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {LONG} (i32.const 3) {SHORT}"),
        ),
        (
            "path_link",
            "i32 i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) (i32.const 0) {SHORT} (i32.const 3) {VAST}"),
        ),
        ("path_symlink", "i32 i32 i32 i32 i32", format!("{VAST} (i32.const 3) {SHORT}")),
        ("path_symlink", "i32 i32 i32 i32 i32", format!("{SHORT} (i32.const 3) {VAST}")),
    ];
    let world = World::new().scratch(MIB);
    for (name, parameters, arguments) in calls {
        let plugin = world.bench.text(&format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "{name}" (func $call (param {parameters}) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 2)
                 (func (export "_start")
                   (memory.fill (i32.const 65536) (i32.const 97) (i32.const 5000))
                   (call $exit (call $call {arguments}))))"#
        ));
        let reply = reply(world.run(&plugin, &json!([])));
        assert_eq!(reply.exit_code, Some(NAME_TOO_LONG), "{name} {arguments}");
    }
}
