//! The difference of two values, line by line, and characters that are not seen in it.

use std::{borrow::Cow, fmt::Write as _, io, ops::Range};

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};
use runner_model::visible::steers;
use serde_json::Value;

use crate::report::beginning;

/// How long a diff may be, in bytes; what is over is cut, since a row holds 256 KiB.
const MAX_DIFF: usize = 8 << 10;
/// How much is compared line by line, in bytes of each text.
const MAX_COMPARED: usize = 128 << 10;
/// How many lines around a change are shown.
const CONTEXT: u32 = 3;
/// How much of a line is shown where only characters differ that are not seen, in bytes.
const MAX_UNSEEN: usize = 200;

/// A unified line diff from `expected` to `output`; `None` where both fit on a line and say it all themselves.
///
/// In lines that differ, characters that are not seen are marked.
pub(super) fn diff(expected: &Value, output: &Value) -> Option<String> {
    let (old, new) = texts(expected, output);
    // A line that differs in nothing but its end is shown by its value, which has that end in it.
    let is_line = |text: &str| !text.strip_suffix('\n').unwrap_or(text).contains('\n');
    if is_line(&old) && is_line(&new) {
        return None;
    }
    let is_long = old.len().max(new.len()) > MAX_COMPARED;
    let (skipped, start) = if is_long {
        equal_lines(&old, &new)
    } else {
        (0, 0)
    };
    let (old, new) = (compared(&old[start..]), compared(&new[start..]));
    if old == new {
        // They differ behind what is compared.
        return None;
    }
    let mut text = unified(old, new, is_long);
    if text.len() > MAX_DIFF {
        text.truncate(text.floor_char_boundary(MAX_DIFF));
        text.push_str("\n… (cut)\n");
    }
    Some(match skipped {
        0 => text,
        lines => format!("(behind {lines} equal lines)\n{text}"),
    })
}

/// The first lines that differ, with marks, if both texts look alike: they differ only in white space and in characters
/// that are not seen.
pub(super) fn unseen(expected: &Value, output: &Value) -> Option<(String, String)> {
    let (Value::String(old), Value::String(new)) = (expected, output) else {
        return None;
    };
    let seen = |text: &str| -> Vec<u8> {
        let seen = text.chars().filter(|c| !c.is_whitespace() && !steers(*c));
        seen.collect::<String>().into_bytes()
    };
    if seen(old) != seen(new) {
        return None;
    }
    let (mut old, mut new) = (old.split_inclusive('\n'), new.split_inclusive('\n'));
    loop {
        let (old, new) = (old.next(), new.next());
        if old != new {
            let shown =
                |line: Option<&str>| beginning(&marked(line.unwrap_or_default()), MAX_UNSEEN);
            return Some((shown(old), shown(new)));
        }
    }
}

/// Both as texts: strings as they are, anything else as indented JSON.
fn texts<'a>(expected: &'a Value, output: &'a Value) -> (Cow<'a, str>, Cow<'a, str>) {
    match (expected, output) {
        (Value::String(old), Value::String(new)) => (old.into(), new.into()),
        _ => (pretty(expected).into(), pretty(output).into()),
    }
}

/// How many lines at the start of both texts are equal, without those that are context, and where they end.
fn equal_lines(old: &str, new: &str) -> (usize, usize) {
    let pairs = old.bytes().zip(new.bytes());
    let same = pairs.take_while(|(old, new)| old == new).count();
    let lines = old.as_bytes()[..same].iter().enumerate().rev();
    let mut ends = lines.filter(|(_, byte)| **byte == b'\n');
    match ends.nth(CONTEXT as usize) {
        Some((index, _)) => (ends.count() + 1, index + 1),
        None => (0, 0),
    }
}

fn compared(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_COMPARED)]
}

/// The hunks of a diff, until they are too long to be shown.
fn unified(old: &str, new: &str, is_cut: bool) -> String {
    let lines = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &lines);
    diff.postprocess_lines(&lines);
    let hunks: Vec<Hunk> = diff.hunks().collect();
    let mut text = String::new();
    let is_near = |left: &Hunk, right: &Hunk| right.before.start - left.before.end <= 2 * CONTEXT;
    let before = |range: Range<u32>| lines.before[usize_range(range)].iter();
    let after = |range: Range<u32>| lines.after[usize_range(range)].iter();
    for group in hunks.chunk_by(is_near) {
        let [first, ..] = group else { continue };
        let last = group.last().unwrap_or(first);
        let start = first.before.start.saturating_sub(CONTEXT);
        let end = (last.before.end + CONTEXT).min(lines.before.len() as u32);
        let (lead, tail) = (first.before.start - start, end - last.before.end);
        let old_place = place(start..end);
        let new_place = place(first.after.start - lead..last.after.end + tail);
        let _ = writeln!(text, "@@ -{old_place} +{new_place} @@");
        let mut at = start;
        for hunk in group {
            for token in before(at..hunk.before.start) {
                push_line(&mut text, ' ', lines.interner[*token], is_cut);
            }
            for token in before(hunk.before.clone()) {
                push_line(&mut text, '-', lines.interner[*token], is_cut);
            }
            for token in after(hunk.after.clone()) {
                push_line(&mut text, '+', lines.interner[*token], is_cut);
            }
            at = hunk.before.end;
        }
        for token in before(at..end) {
            push_line(&mut text, ' ', lines.interner[*token], is_cut);
        }
        if text.len() > MAX_DIFF {
            break;
        }
    }
    text
}

fn usize_range(range: Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The first line and the number of lines, as unified diffs write them.
fn place(lines: Range<u32>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => (lines.start + 1).to_string(),
        count => format!("{},{count}", lines.start + 1),
    }
}

/// Adds a line of a diff. `is_cut`: the texts' ends are not known, so nothing is said of a missing line break.
fn push_line(text: &mut String, sign: char, line: &str, is_cut: bool) {
    // One line may be longer than all that is shown.
    let line = &line[..line.floor_char_boundary(MAX_DIFF)];
    let content = line.strip_suffix('\n').unwrap_or(line);
    let shown = if sign == ' ' {
        Cow::Borrowed(content)
    } else {
        Cow::Owned(marked(content))
    };
    text.push(sign);
    text.push_str(&shown);
    text.push('\n');
    if !line.ends_with('\n') && line.len() < MAX_DIFF && !is_cut {
        text.push_str("\\ No newline at end of file\n");
    }
}

/// A text with white space at its end, and all that is not seen or looks like a space, made visible.
fn marked(text: &str) -> String {
    let end = text.trim_end().len();
    let mut shown = String::with_capacity(text.len() + 8);
    for (at, character) in text.char_indices() {
        match character {
            ' ' if at >= end => shown.push('·'),
            '\t' if at >= end => shown.push('→'),
            ' ' | '\t' => shown.push(character),
            character if character.is_whitespace() || steers(character) => {
                shown.extend(character.escape_default());
            }
            character => shown.push(character),
        }
    }
    shown
}

/// Indented JSON, as much of it as is compared.
fn pretty(value: &Value) -> String {
    let mut text = Beginning(Vec::new());
    // What fails is writing more than there is room for.
    let _ = serde_json::to_writer_pretty(&mut text, value);
    let mut text = String::from_utf8_lossy(&text.0).into_owned();
    text.push('\n');
    if text.matches('\n').count() == 1 {
        text.pop();
    }
    text
}

/// The first bytes of what is written: a small value, indented, can have a very long text.
struct Beginning(Vec<u8>);

impl io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = MAX_COMPARED - self.0.len();
        let kept = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(kept);
        Ok(kept.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "../tests/diff.rs"]
mod tests;
