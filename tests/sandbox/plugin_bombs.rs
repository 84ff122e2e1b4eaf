//! Plugin files that are made to cost the runner memory and time: what is refused of them, and that it costs nothing.

use crate::support::{
    bombs::{COMPONENT, MODULE, leb, nested, section},
    peak::measured,
    runner::Runner,
};

/// What the runner may have in memory for a file, itself and its engine included.
const MOST_MEMORY: u64 = 128 * 1024 * 1024;

/// A section that says that it has `count` entries, and has `entries`.
fn counted(id: u8, count: usize, entries: &[u8]) -> Vec<u8> {
    section(id, &[leb(count).as_slice(), entries].concat())
}

fn module(sections: &[Vec<u8>]) -> Vec<u8> {
    [MODULE, &sections.concat()].concat()
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [COMPONENT, &sections.concat()].concat()
}

/// Imports of functions without names, from one module whose name they share.
fn sharing(name: usize, count: usize) -> Vec<u8> {
    let module = [leb(name), vec![b'm'; name]].concat();
    [
        module.as_slice(),
        &[0, 0x7e, 0, 0],
        &leb(count),
        &vec![0; count],
    ]
    .concat()
}

/// Global constants, each of five bytes.
fn globals(count: usize) -> Vec<u8> {
    counted(6, count, &[0x7f, 0, 0x41, 0, 0x0b].repeat(count))
}

/// A component that has one module, and instantiates it again and again.
fn instantiating(nested: &[u8], times: usize) -> Vec<u8> {
    component(&[
        section(1, nested),
        counted(2, times, &[0, 0, 0].repeat(times)),
    ])
}

/// A component that could make streams or futures, and hand them to another one inside of it.
fn piping(what: &str) -> Vec<u8> {
    let text =
        format!("(component (component (type $t ({what} u8)) (core func (canon {what}.new $t))))");
    wat::parse_str(text).unwrap()
}

/// Each component instantiates the one before it twice.
fn doubling(times: usize) -> Vec<u8> {
    let mut text = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for number in 1..=times {
        let before = number - 1;
        text += &format!(
            "(component $c{number} (alias outer $top $c{before} (component $before))
                (instance (instantiate $before)) (instance (instantiate $before)))"
        );
    }
    wat::parse_str(format!(
        "(component $top {text} (instance (instantiate $c{times})))"
    ))
    .unwrap()
}

/// A command that has `count` globals in each of `instances`.
fn command(count: usize, instances: usize) -> String {
    let globals = "(global i32 (i32.const 0))".repeat(count);
    let instances = "(core instance (instantiate $globals))".repeat(instances);
    format!(
        r#"(component
            (core module $globals {globals})
            {instances}
            (core module $main (func (export "run") (result i32) i32.const 0))
            (core instance $main (instantiate $main))
            (func $run (result (result)) (canon lift (core func $main "run")))
            (component $shim
                (import "run" (func $run (result (result))))
                (export "run" (func $run)))
            (instance $run (instantiate $shim (with "run" (func $run))))
            (export "wasi:cli/run@0.2.6" (instance $run)))"#
    )
}

