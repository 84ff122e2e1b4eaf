//! [`HttpProblem`]: an error as an HTTP answer, with the words of the command line (RFC 9457).

use std::ops::Range;

use axum::{
    body::Body,
    http::{HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    error::{DeletedMeanwhile, Error, ExitStatus, Refusal, RefusalKind, without_titles},
    model::chain,
    record::FindError,
};

/// An error as an HTTP answer. It is large, and mostly there is none.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(transparent)]
pub(super) struct HttpProblem(Box<ProblemDocument>);

/// What an `application/problem+json` has in it.
#[derive(Debug, Serialize, JsonSchema)]
struct ProblemDocument {
    /// What kind of problem it is: a path below `/problems`, which never changes its meaning.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The kind, for people.
    title: &'static str,
    /// The status of the answer.
    #[serde(serialize_with = "as_number")]
    #[schemars(with = "u16")]
    status: StatusCode,
    /// What is wrong, in the words of the command line.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
    /// The whole of it as a terminal shows it, with the places in files; absent where `detail` says all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
    /// The place in a filter, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PlaceSchema>")]
    at: Option<Range<usize>>,
    /// The runs that may be meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<String>,
    /// For how many seconds to wait before trying again.
    #[serde(skip)]
    retry_after: Option<u32>,
}

/// A place in a text, in bytes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "it is the schema of a range")]
struct PlaceSchema {
    /// Where it begins.
    start: usize,
    /// Where it ends.
    end: usize,
}

impl HttpProblem {
    pub(super) fn new(
        status: StatusCode,
        kind: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self(Box::new(ProblemDocument {
            kind,
            title,
            status,
            detail: detail.into(),
            help: None,
            shown: None,
            at: None,
            candidates: Vec::new(),
            retry_after: None,
        }))
    }

    /// What was asked for is not what this call takes.
    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "/problems/bad-request",
            "the request is not valid",
            detail,
        )
    }

    /// A filter or another text of the request is not valid, at a place that is known.
    pub(super) fn bad_text(error: &(dyn Diagnostic + 'static)) -> Self {
        let label = error.labels().and_then(|mut labels| labels.next());
        let mut problem = Self::bad_request(chain(error));
        problem.0.help = error.help().map(|help| help.to_string());
        problem.0.at = label.map(|label| label.offset()..label.offset() + label.len());
        problem
    }

    /// There is nothing with this name.
    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "/problems/not-found",
            "there is nothing with this name",
            detail,
        )
    }

    /// It cannot be done as things stand.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "/problems/conflict",
            "it cannot be done as things stand",
            detail,
        )
    }

    /// As many runs are active as there may be.
    pub(super) fn busy(max: usize, runs: Vec<String>) -> Self {
        let mut problem = Self::new(
            StatusCode::CONFLICT,
            "/problems/busy",
            "others are at work",
            match &runs[..] {
                [] => "a run is about to begin".to_owned(),
                runs => format!("active: {}", runs.join(", ")),
            },
        )
        .with_help(format!(
            "`max_active_runs` in `runner.toml` of the results root is {max}; with `queue` it waits until there is room"
        ));
        problem.0.candidates = runs;
        problem
    }

    /// Too much is going on.
    pub(super) fn overloaded(detail: impl Into<String>) -> Self {
        let problem = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "/problems/overloaded",
            "too much is going on",
            detail,
        );
        problem.retrying()
    }

    /// The same will be answered otherwise soon.
    #[must_use]
    pub(super) fn retrying(mut self) -> Self {
        self.0.retry_after = Some(2);
        self
    }

    /// A bug of the runner.
    pub(super) fn internal(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "/problems/internal",
            "the runner has failed",
            detail,
        )
    }

    /// A run cannot be found.
    pub(super) fn find(error: FindError) -> Self {
        match error {
            FindError::Ambiguous { ref candidates, .. } => {
                let mut problem = Self::conflict(error.to_string());
                problem.0.candidates.clone_from(candidates);
                problem
            }
            FindError::Unknown { .. } => Self::not_found(error.to_string()),
            FindError::Unreadable(error) => Error::record(error).into(),
        }
    }

    /// All of it in words.
    pub(super) fn told(self) -> String {
        match (self.0.shown, self.0.help) {
            (Some(shown), _) => shown,
            (None, Some(help)) => format!("{}\nhelp: {help}", self.0.detail),
            (None, None) => self.0.detail,
        }
    }

    #[must_use]
    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// The only place in which an exit code becomes a status code.
impl From<Error> for HttpProblem {
    fn from(error: Error) -> Self {
        if error.report.downcast_ref::<DeletedMeanwhile>().is_some() {
            return Self::not_found(chain(error.report.as_ref()));
        }
        if let Some(refusal) = error.report.downcast_ref::<Refusal>() {
            let problem = match refusal.kind {
                RefusalKind::Missing => Self::not_found(&refusal.text),
                RefusalKind::Conflict => Self::conflict(&refusal.text),
            };
            return problem.with_help(&refusal.help);
        }
        let (status, kind, title) = match error.status {
            ExitStatus::Usage => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/refused",
                "it cannot be done as asked",
            ),
            ExitStatus::NothingSelected => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "/problems/nothing-selected",
                "nothing was selected",
            ),
            ExitStatus::Busy => (
                StatusCode::CONFLICT,
                "/problems/busy",
                "somebody else is at work on it",
            ),
            ExitStatus::Storage => (
                StatusCode::INSUFFICIENT_STORAGE,
                "/problems/storage",
                "results cannot be read or stored",
            ),
            ExitStatus::Success
            | ExitStatus::NotPassed
            | ExitStatus::Failed
            | ExitStatus::Incomplete
            | ExitStatus::Internal
            | ExitStatus::Signalled(_) => return Self::internal(chain(error.report.as_ref())),
        };
        let report: &(dyn Diagnostic + 'static) = error.report.as_ref();
        let has_places = report.labels().is_some() || report.related().is_some();
        let mut problem = Self::new(status, kind, title, chain(report));
        problem.0.help = report.help().map(|help| help.to_string());
        problem.0.shown = has_places.then(|| shown(report));
        problem
    }
}

/// An error as a terminal without colours shows it.
fn shown(report: &(dyn Diagnostic + 'static)) -> String {
    let mut text = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
    // Writing into a text fails only where the report's own text cannot be made.
    match handler.with_width(100).render_report(&mut text, report) {
        Ok(()) => without_titles(&text),
        Err(_) => report.to_string(),
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).expect("a problem can be written as JSON");
        let headers = [
            (header::CONTENT_TYPE, "application/problem+json"),
            (header::CACHE_CONTROL, "no-store"),
        ];
        let retry: Option<[(HeaderName, String); 1]> = self
            .0
            .retry_after
            .map(|seconds| [(header::RETRY_AFTER, seconds.to_string())]);
        (self.0.status, headers, retry, Body::from(body)).into_response()
    }
}

#[cfg(test)]
mod gone_tests {
    use super::{Error, HttpProblem, StatusCode};
    use crate::record::RecordError;

    #[test]
    fn a_run_that_was_deleted_meanwhile_is_not_found() {
        let run = "results/run".into();
        let problem = HttpProblem::from(Error::record(RecordError::Gone { run }));
        assert_eq!(problem.0.status, StatusCode::NOT_FOUND);
    }
}
