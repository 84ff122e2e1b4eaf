//! Guests that are ended by the host, and their errors.

use std::{thread, time::Duration};

use runner_model::provider::OutputForm;

use super::support::{Bench, error, run_fresh};
use crate::{Ended, Ending};

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
fn looping_guest_does_not_block_others() {
    let mut bench = Bench::new();
    bench.timeout = Duration::from_millis(500);
    let (spin, short) = (bench.text(LOOP), bench.text(r#"(module (func (export "_start")))"#));
    let (spun, ended) = bench.runtime.block_on(async {
        tokio::join!(
            run_fresh(&spin, bench.plain_call(OutputForm::Text)),
            run_fresh(&short, bench.plain_call(OutputForm::Text))
        )
    });
    assert!(matches!(spun.ending, Ending::Timeout), "{spun:?}");
    assert!(matches!(ended.ending, Ending::Reply(_)), "{ended:?}");
    assert!(ended.duration < bench.timeout);
}

#[test]
fn looping_describe_is_ended() {
    let bench = Bench::new();
    let plugin = bench.text(LOOP);
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
    let error = described.unwrap_err();
    assert_eq!((error.class, &*error.code), (None, "stopped"));
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
    bench.timeout = Duration::from_millis(30);
    let text = r#"(module (func $spin (loop br 0)) (func $outer (export "_start") call $spin))"#;
    let ended = run(&bench, text);
    assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");
    let record = &ended.said.log[0];
    assert_eq!(&*record.message, "the guest was interrupted in `spin`, called by `outer`");
}

#[test]
fn name_of_100_000_bytes_is_cut() {
    let bench = Bench::new();
    let name = "x".repeat(100_000);
    let ended = run(&bench, &format!(r#"(module (func ${name} (export "_start") unreachable))"#));
    assert!(error(&ended).2.len() < 500);
}
