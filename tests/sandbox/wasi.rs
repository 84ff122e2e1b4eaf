//! Every WASI call inside the sandbox of workers. A system call that its list lacks fails here.

use std::{fmt::Write as _, fs};

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::runner::Runner;

/// Addresses of the module's texts and of the memory that calls write. Only the descriptors at 512 (fresh file) and 540
/// (second file) are read back.
const DATA: &str = r#"
    (data (i32.const 0) "\40\01\00\00\04\00\00\00")
    (data (i32.const 16) "\00\08\00\00")
    (data (i32.const 256) "file") (data (i32.const 272) "dir") (data (i32.const 288) "link")
    (data (i32.const 304) "more") (data (i32.const 320) "abcd") (data (i32.const 336) "name")
    (data (i32.const 10024) "\40\42\0f\00")
"#;
const FILE: &str = "(i32.load (i32.const 512))";
const SECOND: &str = "(i32.load (i32.const 540))";

/// The calls of preview 1 with their results. Arguments are numbers, with `L` 64-bit ones; `F` is the file, `S` the
/// second one. Descriptor 3 is `/scratch`. `accessed` and `modified` are no calls: their results are times of the last
/// `path_filestat_get`, in nanoseconds.
const CALLS: &[(&str, &str, u32)] = &[
    ("args_sizes_get", "520 524", 0),
    ("args_get", "12000 13000", 0),
    ("environ_sizes_get", "520 524", 0),
    ("environ_get", "12000 13000", 0),
    ("clock_res_get", "0 528", 0),
    ("clock_res_get", "1 528", 0),
    ("clock_time_get", "0 1L 528", 0),
    ("clock_time_get", "1 1L 528", 0),
    ("random_get", "8192 64", 0),
    ("sched_yield", "", 0),
    ("poll_oneoff", "10000 11000 1 520", 0),
    ("fd_prestat_get", "3 528", 0),
    ("fd_prestat_dir_name", "3 8192 8", 0),
    ("path_create_directory", "3 272 3", 0),
    ("path_create_directory", "3 272 3", EXIST),
    ("path_open", "3 0 256 4 1 536870911L 536870911L 0 512", 0),
    ("fd_write", "F 0 1 520", 0),
    ("fd_pwrite", "F 0 1 8L 520", 0),
    ("fd_seek", "F 1L 1 528", 0),
    ("fd_seek", "F 0L 2 528", 0),
    ("fd_seek", "F 0L 0 528", 0),
    ("fd_read", "F 0 1 520", 0),
    ("fd_pread", "F 0 1 1L 520", 0),
    ("fd_tell", "F 528", 0),
    ("fd_advise", "F 0L 0L 0", 0),
    ("fd_advise", "F 0L 0L 1", 0),
    ("fd_advise", "F 0L 0L 2", 0),
    ("fd_advise", "F 0L 0L 3", 0),
    ("fd_advise", "F 0L 0L 4", 0),
    ("fd_advise", "F 0L 0L 5", 0),
    ("fd_allocate", "F 0L 1L", NOTSUP),
    ("fd_datasync", "F", 0),
    ("fd_sync", "F", 0),
    ("fd_fdstat_get", "F 8192", 0),
    ("fd_fdstat_set_flags", "F 4", 0),
    ("fd_fdstat_set_flags", "F 1", 0),
    // Beyond the end.
    ("fd_write", "F 0 1 520", 0),
    ("fd_filestat_get", "F 8192", 0),
    ("fd_filestat_set_size", "F 2L", 0),
    ("fd_filestat_set_size", "F 5L", 0),
    ("fd_filestat_set_times", "F 0L 0L 0", 0),
    ("fd_filestat_set_times", "F 0L 0L 10", 0),
    ("fd_filestat_set_times", "F 3L 4L 1", 0),
    ("fd_filestat_set_times", "F 3L 4L 4", 0),
    ("fd_filestat_set_times", "F 3L 4L 5", 0),
    ("fd_filestat_set_times", "F 0L 0L 3", INVAL),
    ("fd_fdstat_set_rights", "F 0L 0L", NOTSUP),
    ("path_filestat_get", "3 1 256 4 8192", 0),
    ("modified", "", 4),
    // Of a file: without and with following links, and each flag.
    ("path_filestat_set_times", "3 0 256 4 5L 6L 5", 0),
    ("path_filestat_get", "3 0 256 4 8192", 0),
    ("accessed", "", 5),
    ("modified", "", 6),
    ("path_filestat_set_times", "3 1 256 4 0L 0L 10", 0),
    ("path_filestat_set_times", "3 1 256 4 7L 8L 4", 0),
    ("path_filestat_set_times", "3 0 256 4 7L 8L 1", 0),
    ("path_filestat_set_times", "3 0 256 4 0L 0L 0", 0),
    ("path_filestat_get", "3 1 256 4 8192", 0),
    ("accessed", "", 7),
    ("modified", "", 8),
    ("path_filestat_set_times", "3 0 256 4 0L 0L 3", INVAL),
    ("path_filestat_set_times", "3 1 256 4 0L 0L 12", INVAL),
    ("path_filestat_set_times", "3 0 272 3 9L 9L 5", 0),
    ("path_filestat_set_times", "3 0 304 4 9L 9L 5", NOENT),
    ("path_filestat_get", "3 0 272 3 8192", 0),
    ("modified", "", 9),
    ("path_link", "3 0 256 4 3 304 4", 0),
    ("path_link", "3 1 256 4 3 336 4", INVAL),
    ("path_symlink", "256 4 3 288 4", 0),
    ("path_readlink", "3 288 4 8192 64 520", 0),
    // Of a symbolic link itself, and of its file.
    ("path_filestat_set_times", "3 0 288 4 10L 11L 5", 0),
    ("path_filestat_get", "3 0 288 4 8192", 0),
    ("accessed", "", 10),
    ("modified", "", 11),
    ("path_filestat_set_times", "3 1 288 4 12L 13L 5", 0),
    ("path_filestat_get", "3 1 288 4 8192", 0),
    ("modified", "", 13),
    ("path_filestat_set_times", "3 0 288 4 14L 0L 1", 0),
    ("path_filestat_set_times", "3 0 288 4 0L 0L 3", INVAL),
    ("path_filestat_get", "3 0 288 4 8192", 0),
    ("accessed", "", 14),
    ("modified", "", 11),
    ("path_filestat_set_times", "3 0 288 4 0L 0L 10", 0),
    ("path_open", "3 0 288 4 0 536870911L 536870911L 0 544", LOOP),
    ("path_open", "3 1 288 4 0 536870911L 536870911L 0 540", 0),
    ("path_open", "3 0 256 4 5 536870911L 536870911L 0 544", EXIST),
    ("path_open", "3 0 256 4 2 2L 2L 0 544", NOTDIR),
    ("path_open", "3 0 272 3 2 2L 2L 0 544", 0),
    ("path_open", "3 0 336 4 5 64L 64L 0 544", 0),
    ("path_open", "3 0 336 4 8 64L 64L 1 544", 0),
    ("path_open", "3 0 336 4 0 2L 2L 4 544", 0),
    ("path_open", "3 0 336 4 0 2L 2L 2 544", NOTSUP),
    ("path_open", "3 0 336 4 0 2L 2L 8 544", NOTSUP),
    ("path_open", "3 0 336 4 0 2L 2L 16 544", NOTSUP),
    ("path_unlink_file", "3 336 4", 0),
    ("fd_readdir", "3 8192 1024 0L 520", 0),
    ("path_rename", "3 304 4 3 336 4", 0),
    ("path_unlink_file", "3 336 4", 0),
    ("path_unlink_file", "3 272 3", ISDIR),
    ("path_remove_directory", "3 256 4", NOTDIR),
    ("path_remove_directory", "3 272 3", 0),
    ("sock_accept", "F 0 520", NOTSOCK),
    ("sock_recv", "F 0 1 0 520 524", NOTSOCK),
    ("sock_send", "F 0 1 0 520", NOTSOCK),
    ("sock_shutdown", "F 1", NOTSOCK),
    ("fd_renumber", "S F", 0),
    // Through the new number.
    ("fd_write", "F 0 1 520", 0),
    ("fd_close", "F", 0),
    ("fd_read", "F 0 1 520", BADF),
    ("fd_read", "0 0 1 520", 0),
    ("fd_write", "2 0 1 520", 0),
];
const BADF: u32 = 8;
const EXIST: u32 = 20;
const INVAL: u32 = 28;
const ISDIR: u32 = 31;
const LOOP: u32 = 32;
const NOENT: u32 = 44;
const NOTDIR: u32 = 54;
const NOTSOCK: u32 = 57;
const NOTSUP: u32 = 58;

