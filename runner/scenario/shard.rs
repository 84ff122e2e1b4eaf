//! The part of a [`Suite`] that a shard has.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
};

use serde_json::value::{RawValue, to_raw_value};
use sha2::{Digest as _, Sha256};

use super::{
    Suite,
    definition::read_definition,
    suite::{DEFINITION, SuiteParts},
    test_line::{TestLine, read_repeats},
    whole_file::WholeFile,
};
use crate::model::{Digest, Shard};

impl Suite {
    /// The trials of this suite that belong to `shard`, in the same order, as a suite of their own; `providers` are the names
    /// of the scenario's providers. It hands over the same attachments, and may be empty.
    ///
    /// # Errors
    ///
    /// Fails if the tests cannot be read, or the part cannot be written into a temporary file.
    pub fn part(&self, shard: Shard, providers: &[&str]) -> io::Result<Self> {
        let mut part = SuitePart {
            shard,
            providers,
            file: BufWriter::with_capacity(1 << 16, tempfile::tempfile()?),
            hasher: Sha256::new(),
            line: Vec::new(),
            parts: SuiteParts::new(self.named().next().is_some()),
        };
        for (what, path) in self.named() {
            part.parts.name(what, path);
        }
        let mut reader = BufReader::with_capacity(1 << 16, WholeFile::new(self.file()));
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            match line.starts_with(DEFINITION.as_bytes()) {
                true => part.define(&line)?,
                false => part.take(&line)?,
            }
            line.clear();
        }
        let file = part
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        let digest = Digest::finish(part.hasher);
        let attachments = self.attachments();
        let attachments = attachments.map(|(digest, path)| (digest, path.to_owned()));
        Ok(part.parts.finish(file, digest, true, attachments.collect()))
    }
}

/// A part that is being written.
struct SuitePart<'a> {
    shard: Shard,
    providers: &'a [&'a str],
    file: BufWriter<File>,
    hasher: Sha256,
    line: Vec<u8>,
    parts: SuiteParts,
}

impl SuitePart<'_> {
    /// Takes over the definition of a schema.
    fn define(&mut self, line: &[u8]) -> io::Result<()> {
        let (digest, schema) = read_definition(line)?;
        self.write(line)?;
        self.parts.define(digest, schema, line);
        Ok(())
    }

    /// Takes of a test the trials that belong to the shard: a line for neighbouring providers with the same repeats, so that
    /// the trials keep their order.
    fn take(&mut self, line: &[u8]) -> io::Result<()> {
        let test = TestLine::read(line)?;
        let providers: Vec<u32> = serde_json::from_str(test.providers.get())?;
        let repeats = read_repeats(test.repeat, test.repeats.map(RawValue::get))?;
        let mut taken: Vec<(Vec<u32>, Vec<u32>)> = Vec::new();
        for provider in providers {
            let name = self
                .providers
                .get(provider as usize)
                .copied()
                .unwrap_or_default();
            let of = format!("{}@{name}#", test.id);
            let own = repeats
                .iter()
                .filter(|repeat| self.shard.has(&format!("{of}{repeat}")));
            let own: Vec<u32> = own.collect();
            match taken.last_mut() {
                _ if own.is_empty() => {}
                Some((providers, repeats)) if *repeats == own => providers.push(provider),
                _ => taken.push((vec![provider], own)),
            }
        }
        for (providers, own) in taken {
            let own_count = own.len() as u64;
            let some = (own_count < repeats.count())
                .then(|| to_raw_value(&own))
                .transpose()?;
            let mut line = std::mem::take(&mut self.line);
            line.clear();
            let test = TestLine {
                providers: &to_raw_value(&providers)?,
                repeats: some.as_deref(),
                ..test
            };
            serde_json::to_writer(&mut line, &test)?;
            line.push(b'\n');
            self.write(&line)?;
            self.parts.add(providers.len() as u64 * own_count, &line);
            self.line = line;
        }
        Ok(())
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.hasher.update(line);
        self.file.write_all(line)
    }
}

#[cfg(test)]
mod tests {
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
