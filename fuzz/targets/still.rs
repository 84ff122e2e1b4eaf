//! A check of shown text.

use std::sync::LazyLock;

use regex::Regex;

/// Asserts that a text has no character that controls a terminal, turns text around or is invisible.
pub fn assert_still(text: &str) {
    static STEERING: LazyLock<Regex> = LazyLock::new(|| {
        // Joiners and variation selectors change only how their neighbours look.
        let steering = r"[\p{Cc}--[\n\t]]|[\p{Bidi_Control}\u{2028}\u{2029}]|[\p{Default_Ignorable_Code_Point}--[\u{200c}\u{200d}\p{Variation_Selector}]]";
        Regex::new(steering).expect("the expression is valid")
    });
    let plain = text.replace("\r\n", "\n");
    assert!(!STEERING.is_match(&plain), "{plain:?}");
}
