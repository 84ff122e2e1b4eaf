//! Names of tests, providers, trials, tasks and workers.

use std::{borrow::Cow, fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::{Text, enum_text::as_text};

const MAX_TEST_ID_BYTES: usize = 200;
const MAX_PROVIDER_NAME_BYTES: usize = 64;
/// Bytes of a name that a matrix has made.
const MAX_MADE_NAME_BYTES: usize = 200;

/// Declares a name: a shared string that was checked when it was made.
macro_rules! name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as written.
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

        as_text!($name, Self::parse);
    };
}

name! {
    /// The id of a test: segments `[A-Za-z0-9_][A-Za-z0-9._-]*` joined by `/`, at most 200 bytes.
    TestId
}

name! {
    /// The name of a provider or grader: one segment of a test id, at most 64 bytes. A name that a matrix has made may
    /// have values behind it, as in `gpt[size=small,temp=0]`, and at most 200 bytes.
    ProviderName
}

/// A trial: one repeat of a test on a provider. Written `test@provider#repeat` in JSON, as three fields in frames.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrialId {
    /// The test.
    pub test: TestId,
    /// The provider that the test runs on.
    pub provider: ProviderName,
    /// Which repeat of the test, from 1.
    pub repeat: u32,
}

/// A task of one session: the order to make one attempt. Never used twice in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaskId(pub u64);

/// A worker process of one session. Never used twice in a session: a process that replaces another has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u32);

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct IdError(Cow<'static, str>);

/// Says that a text is not written `test@provider#repeat`.
const NO_TRIAL: IdError = IdError(Cow::Borrowed("expected a trial as in `test@provider#1`"));

impl TestId {
    /// Parses a test id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_length(text, MAX_TEST_ID_BYTES)?;
        text.split('/').try_for_each(check_segment)?;
        Ok(Self(text.into()))
    }
}

impl ProviderName {
    /// Parses a provider's name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.split_once('[') {
            None => {
                check_length(text, MAX_PROVIDER_NAME_BYTES)?;
                check_segment(text)?;
            }
            Some((name, values)) => {
                check_length(text, MAX_MADE_NAME_BYTES)?;
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
        let (test, rest) = text.split_once('@').ok_or(NO_TRIAL)?;
        let (provider, repeat) = rest.rsplit_once('#').ok_or(NO_TRIAL)?;
        // `+1` and `01` would be second names of a trial.
        if repeat.starts_with('0') || !repeat.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NO_TRIAL);
        }
        Ok(Self {
            test: TestId::parse(test)?,
            provider: ProviderName::parse(provider)?,
            repeat: repeat.parse().map_err(|_| NO_TRIAL)?,
        })
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}#{}", self.test, self.provider, self.repeat)
    }
}

impl Serialize for TrialId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
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

fn no_place_for(character: char) -> IdError {
    let reason = format!(
        "{character:?} cannot stand there in an id; ids are made of letters, digits, `_`, `.` and `-`, and begin with a letter, a digit or `_`"
    );
    IdError(reason.into())
}

fn check_segment(segment: &str) -> Result<(), IdError> {
    let Some(first) = segment.chars().next() else {
        return Err(IdError("an id cannot be empty, nor any of its segments".into()));
    };
    let is_inner =
        |character: &char| matches!(character, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-');
    if !is_inner(&first) || matches!(first, '.' | '-') {
        return Err(no_place_for(first));
    }
    match segment.chars().find(|character| !is_inner(character)) {
        Some(character) => Err(no_place_for(character)),
        None => Ok(()),
    }
}

/// Checks what stands behind the bracket of a name: `key=value` with commas between, and the closing bracket.
fn check_values(values: &str) -> Result<(), IdError> {
    let Some(pairs) = values.strip_suffix(']') else {
        return Err(no_place_for('['));
    };
    let is_plain =
        |character: &char| character.is_ascii_alphanumeric() || "_.+-=,".contains(*character);
    match pairs.chars().find(|character| !is_plain(character)) {
        Some(character) => Err(no_place_for(character)),
        None if !pairs.split(',').all(|pair| pair.contains('=')) => Err(no_place_for('[')),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{ProviderName, TestId, TrialId};

    #[test]
    fn ids_are_segments_of_plain_characters() {
        for good in ["a", "_x", "rfc8259/numbers/1e5", "a.b-c_d", "9"] {
            assert_eq!(TestId::parse(good).map(|id| id.to_string()), Ok(good.into()));
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", ".a", "-a", "a b", "a@b", "a#1", "ä", "a/..", "a\n"]
        {
            assert!(TestId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TestId::parse(&"a".repeat(200)).is_ok());
        let long = TestId::parse(&"a".repeat(201)).unwrap_err().to_string();
        assert_eq!(long, "an id has at most 200 bytes, this one has 201");
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
