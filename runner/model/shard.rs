//! [`Shard`]: which part of a plan's trials a run has.

use std::{fmt, num::NonZeroU32, str::FromStr};

use sha2::{Digest as _, Sha256};

use super::Digest;

/// Begins what is hashed of a trial; another number, another division.
const SHARD: &[u8] = b"runner-shard-1\0";

/// One of the equal parts that a plan's trials are divided into, so that each can be run on a machine of its own.
///
/// Which part a trial belongs to depends on its id and on the number of parts, and on nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shard {
    /// Which part, from 1; at most `count`.
    index: NonZeroU32,
    /// How many parts there are.
    count: NonZeroU32,
}

impl Shard {
    /// The part number `index`, from 1, of `count`; `None` if there is no such part.
    pub fn new(index: u32, count: u32) -> Option<Self> {
        let (index, count) = (NonZeroU32::new(index)?, NonZeroU32::new(count)?);
        (index <= count).then_some(Self { index, count })
    }

    /// Which part it is, from 1.
    pub fn index(self) -> u32 {
        self.index.get()
    }

    /// How many parts there are.
    pub fn count(self) -> u32 {
        self.count.get()
    }

    /// Tells whether the trial with this id belongs to it.
    pub fn has(self, trial: &str) -> bool {
        Self::of(trial, self.count) == self
    }

    /// The part that the trial with this id belongs to, where there are `count`:
    /// the first 8 bytes of SHA-256 over `runner-shard-1`, a zero byte and the id, as a big-endian number, modulo `count`.
    pub fn of(trial: &str, count: NonZeroU32) -> Self {
        let hash = Digest::finish(Sha256::new().chain_update(SHARD).chain_update(trial));
        let first = hash
            .as_bytes()
            .first_chunk()
            .expect("a digest has 32 bytes");
        let place = u64::from_be_bytes(*first) % u64::from(count.get());
        #[expect(clippy::cast_possible_truncation, reason = "less than a `u32`")]
        let index = NonZeroU32::MIN.saturating_add(place as u32);
        Self { index, count }
    }

    /// Its name in paths: as long for each part, so that names sort by number.
    pub fn file_name(self) -> String {
        let width = self.count.to_string().len();
        format!("{:0width$}-of-{}", self.index, self.count)
    }
}

/// As people write it: `3/64`.
impl fmt::Display for Shard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u32>().ok();
        let numbers = text
            .split_once('/')
            .and_then(|(index, count)| Some((number(index)?, number(count)?)));
        let Some((index, count)) = numbers else {
            return Err("a shard is written as its number and how many there are: `3/64`".into());
        };
        Self::new(index, count).ok_or_else(|| {
            format!("of {count} shards there is no number {index}: they count from 1")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::Shard;

    #[test]
    fn where_a_trial_belongs_stays_as_it_is() {
        // printf 'runner-shard-1\0greeting@echo#1' | sha256sum, the first 16 digits modulo 64, and one more.
        let count = NonZeroU32::new(64).unwrap();
        let shard = |trial| Shard::of(trial, count).to_string();
        assert_eq!(shard("greeting@echo#1"), "34/64");
        assert_eq!(shard("greeting@echo#2"), "50/64");
    }

    #[test]
    fn every_trial_belongs_to_one_part_and_parts_are_about_equal() {
        let shards: Vec<_> = (1..=7).map(|index| Shard::new(index, 7).unwrap()).collect();
        let mut sizes = [0; 7];
        for trial in (0..7_000).map(|n| format!("test/{n}@provider#1")) {
            let in_these: Vec<_> = shards.iter().filter(|shard| shard.has(&trial)).collect();
            let [shard] = in_these[..] else {
                panic!("{trial} is in {in_these:?}")
            };
            sizes[shard.index() as usize - 1] += 1;
        }
        assert!(
            sizes.iter().all(|size| (850..1150).contains(size)),
            "{sizes:?}"
        );
    }

    #[test]
    fn only_parts_that_are_there_can_be_written() {
        let shard: Shard = "3/64".parse().unwrap();
        assert_eq!((shard.index(), shard.count()), (3, 64));
        assert_eq!(
            (shard.to_string(), shard.file_name()),
            ("3/64".into(), "03-of-64".into())
        );
        for wrong in [
            "",
            "3",
            "0/4",
            "5/4",
            "1/0",
            "-1/4",
            "1/4/2",
            "a/b",
            "1/5000000000",
        ] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
