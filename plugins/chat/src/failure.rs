//! From a status that is no success to an error whose kind decides whether to try again.

use std::time::Duration;

use runner_sdk::http::{HttpError, Response};
use runner_sdk::{Error, ErrorKind};
use serde_json::{Value, json};

/// How much of a body a message shows, in characters.
const SHOWN: usize = 200;

/// Says what went wrong, in the server's own words where it has any.
pub(crate) fn of(response: &Response) -> Error {
    let status = response.status;
    let body: Value = response.json().unwrap_or_default();
    let code = code(&body).unwrap_or_else(|| format!("http-{status}"));
    let kind = kind(status, &code);

    let told = told(&body).unwrap_or_else(|| beginning(response));
    let mut message = format!("the server answered {status}: {told}");
    if let (300..400, Some(place)) = (status, response.header("location")) {
        message = format!("the server answered {status}: `base_url` has moved to {place}");
    }
    let mut error = Error::new(kind, message).code(code).details(json!({ "status": status }));
    if matches!(kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        error.retry_after = retry_after(response);
    }
    error
}

/// Returns the failure of an answer whose status is a success: the server failed after it had started to answer.
pub(crate) fn in_answer(error: Option<Value>, response: &Response) -> Error {
    let body = json!({ "error": error });
    let status = body.pointer("/error/code").and_then(Value::as_u64);
    let status = status.and_then(|status| u16::try_from(status).ok());
    let of_status = status.map(|status| format!("http-{status}"));
    let code = code(&body).or(of_status).unwrap_or_else(|| "failed-answer".to_owned());
    let kind = status.map_or(ErrorKind::Unavailable, |status| kind(status, &code));
    let told = told(&body).unwrap_or_else(|| beginning(response));
    Error::new(kind, format!("the server ended its answer with an error: {told}")).code(code)
}

/// Says why there is no answer at all: a request that makes no sense has a wrong `base_url` or header.
pub(crate) fn without_response(error: HttpError) -> Error {
    let is_invalid = matches!(error, HttpError::InvalidRequest(_));
    let mut error = Error::from(error);
    if is_invalid {
        error.kind = ErrorKind::InvalidConfig;
    }
    error
}

/// The beginning of a body that nobody expected.
pub(crate) fn beginning(response: &Response) -> String {
    match response.text().trim() {
        "" => "nothing".to_owned(),
        text => format!("`{}`", shown(text)),
    }
}

/// Returns the start of a long text.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn kind(status: u16, code: &str) -> ErrorKind {
    match status {
        // OpenAI has the same status for an account without money, for which no patience helps.
        429 if code == "insufficient_quota" => ErrorKind::Other,
        429 => ErrorKind::RateLimited,
        // 409 is what OpenAI answers while something of the account is locked.
        408 | 409 | 500.. => ErrorKind::Unavailable,
        400 | 413 | 422 => ErrorKind::InvalidInput,
        300..400 | 401 | 403 | 404 | 405 => ErrorKind::InvalidConfig,
        _ => ErrorKind::Other,
    }
}

/// The server's message: `{"error": {"message": …}}` of OpenAI, or one of the forms in which others say it.
fn told(body: &Value) -> Option<String> {
    let places = ["/error/message", "/error", "/message", "/detail"];
    let mut found = places.iter().filter_map(|place| body.pointer(place));
    let told = found.find_map(Value::as_str)?.trim();
    (!told.is_empty()).then(|| told.to_owned())
}

fn code(body: &Value) -> Option<String> {
    let places = ["/error/code", "/error/type", "/code", "/type"];
    let mut found = places.iter().filter_map(|place| body.pointer(place));
    let code = found.find_map(Value::as_str)?;
    (!code.is_empty()).then(|| code.to_owned())
}

/// How long the server asks to wait: in the standard header, in OpenAI's finer one, or until all its budgets are whole.
fn retry_after(response: &Response) -> Option<Duration> {
    let number = |name| response.header(name)?.trim().parse::<f64>().ok();
    let exact = number("retry-after-ms")
        .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok());
    let resets = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
    let resets = resets.iter().filter_map(|name| duration(response.header(name)?));
    exact.or_else(|| response.retry_after()).or_else(|| resets.max())
}

