//! Bounds on writes, for every call that writes.

use runner_model::grants::FsMode;
use serde_json::json;

use super::{ENTRY, KIB, MIB, World, denied, error, output, reply};

#[test]
fn writes_are_counted_to_the_byte() {
    // The file itself, and 10 bytes.
    let world = World::new().scratch(ENTRY + 10);
    for (kind, plugin) in world.all() {
        let acts = json!([["fill", "/scratch/a", 3]]);
        let ended = world.run(plugin, &acts);
        let refused = "a write to a file was refused, because `limits.scratch` is 4 KiB";
        assert_eq!(denied(&ended), [refused], "{kind}");
        assert_eq!(output(ended), json!([{"ok": [9, "nospc"]}]), "{kind}");
    }

    // Overwriting and truncating do not make room.
    let world = World::new().scratch(ENTRY + 10);
    world.assert_all(
        &json!([
            ["write", "/scratch/a", "12345"],
            ["write-at", "/scratch/a", 0, "1234"],
            ["write", "/scratch/a", "12"],
            ["size", "/scratch/a"],
            ["append", "/scratch/a", "1"],
            ["append", "/scratch/a", "1"],
        ]),
        &json!([
            {"ok": null}, {"ok": null}, {"err": "nospc"}, {"ok": 0}, {"ok": null}, {"err": "nospc"},
        ]),
    );
}

#[test]
fn temporary_folder_shares_the_quota() {
    let world = World::new().scratch(2 * ENTRY + 10);
    let acts = json!([
        ["write", "/tmp/a", "12345"],
        ["write", "/scratch/a", "12345"],
        ["append", "/tmp/a", "1"],
        ["size", "/tmp/a"],
    ]);
    world.assert_all(&acts, &json!([{"ok": null}, {"ok": null}, {"err": "nospc"}, {"ok": 5}]));

    // A granted folder takes its place.
    let world = World::new().scratch(MIB).mount("open", "/tmp", FsMode::ReadOnly);
    world.assert_all(&json!([["list", "/tmp"]]), &json!([{"ok": ["file", "sub"]}]));
}

#[test]
fn writes_within_quota_are_not_reported() {
    let world = World::new().scratch(ENTRY + 10);
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &json!([["write", "/scratch/a", "1234567890"]]));
        assert_eq!(denied(&ended), [""; 0], "{kind}");
        let printed = r#"[{"ok":null}]"#.len() as u64;
        assert_eq!(ended.usage.bytes_out, printed + 10, "{kind}");
        assert_eq!(output(ended), json!([{"ok": null}]), "{kind}");
    }
}

#[test]
fn distant_byte_costs_the_growth_of_its_file() {
    let world = World::new().scratch(MIB);
    let far = 1_u64 << 40;
    world.assert_all(
        &json!([
            ["write", "/scratch/a", "x"],
            ["write-at", "/scratch/a", far, "x"],
            ["pwrite", "/scratch/a", far, "x"],
            ["set-size", "/scratch/a", far],
            ["size", "/scratch/a"],
            ["set-size", "/scratch/a", 600 * KIB],
            ["set-size", "/scratch/a", 1],
            ["set-size", "/scratch/a", 600 * KIB],
            ["size", "/scratch/a"],
        ]),
        &json!([
            {"ok": null}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"ok": 1}, {"ok": null}, {"ok": null},
            {"err": "nospc"}, {"ok": 1},
        ]),
    );
}

#[test]
fn empty_files_folders_and_links_cost_too() {
    let world = World::new().scratch(10 * ENTRY);
    world.assert_all(
        &json!([["flood", "/scratch"], ["remove", "/scratch/0"], ["write", "/scratch/1", "x"]]),
        &json!([{"ok": 10}, {"ok": null}, {"err": "nospc"}]),
    );
    let world = World::new().scratch(4 * ENTRY);
    world.assert_all(
        &json!([
            ["mkdir", "/scratch/a"],
            ["mkdir", "/scratch/a"],
            ["write", "/scratch/b", ""],
            ["write", "/scratch/b", ""],
            ["link", "/scratch/b", "/scratch/c"],
            ["symlink", "b", "/scratch/d"],
            ["mkdir", "/scratch/e"],
            ["write", "/scratch/e", ""],
            ["link", "/scratch/b", "/scratch/e"],
            ["symlink", "b", "/scratch/e"],
            // Calls that cost nothing still work.
            ["rename", "/scratch/b", "/scratch/e"],
            ["write", "/scratch/e", ""],
        ]),
        &json!([
            {"ok": null}, {"err": "exist"}, {"ok": null}, {"ok": null}, {"ok": null}, {"ok": null},
            {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"ok": null}, {"ok": null},
        ]),
    );
}

