//! What plans cost that are as large as a plan may be: their memory, above all.

use std::{
    io::{BufWriter, Write as _},
    num::NonZeroU32,
    path::Path,
    process::{Command, Stdio},
};

use fs_err::File;
use runner::model::Shard;

use super::{
    lists,
    live::Live,
    table::{Bench, figure, millis, title},
};

/// How often each test is repeated.
const REPEATS: u64 = 100;
const SHARDS: u32 = 2;
/// How many trials are left for `resume` to run.
const LEFT: u64 = 1000;
/// How large the files of rows are that sessions write.
const FULL_BYTES: u64 = 1 << 30;
/// The bound of all that holds something of each trial, in MB.
const MOST_MEMORY: f64 = 2_000.0;
/// How many trials there are, if it is not for the benchmark to say.
const TRIALS: &str = "RUNNER_BENCH_TRIALS";

/// A plan that is told, run but for its rows, which are written here, resumed, shown and verified; and the same in shards
/// that are merged. Rows of 100,000,000 trials are 20 GB, and twice that while they are merged.
pub(super) fn plans(bench: &mut Bench) {
    let trials = std::env::var(TRIALS).ok();
    let trials = trials.map(|trials| trials.parse().expect("a number of trials"));
    let trials = trials.unwrap_or_else(|| bench.pick(10_000_000, 1_000_000));
    title(&format!("a plan of {trials} trials"));
    write(bench, trials / REPEATS);
    let mut peaks = Vec::new();
    let mut watch = |bench: &Bench, args: &[&str]| {
        let mut command = bench.lists.program(args);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let (took, peak) = lists::watched(quiet);
        let name = args.split(|arg| arg.starts_with("--into")).next();
        let name = name.unwrap_or_default().join(" ");
        figure(&name, millis(took), "ms");
        if let Some(peak) = peak {
            figure("  resident", peak as f64 / 1e6, "MB");
        }
        peaks.extend(peak);
    };

    watch(bench, &["exec", "plan.toml", "--dry-run"]);
    begin(bench, "plan/whole", &[]);
    let index = bench.lists.path("plan/whole");
    generate(&index, trials, |_| true);
    for args in [
        &["resume", "--from", "plan/whole", "--dry-run"][..],
        &["resume", "--from", "plan/whole", "--quiet"],
        &["list", "--results", "plan"],
        &["show", "plan/whole"],
        &["verify", "plan/whole"],
    ] {
        watch(bench, args);
    }
    fs_err::remove_dir_all(bench.lists.path("plan")).expect("results can go");

    let count = NonZeroU32::new(SHARDS).expect("there are shards");
    let dirs: Vec<_> = (1..=SHARDS).map(|index| format!("plan/{index}")).collect();
    for (index, dir) in (1..).zip(&dirs) {
        begin(bench, dir, &["--shard", &format!("{index}/{SHARDS}")]);
        let is_mine = |trial: &str| Shard::of(trial, count).index() == index;
        generate(&bench.lists.path(dir), trials, is_mine);
        watch(bench, &["resume", "--from", dir, "--quiet"]);
    }
    let dirs: Vec<_> = dirs.iter().map(String::as_str).collect();
    watch(
        bench,
        &[&["merge"], &dirs[..], &["--into", "plan/merged"]].concat(),
    );
    for dir in dirs {
        fs_err::remove_dir_all(bench.lists.path(dir)).expect("results can go");
    }
    watch(bench, &["show", "plan/merged"]);
    fs_err::remove_dir_all(bench.lists.path("plan")).expect("results can go");

    bench.bounded_memory(peaks.into_iter().max(), MOST_MEMORY);
}

/// Writes a list of so many tests and `plan.toml`, which repeats each of them.
fn write(bench: &Bench, tests: u64) {
    let list = File::create(bench.lists.path("plan.jsonl")).expect("a list can be made");
    let mut list = BufWriter::new(list);
    for test in 0..tests {
        writeln!(list, r#"{{"id":"t{test}","input":{test}}}"#).expect("a list can be written");
    }
    list.flush().expect("a list can be written");
    let plugin = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/echo");
    let scenario = format!(
        "name = \"plan\"\nproviders.echo.plugin = '{}'\ntest_lists = [{{ files = [\"plan.jsonl\"], repeat = {REPEATS} }}]\n",
        plugin.display()
    );
    fs_err::write(bench.lists.path("plan.toml"), scenario).expect("a scenario can be written");
}

/// Begins a run, and interrupts it.
fn begin(bench: &Bench, into: &str, more: &[&str]) {
    let args = [&["exec", "plan.toml", "--into", into], more].concat();
    let command: Command = bench.lists.program(&args);
    let mut live = Live::start(command);
    live.wait_for_rows(1);
    live.interrupt();
}

/// Replaces the rows of a run by those of all its trials but the last ones.
fn generate(run: &Path, trials: u64, is_mine: impl Fn(&str) -> bool) {
    let (mut ordinal, mut number, mut bytes) = (0, 1, 0);
    let mut file = create(run, 1);
    let mut line = Vec::new();
    'tests: for test in 0..trials / REPEATS {
        for repeat in 1..=REPEATS {
            if test * REPEATS + repeat > trials - LEFT {
                break 'tests;
            }
            let trial = format!("t{test}@echo#{repeat}");
            if !is_mine(&trial) {
                continue;
            }
            if bytes >= FULL_BYTES {
                file.flush().expect("rows can be written");
                number += 1;
                file = create(run, number);
                bytes = 0;
            }
            line.clear();
            let seq = ordinal + 1;
            write!(line, r#"{{"v":2,"seq":{seq},"ordinal":{ordinal},"trial":"{trial}","outcome":"passed","began":1795313786747,"ms":0.1,"digests":"e029cd2c2a6c5d303fe51a05410b6485""#)
                .expect("a line can be written");
            let crc = crc32fast::hash(&line);
            writeln!(line, r#","crc":"{crc:08x}"}}"#).expect("a line can be written");
            file.write_all(&line).expect("rows can be written");
            bytes += line.len() as u64;
            ordinal += 1;
        }
    }
    file.flush().expect("rows can be written");
}

fn create(run: &Path, number: u32) -> BufWriter<File> {
    let name = match number {
        1 => "index.jsonl".to_owned(),
        _ => format!("index-{number}.jsonl"),
    };
    let file = File::create(run.join(name)).expect("a file of rows can be made");
    BufWriter::with_capacity(1 << 20, file)
}
