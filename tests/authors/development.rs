//! The development form of plugins: a loader that reads the source as data.

use std::time::{Duration, Instant};
use std::{fs, os::unix::fs::symlink, thread};

use crate::messages::outputs::snapshot;
use runner_model::digest;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    guests::component, run::Run, runner::Runner, running::Finished, running::Running,
    wait::wait_until,
};

const SCENARIO: &str = r#"
[providers.filter]
plugin = "filter"
[[tests]]
id = "a"
input = { do = "read-file", name = ".source" }
expect = { contains = "e" }
"#;

/// Creates a folder whose loader is an existing plugin, with a file that counts how often it was built.
fn with_loader() -> Runner {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir_all(runner.path("filter/parts")).unwrap();
    let manifest = r#"
name = "filter"
kind = "component"
build = "cp ../hostile.wasm dist/plugin.wasm"
[dev]
loader = "cp ../hostile.wasm dist/loader.wasm; echo built >> ../loaders.log"
from = ["loader.txt", "parts"]
source = "cp main.txt dist/source"
"#;
    for (file, text) in
        [("plugin.toml", manifest), ("main.txt", "one"), ("loader.txt", "1"), ("parts/a.txt", "1")]
    {
        runner.write(&format!("filter/{file}"), text);
    }
    runner.scenario(SCENARIO);
    runner
}

/// Runs a command with a cache of its own, which contains only plugins of this test.
fn run(runner: &Runner, args: &[&str]) -> Finished {
    start(runner, args).finish()
}

/// Starts a command as [`run`] does.
fn start(runner: &Runner, args: &[&str]) -> Running {
    let mut command = runner.command(args);
    Running::start(command.env("RUNNER_CACHE", runner.path("cache")))
}

fn loaders(runner: &Runner) -> usize {
    fs::read_to_string(runner.path("loaders.log")).unwrap().lines().count()
}

fn output(run: &Run) -> String {
    run.rows()[0]["output"].as_str().unwrap().to_owned()
}

#[test]
fn steps_that_write_nothing_do_not_pass_for_a_build() {
    let runner = with_loader();
    run(&runner, &["exec", "--build", "scenario.toml"]).expect(0);
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    let without = |line: &str| {
        runner.write("filter/plugin.toml", manifest.replace(line, "true"));
    };
    without("cp main.txt dist/source");
    runner.write("filter/main.txt", "new");
    let ran = run(&runner, &["exec", "--build", "scenario.toml"]).expect(3);
    snapshot(&ran);
    without("cp ../hostile.wasm dist/plugin.wasm");
    run(&runner, &["plugin", "build", "--dev", "filter"]).expect(0);
    let ran = run(&runner, &["plugin", "build", "filter"]).expect(3);
    snapshot(&ran);

    // The check before a final build only speaks.
    runner
        .write("filter/plugin.toml", manifest.replace("cp main.txt", "echo a mistake >&2; false"));
    let ran = run(&runner, &["plugin", "build", "filter"]).expect(0);
    snapshot(&ran);
}

#[test]
fn cache_has_only_whole_loaders_of_one_state() {
    let runner = with_loader();
    let build = || run(&runner, &["plugin", "build", "--dev", "filter"]).expect(0);
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    // A file changes while the loader is built: only the second one is of the state that its hash says.
    let line = "loader = \"echo 2 > loader.txt; ";
    runner.write("filter/plugin.toml", manifest.replace("loader = \"", line));
    for built in [1, 2, 2] {
        build();
        assert_eq!(loaders(&runner), built);
    }
    let exec = || {
        run(&runner, &["exec", "--build", "scenario.toml"]).expect(0);
        assert_eq!(output(runner.runs().last().unwrap()), "one");
    };
    exec();
    let damage = |end: &str, change: fn(&mut Vec<u8>)| {
        let entries =
            fs::read_dir(runner.path("cache")).unwrap().map(|entry| entry.unwrap().path());
        let mut entries = entries.filter(|entry| entry.to_str().unwrap().ends_with(end));
        let entry = entries.next().unwrap();
        let mut bytes = fs::read(&entry).unwrap();
        change(&mut bytes);
        fs::write(&entry, bytes).unwrap();
    };
    damage(".source", |bytes| *bytes.last_mut().unwrap() ^= 1);
    exec();
    damage(".source", |bytes| bytes.truncate(65));
    exec();
    damage(".loader", |bytes| *bytes.last_mut().unwrap() ^= 1);
    build();
    damage(".loader", |bytes| bytes.truncate(200));
    build();
    assert_eq!(loaders(&runner), 4);
    exec();
    assert_eq!(loaders(&runner), 4);
}

