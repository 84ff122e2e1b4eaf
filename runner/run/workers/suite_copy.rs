//! [`SuiteCopy`]: the list of tests of a run on the machine of a worker, where there is of it what the worker's attempts need.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::FileExt as _,
    path::Path,
    sync::Arc,
};

use crate::{
    model::Digest,
    record::ContentPaths,
    scenario::{SuiteSegment, SuiteSegments},
};

/// A file as long as the run's list of tests, with holes where segments have not come yet.
#[derive(Debug)]
pub struct SuiteCopy {
    file: fs::File,
    segments: Arc<SuiteSegments>,
    has: Vec<bool>,
}

impl SuiteCopy {
    /// Makes the file, with nothing in it.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be made, or is there already.
    pub(super) fn create(path: &Path, segments: Arc<SuiteSegments>) -> io::Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create_new(true).open(path)?;
        let bytes = segments.pieces.last().map_or(0, |last| last.bytes.end);
        file.set_len(bytes)?;
        Ok(Self {
            file: file.into_parts().0,
            has: vec![false; segments.pieces.len()],
            segments,
        })
    }

    /// The digest of the segment at this place, if it is still to come; the error says that there is none.
    ///
    /// # Errors
    ///
    /// Fails if the list has no such segment.
    pub fn lacks(&self, place: usize) -> io::Result<Option<Digest>> {
        let has = self.has.get(place).ok_or(ErrorKind::InvalidInput)?;
        Ok((!has).then(|| self.segments.pieces[place].digest))
    }

    /// Takes the segment at this place from the content store; `false` if what is stored there is something else, which is
    /// removed.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be read or written.
    pub fn take(&mut self, place: usize, content: &ContentPaths) -> io::Result<bool> {
        let piece = self.segments.pieces.get(place);
        let SuiteSegment { bytes, digest, .. } = piece.ok_or(ErrorKind::InvalidInput)?;
        let stored = content.path(*digest);
        let text = fs_err::read(&stored)?;
        if Digest::of(&text) != *digest || text.len() as u64 != bytes.end - bytes.start {
            fs_err::remove_file(&stored)?;
            return Ok(false);
        }
        self.file.write_all_at(&text, bytes.start)?;
        self.has[place] = true;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::SuiteCopy;
    use crate::{
        model::Digest,
        record::RunLikeness,
        scenario::{SuiteSegment, SuiteSegments},
    };

    #[test]
    fn a_segment_goes_where_it_is_in_the_list_unless_it_is_something_else() {
        let folder = tempfile::tempdir().unwrap();
        let content = RunLikeness::content(folder.path());
        let pieces = [(0..4, "one\n"), (4..8, "two\n")].map(|(bytes, text)| SuiteSegment {
            first_ordinal: bytes.start / 4,
            digest: Digest::of(text.as_bytes()),
            bytes,
        });
        let digests = pieces.each_ref().map(|piece| piece.digest);
        let segments = SuiteSegments {
            pieces: pieces.into(),
            defining: BTreeSet::new(),
        };
        let path = folder.path().join("tests.jsonl");
        let mut copy = SuiteCopy::create(&path, Arc::new(segments)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 8]);
        assert_eq!(copy.lacks(1).unwrap(), Some(digests[1]));
        assert!(copy.lacks(2).is_err());

        let stored = content.path(digests[1]);
        std::fs::create_dir_all(stored.parent().unwrap()).unwrap();
        std::fs::write(&stored, "too\n").unwrap();
        assert!(!copy.take(1, &content).unwrap());
        assert!(!stored.exists(), "the next one fetches it again");
        assert_eq!(copy.lacks(1).unwrap(), Some(digests[1]));

        std::fs::write(&stored, "two\n").unwrap();
        assert!(copy.take(1, &content).unwrap());
        assert_eq!(copy.lacks(1).unwrap(), None);
        assert_eq!(std::fs::read(&path).unwrap(), *b"\0\0\0\0two\n");
        assert!(copy.take(0, &content).is_err(), "it was never fetched");
    }
}
