//! Plugins that attack the compiler. The coordinator survives, and reports how the child ended.

use std::fs;

use rustix::process::Signal;

use crate::messages::outputs::snapshot;
use crate::support::{
    guests::{long_to_compile, steps_to_compile},
    processes::children,
    runner::Runner,
    running::Running,
    wait::{STOP_WITHIN, wait_for, wait_until},
};

/// Writes a scenario with one provider and one test.
const ONE: &str = "[providers.p]\nplugin = \"p.wasm\"\n[[tests]]\nid = \"a\"\n";

#[test]
fn compilers_run_one_after_another() {
    // One for each 4 threads, as far as each fits the memory of the machine.
    let cores = std::thread::available_parallelism().unwrap().get();
    let most = (cores / 4).max(1);
    let runner = Runner::new(&[]);
    let plugins = ["a", "b", "c", "d"];
    for (plugin, steps) in plugins.into_iter().zip(8_000..) {
        runner.write(&format!("{plugin}.wasm"), steps_to_compile(steps));
    }
    let providers = plugins.map(|name| format!("[providers.{name}]\nplugin = \"{name}.wasm\"\n"));
    runner.scenario(&format!("{}[[tests]]\nid = \"a\"\n", providers.concat()));
    let mut command = runner.command(&["exec", "scenario.toml", "-j", "1"]);
    command.env("RUNNER_CACHE", runner.path("cache"));
    let mut running = Running::start(&mut command);
    let (coordinator, mut peak) = (running.process().0, 0);
    while running.is_alive() {
        peak = peak.max(children(coordinator, "__compile").len());
    }
    let ran = running.finish().expect(0);
    assert!((1..=most).contains(&peak), "{peak}");
    let is_slow = |line: &str| line.starts_with("compiled ") && line.ends_with(" s");
    let is_slow = ran.stderr.lines().any(|line| is_slow(line) && !line.ends_with(" ms"));
    assert!(!is_slow || ran.stdout.contains(" of compiling\n"), "{ran:?}");
}

#[test]
fn signals_end_compiling_at_once() {
    let runner = Runner::new(&[]);
    let plugin = long_to_compile();
    runner.write("p.wasm", &plugin);
    runner.scenario(ONE);
    let mut command = runner.command(&["exec", "scenario.toml"]);
    // Other tests must not find these plugins compiled.
    command.env("RUNNER_CACHE", runner.path("cache"));
    let running = Running::start(&mut command);
    let coordinator = running.process().0;
    // The child sets its limits before it reads anything.
    let (compiler, line, limits) = wait_for("a compiler has set its limits", || {
        children(coordinator, "__compile").into_iter().find_map(|compiler| {
            let line = fs::read_to_string(format!("/proc/{}/cmdline", compiler.0)).ok()?;
            let is_compiling = line.split('\0').any(|word| word == "compile");
            let limits = fs::read_to_string(format!("/proc/{}/limits", compiler.0)).ok()?;
            let is_set =
                |line: &str| line.starts_with("Max file size") && !line.contains("unlimited");
            (is_compiling && limits.lines().any(is_set)).then_some((compiler, line, limits))
        })
    });
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(limit("Max core file size"), "0");
    assert_eq!(limit("Max cpu time"), "1200");
    // Its last argument is the memory that guests may have.
    let memory: u64 = line.trim_end_matches('\0').rsplit('\0').next().unwrap().parse().unwrap();
    let machine = fs::read_to_string("/proc/meminfo").unwrap();
    let machine: u64 = machine.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(memory <= machine * 1024 / 4 * 3, "{memory} of {machine} KiB");
    assert!(limit("Max data size").parse::<u64>().unwrap() <= 4 << 30);
    assert_eq!(limit("Max file size"), ((64 << 20) + 16 * plugin.len()).to_string());
    let (ran, took) = running.end_by(Signal::INT);
    ran.expect(130);
    assert!(took < STOP_WITHIN, "{took:?}");
    wait_until("the compiler is gone", || !compiler.is_alive());
    assert!(runner.runs().is_empty(), "a run without a trial is left");
}

#[test]
fn types_nested_too_deeply_are_refused() {
    // Each level is the type of an instance that declares a type.
    let mut types = b"\x42\x01\x01".repeat(200_000);
    types.extend(b"\x42\x00");
    let command = r#"(component
      (core module $module (func (export "run") (result i32) i32.const 0))
      (core instance $core (instantiate $module))
      (func $run (result (result)) (canon lift (core func $core "run")))
      (instance $exports (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $exports)))"#;
    let mut deep = wat::parse_str(command).unwrap();
    let leb = |number: usize| {
        let part = |shift: usize| (number >> shift & 0x7f) as u8;
        [part(0) | 0x80, part(7) | 0x80, part(14)]
    };
    deep.push(7);
    deep.extend(leb(types.len() + 1));
    deep.push(1);
    deep.extend(types);
    let runner = Runner::new(&[]);
    runner.write("p.wasm", deep);
    runner.scenario(ONE);
    for command in ["validate", "exec"] {
        let ran = runner.run(&[command, "scenario.toml"]).expect(2);
        snapshot(&ran);
    }
}

#[test]
fn large_plugins_are_not_held_in_memory() {
    const PADDING: u32 = 8 << 20;
    let peaks = [1, 4].map(|count: u8| {
        let runner = Runner::new(&[]);
        let module = r#"(module (memory 1) (func (export "_start") (loop br 0)))"#;
        let mut scenario = "[[tests]]\nid = \"a\"\nproviders = [\"p0\"]\n".to_owned();
        for number in 0..count {
            // A custom section that fills most of the file. Its size is a LEB128 number of five bytes.
            let part = |shift: u32| (PADDING >> shift & 0x7f) as u8 | 0x80;
            let size = [part(0), part(7), part(14), part(21), 0];
            let mut plugin = [&wat::parse_str(module).unwrap()[..], &[0], &size].concat();
            plugin.extend([1, b'a' + number]);
            plugin.resize(plugin.len() + PADDING as usize - 2, 0);
            runner.write(&format!("p{number}.wasm"), plugin);
            scenario += &format!("[providers.p{number}]\nplugin = \"p{number}.wasm\"\n");
        }
        runner.scenario(&scenario);
        let mut command = runner.command(&["exec", "scenario.toml", "--json"]);
        command.env("RUNNER_CACHE", runner.path("cache"));
        let mut running = Running::start(&mut command);
        running.wait_until_running(&runner, 1);
        let peak = running.process().peak_memory();
        running.kill();
        peak
    });
    assert!(peaks[1] < peaks[0] + u64::from(PADDING), "{peaks:?}");
}
