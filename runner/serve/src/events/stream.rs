//! [`EventStream`]: the body of a response with events.

use std::{future::Future, sync::Arc, time::Duration};

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use runner_report::json::one_line;
use serde::Serialize;
use tokio::{sync::Semaphore, sync::watch::Receiver, time::timeout};

use crate::api::{HttpProblem, ProblemKind};
use crate::body::{Pieces, channel};

/// Streams that are open at the same time. Other calls need connections, too.
const MAX_STREAMS: usize = 192;
/// Time after which a stream without events sends a comment, so that clients and proxies do not close it.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// First bytes of a stream: the time after which a browser reconnects, in milliseconds.
const RETRY: &str = "retry: 1000\n\n";

/// Writes events. A client that reads none is cut off by its connection.
pub(crate) struct EventStream(Pieces);

/// The client has disconnected.
pub(crate) struct Closed;

/// Creates the permits of streams.
pub(crate) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_STREAMS))
}

/// Starts a task that writes the events of a response. Must run in a runtime.
pub(crate) fn start<F>(
    permits: &Arc<Semaphore>,
    write: impl FnOnce(EventStream) -> F + Send + 'static,
) -> Result<Response, HttpProblem>
where
    F: Future<Output = Result<(), Closed>> + Send + 'static,
{
    let Ok(permit) = Arc::clone(permits).try_acquire_owned() else {
        let problem = HttpProblem::new(ProblemKind::STREAMS, "too many event streams are open");
        return Err(problem.with_help("close another page of this server, or try again later"));
    };
    let (pieces, body) = channel();
    drop(tokio::spawn(async move {
        let stream = EventStream(pieces);
        if stream.send(Bytes::from_static(RETRY.as_bytes())).await.is_ok() {
            // A closed connection ends the stream.
            let _ = write(stream).await;
        }
        drop(permit);
    }));
    // Proxies that buffer answers would delay events.
    let headers =
        [(header::CONTENT_TYPE.as_str(), "text/event-stream"), ("x-accel-buffering", "no")];
    Ok((headers, body).into_response())
}

impl EventStream {
    /// Sends whole events.
    pub async fn send(&self, events: Bytes) -> Result<(), Closed> {
        self.0.send(Ok(events)).await.map_err(|_| Closed)
    }

    /// Waits for a change, and sends comments meanwhile.
    pub async fn wait<T>(&self, changes: &mut Receiver<T>) -> Result<(), Closed> {
        loop {
            tokio::select! {
                changed = timeout(HEARTBEAT, changes.changed()) => match changed {
                    Ok(changed) => return changed.map_err(|_| Closed),
                    Err(_) => self.send(Bytes::from_static(b":\n\n")).await?,
                },
                () = self.0.closed() => return Err(Closed),
            }
        }
    }
}

/// Formats an event. JSON on one line has no line break, so that no text of a guest can add an event.
pub(crate) fn event(name: &str, id: Option<&str>, data: &impl Serialize) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Bytes::from(format!("{id}event: {name}\ndata: {}\n\n", one_line(data)))
}
