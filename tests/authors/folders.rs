//! Folders of plugins: created, built, used by scenarios.

use std::{env, fs, os::unix::fs::PermissionsExt as _, process::Command};

use rustix::process::Signal;

use crate::messages::outputs::snapshot;
use crate::support::{
    processes::Process,
    runner::Runner,
    running::{Running, finished},
    wait::{wait_for, wait_until},
};

/// Creates a folder whose build copies an existing plugin.
fn source(runner: &Runner, kind: &str) {
    fs::create_dir(runner.path("filter")).unwrap();
    runner.write(
        "filter/plugin.toml",
        format!(
            "name = \"filter\"\nkind = \"{kind}\"\nbuild = \"cp ../hostile.wasm dist/plugin.wasm\"\n"
        ),
    );
    runner.write("filter/main.txt", "1");
}

#[test]
fn new_plugins_leave_nothing_to_fill_in() {
    let runner = Runner::new(&[]);
    for (language, kind) in [
        ("rust", "component"),
        ("rust", "command"),
        ("rust", "agent"),
        ("python", "component"),
        ("python", "agent"),
        ("javascript", "component"),
        ("c", "command"),
        ("go", "command"),
    ] {
        let name = format!("{language}-{kind}");
        let ran = runner.run(&["plugin", "new", &name, "--lang", language, "--kind", kind]);
        snapshot(&ran.expect(0));
        let folder = runner.path(&name);
        for file in ["README.md", "plugin.toml", "scenario.toml", "wit/provider.wit", ".gitignore"]
        {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            let rest = text.replace("{{secret.", "").replace("{{input.", "");
            assert!(!rest.contains("{{"), "{name}/{file}: {text}");
        }
        assert!(!folder.join("template.toml").exists());
    }
    for (arguments, says) in [
        (["plugin", "new", "Bad_Name", "--lang", "c"], "invalid plugin name `Bad_Name`"),
        (["plugin", "new", "c-command", "--lang", "c"], "already exists"),
        (["plugin", "new", "runner-sdk", "--lang", "rust"], "runner-sdk"),
        (["plugin", "new", "x", "--lang", "cobol"], "cobol"),
    ] {
        let ran = runner.run(&arguments);
        ran.expect(2).says(&[says]);
    }
    for kind in ["component", "agent"] {
        let ran = runner.run(&["plugin", "new", "y", "--lang", "go", "--kind", kind]);
        snapshot(&ran.expect(2));
    }
}

