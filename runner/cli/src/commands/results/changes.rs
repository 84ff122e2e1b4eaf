//! The changes in the workspace of an attempt, as a diff.

use runner_model::tree::PathChange;
use runner_model::units::plural;
use runner_model::visible::visible_line;
use runner_record::RecordError;
use runner_report::{DiffTone, ReadLeft, write_diff};
use runner_worker::changed_lines;

use crate::text::{Out, has_colours, style};

/// Bytes that are printed at once.
const PIECE: usize = 64 << 10;

/// Prints changes as `git diff` does: bytes as they are for other programs, and visible text on a terminal.
pub fn print(changes: &[PathChange], read: ReadLeft<'_>, out: &Out) -> Result<(), RecordError> {
    let mut named = 0;
    if out.columns().is_none() && !has_colours() {
        let mut bytes = Vec::new();
        write_diff(changes, read, changed_lines, &mut |tone, line| {
            named += u64::from(tone == DiffTone::Named);
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
            if bytes.len() > PIECE {
                out.bytes(&bytes);
                bytes.clear();
            }
        })?;
        out.bytes(&bytes);
        if named > 0 {
            let paths = plural(named, "path", "paths");
            out.hint(&format!("`git apply` does not change {paths} that the diff only names"));
        }
        return Ok(());
    }
    let mut lines = out.lines(false);
    write_diff(changes, read, changed_lines, &mut |tone, line| {
        let line = visible_line(&String::from_utf8_lossy(line)).into_owned();
        lines.add(&match tone {
            DiffTone::Header | DiffTone::Named => style::bold(&line),
            DiffTone::Hunk => style::cyan(&line),
            DiffTone::Context => line,
            DiffTone::Old => style::red(&line),
            DiffTone::New => style::green(&line),
        });
    })
}
