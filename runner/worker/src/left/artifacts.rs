//! Sends the files that guests leave, in pieces, before the row that names them.

use std::io::{self, Cursor, Read, Seek as _};
use std::sync::Arc;

use runner_model::{Digest, protocol::MAX_PIECE, row::Artifact};
use runner_sandbox::{LeftContent, LeftFile, Redactor};
use sha2::{Digest as _, Sha256};

/// Bytes of all artifacts' entries in one row. A row also holds 64 KiB of output and the longest texts of other kinds.
const MAX_LISTED: usize = 48 << 10;
/// Bytes of an artifact's entry in a row, without its name and type.
const ENTRY: usize = 150;

/// Returns whether the entries of all these files fit a row.
pub fn fit_row(left: &[LeftFile]) -> bool {
    // JSON writes a quote as two bytes. Names hold no characters with longer escapes.
    left.iter().map(|file| 2 * (file.name.len() + file.media_type.len()) + ENTRY).sum::<usize>()
        <= MAX_LISTED
}

/// Sends the redacted content of a file in pieces, and returns its entry for the row.
///
/// # Errors
///
/// A file that cannot be read, or an error of `send`.
pub fn send_artifact(
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
    let mut hash = Sha256::new();
    let mut sent = 0;
    let mut piece = vec![0; MAX_PIECE];
    loop {
        let read = content.read(&mut piece)?;
        let redacted = match (&mut stream, read) {
            (Some(stream), 0) => stream.end(),
            (Some(stream), _) => stream.push(&piece[..read]),
            (None, _) => piece[..read].to_vec(),
        };
        for part in redacted.chunks(MAX_PIECE) {
            hash.update(part);
            sent += part.len() as u64;
            send(part.to_vec())?;
        }
        if read == 0 {
            break;
        }
    }
    if sent == 0 {
        // The receiver creates a file only after a piece.
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
#[path = "../tests/artifacts.rs"]
mod tests;
