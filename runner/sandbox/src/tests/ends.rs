//! Guests that are ended by the host, and their errors.

use std::{sync::mpsc, thread, time::Duration, time::Instant};

use runner_model::cache::CodeForm;
use runner_model::provider::OutputForm;

use super::support::{Bench, error, run_fresh};
use crate::{Ended, Ending, compile};

const LOOP: &str = r#"(module (func (export "_start") (loop br 0)))"#;

/// A command that sleeps for an hour.
const SLEEP: &str = r#"(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start")
    ;; A subscription to the monotonic clock.
    (i32.store (i32.const 16) (i32.const 1))
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (drop (call $poll (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)))))"#;

/// Code of a callback that gives way to other tasks, and is called again.
const YIELD: &str = "i32.const 1";

/// Returns a command of WASI 0.3 without a language's library. `run` and `callback` return codes of the component model. Both
/// may call the built-ins `f` and `g`, each of which is given with its type.
fn command_0_3([f, g]: [(&str, &str); 2], run: &str, callback: &str) -> String {
    format!(
        r#"(component
             (type $bytes (stream u8))
             (type $lists (stream (list string)))
             (type $text (future string))
             (core module $libc (memory (export "memory") 1))
             (core instance $libc (instantiate $libc))
             (alias core export $libc "memory" (core memory $memory))
             (core func $f (canon {}))
             (core func $g (canon {}))
             (core module $m
               (import "" "f" (func $f {}))
               (import "" "g" (func $g {}))
               (func (export "run") (result i32) (local $both i64) {run})
               (func (export "callback") (param i32 i32 i32) (result i32) {callback}))
             (core instance $i (instantiate $m (with "" (instance
               (export "f" (func $f)) (export "g" (func $g))))))
             (func $run async (result (result))
               (canon lift (core func $i "run") async (callback (core func $i "callback"))))
             (instance $exports (export "run" (func $run)))
             (export "wasi:cli/run@0.3.0" (instance $exports)))"#,
        f.0, g.0, f.1, g.1
    )
}

/// Built-ins without parameters.
const SET: (&str, &str) = ("waitable-set.new", "(result i32)");
const PRESSURE: (&str, &str) = ("backpressure.inc", "");

fn run(bench: &Bench, text: &str) -> Ended {
    bench.plain(&bench.text(text), OutputForm::Text)
}

#[test]
fn deadline_ends_computing_and_waiting_guests() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_millis(30);
    let start = r#"(module (func $spin (loop br 0)) (start $spin) (func (export "_start")))"#;
    for text in [LOOP, SLEEP, start] {
        let ended = run(&bench, text);
        assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");
        assert!(ended.duration >= bench.timeout, "{ended:?}");
    }
}

#[test]
fn interrupt_ends_current_and_later_calls() {
    for text in [LOOP, SLEEP] {
        let bench = Bench::new();
        let guest = bench.text(text);
        let interrupt = bench.engines.interrupt();
        let (one, two) = thread::scope(|scope| {
            let calls = async {
                let call = || run_fresh(&guest, bench.plain_call(OutputForm::Text));
                // Polled in turn on one thread.
                tokio::join!(call(), call(), async {
                    tokio::task::yield_now().await;
                    scope.spawn(move || interrupt.now());
                })
            };
            let (one, two, ()) = bench.runtime.block_on(calls);
            (one, two)
        });
        let three = bench.plain(&guest, OutputForm::Text);
        for ended in [one, two, three] {
            assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
        }
    }
}

