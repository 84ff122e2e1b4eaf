//! The filter language: an expression that selects trials.
//!
//! ```text
//! filter   = and { ( "|" | "or" ) and }
//! and      = not { [ "&" | "and" ] not }
//! not      = ( "!" | "not" ) not | "(" filter ")" | function | word
//! function = name "(" [ argument { "," argument } ] ")"
//! ```
//!
//! A [`Filter`] is parsed once and asked about anything that has [`Facts`]: a test that may be planned, or a row. Read
//! `expression.rs` first. This file parses the language by recursive descent.

mod evaluate;
mod expression;
mod row_facts;
mod syntax;

use std::{ops::Range, slice};

use globset::GlobSet;
use runner_model::{
    ErrorClass, Outcome,
    globs::{over_ids, over_workspace},
    units::parse_duration,
};

use self::expression::{ErrorIs, problem};
use crate::problem::{Problem, Problems};
use crate::reading::similar;

pub use self::evaluate::Facts;
pub(crate) use self::expression::{Condition, Expression};
pub use self::expression::{Filter, InRun};
pub(crate) use self::row_facts::text as meta_text;
pub use self::row_facts::{AttemptFiles, RowFilter, TestLabels};

/// Bytes of a filter.
const MAX_BYTES: usize = 64 << 10;
/// Levels of parentheses, `!` and `in(…)`, which are parsed by recursion.
const MAX_LEVELS: usize = 64;

