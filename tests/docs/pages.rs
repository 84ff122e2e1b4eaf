//! Pages and their code blocks.
//!
//! A comment above a block has its conditions, such as `<!-- with: a running run; exit: 4 -->`:
//!
//! * `with`: a state of [`super::session`] that the block needs; `for each line` prepares it again for every line.
//! * `exit`: the exit code of the block, or of its last line. The default is 0.
//! * `file`: the block is the content of this file.
//! * `in`: the block is run by another test, such as those of `tests/machines`, or by `.ci/run`.
//! * `example`: the block is written by `./update`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use regex::Regex;

/// A code block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// Page and line, for messages.
    pub(crate) place: String,
    pub(crate) language: String,
    /// Whether the block continues the scenario of an earlier block.
    pub(crate) is_fragment: bool,
    pub(crate) text: String,
    conditions: Vec<(String, String)>,
}

/// How a block is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `validate` accepts it, and `exec` passes if its providers need no network.
    Scenario,
    /// It is added to the page's last scenario.
    Fragment,
    /// `runner plugin build` builds a folder with it.
    PluginToml,
    /// `runner.toml` of a results root.
    Settings,
    /// `sh -eu` runs it.
    Shell,
    /// It is written into the folder of the page.
    File,
    /// It is a part of the output of the block before it, without gaps.
    Output,
    /// A real command sends it as its message of the JSON protocol.
    Message,
    /// It is real output of the program.
    Example,
    /// Another test has it, such as `toolchains.rs`, which has the tools of all languages.
    Elsewhere,
}

/// Returns the blocks of the page with this path from the root of the repository.
pub(crate) fn blocks(path: &str) -> Vec<Block> {
    let text = fs::read_to_string(root().join(path)).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut comment, mut is_open) = ("", false);
    for (number, line) in text.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (fence, is_open) {
            (Some(info), false) => {
                let mut words = info.split(' ');
                let language = words.next().unwrap().to_owned();
                let marks: Vec<_> = words.collect();
                let place = format!("{path}:{}", number + 1);
                assert!(matches!(marks[..], [] | ["fragment"]), "{place}: {info}");
                blocks.push(Block {
                    is_fragment: !marks.is_empty(),
                    conditions: conditions(comment),
                    place,
                    language,
                    text: String::new(),
                });
            }
            (None, true) => {
                let block = blocks.last_mut().unwrap();
                block.text += line;
                block.text += "\n";
            }
            _ => {}
        }
        is_open ^= fence.is_some();
        comment = line;
    }
    assert!(!is_open, "{path} ends in a block");
    blocks
}

fn conditions(comment: &str) -> Vec<(String, String)> {
    let inner = comment.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    let conditions = inner.into_iter().flat_map(|inner| inner.split("; "));
    let pairs = conditions.filter_map(|condition| condition.split_once(": "));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Block {
    pub(crate) fn condition(&self, key: &str) -> Option<&str> {
        let found = self.conditions.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Returns how the block is tested. `None` fails the test.
    pub(crate) fn kind(&self) -> Option<Kind> {
        let has_line = |start: &str| self.text.lines().any(|line| line.starts_with(start));
        let is_scenario =
            has_line("[providers.") && (has_line("[[tests]]") || has_line("[[test_lists]]"));
        let other = ["with", "exit", "file", "in", "example"];
        if self.conditions.iter().any(|(key, _)| !other.contains(&key.as_str())) {
            return None;
        }
        match (self.language.as_str(), self.is_fragment) {
            _ if ["toolchains", "embedding", "ci", "machines"]
                .map(Some)
                .contains(&self.condition("in")) =>
            {
                Some(Kind::Elsewhere)
            }
            _ if self.condition("example").is_some() => Some(Kind::Example),
            ("toml", true) => Some(Kind::Fragment),
            ("toml", false) if is_scenario => Some(Kind::Scenario),
            _ if self.condition("file").is_some() => Some(Kind::File),
            ("toml", false) if has_line("build = ") => Some(Kind::PluginToml),
            ("toml", false) if has_line("[retention]") => Some(Kind::Settings),
            ("sh", false) => Some(Kind::Shell),
            ("text", false) => Some(Kind::Output),
            ("json", false) => Some(Kind::Message),
            _ => None,
        }
    }
}

/// Returns the paths of all pages whose blocks are tested.
pub(crate) fn all() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for folder in ["docs", "docs/tutorials", "plugins"] {
        add(folder, &mut found);
    }
    for entry in fs::read_dir(root().join("plugins")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        add(&format!("plugins/{name}"), &mut found);
    }
    found.sort();
    found
}

/// Returns the paths of the pages for contributors, which have no blocks.
pub(crate) fn for_contributors() -> Vec<String> {
    let mut found = vec!["ARCHITECTURE.md".to_owned(), "SECURITY.md".to_owned()];
    add("docs/design", &mut found);
    found
}

/// Returns the root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Adds the pages in a folder.
fn add(folder: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(root().join(folder)) else { return };
    for entry in entries {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if Path::new(&name).extension().is_some_and(|extension| extension == "md") {
            found.push(format!("{folder}/{name}"));
        }
    }
}

/// Replaces ids, times and durations.
pub(crate) fn normal(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, word) in [
        (r"\d{4}-\d\d-\d\d_[\d-]+-([a-z0-9-]+)-[0-9a-f]{8}\b", "RUN-$1"),
        (r"\b[0-9a-f]{8}\b", "RUN"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
        (r"\bjust now\b", "1 min ago"),
        // The program prints no `0.2 ms`.
        (r"\b[1-9]\d*(\.\d+)? (µs|ms|s|min( \d+ s)?)\b", "DURATION"),
        (r"\b\d+ at a time", "N at a time"),
        (r" +", " "),
    ] {
        text = Regex::new(pattern).unwrap().replace_all(&text, word).into_owned();
    }
    text
}
