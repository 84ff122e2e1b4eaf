//! Errors of servers. The kind of an error decides about a retry.

use std::time::Duration;

use runner_sdk::http::{HttpError, Response};
use runner_sdk::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::end::{self, Ended, letters};
use crate::loose_json;
use crate::usage::Usage;

/// Characters of a body in a message.
const MAX_SHOWN: usize = 200;
/// Characters of a server's own message. A page of megabytes would exceed the host's bound.
const MAX_MESSAGE: usize = 2000;
/// Characters of a server's code.
const MAX_CODE: usize = 100;

/// A request without an answer that can be used.
#[derive(Debug)]
pub struct Failure {
    /// The error of the attempt.
    pub error: Error,
    /// The end of an agent that has answered in spite of it. `None` for faults of the server, the scenario or the network.
    pub ended: Option<Ended>,
    /// Tokens of an answer that cannot be used.
    pub(crate) usage: Option<Box<Usage>>,
    /// Whether the time ran out while the model may have written an answer, which is paid for.
    pub is_timeout: bool,
    /// Whether the server refuses keys that it has sent itself.
    pub(crate) refuses_keys: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, ended: None, usage: None, is_timeout: false, refuses_keys: false }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

/// Returns the failure of a response without a status of success, with the server's own message if there is one.
pub(crate) fn from_response(url: &str, response: &Response) -> Failure {
    let status = response.status;
    let mut body = loose_json::parse(&response.body).unwrap_or_default();
    // Google's errors are in a list.
    if let Value::Array(errors) = &mut body
        && let Some(first) = errors.first_mut()
    {
        body = first.take();
    }
    let code = code(&body).unwrap_or_else(|| format!("http-{status}"));
    let kind = kind(status, &code);

    let text = message_of(&body).unwrap_or_else(|| start_of(response));
    let ended = end::of_error(status, &code, &text);
    let refuses_keys = matches!(status, 400 | 422) && ended.is_none() && refuses_keys(&text);
    let message = match (status, response.header("location")) {
        (300..400, Some(place)) => {
            format!("the server answered {status}: `base_url` has moved to {place}")
        }
        // For an unknown model, `base_url` is right.
        (404 | 405, _) if !letters(&[&text, &code]).contains("model") => format!(
            "the server answered {status} to {url}: {text}; check `base_url`, which ends with `/v1` for most servers"
        ),
        (404 | 405, _) => format!("the server answered {status} to {url}: {text}"),
        _ => format!("the server answered {status}: {text}"),
    };
    let error = Error::new(kind, message).code(code).details(json!({ "status": status }));
    let is_timeout = matches!(status, 504 | 524);
    Failure { ended, is_timeout, refuses_keys, ..with_wait(error, response).into() }
}

/// Returns whether a message may refuse a key of an earlier answer, such as `reasoning_content`. Other servers demand that key. Many
/// messages have the name of the key in another field, or not at all.
fn refuses_keys(message: &str) -> bool {
    let letters = letters(&[message]);
    let words = [
        "unsupported",
        "notsupported",
        "notpermitted",
        "extraforbidden",
        "unexpected",
        "unknown",
        "unrecognized",
    ];
    words.iter().any(|word| letters.contains(word))
}

/// Returns the failure in a response with a status of success: an error of its first choice, one after the start of an answer, or
/// one in place of an answer. `None` if there is no error.
pub(crate) fn in_answer(choice: &Value, body: &Value, response: &Response) -> Option<Failure> {
    let has_started = !choice.is_null();
    let is_of_choice = has_failed(&choice["error"]);
    if !is_of_choice
        && choice["finish_reason"] != "error"
        && !has_failed(&body["error"])
        && (has_started || message_of(body).is_none())
    {
        return None;
    }
    let source = if is_of_choice { choice } else { body };
    let status = status(source);
    let of_status = || status.map(|status| format!("http-{status}"));
    let code = code(source).or_else(of_status).unwrap_or_else(|| "failed-answer".to_owned());
    let words = message_of(source).unwrap_or_else(|| start_of(response));
    let by_words = || kind_of_words(&letters(&[&code, &words]));
    let kind = status.map(|status| kind(status, &code)).or_else(by_words);
    let otherwise = if has_started { ErrorKind::Unavailable } else { ErrorKind::Other };
    let message = if has_started {
        format!("the server ended its answer with an error: {words}")
    } else {
        format!("the server answered {} with an error: {words}", response.status)
    };
    let ended = end::of_error(status.unwrap_or(400), &code, &words);
    let error = with_wait(Error::new(kind.unwrap_or(otherwise), message).code(code), response);
    Some(Failure { ended, ..error.into() })
}

