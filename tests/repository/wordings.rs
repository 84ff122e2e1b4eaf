//! A bound on the sentences of the program that tests repeat: each is one more place to change by hand with the sentence.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use regex::{Captures, Regex};

use super::entries;
use crate::support::guests::root;

/// Literals of three words or more in assertions. Only shrinks.
const MAX_LITERALS: usize = 600;

/// Assertions, with the number of arguments that are compared. The other ones are messages of the test.
const ASSERTIONS: [(&str, usize); 7] = [
    ("assert!", 1),
    ("assert_eq!", 2),
    ("assert_ne!", 2),
    ("contains", 1),
    ("starts_with", 1),
    ("ends_with", 1),
    ("says", 1),
];

/// Functions that look for texts of the test itself.
const OTHERS: [&str; 6] = ["against", "change", "contains", "edit", "examples_in", "wait_for"];

/// A part of a source.
#[derive(Debug, PartialEq)]
enum Token<'a> {
    Text(&'a str),
    /// A name, a keyword, or a number.
    Word(&'a str),
    Sign(&'a str),
}

/// Comments, letters in quotes, texts, words and signs.
static TOKEN: LazyLock<Regex> = LazyLock::new(|| {
    let text = r##"r"([^"]*)"|r#"(.*?)"#|b?"((?:\\.|[^"\\])*)""##;
    Regex::new(&format!(r"(?s)//[^\n]*|'(?:\\[^']+|\\'|[^'\\])'|{text}|(\w+)|(\S)")).unwrap()
});

/// Splits a source. Comments and letters in quotes are left out.
fn tokens(source: &str) -> Vec<Token<'_>> {
    let token = |found: Captures<'_>| {
        let part = |number| found.get(number).map(|part| &source[part.range()]);
        let text = part(1).or(part(2)).or(part(3)).map(Token::Text);
        text.or(part(4).map(Token::Word)).or(part(5).map(Token::Sign))
    };
    TOKEN.captures_iter(source).filter_map(token).collect()
}

/// Returns the place after the bracket that closes the one at `start`.
fn after_brackets(tokens: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0;
    for (place, token) in tokens.iter().enumerate().skip(start) {
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return place + 1;
        }
    }
    tokens.len()
}

/// Returns the places of the first arguments of each call of these functions.
fn arguments<'a>(
    tokens: &'a [Token<'a>],
    of: &'a BTreeMap<String, usize>,
) -> impl Iterator<Item = Range<usize>> + 'a {
    (1..tokens.len()).filter(move |place| tokens[*place] == Token::Sign("(")).filter_map(
        move |start| {
            let name = match &tokens[..start] {
                [.., Token::Word(word), Token::Word(_)] if *word == "fn" => return None,
                [.., Token::Word(name)] => (*name).to_owned(),
                [.., Token::Word(name), Token::Sign("!")] => format!("{name}!"),
                _ => return None,
            };
            let mut left = *of.get(&name)?;
            let end = after_brackets(tokens, start) - 1;
            let mut place = start + 1;
            while place < end {
                match &tokens[place] {
                    Token::Sign("(" | "[" | "{") => place = after_brackets(tokens, place) - 1,
                    Token::Sign(",") => left -= 1,
                    _ => {}
                }
                if left == 0 {
                    break;
                }
                place += 1;
            }
            Some(start + 1..place)
        },
    )
}

fn own_assertions() -> BTreeMap<String, usize> {
    ASSERTIONS.map(|(name, arguments)| (name.to_owned(), arguments)).into()
}

/// Adds the functions that assert one of their texts.
fn add_helpers(tokens: &[Token<'_>], found: &mut BTreeMap<String, usize>) {
    let assertions = own_assertions();
    for start in 0..tokens.len() {
        let [Token::Word(word), Token::Word(name), Token::Sign("("), ..] = &tokens[start..] else {
            continue;
        };
        if *word != "fn" || OTHERS.contains(name) {
            continue;
        }
        let end = after_brackets(tokens, start + 2);
        let Some(body) = tokens[end..].iter().position(|token| *token == Token::Sign("{")) else {
            continue;
        };
        let body = &tokens[end + body..after_brackets(tokens, end + body)];
        let texts = tokens[start..end].windows(4).filter_map(|tokens| match tokens {
            [Token::Word(name), Token::Sign(":"), Token::Sign("&"), Token::Word(kind)]
                if *kind == "str" =>
            {
                Some(name)
            }
            [Token::Word(name), Token::Sign(":"), Token::Sign("&"), Token::Sign("[")] => Some(name),
            _ => None,
        });
        let texts: BTreeSet<_> = texts.collect();
        let is_text =
            |token: &Token<'_>| matches!(token, Token::Word(word) if texts.contains(word));
        let asserted = arguments(body, &assertions).any(|place| body[place].iter().any(is_text));
        let is_loop = |tokens: &[Token<'_>]| tokens[0] == Token::Word("in") && is_text(&tokens[1]);
        if asserted || body.windows(2).any(is_loop) && arguments(body, &assertions).count() > 0 {
            found.insert((*name).to_owned(), usize::MAX);
        }
    }
}

/// Adds the Rust sources of tests below a folder. Those of `repository` read files, and no output of the program.
fn add_sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in entries(folder) {
        if entry.is_dir() && !["guests", "repository"].iter().any(|name| entry.ends_with(name)) {
            add_sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            found.push(entry);
        }
    }
}

#[test]
fn sentences_of_the_program_are_in_snapshots() {
    let mut files = Vec::new();
    add_sources(&root().join("tests"), &mut files);
    let texts: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let sources: Vec<_> = texts.iter().map(|text| tokens(text)).collect();
    let mut assertions = own_assertions();
    for tokens in &sources {
        add_helpers(tokens, &mut assertions);
    }
    let mut counts = BTreeMap::new();
    for (file, tokens) in files.iter().zip(&sources) {
        let places: BTreeSet<_> = arguments(tokens, &assertions).flatten().collect();
        let is_word = |word: &&str| word.contains(char::is_alphabetic);
        let is_sentence =
            |text: &str| text.replace("\\n", " ").split_whitespace().filter(is_word).count() > 2;
        let sentences = places
            .into_iter()
            .filter(|place| matches!(&tokens[*place], Token::Text(text) if is_sentence(text)));
        counts.insert(file.strip_prefix(root()).unwrap(), sentences.count());
    }
    let count: usize = counts.values().sum();
    let mut most: Vec<_> = counts.into_iter().collect();
    most.sort_by_key(|(_, count)| usize::MAX - count);
    most.truncate(10);
    assert!(
        count <= MAX_LITERALS,
        "tests assert {count} literals of three words or more, and {MAX_LITERALS} are allowed. Write `snapshot(&ran)` of \
         `tests/messages/outputs.rs` in place of `says`, or assert a name or number alone. Most are in {most:#?}"
    );
}
