//! `validate` and `exec --dry-run`: checks that need the plugins of a scenario.

use std::path::{Path, PathBuf};

use runner_model::provider::{PluginKind, Provider};
use runner_model::{
    Places as _, ScenarioOverrides, Selected, SetVars, TrialId, prepare::Ready, units::grouped,
    visible::shown_path,
};
use runner_record::{Fold, ResultsRoot};
use runner_scenario::{GoldenFiles, Problems, ProviderProblem};

use crate::calls::Probe;
use crate::plan::{Checks, Ids, Plan, access_of, load_plan, manifest_providers, provider_problems};
use crate::session::selected_plan;
use crate::workers::{PrestartedWorker, prestart};
use crate::{EngineError, ExecRequest, Preview, error::machine_error, signals};

/// Checks a scenario with its lists, loads its plugins in a worker, and checks all configurations and inputs there. Writes
/// to the plugin cache only.
///
/// # Errors
///
/// All problems of the scenario, or a worker that fails.
pub fn validate(
    scenario: &Path,
    set: &SetVars,
    secret_files: &[PathBuf],
) -> Result<Preview, EngineError> {
    let prestarted = prestart()?;
    let overrides = ScenarioOverrides { vars: set.clone(), ..ScenarioOverrides::default() };
    let selected = Selected { overrides, ..Selected::default() };
    let (mut plan, _suite) = load_plan(scenario, &selected.into())?;
    let mut problems = plan.find_folders(secret_files, None);
    problems.extend(read_secrets(&mut plan, secret_files)?);
    let (ready, of_plugins) = plugin_problems(prestarted, &plan)?;
    problems.extend(of_plugins);
    EngineError::check(problems)?;
    let mut preview = preview(&plan, ready)?;
    preview.notices.extend(golden_files(&plan));
    Ok(preview)
}

/// Returns notices about golden files that are missing, and about those that no test uses.
fn golden_files(plan: &Plan) -> impl Iterator<Item = String> {
    let GoldenFiles { missing, unused } = plan.scenario.golden_files();
    let named = |files: Vec<String>, verb: &str, after: &str| {
        let first = files.first()?;
        Some(match files.len() as u64 {
            1 => format!("golden file `{first}` is {verb}{after}"),
            count => {
                format!("{} golden files are {verb}, such as `{first}`{after}", grouped(count))
            }
        })
    };
    let missing = named(missing, "missing", "; to write it after a run: runner accept");
    missing.into_iter().chain(named(unused, "used by no test", ""))
}

/// Loads the plugins of a plan in a worker, and checks all configurations and inputs there.
pub(crate) fn plugin_problems(
    prestarted: PrestartedWorker,
    plan: &Plan,
) -> Result<(Ready, Problems), EngineError> {
    let (mut probe, ready, of_plugins) = describe(prestarted, plan)?;
    let mut problems = plan.scenario.provider_problems(&of_plugins);
    if of_plugins.is_empty() {
        problems.extend(check(plan, Checks::for_all_tests(&ready, plan), &mut probe)?);
    }
    signals::pass("checked");
    Ok((ready, problems))
}

/// Previews [`exec`](crate::exec): calls `head` with the run's providers and grants, then `each` for every trial in the order
/// of the plan. Writes to the plugin cache only. Secrets need no value.
///
/// # Errors
///
/// Errors that `exec` would return before the first trial, or a folder that holds a run.
pub fn preview_exec(
    request: &ExecRequest,
    head: &mut dyn FnMut(&Preview),
    each: &mut dyn FnMut(&TrialId),
) -> Result<(), EngineError> {
    if let Some(name) = &request.folder
        && request.session.results.exists()
        && let Some(there) = ResultsRoot::existing(&request.session.results)?.run_in(name)?
    {
        return Err(EngineError::Usage(format!(
            "{} holds a run, which `exec --into` would continue\nto list its remaining trials: {}",
            shown_path(&there.path()),
            there.command("resume", &["--dry-run"])
        )));
    }
    let prestarted = prestart()?;
    let (mut plan, _suite) = selected_plan(request)?;
    let session = &request.session;
    let mut problems = plan.find_folders(&session.secret_files, Some(&session.results));
    // The preview lists secrets without a value instead of failing.
    read_secrets(&mut plan, &session.secret_files)?;
    let (mut probe, ready, of_plugins) = describe(prestarted, &plan)?;
    problems.extend(plan.scenario.provider_problems(&of_plugins));
    if of_plugins.is_empty() {
        let checks = Checks::from_descriptions(&ready, &plan);
        problems.extend(check(&plan, checks, &mut probe)?);
    }
    EngineError::check(problems)?;
    plan.check_room(&Fold::new(plan.suite.trials()))?;
    // From here on a signal ends the process, also if nothing reads the output.
    drop(probe);
    let overrides = request.selection.overrides.clone();
    head(&Preview { overrides, ..preview(&plan, ready)? });
    let mut ids = Ids::new(&plan.suite, &plan.scenario.providers);
    for trial in 0..plan.suite.trials() {
        each(&ids.trial(trial).map_err(machine_error)?);
    }
    Ok(())
}

