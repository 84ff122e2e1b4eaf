//! Builds the request from a test.

use std::collections::BTreeMap;
use std::time::Duration;

use runner_sdk::http::{HttpError, Request};
use runner_sdk::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::{Config, Input};

/// Builds the request of a test.
pub(crate) fn build(input: Input, config: Config) -> Result<Request> {
    let method = input.method.as_deref().unwrap_or("GET");
    let url = url(input.url, input.path, config.base_url)?;
    let mut request = Request::new(method.to_ascii_uppercase(), with_query(url, &input.query)?);

    request.headers = merge(config.headers, input.headers);
    request = match (input.body, input.json) {
        (Some(_), Some(_)) => {
            let message = "`body` and `json` are both there; a request has one body";
            return Err(Error::invalid_input(message));
        }
        (Some(body), None) => request.body(body),
        (None, Some(json)) => request.json(&json)?,
        (None, None) => request,
    };

    let timeout = input.timeout_ms.or(config.timeout_ms);
    request.timeout = timeout.map(|timeout| Duration::from_millis(timeout.into()));
    Ok(request)
}

/// Returns the error for a request without a response. An invalid request is a mistake in the test's input.
pub(crate) fn error(error: HttpError) -> Error {
    let is_invalid = matches!(error, HttpError::InvalidRequest(_));
    let mut error = Error::from(error);
    if is_invalid {
        error.kind = ErrorKind::InvalidInput;
    }
    error
}

fn url(url: Option<String>, path: Option<String>, base: Option<String>) -> Result<String> {
    match (url, path, base) {
        (Some(_), Some(_), _) => Err(Error::invalid_input(
            "`url` and `path` are both there; `path` is appended to the provider's `base_url`",
        )),
        (Some(url), None, _) if url.contains("://") => Ok(url),
        (Some(url), None, _) => Err(Error::invalid_input(format!(
            "`url` is `{url}`, which does not start with `https://` or `http://`; use `path` for an address below `base_url`"
        ))),
        (None, Some(path), Some(base)) => {
            let (base, path) = (base.trim_end_matches('/'), path.trim_start_matches('/'));
            Ok(format!("{base}/{path}"))
        }
        (None, Some(path), None) => Err(Error::invalid_config(format!(
            "`path` is `{path}`, and the provider's `config` has no `base_url` that it could be appended to"
        ))),
        (None, None, _) => Err(Error::invalid_input(
            "there is neither a `url` nor a `path` to send the request to",
        )),
    }
}

/// Appends a query to a URL, which may already have one. Removes the fragment, which HTTP does not send.
fn with_query(url: String, query: &BTreeMap<String, Value>) -> Result<String> {
    if query.is_empty() {
        return Ok(url);
    }
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        for value in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
            pairs.append_pair(name, &scalar(name, value)?);
        }
    }
    let before = url.split('#').next().unwrap_or_default();
    let mark = if before.contains('?') { '&' } else { '?' };
    Ok(format!("{before}{mark}{}", pairs.finish()))
}

fn scalar(name: &str, value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(Error::invalid_input(format!(
            "`query.{name}` has `{value}`; it may be a text, a number, a boolean or a list of them"
        ))),
    }
}

/// Joins headers. Those of the test replace those of the configuration with the same name, regardless of case.
fn merge(
    config: BTreeMap<String, String>,
    input: BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let is_free = |name: &str| !input.keys().any(|known| known.eq_ignore_ascii_case(name));
    let mut headers: Vec<_> = config.into_iter().filter(|(name, _)| is_free(name)).collect();
    headers.extend(input);
    headers
}

#[cfg(test)]
mod tests {
    use runner_sdk::http::{HttpError, Request, Response};
    use runner_sdk::testing::Host;
    use runner_sdk::{Error, ErrorKind};
    use serde_json::{Value, json};

    use crate::Http;

    fn sent(input: Value, config: Value) -> Request {
        let host = Host::new().responses([Ok(Response::new(200))]);
        let (reply, mut calls) = host.secret("KEY", "k").run_recorded::<Http>(input, config);
        reply.unwrap();
        calls.requests.remove(0)
    }

    fn refused(input: Value) -> Error {
        let (reply, calls) = Host::new().run_recorded::<Http>(input, json!({}));
        assert_eq!(calls.requests, []);
        reply.unwrap_err()
    }

    #[test]
    fn url_alone_is_a_request() {
        let request = sent(json!({"url": "https://a.b/c"}), json!({}));
        assert_eq!(request, Request::new("GET", "https://a.b/c"));
    }

