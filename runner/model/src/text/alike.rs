//! Different texts that look alike, and their code points.
//!
//! A look is the compatibility decomposition without invisible characters, with letters of other scripts replaced by the Latin
//! ones that they look like. That list is short, and [`difference`] does without it.

use std::borrow::Cow;

use icu_normalizer::DecomposingNormalizerBorrowed;

use super::visible::{common_ends, steers};

/// Characters that look like one of ASCII, and these.
const HOMOGLYPHS: [&str; 2] = [
    "аеорсухіјѕԁһԛԝАВЕКМНОРСТУХІЈЅЗӀαονρυιΑΒΕΖΗΙΚΜΝΟΡΤΥΧօոսı‐‑‒–—―−ー‘’‚′ʼ“”„″⁄∕∶·∙٠۰",
    "aeopcyxijsdhqwABEKMHOPCTYXIJS3lavopuiABEZHIKMNOPTYXonui--------'''''\"\"\"\"//:..oo",
];
/// Characters after a difference that are compared and shown.
const MAX_NEXT: usize = 4;

/// Describes the first difference of two texts as ` (first difference: U+00E9, got U+0065 U+0301)`. Empty if it is visible.
pub fn difference(expected: &str, got: &str) -> String {
    let points = differing_points(expected, got);
    points.map(|points| format!(" (first difference: {points})")).unwrap_or_default()
}

/// Returns the code points of the first difference of two texts, such as `U+00E9, got U+0065 U+0301`. `None` if it is visible:
/// both characters are ASCII, or letters of one script that do not look alike.
pub fn differing_points(expected: &str, got: &str) -> Option<String> {
    let (start, _) = common_ends([expected, got]);
    let rest = [&expected[start..], &got[start..]];
    let is_visible = match rest.map(|rest| rest.chars().next()) {
        [None, None] => true,
        [Some(left), Some(right)] => {
            let is_of_one_script = script(left).is_some() && script(left) == script(right);
            is_plain(left) && is_plain(right) || is_of_one_script && first_looks_differ(rest)
        }
        [Some(last), None] | [None, Some(last)] => is_plain(last) || script(last).is_some(),
    };
    let [expected, got] = rest.map(code_points);
    (!is_visible).then(|| format!("{expected}, got {got}"))
}

/// Returns whether two different texts look alike.
pub fn look_alike(left: &str, right: &str) -> bool {
    left != right && !(left.is_ascii() && right.is_ascii()) && look(left) == look(right)
}

/// Returns the first part of a text that looks like `part`.
pub fn find_alike<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    if text.is_ascii() && part.is_ascii() {
        return None;
    }
    let wanted: Vec<char> = look(part).chars().collect();
    let mut looks = Vec::with_capacity(text.len());
    for (start, character) in text.char_indices() {
        let end = start + character.len_utf8();
        looks.extend(look(&text[start..end]).chars().map(|look| (start, end, look)));
    }
    let mut windows = looks.windows(wanted.len().max(1));
    let found = windows.find(|window| window.iter().map(|(.., look)| look).eq(&wanted))?;
    Some(&text[found.first()?.0..found.last()?.1])
}

/// Escapes the characters in which two texts that look alike differ, such as `caf\u{e9}`. `None` if they do not.
pub fn escaped_difference(texts: [&str; 2]) -> Option<[String; 2]> {
    if !look_alike(texts[0], texts[1]) {
        return None;
    }
    let (start, end) = common_ends(texts);
    Some(texts.map(|text| {
        let mut escaped = text[..start].to_owned();
        for character in text[start..text.len() - end].chars() {
            if character.is_ascii() {
                escaped.push(character);
            } else {
                escaped.extend(character.escape_unicode());
            }
        }
        escaped + &text[text.len() - end..]
    }))
}

