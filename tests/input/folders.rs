//! Plugins that are given as the folder of their source.

use std::fs;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::runner::{Runner, tests};
use crate::support::wait::wait_until;

/// Writes a scenario whose plugin is a folder. Its build copies a guest.
fn folder() -> Runner {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir(runner.path("mine")).unwrap();
    runner.write(
        "mine/plugin.toml",
        "name = \"mine\"\nkind = \"component\"\nbuild = \"cp ../hostile.wasm dist/plugin.wasm\"\n",
    );
    runner.write("mine/main.txt", "first");
    let tests = tests("a | { do = \"echo\", value = 1 } | equals = 1");
    runner.scenario(&format!("[providers.p]\nplugin = \"mine\"\n{tests}"));
    runner
}

#[test]
fn folders_are_built_only_when_asked() {
    let runner = folder();
    let says = [
        "has not been built",
        "runner plugin build mine",
        "scenario.toml:2:",
        "runner exec scenario.toml --build",
    ];
    runner.refused(&[], &says);
    snapshot(&runner.exec(&["--build"]).expect(0));
    runner.exec(&[]).expect(0);
    // The content decides, and files of other types are not source.
    runner.write("mine/main.txt", "first");
    runner.write("mine/rows.csv", "output");
    runner.exec(&[]).expect(0);
    // The source has changed, so the old plugin is not used.
    runner.write("mine/source.txt", "changed");
    let ran = runner.exec(&[]).expect(2);
    snapshot(&ran);
    let ran = runner.exec(&["--build"]).expect(0);
    snapshot(&ran);
    let again = runner.exec(&["--build"]).expect(0);
    assert!(!again.stderr.contains("building"), "{}", again.stderr);
    let name = &runner.runs()[0].manifest()["providers"][0]["plugin"];
    assert_eq!(name, "mine");
}

#[test]
fn builds_of_one_plugin_wait_for_each_other() {
    let runner = folder();
    runner.write(
        "mine/plugin.toml",
        "name = \"mine\"\nkind = \"component\"\nbuild = \"touch ../began; until [ -e ../go ]; do sleep 0.01; done; cp ../hostile.wasm dist/plugin.wasm\"\n",
    );
    let first = runner.started(&["plugin", "build", "mine"]);
    wait_until("the first build", || runner.path("began").exists());
    // A session without `--build` does not take the half-built plugin for a failed one.
    let says = ["plugin `mine` is being built by another process"];
    runner.refused(&[], &says);
    runner.write("mine/dist/plugin.wasm", "half");
    runner.refused(&[], &says);
    let second = runner.started(&["exec", "scenario.toml", "--build"]);
    let waits = "waiting for another process, which builds mine";
    wait_until("the second build", || second.shown().contains(waits));
    runner.write("go", "");
    first.finish().expect(0);
    // What the first has built is fresh for the second.
    let ran = second.finish().expect(0);
    assert!(!ran.stderr.contains("building mine"), "{}", ran.stderr);
}

#[test]
fn failed_builds_start_no_run() {
    let mut transcript = Transcript::default();
    let runner = folder();
    runner.write(
        "mine/plugin.toml",
        "name = \"mine\"\nkind = \"component\"\nbuild = \"echo no tool >&2; exit 3\"\n",
    );
    runner.exec(&["--build"]).expect(3).says(&["no tool", "mine"]);
    // An earlier build has left a plugin.
    runner.write("mine/dist/plugin.wasm", "stale");
    transcript.exec(&runner, &[]).expect(2);
    runner.write("mine/plugin.toml", "nam = \"mine\"\n");
    transcript.exec(&runner, &["--build"]).expect(2);
    fs::remove_file(runner.path("mine/plugin.toml")).unwrap();
    runner.refused(&[], &["`mine`", "plugin.toml"]);
    transcript.check("failed_builds_start_no_run");
}
