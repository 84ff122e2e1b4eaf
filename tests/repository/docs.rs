//! The documentation: every block of code on its pages is what the program really takes, and every link leads somewhere.
//! What the program prints on them is tested by `printed.rs`, what is made of its own tables by `reference.rs`.
//!
//! The pages of the languages are written by `UPDATE=1 cargo test docs`, from the templates of `runner plugin new`: what
//! is on them is built and run with the tools of its language by `tests/toolchains.rs`.

use std::{collections::BTreeSet, path::Path};

use clap::Parser as _;
use fs_err as fs;
use regex::Regex;
use runner::{
    cli::Cli,
    record,
    scenario::{self, Selection},
    toolchain::Source,
};
use serde_json::{Value, json};

use crate::support::{
    fresh::expect_file,
    pages::{Block, blocks, blocks_of, pages, pages_about_the_inside, prose, read},
    runner::Runner,
};

/// A language that has a template.
struct Language {
    name: &'static str,
    /// The name of its page, and its `--lang`.
    word: &'static str,
    /// The files of the template that the page shows, and as what.
    shown: &'static [(&'static str, &'static str)],
}

const LANGUAGES: [Language; 5] = [
    Language {
        name: "Rust",
        word: "rust",
        shown: &[("src/lib.rs", "rust")],
    },
    Language {
        name: "Python",
        word: "python",
        shown: &[("provider.py", "python"), ("test_provider.py", "python")],
    },
    Language {
        name: "JavaScript",
        word: "javascript",
        shown: &[
            ("shout.js", "javascript"),
            ("provider.js", "javascript"),
            ("shout.test.js", "javascript"),
        ],
    },
    Language {
        name: "C",
        word: "c",
        shown: &[("src/provider.c", "c"), ("test.sh", "text")],
    },
    Language {
        name: "Go",
        word: "go",
        shown: &[("main.go", "go"), ("main_test.go", "go")],
    },
];

/// A line that calls the program, whatever is done with what it prints.
const CALL: &str = r"^(?:cargo run --release -- |.*?\$\(runner |runner )(.*?)\)?$";

/// Lines of shell on the README and in the reference that do not call the program, and how they are tested.
const OTHER_COMMANDS: [(&str, &str); 5] = [
    ("cd shout", "as on the pages for authors"),
    ("cat README.md", "as on the pages for authors"),
    (
        "mkdir results && chgrp testers results && chmod g+ws results",
        "needs a group; `tests/record/sharing.rs` has what comes of it",
    ),
    ("umask 007", "the same"),
    (
        "cargo run -p toml-tagged --example toml-conformance",
        "`tests/repository/scenarios.rs` calls what it calls",
    ),
];

#[test]
fn each_language_has_a_page_of_what_its_template_is() {
    let runner = Runner::new(&[]);
    for Language { name, word, shown } in LANGUAGES {
        let folder = format!("{word}/shout");
        fs::create_dir(runner.path(word)).unwrap();
        let new = runner.run(&["plugin", "new", &folder, "--lang", word]);
        new.expect(0);

        let read = |file: &str| fs::read_to_string(runner.path(&folder).join(file)).unwrap();
        let readme = read("README.md");
        let (_, rest) = readme.split_once("```sh\n").unwrap();
        let mut page = format!(
            "# A provider in {name}\n\n`runner plugin new shout --lang {word}` makes a folder with a provider that answers a text in \
             capitals and counts its words. In it, these commands build, test and run it:\n\n```sh\n{rest}"
        );
        for (file, block) in shown {
            page.push_str(&format!("\n## `{file}`\n\n```{block}\n{}```\n", read(file)));
        }
        let path = Path::new("plugins").join(format!("{word}.md"));
        expect_file(&path, &page);
    }
}

#[test]
fn every_block_is_of_a_kind_that_is_tested() {
    for block in blocks() {
        let is_known = matches!(
            block.language.as_str(),
            // `rust` is tested with the SDK, the other languages with the templates.
            "sh" | "toml" | "json" | "text" | "rust" | "python" | "javascript" | "c" | "go"
        );
        assert!(
            is_known,
            "{}: `{}` is not tested",
            block.place(),
            block.language
        );
    }
}

#[test]
fn every_command_line_is_one() {
    for block in blocks_of("sh") {
        let calls = runner_calls(&block.text);
        for arguments in calls {
            let arguments = std::iter::once("runner".to_owned()).chain(arguments);
            if let Err(error) = Cli::try_parse_from(arguments) {
                panic!("{}: {error}", block.place());
            }
        }
    }
}