#[test]
fn writes_to_granted_folders_count_as_well() {
    let guests = World::new();
    for (kind, plugin) in guests.all() {
        let world = World::new().mount("open", "/data", FsMode::ReadWrite).scratch(5);
        let acts = json!([
            ["write", "/data/file", "12345"],
            ["append", "/data/file", "6"],
            ["write", "/scratch/a", ""],
            ["write", "/data/new", ""],
        ]);
        let expected = json!([{"ok": null}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}]);
        assert_eq!(output(world.run(plugin, &acts)), expected, "{kind}");
        assert_eq!(world.read("open/file"), "12345");

        // Without a limit, nothing may be written.
        let world = World::new().mount("open", "/data", FsMode::ReadWrite);
        let acts =
            json!([["append", "/data/file", "6"], ["mkdir", "/data/new"], ["list", "/scratch"]]);
        let results = output(world.run(plugin, &acts));
        assert_eq!(results[0], json!({"err": "nospc"}), "{kind}");
        assert_eq!(results[1], json!({"err": "nospc"}), "{kind}");
        assert!(results[2]["err"].is_string(), "{kind}");
        assert_eq!(world.read("open/file"), "content");
    }
}

#[test]
fn failure_without_room_names_its_limit() {
    let world = World::new().scratch(KIB);
    let refused = "a write to a file was refused, because `limits.scratch` is 1 KiB";
    let full = json!(["write", "/scratch/a", "x"]);
    for (kind, plugin) in world.all() {
        let error = error(world.run(plugin, &json!([full, ["panic"]])));
        let stderr = error.stderr.unwrap();
        assert!(stderr.contains("the guest's own words"), "{kind}: {stderr}");
        assert!(!stderr.contains(refused) && error.message.ends_with(refused), "{kind}: {stderr}");
    }
    let ended = world.run(world.component(), &json!([full, ["fail"]]));
    let expected = format!(r#"it did not work: "nospc"; {refused}"#);
    assert_eq!(&*error(ended).message, expected);
    for (kind, plugin) in world.commands() {
        let ended = world.run(plugin, &json!([full, ["fail"]]));
        assert_eq!(denied(&ended), [refused], "{kind}");
        assert_eq!(reply(ended).exit_code, Some(1), "{kind}");
    }
}

#[test]
fn every_wasi_0_2_write_is_counted() {
    let world = World::new().scratch(ENTRY + 8);
    let ended = world.run(world.component(), &json!({"raw": 8}));
    let full = "insufficient-space";
    assert_eq!(
        output(ended),
        json!({
            "write": full, "far": full, "set-size": full, "write-stream": full, "far-stream": full,
            "append-stream": full, "zeroes": full, "unchecked": full, "closed": "closed",
            // Five of eight bytes are written. Four more at once are too many.
            "splice": full, "read-only": "bad-descriptor", "size": 5,
        })
    );
}

#[test]
fn every_preview_1_write_is_counted() {
    let world = World::new().scratch(ENTRY);
    let plugin = world.bench.text(
        r#"(module
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (data (i32.const 16) "a")
             (func (export "_start")
               (drop (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 1)
                 (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
               (call $exit (call $allocate (i32.load (i32.const 0)) (i64.const 0) (i64.const 1000000)))))"#,
    );
    const NOT_SUPPORTED: i32 = 58;
    assert_eq!(reply(world.run(&plugin, &json!([]))).exit_code, Some(NOT_SUPPORTED));
}

#[test]
fn number_of_new_folders_is_bounded() {
    let world = World::new().scratch(64 * MIB);
    let ended = world.run(world.component(), &json!({"folders": 10_000}));
    let refused = "a new folder was refused, because an attempt may have at most 4000 at once";
    assert_eq!(denied(&ended), [refused]);
    assert_eq!(ended.fixed_limit.as_deref(), Some(refused));
    let expected = json!({"made": 4000, "refused": "insufficient-space"});
    assert_eq!(output(ended), expected);
}

#[test]
fn removed_folders_make_room() {
    let world = World::new().scratch(2 * ENTRY);
    world.assert_all(
        &json!([
            ["mkdir", "/scratch/a"],
            ["mkdir", "/scratch/b"],
            ["mkdir", "/scratch/c"],
            ["rmdir", "/scratch/b"],
            ["rmdir", "/scratch/b"],
            ["mkdir", "/scratch/c"],
            // A folder that is replaced is removed, but not by itself.
            ["rename", "/scratch/a", "/scratch/c"],
            ["rename", "/scratch/c", "/scratch/c"],
            ["mkdir", "/scratch/a"],
            ["mkdir", "/scratch/b"],
        ]),
        &json!([
            {"ok": null}, {"ok": null}, {"err": "nospc"}, {"ok": null}, {"err": "noent"}, {"ok": null}, {"ok": null},
            {"ok": null}, {"ok": null}, {"err": "nospc"},
        ]),
    );
    // Programs lock files by making and removing a folder.
    let world = World::new().scratch(MIB);
    let locks = 4_100;
    let acts: Vec<_> = (0..locks)
        .flat_map(|_| ["mkdir", "rmdir"].map(|act| json!([act, "/scratch/lock"])))
        .collect();
    let (_, module) = world.commands()[1];
    let done = output(world.run(module, &json!(acts)));
    assert!(done.as_array().unwrap().iter().all(|done| *done == json!({"ok": null})), "{done}");
}