#[test]
fn a_file_with_too_much_of_anything_is_refused_before_anything_is_done_with_it() {
    let many = 20_000_000;
    // The same place of a table is filled again and again, in no memory of its own.
    let zeros = [
        &[0, 0x41, 0, 0x0b],
        leb(100_000).as_slice(),
        &[0].repeat(100_000),
    ]
    .concat();
    let filled = module(&[
        counted(1, 1, &[0x60, 0, 0]),
        counted(3, 1, &[0]),
        counted(4, 1, &[&[0x70, 0], leb(100_000).as_slice()].concat()),
        counted(9, 2, &zeros.repeat(2)),
        counted(10, 1, &[2, 0, 0x0b]),
    ]);
    let import = [1, b'a', 1, b'b', 0, 0];
    let files = [
        (
            module(&[counted(7, many, &[0, 0, 0])]),
            "has 20 000 000 exports, and at most 50 000 are allowed",
        ),
        (
            module(&[counted(2, 300_000, &import.repeat(300_000))]),
            "imports, and at most 50 000 are allowed",
        ),
        (
            module(&[counted(2, 1, &sharing(100_000, 49_999))]),
            "has imports that share the name of their module",
        ),
        (
            module(&[counted(3, many, &[])]),
            "has 20 000 000 functions, and at most 500 000 are allowed",
        ),
        (module(&[counted(1, many, &[])]), "has 20 000 000 types"),
        (
            module(&[counted(1, 1, &[0x60].repeat(2 << 20))]),
            "of core types, and at most 1.0 MiB are allowed",
        ),
        (
            module(&[globals(1_000_000)]),
            "has 1 000 000 globals, and at most 100 000 are allowed",
        ),
        (module(&[counted(4, many, &[])]), "has 20 000 000 tables"),
        (module(&[counted(5, many, &[])]), "has 20 000 000 memories"),
        (module(&[counted(13, many, &[])]), "has 20 000 000 tags"),
        (
            module(&[counted(9, many, &[])]),
            "has 20 000 000 element segments",
        ),
        (
            module(&[counted(
                9,
                1,
                &[&[1, 0], leb(2_000_000).as_slice(), &[0].repeat(2_000_000)].concat(),
            )]),
            "has 2 000 000 elements, and at most 1 000 000 are allowed",
        ),
        (
            module(&[section(12, &leb(many))]),
            "has 20 000 000 data segments",
        ),
        (
            module(
                &section(0, &[0])
                    .repeat(10_001)
                    .chunks(3)
                    .map(<[u8]>::to_vec)
                    .collect::<Vec<_>>(),
            ),
            "custom sections",
        ),
        (
            component(&[counted(11, many, &[])]),
            "has 20 000 000 exports",
        ),
        (
            component(&[counted(10, many, &[])]),
            "has 20 000 000 imports",
        ),
        (
            component(&[counted(2, many, &[])]),
            "has 20 000 000 instances",
        ),
        (
            component(&[counted(5, many, &[])]),
            "has 20 000 000 instances",
        ),
        (
            component(&[counted(6, many, &[])]),
            "has 20 000 000 aliases",
        ),
        (component(&[counted(7, many, &[])]), "has 20 000 000 types"),
        (
            component(&[counted(8, many, &[])]),
            "has 20 000 000 canonical functions",
        ),
        (
            component(&vec![section(1, MODULE); 501]),
            "has 501 nested modules",
        ),
        (
            component(&vec![section(4, COMPONENT); 1_001]),
            "has 1 001 nested components",
        ),
        (nested(16), "has components nested more than 16 deep"),
        (nested(19_999), "has components nested more than 16 deep"),
        (
            instantiating(&module(&[globals(100_000)]), 150),
            "of globals, imports and function references",
        ),
        (
            instantiating(MODULE, 201),
            "has 201 core instances, and at most 200 are allowed",
        ),
        (
            instantiating(&filled, 150),
            "steps to fill its instances with elements, globals and data, and at most 2 000 000 are allowed",
        ),
        (doubling(60), "core instances, and at most 200 are allowed"),
        (piping("stream"), "makes streams or futures"),
        (piping("future"), "makes streams or futures"),
    ];
    let runner = Runner::new(&[]);
    runner.scenario("[providers.p]\nplugin = \"bomb.wasm\"\n[[tests]]\nid = \"a\"\n");
    for (bytes, says) in files {
        runner.write("bomb.wasm", bytes);
        let (inspected, peak) = measured(runner.command(&["plugin", "inspect", "bomb.wasm"]));
        inspected.expect(2).says(&["plugin `bomb.wasm` ", says]);
        assert!(peak < MOST_MEMORY, "{says}: {peak} bytes");
        runner.refused(&[], &["bomb.wasm", says]);
        let called = runner.run(&["plugin", "run", "bomb.wasm"]).expect(2);
        called.says(&[says]);
    }
}