#[test]
fn every_other_command_line_has_a_reason() {
    let is_call = Regex::new(CALL).unwrap();
    let readme = read("README.md");
    // `.ci/run` runs them line by line.
    let (_, development) = readme.split_once("\n## Development\n").unwrap();
    // Those for authors are followed by `tests/toolchains.rs`.
    let blocks = blocks_of("sh").into_iter();
    for block in blocks.filter(|block| !block.is_for_authors()) {
        for line in block.text.lines() {
            let command = line.split('#').next().unwrap().trim_end();
            // `tests/readers.rs` runs them, with their answers.
            let is_known = is_call.is_match(line)
                || block.page == Path::new("docs/serve.md")
                || OTHER_COMMANDS.iter().any(|(known, _)| *known == command)
                || block.page == Path::new("README.md") && development.contains(line);
            assert!(is_known, "{}: {line}", block.place());
        }
    }
}

#[test]
fn every_toml_block_is_a_scenario_or_settings_or_the_manifest_of_a_plugin() {
    for block in blocks_of("toml") {
        let mut table: toml::Table = block.text.parse().unwrap();
        let runner = Runner::new(&[]);
        if table.contains_key("kind") {
            runner.write("plugin.toml", &block.text);
            let folder = runner.path("plugin.toml");
            let source = Source::open(folder.parent().unwrap());
            assert!(source.is_ok(), "{}: {source:?}", block.place());
            continue;
        }
        if block.page.ends_with("settings.md") {
            runner.write("results/runner.toml", &block.text);
            let ran = runner.run(&["queue"]);
            assert_eq!(ran.code, Some(0), "{}:\n{}", block.place(), ran.stderr);
            continue;
        }
        if !block.is_for_authors() {
            assert_runs_in_the_repository(&block);
            continue;
        }
        complete(&mut table);
        make_named_files(&runner, &table);
        runner.scenario(&table.to_string());
        let ran = runner.run(&["validate", "scenario.toml"]);
        assert_eq!(ran.code, Some(0), "{}:\n{}", block.place(), ran.stderr);
    }
}

#[test]
fn every_answer_is_one_of_the_command_protocol() {
    let answers: Vec<_> = json_blocks()
        .filter(|(_, value)| value.get("ok").or(value.get("err")).is_some())
        .collect();
    assert!(!answers.is_empty());

    let runner = Runner::new(&["command"]);
    let mut scenario =
        "[providers.it]\nplugin = \"command.wasm\"\nprotocol = \"json\"\n".to_owned();
    for (index, (_, answer)) in answers.iter().enumerate() {
        // A description is judged by `describe`, which has to be one as well; `run` takes replies and errors.
        let answer =
            if answer["ok"].get("summary").is_some() && answer["ok"].get("version").is_some() {
                json!({"ok": {"output": null}})
            } else {
                answer.clone()
            };
        let input = json!({"do": "print", "text": answer.to_string()});
        let input = toml::Value::try_from(input).unwrap();
        scenario.push_str(&format!(
            "[[tests]]\nid = \"block-{index}\"\ninput = {input}\n"
        ));
    }
    runner.scenario(&scenario);
    runner.run(&["exec", "scenario.toml"]);

    let run = runner.only_run();
    for (index, (block, answer)) in answers.iter().enumerate() {
        let row = run.row(&format!("block-{index}"));
        match answer.get("err") {
            Some(error) => assert_eq!(row["error"]["class"], error["kind"], "{}", block.place()),
            None => assert_eq!(row["outcome"], "passed", "{}: {row}", block.place()),
        }
    }
}

#[test]
fn every_question_is_what_a_command_reads() {
    let questions: Vec<_> = json_blocks()
        .filter(|(_, value)| value.get("trial_id").is_some())
        .collect();
    assert!(!questions.is_empty());
    let runner = Runner::new(&["command"]);
    runner.scenario(
        r#"
[providers.it]
plugin = "command.wasm"
protocol = "json"
[[tests]]
id = "greeting"
input = { do = "test" }
"#,
    );
    runner.exec(&[]).expect(0);
    let asked = runner.only_run().row("greeting")["output"].clone();
    for (block, question) in questions {
        let written = question.as_object().unwrap();
        let read = asked.as_object().unwrap();
        assert!(written.keys().eq(read.keys()), "{}", block.place());
        for key in [
            "trial_id", "test_id", "provider", "repeat", "attempt", "seed",
        ] {
            assert_eq!(written[key], read[key], "{}: `{key}`", block.place());
        }
    }
}

#[test]
fn every_other_json_is_a_row_or_a_line_of_logs() {
    let row = jsonschema::validator_for(&record::row_schema()).unwrap();
    let log_line = jsonschema::validator_for(&record::log_line_schema()).unwrap();
    for (block, value) in json_blocks() {
        let schema = match value.get("log") {
            Some(_) => &log_line,
            None => &row,
        };
        let is_told = ["trial_id", "ok", "err"]
            .iter()
            .any(|key| value.get(key).is_some());
        if !is_told {
            let errors: Vec<_> = schema
                .iter_errors(&value)
                .map(|error| error.to_string())
                .collect();
            assert_eq!(errors, [""; 0], "{}", block.place());
        }
    }
}

