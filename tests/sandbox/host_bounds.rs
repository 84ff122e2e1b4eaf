//! What a running guest can make the host hold and do. Beside the guest's own memory that is at most 64 MiB, and what is
//! done behind its end is bounded.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::{
    bombs,
    peak::measured,
    rows::expanded,
    runner::{CommandExt as _, Ran, Runner},
};

const MIB: u64 = 1024 * 1024;
/// What an attempt may take of the host's memory, beside the guest's.
const BOUND: u64 = 64 * MIB;

const DESCRIPTION: &str = r#"{"ok":{"name":"p","version":"1","summary":""}}"#;

/// A command that writes `prefix`, then `part` so often that it has `bytes`, then `suffix` in the place of the last byte.
fn writing(prefix: &str, part: &str, suffix: &str, bytes: usize) -> String {
    let escaped = |text: &str| -> String {
        text.bytes().fold(String::new(), |mut escaped, byte| {
            write!(escaped, "\\{byte:02x}").unwrap();
            escaped
        })
    };
    let start = 1024 - prefix.len();
    let count = (bytes - prefix.len() - suffix.len()) / part.len();
    format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write"
            (func $write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "args_sizes_get"
            (func $sizes (param i32 i32) (result i32)))
          (memory (export "memory") 80)
          (data (i32.const 16) "{part_bytes}")
          (data (i32.const 512) "{suffix_bytes}")
          (data (i32.const {start}) "{prefix_bytes}")
          (data (i32.const 256) "{description}")
          (func (export "_start") (local $count i32) (local $end i32)
            (drop (call $sizes (i32.const 48) (i32.const 52)))
            (if (i32.eq (i32.load (i32.const 52)) (i32.const {describe}))
              (then
                (i32.store (i32.const 0) (i32.const 256))
                (i32.store (i32.const 4) (i32.const {description_length}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (return)))
            (local.set $end (i32.const 1024))
            (loop $next
              (memory.copy (local.get $end) (i32.const 16) (i32.const {part_length}))
              (local.set $end (i32.add (local.get $end) (i32.const {part_length})))
              (local.set $count (i32.add (local.get $count) (i32.const 1)))
              (br_if $next (i32.lt_u (local.get $count) (i32.const {count}))))
            (local.set $end (i32.sub (local.get $end) (i32.const 1)))
            (memory.copy (local.get $end) (i32.const 512) (i32.const {suffix_length}))
            (i32.store (i32.const 0) (i32.const {start}))
            (i32.store (i32.const 4)
              (i32.sub (i32.add (local.get $end) (i32.const {suffix_length})) (i32.const {start})))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
        description = escaped(DESCRIPTION),
        description_length = DESCRIPTION.len(),
        describe = "provider\0describe\0".len(),
        part_bytes = escaped(part),
        part_length = part.len(),
        suffix_bytes = escaped(suffix),
        suffix_length = suffix.len(),
        prefix_bytes = escaped(prefix),
    )
}

/// Runs the scenario, and tells the most memory that the program had, in bytes.
fn exec(runner: &Runner) -> (Ran, u64) {
    measured(runner.command(&["exec", "scenario.toml"]))
}

/// Runs a command in its text form on one test, and returns that test's row and what memory it took.
#[track_caller]
fn row(text: &str, provider: &str, test: &str) -> (Value, u64) {
    let runner = Runner::new(&[]);
    runner.wat("p.wasm", text);
    runner.write("number.json", r#"{"items": {"type": "string"}}"#);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"p.wasm\"\n{provider}\n[[tests]]\nid = \"t\"\n{test}\n"
    ));
    let (ran, peak) = exec(&runner);
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    (runner.only_run().row("t"), peak)
}

/// What the program takes for a command that has little to say.
fn usual() -> u64 {
    let text = writing("[", "0,", "]", 10);
    let (row, peak) = row(&text, "output = \"json\"", "");
    assert_eq!(row["outcome"], "passed", "{row}");
    peak
}

const REPLY: usize = 4 * 1024 * 1024;
/// Every expectation that repeats what came.
const EXPECT: &str = "expect = { equals = [1, 2], contains = [3], matches = \"x\", json = [4], schema = \"number.json\" }";

#[test]
fn what_a_reply_becomes_is_told_before_it_does() {
    let usual = usual();
    let plain = ["[", "]"];
    let answered = ["{\"ok\":{\"output\":[", "]}}"];
    let checked = ["{\"ok\":{\"output\":0,\"checks\":[", "]}}"];
    let measured = ["{\"ok\":{\"output\":0,\"metrics\":[", "]}}"];
    let json = "protocol = \"json\"";
    for (provider, [prefix, suffix], part) in [
        ("output = \"json\"", plain, "{\"\":0},"),
        ("output = \"json\"", plain, "0,"),
        (json, answered, "[[]],"),
        (json, checked, "{\"name\":\"\",\"verdict\":\"pass\"},"),
        (json, measured, "{\"name\":\"\",\"value\":0},"),
    ] {
        let text = writing(prefix, part, suffix, REPLY);
        let (row, peak) = row(&text, provider, EXPECT);
        let error = &row["error"];
        assert_eq!(
            (&error["class"], &error["code"]),
            (&json!("limit"), &json!("reply"))
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("made of too many parts"), "{message}");
        let more = peak.saturating_sub(usual) / MIB;
        assert!(more * MIB < BOUND, "{part}: {more} MiB");
    }
}

#[test]
fn a_reply_has_only_so_many_checks_and_metrics() {
    for (key, part, most) in [
        ("checks", "{\"name\":\"\",\"verdict\":\"pass\"},", 10_000),
        ("metrics", "{\"name\":\"\",\"value\":0},", 1_000),
    ] {
        let reply = |count: usize| {
            let prefix = format!("{{\"ok\":{{\"output\":0,\"{key}\":[");
            let suffix = "]}}";
            let bytes = prefix.len() + suffix.len() + count * part.len();
            let text = writing(&prefix, part, suffix, bytes);
            row(&text, "protocol = \"json\"", "").0
        };
        assert_eq!(reply(most)["outcome"], "passed");
        let says = format!(
            "the reply has {} {key}, and at most {most} are allowed",
            most + 1
        );
        assert_eq!(reply(most + 1)["error"]["message"], says.as_str());
    }
}

#[test]
fn a_run_holds_the_file_of_one_plugin_at_a_time() {
    let usual = usual();
    let runner = Runner::new(&[]);
    let mut scenario = String::new();
    for provider in ["a", "b", "c", "d"] {
        // A custom section, which is a part of the file and of nothing that is made of it.
        let mut file = wat::parse_str(writing("[", "0,", "]", 10)).unwrap();
        let content = [provider.as_bytes(), &vec![0; 40 << 20]].concat();
        file.extend(
            [
                &[0],
                bombs::leb(content.len() + 2).as_slice(),
                b"\x01x",
                &content,
            ]
            .concat(),
        );
        runner.write(&format!("{provider}.wasm"), file);
        scenario += &format!("[providers.{provider}]\nplugin = \"{provider}.wasm\"\n");
    }
    runner.scenario(&format!("{scenario}[[tests]]\nid = \"t\"\n"));
    let (ran, peak) = exec(&runner);
    ran.expect(0);
    let more = peak.saturating_sub(usual) / MIB;
    assert!(more < 100, "four files of 40 MiB took {more} MiB");
}

#[test]
fn a_large_reply_that_fails_every_expectation_is_judged_within_bounds() {
    let usual = usual();
    for (provider, part) in [
        ("output = \"json\"", "0.25,"),
        ("output = \"json\"", "\"some words\","),
    ] {
        // As much as may be a value.
        let bytes = 200_000 * part.len();
        let text = writing("[", part, "]", bytes);
        let (row, peak) = row(&text, provider, EXPECT);
        assert_eq!(row["outcome"], "failed", "{row}");
        assert_eq!(row["checks"].as_array().unwrap().len(), 5, "{row}");
        assert!(row["output"]["artifact"].is_string(), "{row}");
        let more = peak.saturating_sub(usual) / MIB;
        assert!(more * MIB < BOUND, "{part}: {more} MiB");
    }
    for part in ["\n", "words of a line\n", "{\"\":0},"] {
        let text = writing("", part, "\n", REPLY);
        let (row, peak) = row(
            &text,
            "",
            "expect = { equals = \"a\\nb\", contains = [\"no\"], matches = \"^no$\" }",
        );
        assert_eq!(row["outcome"], "failed", "{row}");
        let checks = row["checks"].as_array().unwrap();
        assert!(
            checks[0]["diff"]
                .as_str()
                .is_some_and(|diff| diff.len() < 10_000)
        );
        let more = peak.saturating_sub(usual) / MIB;
        assert!(more * MIB < BOUND, "{part:?}: {more} MiB");
    }
}

#[test]
fn what_a_provider_may_well_answer_is_no_bomb() {
    for (part, count) in [
        ("-0.0123456789012345,", 150_000),
        ("{\"id\":1,\"text\":\"words\"},", 20_000),
    ] {
        let text = writing("[", part, "]", part.len() * count);
        let (row, _) = row(&text, "output = \"json\"", "");
        assert_eq!(row["outcome"], "passed", "{row}");
    }
    let text = writing("", "x", "x", REPLY);
    assert_eq!(row(&text, "", "").0["outcome"], "passed");
}

/// A name of Rust's that stands for a text of 2^`doublings` parts.
fn bomb(doublings: usize) -> String {
    let mut name = "_RINvCs1_4bomb1f".to_owned();
    let mut last = "l".to_owned();
    for _ in 0..doublings {
        let place = name.len() - "_R".len();
        write!(name, "T{last}{last}E").unwrap();
        last = format!("B{}", bombs::base_62(place));
    }
    name + "E"
}

/// A command that traps in functions of these names, each called by the one before.
fn trapping(names: &[String]) -> String {
    let mut text = "(module (memory (export \"memory\") 1)\n".to_owned();
    for (index, name) in names.iter().enumerate() {
        let code = match index + 1 == names.len() {
            true => "unreachable".to_owned(),
            false => format!("call $f{}", index + 1),
        };
        writeln!(text, "(func $f{index} (@name \"{name}\") {code})").unwrap();
    }
    text + "(func (export \"_start\") call $f0))"
}

#[test]
fn names_of_functions_are_told_without_what_they_stand_for() {
    let usual = usual();
    let cpp = format!("_Z1f{}", "SaIS_E".repeat(2_000));
    for names in [
        vec![bomb(60); 3],
        vec![bomb(500); 3],
        vec![cpp],
        vec!["x".repeat(99_999); 20],
        vec!["x".repeat(10 << 20)],
    ] {
        let (row, peak) = row(&trapping(&names), "", "");
        let error = &row["error"];
        assert_eq!(error["code"], "unreachable-code-reached", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.len() < 2_000, "{}", message.len());
        let more = peak.saturating_sub(usual) / MIB;
        assert!(more * MIB < BOUND, "{more} MiB");
    }
    let names = [
        "_RNvNtCs1_6answer5inner4fail",
        "_ZN6answer4main17h0123456789abcdefE",
    ];
    let (row, _) = row(&trapping(&names.map(str::to_owned)), "", "");
    let message = row["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("in `answer::main`, called by `answer::inner::fail`"),
        "{message}"
    );
}

#[test]
fn of_a_recursion_without_end_the_last_calls_are_told() {
    let usual = usual();
    let text =
        "(module (memory (export \"memory\") 1) (func $again (export \"_start\") call $again))";
    let (row, peak) = row(text, "", "");
    let message = row["error"]["message"].as_str().unwrap();
    assert_eq!(message.matches("`again`").count(), 5, "{message}");
    assert!(peak.saturating_sub(usual) < BOUND);
}

#[test]
fn a_heap_that_is_full_is_out_of_memory_and_an_exception_a_trap() {
    let heap = r#"(module
      (type $node (struct (field (ref null $node)) (field i64 i64 i64 i64)))
      (memory (export "memory") 1)
      (func (export "_start") (local $list (ref null $node))
        (loop $next
          (local.set $list (struct.new $node (local.get $list)
            (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
          (br $next))))"#;
    let usual = usual();
    let (row, peak) = row(heap, "limits = { memory = \"16MiB\" }", "");
    assert_eq!(row["error"]["class"], "out-of-memory", "{row}");
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains("`limits.memory` is 16.0 MiB"), "{message}");
    assert!(peak.saturating_sub(usual) < BOUND + 16 * MIB);

    let exception = r#"(module (tag $thrown) (memory (export "memory") 1)
      (func $fails (export "_start") (throw $thrown)))"#;
    let (row, _) = self::row(exception, "", "");
    let error = &row["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("trap"), &json!("uncaught-exception")),
        "{error}"
    );
}

/// Runs the guest with files on one input.
fn files(input: &str) -> (Value, u64) {
    let runner = Runner::new(&["files"]);
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"files.wasm\"\nlimits = {{ scratch = \"64MiB\" }}\n\
         [[tests]]\nid = \"t\"\ninput = {input}\ntimeout = \"60s\"\n"
    ));
    let (ran, peak) = exec(&runner);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (runner.only_run().row("t"), peak)
}

