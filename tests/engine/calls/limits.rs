//! Every limit on what a guest may take, hand over or leave.

use runner::model::ErrorClass;
use serde_json::{Value, json};

use super::{HOSTILE, hostile, plain};
use crate::support::engine::{Attempt, BENCH, MIB, assert_error, content, error, output, reply};

#[test]
fn memory_is_limited_in_all() {
    let limited = |memory| Attempt::new().limits(|limits| limits.memory = memory);
    let ended = limited(8 * MIB).run(&HOSTILE, &json!({"do": "grow-memory"}));
    assert!(ended.usage.peak_memory <= 8 * MIB, "{:?}", ended.usage);
    let refused = error(ended);
    assert_eq!(
        (refused.class, refused.code.as_str()),
        (Some(ErrorClass::OutOfMemory), "memory")
    );
    let message = refused.message;
    assert!(
        message.starts_with("the guest asked for ")
            && message.contains(" of memory in all, and `limits.memory` is 8.0 MiB"),
        "{message}"
    );

    // A guest that can live with the denial may.
    let ended = limited(8 * MIB).run(&HOSTILE, &json!({"do": "try-memory"}));
    assert_eq!(output(ended), json!(true));

    let ended = limited(MIB).run(&HOSTILE, &json!({"do": "echo"}));
    assert_eq!(error(ended).class, Some(ErrorClass::OutOfMemory));
}

#[test]
fn table_elements_are_limited_in_all() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (table $a 60 funcref) (table $b 0 funcref)
                 (func (export "_start")
                   ref.null func
                   i32.const 41
                   table.grow $b
                   i32.const -1
                   i32.eq
                   (if (then unreachable))))"#,
        )
        .unwrap();
    let case = |most| {
        let attempt = plain(&[]).limits(|limits| limits.table_elements = most);
        attempt.run(&plugin, &Value::Null)
    };
    assert_error(
        case(100),
        ErrorClass::OutOfMemory,
        "memory",
        "the guest asked for 101 table elements in all, and `limits.table_elements` is 100",
    );
    assert_eq!(reply(case(101)).exit_code, Some(0));
}

#[test]
fn a_flood_of_handles_is_a_limit() {
    let plugin = BENCH
        .link_text(
            r#"(component
                 (import "wasi:io/poll@0.2.0" (instance $poll (export "pollable" (type (sub resource)))))
                 (alias export $poll "pollable" (type $pollable))
                 (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
                   (export "pollable" (type $own (eq $pollable)))
                   (export "subscribe-duration" (func (param "when" u64) (result (own $own))))))
                 (core func $subscribe (canon lower (func $clock "subscribe-duration")))
                 (core module $module
                   (import "host" "subscribe" (func $subscribe (param i64) (result i32)))
                   (func (export "run") (result i32)
                     (loop (drop (call $subscribe (i64.const 1000000000000))) (br 0))
                     unreachable))
                 (core instance $instance (instantiate $module
                   (with "host" (instance (export "subscribe" (func $subscribe))))))
                 (func $run (result (result)) (canon lift (core func $instance "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#,
        )
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Limit,
        "resources",
        "the guest holds too many host resources at once",
    );
}

#[test]
fn randomness_is_limited() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
                 (memory (export "memory") 40)
                 (func (export "_start") (drop (call $random (i32.const 0) (i32.const 2000000)))))"#,
        )
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Limit,
        "random",
        "the guest asked for too much: requested len 2000000 exceeds limit 1048576",
    );
}

#[test]
fn input_is_limited() {
    let ended = Attempt::new()
        .limits(|limits| limits.input = 16)
        .run(&HOSTILE, &json!({"do": "echo", "value": 1}));
    assert_error(
        ended,
        ErrorClass::Limit,
        "input",
        "the input has 23 B, and `limits.input` is 16 B",
    );
}

