;; A command of the JSON protocol. What it answers is in the input's first letter: `c`hecks, `s`kips, `r`efuses, is
;; `u`navailable in the first attempt, or else says 1.
(module
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "\"input\":\"")
  (data (i32.const 80) "\"attempt\":")
  (data (i32.const 8192) "{\"ok\":{\"name\":\"answer\",\"version\":\"0.1.0\",\"summary\":\"answers\",\"input_schema\":{\"type\":\"string\"}}}\00")
  (data (i32.const 8704) "{\"ok\":{\"output\":1}}\00")
  (data (i32.const 8960) "{\"ok\":{\"output\":{\"n\":2},\"verdict\":\"fail\",\"score\":0.5,\"summary\":\"half of it\",\"checks\":[{\"name\":\"first\",\"verdict\":\"pass\",\"score\":1.0},{\"name\":\"second\",\"verdict\":\"fail\",\"message\":\"not so\",\"details\":{\"line\":7}}],\"metrics\":[{\"name\":\"words\",\"value\":12,\"unit\":\"words\"}]}}\00")
  (data (i32.const 9472) "{\"ok\":{\"output\":null,\"verdict\":\"skip\",\"summary\":\"not for me\"}}\00")
  (data (i32.const 9728) "{\"err\":{\"kind\":\"invalid-input\",\"code\":\"no\",\"message\":\"never\"}}\00")
  (data (i32.const 9984) "{\"err\":{\"kind\":\"unavailable\",\"code\":\"busy\",\"message\":\"not yet\",\"retry_after\":1}}\00")
  (data (i32.const 10240) "{\"level\":\"info\",\"message\":\"called\",\"fields\":{\"by\":\"the runner\"}}\n\00")

  (func $length (param $at i32) (result i32)
    (local $end i32)
    (local.set $end (local.get $at))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (i32.load8_u (local.get $end))))
        (local.set $end (i32.add (local.get $end) (i32.const 1)))
        (br $next)))
    (i32.sub (local.get $end) (local.get $at)))

  (func $say (param $fd i32) (param $at i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (call $length (local.get $at)))
    (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))

  ;; The byte behind the text at $what in what was read to 16384, of which only the end is 0.
  (func $behind (param $what i32) (result i32)
    (local $at i32) (local $i i32) (local $length i32)
    (local.set $length (call $length (local.get $what)))
    (local.set $at (i32.const 16384))
    (loop $next
      (local.set $i (i32.const 0))
      (block $differs
        (loop $same
          (br_if $differs (i32.ne
            (i32.load8_u (i32.add (local.get $at) (local.get $i)))
            (i32.load8_u (i32.add (local.get $what) (local.get $i)))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if $same (i32.lt_u (local.get $i) (local.get $length))))
        (return (i32.load8_u (i32.add (local.get $at) (local.get $length)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.load8_u (local.get $at))))
    (i32.const 0))

  (func $read
    (local $at i32)
    (local.set $at (i32.const 16384))
    (loop $more
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (i32.const 4096))
      (if (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)) (then (unreachable)))
      (local.set $at (i32.add (local.get $at) (i32.load (i32.const 8))))
      (br_if $more (i32.load (i32.const 8)))))

  (func (export "_start")
    (local $letter i32)
    (drop (call $args_get (i32.const 1024) (i32.const 4096)))
    (if (i32.eq (i32.load8_u (i32.load (i32.const 1028))) (i32.const 0x64)) ;; describe
      (then (call $say (i32.const 1) (i32.const 8192)) (return)))
    (call $read)
    (call $say (i32.const 2) (i32.const 10240))
    (local.set $letter (call $behind (i32.const 64)))
    (if (i32.eq (local.get $letter) (i32.const 0x63))
      (then (call $say (i32.const 1) (i32.const 8960)) (return)))
    (if (i32.eq (local.get $letter) (i32.const 0x73))
      (then (call $say (i32.const 1) (i32.const 9472)) (return)))
    (if (i32.eq (local.get $letter) (i32.const 0x72))
      (then (call $say (i32.const 1) (i32.const 9728)) (return)))
    (if (i32.and
          (i32.eq (local.get $letter) (i32.const 0x75))
          (i32.eq (call $behind (i32.const 80)) (i32.const 0x31)))
      (then (call $say (i32.const 1) (i32.const 9984)) (return)))
    (call $say (i32.const 1) (i32.const 8704))))
