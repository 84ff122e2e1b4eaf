//! Escapes characters that control a terminal or hide text. The screen, JSON documents, rows and logs use the same list.

use std::{borrow::Cow, os::unix::ffi::OsStrExt as _, path::Path};

/// Returns whether a character controls a terminal, changes the direction of text, separates lines or is invisible.
///
/// Joiners (U+200C, U+200D) and variation selectors do not count, because Persian, Indic scripts and emoji need them. All
/// other default-ignorable characters of Unicode count: they make different texts look alike or carry hidden words.
pub fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' | ' '..='~' => false,
        // Soft hyphen, grapheme joiner, Arabic letter mark, fillers and invisible vowels.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            true
        }
        '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' => true,
        // Line and paragraph separators; embeddings, overrides and isolates of direction.
        '\u{2028}'..='\u{202e}' => true,
        // Word joiner, invisible operators, isolates, and deprecated controls.
        '\u{2060}'..='\u{206f}' => true,
        // The last two are not characters, and XML forbids them.
        '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}' => true,
        // Shorthand and music controls, and tags, which are an invisible alphabet.
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => true,
        character => character.is_control(),
    }
}

/// Escapes characters that steer, such as ESC to `\u{1b}`. Line breaks (also `\r\n`) and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if steers(character) && !(character == '\r' && characters.peek() == Some(&'\n')) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown.into()
}

/// Escapes like [`visible`], and line breaks too, as `\n` and `\r`.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\r', '\n']) {
        return visible(text);
    }
    let text = text.replace('\r', r"\r").replace('\n', r"\n");
    visible(&text).into_owned().into()
}

/// Breaks GitHub's workflow commands: `::` at the start of a line, possibly after styles, and `##[`. A job obeys them wherever
/// they are printed.
pub fn without_commands(text: &str) -> Cow<'_, str> {
    fn is_command(line: &str) -> bool {
        let mut rest = line.trim_start();
        while let Some((_, after)) =
            rest.strip_prefix("\u{1b}[").and_then(|rest| rest.split_once('m'))
        {
            rest = after.trim_start();
        }
        rest.starts_with("::")
    }
    if !text.contains("##[") && !text.split('\n').any(is_command) {
        return text.into();
    }
    let lines: Vec<_> = text
        .split('\n')
        .map(|line| if is_command(line) { line.replacen("::", ": :", 1) } else { line.to_owned() })
        .collect();
    lines.join("\n").replace("##[", "# #[").into()
}

/// Escapes like [`visible_line`], and white space that a reader may overlook: kinds other than a space, and any at the end of
/// the text.
pub fn marked(text: &str) -> String {
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

/// Formats two values, cut by [`cut_around_difference`].
pub fn expected_and_got(expected: &str, got: &str, most: usize) -> String {
    let [expected, got] = cut_around_difference([expected, got], most);
    format!("expected {expected}, got {got}")
}

/// Cuts each of two texts to `most` characters so that their first difference is shown.
pub fn cut_around_difference(texts: [&str; 2], most: usize) -> [String; 2] {
    let from = difference_start(texts, most);
    texts.map(|text| {
        if from == 0 || text.chars().nth(most).is_none() {
            return cut(text, most);
        }
        cut(&format!("…{}", &text[from..]), most)
    })
}

/// Returns the byte from which `most` characters of two texts show their first difference, at the start of a word if possible.
pub fn difference_start([left, right]: [&str; 2], most: usize) -> usize {
    let pairs = left.char_indices().zip(right.chars());
    let same = pairs.take_while(|((_, left), right)| left == right);
    let starts: Vec<usize> = same.map(|((at, _), _)| at).collect();
    let common = starts.len();
    if common < most / 2 {
        return 0;
    }
    let [earliest, latest] = [most / 2, most / 4].map(|back| starts[common - back.max(1)]);
    left[earliest..latest].find(' ').map_or(latest, |space| earliest + space + 1)
}

/// Returns the numbers of bytes at the start and at the end that two texts share. The end does not reach into the start.
pub fn common_ends([left, right]: [&str; 2]) -> (usize, usize) {
    let bytes = |left: &mut dyn Iterator<Item = char>, right: &mut dyn Iterator<Item = char>| {
        left.zip(right).map_while(|(one, other)| (one == other).then(|| one.len_utf8())).sum()
    };
    let start: usize = bytes(&mut left.chars(), &mut right.chars());
    let end = bytes(&mut left[start..].chars().rev(), &mut right[start..].chars().rev());
    (start, end)
}

/// Cuts a text to `most` characters with `…` at the end, after a word if one ends in the last third.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return text.to_owned();
    }
    let end = |count| text.char_indices().nth(count).map_or(text.len(), |(at, _)| at);
    let kept = &text[..end(most - 1)];
    let word = kept.rfind(' ').filter(|space| *space >= end(most * 2 / 3));
    format!("{}…", &kept[..word.unwrap_or(kept.len())])
}

/// Formats a path for a message, on one line. A file's name may contain line breaks.
pub fn shown_path(path: &Path) -> String {
    visible_line(&path.to_string_lossy()).into_owned()
}

/// Quotes a word for a shell if necessary, on one line.
pub fn quoted(word: &str) -> String {
    if word.contains(char::is_control) {
        let word = word.replace('\\', r"\\").replace('\'', r"\'");
        return format!(
            "$'{}'",
            word.replace('\u{1b}', r"\e").replace('\n', r"\n").replace('\r', r"\r")
        );
    }
    let is_plain =
        |character: char| character.is_alphanumeric() || "_-./@#+=:,".contains(character);
    // zsh replaces a word with `=` at its start.
    if !word.is_empty() && !word.starts_with(['#', '=']) && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Quotes a path for a shell. Its bytes may not be text.
pub fn quoted_path(path: &Path) -> String {
    match path.to_str() {
        // Otherwise it is read as a flag.
        Some(text) if text.starts_with('-') => quoted(&format!("./{text}")),
        Some(text) => quoted(text),
        None => format!("$'{}'", path.as_os_str().as_bytes().escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::{common_ends, visible, visible_line};

    #[test]
    fn common_ends_do_not_overlap() {
        assert_eq!(common_ends(["aäb", "aäab"]), (3, 1));
        assert_eq!(common_ends(["aa", "aaa"]), (2, 0));
    }

    #[test]
    fn control_characters_are_visible() {
        for (text, shown) in [
            ("plain äöü ✓\n\tline", "plain äöü ✓\n\tline"),
            ("\u{1b}]0;title\u{7}x", r"\u{1b}]0;title\u{7}x"),
            ("\u{1b}[2J\u{1b}[31mred\rover\n", "\\u{1b}[2J\\u{1b}[31mred\\rover\n"),
            ("\0\u{8}\u{7f}\u{9b}31m", r"\u{0}\u{8}\u{7f}\u{9b}31m"),
            ("\u{202e}x\u{2066}", r"\u{202e}x\u{2066}"),
            ("\u{200e}\u{200f}\u{61c}x", r"\u{200e}\u{200f}\u{61c}x"),
            ("a\u{2028}b\u{feff}\u{e0041}", r"a\u{2028}b\u{feff}\u{e0041}"),
            ("dos\r\nline", "dos\r\nline"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_line("a\r\n✓\u{1b}"), r"a\r\n✓\u{1b}");
    }

    #[test]
    fn joiners_and_variation_selectors_stay() {
        for text in ["👩\u{200d}💻", "می\u{200c}خواهم", "☂\u{fe0f}", "葛\u{e0100}"] {
            assert_eq!(visible(text), text);
        }
    }
}
