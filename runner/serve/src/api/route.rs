//! [`Route`]: one call of the API, with the types of its parts.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State, rejection::PathRejection};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use runner_report::json::write_document;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};

use super::{HttpProblem, Result, numbers::NumberKeys};
use crate::server::Server;

/// The start of all paths of the API.
pub(crate) const BASE: &str = "/api/v1";

const JSON: &str = "application/json";

/// Makes the schema of a type.
pub(crate) type MakeSchema = fn(&mut SchemaGenerator) -> Schema;

/// One call of the API.
pub(crate) struct Route {
    pub method: Method,
    /// Path below [`BASE`], with names in braces.
    pub path: &'static str,
    pub summary: &'static str,
    /// Schema of the keys after `?`, or of the body of a call that changes something.
    pub input: MakeSchema,
    pub media_type: &'static str,
    /// Schema of the answer, if it is a document.
    pub document: Option<MakeSchema>,
    /// Statuses of success.
    pub statuses: &'static [u16],
    /// Statuses of problems, in addition to those of all calls.
    pub problems: &'static [u16],
    pub handler: MethodRouter<Arc<Server>>,
}

/// A document with its status.
pub(crate) struct HttpAnswer<T> {
    pub status: StatusCode,
    /// Address of the created run.
    pub location: Option<String>,
    pub document: T,
}

impl<T> From<T> for HttpAnswer<T> {
    fn from(document: T) -> Self {
        Self { status: StatusCode::OK, location: None, document }
    }
}

impl<T: Serialize> HttpAnswer<T> {
    fn response(self) -> Result<Response> {
        let mut bytes = Vec::new();
        write_document(&mut bytes, &self.document)
            .map_err(|error| HttpProblem::storage(&error.to_string()))?;
        let json = [(header::CONTENT_TYPE, JSON)];
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
    /// Creates a call that changes nothing and answers with a document.
    pub fn get<P: Names, I: Input, T: Document>(
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &I) -> Result<T>,
    ) -> Self {
        Self::new(Method::GET, path, summary, move |server, names, keys, _| {
            HttpAnswer::from(work(server, names, keys)?).response()
        })
        .of_document::<T>()
    }

    /// Creates a call that changes nothing and answers with bytes. `work` gets the request's headers.
    pub fn bytes<P: Names, I: Input>(
        path: &'static str,
        summary: &'static str,
        media_type: &'static str,
        work: fn(&Arc<Server>, &P, &I, &HeaderMap) -> Result<Response>,
    ) -> Self {
        Self { media_type, ..Self::new(Method::GET, path, summary, work) }
    }

    /// Creates a call as [`Self::bytes`] does, which also answers with a range of the bytes.
    pub fn ranges<P: Names, I: Input>(
        path: &'static str,
        summary: &'static str,
        media_type: &'static str,
        work: fn(&Arc<Server>, &P, &I, &HeaderMap) -> Result<Response>,
    ) -> Self {
        let route = Self::bytes(path, summary, media_type, work);
        Self { statuses: &[200, 206], problems: &[416], ..route }
    }

    /// Creates a call that changes something and answers with a document.
    pub fn post<P: Names, I: Input, T: Document>(
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &I) -> Result<HttpAnswer<T>>,
    ) -> Self {
        Self::change(Method::POST, path, summary, work)
    }

    /// Does the same for a call with another method.
    pub fn change<P: Names, I: Input, T: Document>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        work: fn(&Server, &P, &I) -> Result<HttpAnswer<T>>,
    ) -> Self {
        Self::new(method, path, summary, move |server, names, body, _| {
            work(server, names, body)?.response()
        })
        .of_document::<T>()
    }

    fn new<P: Names, I: Input>(
        method: Method,
        path: &'static str,
        summary: &'static str,
        work: impl Fn(&Arc<Server>, &P, &I, &HeaderMap) -> Result<Response>
        + Copy
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let is_read = method == Method::GET;
        let numbers = Arc::new(NumberKeys::of::<I>());
        let handler = move |State(server): State<Arc<Server>>,
                            names: Result<Path<P>, PathRejection>,
                            uri: Uri,
                            headers: HeaderMap,
                            body: Bytes| {
            let numbers = Arc::clone(&numbers);
            async move {
                let Path(names) =
                    names.map_err(|error| HttpProblem::invalid(&error.body_text()))?;
                let input = if is_read {
                    numbers.check_query(&uri)?;
                    query_of::<I>(&uri)?
                } else {
                    numbers.check_body(&body)?;
                    body_of::<I>(&body)?
                };
                let shared = Arc::clone(&server);
                // The semaphore is never closed.
                let _permit = if is_read { shared.readers.acquire().await.ok() } else { None };
                let done = tokio::task::spawn_blocking(move || {
                    server.check_root()?;
                    work(&server, &names, &input, &headers)
                })
                .await;
                done.unwrap_or_else(|_| Err(HttpProblem::internal()))
            }
        };
        let (filter, input): (_, MakeSchema) = match method {
            Method::GET => (MethodFilter::GET, I::json_schema),
            Method::DELETE => (MethodFilter::DELETE, SchemaGenerator::subschema_for::<I>),
            _ => (MethodFilter::POST, SchemaGenerator::subschema_for::<I>),
        };
        let document = None;
        let media_type = JSON;
        let handler = on(filter, handler);
        let (statuses, problems): (&[u16], &[u16]) = (&[200], &[]);
        Self { method, path, summary, input, media_type, document, statuses, problems, handler }
    }

    fn of_document<T: Document>(self) -> Self {
        Self { document: Some(SchemaGenerator::subschema_for::<T>), ..self }
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

fn query_of<I: DeserializeOwned>(uri: &Uri) -> Result<I> {
    let query = Query::try_from_uri(uri);
    query.map(|Query(query)| query).map_err(|error| {
        let text = error.body_text();
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        HttpProblem::keys(&format!("the query string is invalid: {reason}"))
    })
}

/// Parses a body: a JSON object, or nothing if no key is needed.
fn body_of<B: DeserializeOwned>(body: &[u8]) -> Result<B> {
    let body = if body.is_empty() { b"{}" } else { body };
    // `serde` would read an array as the values of the keys in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        return Err(HttpProblem::keys("the body must be a JSON object"));
    }
    serde_json::from_slice(body).map_err(|error| HttpProblem::keys(&error.to_string()))
}
