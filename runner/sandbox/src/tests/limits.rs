//! Limits on everything that a guest may take, pass or leave.

use runner_model::{Limits, Micros, cache::CodeForm, provider::OutputForm};
use wasmtime::{
    Store,
    component::{Component, Resource},
};
use wasmtime_wasi::WasiView as _;

use super::support::{Bench, error, output};
use crate::{
    Ended, Ending, Interrupt,
    engine::{
        config::{self, Allocation, Stack},
        link::component_linker,
    },
    interrupt::Guard,
    store::Sandbox,
};

fn run(bench: &Bench, text: &str) -> Ended {
    bench.plain(&bench.text(text), OutputForm::Text)
}

#[test]
fn memory_is_limited_over_all_memories() {
    let mut bench = Bench::new();
    bench.limits.memory = 3 << 16;
    let grow = |code: &str| {
        format!(
            r#"(module (memory 1) (memory $b 1) (func (export "_start")
                 (if (i32.eq (memory.grow $b (i32.const 2)) (i32.const -1)) (then {code}))))"#
        )
    };
    let message = "the guest requested 256 KiB of memory in all, and `limits.memory` is 192 KiB";
    let ended = run(&bench, &grow("unreachable"));
    assert_eq!(error(&ended), ("out-of-memory", "memory", message));
    assert_eq!(ended.usage.peak_memory, 2 << 16);
    // A guest may survive a denial.
    assert_eq!(output(&run(&bench, &grow("nop"))), "\"\"");
    let ended = run(&bench, r#"(module (memory 4) (func (export "_start")))"#);
    assert_eq!(error(&ended), ("out-of-memory", "memory", message));
    // The exit code is judged, and the denial is recorded.
    let exit = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start") (drop (memory.grow (i32.const 3))) (call $exit (i32.const 1))))"#;
    let ended = run(&bench, exit);
    assert_eq!(&*ended.denied[0].what, message);
}

#[test]
fn table_elements_are_limited_over_all_tables() {
    let mut bench = Bench::new();
    let text = r#"(module
        (table $a 60 funcref) (table $b 0 funcref)
        (func (export "_start")
          (if (i32.eq (table.grow $b (ref.null func) (i32.const 41)) (i32.const -1)) (then unreachable))))"#;
    bench.limits.table_elements = 101;
    assert_eq!(output(&run(&bench, text)), "\"\"");
    bench.limits.table_elements = 100;
    let message =
        "the guest requested 101 table elements in all, and `limits.table_elements` is 100";
    assert_eq!(error(&run(&bench, text)), ("out-of-memory", "memory", message));
}

