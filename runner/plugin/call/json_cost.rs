//! [`Allowance`]: how much memory the JSON of a guest may become.
//!
//! A text of 4 MiB can be a tree of 400 MiB: an object with a single key takes more than half a KiB. So the tree's size is
//! told from the text, in one pass and without memory of its own, before there is any tree.

use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::model::{Limits, json_cost};

/// Bytes of memory that all trees of one answer may take together. With the text itself, what is written of it into a
/// row and what a check repeats, an attempt stays below 64 MiB. 200,000 numbers in a list take 8 MiB, 30,000 small
/// objects take 20 MiB, and a text takes its own length.
pub(crate) const MAX_TREE_BYTES: u64 = 24 * 1024 * 1024;
/// Whoever raises `limits.reply` wants more than texts by it: so many bytes of trees for each byte of a reply.
const TREE_PER_REPLY: u64 = 6;

/// What the JSON of one answer may still become.
pub(super) struct Allowance {
    left: u64,
    limit: u64,
}

/// Why a text became no value.
#[derive(Debug, Error)]
pub(super) enum Unread {
    #[error(
        "as a value it would take more than {} of memory; a text, or an artifact, takes less than a list of so many values",
        bytesize::ByteSize(*.0)
    )]
    TooLarge(u64),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

impl Allowance {
    /// That of one answer under these limits.
    pub(in crate::plugin) fn of(limits: &Limits) -> Self {
        let limit = limits
            .reply
            .saturating_mul(TREE_PER_REPLY)
            .max(MAX_TREE_BYTES);
        Self { left: limit, limit }
    }

    /// Makes a value of a text if what is left allows it, and takes from that what it costs.
    pub(in crate::plugin) fn parse<T: DeserializeOwned>(
        &mut self,
        text: &[u8],
    ) -> Result<T, Unread> {
        let cost = json_cost(text);
        self.left = match self.left.checked_sub(cost) {
            Some(left) => left,
            None => return Err(Unread::TooLarge(self.limit)),
        };
        Ok(serde_json::from_slice(text)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{Allowance, Unread};
    use crate::model::Limits;

    fn is_allowed(text: &str) -> bool {
        let mut allowance = Allowance::of(&Limits::default());
        match allowance.parse::<Value>(text.as_bytes()) {
            Ok(_) => true,
            Err(Unread::TooLarge(_)) => false,
            Err(Unread::Json(error)) => panic!("{error}"),
        }
    }

    fn list(item: &str, times: usize) -> String {
        format!("[{}]", vec![item; times].join(","))
    }

    #[test]
    fn what_providers_answer_is_allowed() {
        assert!(is_allowed(&list("-0.012345678901234567", 190_000)));
        assert!(is_allowed(&format!("\"{}\"", "x".repeat(4 << 20))));
        let record = r#"{"id":12345,"text":"some words of it","score":0.25}"#;
        assert!(is_allowed(&list(record, 20_000)));
    }

    #[test]
    fn what_becomes_many_times_its_text_is_refused_before_it_does() {
        let mib = 1 << 20;
        for item in [
            r#"{"":0}"#,
            "[[]]",
            "[0]",
            "0",
            "\"x\"",
            r#"{"a":{"b":{}}}"#,
        ] {
            let text = list(item, 4 * mib / (item.len() + 1));
            assert!(!is_allowed(&text), "{item}");
        }
        let keys: Vec<_> = (0..400_000).map(|key| format!("\"{key}\":0")).collect();
        assert!(!is_allowed(&format!("{{{}}}", keys.join(","))));
    }

    #[test]
    fn all_texts_of_an_answer_are_counted_together() {
        let mut allowance = Allowance::of(&Limits::default());
        let text = list("0", 200_000);
        let parsed = (0..10).take_while(|_| allowance.parse::<Value>(text.as_bytes()).is_ok());
        assert_eq!(parsed.count(), 2);
        let more = Limits {
            reply: Limits::default().reply * 16,
            ..Limits::default()
        };
        let mut allowance = Allowance::of(&more);
        allowance
            .parse::<Value>(list("0", 1_000_000).as_bytes())
            .unwrap();
    }
}
