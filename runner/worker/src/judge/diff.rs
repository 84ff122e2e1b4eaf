//! The difference of two texts, line by line, with invisible characters marked.

use std::{fmt::Write as _, ops::Range};

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, Token};
use runner_model::alike::{escaped_difference, is_invisible};
use runner_model::{json::Json, visible::marked};
use serde_json::Value;

/// Bytes of a diff. A row, which may have many checks, has at most 256 KiB.
const MAX_DIFF: usize = 8 << 10;
/// Bytes of each text that are compared.
const MAX_COMPARED: usize = 128 << 10;
/// Lines of one text times those of the other, between their common start and end, that are compared: a guest can write
/// texts for which the time is proportional to it, 0.3 s for 10,000 lines each.
const MAX_PAIRS: u64 = 100_000_000;
/// Lines around a change.
const CONTEXT: u32 = 3;

/// Returns a unified line diff of two texts, with invisible characters of changed lines marked.
///
/// `None` if both are one line, which the check shows anyway, or differ only beyond [`MAX_COMPARED`].
pub(super) fn diff(expected: &Value, output: &Json<'_>) -> Option<String> {
    let (Value::String(old), Json::String(new)) = (expected, output) else { return None };
    // A line break at the end does not make a text longer than one line: the check's values show it.
    let is_line = |text: &str| !text.strip_suffix('\n').unwrap_or(text).contains('\n');
    if is_line(old) && is_line(new) {
        return None;
    }
    let text = text_diff(old, new);
    (!text.is_empty()).then_some(text)
}

/// Returns a unified line diff of two texts, without its end if it is long. Invisible characters of changed lines are marked.
pub fn text_diff(old: &str, new: &str) -> String {
    let (skipped, start) = equal_lines(old, new);
    let mut text = unified(compared(&old[start..]), compared(&new[start..]), skipped);
    if text.len() > MAX_DIFF {
        text.truncate(text.floor_char_boundary(MAX_DIFF));
        text.push_str("\n… (cut)\n");
    }
    text
}

/// Returns the places of the lines that only one of two texts has, from 0. A line has its line break. Long texts with many
/// differences are compared by their common start and end alone.
pub fn changed_lines(old: &[u8], new: &[u8]) -> Vec<[Range<u32>; 2]> {
    let lines = InternedInput::new(old, new);
    let (before, after) = (&lines.before, &lines.after);
    let start = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let ends = before[start..].iter().rev().zip(after[start..].iter().rev());
    let end = ends.take_while(|(old, new)| old == new).count();
    let [old, new] = [before, after].map(|all| start as u32..(all.len() - end) as u32);
    if old.len() as u64 * new.len() as u64 > MAX_PAIRS {
        return vec![[old, new]];
    }
    let mut diff = Diff::compute(Algorithm::Histogram, &lines);
    diff.postprocess_lines(&lines);
    diff.hunks().map(|hunk| [hunk.before, hunk.after]).collect()
}

/// Returns whether two texts differ only in white space and invisible characters.
pub(super) fn is_unseen(expected: &Value, output: &Json<'_>) -> bool {
    let (Value::String(old), Json::String(new)) = (expected, output) else { return false };
    let is_seen = |character: &char| !character.is_whitespace() && !is_invisible(*character);
    old.chars().filter(is_seen).eq(new.chars().filter(is_seen))
}

/// Returns the number of equal lines at the start of both texts, without the last [`CONTEXT`], and their bytes.
fn equal_lines(old: &str, new: &str) -> (u32, usize) {
    let pairs = old.bytes().zip(new.bytes());
    let equal = pairs.take_while(|(old, new)| old == new).count();
    let mut ends =
        old.as_bytes()[..equal].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match ends.nth(CONTEXT as usize) {
        Some((index, _)) => (ends.count() as u32 + 1, index + 1),
        None => (0, 0),
    }
}

/// Returns the lines of a text within [`MAX_COMPARED`].
fn compared(text: &str) -> &str {
    if text.len() <= MAX_COMPARED {
        return text;
    }
    let start = &text[..text.floor_char_boundary(MAX_COMPARED)];
    start.rfind('\n').map_or(start, |end| &start[..=end])
}

/// Formats the hunks of a diff after `skipped` equal lines, until they exceed [`MAX_DIFF`].
fn unified(old: &str, new: &str, skipped: u32) -> String {
    let lines = InternedInput::new(old, new);
    let mut diff = Diff::compute(Algorithm::Histogram, &lines);
    diff.postprocess_lines(&lines);
    let hunks: Vec<Hunk> = diff.hunks().collect();
    let mut text = String::new();
    let push = |text: &mut String, sign: char, tokens: &[Token], range: Range<u32>| {
        for token in &tokens[range.start as usize..range.end as usize] {
            push_line(text, sign, lines.interner[*token]);
        }
    };
    for group in hunks.chunk_by(|left, right| right.before.start - left.before.end <= 2 * CONTEXT) {
        let ([first, ..], [.., last]) = (group, group) else {
            continue;
        };
        let mut at = first.before.start.saturating_sub(CONTEXT);
        let end = (last.before.end + CONTEXT).min(lines.before.len() as u32);
        let lead = first.before.start - at;
        let tail = end - last.before.end;
        let old_range = hunk_range(skipped, at..end);
        let new_range = hunk_range(skipped, first.after.start - lead..last.after.end + tail);
        let _ = writeln!(text, "@@ -{old_range} +{new_range} @@");
        for hunk in group {
            push(&mut text, ' ', &lines.before, at..hunk.before.start);
            push_changes(&mut text, &lines, hunk);
            at = hunk.before.end;
        }
        push(&mut text, ' ', &lines.before, at..end);
        if text.len() > MAX_DIFF {
            break;
        }
    }
    text
}

/// Adds the lines of a hunk. Lines of the same place that look alike show the code points of their differences.
fn push_changes(text: &mut String, lines: &InternedInput<&str>, hunk: &Hunk) {
    let tokens = |all: &[Token], range: &Range<u32>| {
        all[range.start as usize..range.end as usize]
            .iter()
            .map(|token| lines.interner[*token])
            .collect()
    };
    let [old, new]: [Vec<&str>; 2] =
        [tokens(&lines.before, &hunk.before), tokens(&lines.after, &hunk.after)];
    let are_pairs = old.len() == new.len();
    let pair = |index: usize| escaped_difference([old[index], new[index]]).filter(|_| are_pairs);
    let pairs: Vec<_> = (0..old.len().min(new.len())).map(pair).collect();
    for (side, (sign, lines)) in [('-', &old), ('+', &new)].into_iter().enumerate() {
        for (index, line) in lines.iter().enumerate() {
            let escaped = pairs.get(index).and_then(Option::as_ref);
            push_line(text, sign, escaped.map_or(line, |pair| &pair[side]));
        }
    }
}

/// Formats the first line and the number of lines as in unified diffs.
fn hunk_range(skipped: u32, lines: Range<u32>) -> String {
    let start = skipped + lines.start;
    match lines.len() {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        count => format!("{},{count}", start + 1),
    }
}

fn push_line(text: &mut String, sign: char, line: &str) {
    let content = line.strip_suffix('\n').unwrap_or(line);
    // One line alone may exceed the bound.
    let content = &content[..content.floor_char_boundary(MAX_DIFF)];
    text.push(sign);
    if sign == ' ' {
        text.push_str(content);
    } else {
        text.push_str(&marked(content));
    }
    text.push('\n');
    if !line.ends_with('\n') {
        text.push_str("\\ No newline at end of file\n");
    }
}

#[cfg(test)]
#[path = "../tests/diff.rs"]
mod tests;
