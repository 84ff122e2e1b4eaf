//! How rows have digests: whole in lines of version 1, and as much as is needed to tell one from another since.
//!
//! A row's digests are only ever compared with those of the same trial in another run, to tell whether it was decided by the
//! same, never looked up among many: so it is 2^-64 that counts, for each pair, and not the birthday bound. Of 10^6 trials
//! with a change each, one goes unnoticed in 2·10^13 comparisons of runs. Nobody gains by finding two that begin alike:
//! whoever can write scenarios decides their results anyway. What has to withstand that, and `resume --accept-changes`,
//! goes by the whole digests of plans and files, which are in the manifest.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use crate::model::{Digest, parse_hex};

/// A digest of what decides a row's result, or its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowDigest {
    /// All of it.
    Whole(Digest),
    /// Its first 64 bits.
    Beginning([u8; 8]),
}

/// The beginnings of both digests of a row: 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineFingerprint([u8; 16]);

impl RowDigest {
    /// The beginning of a digest.
    pub(in crate::record) fn beginning_of(digest: Digest) -> Self {
        Self::Beginning(Self::Whole(digest).beginning())
    }

    /// Tells whether it is that digest, as far as it says.
    pub fn begins(self, digest: Digest) -> bool {
        self.beginning() == Self::Whole(digest).beginning()
    }

    /// How the beginning of a digest is written.
    pub(in crate::record) fn digits_of(digest: Digest) -> [u8; 16] {
        let mut digits = [0; 16];
        hex(&Self::Whole(digest).beginning(), &mut digits);
        digits
    }

    fn beginning(self) -> [u8; 8] {
        match self {
            Self::Whole(digest) => *digest.as_bytes().first_chunk().expect("it has 32 bytes"),
            Self::Beginning(bytes) => bytes,
        }
    }
}

impl LineFingerprint {
    /// Of a row; the judgement's is zero where there is none, as in rows of version 0.1.0.
    pub(in crate::record) fn of(execution: RowDigest, judgement: Option<RowDigest>) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&execution.beginning());
        if let Some(judgement) = judgement {
            bytes[8..].copy_from_slice(&judgement.beginning());
        }
        Self(bytes)
    }

    /// The execution's and the judgement's.
    pub(in crate::record) fn parts(self) -> ([u8; 8], [u8; 8]) {
        let halves = self.0.as_chunks().0;
        (halves[0], halves[1])
    }
}

impl Serialize for RowDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Whole(digest) => serializer.serialize_str(hex(digest.as_bytes(), &mut [0; 64])),
            Self::Beginning(bytes) => serializer.serialize_str(hex(bytes, &mut [0; 16])),
        }
    }
}

impl<'de> Deserialize<'de> for RowDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Digest::parse(&text)
            .map(Self::Whole)
            .or_else(|| parse_hex(&text).map(Self::Beginning))
            .ok_or_else(|| D::Error::custom(format_args!("`{text}` is not a digest")))
    }
}

impl JsonSchema for RowDigest {
    fn schema_name() -> Cow<'static, str> {
        "RowDigest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A SHA-256 in hexadecimal, or its first 16 digits.",
            "pattern": "^[0-9a-f]{16}([0-9a-f]{48})?$",
        })
    }
}

impl Serialize for LineFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(hex(&self.0, &mut [0; 32]))
    }
}

impl<'de> Deserialize<'de> for LineFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        parse_hex(&text)
            .map(Self)
            .ok_or_else(|| D::Error::custom(format_args!("`{text}` is not a fingerprint")))
    }
}

impl JsonSchema for LineFingerprint {
    fn schema_name() -> Cow<'static, str> {
        "LineFingerprint".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "128 bits in hexadecimal.",
            "pattern": "^[0-9a-f]{32}$",
        })
    }
}

/// Writes bytes in hexadecimal. Once per row, so not through the formatter, which costs as much as the rest of the row.
fn hex<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).expect("hexadecimal digits are text")
}

#[cfg(test)]
mod tests {
    use super::RowDigest;
    use crate::{
        model::Outcome,
        record::{Row, format::row::RowPlace, testing::entry},
    };

    #[test]
    fn the_fingerprint_of_a_line_begins_both_digests() {
        let entry = entry(3, 1, Outcome::Passed);
        let row = Row::new(&entry, RowPlace { seq: 1, session: 1 });
        let shown = |digest: RowDigest| serde_json::to_value(digest).unwrap();
        let judgement = shown(row.judgement_fingerprint.unwrap());
        let [execution, judged] = [entry.fingerprint.execution, entry.fingerprint.judgement]
            .map(|digest| digest.to_string()[..16].to_owned());
        assert_eq!(shown(row.fingerprint), execution);
        assert_eq!(judgement, judged);
        let mut line = Vec::new();
        row.encode(&mut line);
        let line = String::from_utf8(line).unwrap();
        assert!(
            line.contains(&format!("\"digests\":\"{execution}{judged}\"")),
            "{line}"
        );
    }
}
