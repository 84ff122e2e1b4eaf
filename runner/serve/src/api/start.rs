//! Starts runs, and continues and rescores them, as processes of their own.

use std::{collections::BTreeMap, env, ffi::OsStr, path::Path};

use axum::http::StatusCode;
use runner_model::units::MAX_DURATION;
use runner_model::{
    Budgets, MAX_JOBS, MAX_REPEAT, MAX_RETRIES, RunStatus, TrialId, digest, id_glob,
};
use runner_operations::queue::{self, QueueError, Step};
use runner_record::{Manifest, QueuedRequest, RecordError, RunDir, actor};
use runner_report::{QueueEntry, Started, VERSION};
use runner_scenario::Filter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::command_words::CommandWords;
use super::keys::RunName;
use super::preview::{self, PlanDocument, RescorePlan, ResumePlan};
use super::{BASE, HttpAnswer, HttpProblem, Result, Route, scenarios};
use crate::server::Server;

/// The greatest count that each reader of JSON keeps exact.
const MAX_EXACT: u64 = 1 << 53;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/runs", "Start a run", start)
            .answering(&[200, 201, 202])
            .refusing(&[404, 409, 422, 503]),
        Route::post("/plan", "Return the trials and grants of a start", plan).refusing(&[404, 422]),
        Route::post("/runs/{run}/resume", "Continue a run", resume)
            .answering(&[200, 202])
            .refusing(&[403, 404, 409, 422, 503]),
        Route::post("/runs/{run}/rescore", "Judge the stored outputs of a run again", rescore)
            .answering(&[200, 202])
            .refusing(&[403, 404, 409, 422, 503]),
    ]
}

/// A run to start. The keys are flags of `runner exec`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Exec {
    /// Path of the scenario, relative to a folder of the server.
    scenario: String,
    /// Globs of tests to run.
    #[serde(default)]
    tests: Vec<String>,
    /// Globs of tests to leave out.
    #[serde(default)]
    exclude: Vec<String>,
    /// Globs of providers.
    #[serde(default)]
    providers: Vec<String>,
    /// Run only tests with one of these tags.
    #[serde(default)]
    tags: Vec<String>,
    filter: Option<String>,
    #[schemars(range(min = 1, max = MAX_REPEAT))]
    repeat: Option<u32>,
    #[schemars(range(max = MAX_RETRIES))]
    retries: Option<u32>,
    #[schemars(range(max = u32::MAX))]
    seed: Option<u32>,
    #[schemars(range(min = 1, max = MAX_JOBS))]
    jobs: Option<u32>,
    #[schemars(range(max = MAX_DURATION.as_secs() / 60), extend("exclusiveMinimum" = 0))]
    timeout_minutes: Option<f64>,
    /// Lower limits, such as `64MiB` for `memory`.
    #[serde(default)]
    limits: BTreeMap<String, String>,
    /// Record requests, so that interrupted attempts continue.
    #[serde(default)]
    journal: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Values of variables of `[vars]`.
    #[serde(default)]
    set: BTreeMap<String, String>,
    /// Number of bad trials, or their share of all trials, that ends the run. 0 for no limit.
    #[schemars(range(min = 0, max = MAX_EXACT))]
    fail_fast: Option<f64>,
    /// Run only trials whose newest result is not passed.
    #[serde(default)]
    last_failed: bool,
    /// Run only the first N selected tests.
    #[schemars(range(min = 1, max = u32::MAX))]
    first: Option<u32>,
    /// Run only N selected tests, chosen by the seed.
    #[schemars(range(min = 1, max = u32::MAX))]
    sample: Option<u32>,
    /// Name of the run's folder. A run in it is continued.
    into: Option<String>,
    #[serde(flatten)]
    options: QueueOptions,
}

/// Options of a start in the queue.
#[derive(Serialize, Deserialize, JsonSchema)]
struct QueueOptions {
    /// Wait in the queue until there is room.
    #[serde(default)]
    queue: bool,
    /// Requests with a greater priority come first. Needs `queue`.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    priority: Option<i64>,
    /// Pause runs of lower priority. Needs `queue`.
    #[serde(default)]
    preempt: bool,
    /// An id that the client chooses. A further request with the same id and body starts nothing, and one with another body
    /// is refused.
    request: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// Trials to run again: `failed`, `errors`, `all`, a glob or a filter.
    rerun: Option<String>,
    /// Use the current files of the scenario, and run changed trials again.
    #[serde(default)]
    accept_changes: bool,
    /// Continue a cancelled run.
    #[serde(default)]
    force: bool,
    /// Budgets by metric.
    #[serde(default)]
    #[schemars(extend("additionalProperties" = {
        "type": "number",
        "minimum": Budgets::LEAST,
        "maximum": f64::MAX,
    }))]
    budget: BTreeMap<String, f64>,
    #[schemars(range(min = 1, max = MAX_JOBS))]
    jobs: Option<u32>,
    /// Return the trials that would run, and run nothing.
    #[serde(default)]
    dry_run: bool,
    #[serde(flatten)]
    options: QueueOptions,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rescore {
    /// Path of a scenario with the expectations, relative to a folder of the server. By default, the run's own.
    scenario: Option<String>,
    /// Leave trials that graders judge as they are.
    #[serde(default)]
    no_graders: bool,
    /// A filter of the trials to judge.
    filter: Option<String>,
    #[schemars(range(min = 1, max = MAX_JOBS))]
    jobs: Option<u32>,
    /// Return the changes, and change nothing.
    #[serde(default)]
    dry_run: bool,
    #[serde(flatten)]
    options: QueueOptions,
}

