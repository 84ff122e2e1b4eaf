//! Parses durations and sizes that people write (`1h30m`, `64MiB`), and formats quantities for the screen.

use std::time::Duration;

use jiff::SignedDuration;

use crate::statistics::wilson;

/// The longest duration of a text. Longer ones are typing errors. Sums of shorter ones cannot overflow.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// The largest size of a text, 1 PiB. Larger ones are typing errors. Sums of smaller ones cannot overflow.
pub const MAX_SIZE: u64 = 1 << 50;

/// Parses a duration such as `200ms`, `10s` or `1h30m`.
///
/// # Errors
///
/// The reason. Completes a sentence that starts with the text.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "is not a duration such as `200ms`, `10s` or `1h30m`")?;
    let duration = Duration::try_from(duration).map_err(|_| "is negative")?;
    if duration > MAX_DURATION {
        return Err("is longer than a year");
    }
    Ok(duration)
}

/// Parses an age such as `30d` or `2w`, or a duration.
///
/// # Errors
///
/// The reason. Completes a sentence that starts with the text.
pub fn parse_age(text: &str) -> Result<Duration, &'static str> {
    let (number, days) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(number), _) => (number, 1),
        (_, Some(number)) => (number, 7),
        (None, None) => return parse_duration(text),
    };
    let number: u32 = number.parse().map_err(|_| "is not an age such as `30d`, `2w` or `12h`")?;
    let age = Duration::from_secs(u64::from(number) * days * 24 * 3600);
    if age > 100 * MAX_DURATION {
        return Err("is longer than a hundred years");
    }
    Ok(age)
}

/// Parses a size such as `64MiB`, `1.5 GB` or `4096` to bytes.
///
/// # Errors
///
/// The reason. Completes a sentence that starts with the text.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    const NOT_A_SIZE: &str = "is not a size such as `64MiB`, or a number of bytes";
    let split = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        _ => return Err(NOT_A_SIZE),
    };
    let number = number.trim();
    // `f64` also parses signs, `1e9` and `infinity`.
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(NOT_A_SIZE);
    }
    // Whole numbers first: above 2^53, floats are not exact.
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => number.parse::<f64>().ok().map(|number| (number * factor as f64) as u64),
    };
    bytes.filter(|bytes| *bytes <= MAX_SIZE).ok_or("is not a size of at most 1 PiB")
}

/// Formats a duration, rounded to two or three significant digits: `141 µs`, `8.3 s`, `2 min 5 s`, `1 h 30 min`. The scripts of
/// the pages and of reports have the same function.
pub fn show_duration(duration: Duration) -> String {
    let micros = (duration.as_nanos() + 500) / 1_000;
    let rounded = |step: u128| (micros + step / 2) / step;
    if micros < 1_000 {
        return format!("{micros} µs");
    }
    for (unit, size, end) in [("ms", 1_000, 999_500), ("s", 1_000_000, 119_500_000)] {
        let tenths = rounded(size / 10);
        if micros < end && tenths < 100 && !micros.is_multiple_of(size) {
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        } else if micros < end {
            return format!("{} {unit}", rounded(size));
        }
    }
    let [seconds, minutes, hours] = [1_000_000, 60_000_000, 3_600_000_000].map(rounded);
    if seconds < 7_200 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else if minutes < 2_880 {
        format!("{} h {} min", minutes / 60, minutes % 60)
    } else {
        format!("{} d {} h", hours / 24, hours % 24)
    }
}

/// Fewest trials whose rate is formatted in percent.
pub const MIN_PERCENT: u64 = 10;

/// Formats a share: `42.9 %`. A share below 1 is not rounded to 100 %, and one above 0 not to 0 %. The script of the pages has the
/// same function.
pub fn show_percent(share: f64) -> String {
    let tenths = (1000.0 * share).round();
    let is_part = share > 0.0 && share < 1.0;
    format!("{:.1} %", if is_part { tenths.clamp(1.0, 999.0) } else { tenths } / 10.0)
}

/// Formats an interval of shares in percent: `(76.3–99.2)`. Its bounds are rounded outward, so that a value within the interval is
/// within the text, however it is rounded.
pub fn show_interval((low, high): (f64, f64)) -> String {
    format!("({:.1}–{:.1})", (low * 1000.0).floor() / 10.0, (high * 1000.0).ceil() / 10.0)
}

/// Formats the rate of `hits` of `total` trials: `2 of 7`, and from 10 trials on with Wilson's interval, `95.0 % (76.3–99.2)`. The
/// script of the pages has the same function.
pub fn show_rate(hits: u64, total: u64) -> String {
    if total < MIN_PERCENT {
        return format!("{hits} of {total}");
    }
    let percent = show_percent(hits as f64 / total as f64);
    format!("{percent} {}", show_interval(wilson(hits, total)))
}

