//! [`post`]: one request to an address of HTTP.

use std::{error::Error, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::Timestamp;
use rustls::crypto::ring;

use super::{delivery::Delivery, signature::signature};

/// An address of HTTP.
#[derive(Clone)]
pub struct Address {
    /// The whole address.
    pub url: String,
    /// What requests are signed with.
    pub secret: Option<String>,
}

/// What is told.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its id, the same at every attempt.
    pub id: String,
    /// JSON.
    pub body: Vec<u8>,
}

/// Posts a message to an address, and blocks for at most `timeout`.
pub fn post(address: &Address, message: &Message, now: Timestamp, timeout: Duration) -> Delivery {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Delivery::Failed(error.to_string()),
    };
    let sent = runtime.block_on(async {
        let sent = tokio::time::timeout(timeout, send(address, message, now)).await;
        let seconds = timeout.as_secs_f64();
        sent.unwrap_or_else(|_| Delivery::Failed(format!("no answer within {seconds:.1} s")))
    });
    // Nothing ends a look-up of a name that nobody answers.
    runtime.shutdown_background();
    sent
}

async fn send(address: &Address, message: &Message, now: Timestamp) -> Delivery {
    let seconds = now.as_second();
    let mut request = Request::post(&address.url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("runner/", env!("CARGO_PKG_VERSION")),
        )
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", seconds);
    if let Some(secret) = &address.secret {
        let signed = signature(secret, &message.id, seconds, &message.body);
        request = request.header("webhook-signature", signed);
    }
    let request = match request.body(Full::new(Bytes::from(message.body.clone()))) {
        Ok(request) => request,
        // Its words have no part of the address, which may be a secret.
        Err(error) => return Delivery::Refused(error.to_string()),
    };
    let connector =
        HttpsConnectorBuilder::new().with_provider_and_native_roots(ring::default_provider());
    let connector = match connector {
        Ok(builder) => builder.https_or_http().enable_http1().build(),
        Err(error) => return Delivery::Failed(format!("no trusted certificates: {error}")),
    };
    let client = Client::builder(TokioExecutor::new()).build(connector);
    match client.request(request).await {
        Ok(response) => judged(response.status()),
        Err(error) => Delivery::Failed(causes(&error)),
    }
}

/// What an answer means.
fn judged(status: StatusCode) -> Delivery {
    let text = format!("HTTP {status}");
    let is_passing = matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    );
    match status {
        status if status.is_success() => Delivery::Delivered(text),
        status if status.is_server_error() || is_passing => Delivery::Failed(text),
        _ => Delivery::Refused(text),
    }
}

/// An error with its causes; the first only says that there was one.
fn causes(error: &dyn Error) -> String {
    let mut text = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push(inner.to_string());
        cause = inner.source();
    }
    text.dedup();
    match text[..] {
        [] => error.to_string(),
        _ => text.join(": "),
    }
}