#[test]
fn edit_of_a_development_form_compiles_nothing() {
    let runner = with_loader();
    let built = run(&runner, &["exec", "--build", "scenario.toml"]).expect(0);
    snapshot(&built);

    let first = runner.only_run();
    assert_eq!(output(&first), "one");

    runner.write("filter/main.txt", "the other");
    let stale = run(&runner, &["exec", "scenario.toml"]).expect(2);
    snapshot(&stale);
    let edited = run(&runner, &["exec", "--build", "scenario.toml"]).expect(0);
    snapshot(&edited);
    for word in ["loader", "compiling"] {
        assert!(!edited.stderr.contains(word), "{}", edited.stderr);
    }
    let second = runner.runs().into_iter().find(|run| run.id() != first.id()).unwrap();
    assert_eq!(output(&second), "the other");
    let plugin = |run: &Run| run.manifest()["providers"][0].clone();
    assert_eq!(plugin(&second)["development"], true);
    assert_ne!(plugin(&first)["digest"], plugin(&second)["digest"]);
    snapshot(&run(&runner, &["show", second.id()]).expect(0));
    run(&runner, &["plugin", "inspect", "filter"]).expect(0).says(&["development form"]);

    // A stored run has its own source, also without the cache.
    fs::remove_dir_all(runner.path("cache")).unwrap();
    let again = run(&runner, &["plugin", "run", "--from", first.id(), "--trial", "a"]).expect(0);
    again.says(&["one"]);

    // Only the files that it names change the loader.
    fs::write(runner.path("filter/parts/a.txt"), "2").unwrap();
    snapshot(&run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0));
    assert_eq!(loaders(&runner), 2);
}

/// A watch starts a session 100 ms after the last change, and reads files then.
const UNREAD_FOR: Duration = Duration::from_millis(250);

/// Waits until a watch has run this many sessions, and reads nothing, as for another session.
fn watches(watching: &Running, times: usize) {
    wait_until("it watches", || watching.shown().matches("watching").count() >= times);
    let mut last = (0, Instant::now());
    wait_until("it reads nothing", || {
        let read = watching.process().read_bytes();
        if read != last.0 {
            last = (read, Instant::now());
        }
        last.1.elapsed() > UNREAD_FOR
    });
}

