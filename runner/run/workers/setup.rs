//! [`Setup`]: the first message to a worker: all that it needs to make attempts, secrets among it.

use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::wire::{Decoder, Encoder, Frame, Garbled, Read};
use crate::{model::Digest, plugin::EngineOptions, run::plan::HandedPlan, scenario::SuiteOutline};

const KIND: u8 = 0xff;

/// What a worker is set up by.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Setup {
    /// The process that it must not outlive.
    pub(super) parent: u32,
    pub(super) run_dir: PathBuf,
    pub(super) session: u32,
    pub(super) plan: HandedPlan,
    /// Where the list of tests is.
    pub(super) suite: PathBuf,
    /// What the sandboxes of one executor may hold together, in bytes.
    pub(super) memory_share: u64,
    /// What its attempts may hold together, in bytes, where not all of them can have all that they may.
    pub(super) memory: Option<u64>,
    /// How many slots it will have at most.
    pub(super) slots: usize,
    /// How many threads guests run on.
    pub(super) threads: usize,
    /// How long what executors say gathers at most, while they have enough to do.
    pub(super) window: Duration,
    pub(super) scratch_root: PathBuf,
    pub(super) engine: WorkerEngine,
}

/// Where a worker's engine is set up.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct WorkerEngine {
    pub(super) compiler: PathBuf,
    pub(super) cache: PathBuf,
    pub(super) compile_timeout: Duration,
    pub(super) pools_sandboxes: bool,
}

impl WorkerEngine {
    pub(super) fn of(options: &EngineOptions, pools_sandboxes: bool) -> Self {
        Self {
            compiler: options.compiler.clone(),
            cache: options.cache.clone(),
            compile_timeout: options.compile_timeout,
            pools_sandboxes,
        }
    }
}

impl Setup {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut frame = Frame::begin(KIND);
        frame.u64(self.parent.into());
        path(&mut frame, &self.run_dir);
        frame.u64(self.session.into());
        encode_plan(&mut frame, &self.plan);
        path(&mut frame, &self.suite);
        frame.u64(self.memory_share);
        frame.option(self.memory, Encoder::u64);
        frame.usize(self.slots);
        frame.usize(self.threads);
        frame.duration(self.window);
        path(&mut frame, &self.scratch_root);
        path(&mut frame, &self.engine.compiler);
        path(&mut frame, &self.engine.cache);
        frame.duration(self.engine.compile_timeout);
        frame.bool(self.engine.pools_sandboxes);
        Frame::end(frame)
    }

    pub(super) fn decode(frame: &[u8]) -> Read<Self> {
        let mut decoder = Decoder::new(frame);
        if decoder.u8()? != KIND {
            return Err(Garbled);
        }
        Ok(Self {
            parent: decoder.u32()?,
            run_dir: read_path(&mut decoder)?,
            session: decoder.u32()?,
            plan: decode_plan(&mut decoder)?,
            suite: read_path(&mut decoder)?,
            memory_share: decoder.u64()?,
            memory: decoder.option(Decoder::u64)?,
            slots: decoder.usize()?,
            threads: decoder.usize()?,
            window: decoder.duration()?,
            scratch_root: read_path(&mut decoder)?,
            engine: WorkerEngine {
                compiler: read_path(&mut decoder)?,
                cache: read_path(&mut decoder)?,
                compile_timeout: decoder.duration()?,
                pools_sandboxes: decoder.bool()?,
            },
        })
    }
}

pub(super) fn encode_plan(frame: &mut Encoder, plan: &HandedPlan) {
    let HandedPlan {
        digest,
        overrides,
        suite,
        secrets,
        folders,
    } = plan;
    frame.str(&digest.to_string());
    frame.str(overrides);
    frame.str(&suite.digest.to_string());
    for number in [suite.bytes, suite.tests, suite.trials] {
        frame.u64(number);
    }
    frame.list(&suite.blocks, |frame, block| numbers(frame, block));
    frame.list(&suite.definitions, |frame, place| numbers(frame, place));
    frame.usize(secrets.len());
    for (name, value) in secrets {
        frame.str(name);
        frame.str(value);
    }
    frame.list(folders, |frame, folders| {
        frame.list(folders, |frame, (guest, identity)| {
            frame.str(guest);
            numbers(frame, identity);
        });
    });
}

pub(super) fn decode_plan(decoder: &mut Decoder<'_>) -> Read<HandedPlan> {
    let digest = read_digest(decoder)?;
    let overrides = decoder.string()?;
    let suite = SuiteOutline {
        digest: read_digest(decoder)?,
        bytes: decoder.u64()?,
        tests: decoder.u64()?,
        trials: decoder.u64()?,
        blocks: decoder.list(read_numbers)?,
        definitions: decoder.list(read_numbers)?,
    };
    let secrets = decoder.list(|decoder| Ok((decoder.string()?, decoder.string()?)))?;
    let folders = decoder
        .list(|decoder| decoder.list(|decoder| Ok((decoder.string()?, read_numbers(decoder)?))))?;
    Ok(HandedPlan {
        digest,
        overrides,
        suite,
        secrets: secrets.into_iter().collect(),
        folders,
    })
}

fn numbers(frame: &mut Encoder, numbers: &[u64]) {
    for number in numbers {
        frame.u64(*number);
    }
}

fn read_numbers<const N: usize>(decoder: &mut Decoder<'_>) -> Read<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = decoder.u64()?;
    }
    Ok(numbers)
}

fn path(frame: &mut Encoder, path: &Path) {
    frame.bytes(path.as_os_str().as_bytes());
}

fn read_path(decoder: &mut Decoder<'_>) -> Read<PathBuf> {
    Ok(OsString::from_vec(decoder.bytes()?.to_vec()).into())
}

pub(super) fn read_digest(decoder: &mut Decoder<'_>) -> Read<Digest> {
    Digest::parse(decoder.str()?).ok_or(Garbled)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, ffi::OsStr, os::unix::ffi::OsStrExt as _, time::Duration};

    use super::{Setup, WorkerEngine};
    use crate::{model::Digest, run::plan::HandedPlan, scenario::SuiteOutline};

    #[test]
    fn a_worker_gets_all_that_it_is_set_up_by() {
        let setup = Setup {
            parent: 7,
            run_dir: OsStr::from_bytes(b"results/\xff").into(),
            session: 3,
            plan: HandedPlan {
                digest: Digest::of(b"plan"),
                overrides: r#"{"jobs":2}"#.to_owned(),
                suite: SuiteOutline {
                    digest: Digest::of(b"suite"),
                    bytes: 1 << 40,
                    tests: 300,
                    trials: 600,
                    blocks: vec![[0, 0, 0], [70_000, 256, 512]],
                    definitions: vec![[0, 900]],
                },
                secrets: BTreeMap::from([("KEY".to_owned(), "a\nb".to_owned())]),
                folders: vec![vec![], vec![("/data".to_owned(), [u64::MAX, 1])]],
            },
            suite: "results/content/ab/cd".into(),
            memory_share: u64::MAX,
            memory: Some(1 << 34),
            slots: 12,
            threads: 2,
            window: Duration::from_millis(3),
            scratch_root: "/tmp".into(),
            engine: WorkerEngine {
                compiler: "/usr/bin/runner".into(),
                cache: "cache".into(),
                compile_timeout: Duration::from_secs(300),
                pools_sandboxes: true,
            },
        };
        let sent = setup.encode();
        assert!(Setup::decode(&sent[4..]) == Ok(setup));
        for cut in 4..sent.len() - 1 {
            assert!(Setup::decode(&sent[4..cut]).is_err());
        }
    }
}
