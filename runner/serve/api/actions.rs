//! What is asked of a run: to stop, to end for good, to go on, to be judged again, to be kept.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::route::ApiAnswer;
use crate::serve::{
    request::{RunPath, filter},
    server::{Server, find, store},
};
use crate::{
    error::ExitStatus,
    filter::Filter,
    model::{Actor, StopMode},
    record::{RunEntry, RunId},
    serve::problem::HttpProblem,
    session::{
        self, Cancel, DetachedStart, Notice, Observe, Pause, PauseAnswer, PausedRun, Preview,
        RerunChoice, Rescore, Resume, Stop, StopAnswer, Stopped,
    },
    view::{
        BegunRun, DocumentVersion, EndedRun, PausedDocument, RescoreReport, RunSummary, StartPlan,
    },
};

/// How many trials of a plan are named, and of how large a plan: all of its tests are read for that.
const MAX_TRIALS: usize = 200;
const MAX_PLAN: u64 = 100_000;

/// What use cases have to say beside their answers: nobody is there to hear it.
pub(super) struct Silent;

impl Observe for Silent {
    fn notice(&mut self, _: &Notice<'_>) {}
}

/// Who asks, and why: both are kept in the run's history.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AskedBody {
    /// Who asks.
    #[serde(default)]
    by: Option<String>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
}

/// Who asks for a stop, why, and how hard.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StopBody {
    /// Who asks.
    #[serde(default)]
    by: Option<String>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
    /// How hard.
    #[serde(default)]
    mode: StopBodyMode,
}

/// How hard a run is stopped.
#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StopBodyMode {
    /// Trials in flight have a moment to finish.
    #[default]
    Stop,
    /// No trial begins, and those in flight finish.
    Drain,
    /// Trials in flight are interrupted at once.
    Kill,
}

/// Characters of who asks and why.
const MAX_SAID: usize = 1_000;

/// Whoever asks over HTTP: the server's user, and what the request says.
pub(super) fn actor(
    server: &Server,
    by: Option<&str>,
    reason: Option<&str>,
) -> Result<Actor, HttpProblem> {
    let said = [by, reason].into_iter().flatten();
    if said.clone().any(|text| text.chars().count() > MAX_SAID) {
        return Err(HttpProblem::bad_request(format!(
            "`by` and `reason` have at most {MAX_SAID} characters"
        )));
    }
    let [by, reason] = [by, reason].map(|text| text.filter(|text| !text.trim().is_empty()));
    let text = match (by, reason) {
        (None, reason) => reason.map(str::to_owned),
        (Some(by), None) => Some(format!("by {by}")),
        (Some(by), Some(reason)) => Some(format!("{reason} (by {by})")),
    };
    Ok(server.host.actor(text.as_deref()))
}

pub(super) fn stop(
    server: &Server,
    path: &RunPath,
    body: &StopBody,
) -> Result<ApiAnswer<EndedRun<'static>>, HttpProblem> {
    let request = Stop {
        run: find(server, &path.run)?,
        mode: match body.mode {
            StopBodyMode::Stop => StopMode::Stop,
            StopBodyMode::Drain => StopMode::Drain,
            StopBodyMode::Kill => StopMode::Kill,
        },
        actor: actor(server, body.by.as_deref(), body.reason.as_deref())?,
    };
    let stopped = session::stop(&store(server)?, request, &server.host, &mut Silent)?;
    Ok(ended(&stopped, server))
}

pub(super) fn cancel(
    server: &Server,
    path: &RunPath,
    body: &AskedBody,
) -> Result<ApiAnswer<EndedRun<'static>>, HttpProblem> {
    let request = Cancel {
        was_going_on: false,
        run: find(server, &path.run)?,
        actor: actor(server, body.by.as_deref(), body.reason.as_deref())?,
    };
    let cancelled = session::cancel(&store(server)?, request, &server.host, &mut Silent);
    // It has ended otherwise, and that does not change.
    let cancelled = cancelled.map_err(|error| match error.status {
        ExitStatus::Usage => HttpProblem::conflict(error.to_string()),
        _ => error.into(),
    })?;
    Ok(ended(&cancelled, server))
}

