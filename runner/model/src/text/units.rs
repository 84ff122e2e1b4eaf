//! Parses durations and sizes that people write (`1h30m`, `64MiB`), and formats quantities for the screen.

use std::time::Duration;

use jiff::SignedDuration;

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

/// Formats a duration with two or three significant digits: `141 µs`, `8.3 s`, `2 min 5 s`, `1 h 30 min`.
pub fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let seconds = duration.as_secs();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 if !micros.is_multiple_of(1_000) => format!("{:.1} ms", micros as f64 / 1e3),
        1_000..1_000_000 => format!("{} ms", micros / 1_000),
        1_000_000..10_000_000 if !micros.is_multiple_of(1_000_000) => {
            format!("{:.1} s", micros as f64 / 1e6)
        }
        1_000_000..120_000_000 => format!("{seconds} s"),
        _ if seconds < 2 * 3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds < 48 * 3600 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
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

    use super::{parse_duration, parse_size, show_duration, show_size};

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
    fn quantities_show_significant_digits() {
        for (micros, shown) in [
            (141, "141 µs"),
            (8_350, "8.3 ms"),
            (3_000, "3 ms"),
            (842_000, "842 ms"),
            (1_000_000, "1 s"),
            (2_500_000, "2.5 s"),
            (61_000_000, "61 s"),
            (125_000_000, "2 min 5 s"),
        ] {
            assert_eq!(show_duration(Duration::from_micros(micros)), shown);
        }
        for (bytes, shown) in
            [(512, "512 B"), (64 << 10, "64 KiB"), (1_572_864, "1.5 MiB"), (1 << 40, "1 TiB")]
        {
            assert_eq!(show_size(bytes), shown);
        }
    }
}
