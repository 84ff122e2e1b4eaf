//! How fast the dashboard of `runner serve` is in a browser.

use std::fmt::Write as _;

use super::{
    copy, guests, lists, only_run,
    reports::{browser, told},
    table::{Bench, figure, title},
};

/// How many trials end one after another while somebody looks.
const LIVE: usize = 60;

/// The list of very many runs, a run of very many trials, and a run whose rows are looked at as they come.
pub(super) fn dashboard(bench: &mut Bench) {
    let (runs, rows) = (bench.pick(10_000, 1_000), bench.pick(1_000_000, 100_000));
    title(&format!(
        "the dashboard in a browser: {runs} runs, a run of {rows} trials, a run that goes on"
    ));
    let Some(mut node) = browser("figures.mjs") else {
        return;
    };
    bench.lists.write(10);
    let args = ["exec", "10.toml", "--quiet", "--results", "results-many"];
    lists::time(&mut bench.lists.program(&args));
    let run = only_run(&bench.lists.path("results-many"));
    for number in 1..runs {
        copy(&run, &format!("2026-01-01_00-00-00-000-{number:08x}"));
    }
    bench.lists.write(rows);
    let large = format!("{rows}.toml");
    let args = ["exec", &large, "--quiet", "--results", "results-large"];
    lists::time(&mut bench.lists.program(&args));
    let mut live = format!(
        "name = \"live\"\nproviders.hostile.plugin = '{}'\n",
        guests::guest("hostile").display()
    );
    for number in 0..LIVE {
        // No multiple of the times at which others look.
        let nap = 180 + number * 37 % 90;
        writeln!(
            live,
            "[[tests]]\nid = \"live-{number:03}\"\ninput = {{ do = \"sleep\", ms = {nap} }}"
        )
        .expect("a text can be written");
    }
    fs_err::write(bench.lists.path("live.toml"), live).expect("a scenario can be written");
    for folder in ["scenarios", "results-live"] {
        fs_err::create_dir(bench.lists.path(folder)).expect("a folder can be made");
    }

    let rounds = bench.pick(9, 3).to_string();
    node.env("PAGES", bench.lists.path(""))
        .env("RUNNER", env!("CARGO_BIN_EXE_runner"))
        .env("ROUNDS", rounds);
    for (name, value) in told(&mut node) {
        let bound = match name.as_str() {
            "the list of all runs" => 300.0,
            "the page of the large run" => 1_000.0,
            "a new row in the table, after it is in the file: median" => 100.0,
            "a frame while its table is scrolled: median" => 17.5,
            "elements of that page" => {
                figure(&name, value, "");
                continue;
            }
            _ => {
                figure(&name, value, "ms");
                continue;
            }
        };
        bench.bounded(&name, value, "ms", bound);
    }
    for folder in ["results-many", "results-large", "results-live"] {
        fs_err::remove_dir_all(bench.lists.path(folder)).expect("results can go");
    }
}
