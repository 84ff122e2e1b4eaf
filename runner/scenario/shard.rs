//! The part of a [`Suite`] that a shard has.

use std::{
    io::{self, BufWriter, Write as _},
    sync::Arc,
};

use serde_json::value::to_raw_value;
use sha2::{Digest as _, Sha256};

use super::{
    Suite,
    definition::read_definition,
    division::TrialText,
    expect::Schema,
    skimmed_test::SkimmedTest,
    suite::{DEFINITION, SuiteParts},
    test_line::{TestLine, read_repeats},
};
use crate::model::{Digest, Shard, cores, lines_of, work_in_lanes};

impl Suite {
    /// The trials of this suite that belong to `shard`, in the same order, as a suite of their own; `providers` are the names
    /// of the scenario's providers. It hands over the same attachments, and may be empty.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read, or the part cannot be written into a temporary file.
    pub fn part(&self, shard: Shard, providers: &[&str]) -> io::Result<Self> {
        let mut parts = SuiteParts::new(self.named().next().is_some());
        for (what, path) in self.named() {
            parts.name(what, path);
        }
        let mut file = BufWriter::with_capacity(1 << 16, tempfile::tempfile()?);
        let mut hasher = Sha256::new();
        let workers =
            (0..cores()).map(|_| |blocks| SuitePart::of(&self.lines_in(blocks)?, shard, providers));
        work_in_lanes(self.pieces(), workers, |part: io::Result<SuitePart>| {
            let part = part?;
            hasher.update(&part.bytes);
            file.write_all(&part.bytes)?;
            let mut rest = &part.bytes[..];
            for (length, line) in part.lines {
                let (text, after) = rest.split_at(length);
                rest = after;
                match line {
                    PartLine::Schema(digest, schema) => parts.define(digest, schema, text),
                    PartLine::Test { trials } => parts.add(trials, text),
                }
            }
            Ok::<_, io::Error>(true)
        })??;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let attachments = self.attachments();
        let attachments = attachments.map(|(digest, path)| (digest, path.to_owned()));
        let digest = Digest::finish(hasher);
        Ok(parts.finish(file, digest, true, attachments.collect()))
    }
}

/// What a shard has of some lines of a suite.
#[derive(Default)]
struct SuitePart {
    bytes: Vec<u8>,
    /// How many bytes each of its lines has, and what it is.
    lines: Vec<(usize, PartLine)>,
}

enum PartLine {
    Schema(Digest, Arc<Schema>),
    Test { trials: u64 },
}

impl SuitePart {
    fn of(lines: &[u8], shard: Shard, providers: &[&str]) -> io::Result<Self> {
        let mut part = Self::default();
        let mut trial = TrialText::default();
        for line in lines_of(lines) {
            match line.starts_with(DEFINITION.as_bytes()) {
                true => {
                    let (digest, schema) = read_definition(line)?;
                    part.bytes.extend(line);
                    part.lines
                        .push((line.len(), PartLine::Schema(digest, schema)));
                }
                false => part.take(line, shard, providers, &mut trial)?,
            }
        }
        Ok(part)
    }

    /// Takes of a test the trials that belong to the shard: a line for neighbouring providers with the same repeats, so that
    /// the trials keep their order.
    fn take(
        &mut self,
        line: &[u8],
        shard: Shard,
        names: &[&str],
        trial: &mut TrialText,
    ) -> io::Result<()> {
        let test = SkimmedTest::read(line)?;
        let providers: Vec<u32> = serde_json::from_str(test.providers)?;
        let repeats = read_repeats(test.repeat, test.repeats)?;
        let all = providers.len();
        let mut taken: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        for provider in providers {
            let name = names.get(provider as usize).copied().unwrap_or_default();
            trial.begin(test.id, name);
            let own = repeats.iter().filter(|repeat| shard.has(trial.of(*repeat)));
            let own: Vec<u32> = own.collect();
            match taken.last_mut() {
                _ if own.is_empty() => {}
                Some((providers, repeats)) if *repeats == own => providers.push(provider),
                _ => taken.push((vec![provider], own)),
            }
        }
        if let [(providers, own)] = &taken[..]
            && providers.len() == all
            && own.len() as u64 == repeats.count()
        {
            // As most tests of a scenario with one provider.
            let trials = all as u64 * repeats.count();
            self.bytes.extend(line);
            self.lines.push((line.len(), PartLine::Test { trials }));
            return Ok(());
        }
        if taken.is_empty() {
            return Ok(());
        }
        let test = TestLine::read(line)?;
        for (providers, own) in taken {
            let own_count = own.len() as u64;
            let some = (own_count < repeats.count())
                .then(|| to_raw_value(&own))
                .transpose()?;
            let begin = self.bytes.len();
            let test = TestLine {
                providers: &to_raw_value(&providers)?,
                repeats: some.as_deref(),
                ..test
            };
            serde_json::to_writer(&mut self.bytes, &test)?;
            self.bytes.push(b'\n');
            let trials = providers.len() as u64 * own_count;
            self.lines
                .push((self.bytes.len() - begin, PartLine::Test { trials }));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::Shard;
    use crate::scenario::{Selection, Suite, load, normalise};

    const PROVIDERS: [&str; 2] = ["a", "b"];

    /// A suite of tests with these repeats.
    fn suite(repeats: &[u32]) -> Suite {
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
        let scenario = load(&path).unwrap();
        normalise(&scenario, &Selection::default()).unwrap()
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
            let whole = suite(&repeats);
            let all = trials(&whole);
            let mut shards = Vec::new();
            let number = NonZeroU32::new(count).unwrap();
            whole.each_shard(number, &PROVIDERS, |shard| shards.push(shard)).unwrap();
            let of_all = all.iter().map(|trial| Shard::of(trial, number));
            prop_assert!(of_all.eq(shards));
            prop_assert!(whole.each_shard(number, &PROVIDERS[..1], |_| ()).is_err());
            for index in 1..=count {
                let shard = Shard::new(index, count).unwrap();
                let part = whole.part(shard, &PROVIDERS).unwrap();
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