/// Functions, each with an example.
const FUNCTIONS: [(&str, &str); 16] = [
    ("test", "test(units/*)"),
    ("provider", "provider(gpt*)"),
    ("trial", "trial(units/km@echo#1)"),
    ("tag", "tag(slow)"),
    ("meta", "meta(topic=dates)"),
    ("outcome", "outcome(failed, timeout)"),
    ("error", "error(rate-limited)"),
    ("check", "check(transcript.*)"),
    ("output", "output(\"not found\")"),
    ("log", "log(\"retrying\")"),
    ("changed", "changed(\"src/**\")"),
    ("flaky", "flaky()"),
    ("slower", "slower(2s)"),
    ("known", "known()"),
    ("unexpected", "unexpected()"),
    ("in", "in(latest, outcome(failed))"),
];

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// The first mistake with its place.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        Self::try_parse(text).map_err(Problems::from)
    }

    fn try_parse(text: &str) -> Result<Self, Problem> {
        if text.len() > MAX_BYTES {
            let bytes = text.len();
            return Err(Problem::new(format!(
                "the filter has {bytes} bytes; at most 64 KiB are allowed"
            )));
        }
        let mut parser = Parser { text, at: 0, level: 0 };
        let root = parser.or()?;
        match parser.peek() {
            None => Ok(Self::new(text, root)),
            Some(')') => Err(parser.here("unmatched `)`")),
            Some(_) => Err(parser.here("expected `&`, `|` or the end of the filter")),
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    /// Offset in bytes.
    at: usize,
    level: usize,
}

/// An argument without its quotes.
struct Argument {
    text: String,
    at: Range<usize>,
    is_quoted: bool,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<Expression, Problem> {
        let mut parts = vec![self.and()?];
        while self.take('|') || self.take_word("or") {
            parts.push(self.and()?);
        }
        Ok(joined(parts, Expression::Any))
    }

    fn and(&mut self) -> Result<Expression, Problem> {
        let mut parts = vec![self.not()?];
        loop {
            let has_operator = self.take('&') || self.take_word("and");
            let ends = self.peek().is_none_or(|next| "|),".contains(next)) || self.word() == "or";
            if ends && !has_operator {
                return Ok(joined(parts, Expression::All));
            }
            parts.push(self.not()?);
        }
    }

    fn not(&mut self) -> Result<Expression, Problem> {
        self.level += 1;
        if self.level > MAX_LEVELS {
            return Err(self.here(format!("more than {MAX_LEVELS} levels of nesting")));
        }
        let start = self.skip_space();
        let expression = if self.take('!') || self.take_word("not") {
            Expression::Not(Box::new(self.not()?))
        } else if self.take('(') {
            let inner = self.or()?;
            self.close(start)?;
            inner
        } else {
            Expression::Is(self.condition(start)?, start..self.at)
        };
        self.level -= 1;
        Ok(expression)
    }

    /// Parses a function or a word.
    fn condition(&mut self, start: usize) -> Result<Condition, Problem> {
        if self.peek() == Some('"') {
            return Ok(Condition::Word(self.quoted()?.text.to_lowercase()));
        }
        let word = self.word();
        if word.is_empty() {
            let is_doubled = ["&&", "||"]
                .contains(&self.text.get(start.saturating_sub(1)..=start).unwrap_or_default());
            return Err(self.here("expected a word or a function").with_help(if is_doubled {
                "write `&` and `|` once".to_owned()
            } else {
                functions()
            }));
        }
        self.at += word.len();
        let at = start..self.at;
        if let Some((message, help)) = syntax::of_another_language(word, &self.text[start..]) {
            return Err(self.problem(at, message).with_help(help));
        }
        let example = FUNCTIONS.iter().find(|(name, _)| *name == word).map(|(_, example)| example);
        let open = self.at;
        if !self.text[open..].starts_with('(') {
            return match example {
                Some(example) => Err(self
                    .problem(at, format!("`{word}` needs parentheses"))
                    .with_help(format!("write `{example}`, or `\"{word}\"` to search the word"))),
                None if word.contains(['*', '?']) => {
                    let glob = Argument { text: word.to_owned(), at, is_quoted: false };
                    Ok(Condition::WordGlob(self.globs(&[glob], over_ids)?))
                }
                None => Ok(Condition::Word(word.to_lowercase())),
            };
        }
        let Some(example) = example else {
            let help = match similar(word, FUNCTIONS.iter().map(|(name, _)| *name)) {
                Some(name) => format!("did you mean `{name}(…)`?"),
                None => functions(),
            };
            return Err(self.problem(at, format!("unknown function `{word}`")).with_help(help));
        };
        self.take('(');
        if word == "in" {
            return self.in_run(open);
        }
        let arguments = self.arguments(open)?;
        match (word, arguments.as_slice()) {
            ("flaky", []) => Ok(Condition::Flaky),
            ("known", []) => Ok(Condition::Known),
            ("unexpected", []) => Ok(Condition::Unexpected),
            (_, []) => Err(self
                .problem(open..self.at, format!("`{word}` needs an argument"))
                .with_help(format!("write `{example}`"))),
            ("meta", [only]) => self.meta(only),
            ("slower", [only]) => self.slower(only),
            ("flaky" | "known" | "unexpected", [more, ..]) | ("meta" | "slower", [_, more, ..]) => {
                Err(self
                    .problem(more.at.clone(), "one argument too many")
                    .with_help(format!("write `{example}`")))
            }
            ("test", globs) => Ok(Condition::Test(self.globs(globs, over_ids)?)),
            ("provider", globs) => Ok(Condition::Provider(self.globs(globs, over_ids)?)),
            ("trial", globs) => Ok(Condition::Trial(self.globs(globs, over_ids)?)),
            ("outcome", words) => self.outcomes(words).map(Condition::Outcome),
            ("error", errors) => self.errors(errors).map(Condition::Error),
            ("check", globs) => Ok(Condition::Check(self.globs(globs, over_ids)?)),
            ("output", texts) => Ok(Condition::Output(lower(texts))),
            ("log", texts) => Ok(Condition::Log(lower(texts))),
            ("changed", globs) => Ok(Condition::Changed(self.globs(globs, over_workspace)?)),
            (_, tags) => Ok(Condition::Tag(tags.iter().map(|tag| tag.text.clone()).collect())),
        }
    }

    /// Parses the rest of `in(RUN, FILTER)`.
    fn in_run(&mut self, open: usize) -> Result<Condition, Problem> {
        let run = self.argument()?;
        if run.text.is_empty() || !self.take(',') {
            let problem = self.here("expected a run, a comma and a filter");
            return Err(problem.with_help("write `in(latest, outcome(failed))`"));
        }
        let filter = Box::new(self.or()?);
        self.close(open)?;
        Ok(Condition::In { run: run.text, at: run.at, filter, tests: None })
    }

    fn arguments(&mut self, open: usize) -> Result<Vec<Argument>, Problem> {
        let mut arguments = Vec::new();
        if self.take(')') {
            return Ok(arguments);
        }
        loop {
            let argument = self.argument()?;
            if argument.text.is_empty() {
                return Err(self.problem(argument.at, "expected an argument"));
            }
            if !argument.is_quoted
                && let Some((message, help)) = syntax::single_quotes(&argument.text)
            {
                return Err(self.problem(argument.at, message).with_help(help));
            }
            arguments.push(argument);
            if !self.take(',') {
                self.close(open)?;
                return Ok(arguments);
            }
        }
    }

    /// Parses an argument: a quoted text, or everything up to a comma or parenthesis that is not in brackets.
    fn argument(&mut self) -> Result<Argument, Problem> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let start = self.at;
        let mut depth = 0_usize;
        let mut is_escaped = false;
        let mut ends = self.text[start..].char_indices().filter(|(_, character)| {
            let was_escaped = is_escaped;
            is_escaped = *character == '\\' && !was_escaped;
            match character {
                _ if was_escaped => return false,
                '[' | '{' | '(' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                ')' | ',' if depth == 0 => return true,
                ')' => depth -= 1,
                _ => {}
            }
            false
        });
        let end = ends.next().map_or(self.text.len(), |(offset, _)| start + offset);
        self.at = end;
        let text = self.text[start..end].trim_end();
        Ok(Argument { text: text.to_owned(), at: start..start + text.len(), is_quoted: false })
    }

    fn quoted(&mut self) -> Result<Argument, Problem> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.text[start + 1..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at = start + offset + 2;
                    return Ok(Argument { text, at: start..self.at, is_quoted: true });
                }
                '\\' => text.extend(characters.next().map(|(_, character)| character)),
                character => text.push(character),
            }
        }
        Err(self.problem(start..start + 1, "the quoted text is not closed"))
    }

    fn meta(&self, argument: &Argument) -> Result<Condition, Problem> {
        let (key, value) = match argument.text.split_once('=') {
            None => (&*argument.text, None),
            Some((key, value)) => (key.trim_end(), Some(value.trim_start())),
        };
        let value = value.map(|value| {
            let at = argument.at.clone();
            self.globs(&[Argument { text: value.to_owned(), at, is_quoted: false }], over_ids)
        });
        Ok(Condition::Meta { key: key.to_owned(), value: value.transpose()? })
    }

    fn slower(&self, argument: &Argument) -> Result<Condition, Problem> {
        let text = &argument.text;
        parse_duration(text)
            .map(Condition::Slower)
            .map_err(|reason| self.problem(argument.at.clone(), format!("`{text}` {reason}")))
    }

    /// Reads classes of errors, and quoted parts of messages.
    fn errors(&self, arguments: &[Argument]) -> Result<Vec<ErrorIs>, Problem> {
        let classes: Vec<_> = ErrorClass::ALL.iter().map(|class| class.as_str()).collect();
        arguments
            .iter()
            .map(|argument| {
                if argument.is_quoted {
                    return Ok(ErrorIs::Text(argument.text.to_lowercase()));
                }
                ErrorClass::parse(&argument.text).map(ErrorIs::Class).ok_or_else(|| {
                    let help = format!("to search the messages: `error(\"{}\")`", argument.text);
                    self.unknown(argument, &classes, Some(help))
                })
            })
            .collect()
    }

    fn outcomes(&self, arguments: &[Argument]) -> Result<Vec<Outcome>, Problem> {
        let known: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        let outcomes = arguments.iter().map(|argument| {
            Outcome::parse(&argument.text).ok_or_else(|| self.unknown(argument, &known, None))
        });
        outcomes.collect()
    }

    fn globs(
        &self,
        arguments: &[Argument],
        compile: fn(&[String]) -> Result<GlobSet, String>,
    ) -> Result<GlobSet, Problem> {
        for Argument { text, at, .. } in arguments {
            compile(slice::from_ref(text)).map_err(|reason| {
                self.problem(at.clone(), format!("invalid glob `{text}`: {reason}"))
            })?;
        }
        let globs: Vec<_> = arguments.iter().map(|argument| argument.text.clone()).collect();
        let at = arguments[0].at.start..arguments[arguments.len() - 1].at.end;
        compile(&globs)
            .map_err(|reason| self.problem(at, format!("the globs are together invalid: {reason}")))
    }

    /// Refuses an argument that is not one of the known words.
    fn unknown(&self, argument: &Argument, known: &[&str], help: Option<String>) -> Problem {
        let near = similar(&argument.text, known.iter().copied());
        let near = near.map(|word| format!("did you mean `{word}`?"));
        let problem =
            self.problem(argument.at.clone(), format!("unknown word `{}`", argument.text));
        let help = near.unwrap_or_else(|| format!("known words: `{}`", known.join("`, `")))
            + &help.map_or(String::new(), |help| format!("\n{help}"));
        problem.with_help(help)
    }

    fn close(&mut self, open: usize) -> Result<(), Problem> {
        if self.take(')') {
            return Ok(());
        }
        Err(match self.peek() {
            None => self.problem(open..open + 1, "unclosed `(`"),
            Some(_) => self.here("expected `)`"),
        })
    }

    /// Returns the offset of the next character that is not white space.
    fn skip_space(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.at
    }

    fn peek(&mut self) -> Option<char> {
        let at = self.skip_space();
        self.text[at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        if is_next {
            self.at += wanted.len_utf8();
        }
        is_next
    }

    /// Returns the word that comes next; empty before another character.
    fn word(&mut self) -> &'t str {
        let at = self.skip_space();
        let mut depth = 0_usize;
        let text: &'t str = self.text;
        let rest = &text[at..];
        // A comma within the brackets of a name is a part of it.
        let end = rest.find(|character: char| {
            match character {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            character.is_whitespace()
                || "()&|!\"".contains(character)
                || character == ',' && depth == 0
        });
        &rest[..end.unwrap_or(rest.len())]
    }

    /// Takes an operator that is a word.
    fn take_word(&mut self, wanted: &str) -> bool {
        let is_next = self.word() == wanted;
        if is_next {
            self.at += wanted.len();
        }
        is_next
    }

    fn here(&mut self, message: impl Into<String>) -> Problem {
        let at = self.skip_space();
        let length = self.text[at..].chars().next().map_or(0, char::len_utf8);
        self.problem(at..at + length, message)
    }

    fn problem(&self, at: Range<usize>, message: impl Into<String>) -> Problem {
        problem(self.text, at, message)
    }
}

fn joined(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => join(parts),
    }
}

fn lower(arguments: &[Argument]) -> Vec<String> {
    arguments.iter().map(|argument| argument.text.to_lowercase()).collect()
}

fn functions() -> String {
    let examples: Vec<_> = FUNCTIONS.iter().map(|(_, example)| format!("`{example}`")).collect();
    format!("functions: {}", examples.join(", "))
}

#[cfg(test)]
mod tests;
