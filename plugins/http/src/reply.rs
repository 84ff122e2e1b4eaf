//! Makes the reply from a response.

use std::collections::BTreeMap;

use runner_sdk::http::Response;
use runner_sdk::{Reply, Result, artifacts};
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

/// Name of the artifact with a body that is not text.
const BODY: &str = "body";

#[derive(Serialize)]
struct Output<'r> {
    status: u16,
    headers: BTreeMap<String, Value>,
    body: Body<'r>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'r> {
    Json(&'r RawValue),
    Text(&'r str),
    Artifact(Value),
}

/// Returns the reply. The time of the response differs between runs, so it is a metric and not in the output.
pub(crate) fn from_response(response: &Response) -> Result<Reply> {
    let milliseconds = response.duration.as_micros() as f64 / 1000.0;
    let size = response.body.len() as f64;
    let media_type = response.header("content-type").unwrap_or_default();
    let output = Output {
        status: response.status,
        headers: headers(&response.headers),
        body: body(media_type, &response.body)?,
    };
    let reply = Reply::new(output)?.metric("response_time", milliseconds, "ms").metric(
        "response_size",
        size,
        "bytes",
    );
    Ok(reply)
}

/// Returns headers with names in lower case. Values of the same name are joined with a comma, as RFC 9110 (5.2) allows.
/// Cookies are always a list, because their dates have commas.
fn headers(headers: &[(String, String)]) -> BTreeMap<String, Value> {
    let mut lists: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers {
        lists.entry(name.to_ascii_lowercase()).or_default().push(value);
    }
    let values = lists.into_iter().map(|(name, values)| {
        let value = match name.as_str() {
            "set-cookie" => json!(values),
            _ => json!(values.join(", ")),
        };
        (name, value)
    });
    values.collect()
}

/// Returns JSON if the media type is JSON and the body is valid, else text if it is UTF-8, else an artifact.
fn body<'r>(media_type: &str, bytes: &'r [u8]) -> Result<Body<'r>> {
    if let Ok(text) = str::from_utf8(bytes) {
        // A `Value` rounds numbers, so the output keeps the text. Parsing it refuses a body that is too deep for later readers,
        // or has numbers out of range.
        if is_json(media_type)
            && serde_json::from_str::<Value>(text).is_ok()
            && let Ok(json) = serde_json::from_str(text)
        {
            return Ok(Body::Json(json));
        }
        return Ok(Body::Text(text));
    }
    let media_type = match media_type {
        "" => "application/octet-stream",
        known => known,
    };
    artifacts::append(BODY, media_type, bytes)?;
    Ok(Body::Artifact(json!({ "$artifact": BODY })))
}

/// Returns whether a media type is JSON, also by RFC 6839, such as `application/problem+json`.
fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default();
    let essence = essence.trim().to_ascii_lowercase();
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_sdk::http::Response;
    use runner_sdk::testing::{Calls, Host};
    use serde_json::{Value, json};

    use crate::Http;

    fn answer(response: Response) -> (Value, Calls) {
        let host = Host::new().responses([Ok(response)]);
        let (reply, calls) = host.run_recorded::<Http>(json!({"url": "http://a/"}), json!({}));
        (reply.unwrap().output().unwrap(), calls)
    }

    fn body(media_type: &str, bytes: &[u8]) -> Value {
        let response = Response::new(200).with_header("Content-Type", media_type).with_body(bytes);
        answer(response).0["body"].take()
    }

    #[test]
    fn any_status_is_a_reply() {
        for status in [101, 204, 302, 404, 429, 503] {
            let (output, _) = answer(Response::new(status));
            assert_eq!(output, json!({"status": status, "headers": {}, "body": ""}));
        }
    }

    #[test]
    fn body_is_json_if_type_and_text_are() {
        let text = br#"{"a": 0.1}"#;
        assert_eq!(body("application/json", text), json!({"a": 0.1}));
        assert_eq!(body("Application/JSON; charset=utf-8", b"1"), json!(1));
        assert_eq!(body("application/problem+json", b"[]"), json!([]));
        assert_eq!(body("text/plain", text), json!(r#"{"a": 0.1}"#));
        assert_eq!(body("application/json", b"{"), json!("{"));
        assert_eq!(body("application/json", b""), json!(""));
        assert_eq!(body("image/png", "ü".as_bytes()), json!("ü"));
    }

    #[test]
    fn binary_body_is_an_artifact() {
        let bytes = b"\x89PNG\xff".as_slice();
        let (output, calls) = answer(Response::new(200).with_body(bytes));
        assert_eq!(output["body"], json!({"$artifact": "body"}));
        assert_eq!(calls.artifacts["body"], bytes);
    }

    #[test]
    fn headers_have_lower_case_names_and_one_value() {
        let response = Response::new(200)
            .with_header("Vary", "Accept")
            .with_header("vary", "Origin")
            .with_header("Set-Cookie", "a=1; Expires=Fri, 20 Nov 2026 12:00:00 GMT");
        assert_eq!(
            answer(response).0["headers"],
            json!({
                "vary": "Accept, Origin",
                "set-cookie": ["a=1; Expires=Fri, 20 Nov 2026 12:00:00 GMT"]
            })
        );
    }

    #[test]
    fn time_and_size_are_metrics() {
        let mut response = Response::new(200).with_body("four");
        response.duration = Duration::from_micros(1_500);
        let host = Host::new().responses([Ok(response)]);
        let reply = host.run::<Http>(json!({"url": "http://a/"}), json!({}));
        let reply = reply.unwrap();
        let metrics: Vec<_> = reply
            .metrics()
            .iter()
            .map(|metric| (metric.name.as_str(), metric.value, metric.unit.as_deref()))
            .collect();
        assert_eq!(
            metrics,
            [("response_time", 1.5, Some("ms")), ("response_size", 4.0, Some("bytes"))]
        );
    }
}
