//! [`HttpProblem`]: a problem document by RFC 9457.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runner_engine::EngineError;
use runner_model::{Time, exit::Exit, units::plural, visible::visible};
use runner_operations::launch::LaunchError;
use runner_record::{Holder, RecordError};
use runner_report::ScenarioProblem;
use schemars::JsonSchema;
use serde::Serialize;

/// Advice for a call with a wrong method or unknown keys.
const SEE_OPENAPI: &str = "`GET /api/v1/openapi.json` describes all calls and their keys";

/// Columns of rendered problems of a scenario.
const COLUMNS: usize = 100;

/// A problem document, `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct HttpProblem {
    /// Kind of the problem, such as `/problems/busy`.
    pub r#type: &'static str,
    /// The kind in words.
    pub title: &'static str,
    pub status: u16,
    /// Cause and place, as the command line prints them.
    pub detail: String,
    /// Next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    // In a box to keep results small: each call can return a problem.
    #[serde(flatten)]
    parts: Box<ProblemParts>,
}

/// Keys that only some problems have.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
struct ProblemParts {
    /// All problems of a scenario with their places, as text for a terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
    /// The same problems as data.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<ScenarioProblem>,
    /// Ids of the runs that the name could mean.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    candidates: Vec<String>,
    /// Ids of the active runs that a start has to wait for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    active: Vec<String>,
    /// The process that works on the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<HttpHolder>,
}

/// The process that holds the lock of a run.
#[derive(Clone, Debug, Serialize, JsonSchema)]
struct HttpHolder {
    /// `null` if unknown.
    pid: Option<u32>,
    host: String,
    since: Option<Time>,
}

pub(crate) type Result<T, E = HttpProblem> = std::result::Result<T, E>;

/// A kind of problem: its status, type and title.
#[derive(Clone, Copy)]
pub(crate) struct ProblemKind(u16, &'static str, &'static str);

impl ProblemKind {
    const INVALID: Self = Self(400, "/problems/invalid", "invalid request");
    pub const UNAUTHORIZED: Self = Self(401, "/problems/unauthorized", "unauthorized");
    pub const FOREIGN: Self = Self(403, "/problems/foreign-origin", "foreign origin");
    pub const OTHER_USER: Self = Self(403, "/problems/other-user", "owned by another user");
    pub const READ_ONLY: Self = Self(403, "/problems/read-only", "read-only");
    const NOT_FOUND: Self = Self(404, "/problems/not-found", "not found");
    const METHOD: Self = Self(405, "/problems/method", "wrong method");
    pub const SLOW: Self = Self(408, "/problems/slow", "request too slow");
    const BUSY: Self = Self(409, "/problems/busy", "busy");
    const CONFLICT: Self = Self(409, "/problems/conflict", "conflict");
    pub const BODY: Self = Self(413, "/problems/body", "body too large");
    pub const MEDIA_TYPE: Self = Self(415, "/problems/media-type", "unsupported media type");
    pub const RANGE: Self = Self(416, "/problems/range", "no such range");
    pub const HOST: Self = Self(421, "/problems/host", "wrong host");
    const SCENARIO: Self = Self(422, "/problems/invalid-scenario", "invalid scenario");
    const UNPROCESSABLE: Self = Self(422, "/problems/unprocessable", "unprocessable request");
    pub const HEADERS: Self = Self(431, "/problems/headers", "headers too large");
    const INTERNAL: Self = Self(500, "/problems/internal", "internal error");
    const QUEUE: Self = Self(503, "/problems/busy-queue", "queue in use");
    pub const STREAMS: Self = Self(503, "/problems/busy-server", "too many streams");
    pub const NO_ANSWER: Self = Self(504, "/problems/no-answer", "the process does not respond");
    const STORAGE: Self = Self(507, "/problems/storage", "results cannot be read or stored");
}