#[test]
fn every_block_of_rust_is_compiled_with_the_sdk() {
    let included_pages = read("plugins/sdk/src/pages.rs");
    for block in blocks_of("rust") {
        let included = match block.page.strip_prefix("plugins") {
            Ok(page) => format!("include_str!(\"../../{}\")", page.display()),
            Err(_) => format!("include_str!(\"../../../{}\")", block.page.display()),
        };
        assert!(included_pages.contains(&included), "{}", block.place());
    }
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let link = Regex::new(r"\]\(([^)#:]*)(?:#([^)]*))?\)").unwrap();
    let mut dead = Vec::new();
    for page in [pages(), pages_about_the_inside()].concat() {
        for captures in link.captures_iter(&prose(&page)) {
            let target = match &captures[1] {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let anchor = captures.get(2).map(|anchor| anchor.as_str());
            let leads =
                target.exists() && anchor.is_none_or(|anchor| anchors(&target).contains(anchor));
            if !leads {
                dead.push(format!("{}: {}", page.display(), &captures[0]));
            }
        }
    }
    assert_eq!(dead, [""; 0]);
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 300);
}

#[test]
fn the_index_leads_to_every_page() {
    let index = prose(Path::new("docs/README.md"));
    for page in [pages(), pages_about_the_inside()].concat() {
        let link = match page.strip_prefix("docs") {
            Ok(name) => name.to_owned(),
            Err(_) => Path::new("..").join(&page),
        };
        // Those of the bundled providers are named where those are.
        let is_elsewhere = page.starts_with("plugins/http") || page.starts_with("plugins/chat");
        let is_linked = index.contains(&format!("]({})", link.display()));
        assert!(
            is_linked || is_elsewhere || link == Path::new("README.md"),
            "{}",
            page.display()
        );
    }
}

/// The anchors that hosting sites make of a page's headings.
fn anchors(page: &Path) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(page).lines() {
        let Some((_, heading)) = line
            .split_once("# ")
            .filter(|(level, _)| level.chars().all(|character| character == '#'))
        else {
            continue;
        };
        let anchor: String = heading
            .to_lowercase()
            .chars()
            .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
            .map(|character| if character == ' ' { '-' } else { character })
            .collect();
        assert!(
            anchors.insert(anchor),
            "{}: `{heading}` is there twice",
            page.display()
        );
    }
    anchors
}

/// Reads a scenario as if it lay beside the examples, whose plugins and lists it may name.
fn assert_runs_in_the_repository(block: &Block) {
    let parsed = scenario::parse(Path::new("scenarios/page.toml"), &block.text);
    let scenario = parsed.unwrap_or_else(|error| panic!("{}: {error:?}", block.place()));
    let suite = scenario::normalise(&scenario, &Selection::default());
    let suite = suite.unwrap_or_else(|error| panic!("{}: {error:?}", block.place()));
    assert!(suite.trial_count() > 0, "{}", block.place());
}

fn json_blocks() -> impl Iterator<Item = (Block, Value)> {
    blocks_of("json").into_iter().map(|block| {
        let value = serde_json::from_str(&block.text);
        let value = value.unwrap_or_else(|error| panic!("{}: {error}", block.place()));
        (block, value)
    })
}

/// The arguments of every call of the program in a script, as a shell splits them.
fn runner_calls(script: &str) -> Vec<Vec<String>> {
    let call = Regex::new(CALL).unwrap();
    let calls: String = script
        .lines()
        // Nothing is written where the page says so.
        .filter_map(|line| line.split(" > ").next())
        .filter_map(|line| call.captures(line))
        .map(|found| format!("runner {}\n", &found[1]))
        .collect();
    let prelude = r#"run=latest; runner() { for argument; do printf '%s\n' "$argument"; done; printf '\n'; }"#;
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("{prelude}\n{calls}")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}");
    let text = String::from_utf8(output.stdout).unwrap();
    let calls = text.split("\n\n").filter(|call| !call.is_empty());
    calls
        .map(|call| call.lines().map(str::to_owned).collect())
        .collect()
}

/// Makes a scenario of a part of one.
fn complete(part: &mut toml::Table) {
    let tests = toml::toml! {
        [[tests]]
        id = "a"
    };
    part.entry("tests").or_insert(tests["tests"].clone());
    let providers = part
        .get_mut("providers")
        .and_then(toml::Value::as_table_mut);
    for (_, provider) in providers.into_iter().flatten() {
        let provider = provider.as_table_mut().unwrap();
        provider.entry("plugin").or_insert("it.wasm".into());
    }
}

/// Makes the plugins and folders that a scenario names.
fn make_named_files(runner: &Runner, scenario: &toml::Table) {
    let Some(providers) = scenario.get("providers").and_then(toml::Value::as_table) else {
        return;
    };
    for provider in providers.values() {
        runner.write(provider["plugin"].as_str().unwrap(), "");
        let granted = provider.get("grants").and_then(|grants| grants.get("fs"));
        let granted = granted.and_then(toml::Value::as_array);
        for folder in granted.into_iter().flatten() {
            let path = runner.path(folder["path"].as_str().unwrap());
            fs::create_dir_all(path).unwrap();
        }
    }
}
