//! Hands on the files that guests leave, piece by piece, before the row that names them.

use std::{
    io::{self, Read as _, Seek as _},
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
    let mut hash = Sha256::new();
    let mut sent: Option<u64> = None;
    let mut tell = |bytes: &[u8]| {
        bytes.chunks(MAX_PIECE).try_for_each(|piece| {
            hash.update(piece);
            sent = Some(sent.unwrap_or(0) + piece.len() as u64);
            send(piece.to_vec())
        })
    };
    let mut stream = redactor.map(Redactor::stream_that_keeps_size);
    let mut take = |piece: &[u8]| match &mut stream {
        Some(stream) => tell(&stream.push(piece)),
        None => tell(piece),
    };
    match file.content {
        LeftContent::Memory(bytes) => bytes.chunks(MAX_PIECE).try_for_each(take)?,
        LeftContent::File(mut content) => {
            content.rewind()?;
            let mut piece = vec![0; MAX_PIECE];
            loop {
                match content.read(&mut piece)? {
                    0 => break,
                    read => take(&piece[..read])?,
                }
            }
        }
    }
    if let Some(mut stream) = stream {
        tell(&stream.end())?;
    }
    if sent.is_none() {
        // An empty file is known by an empty piece.
        send(Vec::new())?;
    }
    Ok(Artifact {
        name: file.name.into(),
        media_type: file.media_type.into(),
        sha256: Digest(hash.finalize().into()),
        bytes: sent.unwrap_or(0),
    })
}

#[cfg(test)]
#[path = "tests/artifacts.rs"]
mod tests;
