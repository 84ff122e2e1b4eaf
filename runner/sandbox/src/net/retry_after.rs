//! [`RetryAfter`]: the wait that a server requests. An attempt that ends in an error waits as long before its retry, also if its
//! plugin does not read the header.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use runner_model::{ErrorClass, Time, row::RowError};

use crate::message::{cut, with_end};

/// Bytes of a header's value in a message.
const MAX_SHOWN: usize = 100;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RetryAfter {
    Wait(Duration),
    /// A text that is neither a number of seconds nor a date.
    Unreadable(String),
}

impl RetryAfter {
    /// Reads the header of a response that requests a wait. A date counts from the response's own date: the clocks of the machines
    /// may differ.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, now: Time) -> Option<Self> {
        if !is_busy(status) {
            return None;
        }
        let text = |name| Some(String::from_utf8_lossy(headers.get(name)?.as_bytes()).into_owned());
        let value = text(header::RETRY_AFTER)?;
        let value = value.trim();
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self::Wait(Duration::from_secs(value.parse().unwrap_or(u64::MAX))));
        }
        let now = text(header::DATE).and_then(|date| read_date(&date)).unwrap_or(now);
        Some(match read_date(value) {
            Some(then) => Self::Wait(Duration::from_millis(
                then.as_millis().saturating_sub(now.as_millis()).try_into().unwrap_or(0),
            )),
            None => Self::Unreadable(value.to_owned()),
        })
    }

    /// Adds the wait to an error of an attempt without one, or returns the reason for ignoring it.
    pub(crate) fn apply(&self, mut error: RowError<'static>) -> RowError<'static> {
        let may_retry = error.class.is_some_and(ErrorClass::is_of_service);
        if !may_retry || error.retry_after_ms.is_some() {
            return error;
        }
        match self {
            Self::Wait(wait) => {
                error.retry_after_ms = Some(wait.as_millis().try_into().unwrap_or(u32::MAX));
                error
            }
            Self::Unreadable(text) => {
                let text = cut(MAX_SHOWN, text);
                let ignored = "is ignored, because it is neither a number of seconds nor a date";
                with_end(error, &format!("; the server's `Retry-After: {text}` {ignored}"))
            }
        }
    }
}

/// Returns whether a server refuses a request for now.
pub(super) fn is_busy(status: StatusCode) -> bool {
    matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Reads a date of HTTP (RFC 9110, 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, `Sunday, 06-Nov-94 08:49:37 GMT` or
/// `Sun Nov  6 08:49:37 1994`.
fn read_date(text: &str) -> Option<Time> {
    let words = text.split([' ', ',', '-']).filter(|word| !word.is_empty());
    let words: Vec<_> = words.collect();
    let ([_, day, month, year, time, "GMT"] | [_, month, day, time, year]) = words[..] else {
        return None;
    };
    let month = MONTHS.iter().position(|known| *known == month)? + 1;
    let century = match year.len() {
        2 if year < "70" => "20",
        2 => "19",
        _ => "",
    };
    Time::parse(&format!("{century}{year}-{month:02}-{day:0>2}T{time}.000Z"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderValue, StatusCode};
    use runner_model::{ErrorClass, Time, row::RowError};

    use super::RetryAfter;

    fn read(headers: &[(&'static str, &'static str)]) -> Option<RetryAfter> {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        let now = Time::parse("2026-11-20T10:00:00.000Z").unwrap();
        RetryAfter::read(StatusCode::TOO_MANY_REQUESTS, &pairs.collect::<HeaderMap>(), now)
    }

    fn applied(after: &RetryAfter, class: ErrorClass, ms: Option<u32>) -> RowError<'static> {
        after.apply(RowError {
            class: Some(class),
            code: "busy".into(),
            message: "no".into(),
            retry_after_ms: ms,
            ..RowError::default()
        })
    }

    #[test]
    fn seconds_and_dates_are_read() {
        let wait = |seconds| Some(RetryAfter::Wait(Duration::from_secs(seconds)));
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("retry-after", "7")]), wait(7));
        let date = ("retry-after", "Fri, 20 Nov 2026 10:01:00 GMT");
        assert_eq!(read(&[date]), wait(60));
        for old in ["Friday, 20-Nov-26 10:01:00 GMT", "Fri Nov 20 10:01:00 2026"] {
            assert_eq!(read(&[("retry-after", old)]), wait(60), "{old}");
        }
        for past in ["Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(read(&[("retry-after", past)]), wait(0), "{past}");
        }
        assert_eq!(read(&[date, ("date", "Fri, 20 Nov 2026 10:00:50 GMT")]), wait(10));
        assert_eq!(read(&[("retry-after", "Fri, 20 Nov 2020 10:01:00 GMT")]), wait(0));
        assert_eq!(read(&[("retry-after", "99999999999999999999999")]), wait(u64::MAX));
        for bad in ["", "soon", "-1", "1.5", "Fri, 20 Foo 2026 10:01:00 GMT", "20 Nov 2026"] {
            let read = read(&[("retry-after", bad)]);
            assert_eq!(read, Some(RetryAfter::Unreadable(bad.to_owned())));
        }
    }

    #[test]
    fn errors_get_the_wait_or_a_reason() {
        let wait = RetryAfter::Wait(Duration::from_secs(2));
        assert_eq!(applied(&wait, ErrorClass::RateLimited, None).retry_after_ms, Some(2000));
        assert_eq!(applied(&wait, ErrorClass::RateLimited, Some(5)).retry_after_ms, Some(5));
        assert_eq!(applied(&wait, ErrorClass::InvalidInput, None).retry_after_ms, None);
        let huge = RetryAfter::Wait(Duration::MAX);
        assert_eq!(applied(&huge, ErrorClass::Unavailable, None).retry_after_ms, Some(u32::MAX));
        let unreadable = RetryAfter::Unreadable("soon".to_owned());
        let error = applied(&unreadable, ErrorClass::Unavailable, None);
        assert!(error.message.contains("`Retry-After: soon` is ignored"), "{}", error.message);
        assert_eq!(error.retry_after_ms, None);
    }
}
