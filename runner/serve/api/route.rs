//! [`Route`]: one call of the API. The router and the document that describes it are made of the same table, so that no call
//! is outside of the contract.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Query, State, rejection::QueryRejection},
    handler::Handler,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{MethodRouter, delete, get, post},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use crate::model::shown_problem;
use crate::serve::{
    problem::HttpProblem,
    request::NamedInPath,
    server::{Server, blocking, reading},
};

/// What makes the schema of a type.
pub(super) type SchemaMaker = fn(&mut SchemaGenerator) -> Schema;

/// How a call changes things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RouteMethod {
    Get,
    Post,
    Delete,
}

/// One call of the API.
pub(super) struct Route {
    pub(super) method: RouteMethod,
    /// Below `/api/v1`, with names in braces.
    pub(super) path: &'static str,
    pub(super) summary: &'static str,
    /// What stands behind the `?`.
    pub(super) query: Option<SchemaMaker>,
    /// What a request to change something says.
    pub(super) body: Option<SchemaMaker>,
    /// Whether a request that is sent again can be known by a key.
    pub(super) has_key: bool,
    pub(super) answer: RouteAnswer,
    /// Every status that says that it was done.
    pub(super) statuses: &'static [u16],
    /// Every status of a problem, beside those that any call may have.
    pub(super) problems: &'static [u16],
    pub(super) handler: MethodRouter<Arc<Server>>,
}

/// What a call is answered with.
pub(super) enum RouteAnswer {
    /// A document.
    Document(SchemaMaker),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// A document, and what the status says of it.
pub(super) struct ApiAnswer<T> {
    pub(super) status: StatusCode,
    /// The address of what was made.
    pub(super) location: Option<String>,
    pub(super) document: T,
}

impl<T> ApiAnswer<T> {
    pub(super) fn with(status: StatusCode, document: T) -> Self {
        Self {
            status,
            location: None,
            document,
        }
    }
}

impl<T> From<T> for ApiAnswer<T> {
    fn from(document: T) -> Self {
        Self::with(StatusCode::OK, document)
    }
}

impl<T: Serialize> IntoResponse for ApiAnswer<T> {
    fn into_response(self) -> Response {
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        let location = self.location.map(|location| [(header::LOCATION, location)]);
        (self.status, no_store, location, Json(self.document)).into_response()
    }
}

/// The header by which a request is known that is sent again.
pub(super) const KEY_HEADER: &str = "idempotency-key";
/// Characters of such a key.
pub(super) const MAX_KEY: usize = 200;

/// The names in a path.
pub(super) trait PathNames: DeserializeOwned + Send + 'static {}
impl<P: DeserializeOwned + Send + 'static> PathNames for P {}

/// What is asked: behind the `?`, or in a body.
pub(super) trait RouteQuestion: DeserializeOwned + JsonSchema + Send + 'static {}
impl<Q: DeserializeOwned + JsonSchema + Send + 'static> RouteQuestion for Q {}

/// A document that is answered with.
pub(super) trait AnswerDocument: Serialize + JsonSchema + Send + 'static {}
impl<T: Serialize + JsonSchema + Send + 'static> AnswerDocument for T {}

/// What a call does that must not be done twice: with the key of the request, too.
type KeyedWork<P, Q, T> = fn(&Server, &P, &Q, Option<&str>) -> Result<ApiAnswer<T>, HttpProblem>;

/// What a call does: with the server, the names in the path, and what was asked.
type RouteWork<P, Q, T> = fn(&Server, &P, &Q) -> Result<ApiAnswer<T>, HttpProblem>;

impl Route {
    /// A call that changes nothing, answered with a document.
    pub(super) fn read<P: PathNames, Q: RouteQuestion, T: AnswerDocument>(
        path: &'static str,
        summary: &'static str,
        work: RouteWork<P, Q, T>,
    ) -> Self {
        let handler = move |State(server): State<Arc<Server>>,
                            NamedInPath(names): NamedInPath<P>,
                            query: Result<Query<Q>, QueryRejection>| async move {
            let Query(query) =
                query.map_err(|error| HttpProblem::bad_request(error.body_text()))?;
            reading(server, move |server| work(server, &names, &query)).await
        };
        let answer = RouteAnswer::Document(|schemas| schemas.subschema_for::<T>());
        Self::getting::<Q>(path, summary, answer, get(handler))
    }