/// A command whose exports are a tree of instances, twice as many on each level.
fn exporting(levels: usize) -> String {
    let mut text = "(instance $i0)".to_owned();
    for level in 1..=levels {
        let below = level - 1;
        text += &format!(
            "(instance $i{level} (export \"a\" (instance $i{below})) (export \"b\" (instance $i{below})))"
        );
    }
    let tree = format!("{text} (export \"tree\" (instance $i{levels})))");
    let command = command(0, 0);
    command.trim_end().strip_suffix(')').unwrap().to_owned() + &tree
}

#[test]
fn what_a_small_file_is_compiled_to_takes_no_more_memory_than_is_allowed() {
    let runner = Runner::new(&[]);
    for (levels, code) in [(3, 0), (17, 2), (18, 2), (60, 2)] {
        runner.wat("bomb.wasm", &exporting(levels));
        let (ran, peak) = measured(runner.command(&["plugin", "run", "bomb.wasm"]));
        ran.expect(code);
        assert!(peak < MOST_MEMORY, "{levels} levels: {peak} bytes");
    }
}

#[test]
fn types_that_are_nested_too_deeply_for_the_compiler_are_refused_in_words() {
    // Each level is the type of an instance in which a type is declared.
    let levels = 200_000;
    let mut types = b"\x42\x01\x01".repeat(levels);
    types.extend(b"\x42\x00");
    let deep = component(&[counted(7, 1, &types)]);
    let runner = Runner::new(&[]);
    let mut text = wat::parse_str(command(0, 0)).unwrap();
    text.extend(&deep[COMPONENT.len()..]);
    runner.write("deep.wasm", text);
    let inspected = runner.run(&["plugin", "inspect", "deep.wasm"]).expect(2);
    inspected.says(&["it is nested more deeply than the compiler can follow"]);
}

/// A memory as interpreters have it whose heap was made ahead: data with holes in it, in a file that is larger.
#[test]
fn of_a_memory_with_holes_an_image_is_kept_that_is_no_larger_than_the_file() {
    let runner = Runner::new(&[]);
    let compiled = |rest: usize| {
        let rest = "x".repeat(rest);
        let memory = format!(
            r#"(core module (memory 257) (data (i32.const 0) "a") (data (i32.const 4000000) "b") (data "{rest}"))"#
        );
        let plain = command(0, 0);
        let with_memory = plain.replacen("(component", &format!("(component {memory}"), 1);
        assert_ne!(plain, with_memory);
        runner.wat("holes.wasm", &with_memory);
        let inspected = runner.run(&["plugin", "inspect", "holes.wasm", "--json"]);
        let compiled = inspected.expect(0).document()["compiled"]["size"].as_u64();
        usize::try_from(compiled.unwrap()).unwrap() - rest.len()
    };
    assert!(
        compiled(3_000_000) < 1 << 20,
        "the image is larger than the file"
    );
    assert!(compiled(5_000_000) > 4_000_000, "the image is not kept");
}

/// Two bytes of data at both ends of each memory.
#[test]
fn of_sparse_memories_no_images_are_kept() {
    let memories: String = (0..20)
        .map(|_| {
            r#"(core module (memory 257) (data (i32.const 0) "a") (data (i32.const 16777000) "b"))"#
        })
        .collect();
    let plain = command(0, 0);
    let with_memories = plain.replacen("(component", &format!("(component {memories}"), 1);
    assert_ne!(plain, with_memories);
    let runner = Runner::new(&[]);
    runner.wat("sparse.wasm", &with_memories);
    runner.run(&["plugin", "run", "sparse.wasm"]).expect(0);
    let inspected = runner
        .run(&["plugin", "inspect", "sparse.wasm", "--json"])
        .expect(0);
    let compiled =
        serde_json::from_str::<serde_json::Value>(&inspected.stdout).unwrap()["compiled"]["size"]
            .as_u64()
            .unwrap();
    assert!(compiled < 1 << 20, "{compiled} bytes");
}