#[test]
fn folders_that_are_read_are_open_files_and_read_a_few_names_at_a_time() {
    let (few, usual) = files("{ listings = 1 }");
    let (many, peak) = files("{ listings = 4000 }");
    for (row, names) in [(&few, 1), (&many, 4000)] {
        let output = &row["output"];
        assert_eq!(output["names"], names, "{row}");
        assert_eq!(output["refused"], "insufficient-memory", "{row}");
        assert!(output["open"].as_u64().unwrap() < 128, "{row}");
        assert!(
            row["denied"][0]["what"]
                .as_str()
                .unwrap()
                .contains("128 files open"),
            "{row}"
        );
    }
    assert!(peak.saturating_sub(usual) < BOUND, "{usual} {peak}");
}

#[test]
fn an_attempt_makes_no_more_folders_than_can_be_removed_soon() {
    let (row, _) = files("{ folders = 16000 }");
    let expected = json!({"made": 4000, "refused": "insufficient-space"});
    assert_eq!(row["output"], expected, "{row}");
}

/// Runs a test that leaves artifacts, and returns its row and what memory that took.
#[track_caller]
fn artifacts(runner: &Runner, limits: &str, input: &str) -> (Value, u64) {
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"p.wasm\"\n\
         limits = {{ artifacts = \"512MiB\", {limits} }}\n\
         [[tests]]\nid = \"t\"\ninput = {input}\n"
    ));
    let (ran, peak) = exec(runner);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    (runner.only_run().row("t"), peak)
}

