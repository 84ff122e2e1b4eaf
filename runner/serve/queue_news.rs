//! [`QueueNews`]: what has changed in the queue of a results root between two looks at it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    record::{QueueState, QueuedRequest, RunReader},
    session::Store,
};

/// The requests of a queue at the latest look; `None` before the first, which is news to nobody.
#[derive(Default)]
pub(super) struct QueueNews(Option<HashMap<String, SeenRequest>>);

/// A request as it was seen.
struct SeenRequest {
    place: RequestPlace,
    request: QueuedRequest,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum RequestPlace {
    Waiting,
    Starting,
    Refused,
}

impl QueueNews {
    /// What has changed since the latest look, each as the data of an event.
    pub(super) fn look(&mut self, store: &Store) -> Vec<Value> {
        let Ok(state) = store.queue() else {
            return Vec::new();
        };
        let now = seen(state);
        let Some(before) = self.0.replace(now) else {
            return Vec::new();
        };
        let now = self.0.as_ref().into_iter().flatten();
        let mut news: Vec<_> = now
            .filter_map(|(id, seen)| {
                let change = changed(before.get(id), seen)?;
                Some((change, &seen.request, None))
            })
            .collect();
        let is_gone = |id: &String| self.0.as_ref().is_some_and(|now| !now.contains_key(id));
        for (_, seen) in before.iter().filter(|(id, _)| is_gone(id)) {
            let run = run_of(store, &seen.request);
            let change = if run.is_some() { "begun" } else { "removed" };
            news.push((change, &seen.request, run));
        }
        news.sort_by_key(|(_, request, _)| (request.at, request.id.clone()));
        let news = news.into_iter();
        news.map(|(change, request, run)| {
            json!({ "change": change, "request": request.id, "priority": request.priority, "run": run })
        })
        .collect()
    }
}

fn seen(state: QueueState) -> HashMap<String, SeenRequest> {
    let places = [
        (RequestPlace::Refused, state.refused),
        (RequestPlace::Waiting, state.waiting),
        (RequestPlace::Starting, state.starting),
    ];
    let all = places.into_iter().flat_map(|(place, requests)| {
        requests.into_iter().map(move |request| {
            let id = request.id.clone();
            (id, SeenRequest { place, request })
        })
    });
    all.collect()
}

/// What has become of a request that is there; `None` if nothing has.
fn changed(before: Option<&SeenRequest>, now: &SeenRequest) -> Option<&'static str> {
    let is_moved = |before: &SeenRequest| before.request.priority != now.request.priority;
    let was = before.map(|before| before.place);
    match now.place {
        RequestPlace::Waiting if was == Some(RequestPlace::Waiting) => {
            before.is_some_and(is_moved).then_some("moved")
        }
        place if was == Some(place) => None,
        RequestPlace::Waiting => Some("queued"),
        RequestPlace::Starting => Some("starting"),
        RequestPlace::Refused => Some("refused"),
    }
}

/// The run that a request has become, if there is one.
fn run_of(store: &Store, request: &QueuedRequest) -> Option<String> {
    let runs = store.shared_runs().ok()?;
    let begun = runs.runs.iter().filter(|run| run.opened_at >= request.at);
    let mut named = begun.filter(|run| {
        let reader = RunReader::open(&run.dir).ok();
        let mark = reader
            .as_ref()
            .and_then(|it| it.manifest().request.as_ref());
        request.is_for(&run.id) || mark.is_some_and(|mark| mark.id == request.id)
    });
    named.next().map(|run| run.id.to_string())
}
