//! Every way in which a guest can end, every limit, and everything that can go wrong before it starts.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use runner::model::{CheckVerdict, ErrorClass};
use serde_json::{Value, json};

use crate::support::{
    engine::{
        Attempt, BENCH, Bench, CommandProtocol, Ended, Interrupt, LONG, LinkError, MIB, Plugin,
        PluginFile, StdoutForm, assert_error, assert_stopped, assert_timed_out, content, error,
        output, reply,
    },
    guests::guest,
};

static HOSTILE: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("hostile")).unwrap());
static COMMAND: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("command")).unwrap());

#[expect(
    clippy::needless_pass_by_value,
    reason = "inputs are made with `json!` where they are handed over"
)]
fn hostile(input: Value) -> Ended {
    Attempt::new().run(&HOSTILE, &input)
}

/// An attempt of a plain command, whose output is text.
fn plain(args: &[&str]) -> Attempt {
    Attempt::of_command(args, StdoutForm::Text)
}

fn command(args: &[&str]) -> Ended {
    plain(args).run(&COMMAND, &Value::Null)
}

/// A module that exits with this code at once.
fn exiting(code: i32) -> String {
    format!(
        r#"(module
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (func (export "_start") (call $exit (i32.const {code}))))"#
    )
}

#[test]
fn a_component_gets_the_whole_test_and_its_reply_comes_back() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let ended = attempt.run(&HOSTILE, &json!({"do": "test"}));
    assert!(ended.duration > Duration::ZERO);
    assert!(ended.usage.peak_memory >= MIB, "{:?}", ended.usage);
    assert_eq!(
        output(ended),
        json!({
            "trial": "a/b@guest#2", "test": "a/b", "provider": "guest", "repeat": 2, "attempt": 1, "seed": 42,
            "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );
}

#[test]
fn a_providers_own_judgement_comes_back() {
    let reply = reply(hostile(json!({"do": "judge"})));
    assert_eq!(reply.verdict, Some(CheckVerdict::Fail));
    assert_eq!(reply.score, Some(0.25));
    assert_eq!(reply.summary.as_deref(), Some("not good"));
    let check = &reply.checks[0];
    assert_eq!((check.name.as_str(), check.score), ("style", Some(0.5)));
    assert_eq!(check.message.as_deref(), Some("too long"));
    assert_eq!(check.details, Some(json!({"lines": 3})));
    let metric = &reply.metrics[0];
    assert_eq!(
        (metric.name.as_str(), metric.value, metric.unit.as_deref()),
        ("length", 3.0, Some("lines"))
    );
}

#[test]
fn a_component_describes_itself() {
    let describe = |plugin: &Plugin, protocol| {
        BENCH
            .describe(plugin, protocol, LONG, &Interrupt::default())
            .unwrap()
    };

    let description = describe(&HOSTILE, CommandProtocol::Plain).unwrap();
    assert_eq!(description.name, "hostile");
    assert_eq!(description.config_schema, Some(json!({"type": "object"})));
    assert_eq!(description.requests, ["net:https://example.com"]);
    assert_eq!(
        describe(&COMMAND, CommandProtocol::Json).unwrap().name,
        "command"
    );
    assert_eq!(describe(&COMMAND, CommandProtocol::Plain), None);
}

#[test]
fn a_guest_that_loops_in_describe_is_ended() {
    let plugin = BENCH.link(&guest("stuck")).unwrap();
    let describe = |timeout, interrupt: &Interrupt| {
        let described = BENCH.describe(&plugin, CommandProtocol::Plain, timeout, interrupt);
        described.unwrap_err()
    };

    let late = describe(Duration::from_millis(30), &Interrupt::default());
    assert_eq!((late.class, late.code.as_str()), (None, "timeout"));

    let interrupt = Interrupt::default();
    interrupt.now();
    let stopped = describe(LONG, &interrupt);
    assert_eq!((stopped.class, stopped.code.as_str()), (None, "stopped"));
}

#[test]
fn traps_are_named() {
    let case = |what: &str, code: &str, message: &str| {
        let error = error(hostile(json!({"do": what})));
        assert_eq!(error.class, Some(ErrorClass::Trap), "{error:?}");
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.starts_with(message), "{error:?}");
        error.message
    };

    case(
        "trap",
        "unreachable-code-reached",
        "the guest trapped: wasm `unreachable` instruction executed",
    );
    // Rust keeps frames like these in linear memory, below everything else.
    case(
        "recurse",
        "memory-out-of-bounds",
        "the guest trapped: out of bounds memory access",
    );
    let panic = case("panic", "unreachable-code-reached", "the guest trapped: ");
    assert!(panic.contains("the guest's own words"), "{panic}");
    let divide = case("divide", "unreachable-code-reached", "the guest trapped: ");
    assert!(divide.contains("attempt to divide by zero"), "{divide}");
}

#[test]
fn a_trap_names_the_functions_it_happened_in() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (func $inner i32.const 1 i32.const 0 i32.div_s drop)
                 (func $outer call $inner)
                 (func (export "_start") call $outer))"#,
        )
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "integer-division-by-zero",
        "the guest trapped: integer divide by zero in `inner`, called by `outer`",
    );
}

