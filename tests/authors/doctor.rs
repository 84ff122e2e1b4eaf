//! `plugin doctor` looks at a folder and executes nothing of it.

use std::{env, fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::support::{runner::Runner, running::Running};

/// Programs that commands of the runner, or the tools that they start, could look for.
const PROGRAMS: [&str; 12] = [
    "sh",
    "cargo",
    "rustc",
    "go",
    "node",
    "npm",
    "python3",
    "zig",
    "python-zig",
    "git",
    "test",
    "componentize-py",
];

/// Creates a program that leaves the file `ran` in the runner's folder.
fn trap(runner: &Runner, name: &str) {
    let path = runner.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let ran = runner.path("ran");
    fs::write(&path, format!("#!/bin/sh\necho \"$0\" >> '{}'\necho 9.9.9\n", ran.display()))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Creates a plugin's folder whose tools, build line and settings of tools are all traps.
fn trapped() -> Runner {
    let runner = Runner::new(&["hostile"]);
    for program in PROGRAMS {
        for folder in [".venv/bin", "node_modules/.bin", "toolchain/bin", "."] {
            trap(&runner, &format!("{folder}/{program}"));
        }
    }
    let ran = runner.path("ran");
    let module = "node_modules/@bytecodealliance/componentize-js";
    fs::create_dir_all(runner.path(module)).unwrap();
    runner.write(
        &format!("{module}/package.json"),
        r#"{"type": "module", "main": "index.js", "version": "0.21.0"}"#,
    );
    runner.write(
        &format!("{module}/index.js"),
        format!("import fs from 'fs'; fs.writeFileSync({:?}, 'node');", ran.display()),
    );
    // rustup takes its programs from here if it is started in this folder.
    runner.write("rust-toolchain.toml", "[toolchain]\npath = \"toolchain\"\n");
    runner.write(
        "plugin.toml",
        format!(
            "name = \"trapped\"\nkind = \"component\"\nbuild = \"touch '{}'\"\n",
            ran.display()
        ),
    );
    runner.scenario("[providers.p]\nplugin = \".\"\n[[tests]]\nid = \"a\"\n");
    runner
}

#[test]
fn doctor_runs_nothing_of_a_folder() {
    let runner = trapped();
    let path = env::var("PATH").unwrap();
    // Relative entries of `PATH` lead into the folder, too.
    for path in [path.clone(), format!(".:.venv/bin::{path}")] {
        for args in [&["plugin", "doctor"][..], &["plugin", "doctor", ".", "--lang", "rust"]] {
            let mut command = runner.command(args);
            Running::start(command.env("PATH", &path)).finish();
            assert!(!runner.path("ran").exists(), "{args:?} with {path}");
        }
    }
}

#[test]
fn only_builds_run_programs_of_folders() {
    let runner = trapped();
    for args in [
        &["plugin", "inspect", "."][..],
        &["plugin", "run", ".", "--input", "1"],
        &["validate", "scenario.toml"],
        &["exec", "scenario.toml"],
        &["exec", "scenario.toml", "--dry-run"],
        &["list"],
    ] {
        runner.run(args);
        assert!(!runner.path("ran").exists(), "{args:?}");
    }
    runner.run(&["plugin", "build", "."]).expect(3);
    assert!(runner.path("ran").exists(), "the build line did not run");
    let ran = fs::read_to_string(runner.path("ran")).unwrap();
    assert!(!ran.contains("/sh"), "`sh` is not the system's: {ran}");
}

#[test]
fn tools_of_a_folder_are_found() {
    let runner = trapped();
    fs::create_dir_all(
        runner.path(".venv/lib/python3.11/site-packages/componentize_py-0.25.1.dist-info"),
    )
    .unwrap();
    for (language, tool, version) in [
        ("python", ".venv/bin/componentize-py", Some("0.25.1")),
        (
            "javascript",
            "node_modules/@bytecodealliance/componentize-js/package.json",
            Some("0.21.0"),
        ),
        ("c", ".venv/bin/zig", None),
    ] {
        let ran = runner.run(&["plugin", "doctor", "--lang", language, "--json"]).expect(0);
        let tools = ran.document()["tools"].clone();
        let found = tools.as_array().unwrap().last().unwrap();
        let file = Path::new(found["file"].as_str().unwrap());
        assert_eq!(file.strip_prefix(".").unwrap(), Path::new(tool));
        assert_eq!(found["version"].as_str(), version, "{language}");
        let shown = runner.run(&["plugin", "doctor", "--lang", language]).expect(0);
        assert!(shown.stdout.trim_end().ends_with(version.unwrap_or(tool)), "{}", shown.stdout);
    }
    assert!(!runner.path("ran").exists());
    fs::remove_dir_all(runner.path(".venv")).unwrap();
    let mut command = runner.command(&["plugin", "doctor", "--lang", "python"]);
    let ran = Running::start(command.env("PATH", "/nowhere")).finish().expect(1);
    ran.says(&["componentize-py", "missing"]);
}
