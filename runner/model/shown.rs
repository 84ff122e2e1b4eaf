//! How values stand in messages that are stored with results: what a library thinks of them may change.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::words::count;

/// A duration in its largest unit that makes it 1 or more, as scenarios take it: `20ms`, `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShownDuration(pub Duration);

/// With a precision, so many digits stand behind the point; else as many as it has.
impl Display for ShownDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        let (unit, digits) = match nanos {
            1_000_000_000.. => ("s", 9),
            1_000_000.. => ("ms", 6),
            1_000.. => ("µs", 3),
            _ => ("ns", 0),
        };
        if let Some(precision) = formatter.precision() {
            #[expect(clippy::cast_precision_loss, reason = "it is rounded anyway")]
            let number = nanos as f64 / 10_f64.powi(digits);
            return write!(formatter, "{number:.precision$}{unit}");
        }
        let size = 10_u128.pow(digits.unsigned_abs());
        let (whole, rest) = (nanos / size, nanos % size);
        if rest == 0 {
            return write!(formatter, "{whole}{unit}");
        }
        let width = usize::try_from(digits).unwrap_or_default();
        let rest = format!("{rest:0width$}");
        write!(formatter, "{whole}.{}{unit}", rest.trim_end_matches('0'))
    }
}

/// A number as people read it: `2 000 012`, `0.3`; with at most six digits behind the point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShownNumber(pub f64);

impl Display for ShownNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// From here on not every whole number has a value of its own.
        const LARGE: f64 = 9e15;
        let rounded = (self.0.abs() * 1e6).round() / 1e6;
        if !rounded.is_finite() || rounded >= LARGE || (rounded == 0.0 && self.0 != 0.0) {
            return write!(formatter, "{:e}", self.0);
        }
        let sign = if self.0 < 0.0 { "-" } else { "" };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is below `LARGE` and not negative"
        )]
        let whole = count(rounded as u64);
        let rest = format!("{:.6}", rounded.fract());
        let rest = rest.trim_start_matches('0').trim_end_matches(['0', '.']);
        write!(formatter, "{sign}{whole}{rest}")
    }
}

/// A text between double quotes, with what cannot be seen escaped as in Rust.
pub fn quoted_text(text: &str) -> String {
    let mut quoted = String::from('"');
    for character in text.chars() {
        match character {
            '\'' => quoted.push(character),
            other => quoted.extend(other.escape_debug()),
        }
    }
    quoted.push('"');
    quoted
}

/// What a library says of a value that it did not expect, without the names of types of this program.
pub fn shown_problem(problem: &str) -> String {
    const KINDS: [(&str, &str); 8] = [
        ("struct ", "an object"),
        ("struct variant ", "an object"),
        ("internally tagged enum ", "an object"),
        ("adjacently tagged enum ", "an object"),
        ("enum ", "a word or an object"),
        ("tuple struct ", "a list"),
        ("newtype struct ", "another value"),
        ("unit struct ", "nothing"),
    ];
    const NUMBERS: [&str; 12] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
    ];
    // What comes before it may be a text of somebody else.
    let Some((before, expected)) = problem.rsplit_once(", expected ") else {
        return problem.to_owned();
    };
    let is_part = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let behind_name = |text: &str| text.trim_start_matches(is_part).to_owned();
    let kind = KINDS.iter().find_map(|(kind, plain)| {
        let name = expected.strip_prefix(kind)?;
        name.starts_with(char::is_uppercase)
            .then(|| (*plain, behind_name(name)))
    });
    let number = || {
        let rest = behind_name(expected);
        let name = &expected[..expected.len() - rest.len()];
        match name {
            "f32" | "f64" => Some(("a number", rest)),
            name => NUMBERS.contains(&name).then_some(("a whole number", rest)),
        }
    };
    match kind.or_else(number) {
        Some((plain, rest)) => format!("{before}, expected {plain}{rest}"),
        None => problem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{ShownDuration, quoted_text, shown_problem};

    #[test]
    fn problems_name_no_types_of_this_program() {
        let check = |problem: &str, shown: &str| assert_eq!(shown_problem(problem), shown);
        check(
            "invalid type: string \"x\", expected struct Manifest at line 1 column 3",
            "invalid type: string \"x\", expected an object at line 1 column 3",
        );
        check(
            "invalid type: map, expected struct RowCheck with 3 elements",
            "invalid type: map, expected an object with 3 elements",
        );
        check(
            "invalid value: integer `-1`, expected u32",
            "invalid value: integer `-1`, expected a whole number",
        );
        for kept in [
            "missing field `v` at line 1 column 2",
            "invalid type: integer `1`, expected a string",
            "EOF while parsing a value at line 1 column 0",
        ] {
            check(kept, kept);
        }
    }

    #[test]
    fn a_duration_has_its_largest_unit() {
        for (nanos, shown, rounded) in [
            (0, "0ns", "0.0ns"),
            (999, "999ns", "999.0ns"),
            (1_500, "1.5µs", "1.5µs"),
            (20_000_000, "20ms", "20.0ms"),
            (20_050_001, "20.050001ms", "20.1ms"),
            (1_000_000_000, "1s", "1.0s"),
            (90_250_000_000, "90.25s", "90.2s"),
        ] {
            let duration = ShownDuration(Duration::from_nanos(nanos));
            assert_eq!(
                (duration.to_string().as_str(), &*format!("{duration:.1}")),
                (shown, rounded)
            );
        }
    }

    proptest! {
        #[test]
        fn a_text_is_quoted_as_version_0_1_0_did(text in any::<String>()) {
            prop_assert_eq!(quoted_text(&text), format!("{text:?}"));
        }

        #[test]
        fn a_duration_is_shown_as_version_0_1_0_did(nanos in any::<u64>(), bits in 0..64_u32) {
            let duration = Duration::from_nanos(nanos >> bits);
            prop_assert_eq!(ShownDuration(duration).to_string(), format!("{duration:?}"));
        }
    }
}
