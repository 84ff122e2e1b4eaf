//! [`hash`]: digests of content that is read once.

use std::io::{self, ErrorKind, Read, Write};

use runner_model::Digest;
use sha2::{Digest as _, Sha256};

/// Bytes that are read at once.
const PIECE: usize = 128 << 10;

/// Returns the digest and the length of everything that `from` returns, and copies it into `into`.
pub fn hash(mut from: impl Read, mut into: impl Write) -> io::Result<(Digest, u64)> {
    let (mut state, mut bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok((Digest(state.finalize().into()), bytes)),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        state.update(&piece[..read]);
        into.write_all(&piece[..read])?;
        bytes += read as u64;
    }
}
