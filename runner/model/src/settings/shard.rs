//! [`Shard`]: a part of a plan whose trials are divided among processes.

use std::fmt;

use crate::{TrialId, digest, enum_text::as_text};

/// The most shards of a plan. A merged run has a session for each.
pub const MAX_SHARDS: u32 = 10_000;

/// Shard `index` of `count`, written as `3/64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// Creates shard `index`, from 1, of `count`. The error describes the problem.
    pub fn new(index: u64, count: u64) -> Result<Self, String> {
        if count == 0 || count > MAX_SHARDS.into() {
            return Err(format!("expected 1 to {MAX_SHARDS} shards, found {count}"));
        }
        if index == 0 || index > count {
            return Err(format!("expected a shard from 1 to {count}, found {index}"));
        }
        Ok(Self { index: index as u32, count: count as u32 })
    }

    /// Parses a shard such as `3/64`. The error describes the problem.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, count)| {
            let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            let number = |text: &str| text.parse::<u64>().ok().filter(|_| is_number(text));
            Some((number(index)?, number(count)?))
        });
        let (index, count) =
            numbers.ok_or("expected the number of a shard and of all, such as `3/64`")?;
        Self::new(index, count)
    }

    /// Returns the shard's number, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// Returns the number of shards.
    pub fn count(self) -> u32 {
        self.count
    }

    /// Returns the shard of a trial: the first 8 bytes of the SHA-256 of `runner-shard-1`, a zero byte and the id, as a
    /// big-endian number, modulo `count`. Never changes: shards that several versions have run are merged.
    pub fn of(trial: &TrialId, count: u32) -> Self {
        let digest = digest(format!("runner-shard-1\0{trial}").as_bytes());
        let first = digest.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
        Self { index: (first % u64::from(count)) as u32 + 1, count }
    }

    /// Returns the name for paths, such as `03-of-64`. Names sort by number.
    pub fn file_name(self) -> String {
        let width = self.count.to_string().len();
        format!("{:0width$}-of-{}", self.index, self.count)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

as_text!(Shard, Shard::parse);

#[cfg(test)]
mod tests {
    use super::{MAX_SHARDS, Shard};
    use crate::{ProviderName, TestId, TrialId};

    fn trial(test: &str, repeat: u32) -> TrialId {
        let (test, provider) = (TestId::parse(test).unwrap(), ProviderName::parse("echo").unwrap());
        TrialId { test, provider, repeat }
    }

    #[test]
    fn trials_stay_in_their_shards() {
        // printf 'runner-shard-1\0greeting@echo#1' | sha256sum: the first 16 digits modulo 64, plus 1.
        assert_eq!(Shard::of(&trial("greeting", 1), 64).to_string(), "34/64");
        assert_eq!(Shard::of(&trial("greeting", 2), 64).to_string(), "50/64");
    }

    #[test]
    fn shards_have_about_equal_sizes() {
        let mut sizes = [0; 7];
        for number in 0..7000 {
            sizes[Shard::of(&trial(&format!("t/{number}"), 1), 7).index() as usize - 1] += 1;
        }
        assert!(sizes.iter().all(|size| (850..1150).contains(size)), "{sizes:?}");
    }

    #[test]
    fn only_existing_shards_are_parsed() {
        let shard = Shard::parse("3/64").unwrap();
        assert_eq!((shard.index(), shard.count()), (3, 64));
        assert_eq!((shard.to_string(), shard.file_name()), ("3/64".into(), "03-of-64".into()));
        let too_many = format!("1/{}", MAX_SHARDS + 1);
        for wrong in ["", "3", "0/4", "5/4", "1/0", "-1/4", "+1/4", "1/4/2", "a/b", &too_many] {
            assert!(Shard::parse(wrong).is_err(), "{wrong}");
        }
    }
}