fn ended(stopped: &Stopped, server: &Server) -> ApiAnswer<EndedRun<'static>> {
    let status = match stopped.answer {
        StopAnswer::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
        StopAnswer::Stopped | StopAnswer::Cancelled | StopAnswer::AlreadyTerminal => StatusCode::OK,
    };
    let now = (server.host.now)();
    ApiAnswer::with(
        status,
        EndedRun::new(&stopped.run, stopped.answer.as_str(), now),
    )
}

pub(super) fn pause(
    server: &Server,
    path: &RunPath,
    body: &AskedBody,
) -> Result<ApiAnswer<PausedDocument<'static>>, HttpProblem> {
    let request = body.pause(server, path)?;
    let paused = session::pause(&store(server)?, request, &server.host, &mut Silent)?;
    Ok(paused_answer(&paused, server))
}

pub(super) fn unpause(
    server: &Server,
    path: &RunPath,
    body: &AskedBody,
) -> Result<ApiAnswer<PausedDocument<'static>>, HttpProblem> {
    let request = body.pause(server, path)?;
    let paused = session::unpause(&store(server)?, request, &server.host, &mut Silent)?;
    Ok(paused_answer(&paused, server))
}

impl AskedBody {
    /// What is asked for, as a use case takes it.
    fn pause(&self, server: &Server, path: &RunPath) -> Result<Pause, HttpProblem> {
        Ok(Pause {
            run: find(server, &path.run)?,
            actor: actor(server, self.by.as_deref(), self.reason.as_deref())?,
        })
    }
}

fn paused_answer(paused: &PausedRun, server: &Server) -> ApiAnswer<PausedDocument<'static>> {
    let status = match paused.answer {
        PauseAnswer::NoAnswer => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::OK,
    };
    let now = (server.host.now)();
    let document = PausedDocument::new(&paused.run, paused.answer.as_str(), now);
    ApiAnswer::with(status, document)
}

/// How a run goes on.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeBody {
    /// Which trials run again that have a final row: `failed`, `errors`, `all`, a glob or a filter.
    #[serde(default)]
    rerun: Option<String>,
    /// Whether the scenario and the plugins are adopted as they are now.
    #[serde(default)]
    accept_changes: bool,
    /// Whether a run goes on that was cancelled.
    #[serde(default)]
    force: bool,
    /// Who asks.
    #[serde(default)]
    by: Option<String>,
    /// Why.
    #[serde(default)]
    reason: Option<String>,
    /// Whether it waits in the queue of the results root until there is room.
    #[serde(default)]
    queue: bool,
    /// Of what waits in the queue, what has the greater one comes first.
    #[serde(default)]
    priority: Option<i64>,
}

/// When the turn of what waits comes; what does not wait has none.
pub(super) fn priority(is_queued: bool, priority: Option<i64>) -> Result<i64, HttpProblem> {
    match priority {
        Some(_) if !is_queued => Err(HttpProblem::bad_request(
            "`priority` is for what waits in the queue, and `queue` is not `true`",
        )),
        priority => Ok(priority.unwrap_or_default()),
    }
}

/// Goes on with a run as `runner resume` in a process of its own.
pub(super) fn resume(
    server: &Server,
    path: &RunPath,
    body: &ResumeBody,
) -> Result<ApiAnswer<BegunRun>, HttpProblem> {
    let request = body.request(server, path)?;
    let actor = actor(server, body.by.as_deref(), body.reason.as_deref())?;
    let priority = priority(body.queue, body.priority)?;
    if body.queue {
        let host = &server.host;
        let queued = session::enqueue_resume(&request, priority, &actor, host, &mut Silent)?;
        let waits = BegunRun::queued(queued.request);
        return Ok(ApiAnswer::with(StatusCode::ACCEPTED, waits));
    }
    let resumed = session::resume_detached(&request, &actor, &server.host);
    // Where that is a file, it is said with the places in it, which the words of a process have not.
    let run = begun(resumed.map_err(|error| {
        if error.status == ExitStatus::Usage
            && let Err(known) = session::preview_resume(&request, &server.host, &mut Silent)
        {
            return known.into();
        }
        HttpProblem::from(error)
    })?)?;
    Ok(ApiAnswer::with(StatusCode::ACCEPTED, BegunRun::new(&run)))
}

