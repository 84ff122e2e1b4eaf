//! What stopping, waiting, resuming, listing, reading and keeping rows safe cost: `cargo bench --bench lifecycle [-- [--quick] [PART…]]`.
//!
//! Everything is measured with the real program. What is compared is measured in turns.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[expect(dead_code, reason = "some of it only `overhead` needs")]
mod compute;
mod dashboard;
mod fleet;
#[path = "../support/guests.rs"]
mod guests;
#[expect(dead_code, reason = "some of it only `overhead` needs")]
mod lists;
mod live;
mod plans;
mod reports;
mod runs;
mod shards;
#[allow(dead_code, reason = "some of it only `overhead` needs")]
mod table;
mod waiting;

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use fs_err::File;
use serde::de::IgnoredAny;

use self::{
    live::Live,
    runs::{copy, many, only_run},
    table::{Bench, figure, median, micros, millis, title},
};

/// Where files are memory, so that `fdatasync` has nothing to do.
const MEMORY: &str = "/dev/shm";

fn main() -> ExitCode {
    table::measure(&[
        ("stop", stop),
        ("waiting", waiting::waiting),
        ("resume", resume),
        ("list", list),
        ("read", read),
        ("report", reports::report),
        ("history", reports::history),
        ("sync", sync),
        ("rescore", rescore),
        ("dashboard", dashboard::dashboard),
        ("merge", shards::merge),
        ("plans", plans::plans),
        ("fleet", fleet::fleet),
    ])
}

/// From SIGINT until the process has gone, while every guest is one that would never end. A process that ends gives the
/// memory of its guests back first, which the kernel counts to its end: for guests that fill theirs that is most of it.
fn stop(bench: &mut Bench) {
    for (title, kinds, each, bound) in [
        ("asleep", &["sleep"][..], 32, 50.0),
        ("that spin", &["loop"], 32, 100.0),
        (
            "that spin and as many asleep",
            &["loop", "sleep"],
            16,
            100.0,
        ),
        (
            "that each fill 200 MB with one instruction",
            &["fill-memory"],
            2,
            200.0,
        ),
        ("that flood their log", &["flood-log"], 2, 200.0),
    ] {
        stop_all(bench, title, kinds, each, bound);
    }
}

fn stop_all(bench: &mut Bench, guests: &str, kinds: &[&str], each: u64, bound: f64) {
    use std::fmt::Write as _;

    title(&format!("SIGINT to exit, {each} guests {guests}"));
    let guest = guests::guest("hostile");
    let mut scenario = format!(
        r#"
        name = "stop"
        run.memory = "1TiB"
        defaults.timeout = "1h"
        providers.hostile.plugin = '{}'
        "#,
        guest.display()
    );
    for kind in kinds {
        write!(
            scenario,
            r#"
            [[tests]]
            id = "{kind}"
            repeat = {each}
            input = {{ do = "{kind}", count = 2000000000 }}
            "#
        )
        .expect("a text can be written");
    }
    fs_err::write(bench.lists.path("stop.toml"), scenario).expect("a scenario can be written");

    let running = each * kinds.len() as u64;
    let jobs = running.to_string();
    let stops = bench.pick(30, 10);
    let mut took: Vec<f64> = (0..stops)
        .map(|number| {
            let args = ["exec", "stop.toml", "--jobs", &jobs, "--results", "stops"];
            let mut live = Live::start(bench.lists.program(&args));
            live.wait_until_running(running);
            // Not always at the same moment of whatever the program does at intervals.
            thread::sleep(Duration::from_millis(number * 37 % 100));
            millis(live.interrupt())
        })
        .collect();
    fs_err::remove_dir_all(bench.lists.path("stops")).expect("results can go");

    took.sort_by(f64::total_cmp);
    let at = |percent: usize| took[(took.len() - 1) * percent / 100];
    figure("least", at(0), "ms");
    figure("median", at(50), "ms");
    figure("95 of 100", at(95), "ms");
    bench.bounded("most", at(100), "ms", bound);
}