#[test]
fn watched_build_of_another_process_is_one_session() {
    let runner = with_loader();
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    let slow = "cp ../hostile.wasm dist/plugin.wasm; until test -e ../end; do sleep 0.01; done";
    runner
        .write("filter/plugin.toml", manifest.replace("cp ../hostile.wasm dist/plugin.wasm", slow));
    run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    let watching = start(&runner, &["exec", "--watch", "scenario.toml"]);
    watches(&watching, 1);
    // The plugin is there some time before the end of its build.
    fs::remove_file(runner.path("filter/dist/plugin.wasm")).unwrap();
    let building = start(&runner, &["plugin", "build", "filter"]);
    wait_until("the plugin is there", || runner.path("filter/dist/plugin.wasm").exists());
    watches(&watching, 1);
    runner.write("end", "");
    building.finish().expect(0);
    watches(&watching, 2);
    let (ended, _) = watching.end_by(Signal::INT);
    assert!(!ended.stderr.contains("out of date"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("watching").count(), 2, "{}", ended.stderr);
    assert_eq!(runner.only_run().rows().last().unwrap()["output"], json!({"error": "not-found"}));
}

#[test]
fn watch_without_a_built_plugin_waits_for_builds() {
    let runner = with_loader();
    let watching = start(&runner, &["exec", "--watch", "scenario.toml"]);
    watches(&watching, 1);
    for times in [2, 4] {
        runner.write("filter/main.txt", format!("the edit {times}"));
        run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
        watches(&watching, times);
        fs::remove_dir_all(runner.path("filter/dist")).unwrap();
        watches(&watching, times + 1);
    }
    let (ended, _) = watching.end_by(Signal::INT);
    assert_eq!(ended.stderr.matches("watching").count(), 5, "{}", ended.stderr);
    assert_eq!(runner.only_run().manifest()["sessions"].as_array().unwrap().len(), 2);
}

#[test]
fn watch_continues_while_a_folder_comes_and_goes() {
    let runner = with_loader();
    let dist = runner.path("filter/dist");
    let watching = start(&runner, &["exec", "--watch", "scenario.toml"]);
    watches(&watching, 1);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(1) {
        fs::create_dir(&dist).unwrap();
        // The folder has to be there, or not, at a moment that no process names.
        thread::sleep(Duration::from_micros(50));
        fs::remove_dir(&dist).unwrap();
        // See above.
        thread::sleep(Duration::from_micros(50));
    }
    run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    wait_until("it runs the plugin", || !runner.runs().is_empty());
    watching.end_by(Signal::INT);
}

#[test]
fn watched_edit_is_one_session() {
    let runner = with_loader();
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    // The build also writes a file that counts as source.
    let with_copy = "source = \"cp main.txt dist/source; echo same > copy.txt";
    runner.write(
        "filter/plugin.toml",
        manifest.replace("source = \"cp main.txt dist/source", with_copy),
    );
    runner.write("filter/copy.txt", "same\n");
    let watching = start(&runner, &["exec", "--watch", "--build", "scenario.toml"]);
    let has_watched = |times| watches(&watching, times);
    has_watched(1);
    // In one step: between the steps of a write, a slow machine runs a session of half an edit.
    let replace = |name: &str, text: &str| {
        runner.write("draft", text);
        fs::rename(runner.path("draft"), runner.path(name)).unwrap();
    };
    for (edit, times) in [("the other", 2), ("another one", 3), ("a third one", 4)] {
        replace("filter/main.txt", edit);
        has_watched(times);
    }
    // The file of a link.
    fs::create_dir(runner.path("other")).unwrap();
    runner.write("other/main.txt", "one by a link");
    symlink("../other/main.txt", runner.path("filter/link")).unwrap();
    fs::rename(runner.path("filter/link"), runner.path("filter/main.txt")).unwrap();
    has_watched(5);
    runner.write("other/main.txt", "the other by a link");
    has_watched(6);
    // A failed build is one session, too, and so is the edit that mends it.
    fs::remove_file(runner.path("filter/main.txt")).unwrap();
    has_watched(7);
    replace("filter/main.txt", "one more");
    has_watched(8);
    let (ended, _) = watching.end_by(Signal::INT);
    assert!(!ended.stderr.contains("nothing is left"), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("watching").count(), 8, "{}", ended.stderr);
    let run = runner.only_run();
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 7);
    assert_eq!(run.rows().last().unwrap()["output"], "one more");
}

