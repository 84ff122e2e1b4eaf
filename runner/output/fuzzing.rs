//! What a guest's words do to a terminal: nothing.

use std::sync::LazyLock;

use regex::Regex;

use super::{
    format::{quoted, visible_but_styles, visible_line},
    wrap::wrapped,
};
use crate::model::{escape_json, visible};

/// Nothing in a text that is shown steers a terminal, and breaking it into lines loses nothing of it.
pub fn terminal(bytes: &[u8]) {
    let Some((width, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    assert_still(&visible(&text));
    let line = visible_line(&text);
    assert_still(&line);
    assert!(!line.contains(['\n', '\r']));
    assert_still(&without_styles(&visible_but_styles(&text)));
    assert_eq!(visible(&visible(&text)), visible(&text));
    let mut json = serde_json::to_vec(&text).expect("a text can be written as JSON");
    escape_json(&mut json, 0);
    assert_still(&String::from_utf8_lossy(&json));
    assert_eq!(
        serde_json::from_slice::<String>(&json).ok().as_deref(),
        Some(&*text)
    );

    let shown = visible(&text);
    let letters = |text: &str| -> String { text.split([' ', '\n']).collect() };
    assert_eq!(
        letters(&wrapped(&shown, Some(usize::from(*width)))),
        letters(&shown)
    );
    assert_eq!(unquoted(&quoted(&text)).as_deref(), Some(&*text));
}

fn assert_still(text: &str) {
    static STEERING: LazyLock<Regex> = LazyLock::new(|| {
        let controls = r"[\p{Cc}--[\n\t]]|[\p{Bidi_Control}\u{2028}\u{2029}]";
        // Joiners and variation selectors change how their neighbours look.
        let hidden =
            r"[\p{Default_Ignorable_Code_Point}--[\u{200c}\u{200d}\p{Variation_Selector}]]";
        Regex::new(&format!("{controls}|{hidden}")).expect("the expression is valid")
    });
    let plain = text.replace("\r\n", "\n");
    assert!(!STEERING.is_match(&plain), "{plain:?}");
}

/// Takes out what begins with an escape and sets colours.
fn without_styles(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let codes = piece
            .trim_start_matches(|character: char| character.is_ascii_digit() || character == ';');
        let rest = codes.strip_prefix('m');
        plain += rest.unwrap_or_else(|| panic!("no colour: {piece:?}"));
    }
    plain
}

/// The word that a shell takes; none where it would take several or something else.
fn unquoted(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('\'') else {
        let is_plain =
            |character: char| character.is_alphanumeric() || "=:/._-+".contains(character);
        return text.chars().all(is_plain).then(|| text.to_owned());
    };
    let pieces: Vec<_> = inner.strip_suffix('\'')?.split(r"'\''").collect();
    let is_closed = pieces.iter().all(|piece| !piece.contains('\''));
    is_closed.then(|| pieces.join("'"))
}