/// From the start of `resume` until the first new row is on disk, which is a little after its trial began; and a stop of
/// that session, whose end speaks of all rows.
fn resume(bench: &mut Bench) {
    let rows = bench.pick(1_000_000, 100_000);
    title(&format!(
        "resume of a run with {rows} rows, until a new row"
    ));
    // More than can be executed until a signal arrives, and in the sessions that follow.
    let tests = rows + 100_000;
    bench.lists.write(tests);
    let scenario = format!("{tests}.toml");
    let args = ["exec", &scenario, "--jobs", "2", "--results", "resumed"];
    let mut live = Live::start(bench.lists.program(&args));
    live.wait_for_rows(rows);
    live.interrupt();

    let mut took = Vec::new();
    let mut stopped = Vec::new();
    let mut peak = None;
    for _ in 0..bench.pick(5, 3) {
        let started = Instant::now();
        let args = ["resume", "--results", "resumed"];
        let mut live = Live::start(bench.lists.program(&args));
        live.wait_for_rows(1);
        took.push(millis(started.elapsed()));
        stopped.push(millis(live.interrupt()));
        peak = peak.max(live.peak());
    }
    fs_err::remove_dir_all(bench.lists.path("resumed")).expect("results can go");

    figure("median", median(took.iter().copied()), "ms");
    bench.bounded("most", most(&took), "ms", 3_000.0);
    bench.bounded_memory(peak, 300.0);
    bench.bounded("SIGINT to exit, most", most(&stopped), "ms", 1_000.0);
}

