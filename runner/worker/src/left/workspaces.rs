//! [`Bases`]: the worker's copies of the folders that workspaces start as, each made once.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::{cell::RefCell, collections::HashMap, io, rc::Rc, sync::Arc};

use runner_model::test::ExpectedWorkspace;
use runner_model::tree::LeftEntry;
use runner_model::workspace::{CHANGES, CONTENTS, WorkspaceResult, copy_name, read_base};
use runner_model::{Digest, Row};
use runner_sandbox::{Base, LeftContent, LeftFile, LeftWorkspace};
use tokio::{sync::OnceCell, task::spawn_blocking};

use crate::judge::JudgedFiles;

/// The copies of one worker.
pub struct Bases {
    /// The worker's private folder.
    scratch: PathBuf,
    copies: RefCell<HashMap<Digest, Rc<OnceCell<Arc<Base>>>>>,
}

impl Bases {
    pub fn new(scratch: &str) -> Self {
        Self { scratch: scratch.into(), copies: RefCell::default() }
    }

    /// Returns the copy of a base. `fetch` returns the path of a blob once it is there, after `request` has asked for it.
    ///
    /// # Errors
    ///
    /// A base that is not one, a full disk, or a supervisor that is gone.
    pub async fn copy(
        &self,
        digest: &Digest,
        request: impl Fn(&Digest) -> io::Result<()>,
        fetch: impl AsyncFn(&Digest) -> io::Result<PathBuf>,
    ) -> io::Result<Arc<Base>> {
        let cell = Rc::clone(self.copies.borrow_mut().entry(*digest).or_default());
        let make = async || {
            let lines = fs::read(fetch(digest).await?)?;
            let contents: Vec<_> = read_base(&lines)?.iter().filter_map(|one| one.sha256).collect();
            // All at once, because each takes a way to the supervisor and back.
            contents.iter().try_for_each(&request)?;
            for content in &contents {
                fetch(content).await?;
            }
            let folder = self.scratch.join(copy_name(digest));
            let blobs = fetch(digest).await?;
            let copy = move || {
                let blobs = blobs.parent().unwrap_or(Path::new("."));
                // A copy that failed before, on a full disk.
                let _ = fs::remove_dir_all(&folder);
                Base::copy(&read_base(&lines)?, &folder, |content| blobs.join(content.to_string()))
            };
            spawn_blocking(copy).await.map_err(io::Error::other)?.map(Arc::new)
        };
        cell.get_or_try_init(make).await.cloned()
    }
}

/// Reads a file that an attempt left. `blobs` is the folder of the base's contents, and `contents` the file with those of changes.
///
/// # Errors
///
/// The file cannot be read, or is shorter than its entry says.
pub fn content(left: &LeftEntry, blobs: &Path, contents: Option<&File>) -> io::Result<Vec<u8>> {
    // Without a byte, there may be no contents.
    if left.entry.bytes == 0 {
        return Ok(Vec::new());
    }
    let missing = io::ErrorKind::NotFound;
    match (left.at, contents) {
        (None, _) => {
            let sha256 = left.entry.sha256.ok_or(missing)?;
            fs::read(blobs.join(sha256.to_string()))
        }
        (Some(at), Some(contents)) => {
            let mut bytes = vec![0; left.entry.bytes as usize];
            contents.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        }
        (Some(_), None) => Err(missing.into()),
    }
}

/// Returns what an attempt has left, as far as its test expects something of it. `base` is the blob of the base.
pub fn left_files(
    expected: &ExpectedWorkspace,
    base: Option<&Digest>,
    blobs: &Path,
    left: &LeftWorkspace,
) -> Result<JudgedFiles, String> {
    let base = base.map(|digest| fs::read(blobs.join(digest.to_string()))).transpose();
    let base = base.map_err(|error| error.to_string())?.unwrap_or_default();
    JudgedFiles::read(expected, &base, &left.changes, |entry| {
        match (&left.contents.content, entry.at) {
            (LeftContent::File(file), _) => content(entry, blobs, Some(file)),
            (LeftContent::Memory(bytes), Some(at)) => {
                let from = at as usize..(at + entry.entry.bytes) as usize;
                Ok(bytes.get(from).ok_or(io::ErrorKind::NotFound)?.to_vec())
            }
            (LeftContent::Memory(_), None) => content(entry, blobs, None),
        }
    })
}

/// Adds what an attempt left in its workspace to its row. Returns the files that become its last artifacts.
pub fn add_changes(
    row: &mut Row<'_>,
    base: Option<Digest>,
    left: Option<LeftWorkspace>,
) -> Vec<LeftFile> {
    let Some(left) = left else { return Vec::new() };
    let LeftWorkspace { changes, contents, added, changed, removed, is_partial: partial } = left;
    row.workspace = Some(WorkspaceResult { base, changes: None, added, changed, removed, partial });
    if changes.is_empty() {
        return Vec::new();
    }
    let list = LeftFile {
        name: CHANGES.into(),
        media_type: "application/x-ndjson".into(),
        bytes: changes.len() as u64,
        content: LeftContent::Memory(changes),
    };
    let contents = LeftFile { name: CONTENTS.into(), ..contents };
    [list].into_iter().chain((contents.bytes > 0).then_some(contents)).collect()
}