/// A program that makes the calls and prints a letter for each result.
fn program() -> String {
    let (mut imports, mut body) = (String::new(), String::new());
    let mut imported = Vec::new();
    for (index, (name, arguments, _)) in CALLS.iter().enumerate() {
        let at = 2048 + index;
        let mut store = |value: &str| {
            writeln!(body, "(i32.store8 (i32.const {at}) (i32.add (i32.const 48) {value}))")
                .unwrap();
        };
        match *name {
            "accessed" => {
                store("(i32.wrap_i64 (i64.load (i32.const 8232)))");
                continue;
            }
            "modified" => {
                store("(i32.wrap_i64 (i64.load (i32.const 8240)))");
                continue;
            }
            _ => {}
        }
        let (mut types, mut values) = (String::new(), String::new());
        for argument in arguments.split_whitespace() {
            let (kind, value) = match (argument, argument.strip_suffix('L')) {
                ("F", _) => ("i32", FILE.to_owned()),
                ("S", _) => ("i32", SECOND.to_owned()),
                (_, Some(long)) => ("i64", format!("(i64.const {long})")),
                (short, None) => ("i32", format!("(i32.const {short})")),
            };
            write!(types, " {kind}").unwrap();
            write!(values, " {value}").unwrap();
        }
        if !imported.contains(name) {
            imported.push(*name);
            writeln!(
                imports,
                "(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} (param{types}) (result i32)))"
            )
            .unwrap();
        }
        store(&format!("(call ${name}{values})"));
    }
    let count = CALLS.len();
    format!(
        r#"(module {imports}
        (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
        (memory (export "memory") 1) {DATA}
        (func (export "_start") {body}
            (i32.store (i32.const 20) (i32.const {count}))
            (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 520)))
            (call $proc_exit (i32.const 0))))"#
    )
}

