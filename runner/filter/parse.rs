//! The parser: recursive descent over the text, with the place of each question.

use std::ops::Range;

use globset::GlobSet;

use super::{
    error::FilterError,
    expression::{Condition, Expression, Filter},
    glob,
    resolve::quoted_run,
};
use crate::model::{ErrorClass, Outcome, parse_duration};

/// The longest text of a filter, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How deep parentheses, `!` and `in` may be nested.
const MAX_DEPTH: usize = 64;

/// What can be asked, with an example of each.
const QUESTIONS: [(&str, &str); 10] = [
    ("test", "test(units/*)"),
    ("provider", "provider(gpt*)"),
    ("trial", "trial(units/km@echo#1)"),
    ("tag", "tag(smoke)"),
    ("meta", "meta(topic=dates)"),
    ("outcome", "outcome(failed)"),
    ("error", "error(rate-limited)"),
    ("flaky", "flaky()"),
    ("slower", "slower(2s)"),
    ("in", "in(latest, outcome(failed))"),
];

impl Filter {
    /// Parses a filter.
    ///
    /// # Errors
    ///
    /// Fails if the text is no filter, and says where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Ok(Self {
            root: parse(text)?,
            text: text.into(),
        })
    }

    /// The trials that ended badly in a run.
    pub fn failed_in(run: &str) -> Result<Self, FilterError> {
        let run = quoted_run(run);
        Self::parse(&format!("in({run}, outcome(failed, error, timeout))"))
    }

    /// What both of two filters mean.
    pub fn both(first: &Self, second: &Self) -> Result<Self, FilterError> {
        Self::parse(&format!("({first}) & ({second})"))
    }
}

fn parse(text: &str) -> Result<Expression, FilterError> {
    if text.len() > MAX_BYTES {
        let message = format!("a filter has at most {MAX_BYTES} bytes");
        return Err(FilterError::new(text, 0..0, message));
    }
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
    };
    let expression = parser.or()?;
    match parser.peek() {
        None => Ok(expression),
        Some(')') => Err(parser.refuse_here("this parenthesis closes nothing")),
        Some(_) => Err(parser
            .refuse_here("expected `&`, `|` or the end")
            .with_help("`a() & b()` means both, `a() | b()` means one of them")),
    }
}

struct Parser<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    depth: usize,
}

/// An argument without its quotes, and where it stands.
struct Argument {
    text: String,
    at: Range<usize>,
}

