//! Guests that do not come to an end by themselves: deadlines, requests to stop, and calls that nobody waits for.

use std::time::{Duration, Instant};

use runner::model::ErrorClass;
use serde_json::{Value, json};

use super::{HOSTILE, hostile, plain};
use crate::support::{
    engine::{
        Attempt, BENCH, Bench, CommandProtocol, Interrupt, LONG, assert_error, assert_stopped,
        assert_timed_out, output,
    },
    guests::guest,
};

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
fn a_guest_that_loops_in_its_start_function_is_ended() {
    let plugin = BENCH
        .link_text(r#"(module (func $spin (loop br 0)) (start $spin) (func (export "_start")))"#)
        .unwrap();
    let attempt = plain(&[]).timeout(Duration::from_millis(50));
    assert_timed_out(&attempt.run(&plugin, &Value::Null), "a start function");
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