#[test]
fn wasi_calls_pass_the_wall() {
    let runner = Runner::new(&[]);
    runner.wat("calls.wasm", &program());
    runner.scenario(
        r#"
        [providers.p]
        plugin = "calls.wasm"
        limits = { scratch = "1MB" }
        [[tests]]
        id = "a"
        input = 1
        "#,
    );
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("a");
    let answers = row["output"].as_str().unwrap().bytes();
    let answers: Vec<_> = answers.map(|letter| u32::from(letter) - 48).collect();
    assert_eq!(answers.len(), CALLS.len(), "{row}");
    for ((name, arguments, expected), answer) in CALLS.iter().zip(answers) {
        assert_eq!(answer, *expected, "{name} {arguments}");
    }
}

#[test]
fn components_use_files_inside_the_wall() {
    let runner = Runner::new(&["files"]);
    fs::create_dir(runner.path("granted")).unwrap();
    let acts = |folder: &str| {
        let path = |name: &str| format!("{folder}/{name}");
        json!([
            ["write", path("a"), "text"],
            ["append", path("a"), "more"],
            ["write-at", path("a"), 2, "x"],
            ["set-size", path("a"), 5],
            ["read", path("a")],
            ["size", path("a")],
            ["mkdir", path("d")],
            ["rename", path("a"), path("d/a")],
            ["link", path("d/a"), path("b")],
            ["symlink", "b", path("c")],
            ["readlink", path("c")],
            ["touch", path("c")],
            ["set-times", path("c"), 7, "nofollow"],
            ["modified", path("c"), "nofollow"],
            ["set-times", path("c"), 9, "follow"],
            ["modified", path("b"), "nofollow"],
            ["modified", path("c"), "nofollow"],
            ["set-times", folder, 11, "nofollow"],
            ["list", folder],
            ["remove", path("d/a")],
            ["rmdir", path("d")]
        ])
    };
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "files.wasm"
        limits = {{ scratch = "1MB" }}
        [[providers.p.grants.fs]]
        path = "granted"
        mount = "/granted"
        mode = "rw"
        [[tests]]
        id = "scratch"
        input = {}
        [[tests]]
        id = "granted"
        input = {}
        [[tests]]
        id = "raw"
        input = {{ raw = 2000 }}
        "#,
        acts("/scratch"),
        acts("/granted"),
    ));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    for test in ["scratch", "granted"] {
        let results = run.row(test)["output"].clone();
        for result in results.as_array().unwrap() {
            assert!(result.get("ok").is_some(), "{test}: {result}");
        }
        assert_eq!(results[4]["ok"], json!("textm"), "{test}");
        let times = [13, 15, 16].map(|index| results[index]["ok"].clone());
        assert_eq!(times, [7, 9, 7].map(Value::from), "{test}");
    }
    let raw = run.row("raw")["output"].clone();
    let refused = raw.as_object().unwrap().values();
    let is_refused = |result: &&Value| result.as_str().is_some_and(|word| word == "not-permitted");
    assert_eq!(refused.filter(is_refused).count(), 0, "{raw}");
    assert!(raw["size"].as_u64().unwrap() > 0, "{raw}");
}

