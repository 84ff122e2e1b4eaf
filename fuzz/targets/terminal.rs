//! No text of a guest controls a terminal or a CI system, and a shell reads a quoted word as the same word. The first byte is a
//! width.
#![no_main]

mod still;

use libfuzzer_sys::fuzz_target;
use runner_model::visible::{
    cut, cut_around_difference, marked, quoted, visible, visible_line, without_commands,
};
use still::assert_still;

fuzz_target!(|bytes: &[u8]| {
    let Some((width, bytes)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    let shown = visible(&text);
    assert_still(&shown);
    assert_eq!(visible(&shown), shown);
    for line in [visible_line(&text).into_owned(), marked(&text)] {
        assert_still(&line);
        assert!(!line.contains(['\n', '\r']));
    }

    let printed = without_commands(&shown);
    assert_still(&printed);
    assert!(!printed.contains("##["));
    assert!(!printed.lines().any(|line| line.trim_start().starts_with("::")), "{printed:?}");

    let most = 8 + usize::from(*width);
    assert!(cut(&text, most).chars().count() <= most);
    let (left, right) = text.split_once('\u{fffd}').unwrap_or((&text, ""));
    for part in cut_around_difference([left, right], most) {
        assert!(part.chars().count() <= most);
    }
    assert_eq!(unquoted(&quoted(&text)).as_deref(), Some(&*text));
});

/// Returns the word that a shell reads. `None` if it reads several words, or something else.
fn unquoted(text: &str) -> Option<String> {
    assert!(!text.contains(['\n', '\r']));
    if let Some(inner) = text.strip_prefix("$'") {
        let mut characters = inner.strip_suffix('\'')?.chars();
        let mut word = String::new();
        while let Some(character) = characters.next() {
            word.push(match character {
                '\'' => return None,
                '\\' => match characters.next()? {
                    'e' => '\u{1b}',
                    'n' => '\n',
                    'r' => '\r',
                    other @ ('\\' | '\'') => other,
                    _ => return None,
                },
                character => character,
            });
        }
        return Some(word);
    }
    let Some(inner) = text.strip_prefix('\'') else {
        let is_special = |character: char| " \t'\"\\$`|&;<>()*?[]{}!~".contains(character);
        let is_word = !text.is_empty() && !text.starts_with('#') && !text.contains(is_special);
        return is_word.then(|| text.to_owned());
    };
    let pieces: Vec<_> = inner.strip_suffix('\'')?.split(r"'\''").collect();
    let is_closed = pieces.iter().all(|piece| !piece.contains('\''));
    is_closed.then(|| pieces.join("'"))
}
