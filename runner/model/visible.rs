//! What steers a terminal, or hides in a text, and how it is written so that it does neither: the one place that decides
//! it, for the screen, for documents of JSON, for rows and for logs.

use std::borrow::Cow;

/// Tells whether a character does something else with a text than to show itself in its place: it is a control character,
/// turns the direction of what follows, begins a line, or hides.
///
/// What is invisible and stays is what changes how its neighbours look: the joiners U+200C and U+200D, without which
/// Persian, Indic scripts and emoji are written wrong, and variation selectors. Everything else that shows nothing (among
/// Unicode's default ignorable characters) only lets two texts look the same, or carries words that nobody sees.
pub fn steers(character: char) -> bool {
    match character {
        '\n' | '\t' | ' '..='~' => false,
        // Soft hyphen, grapheme joiner, the direction of letters, fillers, and vowels that are not written.
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' => {
            true
        }
        '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' => true,
        // Line and paragraph separators, and what embeds, overrides and isolates directions.
        '\u{2028}'..='\u{202e}' => true,
        // Word joiner, invisible operators, isolates, and controls that Unicode has given up.
        '\u{2060}'..='\u{206f}' => true,
        '\u{fff0}'..='\u{fffb}' => true,
        // Shorthand, music, and tags, which are a whole alphabet that is not seen.
        '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' => true,
        '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => true,
        character => character.is_control(),
    }
}

/// A text with all that steers made visible, such as an escape as `\u{1b}`: whoever wrote it must not colour, move or hide
/// what is around it. Line breaks and tabs stay.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |_| None)
}

/// The same for a text that has one line, where nobody must begin another: its line breaks are `\n`.
pub fn visible_line(text: &str) -> Cow<'_, str> {
    // As nearly all of very many are.
    if is_all(text.as_bytes(), |byte| matches!(byte, b' '..=b'~')) {
        return text.into();
    }
    if !text.contains(['\r', '\n']) {
        return visible(text);
    }
    let text = text.replace('\r', r"\r").replace('\n', r"\n");
    visible(&text).into_owned().into()
}

/// Makes visible what steers; `kept` tells what stays of a text that begins with such a character.
pub fn escaped(text: &str, kept: fn(&str) -> Option<&str>) -> Cow<'_, str> {
    let mut next = first_that_steers(text);
    if next.is_none() {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = next {
        let (plain, tail) = rest.split_at(start);
        shown.push_str(plain);
        // An end of line as other systems have it does no more than one of ours.
        let stays = if tail.starts_with("\r\n") {
            Some("\r\n")
        } else {
            kept(tail)
        };
        let mut after = tail.chars();
        match (stays, after.next()) {
            (None, Some(character)) => {
                shown.extend(character.escape_default());
                rest = after.as_str();
            }
            (stays, _) => {
                let stays = stays.unwrap_or_default();
                shown.push_str(stays);
                rest = &tail[stays.len()..];
            }
        }
        next = first_that_steers(rest);
    }
    shown.push_str(rest);
    shown.into()
}

/// Where the first character is that steers. Most texts are of few others than the bytes that are looked through many at
/// once.
fn first_that_steers(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += plain_bytes(&text.as_bytes()[at..]);
        let character = text[at..].chars().next()?;
        if steers(character) {
            return Some(at);
        }
        at += character.len_utf8();
    }
}

/// Tells whether all bytes are such, many at once; a space must be.
fn is_all(text: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    let (pieces, rest) = text.as_chunks::<16>();
    let mut last = [b' '; 16];
    last[..rest.len()].copy_from_slice(rest);
    let is_all = |piece: &[u8; 16]| piece.iter().fold(true, |all, byte| all & is_such(*byte));
    pieces.iter().all(is_all) && is_all(&last)
}

/// How many bytes a text begins with that are characters which steer nothing.
fn plain_bytes(text: &[u8]) -> usize {
    let is_plain = |byte: &u8| matches!(byte, b'\n' | b'\t' | b' '..=b'~');
    let (pieces, _) = text.as_chunks::<16>();
    let is_all_plain =
        |piece: &&[u8; 16]| piece.iter().fold(true, |all, byte| all & is_plain(byte));
    let whole = 16 * pieces.iter().take_while(is_all_plain).count();
    whole
        + text[whole..]
            .iter()
            .take_while(|byte| is_plain(byte))
            .count()
}

/// Escapes what steers in the JSON that `json` has from `start` on, as in `\u009b`: it is the same value. JSON itself does
/// so only below U+0020.
///
/// # Panics
///
/// Panics if that is not UTF-8, which JSON always is.
pub fn escape_json(json: &mut Vec<u8>, start: usize) {
    let tail = &json[start..];
    // Nearly all is ASCII, where only DEL and the breaks of lines elsewhere are to be found.
    let is_plain = |byte: &u8| *byte < 0x7f && *byte != b'\r';
    // To the end, whatever comes: so many bytes are looked at at once.
    if tail
        .iter()
        .fold(true, |so_far, byte| so_far & is_plain(byte))
    {
        return;
    }
    let text = std::str::from_utf8(tail).expect("JSON is UTF-8");
    if first_that_steers(text).is_none() {
        return;
    }
    let mut escaped = Vec::with_capacity(tail.len() + 64);
    let mut units = [0; 2];
    for character in text.chars() {
        match character {
            // It stands between values: in a string it is escaped already.
            '\r' => escaped.push(b' '),
            character if steers(character) => {
                for unit in character.encode_utf16(&mut units) {
                    escaped.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
            character => {
                escaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    json.truncate(start);
    json.append(&mut escaped);
}

#[cfg(test)]
mod tests {
    use super::{escape_json, steers, visible, visible_line};

    #[test]
    fn what_steers_a_terminal_is_visible() {
        for (text, shown) in [
            ("plain äöü ✓\n\tline", "plain äöü ✓\n\tline"),
            ("\u{1b}]0;title\u{7}x", r"\u{1b}]0;title\u{7}x"),
            (
                "\u{1b}[2J\u{1b}[31mred\rover\n",
                "\\u{1b}[2J\\u{1b}[31mred\\rover\n",
            ),
            ("\0\u{8}\u{7f}\u{9b}31m", r"\u{0}\u{8}\u{7f}\u{9b}31m"),
            ("\u{202e}x\u{2066}", r"\u{202e}x\u{2066}"),
            ("\u{200e}\u{200f}\u{61c}x", r"\u{200e}\u{200f}\u{61c}x"),
            (
                "a\u{2028}b\u{feff}\u{e0041}",
                r"a\u{2028}b\u{feff}\u{e0041}",
            ),
            ("dos\r\nline", "dos\r\nline"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(visible_line("a\r\n✓\u{1b}"), r"a\r\n✓\u{1b}");
    }

    #[test]
    fn what_changes_how_its_neighbours_look_stays() {
        for text in [
            "👩\u{200d}💻",
            "می\u{200c}خواهم",
            "☂\u{fe0f}",
            "葛\u{e0100}",
        ] {
            assert_eq!(visible(text), text);
        }
    }

    #[test]
    fn json_is_escaped_to_the_same_value() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let mut json = b"before\x7f".to_vec();
        serde_json::to_writer(&mut json, &all).unwrap();
        escape_json(&mut json, 7);
        assert!(json.starts_with(b"before\x7f\""));
        let text = std::str::from_utf8(&json[7..]).unwrap();
        assert!(!text.contains(steers));
        assert!(serde_json::from_str::<String>(text).unwrap() == all);
    }
}