impl Parser<'_> {
    fn or(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.and()?];
        while self.take('|') {
            parts.push(self.and()?);
        }
        Ok(one_or(parts, Expression::Any))
    }

    fn and(&mut self) -> Result<Expression, FilterError> {
        let mut parts = vec![self.not()?];
        while self.take('&') {
            parts.push(self.not()?);
        }
        Ok(one_or(parts, Expression::All))
    }

    fn not(&mut self) -> Result<Expression, FilterError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message = format!("a filter is nested {MAX_DEPTH} deep at most");
            return Err(self.refuse_here(message));
        }
        let expression = match self.peek() {
            Some('!') => {
                self.take('!');
                Expression::Not(Box::new(self.not()?))
            }
            Some('(') => {
                let open = self.at;
                self.take('(');
                let inner = self.or()?;
                self.close(open)?;
                inner
            }
            Some(first) if is_of_name(first) => self.question()?,
            _ => {
                return Err(self
                    .refuse_here("expected a question")
                    .with_help(examples()));
            }
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn question(&mut self) -> Result<Expression, FilterError> {
        let start = self.at;
        let rest = &self.text[start..];
        let length = rest.find(|character| !is_of_name(character));
        let name = &rest[..length.unwrap_or(rest.len())];
        let named = start..start + name.len();
        if !QUESTIONS.iter().any(|(known, _)| *known == name) {
            return Err(self.unknown(name, named));
        }
        self.at = named.end;
        let open = self.at;
        if !self.take('(') {
            let example = QUESTIONS.iter().find(|(known, _)| *known == name);
            let help = example.map_or("", |(_, example)| example);
            let error = self.refuse(named, format!("`{name}` needs its parentheses"));
            return Err(error.with_help(format!("as in `{help}`")));
        }
        let question = match name {
            "in" => self.in_run(open)?,
            "flaky" => {
                self.close(open)?;
                Condition::Flaky
            }
            "test" => Condition::Test(self.globs(open)?),
            "provider" => Condition::Provider(self.globs(open)?),
            "trial" => Condition::Trial(self.globs(open)?),
            "tag" => Condition::Tag(self.words(open, |word| Some(word.to_owned()), "")?),
            "meta" => self.meta(open)?,
            "outcome" => {
                let known: Vec<_> = Outcome::ALL.iter().map(|known| known.as_str()).collect();
                Condition::Outcome(self.words(open, Outcome::parse, &known.join("`, `"))?)
            }
            "error" => {
                let known: Vec<_> = ErrorClass::ALL.iter().map(|known| known.as_str()).collect();
                Condition::Error(self.words(open, ErrorClass::parse, &known.join("`, `"))?)
            }
            _ => self.slower(open)?,
        };
        Ok(Expression::Ask(question, start..self.at))
    }

    fn in_run(&mut self, open: usize) -> Result<Condition, FilterError> {
        let run = self.argument(open, true)?;
        if run.text.is_empty() {
            let error = self.refuse(run.at, "expected a run");
            return Err(error.with_help("`latest`, an id, a unique part of one, or a path"));
        }
        if !self.take(',') {
            let error = self.refuse(run.at, "expected a comma and a filter after the run");
            return Err(error.with_help("as in `in(latest, outcome(failed))`"));
        }
        let of = self.or()?;
        self.close(open)?;
        Ok(Condition::In {
            run: (run.text, run.at),
            of: Box::new(of),
            members: None,
        })
    }

    fn meta(&mut self, open: usize) -> Result<Condition, FilterError> {
        let argument = self.argument(open, false)?;
        self.close(open)?;
        let (key, value) = match argument.text.split_once('=') {
            None => (&*argument.text, None),
            Some((key, value)) => (key.trim_end(), Some(value.trim())),
        };
        if key.is_empty() {
            return Err(self.refuse(argument.at, "expected a key, such as `topic=dates`"));
        }
        let value = value
            .map(|value| glob::glob_set(std::iter::once(value)).map(Option::unwrap_or_default));
        let value = value.transpose().map_err(|error| {
            self.refuse(
                argument.at.clone(),
                format!("this is no glob: {}", error.kind()),
            )
        })?;
        Ok(Condition::Meta {
            key: key.to_owned(),
            value,
        })
    }

    fn globs(&mut self, open: usize) -> Result<GlobSet, FilterError> {
        let argument = self.argument(open, false)?;
        self.close(open)?;
        if argument.text.is_empty() {
            return Err(self.refuse(argument.at, "expected a glob, such as `units/*`"));
        }
        let globs = glob::glob_set(std::iter::once(argument.text.as_str()));
        globs
            .map(Option::unwrap_or_default)
            .map_err(|error| self.refuse(argument.at, format!("this is no glob: {}", error.kind())))
    }

    /// Reads words with commas between them.
    fn words<T>(
        &mut self,
        open: usize,
        read: impl Fn(&str) -> Option<T>,
        known: &str,
    ) -> Result<Vec<T>, FilterError> {
        let mut words = Vec::new();
        loop {
            let word = self.argument(open, true)?;
            if word.text.is_empty() {
                return Err(self.refuse(word.at, "expected a word"));
            }
            let Some(value) = read(&word.text) else {
                let error = self.refuse(word.at, format!("`{}` is none of these", word.text));
                return Err(error.with_help(format!("known are `{known}`")));
            };
            words.push(value);
            if !self.take(',') {
                break;
            }
        }
        self.close(open)?;
        Ok(words)
    }

    fn slower(&mut self, open: usize) -> Result<Condition, FilterError> {
        let argument = self.argument(open, false)?;
        self.close(open)?;
        parse_duration(&argument.text)
            .map(Condition::Slower)
            .map_err(|problem| {
                let error = self.refuse(argument.at, format!("`{}` {problem}", argument.text));
                error.with_help("durations are written as `200ms`, `2s` or `1m30s`")
            })
    }

    /// Reads what stands before the parenthesis that closes, or also before a comma; in quotes it can be any text.
    fn argument(&mut self, open: usize, ends_at_comma: bool) -> Result<Argument, FilterError> {
        if self.peek() == Some('"') {
            return self.quoted();
        }
        let start = self.at;
        let mut depth = 0;
        let mut is_escaped = false;
        for (offset, character) in self.text[start..].char_indices() {
            match character {
                _ if is_escaped => {
                    is_escaped = false;
                    continue;
                }
                '\\' => is_escaped = true,
                '(' => depth += 1,
                ')' if depth == 0 => return Ok(self.argument_until(start + offset)),
                ')' => depth -= 1,
                ',' if ends_at_comma && depth == 0 => {
                    return Ok(self.argument_until(start + offset));
                }
                _ => {}
            }
        }
        Err(self.unclosed(open))
    }

    fn argument_until(&mut self, end: usize) -> Argument {
        let text = self.text[self.at..end].trim_end();
        let at = self.at..self.at + text.len();
        self.at = end;
        Argument {
            text: text.to_owned(),
            at,
        }
    }

    fn quoted(&mut self) -> Result<Argument, FilterError> {
        let start = self.at;
        let mut text = String::new();
        let mut characters = self.text[start + 1..].char_indices();
        while let Some((offset, character)) = characters.next() {
            match character {
                '"' => {
                    self.at = start + 1 + offset + 1;
                    return Ok(Argument {
                        text,
                        at: start..self.at,
                    });
                }
                '\\' => text.extend(characters.next().map(|(_, character)| character)),
                character => text.push(character),
            }
        }
        Err(self.refuse(start..start + 1, "this quote is not closed"))
    }

    fn close(&mut self, open: usize) -> Result<(), FilterError> {
        if self.take(')') {
            return Ok(());
        }
        Err(match self.peek() {
            None => self.unclosed(open),
            Some(_) => self.refuse_here("expected `)`"),
        })
    }

    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_there = self.peek() == Some(wanted);
        if is_there {
            self.at += wanted.len_utf8();
        }
        is_there
    }

    fn unknown(&self, name: &str, at: Range<usize>) -> FilterError {
        let near = QUESTIONS
            .iter()
            .map(|(known, _)| (strsim::damerau_levenshtein(name, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 2);
        let error = self.refuse(at, format!("there is no question `{name}`"));
        match near {
            Some((_, known)) => error.with_help(format!("did you mean `{known}`?")),
            None => error.with_help(examples()),
        }
    }

    fn unclosed(&self, open: usize) -> FilterError {
        self.refuse(open..open + 1, "this parenthesis is not closed")
    }

    fn refuse_here(&self, message: impl Into<String>) -> FilterError {
        let length = self.text[self.at..]
            .chars()
            .next()
            .map_or(0, char::len_utf8);
        self.refuse(self.at..self.at + length, message)
    }

    fn refuse(&self, at: Range<usize>, message: impl Into<String>) -> FilterError {
        FilterError::new(self.text, at, message)
    }
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-".contains(character)
}

fn one_or(mut parts: Vec<Expression>, many: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

fn examples() -> String {
    let examples = QUESTIONS.map(|(_, example)| format!("`{example}`"));
    format!("questions are {}", examples.join(", "))
}
