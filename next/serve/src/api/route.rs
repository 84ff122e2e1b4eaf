//! [`Route`]: one call of the API, with the types of its parts.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post};
use runner_report::json::write_document;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use super::HttpProblem;
use crate::server::Server;

/// The start of all paths of the API.
pub(crate) const BASE: &str = "/api/v1";

/// Makes the schema of a type.
pub(crate) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;
type Result<T> = std::result::Result<T, HttpProblem>;

/// One call of the API.
pub(crate) struct Route {
    pub method: Method,
    /// Path below [`BASE`], with names in braces.
    pub path: &'static str,
    pub summary: &'static str,
    /// Schema of the keys after `?`.
    pub query: Option<MakeSchema>,
    /// Schema of the request's body.
    pub body: Option<MakeSchema>,
    pub answer: AnswerKind,
    /// Statuses of success.
    pub statuses: &'static [u16],
    /// Statuses of problems, in addition to those of all calls.
    pub problems: &'static [u16],
    pub handler: MethodRouter<Arc<Server>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

/// The content of an answer.
pub(crate) enum AnswerKind {
    Document(MakeSchema),
    /// Bytes of this media type.
    Bytes(&'static str),
}

/// A document with its status.
pub(crate) struct Answer<T> {
    pub status: StatusCode,
    /// Address of the created run.
    pub location: Option<String>,
    pub document: T,
}

impl<T> From<T> for Answer<T> {
    fn from(document: T) -> Self {
        Self { status: StatusCode::OK, location: None, document }
    }
}

impl<T: Serialize> Answer<T> {
    fn response(self) -> Result<Response> {
        let mut bytes = Vec::new();
        write_document(&mut bytes, &self.document)
            .map_err(|error| HttpProblem::storage(&error.to_string()))?;
        let json = [(header::CONTENT_TYPE, "application/json")];
        let location = self.location.map(|location| [(header::LOCATION, location)]);
        Ok((self.status, json, location, Body::from(bytes)).into_response())
    }
}

/// Names in a path: a struct with one field per name in braces.
pub(crate) trait Names: DeserializeOwned + Send + 'static {}
impl<P: DeserializeOwned + Send + 'static> Names for P {}

/// Keys after `?`, or of a body. The type must deny unknown fields.
pub(crate) trait Input: DeserializeOwned + JsonSchema + Send + 'static {}
impl<Q: DeserializeOwned + JsonSchema + Send + 'static> Input for Q {}

/// A document of an answer.
pub(crate) trait Document: Serialize + JsonSchema + Send + 'static {}
impl<T: Serialize + JsonSchema + Send + 'static> Document for T {}

impl Route {
    /// A call that changes nothing and answers with a document.
    pub fn get<P: Names, Q: Input, T: Document>(
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &Q) -> Result<T>,
    ) -> Self {
        let handler =
            move |State(server): State<Arc<Server>>,
                  names: std::result::Result<Path<P>, PathRejection>,
                  query: std::result::Result<Query<Q>, QueryRejection>| async move {
                let (names, query) = (names_of(names)?, query_of(query)?);
                read(server, move |server| Answer::from(work(server, &names, &query)?).response())
                    .await
            };
        let answer = AnswerKind::Document(|schemas| schemas.subschema_for::<T>());
        Self::reading::<Q>(path, summary, answer, get(handler))
    }

    /// A call that changes nothing and answers with bytes. `work` gets the request's headers.
    pub fn bytes<P: Names, Q: Input>(
        path: &'static str,
        summary: &'static str,
        media_type: &'static str,
        work: fn(&Arc<Server>, &P, &Q, &HeaderMap) -> Result<Response>,
    ) -> Self {
        let handler = move |State(server): State<Arc<Server>>,
                            names: std::result::Result<Path<P>, PathRejection>,
                            query: std::result::Result<Query<Q>, QueryRejection>,
                            headers: HeaderMap| async move {
            let (names, query) = (names_of(names)?, query_of(query)?);
            read(server, move |server| work(server, &names, &query, &headers)).await
        };
        Self::reading::<Q>(path, summary, AnswerKind::Bytes(media_type), get(handler))
    }

    /// A call that changes something and answers with a document.
    pub fn post<P: Names, B: Input, T: Document>(
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &B) -> Result<Answer<T>>,
    ) -> Self {
        Self::writing(Method::Post, path, summary, work)
    }

    /// [`Self::post`] as a `DELETE`.
    pub fn delete<P: Names, B: Input, T: Document>(
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &B) -> Result<Answer<T>>,
    ) -> Self {
        Self::writing(Method::Delete, path, summary, work)
    }

    fn reading<Q: Input>(
        path: &'static str,
        summary: &'static str,
        answer: AnswerKind,
        handler: MethodRouter<Arc<Server>>,
    ) -> Self {
        let query: MakeSchema = |schemas| Q::json_schema(schemas);
        Self {
            method: Method::Get,
            path,
            summary,
            query: Some(query),
            body: None,
            answer,
            statuses: &[200],
            problems: &[],
            handler,
        }
    }

    fn writing<P: Names, B: Input, T: Document>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &B) -> Result<Answer<T>>,
    ) -> Self {
        let handler = move |State(server): State<Arc<Server>>,
                            names: std::result::Result<Path<P>, PathRejection>,
                            body: Bytes| async move {
            let (names, body) = (names_of(names)?, body_of::<B>(&body)?);
            blocking(server, move |server| work(server, &names, &body)?.response()).await
        };
        Self {
            method,
            path,
            summary,
            query: None,
            body: Some(|schemas| schemas.subschema_for::<B>()),
            answer: AnswerKind::Document(|schemas| schemas.subschema_for::<T>()),
            statuses: &[200],
            problems: &[409],
            handler: match method {
                Method::Delete => delete(handler),
                Method::Get | Method::Post => post(handler),
            },
        }
    }

    /// Sets the statuses of success.
    pub fn answering(mut self, statuses: &'static [u16]) -> Self {
        self.statuses = statuses;
        self
    }

    /// Sets the statuses of problems.
    pub fn refusing(mut self, problems: &'static [u16]) -> Self {
        self.problems = problems;
        self
    }
}

fn names_of<P>(names: std::result::Result<Path<P>, PathRejection>) -> Result<P> {
    names.map(|Path(names)| names).map_err(|error| HttpProblem::invalid(&error.body_text()))
}

fn query_of<Q>(query: std::result::Result<Query<Q>, QueryRejection>) -> Result<Q> {
    query.map(|Query(query)| query).map_err(|error| HttpProblem::invalid(&error.body_text()))
}

/// Parses a body: a JSON object, or nothing if no key is needed.
fn body_of<B: DeserializeOwned>(body: &[u8]) -> Result<B> {
    let body = if body.is_empty() { b"{}" } else { body };
    // `serde` would read an array as the values of the keys in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(HttpProblem::invalid("the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| HttpProblem::invalid(&error.to_string()))
}

/// Runs a call that reads files, of which only some run at once.
async fn read(
    server: Arc<Server>,
    work: impl FnOnce(&Arc<Server>) -> Result<Response> + Send + 'static,
) -> Result<Response> {
    let shared = Arc::clone(&server);
    // The semaphore is never closed.
    let _permit = shared.readers.acquire().await;
    blocking(server, work).await
}

/// Runs a call on a thread that may block.
async fn blocking(
    server: Arc<Server>,
    work: impl FnOnce(&Arc<Server>) -> Result<Response> + Send + 'static,
) -> Result<Response> {
    let done = tokio::task::spawn_blocking(move || work(&server)).await;
    done.unwrap_or_else(|_| Err(HttpProblem::internal()))
}
