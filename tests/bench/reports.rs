//! What reports, comparisons and histories of many rows cost.

use std::{
    io::{BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use fs_err::File;

use super::{
    copy, lists, only_run, scan,
    table::{Bench, figure, median, millis, title},
};

/// Trials of a run that is reported; every tenth of them fails.
const ROWS: u64 = 100_000;
/// What a page of so many rows may weigh, in bytes.
const MAX_PAGE: f64 = 40e6;

/// Reports of a run with very many rows, beside `wc -l` of its rows and passing over their JSON, and a comparison of two.
pub(super) fn report(bench: &mut Bench) {
    title(&format!(
        "reports of a run with {ROWS} rows, of which every tenth failed"
    ));
    for (place, name) in ["base", "new"].into_iter().enumerate() {
        write_list(bench, place as u64);
        let into = format!("reported/{name}");
        let args = [
            "exec",
            "reported.toml",
            "--quiet",
            "--results",
            "reported",
            "--into",
            &into,
        ];
        let ran = bench.lists.program(&args).status();
        assert_eq!(ran.expect("the program starts").code(), Some(1));
    }
    let root = bench.lists.path("reported");
    let index = root.join("base/index.jsonl");
    let megabytes = size(&index) / 1e6;

    let mut lines = Vec::new();
    let mut scans = Vec::new();
    let mut forms = [const { Vec::new() }; 5];
    const FORMS: [&str; 5] = ["html", "csv", "jsonl", "xml", "md"];
    for _ in 0..bench.pick(5, 3) {
        let mut count = Command::new("wc");
        let count = count.arg("-l").arg(&index).stdout(Stdio::null());
        lines.push(millis(lists::time(count)));
        scans.push(millis(scan(&index)));
        for (form, took) in FORMS.iter().zip(&mut forms) {
            let file = format!("report.{form}");
            let args = [
                "report",
                "reported/base",
                "-o",
                &file,
                "--results",
                "reported",
            ];
            took.push(millis(lists::time(&mut bench.lists.program(&args))));
        }
    }
    let beside = median(lines.into_iter()) + median(scans.into_iter());
    figure(
        "wc -l and passing over the JSON",
        megabytes / beside * 1e3,
        "MB/s",
    );
    for (form, took) in FORMS.iter().zip(forms) {
        let took = median(took.into_iter());
        figure(form, took, "ms");
        figure("  of index.jsonl", megabytes / took * 1e3, "MB/s");
        bench.ratio(
            &format!("{form} against wc -l and passing over"),
            took / beside,
            (*form == "csv").then_some(2.0),
        );
        if *form == "html" {
            bench.bounded("  to write it", took, "ms", 3_000.0);
            let page = size(&bench.lists.path("report.html"));
            bench.bounded("  its size", page / 1e6, "MB", MAX_PAGE / 1e6);
        }
    }
    load(&bench.lists.path("report.html"));

    let mut took = Vec::new();
    let mut peak = None;
    for _ in 0..bench.pick(5, 3) {
        let args = [
            "compare",
            "reported/base",
            "reported/new",
            "--results",
            "reported",
        ];
        let mut command = bench.lists.program(&args);
        let (lasted, most) = lists::watched(command.stdout(Stdio::null()));
        took.push(millis(lasted));
        peak = peak.max(most);
    }
    bench.bounded(
        "compare with as many",
        median(took.into_iter()),
        "ms",
        2_000.0,
    );
    bench.bounded_memory(peak, 200.0);
    fs_err::remove_dir_all(root).expect("results can go");
}

/// Tests of which those fail whose number ends with this digit.
fn write_list(bench: &Bench, digit: u64) {
    let list = File::create(bench.lists.path("reported.jsonl"));
    let mut list = BufWriter::new(list.expect("a list can be made"));
    for number in 0..ROWS {
        let input = lists::input(number);
        let expected = if number % 10 == digit { "0" } else { &input };
        writeln!(
            list,
            r#"{{"id":"echo-{number:07}","input":{input},"expect":{{"equals":{expected}}}}}"#
        )
        .expect("a list can be written");
    }
    list.flush().expect("a list can be written");
    let plugin = lists::Lists::plugin();
    let scenario = format!(
        "name = \"reported\"\nproviders.echo.plugin = '{}'\ntest_lists = [{{ files = [\"reported.jsonl\"] }}]\n",
        plugin.display()
    );
    fs_err::write(bench.lists.path("reported.toml"), scenario).expect("a scenario can be written");
}

/// How long a browser takes to open the page and to look for a test that is not in its table yet.
fn load(page: &Path) {
    let Some(mut node) = browser("load.mjs") else {
        return;
    };
    for (name, took) in told(node.arg(page)) {
        figure(&name, took, "ms");
    }
}

/// A script of the tests of readers, which drives a browser; `None` where that or its tools are missing, which is said.
pub(super) fn browser(script: &str) -> Option<Command> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let tools = root.join("target/tools/readers");
    let chromium = std::env::var("CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !tools.exists() || !Path::new(&chromium).exists() {
        println!("  a browser and its tools are not here: `.ci/run` installs them");
        return None;
    }
    let mut node = Command::new("node");
    node.arg(root.join("tests/readers").join(script))
        .env("TOOLS", tools)
        .env("CHROMIUM", chromium);
    Some(node)
}

/// The figures that such a script prints, by their names.
pub(super) fn told(node: &mut Command) -> Vec<(String, f64)> {
    let output = node.stderr(Stdio::inherit()).output().expect("node starts");
    assert!(output.status.success(), "the pages were not opened");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a number");
        (name.to_owned(), value.parse().expect("a number"))
    });
    lines.collect()
}

/// What tests came to over many runs, once the projection knows them.
pub(super) fn history(bench: &mut Bench) {
    let runs = bench.pick(10_000, 1_000);
    title(&format!("`runner history` over {runs} runs of 100 trials"));
    bench.lists.write(100);
    let args = ["exec", "100.toml", "--quiet", "--results", "past"];
    lists::time(&mut bench.lists.program(&args));
    let root = bench.lists.path("past");
    let run = only_run(&root);
    for number in 1..runs {
        copy(&run, &format!("2026-01-01_00-00-00-000-{number:08x}"));
    }
    let last = runs.to_string();
    let time = || {
        let args = ["history", "overhead", "--last", &last, "--results", "past"];
        let mut command = bench.lists.program(&args);
        let (took, peak) = lists::watched(command.stdout(Stdio::null()).stderr(Stdio::null()));
        (millis(took), peak)
    };
    let (first, _) = time();
    let again: Vec<_> = (0..5).map(|_| time()).collect();
    let peak = again.iter().filter_map(|(_, peak)| *peak).max();
    figure("the first time, which reads every row", first, "ms");
    let took = median(again.iter().map(|(took, _)| *took));
    bench.bounded("after that", took, "ms", 1_000.0);
    bench.bounded_memory(peak, 200.0);
    fs_err::remove_dir_all(root).expect("results can go");
}

fn size(file: &Path) -> f64 {
    fs_err::metadata(file).expect("the file is there").len() as f64
}