/// Returns the error for a request without a response. An invalid request is a mistake in `base_url` or `headers`.
pub(crate) fn without_response(error: HttpError) -> Failure {
    let is_timeout = error == HttpError::Timeout;
    let is_invalid = matches!(error, HttpError::InvalidRequest(_));
    let mut error = Error::from(error);
    if is_invalid {
        error.kind = ErrorKind::InvalidConfig;
    }
    Failure { is_timeout, ..error.into() }
}

/// Returns the start of a body, for a message.
pub(crate) fn start_of(response: &Response) -> String {
    match response.text().trim() {
        "" => "nothing".to_owned(),
        text => format!("`{}`", shown(text)),
    }
}

/// Returns the start of a long text, for a message.
pub fn shown(text: &str) -> String {
    start(text, MAX_SHOWN)
}

fn start(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Adds the pause that the server requests, if a retry may help.
pub(crate) fn with_wait(mut error: Error, response: &Response) -> Error {
    if matches!(error.kind, ErrorKind::RateLimited | ErrorKind::Unavailable) {
        error.retry_after = retry_after(response);
    }
    error
}

fn kind(status: u16, code: &str) -> ErrorKind {
    match status {
        // OpenAI has the same status for an account without money, for which a retry cannot help.
        429 if code == "insufficient_quota" => ErrorKind::Other,
        429 => ErrorKind::RateLimited,
        // OpenAI answers 409 while a part of the account is locked.
        408 | 409 | 500.. => ErrorKind::Unavailable,
        400 | 413 | 422 => ErrorKind::InvalidInput,
        300..400 | 401 | 403 | 404 | 405 => ErrorKind::InvalidConfig,
        _ => ErrorKind::Other,
    }
}

/// Returns the kind of an error without a status. `None` if its words are unknown.
fn kind_of_words(letters: &str) -> Option<ErrorKind> {
    let has = |words: &[&str]| words.iter().any(|word| letters.contains(word));
    if has(&["insufficient"]) {
        Some(ErrorKind::Other)
    } else if has(&["ratelimit", "toomanyrequests", "throttl", "resourceexhausted"]) {
        Some(ErrorKind::RateLimited)
    } else if has(&[
        "badgateway",
        "busy",
        "capacity",
        "connection",
        "internalerror",
        "internalservererror",
        "overload",
        "providerreturnederror",
        "servererror",
        "temporar",
        "timedout",
        "timeout",
        "tryagain",
        "unavailable",
        "upstream",
    ]) {
        Some(ErrorKind::Unavailable)
    } else {
        None
    }
}

/// Returns whether the `error` of an answer is an error. Some servers send an empty one, or the code 0, in each answer.
fn has_failed(error: &Value) -> bool {
    match error {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(errors) => !errors.is_empty(),
        Value::Object(error) => match error.get("code").and_then(number) {
            Some(0 | 200) => false,
            Some(_) => true,
            None => ["message", "code", "type"].iter().any(|key| {
                error.get(*key).and_then(Value::as_str).is_some_and(|text| !text.is_empty())
            }),
        },
    }
}

/// Returns the server's message, in OpenAI's form `{"error": {"message": …}}` or that of another server.
fn message_of(body: &Value) -> Option<String> {
    let places = [
        "/error/message",
        "/error/0/message",
        "/error",
        "/errors/0/message",
        "/message",
        "/detail",
        "/detail/0/msg",
    ];
    let mut values = places.iter().filter_map(|place| body.pointer(place));
    let message = values.find_map(Value::as_str)?.trim();
    (!message.is_empty()).then(|| start(message, MAX_MESSAGE))
}

fn code(body: &Value) -> Option<String> {
    let places = ["/error/code", "/error/type", "/error/status", "/code", "/type"];
    let mut found = places.iter().filter_map(|place| body.pointer(place)?.as_str());
    let code = found.find(|code| !code.is_empty() && code.parse::<u16>().is_err())?;
    Some(start(code, MAX_CODE))
}

/// Returns the HTTP status in the code of a body.
fn status(body: &Value) -> Option<u16> {
    let places = ["/error/code", "/error/status", "/error", "/errors/0/code", "/code", "/status"];
    let mut codes = places.iter().filter_map(|place| number(body.pointer(place)?));
    codes.find(|code| (300..600).contains(code))
}

/// Parses a number or a text with a number.
fn number(code: &Value) -> Option<u16> {
    match code {
        Value::String(text) => text.trim().parse().ok(),
        code => u16::try_from(code.as_u64()?).ok(),
    }
}

/// Returns the pause that the server requests: OpenAI's header in milliseconds, the standard header, or the time until all
/// budgets of the account are full again.
fn retry_after(response: &Response) -> Option<Duration> {
    let number = |name| response.header(name)?.trim().parse::<f64>().ok();
    let exact = number("retry-after-ms")
        .and_then(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).ok());
    let resets = ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"];
    let resets = resets.iter().filter_map(|name| duration(response.header(name)?));
    exact.or_else(|| response.retry_after()).or_else(|| resets.max())
}

