//! Takes secrets out of artifacts, which may be larger than memory has room for.

use std::{
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use super::{
    names::DistinctNames,
    redactor::{Redactor, SHORT_MARK},
};
use crate::{
    model::{Artifact, Content},
    plugin::sandbox::spool::{Extents, Spool, Spooled},
};

/// How long the name of an artifact may be.
pub(super) const MAX_NAME_BYTES: usize = 128;
/// How much of that a number may take that makes a name different.
const MAX_NUMBER_BYTES: usize = "-4294967295".len();
/// How much is looked at at once, beside what may be the beginning of a secret.
const PIECE_BYTES: usize = 64 * 1024;

impl Redactor {
    /// Artifacts keep names that are different and that files can have, and become no larger than they may be.
    ///
    /// If a secret is in one of them, all are written anew, in memory or in a file in `folder`.
    pub(super) fn artifacts(&self, artifacts: &mut [Artifact], folder: &Path) -> io::Result<()> {
        self.artifact_names(artifacts);
        for artifact in &*artifacts {
            if self.is_in_content(&*artifact.content)? {
                return self.rewrite(artifacts, folder);
            }
        }
        Ok(())
    }

    fn artifact_names(&self, artifacts: &mut [Artifact]) {
        let is_suspect = |name: &String| self.finder.find(name).is_some();
        let names = artifacts.iter().map(|artifact| &artifact.name);
        let mut names: DistinctNames = names.filter(|name| !is_suspect(name)).collect();
        for Artifact {
            name,
            media_type,
            content: _,
        } in artifacts
        {
            self.text(media_type);
            if is_suspect(name) {
                self.text(name);
                let is_plain = |character: char| {
                    character.is_ascii_alphanumeric() || "._-".contains(character)
                };
                let mut plain = name.replace(|character| !is_plain(character), "_");
                plain.truncate(MAX_NAME_BYTES - MAX_NUMBER_BYTES);
                *name = names.distinct(plain);
            }
        }
    }

    /// Tells whether there is a secret in a content.
    fn is_in_content(&self, content: &dyn Content) -> io::Result<bool> {
        let mut marking = Marking::new(self, |_| Ok(()));
        let looked = content
            .write_to(&mut UntilFound(&mut marking))
            .and_then(|()| marking.end());
        match looked {
            Err(_) if marking.has_found => Ok(true),
            looked => looked.map(|()| marking.has_found),
        }
    }

    /// Writes every content anew, without secrets. What they were before is then gone.
    fn rewrite(&self, artifacts: &mut [Artifact], folder: &Path) -> io::Result<()> {
        let mut spool = Spool::new(folder);
        let redact = |artifact: &Artifact| {
            let mut redacted = Extents::default();
            let mut marking = Marking::new(self, |piece| spool.append(&mut redacted, piece));
            artifact.content.write_to(&mut marking)?;
            marking.end()?;
            Ok(redacted)
        };
        let redacted = artifacts
            .iter()
            .map(redact)
            .collect::<io::Result<Vec<_>>>()?;
        let spool = Arc::new(spool);
        for (artifact, redacted) in artifacts.iter_mut().zip(redacted) {
            artifact.content = Arc::new(Spooled::new(&spool, redacted));
        }
        Ok(())
    }

    /// What stands for a secret of this length, and is no longer.
    pub(super) fn mark_within(&self, secret: usize, length: usize) -> &str {
        let mark = self.mark(secret);
        if mark.len() <= length {
            mark
        } else {
            SHORT_MARK
        }
    }
}

/// Puts marks in the place of secrets in what is written to it, wherever the pieces of that begin and end.
///
/// The result is that of all pieces at once: a secret is looked for only where the longest one would end in what is there,
/// so none is found that is the beginning of a longer one.
pub(super) struct Marking<'a, F> {
    redactor: &'a Redactor,
    /// What is not told yet.
    held: Vec<u8>,
    /// How much is held before it is looked at: much more than has to be looked at again.
    enough: usize,
    tell: F,
    has_found: bool,
}

impl<'a, F: FnMut(&[u8]) -> io::Result<()>> Marking<'a, F> {
    fn new(redactor: &'a Redactor, tell: F) -> Self {
        Self::looking_at(redactor, PIECE_BYTES + redactor.longest, tell)
    }

    /// Looks at `bytes` at once, beside as many as the longest secret has.
    pub(super) fn looking_at(redactor: &'a Redactor, bytes: usize, tell: F) -> Self {
        Self {
            redactor,
            held: Vec::new(),
            enough: bytes + redactor.longest,
            tell,
            has_found: false,
        }
    }

    /// Tells the rest when nothing more comes.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.tell_before(self.held.len())
    }

    /// Tells what is before `end`, and all of a secret that begins there.
    fn tell_before(&mut self, end: usize) -> io::Result<()> {
        let (mut told, mut rest) = (Vec::new(), 0);
        for found in self.redactor.finder.find_iter(&self.held) {
            if found.start() >= end {
                break;
            }
            let secret = self.redactor.forms[found.pattern().as_usize()].secret;
            let mark = self.redactor.mark_within(secret, found.len());
            told.extend_from_slice(&self.held[rest..found.start()]);
            told.extend_from_slice(mark.as_bytes());
            rest = found.end();
            self.has_found = true;
        }
        let end = end.max(rest);
        told.extend_from_slice(&self.held[rest..end]);
        self.held.drain(..end);
        (self.tell)(&told)
    }
}

impl<F: FnMut(&[u8]) -> io::Result<()>> Write for Marking<'_, F> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let piece = &piece[..piece.len().min(PIECE_BYTES)];
        self.held.extend_from_slice(piece);
        if self.held.len() >= self.enough {
            self.tell_before(self.held.len() + 1 - self.redactor.longest)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
/// Hands on what is written to it until there is a secret in that, and refuses the rest, which nobody has to look at.
struct UntilFound<'m, 'a, F>(&'m mut Marking<'a, F>);

impl<F: FnMut(&[u8]) -> io::Result<()>> Write for UntilFound<'_, '_, F> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.0.has_found {
            return Err(io::Error::other("a secret was found"));
        }
        self.0.write(piece)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