    /// A call that changes nothing, answered with bytes by a handler of its own.
    pub(super) fn bytes<Q: JsonSchema, M: 'static>(
        path: &'static str,
        summary: &'static str,
        media_type: &'static str,
        handler: impl Handler<M, Arc<Server>>,
    ) -> Self {
        Self::getting::<Q>(path, summary, RouteAnswer::Bytes(media_type), get(handler))
    }

    fn getting<Q: JsonSchema>(
        path: &'static str,
        summary: &'static str,
        answer: RouteAnswer,
        handler: MethodRouter<Arc<Server>>,
    ) -> Self {
        Self {
            method: RouteMethod::Get,
            path,
            summary,
            query: Some(|schemas| Q::json_schema(schemas)),
            body: None,
            has_key: false,
            answer,
            statuses: &[200],
            problems: &[400],
            handler,
        }
    }

    /// A call that changes something, answered with a document.
    pub(super) fn write<P: PathNames, B: RouteQuestion, T: AnswerDocument>(
        path: &'static str,
        summary: &'static str,
        work: RouteWork<P, B, T>,
    ) -> Self {
        Self::writing(
            RouteMethod::Post,
            path,
            summary,
            move |server, names, body, _| work(server, names, body),
        )
    }

    /// The same, done once where the request is sent again with the same key.
    pub(super) fn write_once<P: PathNames, B: RouteQuestion, T: AnswerDocument>(
        path: &'static str,
        summary: &'static str,
        work: KeyedWork<P, B, T>,
    ) -> Self {
        Self {
            has_key: true,
            ..Self::writing(RouteMethod::Post, path, summary, work)
        }
    }

    /// The same as a `DELETE`.
    pub(super) fn delete<P: PathNames, B: RouteQuestion, T: AnswerDocument>(
        path: &'static str,
        summary: &'static str,
        work: RouteWork<P, B, T>,
    ) -> Self {
        Self::writing(
            RouteMethod::Delete,
            path,
            summary,
            move |server, names, body, _| work(server, names, body),
        )
    }

    fn writing<P: PathNames, B: RouteQuestion, T: AnswerDocument>(
        method: RouteMethod,
        path: &'static str,
        summary: &'static str,
        work: impl Fn(&Server, &P, &B, Option<&str>) -> Result<ApiAnswer<T>, HttpProblem>
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let handler = move |State(server): State<Arc<Server>>,
                            NamedInPath(names): NamedInPath<P>,
                            headers: HeaderMap,
                            body: Bytes| {
            let work = work.clone();
            async move {
                let key = key(&headers)?;
                let body: B = said(&body)?;
                let work = move |server: &Server| work(server, &names, &body, key.as_deref());
                blocking(server, work).await
            }
        };
        Self {
            method,
            path,
            summary,
            query: None,
            body: Some(|schemas| schemas.subschema_for::<B>()),
            has_key: false,
            answer: RouteAnswer::Document(|schemas| schemas.subschema_for::<T>()),
            statuses: &[200],
            problems: &[400, 403, 409, 415],
            handler: match method {
                RouteMethod::Delete => delete(handler),
                RouteMethod::Get | RouteMethod::Post => post(handler),
            },
        }
    }

    /// The statuses that say that it was done.
    pub(super) fn answering(mut self, statuses: &'static [u16]) -> Self {
        self.statuses = statuses;
        self
    }

    /// What else may be wrong than with any call.
    pub(super) fn refusing(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }
}

/// The key of a request that may be sent again.
fn key(headers: &HeaderMap) -> Result<Option<String>, HttpProblem> {
    let Some(key) = headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let text = key.to_str().unwrap_or_default().trim();
    match text.len() {
        1..=MAX_KEY => Ok(Some(text.to_owned())),
        _ => Err(HttpProblem::bad_request(format!(
            "`Idempotency-Key` has between 1 and {MAX_KEY} letters of ASCII"
        ))),
    }
}

/// What a request to change something says: JSON, or nothing for what has no say.
fn said<B: DeserializeOwned>(body: &[u8]) -> Result<B, HttpProblem> {
    let body = match body {
        b"" => b"{}",
        body => body,
    };
    // A list would be taken for the values of the keys in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(HttpProblem::bad_request("a body is an object of JSON"));
    }
    serde_json::from_slice(body)
        .map_err(|error| HttpProblem::bad_request(shown_problem(&error.to_string())))
}