impl QueueOptions {
    /// Fails if an option of the queue is set without it.
    fn check(&self) -> Result<()> {
        let set = [("priority", self.priority.is_some()), ("preempt", self.preempt)];
        match set.iter().find(|(_, is_set)| *is_set && !self.queue) {
            Some((key, _)) => Err(HttpProblem::invalid(&format!("`{key}` needs `queue`"))
                .with_help("to let it wait in the queue, send `\"queue\": true`")),
            None => Ok(()),
        }
    }
}

/// The result of a start.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
enum StartResult {
    Started(Started),
    Queued {
        /// Always [`VERSION`].
        v: u8,
        /// The request that waits.
        queued: Box<QueueEntry>,
    },
}

/// The result of a call that continues a run, or its preview.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SessionResultOr{P}")]
enum SessionResult<P> {
    Preview(P),
    Session(StartResult),
}

fn start(server: &Server, _: &(), body: &Exec) -> Result<HttpAnswer<StartResult>> {
    let words = exec_words(server, body)?;
    launch(server, &words, (body, &body.options), None)
}

fn plan(server: &Server, _: &(), body: &Exec) -> Result<HttpAnswer<PlanDocument>> {
    Ok(preview::plan(&exec_words(server, body)?)?.into())
}

/// Returns the command of a start. It never has `--build`, which starts programs outside of the sandbox.
fn exec_words<'a>(server: &'a Server, body: &Exec) -> Result<CommandWords<'a>> {
    body.options.check()?;
    let scenario = scenarios::find(server, &body.scenario)?;
    let mut words = CommandWords::new(server, "exec", &scenario);
    words.add_all("test", &body.tests)?;
    words.add_all("exclude", &body.exclude)?;
    words.add_all("provider", &body.providers)?;
    words.add_all("tag", &body.tags)?;
    if let Some(filter) = &body.filter {
        words.add_filter("filter", filter)?;
    }
    words.add_all("repeat", body.repeat)?;
    words.add_all("retries", body.retries)?;
    words.add_all("seed", body.seed)?;
    words.add_jobs(body.jobs)?;
    words.add_all("timeout-minutes", body.timeout_minutes)?;
    words.add_pairs("limit", &body.limits)?;
    words.set("journal", body.journal);
    words.add_pairs("label", &body.labels)?;
    words.add_pairs("set", &body.set)?;
    words.add_all("fail-fast", body.fail_fast)?;
    words.set("last-failed", body.last_failed);
    words.add_all("first", body.first)?;
    words.add_all("sample", body.sample)?;
    if let Some(name) = &body.into {
        // A path would create a run outside of the server's results root.
        if Path::new(name).file_name() != Some(OsStr::new(name)) {
            let problem = HttpProblem::invalid(&format!("invalid name `{name}` in `into`"));
            return Err(problem.with_help("use the name of a folder, without `/`"));
        }
        words.add("into", server.root.path().join(name).to_string_lossy())?;
    }
    Ok(words)
}

fn resume(
    server: &Server,
    path: &RunName,
    body: &Resume,
) -> Result<HttpAnswer<SessionResult<ResumePlan>>> {
    body.options.check()?;
    let run = server.own_run(&path.run)?;
    let manifest = run.manifest()?;
    let mut words = CommandWords::new(server, "resume", run.id());
    // Trials that ended in an error have no verdict, so a resume runs them.
    let has_errors = manifest.status == RunStatus::Completed && manifest.counts.error > 0;
    let rerun = body.rerun.as_deref().or(has_errors.then_some("errors"));
    match rerun {
        // As a glob, it cannot become a filter that names other runs.
        Some(id) if TrialId::parse(id).is_ok() && Filter::parse(id).is_err() => {
            words.add("rerun", id_glob(id))?;
        }
        Some(filter) if Filter::is_filter(filter) => words.add_filter("rerun", filter)?,
        rerun => words.add_all("rerun", rerun)?,
    }
    if body.accept_changes {
        scenarios::check(server, &manifest)?;
    }
    words.set("accept-changes", body.accept_changes);
    words.set("force", body.force);
    words.add_pairs("budget", &body.budget)?;
    words.add_jobs(body.jobs)?;
    if body.dry_run {
        return Ok(SessionResult::Preview(preview::resume(&words)?).into());
    }
    let is_explicit = rerun.is_some() || body.accept_changes;
    check_left(&run, &manifest, body.force, is_explicit)?;
    session(server, &words, (body, &body.options), &run)
}