/// The bytes of all artifacts, in the row and on disk.
fn kept(runner: &Runner, row: &Value) -> u64 {
    let folder = runner.only_run().dir.join("artifacts/0/0-1");
    let files = row["artifacts"].as_array().unwrap().iter();
    let sizes = files.map(|file| {
        let bytes = file["bytes"].as_u64().unwrap();
        let path = folder.join(file["name"].as_str().unwrap());
        assert_eq!(path.metadata().unwrap().len(), bytes, "{file}");
        bytes
    });
    sizes.sum()
}

#[test]
fn artifacts_are_not_held_in_memory_whoever_leaves_them() {
    let usual = usual();
    for (files, bytes) in [(50, 4 * MIB), (25, 8 * MIB)] {
        let runner = Runner::new(&["hostile"]);
        fs_err::rename(runner.path("hostile.wasm"), runner.path("p.wasm")).unwrap();
        let input = format!("{{ do = \"flood-artifacts\", count = {files}, bytes = {bytes} }}");
        // A guest hands over no more at once than it may reply.
        let limits = "reply = \"8MiB\", memory = \"32MiB\"";
        let (row, peak) = artifacts(&runner, limits, &input);
        assert_eq!(kept(&runner, &row), files * bytes, "{row}");
        let more = peak.saturating_sub(usual);
        assert!(more < BOUND + 32 * MIB, "{} MiB", more / MIB);
    }
    let runner = Runner::new(&[]);
    runner.write("p.wasm", bombs::leaving(4, 50));
    let (row, peak) = artifacts(&runner, "scratch = \"512MiB\"", "0");
    assert_eq!(kept(&runner, &row), 4 * 50 * MIB, "{row}");
    let more = peak.saturating_sub(usual);
    assert!(more < BOUND, "{} MiB", more / MIB);
}

