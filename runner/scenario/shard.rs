//! [`ShardLines`]: what a shard has of the tests of a suite.

use serde_json::value::to_raw_value;

use super::{Scenario, division::TrialText, test_line::TestLine};
use crate::model::Shard;

/// Makes of the line of a test those that a shard has of it. A clone of it is for another thread.
#[derive(Clone)]
pub(super) struct ShardLines<'s> {
    shard: Shard,
    /// The names of the scenario's providers.
    names: Vec<&'s str>,
    trial: TrialText,
}

/// Lines that a shard has, one after the other.
#[derive(Default)]
pub(super) struct OwnLines {
    bytes: Vec<u8>,
    /// How many bytes each has, and how many trials it makes.
    lines: Vec<(usize, u64)>,
}

impl<'s> ShardLines<'s> {
    pub(super) fn new(shard: Shard, scenario: &'s Scenario) -> Self {
        let providers = scenario.providers().iter();
        Self {
            shard,
            names: providers.map(|provider| provider.id.as_str()).collect(),
            trial: TrialText::default(),
        }
    }

    /// Takes of a test the trials that belong to the shard: a line for neighbouring providers with the same repeats, so that
    /// the trials keep their order. Says how many lines these are.
    pub(super) fn take(
        &mut self,
        test: &str,
        providers: &[u32],
        repeat: u32,
        line: &[u8],
        own: &mut OwnLines,
    ) -> usize {
        let mut taken: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        for provider in providers {
            self.trial.begin(test, self.names[*provider as usize]);
            let mut repeats = Vec::new();
            for repeat in 1..=repeat {
                if self.shard.has(self.trial.of(repeat)) {
                    repeats.push(repeat);
                }
            }
            match taken.last_mut() {
                _ if repeats.is_empty() => {}
                Some((providers, same)) if *same == repeats => providers.push(*provider),
                _ => taken.push((vec![*provider], repeats)),
            }
        }
        if let [(all, repeats)] = &taken[..]
            && all.len() == providers.len()
            && repeats.len() == repeat as usize
        {
            // As most tests of a scenario with one provider.
            own.bytes.extend(line);
            own.end_line(line.len(), all.len() * repeats.len());
            return 1;
        }
        if taken.is_empty() {
            return 0;
        }
        let test = TestLine::read(line).expect("a line that was just made can be read");
        for (providers, repeats) in &taken {
            let raw = |numbers| to_raw_value(numbers).expect("numbers are JSON");
            let some = (repeats.len() < repeat as usize).then(|| raw(repeats));
            let begin = own.bytes.len();
            let test = TestLine {
                providers: &raw(providers),
                repeats: some.as_deref(),
                ..test
            };
            serde_json::to_writer(&mut own.bytes, &test).expect("it has only texts as keys");
            own.bytes.push(b'\n');
            own.end_line(own.bytes.len() - begin, providers.len() * repeats.len());
        }
        taken.len()
    }
}

impl OwnLines {
    fn end_line(&mut self, bytes: usize, trials: usize) {
        self.lines.push((bytes, trials as u64));
    }

    /// How many trials each of them makes, and the line.
    pub(super) fn lines(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let mut rest = &self.bytes[..];
        self.lines.iter().map(move |(bytes, trials)| {
            let (line, after) = rest.split_at(*bytes);
            rest = after;
            (*trials, line)
        })
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lines.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::Shard;
    use crate::scenario::{Scenario, Selection, Suite, load, normalise, normalise_with_part};

    const PROVIDERS: [&str; 2] = ["a", "b"];

    /// A scenario of tests with these repeats.
    fn scenario(repeats: &[u32]) -> Scenario {
        let mut text = String::from("name = \"parts\"\ntimeout_minutes = 1\n");
        for name in PROVIDERS {
            text += &format!("[providers.{name}]\nplugin = \"bundled:echo\"\n");
        }
        for (index, repeat) in repeats.iter().enumerate() {
            text += &format!("[[tests]]\nid = \"t{index}\"\nrepeat = {repeat}\ninput = {index}\n");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("parts.toml");
        fs_err::write(&path, text).unwrap();
        load(&path).unwrap()
    }

    /// All tests, and those of a shard.
    fn divided(scenario: &Scenario, shard: Shard) -> (Suite, Suite) {
        normalise_with_part(scenario, &Selection::default(), shard).unwrap()
    }

    /// Shards of one run are begun by many processes, and merged by whichever version.
    #[test]
    fn a_shard_has_the_bytes_that_shards_were_stored_with() {
        let scenario = scenario(&[1, 2, 3, 1, 2, 3, 1, 2, 3, 1]);
        let (whole, part) = divided(&scenario, Shard::new(2, 3).unwrap());
        insta::assert_snapshot!(whole.digest(), @"19b6c62963f849ceea3a49b66006eb6dc2f1771884b2fa5d9f6494750081c379");
        insta::assert_snapshot!(part.digest(), @"07877d3a59250cccad79986435737655e639cb449f9b816b9d70271b020e16a2");
    }

    fn trials(suite: &Suite) -> Vec<String> {
        let mut reader = suite.reader();
        let trials = (0..suite.trial_count()).map(|ordinal| {
            let (test, provider, repeat) = reader.at(ordinal).unwrap();
            format!("{}@{}#{repeat}", test.id, PROVIDERS[provider])
        });
        trials.collect()
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole_and_keep_its_order(
            repeats in prop::collection::vec(1..6_u32, 1..40),
            count in 1..9_u32,
        ) {
            let scenario = scenario(&repeats);
            let whole = normalise(&scenario, &Selection::default()).unwrap();
            let all = trials(&whole);
            let mut shards = Vec::new();
            let number = NonZeroU32::new(count).unwrap();
            whole.each_shard(number, &PROVIDERS, |shard| shards.push(shard)).unwrap();
            let of_all = all.iter().map(|trial| Shard::of(trial, number));
            prop_assert!(of_all.eq(shards));
            prop_assert!(whole.each_shard(number, &PROVIDERS[..1], |_| ()).is_err());
            for index in 1..=count {
                let shard = Shard::new(index, count).unwrap();
                let (same, part) = divided(&scenario, shard);
                prop_assert_eq!(same.digest(), whole.digest());
                let own: Vec<_> = all.iter().filter(|trial| shard.has(trial)).cloned().collect();
                prop_assert_eq!(&trials(&part), &own);
                // As it is read back when its run goes on.
                let stored = Suite::open(part.file().try_clone().unwrap()).unwrap();
                prop_assert_eq!(stored.digest(), part.digest());
                prop_assert_eq!(&trials(&stored), &own);
                if count == 1 {
                    prop_assert_eq!(whole.digest(), part.digest());
                }
            }
        }
    }
}
