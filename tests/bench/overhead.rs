//! What the runner costs on top of the guests it calls: `cargo bench --bench overhead [-- [--quick] [--save FILE]
//! [--against FILE] [PART…]]`.
//!
//! Everything is measured with the real program, on test lists whose tests differ. What is compared is measured in turns,
//! and of every figure the median counts: the machine may have other things to do.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod bare;
mod bare_compute;
#[expect(dead_code, reason = "some of it only `lifecycle` needs")]
mod compute;
mod languages;
mod lists;
mod table;
mod threads;

use std::process::{Command, ExitCode};

use self::{
    bare::{Bare, Sandboxes},
    bare_compute::BareCompute,
    compute::Compute,
    lists::Lists,
    table::{Bench, figure, median, micros, millis, title},
};

fn main() -> ExitCode {
    table::measure(&[
        ("trial", trial),
        ("threads", threads::threads),
        ("cores", cores),
        ("startup", startup),
        ("growth", growth),
        ("spawn", spawn),
        ("languages", languages::languages),
    ])
}

/// The whole way of a trial, its row on disk included, against bare loops of the same calls on as many threads.
fn trial(bench: &mut Bench) {
    title("a trial of the whole `exec` path against bare wasmtime loops");
    let load = |sandboxes| Bare::load(&Lists::plugin(), sandboxes).expect("the echo can be loaded");
    let (on_demand, pooled) = (load(Sandboxes::OnDemand), load(Sandboxes::Pooled));
    let trials = bench.pick(30_000, 10_000);
    for jobs in [1, 2] {
        let mut rounds = Vec::new();
        // The first round only warms up.
        for _ in 0..=bench.pick(11, 5) {
            let loops = [&on_demand, &pooled].map(|bare| bare.run(trials, jobs));
            let start_took = bench.lists.time(1, jobs);
            let exec_took = bench.lists.time(trials + 1, jobs);
            let took = [loops[0], loops[1], exec_took.saturating_sub(start_took)];
            rounds.push(took.map(|took| micros(took) / trials as f64));
        }
        let of = |figure: fn(&[f64; 3]) -> f64| median(rounds.iter().skip(1).map(figure));
        let threads = format!("{jobs} threads");
        figure(
            &format!("bare loop, on demand, {threads}"),
            of(|took| took[0]),
            "µs",
        );
        figure(
            &format!("bare loop, pooled, {threads}"),
            of(|took| took[1]),
            "µs",
        );
        figure(&format!("runner exec -j {jobs}"), of(|took| took[2]), "µs");
        let name = format!("-j {jobs} against on demand");
        bench.ratio(&name, of(|took| took[2] / took[0]), Some(1.5));
        let name = format!("-j {jobs} against pooled");
        bench.ratio(&name, of(|took| took[2] / took[1]), None);
    }
}

/// Whether more cores do more: guests that compute for about a millisecond each, against bare loops on as many threads.
fn cores(bench: &mut Bench) {
    title(
        "guests that compute, with one job and with two, against the same guest in bare loops on one thread and two",
    );
    let trials = bench.pick(4_000, 1_500);
    let compute = Compute::new(&bench.lists, 1000, trials);
    let bare = BareCompute::load(&compute).expect("the guest can be loaded");
    let mut rounds = Vec::new();
    for _ in 0..=bench.pick(7, 5) {
        let loops = [1, 2].map(|threads| bare.time(trials / 2, threads));
        let execs = [1, 2].map(|jobs| compute.time(&bench.lists, jobs));
        rounds.push([
            loops[1].as_secs_f64() / loops[0].as_secs_f64(),
            2.0 * execs[1].as_secs_f64() / execs[0].as_secs_f64(),
            millis(execs[0]) / trials as f64,
            2.0 * millis(loops[0]) / trials as f64,
        ]);
    }
    let of = |figure: fn(&[f64; 4]) -> f64| median(rounds.iter().skip(1).map(figure));
    figure("bare loop, 1 thread, each", of(|round| round[3]), "ms");
    figure("runner exec -j 1, each", of(|round| round[2]), "ms");
    figure(
        "two threads against one, bare loops",
        of(|round| round[0]),
        "times",
    );
    figure(
        "two jobs against one, of each's time",
        of(|round| round[1]),
        "times",
    );
    let ratio = of(|round| round[1] / round[0]);
    bench.ratio("two jobs against two threads", ratio, Some(1.05));
}

/// What a run of a single trial costs.
fn startup(bench: &mut Bench) {
    title("a whole `exec` of one trial, plugin in the cache");
    let mut rounds = Vec::new();
    for _ in 0..bench.pick(31, 21) {
        let took = [
            Lists::time_version(),
            bench.lists.time_beside_others(),
            bench.lists.time(1, 1),
        ];
        rounds.push(took.map(millis));
    }
    let of = |figure: fn(&[f64; 3]) -> f64| median(rounds.iter().map(figure));
    figure("runner --version", of(|took| took[0]), "ms");
    figure(
        "runner exec, in a root with other runs",
        of(|took| took[1]),
        "ms",
    );
    bench.bounded("  difference", of(|took| took[1] - took[0]), "ms", 40.0);
    figure("runner exec, in a new root", of(|took| took[2]), "ms");
    let ratio = of(|took| took[1] / took[0]);
    bench.ratio("exec of one trial against --version", ratio, None);
    match bench.lists.count_syncs() {
        Some(syncs) => bench.bounded("  syncs, in a root with other runs", syncs as f64, "", 10.0),
        None => println!("  without `strace` nobody counts the syncs"),
    }
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
    bench.ratio("largest against smallest", most / least, Some(1.2));

    title(&format!("peak memory of {largest} trials from one list"));
    bench.bounded_memory(peak, 150.0);
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
        bench.ratio(
            &format!("the runner against {name}"),
            runner / spawned,
            None,
        );
    }
}
