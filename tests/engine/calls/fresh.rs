//! What one guest leaves in a sandbox the next one does not find, although its memories and tables are used again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use runner::plugin::SandboxPool;
use serde_json::Value;

use crate::support::engine::{Attempt, Bench, StdoutForm, reply};

/// How many guests follow each other; `RUNNER_GUESTS` sets another number. A way of resetting that leaks once in ten thousand
/// guests is found by more than are made in every test run: before another one is switched on, try half a million.
const GUESTS: u32 = 2_000;

/// Looks through all that it has for what it did not put there, exits with the number of the part where it finds
/// something, and else plants something everywhere: in whole pages beside each other, and in single ones.
const PLANTER: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 16 32)
  (table $table 1000 2000 funcref)
  (global $global (mut i64) (i64.const 7))
  (elem declare func $mark)
  (data (i32.const 100) "own")
  (func $mark)
  (func $found (param $part i32) (call $exit (local.get $part)))
  (func $look (param $at i32) (param $end i32) (param $step i32)
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $found (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (local.get $step)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end)))))
  (func $plant (param $at i32) (param $end i32) (param $step i32)
    (loop $next
      (i64.store (local.get $at) (i64.const -1))
      (local.set $at (i32.add (local.get $at) (local.get $step)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end)))))
  (func (export "_start") (local $at i32)
    (call $look (i32.const 104) (i32.const 0x10000) (i32.const 8))
    (call $look (i32.const 0x10000) (i32.const 0x100000) (i32.const 0xa000))
    (if (i32.ne (i32.load (i32.const 100)) (i32.const 0x6e776f)) (then (call $found (i32.const 2))))
    (if (i32.ne (memory.grow (i32.const 16)) (i32.const 16)) (then (call $found (i32.const 3))))
    (call $look (i32.const 0x100000) (i32.const 0x200000) (i32.const 0x20000))
    (if (i64.ne (global.get $global) (i64.const 7)) (then (call $found (i32.const 4))))
    (if (i32.ne (table.size $table) (i32.const 1000)) (then (call $found (i32.const 5))))
    (drop (table.grow $table (ref.null func) (i32.const 1000)))
    (loop $next
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (call $found (i32.const 6))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 2000))))
    (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 0x10000))
    (call $plant (i32.const 0x10000) (i32.const 0x100000) (i32.const 0xa000))
    (call $plant (i32.const 0x100000) (i32.const 0x200000) (i32.const 0x20000))
    (table.fill $table (i32.const 0) (ref.func $mark) (i32.const 2000))
    (global.set $global (i64.const 8))))"#;

#[test]
fn nothing_that_a_guest_leaves_is_found_by_the_next_while_the_kernel_moves_pages() {
    let bench = Bench::with(|options| options.pool = Some(SandboxPool::of_any(2, 2)));
    let planter = bench.link_text(PLANTER).unwrap();
    assert_eq!(planter.compiled().unpooled, None);
    let guests = std::env::var("RUNNER_GUESTS").map_or(GUESTS, |guests| guests.parse().unwrap());
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // Only root may ask for it. Elsewhere pages are moved when the kernel thinks so.
                let _ = fs_err::write("/proc/sys/vm/compact_memory", "1");
                // Pages that were given back are used for something else in between.
                drop(vec![0xa5_u8; 64 * 1024 * 1024]);
                thread::sleep(Duration::from_millis(50));
            }
        });
        let begin = || bench.spawn(attempt(), &planter, Value::Null);
        let mut left = begin();
        for _ in 0..guests {
            let right = begin();
            let ended = bench.wait(left).unwrap();
            assert_eq!(reply(ended).exit_code, Some(0), "a part was not reset");
            left = right;
        }
        is_over.store(true, Ordering::Relaxed);
        bench.wait(left).unwrap();
    });
}

fn attempt() -> Attempt {
    Attempt::of_command(&[], StdoutForm::Text)
}

#[test]
fn a_plugin_that_does_not_fit_a_slot_runs_in_sandboxes_of_its_own() {
    let bench = Bench::with(|options| options.pool = Some(SandboxPool::of_any(1, 1)));
    let memories = "(memory 1)".repeat(9);
    let command = |parts: &str| format!(r#"(module {parts} (func (export "_start")))"#);
    for (parts, unpooled) in [
        ("(memory 1)", None),
        (memories.as_str(), Some("it has too many memories")),
    ] {
        let plugin = bench.link_text(&command(parts)).unwrap();
        assert_eq!(plugin.compiled().unpooled.as_deref(), unpooled);
        let ended = bench.wait(attempt().start(&plugin, &Value::Null));
        assert_eq!(reply(ended).exit_code, Some(0));
    }
    // Another engine without a pool has the same to say of every plugin.
    let bench = Bench::with(|options| options.pool = None);
    let plugin = bench.link_text(&command("(memory 1)")).unwrap();
    assert_eq!(
        plugin.compiled().unpooled.as_deref(),
        Some("there is no pool")
    );
}
