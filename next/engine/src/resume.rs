//! `resume`: goes on with a run that was cut short.

use std::{
    collections::hash_map::Entry,
    io::{self, Read},
    path::Path,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use runner_model::{Places, RunStatus, Stage, provider::PreparedProvider};
use runner_record::{Manifest, NewSession, Owned, PluginCache, RecordError, ResultsRoot, RunDir};
use runner_scenario::{Scenario, Suite, parse_stored};

use crate::{
    Ended, EngineError, Observer, ResumeRequest, RunEvent,
    crew::Early,
    exec::manifest_providers,
    fingerprint::Fingerprints,
    machine::cores,
    plan::Plan,
    plugins::{self, Plugins},
    session::{self, Work},
};

/// Goes on with a run. One that is completed stays as it is.
pub(crate) fn resume(
    early: Early,
    request: &ResumeRequest,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let root = ResultsRoot::existing(&request.session.results)?;
    let dir = match &request.run {
        Some(name) => root.find(name)?,
        None => only_incomplete(&root)?,
    };
    // A run whose process died is claimed in any case, which writes down what became of it.
    let manifest = dir.manifest()?;
    if manifest.status != RunStatus::Running
        && let Some(ended) = ended(manifest, &dir, observer)?
    {
        return Ok(ended);
    }
    let owned = root.claim(&dir)?;
    // Its last process may have ended it meanwhile, or died behind its last row.
    if let Some(ended) = ended(owned.manifest().clone(), &dir, observer)? {
        root.note(&ended.manifest);
        return Ok(ended);
    }
    let plan = stored_plan(&root, &owned, request)?;
    let fold = owned.fold(&*plan.suite)?;
    if fold.damaged() > 0 {
        let lines = fold.damaged();
        observer.event(&RunEvent::Notice(&format!(
            "{lines} lines of index.jsonl are damaged; their trials run again"
        )));
    }
    let session = NewSession {
        writer: "resume",
        command: request.session.command.clone(),
        jobs: plan.jobs,
        timeout: plan.timeout,
        rerun: None,
        pending: None,
        grace: plan.scenario.run.grace.into(),
        fail_fast: plan.fail_fast,
        budgets: plan.given_budgets.clone(),
    };
    let providers = (fold.last_seq() == 0).then(|| manifest_providers(&plan));
    let number = owned.manifest().sessions.len() as u32 + 1;
    let birth = move || reopen(owned, session, providers);
    let work = Work {
        plan,
        fold,
        session: number,
        root,
        compile_seconds: request.session.compile_seconds,
    };
    session::run(early, work, birth, observer)
}

fn reopen(
    mut owned: Owned,
    session: NewSession,
    providers: Option<Vec<runner_record::ManifestProvider>>,
) -> Result<Owned, RecordError> {
    owned.open_session(session)?;
    if providers.is_some() {
        owned.note_stage(Stage::Plan, providers)?;
    }
    Ok(owned)
}

/// The only run of a root that was cut short.
fn only_incomplete(root: &ResultsRoot) -> Result<RunDir, EngineError> {
    let runs = root.runs()?.runs;
    let is_open = |run: &&Manifest| run.status == RunStatus::Incomplete;
    let open: Vec<_> = runs
        .iter()
        .filter(is_open)
        .map(|run| run.id.as_str())
        .collect();
    match open.as_slice() {
        [run] => Ok(root.find(run)?),
        [] => Err(EngineError::Usage(format!(
            "no run in {} is incomplete; `runner list` shows all runs, and `runner resume RUN` takes one of them",
            root.path().display()
        ))),
        several => Err(EngineError::Usage(format!(
            "{} runs are incomplete; name one of them:\n  runner resume {}",
            several.len(),
            several.join("\n  runner resume ")
        ))),
    }
}

/// What there is to say of a run that cannot go on.
fn ended(
    manifest: Manifest,
    dir: &RunDir,
    observer: &mut dyn Observer,
) -> Result<Option<Ended>, EngineError> {
    match manifest.status {
        RunStatus::Completed => {
            let notice = format!("run {} is completed; nothing is left to do", manifest.id);
            observer.event(&RunEvent::Notice(&notice));
            observer.event(&RunEvent::Finished {
                manifest: &manifest,
                took: Duration::ZERO,
            });
            Ok(Some(Ended {
                exit: session::exit_of(&manifest),
                manifest,
                directory: dir.path(),
            }))
        }
        RunStatus::Cancelled => Err(EngineError::Usage(format!(
            "run {} was cancelled; start it anew with `runner exec`",
            manifest.id
        ))),
        RunStatus::Running | RunStatus::Failed | RunStatus::Incomplete => Ok(None),
    }
}

/// The plan as it is stored with the run.
fn stored_plan(
    root: &ResultsRoot,
    owned: &Owned,
    request: &ResumeRequest,
) -> Result<Plan, EngineError> {
    let manifest = owned.manifest();
    let text = owned.dir().scenario()?;
    let mut scenario = parse_stored(&text, &manifest.scenario).map_err(EngineError::Scenario)?;
    let cache = PluginCache::open()?;
    let content = stored(root.content(&manifest.metadata.suite))?;
    let suite =
        Suite::open(content, &scenario.providers).map_err(|source| unreadable(root, source))?;
    if suite.trials() != manifest.metadata.planned_trial_count {
        let source = io::Error::other("the stored tests are not those of the run");
        return Err(unreadable(root, source).into());
    }
    // A run that never got so far that a plugin ran may have failed for a plugin that was repaired since then.
    let (providers, plugins) = if manifest.status == RunStatus::Failed {
        let folder = Path::new(&manifest.scenario_path).parent();
        let seconds = request.session.compile_seconds;
        let folder = folder.unwrap_or(Path::new("/"));
        plugins::find(&scenario, folder, &cache, seconds)?
    } else {
        stored_plugins(root, manifest, &scenario)?
    };
    let last = manifest.sessions.last();
    let jobs = request.session.jobs.or(last.map(|session| session.jobs));
    let before = last.map(|session| Duration::from_millis(session.timeout_ms));
    let grace = last.map(|session| Duration::from_millis(session.grace_ms));
    if let Some(grace) = request.session.grace.or(grace) {
        scenario.run.grace = grace.into();
    }
    let fail_fast = request
        .session
        .fail_fast
        .or(last.map(|session| session.fail_fast));
    let mut given_budgets = last.map_or_else(Default::default, |session| session.budgets.clone());
    given_budgets.extend(&request.session.budgets);
    Ok(Plan {
        prints: Fingerprints::new(&providers, scenario.run.seed),
        jobs: jobs.unwrap_or_else(cores).max(1),
        timeout: request
            .session
            .timeout
            .or(before)
            .unwrap_or(scenario.timeout),
        fail_fast: fail_fast.unwrap_or(scenario.run.fail_fast),
        given_budgets,
        suite: Rc::new(suite),
        scenario,
        providers,
        plugins,
        cache,
    })
}

fn unreadable(root: &ResultsRoot, source: io::Error) -> RecordError {
    RecordError::Io {
        what: "read the stored tests and plugins in",
        path: root.path().to_owned(),
        source,
    }
}

/// The plugins as they are stored.
fn stored_plugins(
    root: &ResultsRoot,
    manifest: &Manifest,
    scenario: &Scenario,
) -> Result<(Vec<PreparedProvider>, Plugins), EngineError> {
    let (mut prepared, mut plugins) = (Vec::new(), Plugins::new());
    for provider in &scenario.providers {
        let stored = manifest.providers.iter();
        let mut stored = stored.filter(|stored| stored.name == *provider.name);
        let stored = stored.next().ok_or_else(|| {
            let source = io::Error::other(format!("there is no provider `{}`", provider.name));
            unreadable(root, source)
        })?;
        if let Entry::Vacant(entry) = plugins.entry(stored.digest) {
            let mut bytes = Vec::new();
            self::stored(root.content(&stored.digest))?
                .read_to_end(&mut bytes)
                .map_err(|source| unreadable(root, source))?;
            entry.insert(Arc::new(bytes.into()));
        }
        prepared.push(PreparedProvider {
            provider: provider.clone(),
            digest: stored.digest,
            kind: stored.kind,
        });
    }
    Ok((prepared, plugins))
}

/// A content that is damaged or gone is not the disk's fault: nothing was changed, and another try changes nothing.
fn stored<T>(content: Result<T, RecordError>) -> Result<T, EngineError> {
    content.map_err(|error| EngineError::Usage(error.to_string()))
}