#[test]
fn stack_is_a_limit_of_each_provider() {
    let runner = Runner::new(&[]);
    let deep = |name: &str, levels: u32| {
        runner.wat(
            name,
            &format!(
                r#"(module (memory (export "memory") 1)
                     (func $deep (param i32) (result i32)
                       (if (result i32) (local.get 0)
                         (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
                         (else (i32.const 0))))
                     (func (export "_start") (drop (call $deep (i32.const {levels})))))"#
            ),
        );
    };
    deep("deep.wasm", 100_000);
    deep("endless.wasm", u32::MAX);
    let scenario = |limits: &str| {
        runner.scenario(&format!(
            "[providers.small]\nplugin = \"deep.wasm\"\noutput = \"text\"\n\
             [providers.large]\nplugin = \"deep.wasm\"\noutput = \"text\"\nlimits = {{ {limits} }}\n\
             [providers.endless]\nplugin = \"endless.wasm\"\noutput = \"text\"\nlimits = {{ stack = \"16MiB\" }}\n\
             [[tests]]\nid = \"a\"\nrepeat = 20\n"
        ));
    };
    scenario("stack = \"8MiB\"");
    runner.exec(&["-j", "8"]).expect(1);
    let outcomes = |trial: &str, message: &str| {
        let rows = runner.runs().pop().unwrap().rows();
        let mut rows = rows.iter().filter(|row| row["provider"] == trial);
        rows.all(|row| match message {
            "" => row["outcome"] == "passed",
            _ => {
                let error = row["error"]["message"].as_str().unwrap();
                row["error"]["class"] == "trap" && error.contains(message)
            }
        })
    };
    assert!(
        outcomes("small", "call stack exhausted") && outcomes("small", "`limits.stack` is 512 KiB")
    );
    assert!(outcomes("large", "") && outcomes("endless", "`limits.stack` is 16 MiB"));
    assert_eq!(runner.only_run().rows().len(), 60);
    let into =
        ["--into", "lowered", "--provider", "large", "--limit", "stack=1MiB", "--repeat", "1"];
    snapshot(&runner.exec(&into).expect(1));
    let words = "from 512KiB to 16MiB";
    for stack in ["\"17MiB\"", "0", "1000"] {
        scenario(&format!("stack = {stack}"));
        runner.exec(&[]).expect(2).says(&["scenario.toml:7:", words]);
    }
    scenario("");
    runner.exec(&["--limit", "stack=17MiB"]).expect(2).says(&["--limit", words]);
}
