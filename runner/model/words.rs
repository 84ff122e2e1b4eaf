//! Numbers and names in sentences.

use std::{borrow::Cow, time::Duration};

use serde_json::Value;

/// A count with its thousands apart: `12 345`.
pub fn count(count: u64) -> String {
    let digits = count.to_string();
    if digits.len() <= 3 {
        return digits;
    }
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// A duration with three significant digits at most: `48 µs`, `1.24 s`, `3 m 20 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        return format!("{} µs", duration.as_micros());
    }
    if seconds < 1.0 && duration.subsec_nanos().is_multiple_of(1_000_000) {
        return duration.subsec_millis().to_string() + " ms";
    }
    if seconds < 1.0 {
        return digits(seconds * 1e3) + " ms";
    }
    if seconds < 60.0 {
        return digits(seconds) + " s";
    }
    let minutes = duration.as_secs() / 60;
    if minutes < 60 {
        return format!("{minutes} m {} s", duration.as_secs() % 60);
    }
    format!("{} h {} m", minutes / 60, minutes % 60)
}

/// A text as it is, any other value as JSON.
pub fn scalar_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// `1 trial`, `2 trials`.
pub fn plural(number: u64, word: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {word}{ending}", count(number))
}

/// A number with four significant digits or so, without needless zeros.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 1000.0 => 0,
        _ if size >= 100.0 => 1,
        _ if size >= 10.0 => 2,
        _ if size >= 0.1 || size == 0.0 => 3,
        _ if size >= 0.01 => 4,
        _ if size >= 0.001 => 5,
        _ => return format!("{value:.2e}"),
    };
    if size >= 1e15 {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.decimals$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A word as a shell takes it.
pub fn quoted(word: &str) -> String {
    let is_plain = |character: char| character.is_alphanumeric() || "=:/._-+".contains(character);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Three significant digits, without needless zeros.
fn digits(value: f64) -> String {
    let decimals = match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    };
    let mut text = format!("{value:.decimals$}");
    if decimals > 0 {
        let short = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(short);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{duration, number};

    #[test]
    fn durations_are_short() {
        let shown = [
            0,
            48,
            999,
            1_240,
            52_600,
            999_999,
            5_000,
            13_000,
            250_000,
            1_240_000,
            12_000_000,
            200_000_000,
            7_500_000_000,
        ]
        .map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(
            shown,
            [
                "0 µs", "48 µs", "999 µs", "1.24 ms", "52.6 ms", "1000 ms", "5 ms", "13 ms",
                "250 ms", "1.24 s", "12 s", "3 m 20 s", "2 h 5 m"
            ]
        );
    }

    #[test]
    fn numbers_are_as_long_as_they_say_something() {
        let shown = [
            0.0, 1.0, 0.123_46, 0.001_234, 1.5e-7, 12.345, 123_456.7, 1e300, -2.5,
        ];
        assert_eq!(
            shown.map(number),
            [
                "0",
                "1",
                "0.123",
                "0.00123",
                "1.50e-7",
                "12.35",
                "123457",
                "1.000e300",
                "-2.5"
            ]
        );
    }
}
