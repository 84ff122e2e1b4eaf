//! A project of one's own: `runner init`, and the plugins that the binary carries, with nothing but the binary.

use serde_json::{Value, json};

use crate::support::runner::{CommandExt as _, Ran, Runner};

/// Runs the program where nothing else is found.
fn alone(runner: &Runner, args: &[&str]) -> Ran {
    let mut command = runner.command(args);
    command.env("PATH", runner.path("nowhere")).run()
}

#[test]
fn a_new_project_runs_as_it_is_and_is_checked_by_its_own_schema() {
    let runner = Runner::new(&[]);
    let ran = alone(&runner, &["init"]).expect(0);
    assert_eq!(
        ran.stdout + &ran.stderr,
        "runner exec first.toml\nwrote .gitignore\nwrote .runner/schema.json\nwrote first.toml\nto go on:\n\n"
    );
    let ran = alone(&runner, &["exec", "first.toml"]).expect(0);
    ran.says(&["passed: 2 of 2"]);

    let scenario = fs_err::read_to_string(runner.path("first.toml")).unwrap();
    let first = scenario.lines().next().unwrap();
    let schema = first.strip_prefix("#:schema ").unwrap();
    let schema = fs_err::read(runner.path(schema)).unwrap();
    let schema: Value = serde_json::from_slice(&schema).unwrap();
    let document: toml::Table = scenario.parse().unwrap();
    let document = serde_json::to_value(document).unwrap();
    assert!(
        jsonschema::validator_for(&schema)
            .unwrap()
            .is_valid(&document)
    );
    assert!(!jsonschema::is_valid(&schema, &json!({"name": 7})));

    // What stands behind the `#` is a scenario, too.
    let (head, tail) = scenario.split_once("# [providers.files]").unwrap();
    let tail = format!("# [providers.files]{tail}")
        .replace("# ", "")
        .replace("#\n", "\n");
    runner.write("first.toml", format!("{head}\n{tail}"));
    alone(&runner, &["validate", "first.toml"]).expect(0);
}

#[test]
fn what_is_in_a_folder_stays_there() {
    let runner = Runner::new(&[]);
    runner.write("mine/.gitignore", "target");
    alone(&runner, &["init", "mine"]).expect(0);
    let ignored = |folder: &str| fs_err::read_to_string(runner.path(folder).join(".gitignore"));
    assert_eq!(ignored("mine").unwrap(), "target\n/results/\n");

    runner.write("mine/first.toml", "mine");
    let ran = alone(&runner, &["init", "mine"]).expect(2);
    ran.says(&[
        "`mine/first.toml` is there already",
        "runner validate mine/first.toml",
    ]);
    assert_eq!(
        fs_err::read(runner.path("mine/first.toml")).unwrap(),
        b"mine"
    );

    fs_err::remove_file(runner.path("mine/first.toml")).unwrap();
    alone(&runner, &["init", "mine"]).expect(0);
    assert_eq!(ignored("mine").unwrap(), "target\n/results/\n");

    runner.write("file", "");
    let ran = alone(&runner, &["init", "file"]).expect(2);
    ran.says(&["cannot write `file/.runner/schema.json`"]);
}

#[test]
fn a_plugin_of_the_binary_is_used_wherever_a_file_is() {
    let runner = Runner::new(&[]);
    let ran = alone(&runner, &["plugin", "run", "bundled:echo", "--input", "1"]).expect(0);
    assert_eq!(ran.stdout.trim(), "1");
    let ran = alone(&runner, &["plugin", "inspect", "bundled:http", "--json"]).expect(0);
    assert_eq!(ran.document()["file"], "bundled:http");

    runner.scenario(
        r#"
        name = "bundled"
        [providers.one]
        plugin = "bundled:echo"
        [[tests]]
        id = "a"
        input = 1
        repeat = 3
        expect = { equals = 1 }
        "#,
    );
    alone(&runner, &["exec", "scenario.toml", "--fail-fast"]).expect(0);
    let run = runner.only_run();
    // From the content store, as any other.
    let dir = run.dir.to_str().unwrap();
    alone(&runner, &["resume", "--from", dir, "--rerun", "all"]).expect(0);
    assert_eq!(run.rows().len(), 6);
    alone(&runner, &["verify", dir]).expect(0);
}

#[test]
fn a_plugin_that_the_binary_does_not_carry_is_named_at_its_place() {
    let runner = Runner::new(&[]);
    let scenario = |plugin: &str| {
        runner.scenario(&format!(
            "name = \"x\"\n[providers.one]\nplugin = \"{plugin}\"\n[[tests]]\nid = \"a\"\ninput = 1\n"
        ));
    };
    scenario("bundled:ech");
    runner.refused(
        &[],
        &[
            "the runner carries no plugin `bundled:ech`",
            "scenario.toml:3:10",
            "it has `chat`, `echo`, `http`, `units`",
        ],
    );
    // A folder of such a name is none of them, whoever has made it: its tools would be run.
    runner.write("bundled:echo/plugin.toml", "not one");
    scenario("bundled:echo");
    alone(&runner, &["exec", "scenario.toml", "--build"]).expect(0);
    alone(&runner, &["plugin", "run", "bundled:echo", "--input", "1"]).expect(0);
    fs_err::remove_dir_all(runner.path("bundled:echo")).unwrap();
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    scenario("./bundled:echo");
    runner.refused(&[], &["plugin `./bundled:echo` does not exist"]);
    let ran = runner
        .run(&["plugin", "run", "bundled:", "--input", "1"])
        .expect(2);
    ran.says(&["the runner carries no plugin `bundled:`; it has `chat`, `echo`, `http`, `units`"]);
}