#[test]
fn waits_of_wasi_0_3_are_interrupted_within_milliseconds() {
    let stream = ("stream.new $bytes", "(result i64)");
    let read = ("stream.read $bytes async (memory $memory)", "(param i32 i32 i32) (result i32)");
    let yields = ("thread.yield", "(result i32)");
    let guests = [
        // Waits for a set that stays empty.
        command_0_3(
            [SET, PRESSURE],
            "(i32.or (i32.const 2) (i32.shl (call $f) (i32.const 4)))",
            YIELD,
        ),
        command_0_3([SET, PRESSURE], YIELD, YIELD),
        command_0_3([yields, PRESSURE], "(loop $l (drop (call $f)) (br $l)) unreachable", YIELD),
        // Reads a stream that nothing writes, and gives way while it waits.
        command_0_3(
            [stream, read],
            "(local.set $both (call $f))
             (drop (call $g (i32.wrap_i64 (local.get $both)) (i32.const 0) (i32.const 1)))
             (i32.const 1)",
            YIELD,
        ),
    ];
    let interrupted = |text: &str| {
        let bench = Bench::new();
        let (guest, short) = (bench.text(text), bench.text(r#"(module (func (export "_start")))"#));
        let interrupt = bench.engines.interrupt();
        let (ended, stopped) = bench.runtime.block_on(async {
            tokio::join!(run_fresh(&guest, bench.plain_call(OutputForm::Text)), async {
                // The waiting guest does not hold the thread.
                let other = run_fresh(&short, bench.plain_call(OutputForm::Text)).await;
                assert!(matches!(other.ending, Ending::Reply(_)), "{text}: {other:?}");
                interrupt.now();
                Instant::now()
            })
        });
        let took = stopped.elapsed();
        assert!(matches!(ended.ending, Ending::Stopped), "{text}: {ended:?}");
        took
    };
    for text in guests {
        // Of several, because a machine may stand still for a moment.
        let is_quick = (0..5).any(|_| interrupted(&text) < Duration::from_millis(500));
        assert!(is_quick, "{text}");
    }
}

#[test]
fn built_ins_of_wasi_0_3_are_bounded_or_refused() {
    let flood = "(loop $l (drop (call $f)) (br $l)) unreachable";
    let bench = Bench::new();
    let lists = ("stream.new $lists", "(result i64)");
    let texts = ("future.new $text", "(result i64)");
    for built_in in [SET, lists, texts] {
        let ended = run(&bench, &command_0_3([built_in, PRESSURE], flood, YIELD));
        assert_eq!((error(&ended).0, error(&ended).1), ("limit", "resources"), "{built_in:?}");
    }
    for (text, code) in [
        ("(loop $l (call $g) (br $l)) unreachable", "backpressure-overflow"),
        // Ends without a result.
        ("i32.const 0", "no-async-result"),
        ("i32.const 7", "unsupported-callback-code"),
        ("i32.const 0x7f2", "contract"),
    ] {
        let ended = run(&bench, &command_0_3([SET, PRESSURE], text, YIELD));
        assert_eq!(error(&ended).1, code, "{text}: {ended:?}");
    }
    let errors = ("error-context.new (memory $memory)", "(param i32 i32) (result i32)");
    let threads = ("thread.index", "(result i32)");
    for (built_in, feature) in [(errors, "error-context feature"), (threads, "threading feature")] {
        let text = command_0_3([built_in, PRESSURE], "unreachable", YIELD);
        let refusal = compile(&wat::parse_str(text).unwrap(), CodeForm::Optimized).unwrap_err();
        assert!(refusal.contains(feature), "{refusal}");
    }
}

#[test]
fn looping_guest_does_not_block_others() {
    let bench = Bench::new();
    let (spin, short) = (bench.text(LOOP), bench.text(r#"(module (func (export "_start")))"#));
    let interrupt = bench.engines.interrupt();
    let (spun, ended) = bench.runtime.block_on(async {
        tokio::join!(run_fresh(&spin, bench.plain_call(OutputForm::Text)), async {
            let ended = run_fresh(&short, bench.plain_call(OutputForm::Text)).await;
            interrupt.now();
            ended
        })
    });
    // The other guest has ended long before the timeout.
    assert!(matches!(spun.ending, Ending::Stopped), "{spun:?}");
    assert!(matches!(ended.ending, Ending::Reply(_)), "{ended:?}");
}

/// A component whose core module loops when it is instantiated.
const LOOP_IN_START: &str = r#"(component
    (core module $module
      (func $begin (loop (br 0))) (start $begin)
      (func (export "describe")) (func (export "run")))
    (core instance $core (instantiate $module))
    (func $describe (canon lift (core func $core "describe")))
    (func $run (canon lift (core func $core "run")))
    (instance $provider (export "describe" (func $describe)) (export "run" (func $run)))
    (export "runner:provider/provider@0.1.0" (instance $provider)))"#;

#[test]
fn looping_describe_is_ended() {
    for text in [LOOP, LOOP_IN_START] {
        let (sender, ended) = mpsc::channel();
        // A loop that nothing ends must fail the test, and not hang it.
        thread::spawn(move || {
            let bench = Bench::new();
            let plugin = bench.text(text);
            let described = bench.runtime.block_on(async {
                let protocol = runner_model::provider::Protocol::Json;
                let describe = plugin.describe(protocol, &bench.limits);
                let interrupt = bench.engines.interrupt();
                let stop = async {
                    tokio::task::yield_now().await;
                    interrupt.now();
                };
                tokio::join!(describe, stop).0
            });
            sender.send(described.unwrap_err()).unwrap();
        });
        let error = ended.recv_timeout(Duration::from_secs(60)).expect("an interrupt ends it");
        assert_eq!((error.class, &*error.code), (None, "stopped"));
    }
}

#[test]
fn traps_name_the_guests_functions() {
    let bench = Bench::new();
    for (text, expected) in [
        (
            r#"(module
                 (func $inner i32.const 1 i32.const 0 i32.div_s drop)
                 (func $outer call $inner)
                 (func (export "_start") call $outer))"#,
            (
                "trap",
                "integer-division-by-zero",
                "the guest trapped: integer divide by zero in `inner`, called by `outer`",
            ),
        ),
        (
            r#"(module (func $again (export "_start") call $again))"#,
            (
                "trap",
                "stack-overflow",
                "the guest trapped: call stack exhausted in `again` (recursive); `limits.stack` is 512 KiB",
            ),
        ),
        (
            r#"(module (memory 1) (func $_ZN6answer4fail17h0123456789abcdefE (export "_start")
                 (drop (i32.load (i32.const -1)))))"#,
            (
                "trap",
                "memory-out-of-bounds",
                "the guest trapped: out of bounds memory access in `answer::fail`",
            ),
        ),
        // Functions of Rust's libraries would hide the author's.
        (
            r#"(module
                 (func $abort unreachable)
                 (func $std::process::abort call $abort)
                 (func $__rustc::__rust_start_panic call $std::process::abort)
                 (func $core::panicking::panic_fmt call $__rustc::__rust_start_panic)
                 (func $answer::fail (export "_start") call $core::panicking::panic_fmt))"#,
            (
                "trap",
                "unreachable-code-reached",
                "the guest trapped: wasm `unreachable` instruction executed in `abort`, called by `answer::fail`",
            ),
        ),
        (
            r#"(module (func (export "_start") unreachable))"#,
            (
                "trap",
                "unreachable-code-reached",
                "the guest trapped: wasm `unreachable` instruction executed",
            ),
        ),
    ] {
        assert_eq!(error(&run(&bench, text)), expected);
    }
}

#[test]
fn timeout_logs_the_guests_functions() {
    let mut bench = Bench::new();
    let text = r#"(module (func $spin (loop br 0)) (func $outer (export "_start") call $spin))"#;
    let expected = "the guest was interrupted in `spin`, called by `outer`";
    // On a busy machine, 30 ms may be too short for the start.
    let is_logged = [30, 2_000, 30_000].into_iter().any(|millis| {
        bench.timeout = Duration::from_millis(millis);
        let ended = run(&bench, text);
        assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");
        ended.said.log.first().is_some_and(|record| &*record.message == expected)
    });
    assert!(is_logged);
}

#[test]
fn name_of_100_000_bytes_is_cut() {
    let bench = Bench::new();
    let name = "x".repeat(100_000);
    let ended = run(&bench, &format!(r#"(module (func ${name} (export "_start") unreachable))"#));
    assert!(error(&ended).2.len() < 500);
}
