//! Events: how far runs are, as it happens.
//!
//! An event's `id` says how many bytes of `index.jsonl` it tells of, so that whoever comes back with it misses nothing and
//! hears nothing twice, also from another server. Behind it the file is the truth: nothing is kept for a client.

use std::{convert::Infallible, fmt::Write as _, sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::{Semaphore, mpsc, watch};

use super::{
    followed::{FollowedRun, RunDoing, SeenRun},
    problem::HttpProblem,
    request::{NamedInPath, RunPath},
    server::{Server, blocking, find},
};

/// How often it is said how far a run is, at most.
const TELL_EVERY: Duration = Duration::from_millis(100);
/// How often something is said where nothing happens, so that nobody takes the silence for a lost connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many pieces wait for a slow reader.
const WAITING: usize = 16;
/// How long a reader may take for one of them, before it is cut off.
const SLOW: Duration = Duration::from_secs(10);
/// How many rows are made into one piece.
const ROWS_PER_PIECE: usize = 64;
/// How many streams there are at once.
static STREAMS: Semaphore = Semaphore::const_new(256);

/// From where on events are asked for.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    /// The id of the last event that was heard, where the header `Last-Event-ID` does not say it.
    after: Option<String>,
    /// `full`: an event `row` with each row as well; of one run only.
    rows: Option<String>,
}

/// Who asks, from where on.
struct AskedEvents {
    after: Option<String>,
    is_full: bool,
}

impl AskedEvents {
    fn new(
        query: Result<Query<EventsQuery>, QueryRejection>,
        headers: &HeaderMap,
    ) -> Result<Self, HttpProblem> {
        let Query(query) = query.map_err(|error| HttpProblem::bad_request(error.body_text()))?;
        let last = headers.get("last-event-id");
        let last = last.and_then(|id| id.to_str().ok()).map(str::to_owned);
        let is_full = match query.rows.as_deref() {
            None => false,
            Some("full") => true,
            Some(_) => return Err(HttpProblem::bad_request("`rows` is `full`, or absent")),
        };
        Ok(Self {
            after: last.or(query.after),
            is_full,
        })
    }
}

/// The stream of one run, until nobody works on it any more.
pub(super) async fn of_run(
    State(server): State<Arc<Server>>,
    NamedInPath(path): NamedInPath<RunPath>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let asked = AskedEvents::new(query, &headers)?;
    let after = match asked.after.as_deref().map(str::parse) {
        None => 0,
        Some(Ok(after)) => after,
        Some(Err(_)) => {
            return Err(HttpProblem::bad_request(
                "`after` is the id of an event of this run",
            ));
        }
    };
    let permit = STREAMS.try_acquire().map_err(|_| too_many())?;
    let (followed, from) = blocking(server, move |server| {
        let run = find(server, &path.run)?;
        let followed = server.runs.followed(&run.dir)?;
        followed.look_once();
        let from = {
            let list = followed.list();
            let columns = list.columns();
            (after <= columns.bytes()).then(|| columns.first_after(after))
        };
        Ok((followed, from))
    })
    .await?;
    Ok(stream(async move |mut events: Events| {
        // A reader that is gone or too slow comes back with its cursor, or not at all.
        let _ = tell_run(&followed, from, asked.is_full, &mut events).await;
        drop(permit);
    }))
}

/// The stream of all runs: how each of them stands whenever that has changed.
pub(super) async fn of_root(
    State(server): State<Arc<Server>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, HttpProblem> {
    let asked = AskedEvents::new(query, &headers)?;
    if asked.is_full {
        return Err(HttpProblem::bad_request(
            "`rows` is for the events of one run",
        ));
    }
    let permit = STREAMS.try_acquire().map_err(|_| too_many())?;
    Ok(stream(async move |mut events: Events| {
        let _ = tell_root(&server, asked.after.as_deref(), &mut events).await;
        drop(permit);
    }))
}

fn too_many() -> HttpProblem {
    HttpProblem::overloaded("too many event streams are open").with_help("close one, or try again")
}

/// Answers with what `tell` sends.
fn stream<F: Future<Output = ()> + Send + 'static>(tell: impl FnOnce(Events) -> F) -> Response {
    let (sender, receiver) = mpsc::channel(WAITING);
    drop(tokio::spawn(tell(Events { sender })));
    let body = futures::stream::unfold(receiver, |mut receiver| async {
        let bytes: Bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(bytes), receiver))
    });
    let headers = [
        (header::CONTENT_TYPE.as_str(), "text/event-stream"),
        (header::CACHE_CONTROL.as_str(), "no-store"),
        // A proxy that collects answers would keep events back.
        ("x-accel-buffering", "no"),
    ];
    (headers, Body::from_stream(body)).into_response()
}

/// Where events go.
struct Events {
    sender: mpsc::Sender<Bytes>,
}

/// The reader is gone, or too slow.
struct CutOff;

impl Events {
    async fn event(
        &mut self,
        name: &str,
        id: Option<&str>,
        data: &impl Serialize,
    ) -> Result<(), CutOff> {
        self.send(event(name, id, data)).await
    }

    async fn send(&mut self, text: String) -> Result<(), CutOff> {
        let sending = self.sender.send(Bytes::from(text));
        match tokio::time::timeout(SLOW, sending).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(CutOff),
        }
    }

    /// Says that the connection is there, and how soon to come back once it is not.
    async fn hello(&mut self) -> Result<(), CutOff> {
        self.send("retry: 1000\n\n".to_owned()).await
    }

    async fn beat(&mut self) -> Result<(), CutOff> {
        self.send(": still here\n\n".to_owned()).await
    }
}