#[test]
fn endless_recursion_is_a_trap() {
    let plugin = BENCH
        .link_text(r#"(module (func $again (export "_start") call $again))"#)
        .unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "stack-overflow",
        "the guest trapped: call stack exhausted in `again`, called by `again`, called by `again`, called by `again`, \
         called by `again`",
    );
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
fn what_goes_in_and_out_is_counted() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let ended = attempt.run(&HOSTILE, &json!({"do": "artifact", "name": "a"}));
    let usage = ended.usage;
    assert_eq!(usage.host_calls, 2);
    assert_eq!(
        usage.bytes_in,
        (r#"{"do":"artifact","name":"a"}"#.len() + r#"{"unit":"km"}"#.len()) as u64
    );
    assert_eq!(
        usage.bytes_out,
        ("one two".len() + "[null,null]".len()) as u64
    );
}

#[test]
fn an_exit_instead_of_a_reply_breaks_the_contract() {
    for (code, message) in [
        (0, "the guest exited with 0 instead of returning"),
        (1, "the guest exited with 1 instead of returning"),
    ] {
        let ended = hostile(json!({"do": "exit", "code": code}));
        assert_error(ended, ErrorClass::Protocol, "exit", message);
    }
}

#[test]
fn malformed_replies_break_the_contract() {
    assert_error(
        hostile(json!({"do": "invalid-json"})),
        ErrorClass::Protocol,
        "json",
        "the output is not JSON: EOF while parsing an object at line 1 column 1; it begins with \"{\"",
    );
    assert_error(
        hostile(json!({"do": "nan-score"})),
        ErrorClass::Protocol,
        "number",
        "the score is NaN, which is no number",
    );
    assert_error(
        hostile(json!({"do": "infinite-metric"})),
        ErrorClass::Protocol,
        "number",
        "the value of a metric is inf, which is no number",
    );
}

#[test]
fn errors_of_the_provider_keep_their_kind() {
    let kinds = [
        ("invalid-config", ErrorClass::InvalidConfig),
        ("invalid-input", ErrorClass::InvalidInput),
        ("denied", ErrorClass::Denied),
        ("unavailable", ErrorClass::Unavailable),
        ("rate-limited", ErrorClass::RateLimited),
        ("internal", ErrorClass::Internal),
        ("other", ErrorClass::Other),
    ];
    for (kind, class) in kinds {
        let input =
            json!({"do": "error", "kind": kind, "code": "c", "message": "m", "retry_after": 1500});
        let error = error(hostile(input));
        assert_eq!((error.class, error.code.as_str()), (Some(class), "c"));
        assert_eq!(error.message, "m");
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
    }
}

#[test]
fn a_provider_can_see_which_attempt_it_is() {
    let input = json!({"do": "fail-until", "attempt": 3});
    let attempt = |number| Attempt::new().number(number).run(&HOSTILE, &input);
    assert_eq!(error(attempt(2)).class, Some(ErrorClass::Unavailable));
    assert_eq!(output(attempt(3)), json!(3));
}

#[test]
fn a_stop_counts_only_if_it_was_asked_for() {
    assert_error(
        hostile(json!({"do": "say-stopped"})),
        ErrorClass::Protocol,
        "stopped",
        "the guest said that it was stopped, and nobody had asked it to",
    );

    let interrupt = Interrupt::default();
    let attempt = Attempt::new().interrupted_by(&interrupt);
    let guest = BENCH.spawn(attempt, &HOSTILE, json!({"do": "wait-for-stop"}));
    interrupt.request();
    assert_stopped(&BENCH.wait(guest).unwrap(), "wait-for-stop");
}

#[test]
fn a_deadline_ends_guests_that_compute_and_guests_that_wait() {
    for what in ["loop", "sleep", "wait-for-stop"] {
        let started = Instant::now();
        let attempt = Attempt::new().timeout(Duration::from_millis(50));
        let ended = attempt.run(&HOSTILE, &json!({"do": what}));
        assert_timed_out(&ended, what);
        assert!(
            // The deadline was set a little before the guest started.
            ended.duration >= Duration::from_millis(30),
            "{what}: {:?}",
            ended.duration
        );
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{what}: {:?}",
            started.elapsed()
        );
    }
}

