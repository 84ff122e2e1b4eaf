//! Ids of tests, providers and trials.

use std::{fmt, sync::Arc};

use thiserror::Error;

const MAX_TEST_ID_BYTES: usize = 200;
const MAX_PROVIDER_ID_BYTES: usize = 64;
/// Of a provider that a matrix has made.
const MAX_MADE_ID_BYTES: usize = 200;

/// The id of a test: segments `[A-Za-z0-9_][A-Za-z0-9._-]*` joined by `/`, at most 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TestId(Arc<str>);

/// The name of a provider: one segment of a test id, at most 64 bytes. One that a matrix has made may have the values that made it
/// behind it, as in `gpt[size=small,temp=0]`, and at most 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(Arc<str>);

/// The id of a trial, written `test@provider#repeat`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TrialId {
    /// The test that is run.
    pub test: TestId,
    /// The provider it is run on.
    pub provider: ProviderId,
    /// Which of the test's repeats this is, from 1.
    pub repeat: u32,
}

/// Why a text is no id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing was given, or a segment has no characters.
    #[error("an id cannot be empty, nor any of its segments")]
    Empty,
    /// The text has more bytes than an id of its kind may have.
    #[error("an id has at most {limit} bytes, this one has {bytes}")]
    TooLong {
        /// How many it may have.
        limit: usize,
        /// How many it has.
        bytes: usize,
    },
    /// A character that no id may have there.
    #[error(
        "{character:?} cannot stand there in an id; ids are made of letters, digits, `_`, `.` and `-`, and begin with a letter, a digit or `_`"
    )]
    Character {
        /// The first offender.
        character: char,
    },
}

impl TestId {
    /// Parses a test id.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        check_length(text, MAX_TEST_ID_BYTES)?;
        text.split('/').try_for_each(check_segment)?;
        Ok(Self(text.into()))
    }

    /// The id as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProviderId {
    /// Parses a provider's name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.split_once('[') {
            None => {
                check_length(text, MAX_PROVIDER_ID_BYTES)?;
                check_segment(text)?;
            }
            Some((name, values)) => {
                check_length(text, MAX_MADE_ID_BYTES)?;
                check_segment(name)?;
                check_values(values)?;
            }
        }
        Ok(Self(text.into()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the values that a matrix has put behind it: that of the table in the scenario, unless that names its
    /// providers itself.
    pub fn table(name: &str) -> &str {
        name.split_once('[').map_or(name, |(table, _)| table)
    }
}

impl fmt::Display for TestId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for ProviderId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for TrialId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}#{}", self.test, self.provider, self.repeat)
    }
}

fn check_length(text: &str, limit: usize) -> Result<(), IdError> {
    if text.len() > limit {
        return Err(IdError::TooLong {
            limit,
            bytes: text.len(),
        });
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), IdError> {
    let first = segment.chars().next().ok_or(IdError::Empty)?;
    let is_inner =
        |character: &char| character.is_ascii_alphanumeric() || "_.-".contains(*character);
    if !is_inner(&first) || ".-".contains(first) {
        return Err(IdError::Character { character: first });
    }
    match segment.chars().find(|character| !is_inner(character)) {
        Some(character) => Err(IdError::Character { character }),
        None => Ok(()),
    }
}

/// Checks what stands behind the bracket of a name: `key=value` with commas between, and the bracket that closes.
fn check_values(values: &str) -> Result<(), IdError> {
    let (pairs, close) = values.split_at(values.len().saturating_sub(1));
    let is_plain =
        |character: &char| character.is_ascii_alphanumeric() || "_.+-=,".contains(*character);
    match pairs.chars().find(|character| !is_plain(character)) {
        Some(character) => Err(IdError::Character { character }),
        None if close != "]" || !pairs.split(',').all(|pair| pair.contains('=')) => {
            Err(IdError::Character { character: '[' })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{IdError, ProviderId, TestId};

    #[test]
    fn ids_are_segments_of_plain_characters() {
        for good in ["a", "_x", "rfc8259/numbers/1e5", "a.b-c_d", "9"] {
            assert_eq!(
                TestId::parse(good).map(|id| id.to_string()),
                Ok(good.into())
            );
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", ".a", "-a", "a b", "a@b", "a#1", "ä", "a/..", "a\n",
        ] {
            assert!(TestId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ids_have_a_longest_length() {
        assert!(TestId::parse(&"a".repeat(200)).is_ok());
        assert_eq!(
            TestId::parse(&"a".repeat(201)),
            Err(IdError::TooLong {
                limit: 200,
                bytes: 201
            })
        );
        assert!(ProviderId::parse(&"a".repeat(65)).is_err());
        assert!(ProviderId::parse("a/b").is_err());
    }

    #[test]
    fn names_that_a_matrix_makes_have_its_values() {
        for good in ["a[b=c]", "a[b=1.5,c=x+y]", "a[b=-1]"] {
            assert!(ProviderId::parse(good).is_ok(), "{good}");
            assert_eq!(ProviderId::table(good), "a");
        }
        for bad in [
            "a[",
            "a[]",
            "a[b]",
            "a[b=c",
            "a[b=c]d",
            "[b=c]",
            "a[b=@]",
            "a[b=c][d=e]",
        ] {
            assert!(ProviderId::parse(bad).is_err(), "{bad}");
        }
        assert!(ProviderId::parse(&format!("a[b={}]", "c".repeat(200))).is_err());
    }
}