#[test]
fn folders_are_built_when_asked_for() {
    let runner = Runner::new(&["hostile"]);
    source(&runner, "component");
    runner.scenario(
        "[providers.filter]\nplugin = \"filter\"\n[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    let ran = runner.run(&["exec", "scenario.toml"]).expect(2);
    snapshot(&ran);

    let ran = runner.run(&["exec", "--build", "scenario.toml"]);
    ran.says(&["building filter"]);
    assert_eq!(runner.only_run().rows().len(), 1, "{}", ran.stderr);

    runner.write("filter/main.txt", "2");
    let ran = runner.run(&["exec", "scenario.toml"]);
    snapshot(&ran.expect(2));
    let ran = runner.run(&["plugin", "build", "filter"]);
    ran.expect(0).says(&["filter/dist/plugin.wasm"]);
    let ran = runner.run(&["exec", "--build", "scenario.toml"]);
    assert!(!ran.stderr.contains("building"), "{}", ran.stderr);
}

#[test]
fn compilation_of_a_folder_names_the_provider() {
    let runner = Runner::new(&["hostile"]);
    source(&runner, "component");
    runner.write(
        "filter/scenario.toml",
        "[providers.shout]\nplugin = \".\"\n[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n",
    );
    let mut command = runner.command(&["exec", "--build", "filter/scenario.toml"]);
    let ran = Running::start(command.env("RUNNER_CACHE", runner.path("cache"))).finish();
    snapshot(&ran);
}

#[test]
fn another_kind_than_promised_is_refused() {
    let runner = Runner::new(&["hostile"]);
    source(&runner, "command");
    let ran = runner.run(&["plugin", "build", "filter"]);
    snapshot(&ran.expect(3));
    runner.write("filter/plugin.toml", "name = \"filter\"\nkind = \"program\"\n");
    let ran = runner.run(&["plugin", "build", "filter"]);
    snapshot(&ran.expect(2));
    let ran = runner.run(&["plugin", "build", "nowhere"]);
    ran.expect(2).says(&["no `plugin.toml`"]);
}

#[test]
fn c_template_is_tested_with_zig_of_pip() {
    let runner = Runner::new(&[]);
    runner.run(&["plugin", "new", "word", "--lang", "c"]).expect(0);
    let zig = runner.path("python-zig");
    fs::write(&zig, "#!/bin/sh\necho \"$1\" from pip\nexit 1\n").unwrap();
    fs::set_permissions(&zig, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", runner.path("").display(), env::var("PATH").unwrap());
    let mut test = Command::new("sh");
    test.arg(runner.path("word/test.sh")).env("PATH", path).env_remove("CC");
    assert_eq!(finished(&mut test).stdout, "cc from pip\n");
}

#[test]
fn failed_build_names_only_missing_tools() {
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("filter")).unwrap();
    let built = |line: &str| {
        let text = format!("name = \"filter\"\nkind = \"command\"\nbuild = '{line}'\n");
        runner.write("filter/plugin.toml", text);
        let mut command = runner.command(&["plugin", "build", "filter"]);
        Running::start(command.env("PATH", "/nowhere")).finish().expect(3).stderr
    };
    let stderr = built("go build -o dist/plugin.wasm .");
    assert!(stderr.contains("`go` is missing: install Go"), "{stderr}");
    // Some tools would print their own stack after the author's error.
    let stderr = built("echo backtrace=$RUST_LIB_BACKTRACE; exit 1");
    assert!(stderr.contains("backtrace=0") && !stderr.contains("missing"), "{stderr}");
}

#[test]
fn missing_tools_are_shown_with_their_installation() {
    let runner = Runner::new(&[]);
    let ran = runner.run(&["plugin", "doctor", "--lang", "go", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let go = &found["tools"][0];
    assert_eq!(go["tool"], "go");
    assert!(go["install"].as_str().unwrap().contains("go.dev"));
    assert_eq!(ran.code, Some(i32::from(go["version"].is_null())));
    let ran = runner.run(&["plugin", "doctor"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for tool in ["cargo", "componentize-py", "node", "zig", "go"] {
        ran.says(&[tool]);
    }
}

#[test]
fn doctor_shows_the_language_of_a_folder() {
    let runner = Runner::new(&[]);
    for language in ["rust", "python", "javascript", "c", "go"] {
        runner.run(&["plugin", "new", language, "--lang", language]).expect(0);
        let ran = runner.run(&["plugin", "doctor", language, "--json"]).expect(0);
        let tools = ran.document()["tools"].clone();
        let tools = tools.as_array().unwrap();
        assert!(!tools.is_empty());
        assert!(tools.iter().all(|tool| tool["language"] == language), "{tools:?}");
    }
}

#[test]
fn signal_after_a_build_stops_the_command() {
    let runner = Runner::new(&["hostile"]);
    source(&runner, "component");
    runner.scenario("[providers.filter]\nplugin = \"filter\"\n[[tests]]\nid = \"a\"\n");
    for args in [
        &["plugin", "build", "filter"][..],
        &["exec", "--build", "scenario.toml"],
        &["exec", "--build", "--dry-run", "scenario.toml"],
    ] {
        let _ = fs::remove_dir_all(runner.path("filter/dist"));
        let mut command = runner.command(args);
        let ran = Running::start(command.env("RUNNER_TEST_SIGNAL", "kept")).finish().expect(143);
        ran.says(&["stopped by SIGTERM"]);
        assert_eq!(ran.stdout, "", "{args:?}");
        assert!(runner.runs().is_empty());
    }
}

#[test]
fn signals_end_all_tools_of_a_build() {
    let runner = Runner::new(&["hostile"]);
    source(&runner, "component");
    runner.scenario("[providers.filter]\nplugin = \"filter\"\n[[tests]]\nid = \"a\"\n");
    let build = "build = \"sh -c 'echo $$ > ../tool; exec sleep 1000'; true\"\n";
    runner.write("filter/plugin.toml", format!("name = \"filter\"\nkind = \"component\"\n{build}"));
    for args in [&["plugin", "build", "filter"][..], &["exec", "--build", "scenario.toml"]] {
        let running = runner.started(args);
        let tool = wait_for("the build runs", || {
            fs::read_to_string(runner.path("tool")).ok()?.trim().parse().ok().map(Process)
        });
        fs::remove_file(runner.path("tool")).unwrap();
        running.end_by(Signal::TERM).0.expect(143).says(&["stopped by SIGTERM"]);
        wait_until("the tool has ended", || !tool.is_alive());
        assert!(runner.runs().is_empty());
    }
}