/// Fails if a resume would run nothing.
fn check_left(run: &RunDir, manifest: &Manifest, is_forced: bool, is_explicit: bool) -> Result<()> {
    match manifest.status {
        RunStatus::Cancelled if !is_forced => {
            let problem = HttpProblem::conflict(&format!("run {} was cancelled", run.id()));
            Err(problem.with_help("to continue it anyway, send `\"force\": true`"))
        }
        RunStatus::Completed if !is_explicit && run.has_all_results(manifest)? => {
            let detail = format!("nothing is left to run in run {}", run.id());
            let help = "to run trials again, send `rerun`";
            Err(HttpProblem::conflict(&detail).with_help(help))
        }
        _ => Ok(()),
    }
}

fn rescore(
    server: &Server,
    path: &RunName,
    body: &Rescore,
) -> Result<HttpAnswer<SessionResult<RescorePlan>>> {
    body.options.check()?;
    let run = server.own_run(&path.run)?;
    let mut words = CommandWords::new(server, "rescore", run.id());
    match &body.scenario {
        Some(scenario) => words.add("scenario", scenarios::find(server, scenario)?)?,
        None => scenarios::check(server, &run.manifest()?)?,
    }
    words.set("no-graders", body.no_graders);
    if let Some(filter) = &body.filter {
        words.add_filter("filter", filter)?;
    }
    words.add_jobs(body.jobs)?;
    if body.dry_run {
        return Ok(SessionResult::Preview(preview::rescore(&words)?).into());
    }
    session(server, &words, (body, &body.options), &run)
}

/// Starts a session of a run.
fn session<P>(
    server: &Server,
    words: &CommandWords<'_>,
    body: (&impl Serialize, &QueueOptions),
    run: &RunDir,
) -> Result<HttpAnswer<SessionResult<P>>> {
    if let Some(holder) = run.holder() {
        let id = run.id().to_owned();
        let root = server.root.path().to_owned();
        return Err(RecordError::Held { run: id, root, holder }.into());
    }
    let started = launch(server, words, body, Some(run))?;
    let document = SessionResult::Session(started.document);
    Ok(HttpAnswer { status: StatusCode::ACCEPTED, ..document.into() })
}

/// Starts a command, or adds it to the queue. `body` is that of the call, with the options in it.
fn launch(
    server: &Server,
    words: &CommandWords<'_>,
    (body, options): (&impl Serialize, &QueueOptions),
    run: Option<&RunDir>,
) -> Result<HttpAnswer<StartResult>> {
    let folder = env::current_dir().map_err(|error| HttpProblem::storage(&error.to_string()))?;
    let folder = folder.to_string_lossy().into_owned();
    let mut request = QueuedRequest::new(words.words(&[])?, folder, actor(None));
    if let Some(id) = &options.request {
        request.id.clone_from(id);
        if !request.has_plain_id() {
            let detail = "`request` needs up to 64 letters, digits, `.`, `_` or `-`";
            return Err(HttpProblem::unprocessable(detail));
        }
        // Without a signature, the same call would not find its run, and start another one.
        if let Some(problem) = server.root.signing_problem() {
            return Err(QueueError::NoKey(problem).into());
        }
    }
    request.run = run.map(|run| run.id().to_owned());
    // Texts and numbers always serialize.
    let call = serde_json::to_vec(&(&request.command[0], &request.run, body)).unwrap_or_default();
    request.body = Some(digest(&call));
    (request.priority, request.preempts) = (options.priority.unwrap_or(0), options.preempt);
    let (status, started) = match queue::start(&server.root, request, options.queue)? {
        Step::Started { started, .. } => (StatusCode::CREATED, started),
        Step::Repeated(started) => (StatusCode::OK, started),
        Step::Queued(queued) => {
            let queued = StartResult::Queued { v: VERSION, queued };
            return Ok(HttpAnswer { status: StatusCode::ACCEPTED, ..queued.into() });
        }
        Step::Refused { error, .. } => return Err(error.into()),
        Step::Postponed { request, error } => {
            // The client has an error, so the request must not start later.
            queue::remove(&server.root, &request.id)?;
            return Err(error.into());
        }
        Step::Busy { runs, .. } => return Err(busy(server, &runs)),
        Step::Idle => return Err(HttpProblem::internal()),
    };
    let location = Some(format!("{BASE}/runs/{}", started.id));
    Ok(HttpAnswer { status, location, document: StartResult::Started(started) })
}

/// Returns the problem of a start while other runs are active.
fn busy(server: &Server, runs: &[String]) -> HttpProblem {
    let run = runs.first().and_then(|run| server.run(run).ok());
    let holder = run.as_ref().and_then(RunDir::holder);
    let detail = match &run {
        Some(run) => format!("run {} is active", run.id()),
        None => "another run is starting".to_owned(),
    };
    let help = "wait until it ends, or let this start wait with `\"queue\": true`";
    let problem = HttpProblem::busy(&detail).waiting_for(runs).with_help(help);
    match holder {
        Some(holder) => problem.held_by(&holder),
        None => problem,
    }
}
