//! Habits of wording that make texts hard to read, counted in helps, messages, comments and pages.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::messages::commands;
use crate::support::{guests::root, runner::Runner};

/// Each habit, a pattern for it, and its greatest number in 1,000 lines.
const HABITS: [(&str, &str, usize); 14] = [
    (
        "\"what\" clauses",
        r"\b(?:of|for|with|to|in|by|from|that|says?|is|and|or|than|at|takes?|shows?|knows?|reads?|makes?|keeps?|gives?|names?|decides?) what\b",
        2,
    ),
    ("bare questions", r"^(?:Why|When|Where|Who|Which|How (?:long|many|much|often))\b[^?]*$", 2),
    ("speech for data", r"\b(?:says|said|tells|told|hears?|heard|speaks?|is asked|are asked)\b", 2),
    (
        "people for things",
        r"\b(?:whoever|whatever|nobody|somebody|those who|the one (?:that|which))\b",
        2,
    ),
    ("begin for start", r"\b(?:begins?|began|begun|births?|born)\b", 2),
    ("behind, beside, stands", r"\b(?:behind|beside|stands?|stood)\b", 2),
    ("pronoun first", r"^(?:Its|Those|They|These)\b", 4),
    ("none as predicate", r"\b(?:is|are|be) none\b|\bnone (?:if|where|of)\b|[;,] none\b", 2),
    ("go on", r"\bgo(?:es|ing)? on\b|\bwent on\b", 1),
    ("of which", r"\bof which\b", 2),
    (
        "old words",
        r"\b(?:anew|[Cc]ame to|lest|perhaps|thereby|thereof|whence|asks? for|asked for)\b",
        2,
    ),
    ("so many", r"\b[Ss]o (?:many|much|long|late|often|large)\b", 1),
    // `there is no`, `is no longer` and `is no more` are left out.
    (
        "no as predicate",
        r"(?:^|[^e]|[^r]e|[^e]re|[^h]ere|[^Tt]here) (?:is|are|was|were) no (?:[a-kn-z]|l[^o])",
        0,
    ),
    (
        "phrases that users stumbled over",
        r"\b(?:known here|(?:matches|lowers|for) nothing|gate (?:not )?held|always (?:failed|timeout))\b",
        0,
    ),
];

#[test]
#[expect(clippy::print_stdout, reason = "`--nocapture` prints the counts")]
fn texts_have_few_habits_of_wording() {
    let runner = Runner::new(&[]);
    let mut helps = Vec::new();
    for command in commands(&runner) {
        let args = [vec!["help"], command.split(' ').collect()].concat();
        let help = runner.run(&args).expect(0).stdout;
        helps.extend(help.lines().map(|line| (format!("help {command}"), line.trim().to_owned())));
    }
    let literal = Regex::new(r#""((?:\\.|[^"\\])* (?:\\.|[^"\\])*)""#).unwrap();
    let mut messages = Vec::new();
    for path in files(&root().join("runner"), &["rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let literals = literal.captures_iter(line).map(|found| found[1].to_owned());
            messages.extend(literals.map(|text| (path.display().to_string(), text)));
        }
    }
    // Authors of plugins read the SDK first, and packagers the scripts.
    let others = ["plugins", "tests/support", "fuzz", "packaging"];
    let mut pages = Vec::new();
    for path in files(&root().join("docs"), &["md"]) {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(|line| line.trim_start_matches(['*', '|', ' ']).to_owned());
        pages.extend(lines.map(|line| (path.display().to_string(), line)));
    }
    let kinds = [
        ("helps", helps),
        ("messages", messages),
        ("comments", comments("runner").collect()),
        ("other comments", others.into_iter().flat_map(comments).collect()),
        ("pages", pages),
    ];
    for (kind, texts) in kinds {
        for (habit, pattern, most) in HABITS {
            let pattern = Regex::new(pattern).unwrap();
            let found: Vec<_> = texts.iter().filter(|(_, text)| pattern.is_match(text)).collect();
            let most = most * texts.len() / 1000;
            println!("{kind}, {habit}: {} of {most}", found.len());
            assert!(found.len() <= most, "{kind}, {habit}: {found:#?}");
        }
    }
}

/// Returns the comment lines of programs and scripts below a folder, with their files.
fn comments(folder: &str) -> impl Iterator<Item = (String, String)> {
    files(&root().join(folder), &["rs", "wit", "sh", "py", ""]).into_iter().flat_map(|path| {
        let is_script = !["rs", "wit"].iter().any(|known| path.extension() == Some(known.as_ref()));
        let mark = if is_script { "#" } else { "//" };
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().map(str::trim).filter(|line| line.starts_with(mark));
        let lines = lines.map(|line| line.trim_start_matches(['/', '#', '!', ' ']).to_owned());
        lines.map(|line| (path.display().to_string(), line)).collect::<Vec<_>>()
    })
}

/// Returns the files with these extensions below a folder. Tests and templates are left out.
fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if path.is_dir()
            && !["tests", "templates", "fuzz", "target", "node_modules"].contains(&&*name)
        {
            found.extend(files(&path, extensions));
        } else if path.is_file() && extensions.contains(&&*extension) && name != "tests.rs" {
            found.push(path);
        }
    }
    found
}