#[test]
fn a_reply_is_limited() {
    let run = |bytes: u64| {
        let attempt = Attempt::new().limits(|limits| limits.reply = 1024);
        attempt.run(&HOSTILE, &json!({"do": "huge-reply", "bytes": bytes}))
    };
    assert_eq!(output(run(1022)).as_str().map(str::len), Some(1022));
    assert_error(
        run(1023),
        ErrorClass::Limit,
        "reply",
        "the reply has 1.0 KiB, and `limits.reply` is 1.0 KiB",
    );
    assert_error(
        run(MIB),
        ErrorClass::Limit,
        "reply",
        "the guest handed over more than 65.0 KiB in one call, which `limits.reply` sets",
    );
}

#[test]
fn floods_of_output_are_cut_and_do_not_hurt_the_guest() {
    for stream in ["stdout", "stderr"] {
        let attempt = Attempt::new().limits(|limits| limits.stdio = 1000);
        let mut ended = attempt.run(&HOSTILE, &json!({"do": format!("flood-{stream}")}));
        let text = match stream {
            "stdout" => std::mem::take(&mut ended.stdout),
            _ => std::mem::take(&mut ended.stderr),
        };
        assert!(text.starts_with("000"), "{stream}");
        assert!(text.contains("\n[998000 bytes dropped]\n"), "{text}");
        assert!(text.ends_with("999\n"), "{stream}");
        assert_eq!(output(ended), json!("flooded"));
    }
}

#[test]
fn a_flood_of_log_records_is_cut_and_counted() {
    let ended = Attempt::new()
        .limits(|limits| limits.log_records = 5)
        .run(&HOSTILE, &json!({"do": "flood-log"}));
    assert_eq!((ended.log.len(), ended.log_dropped), (5, 19_995));
    assert_eq!(ended.usage.host_calls, 20_000);

    let attempt = Attempt::new().limits(|limits| limits.log = 100);
    let ended = attempt.run(
        &HOSTILE,
        &json!({"do": "flood-log", "bytes": 30, "count": 10}),
    );
    assert_eq!((ended.log.len(), ended.log_dropped), (3, 7));
    assert_eq!(output(ended), json!("flooded"));
}

#[test]
fn artifacts_are_kept_within_their_limits() {
    let ended = hostile(json!({"do": "artifact", "name": "report.txt"}));
    let artifact = &ended.artifacts[0];
    assert_eq!(artifact.name, "report.txt");
    assert_eq!(artifact.media_type, "text/plain");
    assert_eq!(content(artifact), b"one two");

    let ended = hostile(json!({"do": "artifact", "name": "../x"}));
    assert!(ended.artifacts.is_empty());
    assert_eq!(reply(ended).output[0], json!("bad-name"));

    let ended = hostile(json!({"do": "flood-artifacts"}));
    assert_eq!(ended.artifacts.len(), 100);
    assert_eq!(reply(ended).output[100], json!("too-many"));

    let attempt = Attempt::new().limits(|limits| limits.artifacts = 10);
    let ended = attempt.run(
        &HOSTILE,
        &json!({"do": "flood-artifacts", "bytes": 4, "count": 3}),
    );
    assert_eq!(ended.artifacts.len(), 2);
    assert_eq!(reply(ended).output[2], json!("too-large"));
}

#[test]
fn artifacts_that_the_machine_cannot_keep_are_said_to_be_lost() {
    let mut attempt = Attempt::new().limits(|limits| limits.artifacts = 8 * MIB);
    let folder = tempfile::tempdir().unwrap().path().join("no such folder");
    attempt.access.scratch_root = folder.clone();
    let ended = attempt.run(
        &HOSTILE,
        &json!({"do": "flood-artifacts", "bytes": 600_000, "count": 3}),
    );
    let lacked = ended.lost.as_ref().unwrap();
    assert_eq!(
        (lacked.class, lacked.code.as_str()),
        (Some(ErrorClass::Internal), "artifacts")
    );
    let says = format!("cannot keep artifacts in `{}`: ", folder.display());
    assert!(lacked.message.starts_with(&says), "{}", lacked.message);
    let warnings: Vec<_> = ended.log.iter().map(|record| &record.message).collect();
    assert_eq!(warnings, [&lacked.message]);
    // What could be kept is.
    assert_eq!(ended.artifacts.len(), 1);
    assert_eq!(content(&ended.artifacts[0]).len(), 600_000);
    assert_eq!(output(ended), json!([null, "unavailable", "unavailable"]));
}