#[test]
fn many_guests_on_two_threads_are_interrupted_at_once() {
    let bench = Bench::new();
    let hostile = bench.link(&guest("hostile")).unwrap();
    let interrupt = Interrupt::default();
    let guests: Vec<_> = ["loop", "sleep"]
        .into_iter()
        .cycle()
        .take(32)
        .map(|what| {
            let attempt = Attempt::new().interrupted_by(&interrupt);
            bench.spawn(attempt, &hostile, json!({"do": what}))
        })
        .collect();
    // All are under way once a last guest, which came after them, has had its turn.
    let last = bench.spawn(Attempt::new(), &hostile, json!({"do": "echo"}));
    bench.wait(last).unwrap();

    let stopped_at = Instant::now();
    interrupt.now();
    for guest in guests {
        assert_stopped(&bench.wait(guest).unwrap(), "one of many");
    }
    assert!(
        stopped_at.elapsed() < Duration::from_secs(1),
        "{:?}",
        stopped_at.elapsed()
    );
}

#[test]
fn a_guest_inside_one_long_instruction_does_not_block_the_others() {
    let bench = Bench::new();
    let hostile = bench.link(&guest("hostile")).unwrap();
    let interrupt = Interrupt::default();
    let attempt = Attempt::new().interrupted_by(&interrupt);
    let filling = bench.spawn(attempt, &hostile, json!({"do": "fill-memory"}));
    let other = bench.spawn(Attempt::new(), &hostile, json!({"do": "echo", "value": 1}));
    assert_eq!(output(bench.wait(other).unwrap()), json!(1));

    interrupt.now();
    assert_stopped(&bench.wait(filling).unwrap(), "fill-memory");
}

#[test]
fn a_guest_ends_with_its_future() {
    let ended = BENCH.wait(async {
        let guest = BENCH.spawn(Attempt::new(), &HOSTILE, json!({"do": "loop"}));
        tokio::task::yield_now().await;
        guest.abort();
        tokio::time::timeout(LONG, guest).await.unwrap()
    });
    assert!(ended.unwrap_err().is_cancelled());
}

