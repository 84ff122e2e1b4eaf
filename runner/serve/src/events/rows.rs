//! Reads rows as events.

use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;
use runner_model::row::read_head;
use runner_record::RunDir;
use serde_json::json;

use super::stream::event;

/// Bytes after which a piece ends with the current row.
const PIECE: usize = 64 << 10;
/// Longer lines are damaged.
const MAX_LINE: u64 = 1 << 20;

/// Reads the rows between two offsets of the file, up to the end of a piece. Returns their events, and the offset after the last
/// row.
pub(super) fn read(run: &RunDir, from: u64, end: u64) -> io::Result<(Bytes, u64)> {
    let mut file = run.open_rows().map_err(io::Error::other)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::new(file);
    let (mut events, mut line, mut at) = (Vec::new(), Vec::new(), from);
    while at < end && events.len() < PIECE {
        let start = at;
        line.clear();
        at += reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        if !is_whole {
            at += reader.skip_until(b'\n')? as u64;
        }
        // Browsers read `\r` as a line break, which would end the event's data.
        if is_whole && !line.contains(&b'\r') && read_head(&line).is_ok() {
            events.extend(format!("id: {at}\nevent: row\ndata: ").bytes());
            events.append(&mut line);
            events.extend(b"\n\n");
        } else {
            events.extend(event("damaged", Some(&at.to_string()), &json!({ "byte": start })));
        }
        if at == start {
            break;
        }
    }
    Ok((events.into(), at))
}

/// Returns whether an offset is 0 or directly after a row.
pub(super) fn is_end(run: &RunDir, byte: u64) -> bool {
    let Some(before) = byte.checked_sub(1) else { return true };
    let mut last = [0];
    let read = run.open_rows().is_ok_and(|rows| rows.read_exact_at(&mut last, before).is_ok());
    read && last == *b"\n"
}
