//! Hands on the files that guests leave, piece by piece, before the row that names them.

use std::{
    io::{self, Cursor, Read, Seek as _},
    sync::Arc,
};

use runner_model::{Digest, protocol::MAX_PIECE, row::Artifact};
use runner_sandbox::{LeftContent, LeftFile, Redactor};
use sha2::{Digest as _, Sha256};

/// Bytes that the names and types of the artifacts of one row may have, with what else it says of each: 64 KiB of output
/// and the longest texts of all other kinds must fit beside them.
const MAX_LISTED: usize = 48 << 10;
/// What a row says of an artifact beside its name and its type.
const ENTRY: usize = 150;

/// Tells whether a row can name all of these.
pub fn fit_row(left: &[LeftFile]) -> bool {
    // A quote is written as two bytes; a name has nothing that is written as more.
    let bytes = |file: &LeftFile| 2 * (file.name.len() + file.media_type.len()) + ENTRY;
    left.iter().map(bytes).sum::<usize>() <= MAX_LISTED
}

/// Sends the content of a file without secrets, and says what it was.
///
/// # Errors
///
/// A file that cannot be read back, or what `send` says.
pub fn hand_on(
    file: LeftFile,
    redactor: Option<&Arc<Redactor>>,
    mut send: impl FnMut(Vec<u8>) -> io::Result<()>,
) -> io::Result<Artifact<'static>> {
    let mut content: Box<dyn Read> = match file.content {
        LeftContent::Memory(bytes) => Box::new(Cursor::new(bytes)),
        LeftContent::File(mut content) => {
            content.rewind()?;
            Box::new(content)
        }
    };
    let mut stream = redactor.map(Redactor::stream_that_keeps_size);
    let (mut hash, mut sent) = (Sha256::new(), 0);
    let mut piece = vec![0; MAX_PIECE];
    loop {
        let read = content.read(&mut piece)?;
        let told = match (&mut stream, read) {
            (Some(stream), 0) => stream.end(),
            (Some(stream), _) => stream.push(&piece[..read]),
            (None, _) => piece[..read].to_vec(),
        };
        for part in told.chunks(MAX_PIECE) {
            hash.update(part);
            sent += part.len() as u64;
            send(part.to_vec())?;
        }
        if read == 0 {
            break;
        }
    }
    if sent == 0 {
        // An empty file is known by an empty piece.
        send(Vec::new())?;
    }
    Ok(Artifact {
        name: file.name.into(),
        media_type: file.media_type.into(),
        sha256: Digest(hash.finalize().into()),
        bytes: sent,
    })
}

#[cfg(test)]
#[path = "tests/artifacts.rs"]
mod tests;