#[test]
fn newest_form_is_used_while_it_is_fresh() {
    let runner = with_loader();
    let built = run(&runner, &["plugin", "build", "filter"]).expect(0);
    assert!(!built.stdout.contains("development form"), "{}", built.stdout);
    let ran = run(&runner, &["exec", "--build", "scenario.toml"]).expect(1);
    for word in ["building", "development form"] {
        assert!(!ran.stderr.contains(word), "{}", ran.stderr);
    }
    // The final form has no source to read.
    assert_eq!(runner.only_run().rows()[0]["output"], json!({"error": "not-found"}));

    let built = run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    snapshot(&built);
    // Packages that are installed later are no source.
    fs::create_dir(runner.path("filter/env")).unwrap();
    runner.write("filter/env/pyvenv.cfg", "");
    runner.write("filter/env/package.txt", "");
    run(&runner, &["exec", "scenario.toml"]).expect(0);
    let called =
        ["plugin", "run", "filter", "--input", r#"{"do": "read-file", "name": ".source"}"#];
    snapshot(&run(&runner, &called).expect(0));
    assert_eq!(loaders(&runner), 1);
}

#[test]
fn timings_name_each_step_of_a_build() {
    let runner = with_loader();
    let steps = |args: &[&str]| {
        let built = run(&runner, &[&["plugin", "build", "filter"], args].concat()).expect(0);
        let steps = built.stdout.lines().skip(1).map(|line| {
            let (took, step) = line.split_once("  ").unwrap();
            assert!(took.ends_with('s'), "{line}");
            step.trim().to_owned()
        });
        steps.collect::<Vec<_>>()
    };
    let loader = "loader: cp ../hostile.wasm dist/loader.wasm; echo built >> ../loaders.log";
    let source = "source: cp main.txt dist/source";
    let [first, last] = ["hash the source", "check the plugin"];
    assert_eq!(steps(&["--dev", "--timings"]), [first, loader, source, last]);
    let cached = "take the loader from the cache";
    assert_eq!(steps(&["--dev", "--timings"]), [first, cached, source, last]);
    let build = "build: cp ../hostile.wasm dist/plugin.wasm";
    assert_eq!(steps(&["--timings"]), [first, source, build, last]);
    assert_eq!(steps(&[]), [""; 0]);
}

#[test]
fn edited_source_of_a_stored_run_is_named() {
    let runner = with_loader();
    run(&runner, &["exec", "--build", "scenario.toml"]).expect(0);
    let first = runner.only_run();
    let resumed: [&[&str]; 3] = [
        &["resume", "--rerun", "all"],
        &["resume", first.id()],
        &["resume", "--rerun", "all", "--dry-run"],
    ];
    let unchanged = |ran: &Finished| assert!(!ran.stderr.contains("` changed"), "{}", ran.stderr);
    resumed.iter().for_each(|args| unchanged(&run(&runner, args).expect(0)));
    runner.write("filter/main.txt", "the other");
    for args in resumed {
        let ran = run(&runner, args).expect(0);
        snapshot(&ran);
        assert_eq!(ran.stderr.matches("` changed").count(), 1, "{}", ran.stderr);
    }
    assert_eq!(output(&first), "one");
    let again = run(&runner, &["plugin", "run", "--from", first.id(), "--trial", "a"]).expect(0);
    snapshot(&again);

    // The commands of the message apply the change.
    let ran = run(&runner, &["resume", "--rerun", "all"]).expect(0);
    let (_, commands) = ran.stderr.split_once("to use the changes: ").unwrap();
    let commands = commands.lines().next().unwrap().replace("runner ", "$runner ");
    assert_eq!(commands.matches("$runner ").count(), 2, "{commands}");
    let mut shell = runner.shell(&commands);
    Running::start(shell.env("RUNNER_CACHE", runner.path("cache"))).finish().expect(0);
    assert_eq!(first.rows().last().unwrap()["output"], "the other");
    resumed.iter().for_each(|args| unchanged(&run(&runner, args).expect(0)));
}

#[test]
fn wrong_pin_of_a_folder_names_its_form() {
    let runner = with_loader();
    let zeros = "0".repeat(64);
    let pin = |digest: &str| {
        let pinned = format!("plugin = \"filter\"\nsha256 = \"{digest}\"");
        runner.scenario(&SCENARIO.replace("plugin = \"filter\"", &pinned));
    };
    pin(&zeros);
    let refused = || {
        let ran = run(&runner, &["exec", "--build", "scenario.toml"]).expect(2);
        assert!(!ran.stderr.contains("runner exec"), "{}", ran.stderr);
        ran
    };
    snapshot(&refused());
    run(&runner, &["plugin", "build", "filter"]).expect(0);
    let stable = digest(&fs::read(runner.path("hostile.wasm")).unwrap()).to_string();
    refused().says(&[&format!("the SHA-256 of its final form is {stable}")]);
    pin(&stable);
    run(&runner, &["exec", "--build", "scenario.toml"]).expect(1);
}

#[test]
fn each_view_of_a_run_names_the_form() {
    let runner = with_loader();
    run(&runner, &["plugin", "build", "filter"]).expect(0);
    run(&runner, &["exec", "scenario.toml"]).expect(1);
    run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    run(&runner, &["exec", "scenario.toml"]).expect(0);
    let mut runs = runner.runs();
    runs.sort_by_key(|run| run.id().to_owned());
    let [last, development] = [&runs[0], &runs[1]].map(Run::id);
    let views: [(&[&str], &str); 5] = [
        (&["a"], "development form"),
        (&["a", "--json"], "\"development\": true"),
        (&[], "dev form"),
        (&["--markdown"], "Development form: `filter`."),
        (&["--html"], "Development form: filter"),
    ];
    for (args, says) in views {
        let command = if args.iter().any(|arg| ["--markdown", "--html"].contains(arg)) {
            "report"
        } else {
            "show"
        };
        let says_it = |id: &str| {
            let ran = run(&runner, &[&[command, id], args].concat());
            ran.stdout.contains(says)
        };
        assert!(says_it(development), "{args:?}");
        assert!(!says_it(last), "{args:?}");
    }
    let compared = run(&runner, &["compare", last, development]);
    compared.says(&["new used the development form of these providers: filter"]);
    let compared = run(&runner, &["compare", development, last]);
    compared.says(&["base used the development form of these providers: filter"]);
    let same = run(&runner, &["compare", development, development]);
    assert!(!same.stdout.contains("development"), "{}", same.stdout);
}

#[test]
fn slow_description_of_a_development_form_has_advice() {
    let runner = with_loader();
    runner.link(&component("stuck"), "stuck.wasm");
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    runner.write("filter/plugin.toml", manifest.replace("hostile.wasm", "stuck.wasm"));
    run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    let ran = run(&runner, &["plugin", "run", "filter"]).expect(2);
    snapshot(&ran);
    ran.says(&[
        "`describe` did not end within 10 s; a development form loads its source in each attempt",
    ]);
    assert_eq!(ran.stderr.matches("development form of").count(), 1, "{}", ran.stderr);
}

#[test]
fn plugins_without_a_development_form_are_built_as_ever() {
    let runner = with_loader();
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    let (manifest, _) = manifest.split_once("[dev]").unwrap();
    runner.write("filter/plugin.toml", manifest);
    let built = run(&runner, &["plugin", "build", "filter", "--dev"]).expect(0);
    snapshot(&built);
    assert!(!runner.path("loaders.log").exists());
}

#[test]
fn source_is_read_within_the_limits_of_attachments() {
    let runner = with_loader();
    let scenario = SCENARIO
        .replace("plugin = \"filter\"", "plugin = \"filter\"\nlimits = { memory = \"4MiB\" }");
    let scenario = scenario.replace("\".source\"", "\".source\", length = 10_000_000");
    runner.scenario(&scenario);
    runner.write("filter/main.txt", vec![b'e'; 5 << 20]);
    run(&runner, &["exec", "--build", "scenario.toml"]).expect(1);
    assert_eq!(runner.only_run().rows()[0]["output"], json!({"error": "out-of-range"}));
}

#[test]
fn loader_without_its_tools_names_them() {
    let runner = Runner::new(&[]);
    runner.run(&["plugin", "new", "shout", "--lang", "javascript"]).expect(0);
    let ran = runner.run(&["plugin", "build", "shout", "--dev"]).expect(3);
    snapshot(&ran);
}

#[test]
fn failed_builds_of_a_development_form_say_why() {
    let runner = with_loader();
    let manifest = fs::read_to_string(runner.path("filter/plugin.toml")).unwrap();
    for (from, to, says) in [
        ("cp main.txt dist/source", "true", "did not write `filter/dist/source`"),
        ("cp main.txt dist/source", "echo oh no; exit 1", "building `filter` failed"),
        ("cp main.txt dist/source", "truncate -s 17M dist/source", "more than 16 MiB"),
        ("cp ../hostile.wasm dist/loader.wasm", "true", "did not write `filter/dist/loader.wasm`"),
        ("\"parts\"", "\"lost\"", "cannot read `filter/lost`"),
    ] {
        fs::create_dir_all(runner.path("filter/dist")).unwrap();
        // What an interrupted build has left.
        fs::copy(runner.path("hostile.wasm"), runner.path("filter/dist/loader.wasm")).unwrap();
        runner.write("filter/plugin.toml", manifest.replace(from, to));
        let ran = run(&runner, &["plugin", "build", "filter", "--dev"]);
        assert_ne!(ran.code, Some(0), "{says}");
        ran.says(&[says]);
    }
}