/// Reads the secrets of a plan. Those without a value become empty, so that templates can be filled in. Otherwise one missing
/// secret would be reported for each test.
pub(crate) fn read_secrets(
    plan: &mut Plan,
    secret_files: &[PathBuf],
) -> Result<Problems, EngineError> {
    let problems = plan.read_secrets(secret_files)?;
    let missing = plan.secrets.missing.iter().map(|(_, name)| (name.clone(), String::new()));
    plan.secrets.values.0.extend(missing);
    Ok(problems)
}

/// Runs checks in the worker.
fn check(plan: &Plan, mut checks: Checks, probe: &mut Probe) -> Result<Problems, EngineError> {
    loop {
        let filled = checks.fill(plan, |_| true, |task, line| probe.assign(task, line));
        filled.map_err(machine_error)?;
        if checks.is_done(plan) {
            return Ok(checks.problems(plan));
        }
        let report = probe.next_report();
        let (head, body) = report.map_err(|error| error.into_error("inputs were checked"))?;
        checks.receive(&head, &body);
    }
}

fn preview(plan: &Plan, ready: Ready) -> Result<Preview, EngineError> {
    let mut providers = manifest_providers(plan);
    let mut access = access_of(&plan.scenario, plan.scenario.path(), &providers);
    access.extend(plan.workspaces()?);
    for about in ready.providers {
        if let Some(provider) = providers.get_mut(usize::from(about.provider)) {
            provider.description = about.description;
        }
    }
    let missing = plan.secrets.missing.iter().map(|(_, name)| name.clone());
    Ok(Preview {
        scenario: plan.scenario.name.clone(),
        jobs: plan.settings.jobs,
        tests: plan.suite.tests(),
        trials: plan.suite.trials(),
        overrides: ScenarioOverrides::default(),
        providers,
        access,
        missing_secrets: missing.collect(),
        notify: plan.scenario.notify.clone(),
        notices: plan.notices.iter().cloned().chain(unused_journals(plan)).collect(),
    })
}

/// Returns a sentence about the providers whose guests can read a secret that responses may contain: their journals would lack
/// it. `None` without such providers.
fn unused_journals(plan: &Plan) -> Option<String> {
    let mut readers = plan.providers.iter().filter(|one| {
        let Provider { deterministic, grants, .. } = &one.provider;
        let has_get = one.kind == PluginKind::Component && !grants.secrets.is_empty();
        deterministic.is_some_and(|run| run.journal.is_some())
            && !grants.net.is_empty()
            && (has_get || !grants.secrets_in_env().is_empty())
    });
    let first = &readers.next()?.provider;
    let (role, name) = (first.role(), &first.name);
    let who = match readers.count() {
        0 => format!("{role} `{name}` can read a secret"),
        others => format!("{} providers, such as `{name}`, can read secrets", others + 1),
    };
    Some(format!(
        "{who}: after a response with its value, an interrupted attempt does not continue, but starts anew"
    ))
}

/// Starts a worker that loads the plugins of a plan. Returns their descriptions and problems.
pub(crate) fn describe(
    prestarted: PrestartedWorker,
    plan: &Plan,
) -> Result<(Probe, Ready, Vec<ProviderProblem>), EngineError> {
    let supplies = plan.supplies("validate", 1, None);
    let mut probe = Probe::start(prestarted, supplies)?;
    let ready = probe.describe(&mut |_| ());
    let ready = ready.map_err(|error| error.into_error("plugins described themselves"))?;
    let problems = provider_problems(plan, &ready);
    Ok((probe, ready, problems))
}
