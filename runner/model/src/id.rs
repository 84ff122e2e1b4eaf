//! Ids of tests, providers, trials, tasks and workers.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::enum_text::{as_text, text_schema};
use crate::{Text, alike::is_invisible, visible::steers};

const MAX_TEST_ID_BYTES: usize = 200;
const MAX_PROVIDER_NAME_BYTES: usize = 64;
/// Bytes of a provider's name with values of a matrix.
const MAX_MATRIX_NAME_BYTES: usize = 200;

/// Declares a name: a shared string that its parser has checked. The default is empty, which no parser accepts.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        as_text!($name, Self::parse, |this, serializer| serializer.serialize_str(this));
    };
}

name! {
    /// The id of a test: 1 to 200 bytes of visible characters without `@` and `#`. The only white space is spaces between other
    /// characters, and no part between two `/` is `.` or `..`.
    TestId
}

name! {
    /// The name of a provider or grader: one segment of a test id, at most 64 bytes. A matrix appends its values, as in
    /// `gpt[size=small,temp=0]`, up to 200 bytes.
    ProviderName
}

/// A trial: one repeat of a test on a provider. Written `test@provider#repeat` in JSON, as three fields in frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TrialId {
    pub test: TestId,
    pub provider: ProviderName,
    /// The repeat of the test, from 1.
    pub repeat: u32,
}

/// A task of one session. Never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// A worker process of one session. Never used twice in a session: a replacement gets a new id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// Returns the worker's part of the name of a process on another machine, such as `gpu-3f2a` of `gpu-3f2a/1`.
pub fn worker_of(process: &str) -> &str {
    process.rsplit_once('/').map_or(process, |(worker, _)| worker)
}

/// The reason why a text is not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct IdError(Cow<'static, str>);

const NOT_A_TRIAL: IdError = IdError(Cow::Borrowed("expected a trial as in `test@provider#1`"));

impl TestId {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_length(text, MAX_TEST_ID_BYTES)?;
        check_test_id(text)?;
        Ok(Self(text.into()))
    }
}

/// Returns a glob that matches only this id of a test or trial. A command takes it neither for a filter nor for a flag.
pub fn id_glob(id: &str) -> String {
    let mut glob = String::with_capacity(id.len());
    for (at, character) in id.char_indices() {
        if "*?[]{}()\\".contains(character) || character == '-' && at == 0 {
            glob.push('\\');
        }
        glob.push(character);
    }
    glob
}

/// Returns the id of a trial as a word of a command, which takes ids and globs. With a `-` at its start it would be a flag.
pub fn id_word(id: &str) -> String {
    if id.starts_with('-') { id_glob(id) } else { id.to_owned() }
}

impl ProviderName {
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.split_once('[') {
            None => {
                check_length(text, MAX_PROVIDER_NAME_BYTES)?;
                check_segment(text)?;
            }
            Some((name, values)) => {
                check_length(text, MAX_MATRIX_NAME_BYTES)?;
                check_segment(name)?;
                check_values(values)?;
            }
        }
        Ok(Self(text.into()))
    }
}

impl TrialId {
    /// Parses `test@provider#repeat`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (test, rest) = text.split_once('@').ok_or(NOT_A_TRIAL)?;
        let (provider, repeat) = rest.rsplit_once('#').ok_or(NOT_A_TRIAL)?;
        // `+1` and `01` would be other names of the same trial.
        if repeat.starts_with('0') || !repeat.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NOT_A_TRIAL);
        }
        Ok(Self {
            test: TestId::parse(test)?,
            provider: ProviderName::parse(provider)?,
            repeat: repeat.parse().map_err(|_| NOT_A_TRIAL)?,
        })
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}#{}", self.test, self.provider, self.repeat)
    }
}

fn push_decimal(text: &mut String, number: u32) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

text_schema!(TrialId, "description": "The trial, as `test@provider#repeat`.");

impl Serialize for TrialId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            // Each row has one, and the formatter takes three times as long.
            let mut text = String::with_capacity(self.test.len() + self.provider.len() + 12);
            text.push_str(&self.test);
            text.push('@');
            text.push_str(&self.provider);
            text.push('#');
            push_decimal(&mut text, self.repeat);
            serializer.serialize_str(&text)
        } else {
            (&self.test, &self.provider, self.repeat).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for TrialId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            Self::parse(&Text::deserialize(deserializer)?).map_err(de::Error::custom)
        } else {
            let (test, provider, repeat) = Deserialize::deserialize(deserializer)?;
            Ok(Self { test, provider, repeat })
        }
    }
}

fn check_length(text: &str, limit: usize) -> Result<(), IdError> {
    let bytes = text.len();
    if bytes > limit {
        let reason = format!("an id has at most {limit} bytes, this one has {bytes}");
        return Err(IdError(reason.into()));
    }
    Ok(())
}

fn unexpected(character: char) -> IdError {
    let character = match character {
        ' ' => "a space".to_owned(),
        character => format!("{character:?}"),
    };
    let reason = format!(
        "{character} is not allowed; use letters, digits, `_`, `.` and `-`, and start with a letter, a digit or `_`"
    );
    IdError(reason.into())
}

