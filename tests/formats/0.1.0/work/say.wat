;; A plain command of WASI preview 1 that does what its first argument says: `print TEXT`, `trap`, `loop`, `nap`
;; (a third of a second), `exit` (with 3), `flood` (70 000 bytes) or `keep` (a file in /artifacts).
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 512) "notes.txt")
  (data (i32.const 528) "kept\n")
  (data (i32.const 544) "said on standard error\n")

  (func $write (param $fd i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func $length (param $at i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $at))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $at)))

  ;; The subscription at 1600 is all zeros but for the clock, which is the monotonic one, and the time.
  (func $nap
    (i32.store (i32.const 1616) (i32.const 1))
    (i64.store (i32.const 1624) (i64.const 330000000))
    (drop (call $poll_oneoff (i32.const 1600) (i32.const 1664) (i32.const 1) (i32.const 8))))

  ;; The first folder is /scratch, the second /artifacts.
  (func $keep
    (if (call $path_open (i32.const 4) (i32.const 0) (i32.const 512) (i32.const 9) (i32.const 1)
          (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 12))
      (then (unreachable)))
    (call $write (i32.load (i32.const 12)) (i32.const 528) (i32.const 5))
    (drop (call $fd_close (i32.load (i32.const 12)))))

  (func $flood
    (memory.fill (i32.const 65536) (i32.const 120) (i32.const 70000))
    (call $write (i32.const 1) (i32.const 65536) (i32.const 70000)))

  (func (export "_start")
    (local $what i32)
    (drop (call $args_get (i32.const 1024) (i32.const 4096)))
    (local.set $what (i32.load (i32.load (i32.const 1028))))
    (if (i32.eq (local.get $what) (i32.const 0x6e697270)) ;; prin
      (then (call $write (i32.const 1) (i32.load (i32.const 1032)) (call $length (i32.load (i32.const 1032))))))
    (if (i32.eq (local.get $what) (i32.const 0x70617274)) ;; trap
      (then (call $write (i32.const 2) (i32.const 544) (i32.const 23)) (unreachable)))
    (if (i32.eq (local.get $what) (i32.const 0x706f6f6c)) ;; loop
      (then (loop $forever (br $forever))))
    (if (i32.eq (local.get $what) (i32.const 0x0070616e)) ;; nap
      (then (call $nap)))
    (if (i32.eq (local.get $what) (i32.const 0x74697865)) ;; exit
      (then (call $proc_exit (i32.const 3))))
    (if (i32.eq (local.get $what) (i32.const 0x6f6f6c66)) ;; floo
      (then (call $flood)))
    (if (i32.eq (local.get $what) (i32.const 0x7065656b)) ;; keep
      (then (call $keep)))))
