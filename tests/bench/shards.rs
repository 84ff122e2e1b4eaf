//! What it costs to run a plan in shards and to merge them.

use std::{path::Path, process::Stdio};

use super::{
    compute::Compute,
    lists, scan,
    table::{Bench, figure, median, millis, title},
};

/// How many shards the plan is divided into.
const SHARDS: u64 = 4;
/// How long an attempt takes that does real work, in microseconds, about.
const WORK: u64 = 1000;
/// How much longer shards and merging may take together than one run.
const MOST: f64 = 1.02;

/// A plan on one machine, the same in shards one after another, and one run of these: of echo tests, and of tests that compute
/// for a millisecond each.
///
/// The bound is for work. Of echo trials it cannot hold: one takes about 20 µs, and a row that is merged as fast as is asked for,
/// 500,000 a second, takes 2 µs, which is 10 % of that.
pub(super) fn merge(bench: &mut Bench) {
    let tests: u64 = bench.pick(400_000, 100_000);
    bench.lists.write(tests);
    let scenario = bench.lists.path(&format!("{tests}.toml"));
    let turns = bench.pick(3, 2);
    measure(bench, &scenario, tests, "echo trials", turns, None);

    let tests = bench.pick(40_000, 10_000);
    let compute = Compute::of_tests(&bench.lists, WORK, tests);
    let kind = format!("trials of {WORK} µs");
    measure(bench, compute.scenario(), tests, &kind, turns, Some(MOST));
}

/// Measures it beside passing over the JSON of the rows and copying them.
fn measure(
    bench: &mut Bench,
    scenario: &Path,
    tests: u64,
    kind: &str,
    turns: u64,
    bound: Option<f64>,
) {
    title(&format!(
        "{tests} {kind}, and the same in {SHARDS} shards that are merged"
    ));
    let scenario = scenario.to_str().expect("paths here are text");
    let run = |args: &[&str]| {
        let mut command = bench.lists.program(args);
        lists::time(command.stdout(Stdio::null()))
    };
    // With the first one the plugin is compiled.
    run(&[
        "exec",
        scenario,
        "--quiet",
        "--into",
        "sharded/first",
        "--shard",
        "1/1000",
    ]);
    let (mut whole, mut parts, mut merges) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scans, mut copies) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        let root = format!("sharded/{turn}");
        whole.push(millis(run(&[
            "exec",
            scenario,
            "--quiet",
            "--into",
            &format!("{root}/plain"),
        ])));
        let dirs: Vec<_> = (1..=SHARDS)
            .map(|index| format!("{root}/{index}-of-{SHARDS}"))
            .collect();
        let mut took = 0.0;
        for (index, dir) in (1..).zip(&dirs) {
            let shard = format!("{index}/{SHARDS}");
            took += millis(run(&[
                "exec", scenario, "--quiet", "--shard", &shard, "--into", dir,
            ]));
        }
        parts.push(took);
        let into = format!("{root}/merged");
        let dirs = dirs.iter().map(String::as_str);
        let args: Vec<_> = ["merge", "--into", &into].into_iter().chain(dirs).collect();
        merges.push(millis(run(&args)));
        let index = bench.lists.path(&into).join("index.jsonl");
        scans.push(millis(scan(&index)));
        let copied = std::time::Instant::now();
        fs_err::copy(&index, index.with_extension("copy")).expect("rows can be copied");
        copies.push(millis(copied.elapsed()));
        fs_err::remove_dir_all(bench.lists.path("sharded")).expect("results can go");
    }
    let [whole, parts, merged, scan, copy] =
        [whole, parts, merges, scans, copies].map(|took: Vec<f64>| median(took.into_iter()));
    figure("one run", whole, "ms");
    figure("its shards, one after another", parts, "ms");
    figure("merged", merged, "ms");
    #[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
    let rows = tests as f64 / merged * 1e3;
    figure("rows merged a second", rows, "");
    let mut ratio = |of: &str, ratio, bound| bench.ratio(&format!("{of}, {kind}"), ratio, bound);
    ratio(
        "merging over passing over the JSON of the rows",
        merged / scan,
        None,
    );
    ratio("merging over copying the rows", merged / copy, None);
    ratio(
        "shards and merging over one run",
        (parts + merged) / whole,
        bound,
    );
}