fn check_test_id(id: &str) -> Result<(), IdError> {
    let refuse = |reason: &'static str| Err(IdError(reason.into()));
    if id.is_empty() {
        return refuse("an id is empty");
    }
    if id.trim() != id {
        return refuse("white space at the start or the end is not allowed");
    }
    // A joiner or a variation selector is invisible without the character before it.
    if id.starts_with(is_invisible) {
        return refuse("an invisible character at the start is not allowed");
    }
    if id.split('/').any(|part| part == "." || part == "..") {
        return refuse("`.` and `..` are not allowed as a part between two `/`");
    }
    let is_refused = |character: &char| match character {
        '@' | '#' => true,
        ' '..='~' => false,
        character => character.is_whitespace() || steers(*character),
    };
    match id.chars().find(is_refused) {
        None => Ok(()),
        Some(character @ ('@' | '#')) => Err(IdError(
            format!("`{character}` is not allowed, because it separates the parts of a trial's id")
                .into(),
        )),
        Some(character) => Err(IdError(
            format!("{character:?} is not allowed; use visible characters and spaces").into(),
        )),
    }
}

fn check_segment(segment: &str) -> Result<(), IdError> {
    let Some(first) = segment.chars().next() else {
        return Err(IdError("an id or one of its segments is empty".into()));
    };
    let is_inner =
        |character: &char| matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-');
    if !is_inner(&first) || matches!(first, '.' | '-') {
        return Err(unexpected(first));
    }
    match segment.chars().find(|character| !is_inner(character)) {
        Some(character) => Err(unexpected(character)),
        None => Ok(()),
    }
}

/// Checks the part of a name after `[`: pairs `key=value` separated by commas, and `]`.
fn check_values(values: &str) -> Result<(), IdError> {
    let Some(pairs) = values.strip_suffix(']') else {
        return Err(unexpected('['));
    };
    let is_plain =
        |character: &char| character.is_ascii_alphanumeric() || "_.+-=,".contains(*character);
    match pairs.chars().find(|character| !is_plain(character)) {
        Some(character) => Err(unexpected(character)),
        None if !pairs.split(',').all(|pair| pair.contains('=')) => Err(unexpected('[')),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProviderName, TestId, TrialId, id_glob};

    #[test]
    fn ids_are_visible_characters() {
        for good in [
            "a",
            "_x",
            "rfc8259/numbers/1e5",
            "a.b-c_d",
            "9",
            "https://a.b/",
            ".a",
            "-a",
            "a b",
            "ä/ö",
            "日本語",
            "می\u{200c}خواهم",
            "👩\u{200d}💻",
            "a...",
            "\"'\\`",
            "n_number_1.0e+",
        ] {
            let trial = format!("{good}@p#1");
            let read = TrialId::parse(&trial).unwrap();
            assert_eq!((&*read.test, read.to_string()), (good, trial));
            let json = serde_json::to_string(&read).unwrap();
            assert_eq!(serde_json::from_str::<TrialId>(&json).unwrap(), read, "{json}");
        }
        for bad in [
            "",
            " ",
            " a",
            "a ",
            "\u{3000}a",
            "a\u{a0}b",
            "a\tb",
            "a\nb",
            "a\r",
            "\0",
            "a\u{7f}",
            "a\u{85}b",
            "a\u{200b}b",
            "a\u{202e}b",
            "\u{feff}a",
            "\u{200d}a",
            "a\u{2028}b",
            "a@b",
            "a#1",
            "..",
            ".",
            "a/..",
            "a/./b",
            "../a",
            "a/../b",
        ] {
            assert!(TestId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TestId::parse(&"a".repeat(200)).is_ok());
        let long = TestId::parse(&"a".repeat(201)).unwrap_err().to_string();
        assert_eq!(long, "an id has at most 200 bytes, this one has 201");
        assert_eq!(id_glob("-a-[*]{?}\\(b)"), r"\-a-\[\*\]\{\?\}\\\(b\)");
    }

    #[test]
    fn names_that_a_matrix_makes_have_its_values() {
        for good in ["a[b=c]", "a[b=1.5,c=x+y]", "a[b=-1]"] {
            assert!(ProviderName::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["a[", "a[]", "a[b]", "a[b=c", "a[b=c]d", "[b=c]", "a[b=@]", "a[b=c][d=e]", "a/b"]
        {
            assert!(ProviderName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trial_has_one_name() {
        let trial = TrialId::parse("a/b@p[x=1]#12").unwrap();
        assert_eq!((&*trial.test, &*trial.provider, trial.repeat), ("a/b", "p[x=1]", 12));
        assert_eq!(trial.to_string(), "a/b@p[x=1]#12");
        for bad in
            ["a@p", "a#1", "a@p#", "a@p#0", "a@p#01", "a@p#+1", "a@p#-1", "a@p@q#1", "a@p#1#2"]
        {
            assert!(TrialId::parse(bad).is_err(), "{bad}");
        }
    }
}