/// Components that call each other and wait: each call that waits has a stack of its own.
#[test]
fn tasks_that_wait_for_each_other_are_few() {
    let calls = 60;
    let each = |text: &str| -> String {
        (0..calls)
            .map(|number| text.replace('#', &number.to_string()))
            .collect()
    };
    let text = format!(
        r#"(component
             (component $waits
               (core module $m
                 (import "" "yield" (func $yield (result i32)))
                 (func $deep (param i32) (result i32)
                   (if (i32.eqz (local.get 0)) (then (loop $l (drop (call $yield)) (br $l))))
                   (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (local.get 0)))
                 (func (export "f") (result i32) (drop (call $deep (i32.const 6000))) i32.const 0)
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
    );
    let runner = Runner::new(&[]);
    runner.wat("waits.wasm", &text);
    let (ran, peak) = measured(runner.command(&["plugin", "run", "waits.wasm"]));
    ran.expect(1)
        .says(&["holds too many host resources at once"]);
    assert!(peak < MOST_MEMORY, "{peak} bytes");
}

#[test]
fn a_folder_with_more_in_it_than_any_plugins_source_is_refused_by_name() {
    let runner = Runner::new(&[]);
    runner.write(
        "p/plugin.toml",
        "name = \"p\"\nlanguage = \"c\"\nkind = \"command\"\n",
    );
    runner.wat("p/dist/plugin.wasm", "(module (func (export \"_start\")))");
    let model = fs_err::File::create(runner.path("p/model.bin")).unwrap();
    model.set_len(200 << 30).unwrap();
    let says = ["the source in", "/p` has more than 512.0 MiB of files"];
    runner.scenario("[providers.p]\nplugin = \"p\"\n[[tests]]\nid = \"a\"\n");
    let (ran, peak) = measured(runner.command(&["exec", "scenario.toml"]));
    ran.expect(2).says(&says);
    assert!(peak < MOST_MEMORY, "{peak} bytes");
    runner
        .run(&["plugin", "inspect", "p"])
        .expect(2)
        .says(&says);
}

#[test]
fn components_may_be_nested_and_doubled_within_the_bounds() {
    let runner = Runner::new(&[]);
    for bytes in [nested(15), doubling(7)] {
        runner.write("fine.wasm", bytes);
        let inspected = runner.run(&["plugin", "inspect", "fine.wasm"]).expect(2);
        inspected.says(&["is a component of another world"]);
    }
}

#[test]
fn what_instances_cost_is_charged_to_the_limit_of_memory_before_they_are_made() {
    let runner = Runner::new(&[]);
    runner.wat("bomb.wasm", &command(6_667, 150));
    let scenario = |memory: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bomb.wasm\"\nlimits = {{ memory = \"{memory}\" }}\n[[tests]]\nid = \"a\"\n"
        ));
    };
    scenario("1MiB");
    let (ran, peak) = measured(runner.command(&["exec", "scenario.toml", "--into", "small"]));
    ran.expect(1);
    assert!(peak < MOST_MEMORY, "{peak} bytes");
    let rows = fs_err::read_to_string(runner.path("small/index.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert_eq!(row["error"]["class"], "out-of-memory", "{row:#}");
    let message = row["error"]["message"].as_str().unwrap();
    assert!(message.contains("function references"), "{message}");

    scenario("64MiB");
    runner.exec(&["--into", "large"]).expect(0);
    let rows = fs_err::read_to_string(runner.path("large/index.jsonl")).unwrap();
    let row: serde_json::Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    let charged = row["usage"]["memory"].as_u64().unwrap();
    assert!(charged > 10_000_000, "{row:#}");
}