#[test]
fn artifacts_that_there_is_no_room_for_are_an_error_and_the_run_goes_on() {
    let runner = Runner::new(&[]);
    runner.write("p.wasm", bombs::leaving(8, 1));
    runner.scenario(
        "[providers.p]\nplugin = \"p.wasm\"\nlimits = { scratch = \"64MiB\" }\n\
         [[tests]]\nid = \"t\"\nrepeat = 2\n",
    );
    runner.exec(&["--into", "fine"]).expect(0);
    // A file may have 2 MiB, or 4 where a shell counts in KiB; that in which artifacts are kept would have 8.
    let script = "trap '' XFSZ; ulimit -f 4096; exec \"$runner\" exec scenario.toml --into limited";
    let ran = runner.shell(script).run().expect(1);
    ran.says(&["cannot keep artifacts in `", "File too large"]);
    let rows = fs_err::read_to_string(runner.path("limited/index.jsonl")).unwrap();
    for row in rows.lines() {
        let row = expanded(serde_json::from_str(row).unwrap());
        let error = &row["error"];
        assert_eq!(
            (&error["class"], &error["code"]),
            (&json!("internal"), &json!("artifacts")),
            "{row}"
        );
        assert_eq!(row["final"], true, "{row}");
    }
    assert_eq!(rows.lines().count(), 2);
    runner.run(&["verify", "limited"]).expect(0);
}

#[test]
fn a_trial_does_not_pass_without_the_artifacts_that_its_provider_left() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"t\"\ninput = { do = \"flood-artifacts\", bytes = 600_000, count = 9 }\n",
    );
    runner.exec(&["--into", "fine"]).expect(0);
    // The component is told of each that is not kept, and answers all the same.
    let script = "trap '' XFSZ; ulimit -f 3072; exec \"$runner\" exec scenario.toml --into limited";
    let ran = runner.shell(script).run().expect(1);
    ran.says(&["cannot keep artifacts in `", "File too large"]);
}
