//! How the shared words and values are written in JSON; `model` itself knows no format.

use std::{borrow::Cow, path::Path};

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

use super::phases::WaitReason;
use crate::model::{
    CheckVerdict, Digest, ErrorClass, Outcome, Reason, RunStatus, Stage, StopSignal, TRAP_CODES,
    Verdict,
};

/// Writes a path as text, the only thing that JSON has; what of it is no text is replaced.
pub(in crate::record) fn lossy_path<S: Serializer>(
    path: &Path,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// A type with a closed list of words.
pub(crate) trait Word: Copy + Sized + 'static {
    /// What the list is called in a schema.
    const NAME: &'static str;
    /// What one of its words is, for people.
    const MEANING: &'static str;
    /// Every value.
    const ALL: &'static [Self];
    /// The word for it.
    fn word(self) -> &'static str;
}

impl Word for Outcome {
    const NAME: &'static str = "Outcome";
    const MEANING: &'static str = "outcome";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for ErrorClass {
    const NAME: &'static str = "ErrorClass";
    const MEANING: &'static str = "class of an error";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for CheckVerdict {
    const NAME: &'static str = "CheckVerdict";
    const MEANING: &'static str = "verdict of a check";
    const ALL: &'static [Self] = &[Self::Pass, Self::Fail, Self::Skip];
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for RunStatus {
    const NAME: &'static str = "RunStatus";
    const MEANING: &'static str = "status of a run";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Reason {
    const NAME: &'static str = "Reason";
    const MEANING: &'static str = "reason for the end of a run";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Stage {
    const NAME: &'static str = "Stage";
    const MEANING: &'static str = "stage of a run";
    const ALL: &'static [Self] = &[Self::Plan, Self::Run, Self::Finish];
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for Verdict {
    const NAME: &'static str = "Verdict";
    const MEANING: &'static str = "verdict of a run";
    const ALL: &'static [Self] = &[Self::Passed, Self::Failed, Self::None];
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for StopSignal {
    const NAME: &'static str = "StopSignal";
    const MEANING: &'static str = "signal that stops a run";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

impl Word for WaitReason {
    const NAME: &'static str = "WaitReason";
    const MEANING: &'static str = "reason to wait";
    const ALL: &'static [Self] = &Self::ALL;
    fn word(self) -> &'static str {
        self.as_str()
    }
}

/// Finds the value that a word stands for.
pub(crate) fn parse<T: Word>(word: &str) -> Option<T> {
    T::ALL.iter().copied().find(|value| value.word() == word)
}

/// The schema of a word, for `#[schemars(with = …)]`.
pub(crate) struct WordSchema<T>(std::marker::PhantomData<T>);

impl<T: Word> JsonSchema for WordSchema<T> {
    fn schema_name() -> Cow<'static, str> {
        T::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = T::ALL.iter().map(|value| value.word()).collect();
        json_schema!({ "type": "string", "enum": words })
    }
}

/// The schema of the code of an error, for `#[schemars(with = …)]`.
pub(in crate::record) struct CodeSchema;

impl JsonSchema for CodeSchema {
    fn schema_name() -> Cow<'static, str> {
        "ErrorCode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "description": "The name of a trap.", "enum": TRAP_CODES.as_slice() },
                { "description": "Another word.", "type": "string" },
            ],
        })
    }
}

/// The schema of a digest, for `#[schemars(with = …)]`.
pub(crate) struct DigestSchema;

impl JsonSchema for DigestSchema {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A SHA-256 in hexadecimal.",
            "pattern": "^[0-9a-f]{64}$",
        })
    }
}

/// The schema of an instant, for `#[schemars(with = …)]`.
pub(crate) struct InstantSchema;

impl JsonSchema for InstantSchema {
    fn schema_name() -> Cow<'static, str> {
        "Instant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An instant in UTC, with milliseconds.",
            "format": "date-time",
        })
    }
}

/// `#[serde(with)]` for words.
pub(crate) mod word {
    use super::{Cow, Deserialize, Deserializer, Error, Serializer, Word, parse};

    pub(crate) fn serialize<T: Word, S: Serializer>(
        value: &T,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(value.word())
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        let word = Cow::<str>::deserialize(deserializer)?;
        parse(&word).ok_or_else(|| {
            let known: Vec<_> = T::ALL
                .iter()
                .map(|one| format!("`{}`", one.word()))
                .collect();
            let (meaning, known) = (T::MEANING, known.join(", "));
            D::Error::custom(format_args!("`{word}` is no {meaning}: there is {known}"))
        })
    }
}

/// `#[serde(with)]` for words that may be missing.
pub(crate) mod optional_word {
    use super::{Deserialize, Deserializer, Serializer, Word, word};

    pub(crate) fn serialize<T: Word, S: Serializer>(
        value: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => word::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        #[derive(Deserialize)]
        #[serde(bound = "")]
        struct AsWord<T: Word>(#[serde(with = "word")] T);
        let value = Option::<AsWord<T>>::deserialize(deserializer)?;
        Ok(value.map(|AsWord(value)| value))
    }
}

/// `#[serde(with)]` for digests.
pub(crate) mod digest {
    use super::{Cow, Deserialize, Deserializer, Digest, Error, Serializer};

    const DIGITS: &[u8; 16] = b"0123456789abcdef";

    pub(crate) fn serialize<S: Serializer>(
        digest: &Digest,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // Once per row, so not through the formatter, which costs as much as the rest of the row.
        let mut text = [0; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(digest.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        serializer.serialize_str(std::str::from_utf8(&text).expect("hexadecimal digits are text"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Digest, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Digest::parse(&text)
            .ok_or_else(|| D::Error::custom(format_args!("`{text}` is not a SHA-256 digest")))
    }
}

/// `#[serde(with)]` for lists of digests.
pub(crate) mod digests {
    use super::{Deserialize, Deserializer, Digest, Serializer, digest};

    pub(crate) fn serialize<S: Serializer>(
        digests: &[Digest],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(digests.iter().map(Digest::to_string))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Digest>, D::Error> {
        #[derive(Deserialize)]
        struct OneDigest(#[serde(with = "digest")] Digest);
        let digests = Vec::deserialize(deserializer)?;
        Ok(digests
            .into_iter()
            .map(|OneDigest(digest)| digest)
            .collect())
    }
}

/// `#[serde(with)]` for instants, in UTC with milliseconds.
pub(crate) mod instant {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(crate) fn serialize<S: Serializer>(
        instant: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{instant:.3}"))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        Timestamp::deserialize(deserializer)
    }
}

/// `#[serde(with)]` for instants that may be missing.
pub(crate) mod optional_instant {
    use super::{Deserialize, Deserializer, Serializer, Timestamp, instant};

    pub(crate) fn serialize<S: Serializer>(
        instant: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match instant {
            Some(instant) => instant::serialize(instant, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(deserializer)
    }
}
