//! [`RunReader::sampled_trials`]: of which trials some of the rows say that they are, of runs with many rows.

use std::io;

use memchr::{memchr, memrchr};

use super::{reader::RunReader, row_files::RowFiles};
use crate::record::format::{brief, judgement::is_judgement, line};

/// How much is read in one piece, and how many pieces are at most. A run with fewer bytes of rows is read whole.
const PIECE_BYTES: u64 = 16 * 1024;
const PIECES: u64 = 256;

/// What a row says of which trial it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledTrial {
    /// The row's number.
    pub seq: u64,
    /// The trial's place in the plan.
    pub ordinal: u64,
    /// Its id.
    pub trial: String,
}

impl RunReader {
    /// Reads the first rows, the last ones, and some everywhere between; damaged lines are passed over.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub fn sampled_trials(&self) -> io::Result<Vec<SampledTrial>> {
        let files = RowFiles::open(self.dir())?;
        let length = files.length()?;
        let mut sampled = Vec::new();
        if length <= PIECE_BYTES * PIECES {
            read_piece(&files, 0, length, &mut sampled)?;
            return Ok(sampled);
        }
        for piece in 0..PIECES {
            let at = (length - PIECE_BYTES) / (PIECES - 1) * piece;
            read_piece(&files, at, PIECE_BYTES, &mut sampled)?;
        }
        read_piece(&files, length - PIECE_BYTES, PIECE_BYTES, &mut sampled)?;
        Ok(sampled)
    }
}

/// Reads the whole lines in a piece of the files, which begins with one only at their start.
fn read_piece(
    files: &RowFiles,
    at: u64,
    bytes: u64,
    sampled: &mut Vec<SampledTrial>,
) -> io::Result<()> {
    let mut piece = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    files.read_exact_at(&mut piece, at)?;
    let begin = match at {
        0 => Some(0),
        _ => memchr(b'\n', &piece).map(|newline| newline + 1),
    };
    let (Some(begin), Some(end)) = (begin, memrchr(b'\n', &piece)) else {
        return Ok(());
    };
    let lines = piece.get(begin..end).unwrap_or_default();
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line::without_return(line);
        if is_judgement(line) {
            continue;
        }
        if let Ok((brief, trial)) = brief::decode_named(line) {
            sampled.push(SampledTrial {
                seq: brief.seq,
                ordinal: brief.mark.key.ordinal,
                trial,
            });
        }
    }
    Ok(())
}