/// Reads a duration as Go writes it: `6m0s`, `1.5s`, `20ms`.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let unit = rest.find(|character: char| character.is_ascii_alphabetic())?;
        let (number, after) = rest.split_at(unit);
        let end = after.find(|character: char| !character.is_ascii_alphabetic());
        let (unit, after) = after.split_at(end.unwrap_or(after.len()));
        let seconds = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = number.parse::<f64>().ok()? * seconds;
        total = total.checked_add(Duration::try_from_secs_f64(part).ok()?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_sdk::http::{HttpError, Response};
    use runner_sdk::testing::Host;
    use runner_sdk::{Error, ErrorKind};
    use serde_json::{Value, json};

    use super::{duration, kind};
    use crate::Chat;

    fn error(answer: Result<Response, HttpError>) -> Error {
        let host = Host::new().responses([answer]);
        let config = json!({"model": "m", "api_key_secret": ""});
        host.run::<Chat>(json!("hi"), config).unwrap_err()
    }

    fn failed(status: u16, body: &Value) -> Error {
        error(Ok(Response::new(status).with_json(body).unwrap()))
    }

    fn limited(headers: &[(&str, &str)]) -> Option<Duration> {
        let response = headers.iter().fold(Response::new(429), |response, (name, value)| {
            response.with_header(*name, *value)
        });
        error(Ok(response)).retry_after
    }

    #[test]
    fn the_status_decides_the_kind() {
        for (statuses, expected) in [
            (&[429][..], ErrorKind::RateLimited),
            (&[408, 409, 500, 502, 503, 504, 529], ErrorKind::Unavailable),
            (&[400, 413, 422], ErrorKind::InvalidInput),
            (&[301, 307, 401, 403, 404, 405], ErrorKind::InvalidConfig),
            (&[402, 418], ErrorKind::Other),
        ] {
            for status in statuses {
                assert_eq!(kind(*status, ""), expected, "{status}");
            }
        }
    }

    #[test]
    fn an_account_without_money_is_not_asked_again() {
        let body = json!({"error": {"message": "no money", "code": "insufficient_quota"}});
        assert_eq!(failed(429, &body).kind, ErrorKind::Other);
    }

    #[test]
    fn the_message_is_the_servers_own() {
        for (body, told, code) in [
            (
                json!({"error": {"message": "no model `m`", "code": "model_not_found", "type": "t"}}),
                "no model `m`",
                "model_not_found",
            ),
            (
                json!({"error": {"message": "bad", "code": 404, "type": "not_found_error"}}),
                "bad",
                "not_found_error",
            ),
            (json!({"error": "no model"}), "no model", "http-404"),
            (json!({"object": "error", "message": "no"}), "no", "http-404"),
            (json!({"detail": "Not Found"}), "Not Found", "http-404"),
            (json!({"other": 1}), r#"`{"other":1}`"#, "http-404"),
            (json!({"error": {"message": ""}}), r#"`{"error":{"message":""}}`"#, "http-404"),
        ] {
            let error = failed(404, &body);
            assert_eq!(error.message, format!("the server answered 404: {told}"));
            assert_eq!(error.code, code);
            assert_eq!(error.details, Some(json!({"status": 404})));
        }
    }

    #[test]
    fn a_body_that_is_no_json_is_shown_by_its_beginning() {
        let empty = error(Ok(Response::new(502)));
        assert_eq!(empty.message, "the server answered 502: nothing");
        let page = error(Ok(Response::new(502).with_body("ü".repeat(300))));
        let shown = "ü".repeat(200);
        assert_eq!(page.message, format!("the server answered 502: `{shown}…`"));
    }

    #[test]
    fn a_server_that_moved_says_where_to() {
        let moved = Response::new(308).with_header("location", "https://b/v1");
        let message = "the server answered 308: `base_url` has moved to https://b/v1";
        assert_eq!(error(Ok(moved)).message, message);
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let milliseconds = |count| Some(Duration::from_millis(count));
        assert_eq!(limited(&[]), None);
        assert_eq!(limited(&[("retry-after", "2")]), milliseconds(2000));
        assert_eq!(
            limited(&[("retry-after", "2"), ("retry-after-ms", "1500.5")]),
            Some(Duration::from_micros(1_500_500))
        );
        let resets = [("x-ratelimit-reset-requests", "1.2s"), ("x-ratelimit-reset-tokens", "20ms")];
        assert_eq!(limited(&resets), milliseconds(1200));
        let both = [("retry-after", "1"), resets[0]];
        assert_eq!(limited(&both), milliseconds(1000));
        assert_eq!(limited(&[("retry-after-ms", "-1")]), None);

        let busy = error(Ok(Response::new(503).with_header("retry-after", "3")));
        assert_eq!(busy.retry_after, milliseconds(3000));
        let wrong = error(Ok(Response::new(400).with_header("retry-after", "3")));
        assert_eq!(wrong.retry_after, None);
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected) in
            [("6m0s", 360_000), ("1h2m3.5s", 3_723_500), ("20ms", 20), ("0s", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "7", "s", "1x", "1s2", "-1s", "nans", "1e99h"] {
            assert_eq!(duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_may_be_later() {
        let gone = error(Err(HttpError::Unreachable("refused".into())));
        assert_eq!((gone.kind, &*gone.code), (ErrorKind::Unavailable, "unreachable"));
        let slow = error(Err(HttpError::Timeout));
        assert_eq!((slow.kind, &*slow.code), (ErrorKind::Unavailable, "timeout"));
    }

    #[test]
    fn what_never_left_is_the_scenarios_to_correct() {
        let denied = error(Err(HttpError::Denied("net".into())));
        assert_eq!((denied.kind, &*denied.message), (ErrorKind::Denied, "net"));
        let wrong = error(Err(HttpError::InvalidRequest("the URL is none".into())));
        assert_eq!(wrong.kind, ErrorKind::InvalidConfig);
    }
}
