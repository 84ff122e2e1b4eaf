//! Calls every function that contract 0.1.0 lets a provider import, and fills in every field of a reply.

use serde_json::json;

use crate::{
    exports::runner::provider::provider::{Description, ProviderError, Reply, Test},
    runner::provider::{
        artifacts, control, files, http,
        log::{self, Level},
        secrets,
        types::{Check, ErrorKind, Metric, Verdict},
    },
};

pub(crate) fn description() -> Description {
    Description {
        name: "everything".to_owned(),
        version: "0.1.0".to_owned(),
        summary: "Calls every import.".to_owned(),
        config_schema: Some("{}".to_owned()),
        input_schema: Some("{}".to_owned()),
        requests: vec!["net:https://example.com".to_owned()],
        extra: Some("{}".to_owned()),
    }
}

pub(crate) fn answer(test: &Test) -> Result<Reply, ProviderError> {
    if test.input != "null" {
        return Err(ProviderError {
            kind: ErrorKind::RateLimited,
            code: "busy".to_owned(),
            message: test.input.clone(),
            retry_after: Some(1),
            details: Some("{}".to_owned()),
        });
    }
    let said = format!("{} {}", test.trial_id, test.attempt);
    log::log(Level::Info, &said, &[("seed".to_owned(), test.seed.to_string())]);
    control::progress(Some(0.5), "half way");
    let names: Vec<_> = files::names()
        .into_iter()
        .map(|file| json!([file.name, file.media_type, file.size]))
        .collect();
    let read = files::read("a.txt", 0, 3).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let sent = http::send(&http::Request {
        method: "GET".to_owned(),
        url: "https://example.com/".to_owned(),
        headers: vec![("accept".to_owned(), "text/plain".to_owned())],
        body: Some(Vec::new()),
        timeout: Some(1_000),
        extra: None,
    });
    let output = json!({
        "stop_requested": control::stop_requested(),
        "has_time": control::remaining() > 0,
        "names": names,
        "read": read.map_err(|error| error.name()),
        "missing": files::read("b.txt", 0, 3).map_err(|error| error.name()),
        "secret": secrets::get("KEY").map_err(|error| error.name()),
        "artifact": artifacts::append("left.txt", "text/plain", b"left").is_ok(),
        "is_denied": matches!(sent, Err(http::HttpError::Denied(_))),
    });
    Ok(Reply {
        output: output.to_string(),
        verdict: Some(Verdict::Pass),
        score: Some(1.0),
        summary: Some("everything was called".to_owned()),
        checks: vec![Check {
            name: "calls".to_owned(),
            verdict: Verdict::Pass,
            score: Some(1.0),
            message: Some("all of them".to_owned()),
            details: Some("{}".to_owned()),
        }],
        metrics: vec![Metric {
            name: "imports".to_owned(),
            value: 6.0,
            unit: Some("interfaces".to_owned()),
        }],
        extra: Some("{}".to_owned()),
    })
}