fn most(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

/// How long it takes to read a run with very many rows, against the two things that cannot be spared: looking at all bytes
/// of its file for line ends, as `wc -l` does, and passing over its JSON without keeping any of it. All are measured in
/// turns.
fn read(bench: &mut Bench) {
    let rows = bench.pick(1_000_000, 100_000);
    title(&format!("reading a run with {rows} rows"));
    bench.lists.write(rows);
    let scenario = format!("{rows}.toml");
    let args = ["exec", &scenario, "--quiet", "--results", "read"];
    lists::time(&mut bench.lists.program(&args));
    let root = bench.lists.path("read");
    let index = only_run(&root).join("index.jsonl");

    const COMMANDS: [&[&str]; 5] = [
        &["show"],
        &["show", "--json"],
        &["verify"],
        &["logs"],
        &["reindex"],
    ];
    let mut lines = Vec::new();
    let mut scans = Vec::new();
    let mut commands = [const { Vec::new() }; COMMANDS.len()];
    let mut peak = None;
    for _ in 0..bench.pick(5, 3) {
        let mut count = Command::new("wc");
        lines.push(millis(lists::time(
            count.arg("-l").arg(&index).stdout(Stdio::null()),
        )));
        scans.push(millis(scan(&index)));
        for (args, took) in COMMANDS.iter().zip(&mut commands) {
            let args = [*args, &["--results", "read"]].concat();
            let mut command = bench.lists.program(&args);
            let (lasted, most) =
                lists::watched(command.stdout(Stdio::null()).stderr(Stdio::null()));
            took.push(millis(lasted));
            peak = peak.max(most);
        }
    }
    fs_err::remove_dir_all(root).expect("results can go");

    let (lines, scan) = (median(lines.into_iter()), median(scans.into_iter()));
    figure("wc -l", lines, "ms");
    figure("passing over the JSON", scan, "ms");
    for (args, took) in COMMANDS.iter().zip(commands) {
        let name = args.join(" ");
        let took = median(took.into_iter());
        figure(&name, took, "ms");
        figure("  against wc -l", took / lines, "times");
        bench.ratio(
            &format!("{name} against passing over the JSON"),
            took / scan,
            None,
        );
    }
    bench.bounded_memory(peak, 64.0);
}

/// How long it takes to judge every trial of a run again by other plain checks, against running the echo provider on them. The
/// two are measured in turns, and each judges by what the one before it did not.
fn rescore(bench: &mut Bench) {
    let trials = bench.pick(100_000, 20_000);
    title(&format!("judging {trials} trials again"));
    bench.lists.write(trials);
    let list = format!("{trials}.jsonl");
    let others = fs_err::read_to_string(bench.lists.path(&list)).expect("the list can be read");
    let others = others.replace("\"expect\":{\"equals\":", "\"expect\":{\"json\":");
    fs_err::write(bench.lists.path("others.jsonl"), others).expect("a list can be written");
    let scenario = format!("{trials}.toml");
    let text = fs_err::read_to_string(bench.lists.path(&scenario)).expect("it can be read");
    let text = text.replace(&list, "others.jsonl");
    fs_err::write(bench.lists.path("others.toml"), text).expect("a scenario can be written");

    let mut executed = Vec::new();
    let mut judged = Vec::new();
    let mut peak = None;
    for _ in 0..bench.pick(5, 3) {
        let args = ["exec", &scenario, "--quiet", "--results", "judged"];
        executed.push(millis(lists::time(&mut bench.lists.program(&args))));
        for by in ["others.toml", &scenario] {
            let args = ["rescore", "--scenario", by, "--results", "judged"];
            let mut command = bench.lists.program(&args);
            let (took, most) = lists::watched(command.stdout(Stdio::null()));
            judged.push(millis(took));
            peak = peak.max(most);
        }
        fs_err::remove_dir_all(bench.lists.path("judged")).expect("results can go");
    }
    let (executed, judged) = (median(executed.into_iter()), median(judged.into_iter()));
    figure("exec", executed, "ms");
    figure("rescore", judged, "ms");
    figure("  exec takes longer", executed / judged, "times");
    bench.ratio("rescore against exec", judged / executed, Some(0.1));
    bench.bounded_memory(peak, 64.0);
}

/// How long it takes to read every line as JSON and to keep nothing.
fn scan(index: &Path) -> Duration {
    let started = Instant::now();
    let file = File::open(index).expect("rows can be read");
    let mut lines = BufReader::with_capacity(64 * 1024, file);
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .expect("rows can be read")
        > 0
    {
        let _: IgnoredAny = serde_json::from_slice(&line).expect("a row is JSON");
        line.clear();
    }
    started.elapsed()
}

/// How long the whole list of many runs takes, once `runner.db` knows them.
fn list(bench: &mut Bench) {
    let runs = bench.pick(10_000, 1_000);
    title(&format!("`runner list` over {runs} runs"));
    let root = many(&mut bench.lists, "many", runs);

    let (first, listed) = time_list(bench);
    assert_eq!(listed, runs, "a run was not listed");
    figure("the first time, which reads every manifest", first, "ms");
    let rounds = 0..bench.pick(21, 11);
    let (times, versions): (Vec<_>, Vec<_>) = rounds
        .map(|_| (time_list(bench).0, millis(lists::Lists::time_version())))
        .unzip();
    let again = median(times.into_iter());
    bench.bounded("after that", again, "ms", 200.0);
    let version = median(versions.into_iter());
    figure("--version", version, "ms");
    bench.ratio("list against --version", again / version, None);
    fs_err::remove_dir_all(root).expect("results can go");
}

/// How long a list takes, and how many runs are in it.
fn time_list(bench: &Bench) -> (f64, u64) {
    let mut command = bench.lists.program(&["list", "--results", "many"]);
    let started = Instant::now();
    let output = command.stderr(Stdio::inherit()).output();
    let took = millis(started.elapsed());
    let table = output.expect("the program starts").stdout;
    // The first line is the header.
    let runs = String::from_utf8_lossy(&table).lines().skip(1).count();
    (took, runs as u64)
}

/// What waiting for the disk costs: the same run with its results in memory, where `fdatasync` has nothing to do. There
/// writing itself is cheaper too, so that the figure says a little too much and never too little.
fn sync(bench: &mut Bench) {
    title(
        "throughput of `exec -j 2` with rows on disk against rows in memory, where syncing is free",
    );
    let Ok(memory) = tempfile::tempdir_in(MEMORY) else {
        println!("  this system has no {MEMORY}");
        return;
    };
    figure("write of 64 KiB and fdatasync", time_sync(bench), "µs");

    let in_memory = memory.path().join("results");
    let trials = bench.pick(30_000, 10_000);
    let mut pairs = Vec::new();
    // The first round only warms up.
    for _ in 0..=bench.pick(15, 5) {
        let mut on_disk = |tests| bench.lists.time(tests, 2);
        let disk = each(on_disk(trials + 1), on_disk(1), trials);
        let mut in_memory = |tests| bench.lists.time_into(&in_memory, tests, 2);
        let memory = each(in_memory(trials + 1), in_memory(1), trials);
        pairs.push((disk, memory));
    }
    let of = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().skip(1).map(figure));
    figure("a trial, rows on disk", of(|pair| pair.0), "µs");
    figure("a trial, rows in memory", of(|pair| pair.1), "µs");
    let cost = of(|(disk, memory)| (1.0 - memory / disk) * 100.0);
    bench.bounded("throughput that is lost", cost, "%", 15.0);
}

/// Microseconds of a trial in a run whose start and end took `start`.
fn each(whole: Duration, start: Duration, trials: u64) -> f64 {
    micros(whole.saturating_sub(start)) / trials as f64
}

/// The disk's own figure, in microseconds.
fn time_sync(bench: &Bench) -> f64 {
    let mut file = File::create(bench.lists.path("synced")).expect("a file can be made");
    median((0..100).map(|_| {
        let started = Instant::now();
        file.write_all(&[b'x'; 64 * 1024])
            .expect("it can be written");
        file.sync_data().expect("it can be synced");
        micros(started.elapsed())
    }))
}