#[test]
fn instances_are_limited() {
    let bench = Bench::new();
    let text = |count: usize| {
        format!(
            r#"(component
                 (core module $module (func (export "run") (result i32) i32.const 0))
                 {}
                 (core instance $core (instantiate $module))
                 (func $run (result (result)) (canon lift (core func $core "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#,
            "(core instance (instantiate $module))".repeat(count - 1)
        )
    };
    assert_eq!(output(&run(&bench, &text(32))), "\"\"");
    let ended = run(&bench, &text(33));
    let (class, code, message) = error(&ended);
    assert_eq!((class, code), ("limit", "instances"), "{message}");
}

#[test]
fn flood_of_host_resources_is_refused() {
    let text = r#"(component
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
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let message = "the guest holds too many host resources at once, such as streams and futures";
    let ended = run(&Bench::new(), text);
    assert_eq!(error(&ended), ("limit", "resources", message));
}

#[test]
fn flood_of_handles_is_refused() {
    let text = r#"(component
        (type $own (resource (rep i32)))
        (core func $new (canon resource.new $own))
        (core module $module
          (import "host" "new" (func $new (param i32) (result i32)))
          (func (export "run") (result i32)
            (loop (drop (call $new (i32.const 1))) (br 0))
            unreachable))
        (core instance $core (instantiate $module
          (with "host" (instance (export "new" (func $new))))))
        (func $run (result (result)) (canon lift (core func $core "run")))
        (instance $exports (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let message = "the guest holds too many handles at once";
    let ended = run(&Bench::new(), text);
    assert_eq!(error(&ended), ("limit", "handles", message));
}

#[test]
fn randomness_is_limited() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (memory (export "memory") 40)
        (func (export "_start") (drop (call $random (i32.const 0) (i32.const 2000000)))))"#;
    let message = "the guest requested too much: requested len 2000000 exceeds limit 1048576";
    let ended = run(&Bench::new(), text);
    assert_eq!(error(&ended), ("limit", "random", message));
}

#[test]
fn input_is_limited() {
    let mut bench = Bench::new();
    bench.limits.input = 4;
    let echo = bench.bundled("echo");
    assert_eq!(output(&bench.run(&echo, "1234")), "1234");
    let message = "the input has 5 B, and `limits.input` is 4 B";
    assert_eq!(error(&bench.run(&echo, "12345")), ("limit", "input", message));
}

#[test]
fn reply_is_limited() {
    let mut bench = Bench::new();
    let echo = bench.bundled("echo");
    bench.limits.reply = 1000;
    let input = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
    assert_eq!(output(&bench.run(&echo, &input(1000))).len(), 1000);
    let ended = bench.run(&echo, &input(1001));
    let message = "the reply has 1001 B, and `limits.reply` is 1000 B";
    assert_eq!(error(&ended), ("limit", "reply", message));
    let ended = bench.run(&echo, &input(1 << 20));
    let (class, code, message) = error(&ended);
    assert_eq!((class, code), ("limit", "reply"));
    assert!(
        message.starts_with(
            "the guest passed more than 65 KiB in one call, which `limits.reply` sets"
        ),
        "{message}"
    );
}

#[test]
fn floods_of_output_are_cut_without_failing() {
    let mut bench = Bench::new();
    bench.limits.stdio = 100;
    bench.limits.reply = 5_000;
    let flood = |stream: u32, end: &str| {
        format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                 (memory (export "memory") 1)
                 (func (export "_start") (local $times i32)
                   (memory.fill (i32.const 100) (i32.const 0x78) (i32.const 1000))
                   (i32.store (i32.const 0) (i32.const 100))
                   (i32.store (i32.const 4) (i32.const 1000))
                   (loop $next
                     (drop (call $write (i32.const {stream}) (i32.const 0) (i32.const 1) (i32.const 8)))
                     (local.set $times (i32.add (local.get $times) (i32.const 1)))
                     (br_if $next (i32.lt_u (local.get $times) (i32.const 10))))
                   {end}))"#
        )
    };
    let ended = run(&bench, &flood(2, ""));
    assert_eq!(output(&ended), "\"\"");
    assert_eq!(ended.said.stderr.len(), 200 + "\n… 9.6 KiB left out\n".len());

    let ended = run(&bench, &flood(1, ""));
    let message = "the standard output has 9.8 KiB, and `limits.reply` is 4.9 KiB";
    assert_eq!(error(&ended), ("limit", "reply", message));
    assert_eq!(ended.usage.bytes_out, 10_000);
    let kept = 200 + "\n… 9.6 KiB left out\n".len();
    assert_eq!(ended.said.stdout.len(), kept);

    // On a busy machine, 50 ms may be too short for the flood.
    let is_kept = [50, 2_000, 30_000].into_iter().any(|millis| {
        bench.timeout = std::time::Duration::from_millis(millis);
        let ended = run(&bench, &flood(1, "(loop br 0)"));
        assert!(matches!(ended.ending, Ending::Timeout), "{ended:?}");
        ended.said.stdout.len() == kept
    });
    assert!(is_kept);
}

#[test]
fn full_heap_and_uncaught_exception_are_told_apart() {
    let heap = r#"(module
      (type $node (struct (field (ref null $node)) (field i64 i64 i64 i64)))
      (memory (export "memory") 1)
      (func (export "_start") (local $list (ref null $node))
        (loop $next
          (local.set $list (struct.new $node (local.get $list)
            (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))
          (br $next))))"#;
    let mut bench = Bench::new();
    bench.limits.memory = 4 << 20;
    let ended = run(&bench, heap);
    let (class, code, message) = error(&ended);
    assert_eq!((class, code), ("out-of-memory", "memory"));
    assert!(message.contains("`limits.memory` is 4 MiB"), "{message}");
    assert!(ended.usage.peak_memory <= 4 << 20);

    let exception = r#"(module (tag $thrown) (memory (export "memory") 1)
      (func $fails (export "_start") (throw $thrown)))"#;
    let ended = run(&bench, exception);
    let message = "the guest threw an exception that nothing caught in `fails`";
    assert_eq!(error(&ended), ("trap", "uncaught-exception", message));
}

