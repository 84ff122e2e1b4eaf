//! `http.send` of the contract.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, header};

use super::{failure::Failure, headers, outbound::RequestBody};
use crate::plugin::{
    clock::{Moment, within},
    contract::runner::provider::http::{Host as HttpHost, HttpError, Request, Response},
    sandbox::host::AttemptHost,
};

impl HttpHost for AttemptHost {
    /// Sends a request and waits for the whole response, at most for the request's own `timeout`; the attempt's
    /// deadline and a stop end it by dropping this future.
    async fn send(&mut self, request: Request) -> Result<Response, HttpError> {
        self.calls += 1;
        let timeout = request.timeout.map(|ms| Duration::from_millis(ms.into()));
        let exchange = self.exchange(request);
        let response = match timeout {
            None => exchange.await,
            Some(timeout) => within(timeout, exchange)
                .await
                .unwrap_or(Err(Failure::Timeout)),
        };
        response.map_err(|failure| {
            self.outbound.note(&failure);
            failure.into()
        })
    }
}

impl AttemptHost {
    async fn exchange(&self, request: Request) -> Result<Response, Failure> {
        let headers = headers::read(&request.headers)?;
        let body = request.body.unwrap_or_default();
        let mut admitted =
            self.outbound
                .admit(&request.method, &request.url, headers, &self.secrets)?;
        announce_length(&mut admitted.headers, &admitted.method, &body);
        self.outbound.traffic.count_out(body.len());

        let started = Moment::now();
        let activity = self.guard().activity.clone();
        let _open = activity.request(|| admitted.peer.clone());
        let (response, _) = self
            .outbound
            .send(admitted, RequestBody::Whole(body.into()));
        let response = response.await?;
        let (head, body) = response.into_parts();
        let body = body.read().await?;
        Ok(Response {
            status: head.status.as_u16(),
            headers: headers::write(&head.headers),
            body,
            duration_ms: started.elapsed().as_secs_f64() * 1000.0,
            extra: None,
        })
    }
}

/// The contract has no case for a limit on how many requests there are: it is `other`, as `too-large` is about sizes and
/// `denied` about grants.
impl From<Failure> for HttpError {
    fn from(failure: Failure) -> Self {
        let text = failure.to_string();
        match failure {
            Failure::Denied(_) => Self::Denied(text),
            Failure::Invalid(_) => Self::InvalidRequest(text),
            Failure::Unreachable { .. } => Self::Unreachable(text),
            Failure::Timeout => Self::Timeout,
            Failure::LargeHead(_) | Failure::LargeBody { .. } => Self::TooLarge(text),
            Failure::TooMany(_) | Failure::Garbage(_) => Self::Other(text),
        }
    }
}

/// Servers wait for a length where a method has a body by its meaning; the client names only that of one that is there.
fn announce_length(headers: &mut HeaderMap, method: &Method, body: &[u8]) {
    let has_body = [Method::POST, Method::PUT, Method::PATCH].contains(method);
    if has_body && body.is_empty() {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}
