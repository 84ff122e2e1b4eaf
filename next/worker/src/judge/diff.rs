//! The difference of two values, line by line, and characters that are not seen in it.

use std::{borrow::Cow, fmt::Write as _, ops::Range};

use imara_diff::{Algorithm, Diff, Hunk, InternedInput, Token};
use runner_model::visible::steers;
use runner_sandbox::cut;
use serde_json::Value;

/// How long a diff may be, in bytes; what is over is cut, since a row holds 256 KiB.
const MAX_DIFF: usize = 8 << 10;
/// How much is compared line by line, in bytes of each text.
const MAX_COMPARED: usize = 128 << 10;
/// How many lines around a change are shown.
const CONTEXT: u32 = 3;
/// How much of a line is shown where only characters differ that are not seen, in bytes.
const MAX_UNSEEN: usize = 200;

/// A unified line diff from `expected` to `output`; `None` where both fit on a line and say it all themselves, or differ
/// behind what is compared.
///
/// In lines that differ, characters that are not seen are marked.
pub(super) fn diff(expected: &Value, output: &Value) -> Option<String> {
    let (old, new) = texts(expected, output);
    // A line that differs in nothing but its end is shown by its value, which has that end in it.
    let is_line = |text: &str| !text.strip_suffix('\n').unwrap_or(text).contains('\n');
    if is_line(&old) && is_line(&new) {
        return None;
    }
    let (skipped, start) = equal_lines(&old, &new);
    let (old, new) = (compared(&old[start..]), compared(&new[start..]));
    let mut text = unified(old, new, skipped);
    if text.len() > MAX_DIFF {
        text.truncate(text.floor_char_boundary(MAX_DIFF));
        text.push_str("\n… (cut)\n");
    }
    (!text.is_empty()).then_some(text)
}

/// The first lines that differ, with marks, if both texts look alike: they differ only in white space and in characters
/// that are not seen.
pub(super) fn unseen(expected: &Value, output: &Value) -> Option<(String, String)> {
    let (Value::String(old), Value::String(new)) = (expected, output) else {
        return None;
    };
    let is_seen = |character: &char| !character.is_whitespace() && !steers(*character);
    if !old.chars().filter(is_seen).eq(new.chars().filter(is_seen)) {
        return None;
    }
    let (mut old, mut new) = (old.split_inclusive('\n'), new.split_inclusive('\n'));
    loop {
        let (old, new) = (old.next(), new.next());
        if old != new {
            let shown = |line: Option<&str>| cut(MAX_UNSEEN, marked(line.unwrap_or_default()));
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
fn equal_lines(old: &str, new: &str) -> (u32, usize) {
    let pairs = old.bytes().zip(new.bytes());
    let same = pairs.take_while(|(old, new)| old == new).count();
    let lines = old.as_bytes()[..same].iter().enumerate().rev();
    let mut ends = lines.filter(|(_, byte)| **byte == b'\n');
    match ends.nth(CONTEXT as usize) {
        Some((index, _)) => (ends.count() as u32 + 1, index + 1),
        None => (0, 0),
    }
}

/// The lines of a text that are compared.
fn compared(text: &str) -> &str {
    if text.len() <= MAX_COMPARED {
        return text;
    }
    let start = &text[..text.floor_char_boundary(MAX_COMPARED)];
    start.rfind('\n').map_or(start, |end| &start[..=end])
}

/// The hunks of a diff behind so many equal lines, until they are too long to be shown.
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
    let is_near = |left: &Hunk, right: &Hunk| right.before.start - left.before.end <= 2 * CONTEXT;
    for group in hunks.chunk_by(is_near) {
        let ([first, ..], [.., last]) = (group, group) else {
            continue;
        };
        let mut at = first.before.start.saturating_sub(CONTEXT);
        let end = (last.before.end + CONTEXT).min(lines.before.len() as u32);
        let (lead, tail) = (first.before.start - at, end - last.before.end);
        let old_place = place(skipped, at..end);
        let new_place = place(skipped, first.after.start - lead..last.after.end + tail);
        let _ = writeln!(text, "@@ -{old_place} +{new_place} @@");
        for hunk in group {
            push(&mut text, ' ', &lines.before, at..hunk.before.start);
            push(&mut text, '-', &lines.before, hunk.before.clone());
            push(&mut text, '+', &lines.after, hunk.after.clone());
            at = hunk.before.end;
        }
        push(&mut text, ' ', &lines.before, at..end);
        if text.len() > MAX_DIFF {
            break;
        }
    }
    text
}

/// The first line and the number of lines, as unified diffs write them.
fn place(skipped: u32, lines: Range<u32>) -> String {
    let start = skipped + lines.start;
    match lines.len() {
        0 => format!("{start},0"),
        1 => (start + 1).to_string(),
        count => format!("{},{count}", start + 1),
    }
}

fn push_line(text: &mut String, sign: char, line: &str) {
    let content = line.strip_suffix('\n').unwrap_or(line);
    // One line may be longer than all that is shown.
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

/// Indented JSON, as much of it as is compared: a small value, indented, can have a very long text.
fn pretty(value: &Value) -> String {
    let text = cut(MAX_COMPARED, format_args!("{value:#}"));
    match text.contains('\n') {
        true => text + "\n",
        false => text,
    }
}

#[cfg(test)]
#[path = "../tests/diff.rs"]
mod tests;
