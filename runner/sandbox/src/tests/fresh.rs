//! No guest finds data of an earlier one in reused memories and tables.

use runner_model::provider::OutputForm;

use super::support::Bench;
use crate::Ending;

/// Guests in a row. `RUNNER_GUESTS` sets another number. Try half a million before you enable
/// another way of clearing slots.
const GUESTS: u32 = 500;

/// Searches all of its memory for data that it did not put there, and exits with the number of the
/// part that has some. Otherwise writes data everywhere. `PAGES` is the size of its memory; half of
/// it is initial.
const PLANTER: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") PAGES)
  (table $table 1000 2000 funcref)
  (global $global (mut i64) (i64.const 7))
  (elem declare func $mark)
  (data (i32.const 100) "own")
  (func $mark)
  (func $look (param $at i32) (param $end i32)
    (loop $next
      (if (i64.ne (i64.load (local.get $at)) (i64.const 0)) (then (call $exit (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end)))))
  (func (export "_start") (local $at i32) (local $size i32)
    (local.set $size (i32.mul (memory.size) (i32.const 0x10000)))
    (call $look (i32.const 104) (local.get $size))
    (if (i32.ne (i32.load (i32.const 100)) (i32.const 0x6e776f)) (then (call $exit (i32.const 2))))
    (if (i32.eq (memory.grow (memory.size)) (i32.const -1)) (then (call $exit (i32.const 3))))
    (call $look (local.get $size) (i32.mul (local.get $size) (i32.const 2)))
    (if (i64.ne (global.get $global) (i64.const 7)) (then (call $exit (i32.const 4))))
    (if (i32.ne (table.size $table) (i32.const 1000)) (then (call $exit (i32.const 5))))
    (drop (table.grow $table (ref.null func) (i32.const 1000)))
    (loop $next
      (if (i32.eqz (ref.is_null (table.get $table (local.get $at)))) (then (call $exit (i32.const 6))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 2000))))
    (memory.fill (i32.const 0) (i32.const 0xa5) (i32.mul (local.get $size) (i32.const 2)))
    (table.fill $table (i32.const 0) (ref.func $mark) (i32.const 2000))
    (global.set $global (i64.const 8))))"#;

#[test]
fn guest_finds_no_data_of_the_previous_one() {
    let guests = std::env::var("RUNNER_GUESTS").map_or(GUESTS, |guests| guests.parse().unwrap());
    // In the pool for small memories and in the one for larger ones.
    for pages in ["4", "8"] {
        let bench = Bench::new();
        let planter = bench.text(&PLANTER.replace("PAGES", pages));
        for _ in 0..guests {
            let ended = bench.plain(&planter, OutputForm::Text);
            let Ending::Reply(reply) = ended.ending else {
                panic!("{ended:?}");
            };
            assert_eq!(reply.exit_code, Some(0), "a part was not reset");
        }
    }
}
