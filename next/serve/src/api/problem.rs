//! [`HttpProblem`]: a problem document by RFC 9457.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use runner_engine::EngineError;
use runner_model::Time;
use runner_model::exit::Exit;
use runner_model::units::plural;
use runner_model::visible::visible;
use runner_operations::launch::LaunchError;
use runner_record::{Holder, RecordError};
use runner_report::ScenarioProblem;
use schemars::JsonSchema;
use serde::Serialize;

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
    // In a box, because each call can return a problem.
    #[serde(flatten)]
    parts: Box<ProblemParts>,
}

/// Keys that only some problems have.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
struct ProblemParts {
    /// All problems of a scenario with their places, as a terminal shows them.
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

impl HttpProblem {
    pub fn new(
        status: StatusCode,
        r#type: &'static str,
        title: &'static str,
        detail: &str,
    ) -> Self {
        let (status, detail) = (status.as_u16(), visible(detail).into_owned());
        Self { r#type, title, status, detail, help: None, parts: Box::default() }
    }

    /// A request that is not valid: 400.
    pub fn invalid(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "/problems/invalid", "invalid request", detail)
    }

    /// A file or folder that cannot be read or written: 507.
    pub fn storage(detail: &str) -> Self {
        let status = StatusCode::INSUFFICIENT_STORAGE;
        Self::new(status, "/problems/storage", "results cannot be read or stored", detail)
    }

    /// A bug of the server: 500.
    pub fn internal() -> Self {
        let detail = "the server failed; its terminal shows the reason";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self::new(status, "/problems/internal", "internal error", detail)
    }

    /// A request with another method than its call has: 405.
    pub fn method() -> Self {
        let detail = "the call does not accept this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "/problems/method", "wrong method", detail)
    }

    pub fn not_found(detail: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "/problems/not-found", "not found", detail)
    }

    pub fn conflict(detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "/problems/conflict", "conflict", detail)
    }

    pub fn waiting_for(mut self, active: &[String]) -> Self {
        self.parts.active = active.to_vec();
        self
    }

    /// A run or root that another process works on.
    pub fn busy(detail: &str) -> Self {
        Self { r#type: "/problems/busy", title: "busy", ..Self::conflict(detail) }
    }

    pub fn unprocessable(detail: &str) -> Self {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(status, "/problems/unprocessable", "the request cannot be carried out", detail)
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
                let parts = Box::new(ProblemParts { candidates, ..ProblemParts::default() });
                Self { parts, ..Self::conflict(&detail) }
            }
            RecordError::Held { holder, .. } => Self::busy(&detail).held_by(&holder),
            RecordError::RootHeld { .. } | RecordError::QueueHeld { .. } => Self::busy(&detail),
            RecordError::OtherUser { .. } => {
                let status = StatusCode::FORBIDDEN;
                Self::new(status, "/problems/other-user", "run of another user", &detail)
            }
            RecordError::Io { .. } | RecordError::Foreign { .. } => Self::storage(&detail),
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
        let text = text.strip_prefix("error: ").unwrap_or(&message);
        let (detail, help) = text.trim_end().split_once('\n').unwrap_or((text.trim_end(), ""));
        let exit = error.exit().unwrap_or(Exit::Failed);
        let help: Vec<_> = help.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let help = (!help.is_empty()).then(|| help.join("\n"));
        Self { help, ..Self::of_exit(exit, detail) }
    }
}

impl HttpProblem {
    /// Problems of a scenario. `shown` is how a terminal shows them.
    pub fn of_scenario(problems: Vec<ScenarioProblem>, shown: String) -> Self {
        let count = plural(problems.len() as u64, "problem", "problems");
        let r#type = "/problems/invalid-scenario";
        let detail = format!("the scenario has {count}");
        let shown = Some(shown);
        let parts = Box::new(ProblemParts { problems, shown, ..ProblemParts::default() });
        Self { r#type, parts, ..Self::unprocessable(&detail) }
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
        // Only texts and numbers: always serializes.
        let _ = runner_report::json::write_document(&mut bytes, &self);
        let media_type = [(header::CONTENT_TYPE, "application/problem+json")];
        (status, media_type, Body::from(bytes)).into_response()
    }
}