fn event(name: &str, id: Option<&str>, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("an event can be written as JSON");
    event_of(name, id, &data)
}

/// An event with JSON as it is.
fn event_of(name: &str, id: Option<&str>, data: &str) -> String {
    let mut text = String::with_capacity(data.len() + 48);
    if let Some(id) = id {
        let _ = writeln!(text, "id: {id}");
    }
    // JSON has no newline in it, so a guest's words cannot begin another event.
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text
}

/// Tells of a run from a line on; from the first one where the reader has heard of rows that are not there.
async fn tell_run(
    run: &Arc<FollowedRun>,
    from: Option<usize>,
    is_full: bool,
    events: &mut Events,
) -> Result<(), CutOff> {
    events.hello().await?;
    let (mut seen, mut doing) = run.watch();
    // What is known from earlier is told where it is new.
    if doing.borrow().as_ref().is_some_and(RunDoing::is_fresh) {
        doing.mark_changed();
    } else {
        doing.mark_unchanged();
    }
    if from.is_none() {
        // A loss of power has taken them.
        events.event("reset", Some("0"), &json!({})).await?;
    }
    let mut next = from.unwrap_or(0);
    loop {
        let now = *seen.borrow_and_update();
        if is_full {
            next = tell_rows(run, next, events).await?;
        }
        let reached = match now {
            SeenRun::Lost => return events.event("gone", None, &json!({})).await,
            SeenRun::Running(reached) | SeenRun::Over(reached, ..) => reached,
        };
        // With rows, the cursor of how far the run is would pass over those that have not been told.
        let cursor = reached.bytes.to_string();
        let id = (!is_full).then_some(cursor.as_str());
        events.event("progress", id, &reached.progress).await?;
        if let SeenRun::Over(_, status, verdict) = now {
            let ended = json!({ "status": status.to_string(), "verdict": verdict.to_string() });
            return events.event("finished", id, &ended).await;
        }
        tokio::time::sleep(TELL_EVERY).await;
        loop {
            tokio::select! {
                // What is rare comes first: how far it is changes all the time.
                biased;
                changed = doing.changed() => match changed {
                    Ok(()) => tell_doing(&mut doing, events).await?,
                    Err(_) => return Err(CutOff),
                },
                changed = seen.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return Err(CutOff),
                },
                () = tokio::time::sleep(HEARTBEAT) => events.beat().await?,
            }
        }
    }
}

/// Tells what the attempts of a run are doing.
async fn tell_doing(
    doing: &mut watch::Receiver<Option<RunDoing>>,
    events: &mut Events,
) -> Result<(), CutOff> {
    let text = doing
        .borrow_and_update()
        .as_ref()
        .map(|it| Arc::clone(&it.text));
    match text {
        Some(text) => events.send(event_of("waiting", None, &text)).await,
        None => Ok(()),
    }
}

/// Tells the rows from a line on; returns the line behind them.
async fn tell_rows(
    run: &Arc<FollowedRun>,
    mut next: usize,
    events: &mut Events,
) -> Result<usize, CutOff> {
    loop {
        let made = Arc::clone(run);
        let piece = tokio::task::spawn_blocking(move || rows(&made, next)).await;
        let (piece, told) = piece.map_err(|_| CutOff)?;
        if told == next {
            return Ok(next);
        }
        next = told;
        events.send(piece).await?;
    }
}

/// Some rows from a line on as events, and the line behind them.
fn rows(run: &FollowedRun, next: usize) -> (String, usize) {
    let list = run.list();
    let columns = list.columns();
    let lines = usize::try_from(columns.rev()).unwrap_or(usize::MAX);
    let until = lines.min(next + ROWS_PER_PIECE);
    let mut text = String::new();
    for line in next..until {
        let id = columns.end_of(line).to_string();
        let row = u32::try_from(line).map(|line| columns.row(line));
        match row {
            Ok(Ok(row)) => text.push_str(&event("row", Some(&id), &json!({ "row": row }))),
            // What is damaged gives no row, here as anywhere.
            _ => text.push_str(&event("damaged", Some(&id), &json!({ "line": line + 1 }))),
        }
    }
    (text, until)
}

async fn tell_root(
    server: &Arc<Server>,
    after: Option<&str>,
    events: &mut Events,
) -> Result<(), CutOff> {
    events.hello().await?;
    let mut seen = server.root_watch.watch();
    let mut told = server.root_watch.place(after);
    if told.is_none() {
        // What has changed since is not known any more: whoever hears this reads the list anew.
        let (id, at) = loop {
            if let Some(now) = server.root_watch.now() {
                break now;
            }
            seen.changed().await.map_err(|_| CutOff)?;
        };
        told = Some(at);
        if after.is_some() {
            events.event("reset", Some(&id), &json!({})).await?;
        } else {
            events.event("ready", Some(&id), &json!({})).await?;
        }
    }
    let mut told = told.unwrap_or(0);
    loop {
        let _ = seen.borrow_and_update();
        let (news, at) = server.root_watch.since(told);
        for (name, id, data) in news {
            events.event(name, Some(&id), &data).await?;
        }
        told = at;
        loop {
            match tokio::time::timeout(HEARTBEAT, seen.changed()).await {
                Ok(Ok(())) => break,
                Ok(Err(_)) => return Err(CutOff),
                Err(_) => events.beat().await?,
            }
        }
    }
}
