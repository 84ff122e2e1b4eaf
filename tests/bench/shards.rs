//! What it costs to run a plan in shards and to merge them.

use std::process::Stdio;

use super::{
    lists, scan,
    table::{Bench, figure, median, millis, title},
};

/// How many shards the plan is divided into.
const SHARDS: u64 = 4;

/// A plan on one machine, the same in shards one after another, and one run of these; beside passing over the JSON of their
/// rows and copying them.
pub(super) fn merge(bench: &mut Bench) {
    let tests: u64 = bench.pick(400_000, 100_000);
    title(&format!(
        "{tests} trials, and the same in {SHARDS} shards that are merged"
    ));
    bench.lists.write(tests);
    let scenario = format!("{tests}.toml");
    let run = |args: &[&str]| {
        let mut command = bench.lists.program(args);
        lists::time(command.stdout(Stdio::null()))
    };
    let (mut whole, mut parts, mut merges) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scans, mut copies) = (Vec::new(), Vec::new());
    for turn in 0..bench.pick(3, 2) {
        let root = format!("sharded/{turn}");
        whole.push(millis(run(&[
            "exec",
            &scenario,
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
                "exec", &scenario, "--quiet", "--shard", &shard, "--into", dir,
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
    bench.ratio(
        "merging over passing over the JSON of the rows",
        merged / scan,
        None,
    );
    bench.ratio("merging over copying the rows", merged / copy, None);
    bench.ratio(
        "shards and merging over one run",
        (parts + merged) / whole,
        None,
    );
}