/// Returns whether a character has no width between others.
pub fn is_invisible(character: char) -> bool {
    // Joiners and variation selectors.
    steers(character)
        || matches!(character, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

/// Returns a text without differences that cannot be seen: decomposed, and without invisible characters.
pub fn appearance(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    let decomposed = DecomposingNormalizerBorrowed::new_nfd().normalize(text);
    decomposed.chars().filter(|character| !is_invisible(*character)).collect()
}

/// Returns a text by its look.
fn look(text: &str) -> String {
    let letter = |character: char| match character {
        _ if character.is_ascii() => character,
        _ if character.is_whitespace() => ' ',
        _ => {
            let index = HOMOGLYPHS[0].chars().position(|other| other == character);
            index.and_then(|index| HOMOGLYPHS[1].chars().nth(index)).unwrap_or(character)
        }
    };
    let decomposed = DecomposingNormalizerBorrowed::new_nfkd().normalize(text);
    decomposed.chars().filter(|character| !is_invisible(*character)).map(letter).collect()
}

/// Returns whether the first characters of two texts look different, with those that belong to them.
fn first_looks_differ(texts: [&str; 2]) -> bool {
    let [left, right] = texts.map(|text| {
        let start: String = text.chars().take(MAX_NEXT).collect();
        look(&start).chars().next()
    });
    left != right
}

/// Returns whether a character looks like no other of ASCII.
fn is_plain(character: char) -> bool {
    character.is_ascii() && !steers(character)
}

/// Returns a number for the script of a letter. `None` for other characters.
fn script(character: char) -> Option<u32> {
    character.is_alphanumeric().then_some(match u32::from(character) {
        // Chinese characters, and Korean syllables.
        0x3400..=0x9fff | 0x2_0000..=0x3_ffff => 0x10_0000,
        0xac00..=0xd7a3 => 0x10_0001,
        // Most scripts have about this size. The first one has ASCII and letters of Western Europe.
        code => code >> 8,
    })
}

/// Formats the first character of a text, and marks after it.
fn code_points(text: &str) -> String {
    let mut characters = text.chars();
    let Some(first) = characters.next() else { return "the end".to_owned() };
    let is_mark = |character: &char| {
        !character.is_ascii() && !character.is_alphanumeric() && !character.is_whitespace()
    };
    let mut points = format!("U+{:04X}", u32::from(first));
    for mark in characters.take(MAX_NEXT).take_while(is_mark) {
        points += &format!(" U+{:04X}", u32::from(mark));
    }
    points
}

#[cfg(test)]
mod tests {
    use super::{HOMOGLYPHS, difference, escaped_difference, find_alike, look_alike};

    #[test]
    fn each_homoglyph_has_its_letter() {
        let [others, letters] = HOMOGLYPHS.map(|text| text.chars().count());
        assert_eq!(others, letters);
    }

    #[test]
    fn differences_that_cannot_be_seen_have_code_points() {
        for (expected, got, points) in [
            ("café", "cafe\u{301}", "U+00E9, got U+0065 U+0301"),
            ("cafe\u{301}", "café", "U+0065 U+0301, got U+00E9"),
            ("й", "и\u{306}", "U+0439, got U+0438 U+0306"),
            ("가", "\u{1100}\u{1161}", "U+AC00, got U+1100"),
            ("が", "か\u{3099}", "U+304C, got U+304B U+3099"),
            ("ab", "a\u{200d}b", "U+0062, got U+200D"),
            ("a", "a\u{200c}", "the end, got U+200C"),
            ("☂\u{fe0f}", "☂", "U+FE0F, got the end"),
            ("a b", "a\u{a0}b", "U+0020, got U+00A0"),
            ("Paris", "\u{420}aris", "U+0050, got U+0420"),
            ("\u{3bf}", "\u{43e}", "U+03BF, got U+043E"),
            ("a-b", "a–b", "U+002D, got U+2013"),
            ("it's", "it’s", "U+0027, got U+2019"),
            ("file", "\u{fb01}le", "U+0066, got U+FB01"),
            ("A1", "\u{ff21}1", "U+0041, got U+FF21"),
            ("K", "\u{212a}", "U+004B, got U+212A"),
            ("ニ", "二", "U+30CB, got U+4E8C"),
            ("…", "...", "U+2026, got U+002E"),
        ] {
            let hint = format!(" (first difference: {points})");
            assert_eq!(difference(expected, got), hint, "{expected} {got}");
        }
    }

    #[test]
    fn visible_differences_have_no_code_points() {
        for (expected, got) in [
            ("", ""),
            ("a", "b"),
            ("é", ""),
            ("über", "ändern"),
            ("Москва", "Киев"),
            ("東京", "北京"),
            ("서울", "부산"),
        ] {
            assert_eq!(difference(expected, got), "", "{expected} {got}");
        }
    }

    #[test]
    fn parts_that_look_alike_are_found() {
        assert_eq!(find_alike("the cafe\u{301} is open", "café"), Some("cafe\u{301}"));
        let paris = "P\u{430}r\u{200d}is";
        assert_eq!(find_alike(&format!("in {paris}!"), "Paris"), Some(paris));
        assert_eq!(find_alike("the cafe is open", "café"), None);
        assert_eq!(find_alike("", "a"), None);
        assert!(look_alike("cl\u{e9}", "cle\u{301}") && !look_alike("cle", "cl\u{e9}"));
    }

    #[test]
    fn only_the_differing_characters_are_escaped() {
        let escaped = escaped_difference(["ö caf\u{e9}", "ö cafe\u{301}"]);
        assert_eq!(escaped, Some([r"ö caf\u{e9}".to_owned(), r"ö cafe\u{301}".to_owned()]));
        for texts in [["a", "b"], ["a", "a"]] {
            assert_eq!(escaped_difference(texts), None);
        }
    }
}
