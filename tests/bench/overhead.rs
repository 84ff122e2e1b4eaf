//! What the runner costs on top of the guests it calls: `cargo bench --bench overhead [-- [--quick] [PART…]]`.
//!
//! Everything is measured with the real program, on test lists whose tests differ. What is compared is measured in turns,
//! and of every figure the median counts: the machine may have other things to do.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod lists;

use std::{process::Command, time::Duration};

use self::{bare::Bare, lists::Lists};

/// What chooses a part, and the part.
type Part = (&'static str, fn(&mut Bench));

const PARTS: [Part; 4] = [
    ("trial", trial),
    ("startup", startup),
    ("growth", growth),
    ("spawn", spawn),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    // Cargo itself adds `--bench`.
    let is_chosen = |part: &str| words.iter().any(|word| word == part);
    let is_part = |word: &String| PARTS.iter().any(|(part, _)| word == part);
    let is_known = |word: &String| is_part(word) || ["--bench", "--quick"].contains(&word.as_str());
    if let Some(word) = words.iter().find(|word| !is_known(word)) {
        let parts: Vec<_> = PARTS.iter().map(|(part, _)| *part).collect();
        println!("unknown part `{word}`; there are {}", parts.join(", "));
        return;
    }

    let mut bench = Bench {
        lists: Lists::new(),
        is_quick: is_chosen("--quick"),
        missed: 0,
    };
    for (part, measure) in PARTS {
        if is_chosen(part) || !words.iter().any(is_part) {
            measure(&mut bench);
        }
    }
    match bench.missed {
        0 => println!("\nall bounds hold"),
        missed => println!("\n{missed} bounds MISSED"),
    }
}

/// What the parts share.
struct Bench {
    lists: Lists,
    is_quick: bool,
    missed: u32,
}

impl Bench {
    fn pick(&self, thorough: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { thorough }
    }

    /// Prints a line with a bound that the figure must not exceed.
    fn bounded(&mut self, name: &str, figure: f64, unit: &str, bound: f64) {
        let holds = figure <= bound;
        self.missed += u32::from(!holds);
        let word = if holds { "ok" } else { "MISSED" };
        println!("  {name:<42} {figure:>10.2} {unit:<9} at most {bound} {unit}: {word}");
    }
}

/// The input of a test, as JSON; each has its own.
fn input(number: u64) -> String {
    format!(r#"{{"number":{number},"text":"the quick brown fox jumps over the lazy dog"}}"#)
}

/// The whole way of a trial, its row on disk included, against a bare loop of the same calls on as many threads.
fn trial(bench: &mut Bench) {
    title("a trial of the whole `exec` path against a bare wasmtime loop");
    let bare = Bare::load(&Lists::plugin()).expect("the echo can be loaded");
    let trials = bench.pick(30_000, 10_000);
    for jobs in [1, 2] {
        let mut pairs = Vec::new();
        // The first round only warms up.
        for _ in 0..=bench.pick(11, 5) {
            let loop_took = bare.run(trials, jobs);
            let start_took = bench.lists.time(1, jobs);
            let exec_took = bench.lists.time(trials + 1, jobs);
            let each = |took: Duration| micros(took) / trials as f64;
            pairs.push((each(loop_took), each(exec_took.saturating_sub(start_took))));
        }
        let of = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().skip(1).map(figure));
        figure(
            &format!("bare loop on {jobs} threads"),
            of(|pair| pair.0),
            "µs",
        );
        figure(&format!("runner exec -j {jobs}"), of(|pair| pair.1), "µs");
        bench.bounded("  ratio", of(|pair| pair.1 / pair.0), "times", 1.5);
    }
}

/// What a run of a single trial costs.
fn startup(bench: &mut Bench) {
    title("a whole `exec` of one trial, plugin in the cache");
    let mut pairs = Vec::new();
    for _ in 0..bench.pick(31, 11) {
        let version = Lists::time_version();
        pairs.push((millis(version), millis(bench.lists.time(1, 1))));
    }
    let of = |figure: fn(&(f64, f64)) -> f64| median(pairs.iter().map(figure));
    figure("runner --version", of(|pair| pair.0), "ms");
    figure("runner exec", of(|pair| pair.1), "ms");
    bench.bounded("  difference", of(|pair| pair.1 - pair.0), "ms", 40.0);
}

/// Whether a trial costs the same in long runs as in short ones, and what the longest holds in memory.
fn growth(bench: &mut Bench) {
    title("marginal time of a trial at -j 2, (t(10n) − t(n)) / 9n");
    let sizes = [1_000, 10_000, 100_000];
    let largest = bench.pick(1_000_000, 100_000);
    let mut took = Vec::new();
    for size in sizes.into_iter().filter(|size| *size < largest) {
        let rounds = if size < 100_000 { 9 } else { 3 };
        let times = (0..rounds).map(|_| micros(bench.lists.time(size, 2)));
        took.push((size, median(times)));
    }
    let (longest, peak) = bench.lists.watch(largest, 2);
    took.push((largest, micros(longest)));

    let mut marginal = Vec::new();
    for pair in took.windows(2) {
        let [(size, less), (_, more)] = [pair[0], pair[1]];
        let each = (more - less) / (9 * size) as f64;
        figure(&format!("n = {size}"), each, "µs");
        marginal.push(each);
    }
    let most = marginal.iter().copied().fold(0.0, f64::max);
    let least = marginal.iter().copied().fold(f64::INFINITY, f64::min);
    bench.bounded("  largest against smallest", most / least, "times", 1.2);

    title(&format!("peak memory of {largest} trials from one list"));
    match peak {
        Some(bytes) => bench.bounded("resident", bytes as f64 / 1e6, "MB", 150.0),
        None => println!("  this system does not tell"),
    }
}

/// What people do today: a process for each test.
fn spawn(bench: &mut Bench) {
    title("an echo test, one after the other, against a process for each");
    let tests = 1_000;
    let runs = (0..3).map(|_| millis(bench.lists.time(tests, 1)));
    let runner = median(runs) / tests as f64;
    figure("runner exec -j 1, the whole of 1000", runner, "ms");
    for program in [&["/bin/true"][..], &["python3", "-c", "pass"]] {
        let name = program.join(" ");
        let mut command = Command::new(program[0]);
        command.args(&program[1..]);
        if command.output().is_err() {
            println!("  {name:<42} is not installed");
            continue;
        }
        let spawned = median((0..100).map(|_| millis(lists::time(&mut command))));
        figure(&name, spawned, "ms");
        figure("  against the runner", spawned / runner, "times");
    }
}

fn title(text: &str) {
    println!("\n{text}");
}

fn figure(name: &str, figure: f64, unit: &str) {
    println!("  {name:<42} {figure:>10.2} {unit}");
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