impl HttpProblem {
    pub fn new(kind: ProblemKind, detail: &str) -> Self {
        let ProblemKind(status, r#type, title) = kind;
        let detail = visible(detail).into_owned();
        Self { r#type, title, status, detail, help: None, parts: Box::default() }
    }

    /// A request that is not valid.
    pub fn invalid(detail: &str) -> Self {
        Self::new(ProblemKind::INVALID, detail)
    }

    /// Keys after `?`, or of a body, that the call does not have or cannot read.
    pub fn keys(detail: &str) -> Self {
        Self::invalid(detail).with_help(SEE_OPENAPI)
    }

    /// A file or folder that cannot be read or written.
    pub fn storage(detail: &str) -> Self {
        Self::new(ProblemKind::STORAGE, detail)
    }

    /// A bug of the server.
    pub fn internal() -> Self {
        Self::new(ProblemKind::INTERNAL, "the server failed; its terminal shows the reason")
    }

    /// A request with a method that its call does not have.
    pub fn method() -> Self {
        Self::new(ProblemKind::METHOD, "the call does not accept this method")
            .with_help(SEE_OPENAPI)
    }

    pub fn not_found(detail: &str) -> Self {
        Self::new(ProblemKind::NOT_FOUND, detail)
    }

    pub fn conflict(detail: &str) -> Self {
        Self::new(ProblemKind::CONFLICT, detail)
    }

    pub fn waiting_for(mut self, active: &[String]) -> Self {
        self.parts.active = active.to_vec();
        self
    }

    /// A run or root that another process works on.
    pub fn busy(detail: &str) -> Self {
        Self::new(ProblemKind::BUSY, detail)
    }

    pub fn unprocessable(detail: &str) -> Self {
        Self::new(ProblemKind::UNPROCESSABLE, detail)
    }

    pub fn held_by(mut self, holder: &Holder) -> Self {
        let pid = (holder.pid != 0).then_some(holder.pid);
        let host = visible(&holder.host).into_owned();
        self.parts.holder = Some(HttpHolder { pid, host, since: holder.since });
        self
    }

    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<RecordError> for HttpProblem {
    fn from(error: RecordError) -> Self {
        let detail = error.to_string();
        match error {
            RecordError::Unknown { .. } | RecordError::Removed { .. } => Self::not_found(&detail),
            RecordError::Ambiguous { candidates, .. } => {
                let mut problem = Self::conflict(&detail);
                problem.parts.candidates = candidates;
                problem
            }
            RecordError::Held { holder, .. } => Self::busy(&detail).held_by(&holder),
            RecordError::RootHeld { .. } => Self::busy(&detail),
            RecordError::QueueHeld { .. } => Self::new(ProblemKind::QUEUE, &detail),
            RecordError::NotOwn { .. } => Self::new(ProblemKind::OTHER_USER, &detail),
            RecordError::Io { .. } | RecordError::Foreign { .. } | RecordError::NoCache => {
                Self::storage(&detail)
            }
            RecordError::Transition(_) => Self::conflict(&detail),
        }
    }
}

impl From<EngineError> for HttpProblem {
    fn from(error: EngineError) -> Self {
        let exit = error.exit();
        match error {
            EngineError::Record(error) => error.into(),
            EngineError::Scenario(problems) => {
                let shown = problems.render(false, COLUMNS);
                Self::of_scenario(ScenarioProblem::all(&problems).collect(), shown)
            }
            error => Self::of_exit(exit, &error.to_string()),
        }
    }
}

impl From<LaunchError> for HttpProblem {
    fn from(error: LaunchError) -> Self {
        let message = error.to_string();
        // Notes of the process come before its error.
        let lines = message.split_inclusive('\n').skip_while(|line| !line.starts_with("error:"));
        let text = lines.collect::<String>();
        if let LaunchError::Ended { problems, .. } = &error
            && !problems.is_empty()
        {
            return Self::of_scenario(problems.clone(), text);
        }
        let text = text.strip_prefix("error: ").unwrap_or(&message);
        let (detail, help) = text.trim_end().split_once('\n').unwrap_or((text.trim_end(), ""));
        let exit = error.exit().unwrap_or(Exit::Failed);
        let help: Vec<_> = help.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let help = (!help.is_empty()).then(|| help.join("\n"));
        Self { help, ..Self::of_exit(exit, detail) }
    }
}

impl HttpProblem {
    /// Problems of a scenario. `shown` is their text for a terminal.
    pub fn of_scenario(problems: Vec<ScenarioProblem>, shown: String) -> Self {
        let count = plural(problems.len() as u64, "problem", "problems");
        let mut problem = Self::new(ProblemKind::SCENARIO, &format!("the scenario has {count}"));
        (problem.parts.problems, problem.parts.shown) = (problems, Some(shown));
        problem
    }

    /// Returns the problem of a command that ended with this exit code and message.
    pub fn of_exit(exit: Exit, detail: &str) -> Self {
        match exit {
            Exit::Held => Self::busy(detail),
            Exit::Storage | Exit::Damaged => Self::storage(detail),
            Exit::Internal => Self { detail: detail.to_owned(), ..Self::internal() },
            _ => Self::unprocessable(detail),
        }
    }
}

impl IntoResponse for HttpProblem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut bytes = Vec::new();
        // Texts and numbers always serialize.
        let _ = runner_report::json::write_document(&mut bytes, &self);
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, media_type, Body::from(bytes)).into_response()
    }
}

#[cfg(test)]
mod tests {
    use runner_record::RecordError;

    use super::HttpProblem;

    #[test]
    fn held_queue_is_unavailable_for_a_while() {
        let error = RecordError::QueueHeld { lock: "results/queue/.lock".into() };
        let problem = HttpProblem::from(error);
        assert_eq!((problem.status, problem.r#type), (503, "/problems/busy-queue"));
        assert!(problem.detail.contains("fuser results/queue/.lock"), "{}", problem.detail);
    }
}
