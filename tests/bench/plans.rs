//! What plans cost that are as large as a plan may be: their memory, above all.

use std::{
    io::{BufWriter, Write as _},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Stdio,
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
/// What `merge` exits with where trials have no result.
const HOLES: i32 = 4;
/// How many bytes make a file of rows full.
const FULL_BYTES: u64 = 1 << 30;
/// The bound of all that holds something of each trial, in MB.
const MOST_MEMORY: f64 = 2_000.0;
/// How many trials there are, if it is not for the benchmark to say.
const TRIALS: &str = "RUNNER_BENCH_TRIALS";

/// A plan that is told, and begun in shards, whose rows are written here; these are merged to a run, which is resumed, shown and
/// verified. Rows of 100,000,000 trials are 20 GB, and twice that while they are merged.
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
        let has_holes = args.contains(&"--allow-holes");
        let (took, peak) = lists::watched_to(quiet, if has_holes { HOLES } else { 0 });
        let name = args.iter().filter(|arg| !arg.starts_with("--into"));
        let name: Vec<_> = name.copied().collect();
        figure(&name[..name.len().min(4)].join(" "), millis(took), "ms");
        if let Some(peak) = peak {
            figure("  resident", peak as f64 / 1e6, "MB");
        }
        peaks.extend(peak);
    };

    watch(bench, &["exec", "plan.toml", "--dry-run"]);
    let dirs: Vec<_> = (1..=SHARDS).map(|index| format!("plan/{index}")).collect();
    let mut shards = Vec::new();
    for (index, dir) in (1..).zip(&dirs) {
        begin(bench, dir, &["--shard", &format!("{index}/{SHARDS}")]);
        shards.push(Rows::begin(bench.lists.path(dir)));
    }
    generate(&mut shards, trials);
    // Those that are left have no shard that could run them any more.
    let dirs: Vec<_> = dirs.iter().map(String::as_str).collect();
    let merge = ["merge", "--into", "plan/whole", "--allow-holes"];
    watch(bench, &[&merge, &dirs[..]].concat());
    for dir in dirs {
        fs_err::remove_dir_all(bench.lists.path(dir)).expect("results can go");
    }
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
    let mut live = Live::start(bench.lists.program(&args));
    live.wait_for_rows(1);
    live.interrupt();
}

/// Writes rows of all trials but the last ones into the shards that they belong to.
fn generate(shards: &mut [Rows], trials: u64) {
    let count = u32::try_from(shards.len()).ok().and_then(NonZeroU32::new);
    let count = count.expect("there are shards");
    for nth in 0..trials - LEFT {
        let (test, repeat) = (nth / REPEATS, nth % REPEATS + 1);
        let trial = format!("t{test}@echo#{repeat}");
        let index = Shard::of(&trial, count).index();
        shards[index as usize - 1].add(&trial);
    }
    for shard in shards {
        shard.file.flush().expect("rows can be written");
    }
}

/// The rows of a run, which are written instead of those that it has.
struct Rows {
    run: PathBuf,
    file: BufWriter<File>,
    number: u32,
    bytes: u64,
    ordinal: u64,
    line: Vec<u8>,
}

impl Rows {
    fn begin(run: PathBuf) -> Self {
        Self {
            file: create(&run, 1),
            run,
            number: 1,
            bytes: 0,
            ordinal: 0,
            line: Vec::new(),
        }
    }

    fn add(&mut self, trial: &str) {
        if self.bytes >= FULL_BYTES {
            self.file.flush().expect("rows can be written");
            self.number += 1;
            self.file = create(&self.run, self.number);
            self.bytes = 0;
        }
        let (ordinal, seq, line) = (self.ordinal, self.ordinal + 1, &mut self.line);
        line.clear();
        write!(line, r#"{{"v":2,"seq":{seq},"ordinal":{ordinal},"trial":"{trial}","outcome":"passed","began":1795313786747,"ms":0.1,"digests":"e029cd2c2a6c5d303fe51a05410b6485""#)
            .expect("a line can be written");
        let crc = crc32fast::hash(line);
        writeln!(line, r#","crc":"{crc:08x}"}}"#).expect("a line can be written");
        self.file.write_all(line).expect("rows can be written");
        self.bytes += line.len() as u64;
        self.ordinal += 1;
    }
}

fn create(run: &Path, number: u32) -> BufWriter<File> {
    let name = match number {
        1 => "index.jsonl".to_owned(),
        _ => format!("index-{number}.jsonl"),
    };
    let file = File::create(run.join(name)).expect("a file of rows can be made");
    BufWriter::with_capacity(1 << 20, file)
}