/// Components that call each other and wait. Each waiting call has a stack.
#[test]
fn number_of_waiting_tasks_is_bounded() {
    let text = |calls: usize| {
        let each = |text: &str| -> String {
            let numbers = 0..calls;
            numbers.map(|number| text.replace('#', &number.to_string())).collect()
        };
        format!(
            r#"(component
                 (component $waits
                   (core module $m
                     (import "" "yield" (func $yield (result i32)))
                     (func (export "f") (result i32) (loop $l (drop (call $yield)) (br $l)) unreachable)
                     (func (export "cb") (param i32 i32 i32) (result i32) i32.const 0))
                   (core func $yield (canon thread.yield))
                   (core instance $i (instantiate $m (with "" (instance (export "yield" (func $yield))))))
                   (func (export "f") async
                     (canon lift (core func $i "f") async (callback (core func $i "cb")))))
                 {instances}
                 (component $calls
                   {imports}
                   (core module $m {core_imports} (func (export "run") (result i32) {calls} i32.const 0))
                   (core instance $i (instantiate $m (with "" (instance {lowered}))))
                   (func (export "run") (result (result)) (canon lift (core func $i "run"))))
                 (instance $made (instantiate $calls {arguments}))
                 (alias export $made "run" (func $run))
                 (component $shim (import "run" (func $run (result (result)))) (export "run" (func $run)))
                 (instance $r (instantiate $shim (with "run" (func $run))))
                 (export "wasi:cli/run@0.2.6" (instance $r)))"#,
            instances =
                each(r#"(instance $b# (instantiate $waits)) (alias export $b# "f" (func $f#))"#),
            imports = each(
                r#"(import "l#" (func $f# async)) (core func $l# (canon lower (func $f#) async))"#
            ),
            core_imports = each(r#"(import "" "l#" (func $l# (result i32)))"#),
            calls = each("(drop (call $l#))"),
            lowered = each(r#"(export "l#" (func $l#))"#),
            arguments = each(r#"(with "l#" (func $f#))"#),
        )
    };
    let bench = Bench::new();
    assert_eq!(output(&run(&bench, &text(8))), "\"\"");
    let ended = run(&bench, &text(28));
    let message = "the guest holds too many host resources at once, such as streams and futures";
    assert_eq!(error(&ended), ("limit", "resources", message));
}

/// Strings that pass from one part of a guest to another. The host holds each of them meanwhile, at four times its bytes.
#[test]
fn values_between_parts_have_the_bound_of_a_call() {
    let text = |count: usize| {
        let libc = r#"(core module $libc
            (memory (export "memory") 200)
            (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 16))
          (core instance $libc (instantiate $libc))
          (alias core export $libc "memory" (core memory $memory))
          (alias core export $libc "realloc" (core func $realloc))
          (type $strings (stream string))"#;
        format!(
            r#"(component
                 (component $reads
                   {libc}
                   (core func $read (canon stream.read $strings async (memory $memory) (realloc $realloc)))
                   (core module $m
                     (import "" "read" (func $read (param i32 i32 i32) (result i32)))
                     (func (export "take") (param i32)
                       (drop (call $read (local.get 0) (i32.const 1024) (i32.const {count})))))
                   (core instance $i (instantiate $m (with "" (instance (export "read" (func $read))))))
                   (func (export "take") (param "strings" $strings) (canon lift (core func $i "take"))))
                 (instance $reads (instantiate $reads))
                 (component $writes
                   {libc}
                   (import "take" (func $take (param "strings" $strings)))
                   (core func $new (canon stream.new $strings))
                   (core func $write (canon stream.write $strings async (memory $memory)))
                   (core func $take (canon lower (func $take)))
                   (core module $m
                     (import "" "new" (func $new (result i64)))
                     (import "" "write" (func $write (param i32 i32 i32) (result i32)))
                     (import "" "take" (func $take (param i32)))
                     (func (export "run") (result i32) (local $both i64)
                       (local.set $both (call $new))
                       (drop (call $write
                         (i32.wrap_i64 (i64.shr_u (local.get $both) (i64.const 32))) (i32.const 1024) (i32.const {count})))
                       (call $take (i32.wrap_i64 (local.get $both)))
                       i32.const 0))
                   (core instance $i (instantiate $m (with "" (instance
                     (export "new" (func $new)) (export "write" (func $write)) (export "take" (func $take))))))
                   (func (export "run") (result (result)) (canon lift (core func $i "run"))))
                 (instance $writes (instantiate $writes (with "take" (func $reads "take"))))
                 (alias export $writes "run" (func $run))
                 (component $shim (import "run" (func $run (result (result)))) (export "run" (func $run)))
                 (instance $r (instantiate $shim (with "run" (func $run))))
                 (export "wasi:cli/run@0.2.6" (instance $r)))"#
        )
    };
    let bench = Bench::new();
    assert_eq!(output(&run(&bench, &text(1000))), "\"\"");
    let ended = run(&bench, &text(1_000_000));
    let (class, code, message) = error(&ended);
    assert_eq!((class, code), ("limit", "reply"), "{message}");
}

#[test]
fn bytes_of_one_host_call_are_bounded() {
    let mut bench = Bench::new();
    bench.limits.memory = 64 << 20;
    let module = |bytes: u64| {
        format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 600)
                 (func (export "_start")
                   (i32.store (i32.const 0) (i32.const 16))
                   (i32.store (i32.const 4) (i32.const {bytes}))
                   (call $exit (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
        )
    };
    let component = |bytes: u64| {
        format!(
            r#"(component
                 (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
                 (alias export $errors "error" (type $error))
                 (import "wasi:io/streams@0.2.0" (instance $streams
                   (export "error" (type $own-error (eq $error)))
                   (type $failed (variant (case "last-operation-failed" (own $own-error)) (case "closed")))
                   (export "stream-error" (type $stream-error (eq $failed)))
                   (export "output-stream" (type $output (sub resource)))
                   (export "[method]output-stream.write" (func
                     (param "self" (borrow $output)) (param "contents" (list u8))
                     (result (result (error $stream-error)))))))
                 (alias export $streams "output-stream" (type $stream))
                 (import "wasi:cli/stdout@0.2.0" (instance $stdout
                   (export "output-stream" (type $output (eq $stream)))
                   (export "get-stdout" (func (result (own $output))))))
                 (core module $memory (memory (export "memory") 160))
                 (core instance $memory (instantiate $memory))
                 (core func $get (canon lower (func $stdout "get-stdout")))
                 (core func $write (canon lower (func $streams "[method]output-stream.write")
                   (memory (core memory $memory "memory"))))
                 (core module $module
                   (import "host" "get" (func $get (result i32)))
                   (import "host" "write" (func $write (param i32 i32 i32 i32)))
                   (func (export "run") (result i32)
                     (call $write (call $get) (i32.const 16) (i32.const {bytes}) (i32.const 0))
                     (i32.const 0)))
                 (core instance $core (instantiate $module (with "host" (instance
                   (export "get" (func $get)) (export "write" (func $write))))))
                 (func $run (result (result)) (canon lift (core func $core "run")))
                 (instance $exports (export "run" (func $run)))
                 (export "wasi:cli/run@0.2.0" (instance $exports)))"#
        )
    };
    const NO_MEMORY: i32 = 48;
    let exit = |bytes: u64| match run(&bench, &module(bytes)).ending {
        Ending::Reply(reply) => reply.exit_code.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(exit(31 << 20), 0);
    assert_eq!(exit(33 << 20), NO_MEMORY);
    // The stream refuses, too, but only after it has received the bytes.
    let message = |bytes: u64| error(&run(&bench, &component(bytes))).2.to_owned();
    let too_much = "the guest passed more than 8 MiB in one call, the most for this command; let it write less at once";
    assert!(!message(8_000_000).starts_with(too_much));
    assert!(message(8_400_000).starts_with(too_much));
}

#[test]
fn errors_of_streams_are_short() {
    let errors = r#"(component
      (import "wasi:io/error@0.2.0" (instance $errors
        (export "error" (type $error (sub resource)))
        (export "[method]error.to-debug-string" (func (param "self" (borrow $error)) (result string)))))
      (alias export $errors "error" (type $error))
      (core module $memory
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024))
      (core instance $memory (instantiate $memory))
      (alias core export $memory "memory" (core memory $pages))
      (alias core export $memory "realloc" (core func $realloc))
      (core func $tell (canon lower (func $errors "[method]error.to-debug-string")
        (memory $pages) (realloc $realloc)))
      (core module $module
        (import "host" "tell" (func $tell (param i32 i32)))
        (import "host" "memory" (memory 1))
        (func (export "length") (param i32) (result i32)
          (call $tell (local.get 0) (i32.const 16))
          (i32.load (i32.const 20))))
      (core instance $core (instantiate $module (with "host" (instance
        (export "tell" (func $tell)) (export "memory" (memory $pages))))))
      (func (export "length") (param "error" (own $error)) (result u32)
        (canon lift (core func $core "length"))))"#;
    let engine = config::unpooled(Allocation::OnDemand, CodeForm::Optimized, Stack(0)).unwrap();
    let component = Component::new(&engine, wat::parse_str(errors).unwrap()).unwrap();
    let guard = Guard::new(Interrupt::default(), Micros(u64::MAX));
    let mut store = Store::new(&engine, Sandbox::bare(&Limits::default(), guard));
    store.set_epoch_deadline(1_000_000);
    let linker = component_linker(&engine).unwrap();
    let mut length = |text: String| {
        let error = wasmtime::Error::msg(text);
        let error = store.data_mut().ctx().table.push(error).unwrap();
        let told = async {
            let instance = linker.instantiate_async(&mut store, &component).await?;
            let length = instance.get_typed_func::<(Resource<_>,), (u32,)>(&mut store, "length")?;
            length.call_async(&mut store, (error,)).await
        };
        Bench::new().runtime.block_on(told).unwrap().0
    };
    assert_eq!(length("why".to_owned()), 3);
    assert_eq!(length("x".repeat(1024)), 1024);
    assert_eq!(length("x".repeat(1 << 20)), 1024 + "…".len() as u32);
}

#[test]
fn stack_has_the_size_of_its_limit() {
    let deep = |levels: u32| {
        format!(
            r#"(module (memory (export "memory") 1)
                 (func $deep (param i32) (result i32)
                   (if (result i32) (local.get 0)
                     (then (i32.add (i32.const 1) (call $deep (i32.sub (local.get 0) (i32.const 1)))))
                     (else (i32.const 0))))
                 (func (export "_start") (drop (call $deep (i32.const {levels})))))"#
        )
    };
    let mut bench = Bench::new();
    for (stack, shown) in [(512 << 10, "512 KiB"), (8 << 20, "8 MiB"), (16 << 20, "16 MiB")] {
        bench.limits.stack = stack;
        // A frame takes fewer than 64 bytes.
        output(&run(&bench, &deep(stack as u32 / 64)));
        let ended = run(&bench, &deep(u32::MAX));
        let (class, code, message) = error(&ended);
        assert_eq!((class, code), ("trap", "stack-overflow"));
        assert!(message.ends_with(&format!("; `limits.stack` is {shown}")), "{message}");
        output(&run(&bench, &deep(10)));
    }
}
