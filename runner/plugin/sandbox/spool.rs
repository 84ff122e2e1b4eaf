//! [`Spool`]: the content of an attempt's artifacts until it is recorded, in memory only while it is little.

use std::{
    fmt,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::Content;

/// How much stays in memory, in bytes. Most attempts leave less than that and need no file. Of those that leave more, few
/// wait for the recorder at the same time, since no more than 8 MiB may: so few files are open.
const MOST_IN_MEMORY: u64 = 1024 * 1024;
/// How much is read from a file at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Where the content of several artifacts is kept, each in one part or several. The default keeps nothing.
///
/// What is too much for memory goes into a temporary file without a name: of a process that dies nothing is left.
#[derive(Default)]
pub struct Spool {
    /// Where the file is made.
    folder: PathBuf,
    place: Backing,
    /// Where what is kept ends, in bytes from the start of the memory or the file.
    end: u64,
}

#[derive(Default)]
enum Backing {
    /// What nobody wants.
    #[default]
    Nowhere,
    Memory(Vec<u8>),
    File(File),
}

/// Where in a spool the content of one artifact is.
#[derive(Default)]
pub struct Extents {
    parts: Vec<Extent>,
    length: u64,
}

/// A piece of a content that is in one place.
struct Extent {
    start: u64,
    length: u64,
    /// How long it may become before it meets the next one.
    room: u64,
}

/// Where more of a content can be written.
struct WritePosition {
    /// The place of the first byte.
    start: u64,
    /// Whether it begins a part, or lies in the content's last one.
    is_new: bool,
    /// How long that part may become then.
    room: u64,
    /// Where the spool ends then.
    end: u64,
}

/// The content of one artifact, when nothing more is added to its spool.
pub struct Spooled {
    spool: Arc<Spool>,
    parts: Extents,
}

impl Spool {
    /// An empty one, which makes a file in `folder` once it needs one.
    pub fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            place: Backing::Memory(Vec::new()),
            end: 0,
        }
    }

    /// Where a file is made.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds `bytes` to a content.
    ///
    /// # Errors
    ///
    /// Fails if a file is needed and cannot be written; the content and the spool are what they were before, then.
    pub fn append(&mut self, content: &mut Extents, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let length = bytes.len() as u64;
        let slot = self.slot(content, length);
        self.write(&slot, bytes)?;

        self.end = slot.end;
        if slot.is_new {
            content.parts.push(Extent {
                start: slot.start,
                length: 0,
                room: 0,
            });
        }
        let part = content.parts.last_mut().expect("there is one by now");
        part.room = slot.room;
        part.length += length;
        content.length += length;
        Ok(())
    }

    /// Where `length` bytes can be added to a content.
    ///
    /// The last part in the spool can grow. A new one gets as much room as there is content already, so that a content has
    /// few parts even if a guest adds a byte to each of its artifacts in turn. Room that is not used is a hole in the file.
    fn slot(&self, content: &Extents, length: u64) -> WritePosition {
        if let Some(last) = content.parts.last() {
            let used = last.length + length;
            let is_at_end = last.start + last.room == self.end;
            if is_at_end || used <= last.room {
                let room = last.room.max(used);
                return WritePosition {
                    start: last.start + last.length,
                    is_new: false,
                    room,
                    end: self.end.max(last.start + room),
                };
            }
        }
        let room = content.length.max(length);
        WritePosition {
            start: self.end,
            is_new: true,
            room,
            end: self.end + room,
        }
    }

    fn write(&mut self, slot: &WritePosition, bytes: &[u8]) -> io::Result<()> {
        if let Backing::Memory(kept) = &self.place
            && slot.end > MOST_IN_MEMORY
        {
            let file = tempfile::tempfile_in(&self.folder)?;
            file.write_all_at(kept, 0)?;
            self.place = Backing::File(file);
        }
        match &mut self.place {
            Backing::Nowhere => {}
            Backing::Memory(kept) => {
                let place = place_in_memory(slot.start, bytes.len() as u64);
                kept.resize(kept.len().max(place.end), 0);
                kept[place].copy_from_slice(bytes);
            }
            Backing::File(file) => file.write_all_at(bytes, slot.start)?,
        }
        Ok(())
    }
}

impl Extents {
    /// How many bytes the content has.
    pub(in crate::plugin) fn length(&self) -> u64 {
        self.length
    }
}