#[test]
fn a_guest_that_loops_in_its_start_function_is_ended() {
    let plugin = BENCH
        .link_text(r#"(module (func $spin (loop br 0)) (start $spin) (func (export "_start")))"#)
        .unwrap();
    let attempt = plain(&[]).timeout(Duration::from_millis(50));
    assert_timed_out(&attempt.run(&plugin, &Value::Null), "a start function");
}

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
fn log_records_arrive_with_their_fields() {
    let mut ended = hostile(json!({"do": "log"}));
    let record = ended.log.pop().unwrap();
    assert_eq!((record.level, record.message.as_str()), ("warn", "careful"));
    assert_eq!(record.fields, [("key".to_owned(), "value".to_owned())]);
    let remaining = output(ended).as_u64().unwrap();
    assert!((1..=120_000).contains(&remaining), "{remaining}");
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

#[test]
fn attachments_can_be_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (stored, gone) = (folder.path().join("stored"), folder.path().join("gone"));
    fs_err::write(&stored, "0123456789").unwrap();
    fs_err::write(&gone, "").unwrap();
    let attempt = Attempt::new()
        .attachment("table.csv", "text/csv", &stored)
        .attachment("gone", "text/csv", &gone);
    fs_err::remove_file(gone).unwrap();
    let answer = |input| output(attempt.run(&HOSTILE, &input));
    let read = |name: &str, offset: u32, length: u32| {
        answer(json!({"do": "read-file", "name": name, "offset": offset, "length": length}))
    };

    assert_eq!(
        answer(json!({"do": "names"}))[0],
        json!(["table.csv", "text/csv", 10])
    );
    assert_eq!(read("table.csv", 0, u32::MAX), json!("0123456789"));
    assert_eq!(read("table.csv", 8, 1), json!("8"));
    assert_eq!(read("table.csv", 10, 1), json!(""));
    assert_eq!(read("table.csv", 11, 1), json!({"error": "out-of-range"}));
    assert_eq!(read("other.csv", 0, 1), json!({"error": "not-found"}));
    assert_eq!(read("gone", 0, 1), json!({"error": "unavailable"}));
}

#[test]
fn a_guest_has_nothing_that_it_was_not_granted() {
    assert_eq!(
        output(hostile(json!({"do": "http"}))),
        json!(
            "Err(HttpError::Denied(\"`GET https://example.com` is not granted; add \\\"https://example.com\\\" to \
             `net` of the provider's `grants`\"))"
        )
    );
    assert_eq!(
        output(hostile(json!({"do": "secret"}))),
        json!({"error": "denied"})
    );
    assert_eq!(output(hostile(json!({"do": "open-socket"}))), json!(true));
    assert_eq!(
        output(hostile(json!({"do": "environment"}))),
        json!({"variables": 0, "root": false})
    );
}

#[test]
fn plain_commands_get_arguments_and_stdin_and_give_their_stdout() {
    let run = |args: &[&str]| reply(command(args));

    assert_eq!(
        run(&["argv", "b c"]).output,
        json!("guest-command.wasm argv b c")
    );
    assert_eq!(run(&["cat"]).output, json!("given\n"));
    assert_eq!(run(&["say", ""]).output, json!(""));

    let ended = command(&["fail", "oh no"]);
    assert_eq!(ended.stderr, "oh no\n");
    assert_eq!(ended.stdout, "");
    assert_eq!(reply(ended).exit_code, Some(1));
}

#[test]
fn a_plain_commands_stdout_becomes_what_the_scenario_says() {
    let run =
        |text: &str, form| Attempt::of_command(&["say", text], form).run(&COMMAND, &Value::Null);
    assert_eq!(output(run(" a\n", StdoutForm::Text)), json!(" a\n"));
    assert_eq!(output(run(" a\n", StdoutForm::Trimmed)), json!("a"));
    assert_eq!(output(run(" [1]\n", StdoutForm::Json)), json!([1]));
    assert_error(
        run("[1", StdoutForm::Json),
        ErrorClass::Protocol,
        "json",
        "the standard output is not JSON: EOF while parsing a list at line 1 column 2; it begins with \"[1\"",
    );
    assert_error(
        command(&["bytes"]),
        ErrorClass::Protocol,
        "utf-8",
        "the standard output is not UTF-8 from byte 1 on; it begins with \"a\u{fffd}\"",
    );
}

#[test]
fn a_plain_command_with_too_much_output_runs_on() {
    assert_error(
        command(&["flood", "8"]),
        ErrorClass::Limit,
        "reply",
        "the standard output has 8.0 MiB, and `limits.reply` is 4.0 MiB",
    );
    let endless = plain(&["flood-forever"]).timeout(Duration::from_millis(100));
    assert_timed_out(&endless.run(&COMMAND, &Value::Null), "flood-forever");
}

#[test]
fn commands_end_at_their_deadline_and_trap_like_components() {
    for what in ["loop", "sleep"] {
        let attempt = plain(&[what]).timeout(Duration::from_millis(50));
        assert_timed_out(&attempt.run(&COMMAND, &Value::Null), what);
    }
    let error = error(command(&["panic"]));
    assert_eq!(error.class, Some(ErrorClass::Trap));
    assert!(
        error.message.contains("the command's own words"),
        "{error:?}"
    );
}

#[test]
fn json_commands_get_the_test_and_answer_with_one_object() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let run = |input| attempt.run(&COMMAND, &input);
    assert_eq!(
        output(run(json!({"do": "test"}))),
        json!({
            "trial_id": "a/b@guest#2", "test_id": "a/b", "provider": "guest", "repeat": 2, "attempt": 1,
            "seed": 42, "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );

    let ended = run(json!({"do": "log"}));
    let [warning, text] = &ended.log[..] else {
        panic!("{:?}", ended.log)
    };
    assert_eq!(
        (warning.level, warning.message.as_str()),
        ("warn", "careful")
    );
    assert_eq!(
        warning.fields,
        [
            ("n".to_owned(), "1".to_owned()),
            ("s".to_owned(), "x".to_owned())
        ]
    );
    assert_eq!((text.level, text.message.as_str()), ("info", "just text"));
    assert_eq!(reply(ended).verdict, Some(CheckVerdict::Skip));

    let print = |text: &str, fail| run(json!({"do": "print", "text": text, "fail": fail}));
    let no_json = error(print("hello", false));
    assert_eq!(
        (no_json.class, no_json.code.as_str()),
        (Some(ErrorClass::Protocol), "json")
    );
    let says = "the standard output is not one JSON object";
    assert!(no_json.message.starts_with(says), "{}", no_json.message);
    for broken in [
        r#"{"ok": {}}"#,
        r#"{"ok": {"output": 1, "outputs": 2}}"#,
        r#"{"ok": {"output": 1}} x"#,
    ] {
        assert_eq!(
            error(print(broken, false)).class,
            Some(ErrorClass::Protocol),
            "{broken}"
        );
    }

    let refused = r#"{"err": {"kind": "rate-limited", "code": "slow", "message": "later", "retry_after": 20}}"#;
    for fail in [false, true] {
        assert_error(
            print(refused, fail),
            ErrorClass::RateLimited,
            "slow",
            "later",
        );
    }
    assert_error(
        print(r#"{"ok": {"output": 1}}"#, true),
        ErrorClass::Internal,
        "exit-1",
        "the command exited with 1",
    );
}

#[test]
fn a_module_of_preview_1_is_a_command() {
    let plugin = BENCH
        .link_text(
            r#"(module
                 (import "wasi_snapshot_preview1" "fd_write"
                   (func $write (param i32 i32 i32 i32) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 1)
                 (data (i32.const 8) "hello\n")
                 (func (export "_start")
                   (i32.store (i32.const 0) (i32.const 8))
                   (i32.store (i32.const 4) (i32.const 6))
                   (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 20)))
                   (call $exit (i32.const 7))))"#,
        )
        .unwrap();
    let ended = plain(&[]).run(&plugin, &Value::Null);
    let reply = reply(ended);
    assert_eq!((reply.output, reply.exit_code), (json!("hello\n"), Some(7)));
}

#[test]
fn exit_codes_of_json_commands_have_meanings() {
    for (code, class) in [
        (75, ErrorClass::Unavailable),
        (64, ErrorClass::InvalidInput),
        (65, ErrorClass::InvalidInput),
        (78, ErrorClass::InvalidConfig),
        (3, ErrorClass::Internal),
    ] {
        let plugin = BENCH.link_text(&exiting(code)).unwrap();
        assert_error(
            Attempt::new().run(&plugin, &Value::Null),
            class,
            &format!("exit-{code}"),
            &format!("the command exited with {code}"),
        );
    }
}

#[test]
fn an_exit_status_that_wasi_does_not_know_is_a_trap() {
    let plugin = BENCH.link_text(&exiting(134)).unwrap();
    assert_error(
        plain(&[]).run(&plugin, &Value::Null),
        ErrorClass::Trap,
        "exit",
        "the guest exited with a status outside of 0 to 125",
    );
}

#[test]
fn what_is_missing_is_named() {
    let refused = |text: &str| BENCH.link_text(text).unwrap_err().to_string();

    assert_eq!(
        refused(
            r#"(module
                 (import "env" "read_sensor" (func)) (import "gpu" "draw" (func))
                 (func (export "_start")))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `env::read_sensor`, `gpu::draw`"
    );
    assert!(
        refused(
            r#"(module (import "wasi_snapshot_preview1" "fd_teleport" (func)) (func (export "_start")))"#
        )
        .contains("fd_teleport")
    );
    assert_eq!(
        refused(
            r#"(component
                 (import "wasi:keyvalue/store@0.2.0" (instance))
                 (import "acme:robot/arm@1.0.0" (instance))
                 (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `wasi:keyvalue/store@0.2.0`, `acme:robot/arm@1.0.0`"
    );
    assert_eq!(
        refused(
            r#"(component
                 (import "wasi:cli/environment@0.3.0" (instance))
                 (import "wasi:cli/environment@0.2.12" (instance))
                 (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#
        ),
        "plugin `hand.wasm` needs what this runner does not offer: `wasi:cli/environment@0.3.0`"
    );
    let empty = refused(
        r#"(component (instance $i) (export "runner:provider/provider@0.1.0" (instance $i)))"#,
    );
    assert!(
        empty.starts_with("plugin `hand.wasm` does not fit this runner: "),
        "{empty}"
    );
    assert!(empty.contains("describe"), "{empty}");
}

#[test]
fn a_file_that_does_not_validate_is_refused_with_its_reason() {
    // A body that leaves the wrong type: text that assembles, code that is not valid.
    let error = BENCH
        .link_text(r#"(module (func (export "_start") (result i32) i64.const 1))"#)
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot compile plugin `hand.wasm`");
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("type mismatch"), "{reason}");
}

#[test]
fn a_compiled_plugin_is_kept_and_loaded_again() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let entry = only_entry(&bench);
    let kept = fs_err::metadata(&entry).unwrap().modified().unwrap();

    // The second engine has no compiler that it could call.
    let cache = bench.cache();
    let without = Bench::with(|options| {
        options.compiler = "/nowhere".into();
        options.cache = cache;
    });
    without.link(&guest("stuck")).unwrap();
    assert_eq!(fs_err::metadata(&entry).unwrap().modified().unwrap(), kept);
}

#[test]
fn a_damaged_entry_of_the_cache_is_a_miss() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let entry = only_entry(&bench);
    let good = fs_err::read(&entry).unwrap();

    let truncated = &good[..good.len() / 2];
    let zeroed = vec![0; good.len()];
    for bad in [b"".as_slice(), b"no artefact", truncated, &zeroed] {
        fs_err::remove_file(&entry).unwrap();
        fs_err::write(&entry, bad).unwrap();
        bench.link(&guest("stuck")).unwrap();
        assert_eq!(fs_err::read(&entry).unwrap().len(), good.len());
        assert_eq!(only_entry(&bench), entry);
    }
}

#[test]
fn a_cache_that_cannot_be_used_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();

    let file = folder.path().join("file");
    fs_err::write(&file, "").unwrap();
    let shared = folder.path().join("shared");
    fs_err::create_dir(&shared).unwrap();
    fs_err::set_permissions(&shared, Permissions::from_mode(0o777)).unwrap();
    for cache in [file.join("cache"), shared.clone()] {
        let bench = Bench::with(|options| options.cache = cache);
        bench.link(&guest("stuck")).unwrap();
    }
    assert_eq!(fs_err::read_dir(&shared).unwrap().count(), 0);
}

#[test]
fn a_new_cache_is_private() {
    let bench = Bench::new();
    bench.link(&guest("stuck")).unwrap();
    let cache = fs_err::metadata(bench.cache()).unwrap();
    assert_eq!(cache.permissions().mode() & 0o777, 0o700);
}

#[test]
fn compiling_ends_in_time() {
    let bench = Bench::with(|options| options.compile_timeout = Duration::from_millis(1));
    let error = bench.link(&guest("hostile")).unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(reason, "it took longer than 0.001 s");
    assert!(fs_err::read_dir(bench.cache()).unwrap().next().is_none());
}

#[test]
fn the_compiling_child_has_no_environment_and_works_in_the_root() {
    let tools = tempfile::tempdir().unwrap();
    let script = tools.path().join("compiler");
    fs_err::write(&script, "#!/bin/sh\n{ /usr/bin/env; pwd; } >&2\nexit 1\n").unwrap();
    fs_err::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let bench = Bench::with(|options| options.compiler = script);
    let error = bench.link(&guest("stuck")).unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    // What is left is what a shell makes for itself.
    let names = said.lines().filter_map(|line| line.split_once('='));
    let names: std::collections::BTreeSet<_> = names.map(|(name, _)| name).collect();
    let known = ["OLDPWD", "PWD", "RAYON_NUM_THREADS", "SHLVL", "_"];
    assert!(names.iter().all(|name| known.contains(name)), "{said}");
    assert_eq!(said.lines().last(), Some("/"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_child_limits_itself_before_it_reads_anything() {
    for argument in ["__compile", "__schema"] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_runner"))
            .arg(argument)
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let read = |name: &str| {
            let path = format!("/proc/{}/{name}", child.id());
            fs_err::read_to_string(path).unwrap()
        };
        let is_limited = |name: &str, limit: Option<&str>| {
            let limits = read("limits");
            let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
            let most = line[name.len()..].split_whitespace().nth(1).unwrap();
            limit.map_or(most != "unlimited", |limit| most == limit)
        };
        let begun = Instant::now();
        // The last that it sets.
        while !is_limited("Max data size", None) {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(is_limited("Max core file size", Some("0")));
        assert!(is_limited("Max open files", Some("32")));
        assert!(is_limited("Max cpu time", None));
        assert!(is_limited("Max file size", None));
        assert!(read("status").contains("NoNewPrivs:\t1"));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}

#[test]
fn an_interrupt_ends_compiling_at_once_and_leaves_no_process() {
    let compiler = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/never-compiles.sh");
    let bench = Bench::with(|options| options.compiler = compiler);
    let cache = bench.cache();
    let file = PluginFile::read(&guest("stuck"), MIB).unwrap();
    let interrupt = Interrupt::default();

    let (error, pid, interrupted_at) = bench.wait(async {
        let interrupt_once_compiling = async {
            let pid = loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                if let Some(pid) = written_pid(&cache) {
                    break pid;
                }
            };
            interrupt.now();
            (pid, Instant::now())
        };
        let link = bench.start_linking(&file, &interrupt);
        let (linked, (pid, at)) = tokio::join!(link, interrupt_once_compiling);
        (linked.unwrap_err(), pid, at)
    });
    assert!(matches!(error, LinkError::Cancelled), "{error:?}");
    assert!(interrupted_at.elapsed() < Duration::from_secs(1));
    assert_eq!(
        rustix::process::test_kill_process(pid),
        Err(rustix::io::Errno::SRCH)
    );
}

#[test]
fn what_no_limit_could_bound_is_not_compiled() {
    for (memory, reason) in [
        ("(memory i64 1)", "memory64"),
        ("(memory 1 1 shared)", "threads"),
    ] {
        let text = format!(r#"(module {memory} (func (export "_start")))"#);
        let error = BENCH.link_text(&text).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains(reason), "{source}");
    }
}

#[test]
fn a_compiler_that_cannot_be_run_or_dies_is_named() {
    let reason = |compiler: PathBuf| {
        let bench = Bench::with(|options| options.compiler = compiler);
        let error = bench.link(&guest("stuck")).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    };
    assert_eq!(
        reason("/nowhere".into()),
        "cannot run the compiler `/nowhere`"
    );
    assert_eq!(
        reason("/bin/false".into()),
        "the compiler ended with exit status: 1"
    );
}

fn only_entry(bench: &Bench) -> PathBuf {
    let entries = fs_err::read_dir(bench.cache()).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 1, "{paths:?}");
    paths.remove(0)
}

/// What the compiler that never ends has written to the draft of its artefact.
fn written_pid(cache: &Path) -> Option<rustix::process::Pid> {
    let draft = fs_err::read_dir(cache).ok()?.next()?.ok()?;
    let text = fs_err::read_to_string(draft.path()).ok()?;
    rustix::process::Pid::from_raw(text.strip_suffix('\n')?.parse().ok()?)
}
