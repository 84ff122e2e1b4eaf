//! Dates in the headers of HTTP.

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Parses `Fri, 20 Nov 2026 12:00:30 GMT` (RFC 9110, 5.6.7) to seconds since the start of the year 0.
///
/// Refuses the two obsolete forms, which servers must not send.
pub(super) fn seconds(text: &str) -> Option<u64> {
    let (_, text) = text.split_once(", ")?;
    let [day, month, year, time, "GMT"] = text.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let [hours, minutes, seconds] = numbers(time.split(':'))?;
    let [day, year] = numbers([day, year])?;
    let month = MONTHS.iter().position(|known| *known == month)?;

    let days = days_before(year, month) + day;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

/// Returns the days from January of the year 0 to a month of the Gregorian calendar.
fn days_before(year: u64, month: usize) -> u64 {
    const BEFORE: [u64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    // A leap day of `year` itself counts only for the months after it.
    let years = if month > 1 { year + 1 } else { year };
    let leap_days = years.div_ceil(4) - years.div_ceil(100) + years.div_ceil(400);
    year * 365 + leap_days + BEFORE[month]
}

/// Parses exactly `N` numbers of at most four digits.
fn numbers<'t, const N: usize>(texts: impl IntoIterator<Item = &'t str>) -> Option<[u64; N]> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() <= 4);
    let numbers: Option<Vec<_>> = texts.into_iter().map(number).collect();
    numbers?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::seconds;

    /// 1970-01-01, from which Unix time counts.
    const EPOCH: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn unix(text: &str) -> Option<u64> {
        Some(seconds(text)? - seconds(EPOCH).unwrap())
    }

    #[test]
    fn dates_are_parsed_to_seconds() {
        for (text, expected) in [
            (EPOCH, 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Mon, 28 Feb 2000 23:59:59 GMT", 951_782_399),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Tue, 29 Feb 2028 12:00:00 GMT", 1_835_438_400),
            ("Sun, 31 Dec 2028 00:00:00 GMT", 1_861_833_600),
            ("Mon, 01 Jan 2029 00:00:00 GMT", 1_861_920_000),
        ] {
            assert_eq!(unix(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn invalid_dates_are_refused() {
        for text in [
            "",
            "7",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Xyz 1994 08:49:37 GMT",
            "Sun, 06 Nov 99999 08:49:37 GMT",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
        }
    }
}
