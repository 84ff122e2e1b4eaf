//! [`post`]: posts the document of a webhook, outside of any guest.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use runner_model::protocol::PostRequest;
use wasmtime_wasi_http::WasiBody;

use super::connect::{Connector, system_lookup};
use super::failure::{Failure, MAX_HEAD, MAX_HEADERS};
use super::policy::{NetPolicy, Refusal, origin, read_url};
use super::request::{read_uri, whole};

/// Posts a document, and returns the status of the response. Follows no redirect, and reads no body.
///
/// # Errors
///
/// The reason why there is no response. Of the address it has only scheme, host and port.
pub async fn post(request: PostRequest) -> Result<u16, String> {
    let url = read_url(&request.url)?;
    let mut builder = Request::post(read_uri(&url).map_err(|error| error.to_string())?);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let sent = builder.body(whole(Bytes::from(request.body)));
    let sent = sent.map_err(|error| error.to_string())?;
    let policy = Arc::new(NetPolicy::of_webhook(request.private));
    let client = legacy::Client::builder(TokioExecutor::new())
        .http1_max_buf_size(MAX_HEAD)
        .http1_max_headers(MAX_HEADERS)
        .build::<_, WasiBody>(Connector::new(policy, system_lookup));
    match client.request(sent).await {
        Ok(response) => Ok(response.status().as_u16()),
        Err(error) => Err(match Failure::from_client(&origin(&url), &error) {
            Failure::Denied(Refusal { denied: Some(denied), .. }) => {
                format!("{} is allowed only with `private = true`", denied.what)
            }
            failure => failure.to_string(),
        }),
    }
}
