//! What is in a results root, by its directories alone.

use std::{
    ffi::OsString,
    io,
    os::fd::AsFd,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
};

use super::root::Store;
use crate::{
    model::cores,
    record::{
        disk::{
            layout::{NO_RUN, RunDir},
            stamp::{self, Stamp},
        },
        error::RecordError,
        format::manifest::Manifest,
    },
};

/// How many directories a thread looks at before it takes more: as many as take a millisecond or two.
const PART: usize = 256;

/// The manifests of a store, and what could not be read.
#[derive(Debug, Default)]
pub(in crate::record) struct Manifests {
    pub(in crate::record) manifests: Vec<FoundRun>,
    pub(in crate::record) unreadable: Vec<(PathBuf, RecordError)>,
}

/// The entries of a results root.
#[derive(Debug, Default)]
pub(in crate::record) struct Stamps {
    /// The names of the directories with a manifest, and the manifests' stamps.
    pub(in crate::record) found: Vec<(String, Stamp)>,
    /// What cannot be looked into, or cannot be named.
    pub(in crate::record) odd: Vec<(PathBuf, RecordError)>,
}

/// A run's manifest, as it was found.
#[derive(Debug)]
pub(in crate::record) struct FoundRun {
    pub(in crate::record) dir: RunDir,
    pub(in crate::record) stamp: Stamp,
    pub(in crate::record) manifest: Manifest,
}

impl FoundRun {
    /// The name of its directory; one that is not UTF-8 is that of no run.
    pub(in crate::record) fn id(&self) -> &str {
        let name = self.dir.path().file_name();
        name.and_then(|name| name.to_str()).unwrap_or_default()
    }
}

impl Store {
    /// Reads every manifest, whatever SQLite knows.
    pub(in crate::record) fn manifests(&self) -> Result<Manifests, RecordError> {
        let stamps = self.stamps()?;
        let mut all = Manifests {
            unreadable: stamps.odd,
            ..Manifests::default()
        };
        for (name, stamp) in stamps.found {
            let dir = self.root.run(&name);
            match read_as(&dir, name) {
                Ok(manifest) => all.manifests.push(FoundRun {
                    dir,
                    stamp,
                    manifest,
                }),
                Err(_) if stamp::is_gone(&dir) => {}
                Err(error) => all.unreadable.push((dir.path().to_owned(), error)),
            }
        }
        Ok(all)
    }

    /// Every directory with a manifest, and the manifest's stamp.
    pub(in crate::record) fn stamps(&self) -> Result<Stamps, RecordError> {
        let Some((root, names)) = self.entry_names()? else {
            return Ok(Stamps::default());
        };
        let mut stamps = Stamps::default();
        for (name, stamp) in names.iter().zip(stamps_of(root.file(), &names)) {
            let path = || self.root.path().join(name);
            match stamp {
                Ok(None) => {}
                Ok(Some(stamp)) => match name.to_str() {
                    Some(name) => stamps.found.push((name.to_owned(), stamp)),
                    None => {
                        let problem = io::Error::other("its name is not valid UTF-8");
                        stamps.odd.push((path(), RecordError::Odd(problem)));
                    }
                },
                Err(error) => stamps.odd.push((path(), RecordError::Odd(error))),
            }
        }
        Ok(stamps)
    }

    /// The results root, and the names of all that is in it; `None` where there is no results root.
    pub(super) fn entry_names(&self) -> Result<Option<(fs_err::File, Vec<OsString>)>, RecordError> {
        let failed = || RecordError::io("read the results root");
        let entries = match fs_err::read_dir(self.root.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed()(error)),
        };
        let root = fs_err::File::open(self.root.path()).map_err(failed())?;
        let names = entries.map(|entry| Ok(entry?.file_name()));
        let names: Result<Vec<_>, io::Error> = names.collect();
        Ok(Some((root, names.map_err(failed())?)))
    }
}

/// Looks for the manifests of directories with these names, on every core: the kernel takes most of the time of a long list
/// to find them.
fn stamps_of(root: impl AsFd + Copy + Sync, names: &[OsString]) -> Vec<io::Result<Option<Stamp>>> {
    let mut stamps: Vec<_> = names.iter().map(|_| Ok(None)).collect();
    let parts = Mutex::new(names.chunks(PART).zip(stamps.chunks_mut(PART)));
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let look = || {
        while let Some((names, stamps)) = next() {
            for (name, stamp) in names.iter().zip(stamps) {
                if name != NO_RUN {
                    *stamp = Stamp::within(root, name);
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..cores().min(names.len().div_ceil(PART)) {
            // Without another thread this one does it alone.
            drop(thread::Builder::new().spawn_scoped(scope, look));
        }
        look();
    });
    stamps
}

/// Reads the manifest of a directory; a copied one is a run of its own.
pub(in crate::record) fn read_as(dir: &RunDir, name: String) -> Result<Manifest, RecordError> {
    let mut manifest = Manifest::read(&dir.manifest())?;
    manifest.run_id = name;
    Ok(manifest)
}
