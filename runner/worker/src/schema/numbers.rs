//! [`NumberRule`]: keywords of JSON Schema that compare numbers, checked exactly. [`with_integers`]: numbers that `boon` compares
//! exactly.
//!
//! `boon` computes them in binary floating point, in which 19.99 is not a multiple of 0.01, and 2^53 + 1 is no more than 2^53.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

/// A keyword with its number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NumberRule {
    keyword: &'static str,
    number: Number,
}

const BOUNDS: [&str; 4] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
/// Least integer whose successor is not a float.
const MAX_FLOAT_INTEGER: u64 = 1 << 53;

impl NumberRule {
    /// Removes the keywords of a schema that need an exact check.
    pub(super) fn take(schema: &mut Map<String, Value>) -> Vec<Self> {
        // Before draft 6, these are booleans that change the other bounds.
        let has_flags =
            BOUNDS[2..].iter().any(|key| schema.get(*key).is_some_and(Value::is_boolean));
        let bounds = BOUNDS.into_iter().filter(|_| !has_flags);
        bounds
            .chain(["multipleOf"])
            .filter_map(|keyword| {
                let number = schema.get(keyword)?.as_number()?;
                let is_inexact = match keyword {
                    // A factor of 0 or less is invalid and stays, because `boon` then reports it.
                    "multipleOf" => number.as_f64().is_some_and(|number| number > 0.0),
                    _ => integer(number)
                        .is_some_and(|number| number.unsigned_abs() >= MAX_FLOAT_INTEGER.into()),
                };
                let number = is_inexact.then(|| number.clone())?;
                schema.remove(keyword);
                Some(Self { keyword, number })
            })
            .collect()
    }

    /// Checks a number.
    ///
    /// # Errors
    ///
    /// The broken rule.
    pub(super) fn check(&self, number: &Number) -> Result<(), String> {
        let Self { keyword, number: bound } = self;
        let order = match (integer(number), integer(bound)) {
            (Some(number), Some(bound)) => Some(number.cmp(&bound)),
            _ => number.as_f64().partial_cmp(&bound.as_f64()),
        };
        let (holds, words) = match *keyword {
            "minimum" => (order.is_some_and(Ordering::is_ge), "must be >="),
            "maximum" => (order.is_some_and(Ordering::is_le), "must be <="),
            "exclusiveMinimum" => (order.is_some_and(Ordering::is_gt), "must be >"),
            "exclusiveMaximum" => (order.is_some_and(Ordering::is_lt), "must be <"),
            _ => (is_multiple(&number.to_string(), &bound.to_string()), "must be a multiple of "),
        };
        if holds { Ok(()) } else { Err(format!("{words}{bound}, but got {number}")) }
    }
}

/// Replaces whole floats by integers. `boon` compares two of these exactly, but a float only with the float nearest to an
/// integer.
pub(super) fn with_integers(value: &mut Value) {
    match value {
        Value::Number(number) => {
            if let Some(whole) = integer(number).and_then(Number::from_i128) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(with_integers),
        Value::Object(entries) => entries.values_mut().for_each(with_integers),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

fn integer(number: &Number) -> Option<i128> {
    // Below the end of `i128`, which is 1.7e38.
    let whole = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e38);
    number.as_i128().or_else(|| whole.map(|float| float as i128))
}

/// Returns whether a decimal number is an integer times another, which is above zero.
fn is_multiple(number: &str, divisor: &str) -> bool {
    let (Some((digits, exponent)), Some((divisor, divisor_exponent))) =
        (decimal(number), decimal(divisor))
    else {
        return false;
    };
    let Ok(shift) = u32::try_from(exponent - divisor_exponent) else {
        // The number has more places than the divisor.
        let scale = 10_u128.checked_pow(exponent.abs_diff(divisor_exponent));
        let divisor = scale.and_then(|scale| divisor.checked_mul(scale));
        return digits == 0 || divisor.is_some_and(|divisor| digits.is_multiple_of(divisor));
    };
    // Digits of a float or of 64 bits, so no product exceeds 128 bits.
    (0..shift).fold(digits % divisor, |rest, _| rest * 10 % divisor) == 0
}

/// Returns the digits of a number of JSON and its power of ten.
fn decimal(number: &str) -> Option<(u128, i32)> {
    let number = number.trim_start_matches('-');
    let (digits, exponent) = match number.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let digits = format!("{whole}{fraction}").parse().ok()?;
    Some((digits, exponent - i32::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::is_multiple;

    #[test]
    fn multiples_are_decimal() {
        for (number, divisor, expected) in [
            ("19.99", "0.01", true),
            ("-19.99", "0.01", true),
            ("19.995", "0.01", false),
            ("0", "0.1", true),
            ("0.3", "0.1", true),
            ("1.1", "0.3", false),
            ("1e300", "7", false),
            ("7e300", "7", true),
            ("1e300", "1e-300", true),
            ("1e-300", "1e300", false),
            ("0.0", "1e300", true),
            ("18446744073709551615", "5", true),
            ("18446744073709551615", "0.25", true),
            ("9007199254740993", "2", false),
            ("4.5", "1.5", true),
        ] {
            assert_eq!(is_multiple(number, divisor), expected, "{number} {divisor}");
        }
    }
}