/// Returns the hits of a rate that [`show_rate`] formats without percent. `None` for a weighted rate, and for a mean of rates.
pub fn few_hits(share: f64, total: u64, interval: (f64, f64)) -> Option<u64> {
    let hits = (share * total as f64).round();
    let unweighted = wilson(hits as u64, total);
    let differences =
        [share - hits / total as f64, interval.0 - unweighted.0, interval.1 - unweighted.1];
    let is_unweighted = differences.iter().all(|difference| difference.abs() < 1e-6);
    (total < MIN_PERCENT && is_unweighted).then_some(hits as u64)
}

/// Formats a size: `512 B`, `64 KiB`, `1.5 MiB`.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    // From 1023.95 on, the number would be shown as 1024.0.
    while size >= 1023.95 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    let text = format!("{size:.1}");
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// Formats a value and its bound in the first form of `show` in which they differ: form 0 is the usual one, and later ones have
/// more digits. Equal numbers have form 0.
pub fn show_apart<T: Copy>(value: T, bound: T, show: impl Fn(T, usize) -> String) -> [String; 2] {
    let texts = |form| [value, bound].map(|one| show(one, form));
    // A float has at most 17 significant digits.
    (0..17).map(texts).find(|[value, bound]| value != bound).unwrap_or_else(|| texts(0))
}

/// Formats a duration and its bound, in milliseconds if [`show_duration`] rounds them to the same text.
pub fn show_durations_apart(value: Duration, bound: Duration) -> [String; 2] {
    show_apart(value, bound, |one, form| match form {
        0 => show_duration(one),
        _ => format!("{} ms", one.as_nanos() as f64 / 1e6),
    })
}

/// Formats a size and its bound, in bytes if [`show_size`] rounds them to the same text.
pub fn show_sizes_apart(value: u64, bound: u64) -> [String; 2] {
    show_apart(value, bound, |one, form| match form {
        0 => show_size(one),
        _ => format!("{one} B"),
    })
}

/// Formats a number and its noun: `1 trial`, `20,000 trials`.
pub fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// Formats a number with a comma between thousands: `20,000`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        parse_duration, parse_size, show_apart, show_duration, show_durations_apart, show_rate,
        show_size, show_sizes_apart,
    };

    #[test]
    fn durations_need_a_unit() {
        for (text, millis) in
            [("10s", 10_000), ("200ms", 200), ("1m", 60_000), ("1h30m", 5_400_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "10", "-1s", "1 fortnight", "9000h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in
            [("17", 17), ("64MiB", 64 << 20), ("1.5 kB", 1500), ("1GB", 1_000_000_000)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for bad in ["", "-1", "9EiB", "much", "-1MiB", "1 MiB MiB", "2000 TiB", "infinity", "1e9"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_rounded_as_in_browsers() {
        let table = include_str!("../tests/durations.json");
        let table: Vec<(f64, &str)> = serde_json::from_str(table).unwrap();
        for (ms, shown) in table {
            assert_eq!(show_duration(Duration::from_secs_f64(ms / 1e3)), shown, "{ms}");
        }
    }

    #[test]
    fn rates_are_shown_as_in_browsers() {
        let table = include_str!("../tests/rates.json");
        let table: Vec<(u64, u64, &str)> = serde_json::from_str(table).unwrap();
        for (hits, total, shown) in table {
            assert_eq!(show_rate(hits, total), shown, "{hits} of {total}");
        }
    }

    #[test]
    fn value_never_reads_as_its_bound() {
        let numbers = |value, bound| show_apart(value, bound, |one, form| format!("{one:.form$}"));
        assert_eq!(numbers(0.1, 2.0), ["0", "2"]);
        assert_eq!(numbers(1.996, 2.0), ["1.996", "2.000"]);
        assert_eq!(numbers(2.0, 2.0), ["2", "2"]);
        let durations = |value, bound| {
            show_durations_apart(Duration::from_micros(value), Duration::from_micros(bound))
        };
        assert_eq!(durations(12_040, 12_000), ["12.04 ms", "12 ms"]);
        assert_eq!(durations(13_000, 12_000), ["13 ms", "12 ms"]);
        assert_eq!(show_sizes_apart(65_537, 65_536), ["65537 B", "65536 B"]);
    }

    #[test]
    fn sizes_show_significant_digits() {
        for (bytes, shown) in
            [(512, "512 B"), (64 << 10, "64 KiB"), (1_572_864, "1.5 MiB"), (1 << 40, "1 TiB")]
        {
            assert_eq!(show_size(bytes), shown);
        }
    }
}