    #[test]
    fn path_is_appended_to_the_base() {
        for (base, path) in
            [("http://a/v1", "users"), ("http://a/v1/", "/users"), ("http://a/v1", "/users")]
        {
            let request = sent(json!({"path": path}), json!({"base_url": base}));
            assert_eq!(request.url, "http://a/v1/users");
        }
        let whole = sent(json!({"url": "http://b/"}), json!({"base_url": "http://a"}));
        assert_eq!(whole.url, "http://b/");
    }

    #[test]
    fn query_is_encoded_and_appended() {
        let query = json!({"q": "a b&c=ü", "n": 2, "on": true, "tag": ["x", "y"]});
        let encoded = "n=2&on=true&q=a+b%26c%3D%C3%BC&tag=x&tag=y";
        for (url, mark) in [("http://a/", '?'), ("http://a/?k=v", '&')] {
            let request = sent(json!({"url": url, "query": query}), json!({}));
            assert_eq!(request.url, format!("{url}{mark}{encoded}"));
        }
        let request = sent(json!({"url": "http://a/#top", "query": {"n": 1}}), json!({}));
        assert_eq!(request.url, "http://a/?n=1");
    }

    #[test]
    fn headers_of_the_test_replace_others() {
        let request = sent(
            json!({"url": "http://a/", "headers": {"Accept": "text/csv"}}),
            json!({"headers": {"accept": "*/*", "authorization": "Bearer {{secret.KEY}}"}}),
        );
        let expected = [("authorization", "Bearer {{secret.KEY}}"), ("Accept", "text/csv")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(request.headers, expected);
    }

    #[test]
    fn body_is_text_or_json() {
        let request =
            sent(json!({"method": "put", "url": "http://a/", "body": "plain"}), json!({}));
        assert_eq!(request.method, "PUT");
        assert_eq!(request.body.as_deref(), Some(b"plain".as_slice()));
        assert_eq!(request.headers, []);

        let json = json!({"method": "POST", "url": "http://a/", "json": {"a": [1.5]}});
        let request = sent(json, json!({}));
        assert_eq!(request.body.as_deref(), Some(br#"{"a":[1.5]}"#.as_slice()));
        assert_eq!(request.headers[0].1, "application/json");
    }

    #[test]
    fn timeout_of_the_test_replaces_the_other() {
        let config = json!({"timeout_ms": 500});
        let request = sent(json!({"url": "http://a/"}), config.clone());
        assert_eq!(request.timeout.unwrap().as_millis(), 500);
        let request = sent(json!({"url": "http://a/", "timeout_ms": 20}), config);
        assert_eq!(request.timeout.unwrap().as_millis(), 20);
    }

    #[test]
    fn invalid_requests_are_refused_before_sending() {
        for (input, kind, names) in [
            (json!({}), ErrorKind::InvalidInput, "`url`"),
            (json!({"url": "a.b/c"}), ErrorKind::InvalidInput, "a.b/c"),
            (json!({"path": "/c"}), ErrorKind::InvalidConfig, "`base_url`"),
            (json!({"url": "http://a/", "path": "/c"}), ErrorKind::InvalidInput, "`path`"),
            (
                json!({"url": "http://a/", "body": "a", "json": 1}),
                ErrorKind::InvalidInput,
                "`json`",
            ),
            (
                json!({"url": "http://a/", "query": {"a": {"b": 1}}}),
                ErrorKind::InvalidInput,
                "`query.a`",
            ),
            (
                json!({"url": "http://a/", "query": {"a": [[1]]}}),
                ErrorKind::InvalidInput,
                "`query.a`",
            ),
            (json!({"url": "http://a/", "verb": "GET"}), ErrorKind::InvalidInput, "`verb`"),
        ] {
            let error = refused(input);
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.message.contains(names), "{error}");
        }
    }

    #[test]
    fn missing_response_decides_the_kind() {
        for (failure, kind, code) in [
            (HttpError::Denied("why".into()), ErrorKind::Denied, ""),
            (HttpError::InvalidRequest("why".into()), ErrorKind::InvalidInput, "invalid-request"),
            (HttpError::Unreachable("why".into()), ErrorKind::Unavailable, "unreachable"),
            (HttpError::Timeout, ErrorKind::Unavailable, "timeout"),
            (HttpError::TooLarge("why".into()), ErrorKind::Other, "too-large"),
        ] {
            let message = failure.to_string();
            let host = Host::new().responses([Err(failure)]);
            let error = host.run::<Http>(json!({"url": "http://a/"}), json!({}));
            assert_eq!(error.unwrap_err(), Error::new(kind, message).code(code));
        }
    }
}