/// Parses a duration in Go's form: `6m0s`, `1.5s`, `20ms`.
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

    use super::{duration, kind, without_response};
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
            (json!({"error": "no model"}), "no model", "http-402"),
            (json!({"object": "error", "message": "no"}), "no", "http-402"),
            (json!({"detail": "Not Found"}), "Not Found", "http-402"),
            (json!({"other": 1}), r#"`{"other":1}`"#, "http-402"),
            (json!({"error": {"message": ""}}), r#"`{"error":{"message":""}}`"#, "http-402"),
        ] {
            let error = failed(402, &body);
            assert_eq!(error.message, format!("the server answered 402: {told}"));
            assert_eq!(error.code, code);
            assert_eq!(error.details, Some(json!({"status": 402})));
        }
    }

    #[test]
    fn missing_page_is_named_with_the_key_to_change() {
        let url = "https://api.openai.com/v1/chat/completions";
        for status in [404, 405] {
            let error = failed(status, &json!({"detail": "Not Found"}));
            let start =
                format!("the server answered {status} to {url}: Not Found; check `base_url`");
            assert!(error.message.starts_with(&start), "{error}");
        }
        let error = failed(404, &json!({"error": {"message": "model `m` not found"}}));
        assert_eq!(error.message, format!("the server answered 404 to {url}: model `m` not found"));
    }

    #[test]
    fn error_in_place_of_an_answer_has_its_kind() {
        use ErrorKind::{InvalidConfig, Other, RateLimited, Unavailable};
        for (body, kind, code) in [
            (
                json!({"error": {"message": "Provider returned error", "code": 502}}),
                Unavailable,
                "http-502",
            ),
            (json!({"error": {"message": "Slow down", "code": "429"}}), RateLimited, "http-429"),
            (
                json!({"error": {"message": "no", "code": "rate_limit_exceeded"}}),
                RateLimited,
                "rate_limit_exceeded",
            ),
            (
                json!({"error": {"message": "no", "type": "RateLimitError", "code": null}}),
                RateLimited,
                "RateLimitError",
            ),
            (
                json!({"error": {"message": "no", "status": "RESOURCE_EXHAUSTED"}}),
                RateLimited,
                "RESOURCE_EXHAUSTED",
            ),
            (
                json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
                Unavailable,
                "overloaded_error",
            ),
            (
                json!({"object": "error", "message": "no", "type": "InternalServerError", "code": 500}),
                Unavailable,
                "InternalServerError",
            ),
            (
                json!({"code": "Throttling", "message": "Requests are throttled"}),
                RateLimited,
                "Throttling",
            ),
            (json!({"error": "Too many requests"}), RateLimited, "failed-answer"),
            (
                json!({"error": true, "message": "the model is busy, try again"}),
                Unavailable,
                "failed-answer",
            ),
            (
                json!({"error": {"message": "no money", "code": "insufficient_quota"}}),
                Other,
                "insufficient_quota",
            ),
            (json!({"error": {"message": "no key", "code": 401}}), InvalidConfig, "http-401"),
            (json!({"errors": [{"code": 429, "message": "no"}]}), RateLimited, "http-429"),
            (json!({"error": {"message": "no", "code": "bad_image"}}), Other, "bad_image"),
            (json!({"error": "no", "choices": []}), Other, "failed-answer"),
            (json!({"error": 503}), Unavailable, "http-503"),
            (json!({"detail": "no"}), Other, "failed-answer"),
        ] {
            let response = Response::new(200).with_json(&body).unwrap();
            let error = error(Ok(response.with_header("retry-after", "7")));
            assert_eq!((error.kind, &*error.code), (kind, code), "{body}");
            assert!(
                error.message.starts_with("the server answered 200 with an error: "),
                "{error}"
            );
            let is_temporary = matches!(kind, RateLimited | Unavailable);
            assert_eq!(error.retry_after.is_some(), is_temporary, "{body}");
        }
    }

    #[test]
    fn empty_error_in_an_answer_is_ignored() {
        let message = json!({"content": "42"});
        for empty in [
            json!(null),
            json!(false),
            json!(0),
            json!(" "),
            json!({}),
            json!([]),
            json!({"message": "", "code": null, "param": null}),
            json!({"code": 0, "message": "success"}),
        ] {
            for body in [
                json!({"choices": [{"message": message}], "error": empty}),
                json!({"choices": [{"message": message, "error": empty}]}),
            ] {
                let host =
                    Host::new().responses([Ok(Response::new(200).with_json(&body).unwrap())]);
                let config = json!({"model": "m", "api_key_secret": ""});
                let reply = host.run::<Chat>(json!("hi"), config).unwrap();
                assert_eq!(reply.output().unwrap(), "42", "{body}");
            }
        }
    }

    #[test]
    fn unknown_body_is_shown_with_its_start() {
        let empty = error(Ok(Response::new(502)));
        assert_eq!(empty.message, "the server answered 502: nothing");
        let page = error(Ok(Response::new(502).with_body("ü".repeat(300))));
        let shown = "ü".repeat(200);
        assert_eq!(page.message, format!("the server answered 502: `{shown}…`"));
    }

    #[test]
    fn redirect_names_the_new_address() {
        let moved = Response::new(308).with_header("location", "https://b/v1");
        let message = "the server answered 308: `base_url` has moved to https://b/v1";
        assert_eq!(error(Ok(moved)).message, message);
    }

    #[test]
    fn pause_is_read_from_headers() {
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
    fn durations_have_the_form_of_go() {
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
    fn missing_server_is_unavailable() {
        let gone = error(Err(HttpError::Unreachable("refused".into())));
        assert_eq!((gone.kind, &*gone.code), (ErrorKind::Unavailable, "unreachable"));
        assert!(without_response(HttpError::Timeout).is_timeout);
        let slow = error(Err(HttpError::Timeout));
        assert_eq!((slow.kind, &*slow.code), (ErrorKind::Unavailable, "timeout"));
    }

    #[test]
    fn unsent_requests_are_mistakes_of_the_scenario() {
        let denied = error(Err(HttpError::Denied("net".into())));
        assert_eq!((denied.kind, &*denied.message), (ErrorKind::Denied, "net"));
        let wrong = error(Err(HttpError::InvalidRequest("the URL is none".into())));
        assert_eq!(wrong.kind, ErrorKind::InvalidConfig);
    }
}