impl Spooled {
    /// The content of one artifact, of which all was added.
    pub fn new(spool: &Arc<Spool>, parts: Extents) -> Self {
        Self {
            spool: Arc::clone(spool),
            parts,
        }
    }
}

impl Content for Spooled {
    fn size(&self) -> u64 {
        self.parts.length
    }

    fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        for part in &self.parts.parts {
            match &self.spool.place {
                Backing::Nowhere => {}
                Backing::Memory(kept) => {
                    out.write_all(&kept[place_in_memory(part.start, part.length)])?;
                }
                Backing::File(file) => copy(file, part, out)?,
            }
        }
        Ok(())
    }
}

/// Leaves out the content, in which secrets may be.
impl fmt::Debug for Spooled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Spooled")
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

fn place_in_memory(start: u64, length: u64) -> Range<usize> {
    let place = |at| usize::try_from(at).expect("what is in memory has a place there");
    place(start)..place(start + length)
}

fn copy(file: &File, part: &Extent, out: &mut dyn io::Write) -> io::Result<()> {
    let mut buffer = vec![0; PIECE_BYTES];
    let (mut start, end) = (part.start, part.start + part.length);
    while start < end {
        let left = usize::try_from(end - start).unwrap_or(PIECE_BYTES);
        let piece = &mut buffer[..left.min(PIECE_BYTES)];
        file.read_exact_at(piece, start)?;
        out.write_all(piece)?;
        start += piece.len() as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use proptest::prelude::*;

    use super::{Backing, Extents, MOST_IN_MEMORY, Spool, Spooled};
    use crate::model::Content as _;

    fn read(content: &Spooled) -> Vec<u8> {
        let mut bytes = Vec::new();
        content.write_to(&mut bytes).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn what_is_appended_in_turns_is_read_back_whole(
            turns in prop::collection::vec((0..4_usize, 0..300_000_usize), 0..40),
            // Before this turn there is no folder, so that what does not fit into memory fails.
            folder_from in 0..40_usize,
        ) {
            let above = tempfile::tempdir().unwrap();
            let folder = above.path().join("folder");
            let mut spool = Spool::new(&folder);
            let mut parts: [Extents; 4] = Default::default();
            let mut expected: [Vec<u8>; 4] = Default::default();
            for (turn, (which, length)) in turns.into_iter().enumerate() {
                if turn == folder_from {
                    std::fs::create_dir(&folder).unwrap();
                }
                let bytes = vec![u8::try_from(turn).unwrap(); length];
                let appended = spool.append(&mut parts[which], &bytes);
                prop_assert!(appended.is_ok() || turn < folder_from);
                if appended.is_ok() {
                    expected[which].extend(bytes);
                }
            }
            let spool = Arc::new(spool);
            for (parts, expected) in parts.into_iter().zip(expected) {
                let content = Spooled::new(&spool, parts);
                prop_assert_eq!(content.size(), expected.len() as u64);
                prop_assert!(read(&content) == expected);
            }
        }
    }

    #[test]
    fn little_needs_no_file_and_much_leaves_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(Path::new("no such folder"));
        let mut parts = Extents::default();
        let most = vec![1; usize::try_from(MOST_IN_MEMORY).unwrap()];
        spool.append(&mut parts, &most).unwrap();
        spool.append(&mut parts, b"more").unwrap_err();
        assert!(read(&Spooled::new(&Arc::new(spool), parts)) == most);

        let mut spool = Spool::new(folder.path());
        let mut parts = Extents::default();
        spool.append(&mut parts, &most).unwrap();
        spool.append(&mut parts, b"more").unwrap();
        assert!(matches!(spool.place, Backing::File(_)));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let content = Spooled::new(&Arc::new(spool), parts);
        assert!(read(&content) == [&most[..], b"more"].concat());
    }

    #[test]
    fn a_content_has_few_parts_however_it_is_interleaved_with_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new(folder.path());
        let mut contents: Vec<Extents> = (0..3).map(|_| Extents::default()).collect();
        for turn in 0..30_000 {
            spool.append(&mut contents[turn % 3], b"x").unwrap();
        }
        for content in &contents {
            assert_eq!(content.length, 10_000);
            assert!(content.parts.len() < 20, "{}", content.parts.len());
        }
        assert!(spool.end < 6 * 10_000 + 100, "{}", spool.end);
    }
}
