//! Bounds the bytes of texts and values, for models and for the host.

use std::io;

use serde::Serialize;
use serde_json::Value;

/// Bytes that the host accepts in one call by default: `limits.reply`.
pub const MAX_HANDOVER: usize = 4 << 20;
/// Bytes of the words between the start and the end of a cut text.
const MARK: usize = 48;
/// Bytes of a text in a value that is never cut.
const SHORT: usize = 128;

/// Returns the start and the end of a text in `most` bytes, with the number of bytes left out of `whole`: a text that was cut before
/// had more bytes than now. `None` if the text fits.
pub fn cut(text: &str, most: usize, whole: usize) -> Option<String> {
    if text.len() <= most {
        return None;
    }
    let kept = most.saturating_sub(MARK);
    let start = text.floor_char_boundary(kept.div_ceil(2));
    let end = text.ceil_char_boundary(text.len() - kept / 2);
    let left_out = whole - start - (text.len() - end);
    Some(format!("{}\n… {left_out} bytes left out\n{}", &text[..start], &text[end..]))
}

/// Returns a value as a model reads it, in at most `most` bytes, and the number of bytes that it has: a text unchanged, everything
/// else as JSON. The long texts in a value are cut first, so that it stays JSON.
pub fn readable(value: Value, most: usize) -> (String, usize) {
    match value {
        Value::String(text) => {
            let whole = text.len();
            (cut(&text, most, whole).unwrap_or(text), whole)
        }
        value => (json_within(&value, most), length(&value)),
    }
}

fn json_within(value: &Value, most: usize) -> String {
    if length(value) <= most {
        return value.to_string();
    }
    let fits = |longest: usize| length(&with_texts_of(value, longest)) <= most;
    if !fits(SHORT) {
        let whole = value.to_string();
        return cut(&whole, most, whole.len()).unwrap_or(whole);
    }
    let (mut fitting, mut too_long) = (SHORT, most);
    while fitting + SHORT < too_long {
        let middle = fitting.midpoint(too_long);
        if fits(middle) { fitting = middle } else { too_long = middle }
    }
    with_texts_of(value, fitting).to_string()
}

/// Returns a value whose texts have at most `longest` bytes.
fn with_texts_of(value: &Value, longest: usize) -> Value {
    match value {
        Value::String(text) => {
            cut(text, longest, text.len()).map_or_else(|| value.clone(), Value::from)
        }
        Value::Array(items) => items.iter().map(|item| with_texts_of(item, longest)).collect(),
        Value::Object(keys) => {
            keys.iter().map(|(key, value)| (key.clone(), with_texts_of(value, longest))).collect()
        }
        value => value.clone(),
    }
}

/// Returns a text that has at most `most` bytes as JSON. `None` if the text has no more already.
pub fn cut_for_json(text: &str, most: usize) -> Option<String> {
    let mut kept = most;
    let mut shortened = None;
    while length(shortened.as_deref().unwrap_or(text)) > most {
        shortened = cut(text, kept, text.len()).or(shortened);
        kept /= 2;
    }
    shortened
}

/// Returns the bytes of a value as JSON.
pub fn length(value: &(impl Serialize + ?Sized)) -> usize {
    let mut counter = Counter(0);
    // A value of JSON can be written, and the counter takes every byte.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// Counts the bytes that are written to it.
struct Counter(usize);

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{cut, cut_for_json, length, readable};

    #[test]
    fn cut_text_has_its_start_and_end_and_the_number_of_other_bytes() {
        let text = format!("{}{}", "a".repeat(500), "z".repeat(500));
        let short = cut(&text, 248, text.len()).unwrap();
        assert_eq!(
            short,
            format!("{}\n… 800 bytes left out\n{}", "a".repeat(100), "z".repeat(100))
        );
        assert!(short.len() <= 248);
        assert_eq!(cut(&text, 1000, text.len()), None);
        // A text that was cut before counts the bytes of the whole one.
        let shorter = cut(&short, 68, 1000).unwrap();
        assert_eq!(
            shorter,
            format!("{}\n… 980 bytes left out\n{}", "a".repeat(10), "z".repeat(10))
        );
        // No letter is cut into parts.
        let umlauts = cut(&"ü".repeat(100), 101, 200).unwrap();
        assert_eq!(umlauts.chars().filter(|letter| *letter == 'ü').count(), 26);
        assert!(umlauts.contains("148 bytes"), "{umlauts}");
    }

    #[test]
    fn value_stays_json_while_its_texts_are_cut() {
        let output =
            json!({"exit_code": 0, "stderr": "e".repeat(90), "stdout": "x\n".repeat(50_000)});
        let (text, whole) = readable(output.clone(), 4096);
        assert_eq!(whole, length(&output));
        assert!((3900..=4096).contains(&text.len()), "{}", text.len());
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&read["exit_code"], &read["stderr"]),
            (&output["exit_code"], &output["stderr"])
        );
        let stdout = read["stdout"].as_str().unwrap();
        assert!(stdout.starts_with("x\nx\n") && stdout.ends_with("x\nx\n"), "{stdout}");
        assert!(stdout.contains(" bytes left out\n"), "{stdout}");
        assert_eq!(readable(json!({"a": [1]}), 256).0, r#"{"a":[1]}"#);
        assert_eq!(readable(json!("b"), 256), ("b".to_owned(), 1));
        // Many short texts leave no text to cut.
        let (text, _) = readable(json!(vec!["word"; 10_000]), 4096);
        assert!(text.len() <= 4096 && text.starts_with("[\"word\""), "{}", text.len());
    }

    #[test]
    fn escapes_count_as_bytes_of_json() {
        assert_eq!(cut_for_json("abc", 5), None);
        let text = "\u{1}".repeat(1000);
        let short = cut_for_json(&text, 1000).unwrap();
        assert!(length(&short) <= 1000, "{}", length(&short));
    }
}
