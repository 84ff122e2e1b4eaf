//! The pages for people who write providers: every block of code on them is what the program really takes.
//!
//! The pages of the languages are written by `UPDATE=1 cargo test docs`, from the templates of `runner plugin new`: what
//! is on them is built and run with the tools of its language by `tests/toolchains.rs`.

use std::path::{Path, PathBuf};

use clap::Parser as _;
use fs_err as fs;
use runner::{cli::Cli, plugin::source::Source};
use serde_json::{Value, json};

use crate::support::{fresh::expect_file, runner::Runner};

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

/// A fenced block of code.
struct Block {
    page: PathBuf,
    line: usize,
    language: String,
    text: String,
}

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
            // `text` is what a program prints, `rust` is tested with the SDK, the languages with the templates.
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
        for arguments in runner_calls(&block.text) {
            let arguments = std::iter::once("runner".to_owned()).chain(arguments);
            if let Err(error) = Cli::try_parse_from(arguments) {
                panic!("{}: {error}", block.place());
            }
        }
    }
}

#[test]
fn every_toml_block_is_a_scenario_or_the_manifest_of_a_plugin() {
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
        .filter(|(_, value)| value.get("trial_id").is_none())
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
fn every_block_of_rust_is_compiled_with_the_sdk() {
    let included_pages = fs::read_to_string("plugins/sdk/src/pages.rs").unwrap();
    for block in blocks_of("rust") {
        let page = block.page.file_name().unwrap().to_str().unwrap();
        let included = format!("include_str!(\"../../{page}\")");
        assert!(included_pages.contains(&included), "{}", block.place());
    }
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let link = regex::Regex::new(r"\]\(([^)#:]+)(#[^)]*)?\)").unwrap();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for captures in link.captures_iter(&text) {
            let target = page.parent().unwrap().join(&captures[1]);
            assert!(target.exists(), "{}: {}", page.display(), &captures[1]);
        }
    }
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page.display(), self.line)
    }
}

/// The pages in `plugins/` and in the folders of the plugins.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for pattern in ["plugins", "plugins/http", "plugins/chat"] {
        let files = fs::read_dir(Path::new(pattern)).unwrap();
        let files = files.map(|entry| entry.unwrap().path());
        pages.extend(files.filter(|path| path.extension().is_some_and(|end| end == "md")));
    }
    assert!(pages.len() > 5);
    pages
}

fn blocks() -> Vec<Block> {
    pages()
        .into_iter()
        .flat_map(|page| blocks_in(&page))
        .collect()
}

fn blocks_of(language: &str) -> Vec<Block> {
    let blocks: Vec<_> = blocks()
        .into_iter()
        .filter(|block| block.language == language)
        .collect();
    assert!(!blocks.is_empty(), "no page has a block of `{language}`");
    blocks
}

fn json_blocks() -> impl Iterator<Item = (Block, Value)> {
    blocks_of("json").into_iter().map(|block| {
        let value = serde_json::from_str(&block.text);
        let value = value.unwrap_or_else(|error| panic!("{}: {error}", block.place()));
        (block, value)
    })
}

fn blocks_in(page: &Path) -> Vec<Block> {
    let text = fs::read_to_string(page).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(_) if is_inside => is_inside = false,
            Some(language) => {
                is_inside = true;
                blocks.push(Block {
                    page: page.to_owned(),
                    line: index + 1,
                    language: language.to_owned(),
                    text: String::new(),
                });
            }
            None if is_inside => {
                let block = blocks.last_mut().unwrap();
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
        }
    }
    blocks
}

/// The arguments of every call of the program in a script, as a shell splits them.
fn runner_calls(script: &str) -> Vec<Vec<String>> {
    let calls: String = script
        .lines()
        .filter(|line| line.starts_with("runner "))
        .map(|line| format!("{line}\n"))
        .collect();
    let prelude = r#"runner() { for argument; do printf '%s\n' "$argument"; done; printf '\n'; }"#;
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
