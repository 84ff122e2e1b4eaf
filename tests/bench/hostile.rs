//! What hostile plugins cost their host: `cargo bench --bench hostile [-- [--quick] [KIND…]]`.
//!
//! Each is used by the real program beside a command that does nothing. Its memory is what the program's process held at
//! most, less what it held at most for that command: what the guest itself may have is part of it. Its time is what the
//! program took, less what it took for that command and less the deadline of whatever the plugin keeps busy.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../support/bombs.rs"]
mod bombs;
#[expect(dead_code, reason = "some of it only `overhead` needs")]
mod lists;
#[expect(dead_code, reason = "the other benchmarks need the rest")]
mod table;

use std::{
    process::{ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use self::table::{Bench, title};

/// More than the guest's own memory, in MB and seconds.
const MOST_MEMORY: f64 = 64.0 * 1024.0 * 1024.0 / 1e6;
const MOST_TIME: f64 = 1.0;

/// The deadline of each attempt.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long `describe` may take, whatever the scenario says.
const DESCRIBE: Duration = Duration::from_secs(5);
/// How often the process is looked at. The kernel keeps the peak, so only the very end can be missed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What is done with a plugin.
#[derive(Clone, Copy)]
enum Use {
    /// `exec` with a test that expects four things of its output, by the JSON protocol.
    Exec,
    /// The same, by the plain protocol.
    ExecPlain,
    /// `plugin inspect`.
    Inspect,
}

fn main() -> ExitCode {
    table::measure(&[
        ("names", names),
        ("globals", globals),
        ("components", components),
        ("surface", surface),
        ("schemas", schemas),
        ("requests", requests),
        ("replies", replies),
        ("folders", folders),
        ("artifacts", artifacts),
    ])
}

fn names(bench: &mut Bench) {
    title("functions whose names are far longer than they look, in a backtrace");
    exec(bench, "a name of 2^40 tuples", &bombs::named(40), TIMEOUT);
    let name = "n".repeat(10_000_000);
    exec(bench, "a name of 10 MB", &bombs::named_as(&name), TIMEOUT);
}

fn globals(bench: &mut Bench) {
    title("state of instances that is no memory of the guest's");
    let count = bench.pick(1_000_000, 100_000) as usize;
    let plugin = bombs::globals(count, 150);
    exec(
        bench,
        &format!("{count} globals, 150 times"),
        &plugin,
        TIMEOUT,
    );
    exec(bench, "2^20 instances", &bombs::doubling(20), TIMEOUT);
}

fn components(bench: &mut Bench) {
    title("components in components");
    for levels in [1_000, 20_000] {
        let plugin = bombs::nested(levels);
        inspect(bench, &format!("{levels} deep"), &plugin);
    }
}

fn surface(bench: &mut Bench) {
    title("imports and exports");
    inspect(bench, "300 000 imports", &bombs::imports(300_000));
    inspect(bench, "5 000 000 exports", &bombs::exports(5_000_000));
}

fn schemas(bench: &mut Bench) {
    title("schemas of `describe`");
    for levels in [20, 40] {
        let said = bombs::description(&bombs::doubling_schema(levels), 0);
        let name = format!("2^{levels} alternatives");
        exec(bench, &name, &bombs::answering(&said), DESCRIBE);
    }
    let anything = format!(
        r#"{{"anyOf":[{}{{"type":"string"}}]}}"#,
        r#"{"required":["a"]},"#.repeat(100_000)
    );
    let said = bombs::description(&anything, 0);
    exec(
        bench,
        "100 000 alternatives",
        &bombs::answering(&said),
        DESCRIBE,
    );
    inspect(
        bench,
        "100 000 alternatives, shown",
        &bombs::answering(&said),
    );
}

fn requests(bench: &mut Bench) {
    title("requests of `describe`");
    let said = bombs::description("null", 40_000);
    exec(bench, "40 000", &bombs::answering(&said), DESCRIBE);
    inspect(bench, "40 000, shown", &bombs::answering(&said));
}

fn replies(bench: &mut Bench) {
    title("replies, judged by four expectations");
    for (name, part) in [
        ("objects", r#"{"":0}"#),
        ("numbers", "0"),
        ("texts", r#""""#),
    ] {
        let count = (4 * 1024 * 1024 - 100) / (part.len() + 1);
        let list = vec![part; count].join(",");
        let said = format!(r#"{{"ok":{{"output":[{list}]}}}}"#);
        exec(
            bench,
            &format!("4 MiB of {name}"),
            &bombs::answering(&said),
            TIMEOUT,
        );
    }
    let checks = vec![r#"{"name":"","verdict":"fail"}"#; 100_000].join(",");
    let said = format!(r#"{{"ok":{{"output":0,"checks":[{checks}]}}}}"#);
    exec(bench, "100 000 checks", &bombs::answering(&said), TIMEOUT);
}

fn folders(bench: &mut Bench) {
    title("folders in `/scratch`");
    exec(bench, "in each other", &bombs::deep_folders(), TIMEOUT);
    exec(bench, "beside each other", &bombs::many_folders(), TIMEOUT);
}

fn artifacts(bench: &mut Bench) {
    title("artifacts");
    for (files, mebibytes) in [(1, 128), (16, 8)] {
        let name = format!("{files} of {mebibytes} MiB");
        let plugin = bombs::leaving(files, mebibytes);
        measure(bench, &name, &plugin, Use::ExecPlain, TIMEOUT);
    }
}

fn exec(bench: &mut Bench, name: &str, plugin: &[u8], deadline: Duration) {
    measure(bench, name, plugin, Use::Exec, deadline);
}

fn inspect(bench: &mut Bench, name: &str, plugin: &[u8]) {
    measure(bench, name, plugin, Use::Inspect, Duration::ZERO);
}

/// Prints both figures of a plugin.
fn measure(bench: &mut Bench, name: &str, plugin: &[u8], used: Use, deadline: Duration) {
    let harmless = bombs::answering(&bombs::description("null", 0));
    let usual = run(bench, &harmless, used);
    let hostile = run(bench, plugin, used);

    let memory = hostile
        .1
        .zip(usual.1)
        .map(|(hostile, usual)| hostile.saturating_sub(usual));
    match memory {
        Some(bytes) => bench.bounded(name, bytes as f64 / 1e6, "MB", MOST_MEMORY),
        None => println!(
            "  {name}: its memory is not known, since there is no `/proc` or it ended too soon"
        ),
    }
    let late = hostile.0.saturating_sub(usual.0 + deadline);
    bench.bounded("  after its deadline", late.as_secs_f64(), "s", MOST_TIME);
}

/// How long the program took, and how much memory it had at most, in bytes, once the plugin is compiled.
fn run(bench: &Bench, plugin: &[u8], used: Use) -> (Duration, Option<u64>) {
    fs_err::write(bench.lists.path("plugin.wasm"), plugin).expect("a plugin can be written");
    let protocol = match used {
        Use::ExecPlain => "plain",
        Use::Exec | Use::Inspect => "json",
    };
    let scenario = format!(
        r#"
        name = "hostile"
        defaults.timeout = "1s"
        [providers.p]
        plugin = "plugin.wasm"
        protocol = "{protocol}"
        limits = {{ memory = "16MiB", scratch = "256MiB", artifacts = "256MiB" }}
        [[tests]]
        id = "a"
        expect = {{ equals = [1], contains = "no", matches = "^no$", json = {{ no = 1 }} }}
        "#
    );
    fs_err::write(bench.lists.path("hostile.toml"), scenario).expect("a scenario can be written");
    let args: &[&str] = match used {
        Use::Exec | Use::ExecPlain => &["exec", "hostile.toml", "--quiet", "--results", "hostile"],
        Use::Inspect => &["plugin", "inspect", "plugin.wasm"],
    };
    let once = || {
        let mut command = bench.lists.program(args);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let mut child = command.spawn().expect("the program starts");
        let mut peak = None;
        // Whatever it exits with: most of these plugins are refused.
        while matches!(child.try_wait(), Ok(None)) {
            peak = lists::peak_of(child.id()).or(peak);
            thread::sleep(LOOK_EVERY);
        }
        (started.elapsed(), peak)
    };
    once();
    once()
}