/// The run that has begun.
pub(super) fn begun(started: DetachedStart) -> Result<RunId, HttpProblem> {
    match started {
        DetachedStart::Started(started) => started.run.ok_or_else(|| {
            HttpProblem::conflict("nothing is left to run")
                .with_help("name with `rerun` what is to run again")
        }),
        DetachedStart::Busy(active) => {
            let runs = active.runs.iter().map(|run| run.id.to_string());
            Err(HttpProblem::busy(active.max, runs.collect()))
        }
        DetachedStart::Known(_) => Err(HttpProblem::internal("a request without a key is new")),
    }
}

impl ResumeBody {
    /// What is asked for, as a use case takes it.
    fn request(&self, server: &Server, path: &RunPath) -> Result<Resume, HttpProblem> {
        Ok(Resume {
            rerun: self.rerun.as_deref().map(rerun).transpose()?,
            accept_changes: self.accept_changes,
            force: self.force,
            ..Resume::new(find(server, &path.run)?)
        })
    }
}

/// Says what a resume would run.
pub(super) fn plan(
    server: &Server,
    path: &RunPath,
    body: &ResumeBody,
) -> Result<ApiAnswer<StartPlan>, HttpProblem> {
    let request = body.request(server, path)?;
    let preview = session::preview_resume(&request, &server.host, &mut Silent)?;
    planned(server, &preview)
}

/// What a session would run, with the names of its first trials.
pub(super) fn planned(
    server: &Server,
    preview: &Preview,
) -> Result<ApiAnswer<StartPlan>, HttpProblem> {
    let plan = preview.head((server.host.now)());
    let mut trials = Vec::new();
    if plan.pending <= MAX_PLAN {
        preview.each_trial(|trial| {
            if trials.len() < MAX_TRIALS {
                trials.push(trial.id.to_string());
            }
        })?;
    }
    Ok(StartPlan {
        v: DocumentVersion,
        plan,
        trials,
    }
    .into())
}

/// Which trials run again, as `--rerun` says it.
fn rerun(text: &str) -> Result<RerunChoice, HttpProblem> {
    match filter(Some(text)) {
        Ok(Some(filter)) if Filter::is_meant_by(text) => Ok(RerunChoice::Filter(filter)),
        Err(problem) if Filter::is_meant_by(text) => Err(problem),
        _ => match text.parse() {
            Ok(rule) => Ok(RerunChoice::Rule(rule)),
            Err(error) => Err(HttpProblem::bad_request(format!("`rerun`: {error}"))),
        },
    }
}

/// By what stored outputs are judged again.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RescoreBody {
    /// Only the trials that this filter means.
    #[serde(default)]
    filter: Option<String>,
    /// Whether graders are asked again, where what they were asked has changed.
    #[serde(default)]
    graders: bool,
    /// Whether nothing is written.
    #[serde(default)]
    dry_run: bool,
}

pub(super) fn rescore(
    server: &Server,
    path: &RunPath,
    body: &RescoreBody,
) -> Result<ApiAnswer<RescoreReport>, HttpProblem> {
    let request = Rescore {
        run: find(server, &path.run)?,
        filter: filter(body.filter.as_deref())?,
        scenario: None,
        is_dry_run: body.dry_run,
        asks_graders: body.graders,
        secret_files: Vec::new(),
    };
    let rescored = session::rescore(&request, &server.host, &mut Silent, |_| ())?;
    Ok(rescored.report.into())
}

pub(super) fn pin(
    server: &Server,
    path: &RunPath,
    body: &AskedBody,
) -> Result<ApiAnswer<RunSummary>, HttpProblem> {
    let run = find(server, &path.run)?;
    let asked = actor(server, body.by.as_deref(), body.reason.as_deref())?;
    session::pin(&run, asked.text, (server.host.now)())?;
    again(server, &run)
}

pub(super) fn unpin(
    server: &Server,
    path: &RunPath,
    _: &AskedBody,
) -> Result<ApiAnswer<RunSummary>, HttpProblem> {
    let run = find(server, &path.run)?;
    session::unpin(&run, (server.host.now)())?;
    again(server, &run)
}

/// The run as it stands now.
fn again(server: &Server, run: &RunEntry) -> Result<ApiAnswer<RunSummary>, HttpProblem> {
    let run = find(server, run.id.as_str())?;
    Ok(RunSummary::new(&run, (server.host.now)()).into())
}
