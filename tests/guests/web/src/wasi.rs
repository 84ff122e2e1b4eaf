//! Requests by `wasi:http`.

use runner_sdk::serde_json::{Value, json};
use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler,
        types::{
            Fields, FutureIncomingResponse, IncomingBody, Method, OutgoingBody, OutgoingRequest,
            RequestOptions, Scheme,
        },
    },
    io::poll,
    io::streams::{InputStream, StreamError},
};

use crate::{Request, show};

const NANOSECONDS: u64 = 1_000_000;
const CHUNK: usize = 4096;

/// Sends a request and reads the whole response; an error is its name and text.
pub(crate) fn send(request: &Request) -> Result<Value, String> {
    let outgoing = outgoing(request)?;
    let body = request.body();
    let stream = body.is_some().then(|| outgoing.body()).transpose();
    let stream = stream.map_err(|()| "no body".to_owned())?;
    let options = options(request);
    let pending = outgoing_handler::handle(outgoing, Some(options)).map_err(name)?;
    if let (Some(stream), Some(body)) = (stream, body) {
        // Whoever stops reading it says why in the response.
        let _ = write(stream, &body);
    }

    pending.subscribe().block();
    let response = pending.get().expect("it is ready").expect("it is taken once");
    let response = response.map_err(name)?;
    let headers = response.headers().entries().into_iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned())).collect();
    let status = response.status();
    let incoming = response.consume().map_err(|()| "no body".to_owned())?;
    let content = read(&incoming)?;
    Ok(show(status, &headers, &content))
}

/// Sends a request with a body and trailers, and reads the response with its trailers. Returns whether there was one.
pub(crate) fn use_up(request: &Request, has_options: bool) -> bool {
    let Ok(outgoing) = outgoing(&Request {
        method: "POST".to_owned(),
        url: request.url.clone(),
        ..Request::default()
    }) else {
        return false;
    };
    let body = outgoing.body().expect("it is taken once");
    let Ok(pending) = outgoing_handler::handle(outgoing, has_options.then(|| options(request)))
    else {
        return false;
    };
    let stream = body.write().expect("it is taken once");
    let is_written = stream.blocking_write_and_flush(b"body").is_ok();
    drop(stream);
    let is_sent = is_written && OutgoingBody::finish(body, Some(Fields::new())).is_ok();
    pending.subscribe().block();
    let Some(Ok(Ok(response))) = pending.get() else { return false };
    let has_headers = !response.headers().clone().entries().is_empty();
    let incoming = response.consume().expect("it is taken once");
    let is_read = read(&incoming).is_ok();
    let trailers = IncomingBody::finish(incoming);
    trailers.subscribe().block();
    is_sent && has_headers && is_read && matches!(trailers.get(), Some(Ok(Ok(_))))
}

/// Returns what came first in each step: one of two responses, or the end of a sleep.
pub(crate) fn race(request: &Request) -> Value {
    let sleep = u64::from(request.timeout.unwrap_or(1)) * NANOSECONDS;
    let mut order = String::new();
    let mut open: Vec<(usize, FutureIncomingResponse)> = Vec::new();
    let mut step = 0;
    while step < request.size || !open.is_empty() {
        for side in 0..2 * usize::from(step < request.size) {
            let asked =
                Request { url: format!("{}/{step}-{side}", request.url), ..Request::default() };
            if let Ok(outgoing) = outgoing(&asked)
                && let Ok(pending) = outgoing_handler::handle(outgoing, None)
            {
                open.push((2 * step + side, pending));
            }
        }
        step += 1;
        let timer = monotonic_clock::subscribe_duration(sleep);
        let polled: Vec<_> = open.iter().map(|(_, pending)| pending.subscribe()).collect();
        let all: Vec<_> = polled.iter().chain([&timer]).collect();
        let ready = poll::poll(&all);
        drop(all);
        drop(polled);
        for place in ready.into_iter().rev() {
            let place = usize::try_from(place).expect("it fits into memory");
            if place == open.len() {
                order += "- ";
                continue;
            }
            let (number, pending) = open.remove(place);
            let status = pending.get().and_then(Result::ok).and_then(Result::ok);
            order += &format!("{number}:{} ", status.map_or(0, |response| response.status()));
        }
    }
    let now = monotonic_clock::now();
    json!({ "order": order, "now": now })
}

/// Returns the status of each response that came before the end of a sleep. The other requests are dropped.
pub(crate) fn drop_late(request: &Request) -> Value {
    let sleep = u64::from(request.timeout.unwrap_or(1)) * NANOSECONDS;
    let steps = (0..request.size).map(|step| {
        let asked = Request { url: format!("{}/{step}", request.url), ..Request::default() };
        let outgoing = outgoing(&asked).ok()?;
        let pending = outgoing_handler::handle(outgoing, None).ok()?;
        let timer = monotonic_clock::subscribe_duration(sleep);
        poll::poll(&[&pending.subscribe(), &timer]);
        let response = pending.get().and_then(Result::ok).and_then(Result::ok)?;
        Some(response.status())
    });
    let steps: Vec<_> = steps.collect();
    json!({ "steps": steps, "now": monotonic_clock::now() })
}

/// Writes to the bodies of requests that are never sent for as long as each takes something, and tells how much that is.
pub(crate) fn hoard(bodies: usize) -> usize {
    let mut held = 0;
    let mut kept = Vec::new();
    for _ in 0..bodies {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().expect("it is taken once");
        let stream = body.write().expect("it is taken once");
        while let Ok(free @ 1..) = stream.check_write() {
            let free = usize::try_from(free).expect("it fits into memory");
            stream.write(&vec![0; free]).expect("there is room for so much");
            held += free;
        }
        // What was written stays with the request.
        drop(stream);
        drop(body);
        kept.push(request);
    }
    held
}

fn outgoing(request: &Request) -> Result<OutgoingRequest, String> {
    let headers = request.headers.iter();
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    let outgoing = OutgoingRequest::new(Fields::from_list(&headers).map_err(name)?);
    let (scheme, rest) = request.url.split_once("://").unwrap_or(("", &request.url));
    let (authority, path) = match rest.find('/') {
        Some(start) => rest.split_at(start),
        None => (rest, "/"),
    };
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let bad = |what: &'static str| move |()| format!("bad {what}");
    let method = Method::Other(request.method.clone());
    outgoing.set_method(&method).map_err(bad("method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(bad("scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(bad("authority"))?;
    outgoing.set_path_with_query(Some(path)).map_err(bad("path"))?;
    Ok(outgoing)
}

fn options(request: &Request) -> RequestOptions {
    let options = RequestOptions::new();
    let timeout = request.timeout.map(|ms| u64::from(ms) * NANOSECONDS);
    let set = options
        .set_connect_timeout(timeout)
        .and_then(|()| options.set_first_byte_timeout(timeout))
        .and_then(|()| options.set_between_bytes_timeout(timeout));
    set.expect("every timeout is known");
    options
}

fn write(body: OutgoingBody, content: &[u8]) -> Result<(), StreamError> {
    let stream = body.write().expect("it is taken once");
    for chunk in content.chunks(CHUNK) {
        stream.blocking_write_and_flush(chunk)?;
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

fn read(body: &IncomingBody) -> Result<Vec<u8>, String> {
    let stream: InputStream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut content = Vec::new();
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(chunk) => content.extend(chunk),
            Err(StreamError::Closed) => return Ok(content),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn name(error: impl std::fmt::Debug) -> String {
    format!("{error:?}")
}
