//! Plans a scenario from its files, and describes a plan for a manifest.

use std::collections::{BTreeSet, HashSet};
use std::{fs::File, path::Path, sync::Arc};

use runner_model::visible::quoted;
use runner_model::{
    Places as _, Time, digest,
    grants::{NetGrant, is_secret_name},
    provider::{PreparedProvider, Provider},
    units::{grouped, show_sizes_apart},
};
use runner_prepare::{ContentSource, development, machine, plugins};
use runner_record::{ManifestProvider, Metadata, PluginCache, now};
use runner_scenario::{
    GrantsToml, Problems, Scenario, Selection, Suite, load, load_selected, resolve_selected,
    unseen_values, written_name,
};
use serde_json::Value;

use super::{
    known::known_failures, list_plugins::build_advice, list_plugins::make_records, plan::Plan,
    weak_checks::weak_checks,
};
use crate::{EngineError, error::machine_error};

/// Plans a scenario for a new run. Returns its suite in an unnamed file, too. Writes to the plugin cache only.
pub(crate) fn load_plan(path: &Path, selection: &Selection) -> Result<(Plan, File), EngineError> {
    load_plan_at(path, selection, now(), &|_| Ok(()))
}

/// Plans a scenario as [`load_plan`] does, for a run that was made at `made_at`. `check` may refuse it before its plugins run.
pub(crate) fn load_plan_at(
    path: &Path,
    selection: &Selection,
    made_at: Time,
    check: &dyn Fn(&Scenario) -> Result<(), EngineError>,
) -> Result<(Plan, File), EngineError> {
    let loaded = match selection.is_some() {
        true => load_selected(path, selection),
        false => load(path, &selection.selected.overrides),
    };
    let mut scenario = loaded.map_err(EngineError::Scenario)?;
    let mut notices = scenario.override_by(&selection.selected.overrides);
    let mut workspaces = scenario.providers.iter().filter(|one| one.workspace.is_some());
    if let Some(provider) = workspaces.find(|one| one.limits.scratch == 0) {
        return Err(EngineError::Usage(format!(
            "`--limit scratch=0` leaves no room for the workspace of provider `{}`",
            provider.name
        )));
    }
    check(&scenario)?;
    notices.extend(make_records(&mut scenario, selection)?);
    let all = &scenario.providers;
    let used: HashSet<_> = all.iter().flat_map(|caller| caller.tools(all.iter())).collect();
    let unused = (0..all.len()).filter(|place| all[*place].tool.is_some() && !used.contains(place));
    let unused = unused.map(|place| format!("nothing is granted the tool `{}`", all[place].name));
    notices.extend(unused.filter(|_| !selection.is_some()));
    let cache = PluginCache::open()?;
    let resolved = match resolve(&mut scenario, selection, &cache)? {
        // The selected providers are unknown.
        Err(problems) if selection.is_some() => return Err(EngineError::Scenario(problems)),
        resolved => resolved,
    };
    if resolved.as_ref().is_ok_and(|(suite, _)| suite.trials() == 0) {
        return Err(nothing_selected(&scenario, path, selection));
    }
    EngineError::check(scenario.missing_files())?;
    EngineError::check(scenario.gate_problems())?;
    let (providers, plugins, mut found) =
        plugins::find(&scenario.providers, &scenario.folder, &cache)?;
    for problem in found.iter_mut().filter(|problem| problem.key == "plugin") {
        let provider = &scenario.providers[usize::from(problem.provider)];
        problem.help = build_advice(&scenario, provider).or(problem.help.take());
    }
    let (suite, file) = match resolved {
        Ok(resolved) if found.is_empty() => resolved,
        resolved => {
            let mut problems = resolved.err().unwrap_or_default();
            problems.extend(scenario.provider_problems(&found));
            return Err(EngineError::Scenario(problems));
        }
    };
    let known = known_failures(&scenario, &suite, selection.is_some(), made_at)?;
    if let (true, Some(shard)) = (suite.is_adaptive(), selection.selected.shard) {
        return Err(EngineError::Usage(format!(
            "`--shard {shard}` cannot divide tests with `repeat = {{ min, max, width }}`: all repeats of a test decide how many it needs\nrun them on several machines with `--broker`, or set their number with `--repeat`"
        )));
    }
    let suite = suite.of_shard(selection.selected.shard).map_err(machine_error)?;
    let mut blobs = ContentSource::of_suite(&suite);
    let files = scenario.providers.iter().flat_map(|provider| &provider.files);
    blobs.extend(&ContentSource::from_files(files, &scenario.folder));
    let unmatched = scenario.unmatched_of_several(selection);
    notices.extend(unmatched.others);
    if !selection.is_some() {
        let graders = scenario.providers.iter().filter(|provider| provider.grading.is_some());
        let unused = graders.filter(|grader| !suite.graders().contains(&*grader.name));
        notices.extend(
            unused.map(|one| format!("no test names grader `{}` in `expect.graders`", one.name)),
        );
    }
    // Providers of a matrix share them.
    let mut unseen = HashSet::new();
    for (index, prepared) in (0..).zip(&providers) {
        let values = unseen_values(prepared, suite.has_only_input(index));
        notices.extend(values.into_iter().filter(|value| unseen.insert(value.clone())));
    }
    notices.extend(unchecked(&suite, &providers));
    notices.extend(weak_checks(&suite, &providers, &blobs)?);
    let mut ungranted: Vec<_> = scenario.providers.iter().filter_map(ungranted_server).collect();
    // Providers of a matrix get their grants by one table.
    ungranted.dedup();
    notices.extend(ungranted);
    notices.extend(too_large_memory(&scenario));
    let mut plan = Plan::new(scenario, suite, providers, plugins, blobs, cache);
    plan.set_known(known, &mut notices)?;
    (plan.notices, plan.unmatched_words) = (notices, unmatched.words);
    Ok((plan, file))
}

/// Resolves the selected tests. Files of bases are read only if they have changed.
///
/// # Errors
///
/// No temporary file can be created. The inner error is that of the scenario.
pub(crate) fn resolve(
    scenario: &mut Scenario,
    selection: &Selection,
    cache: &PluginCache,
) -> Result<Result<(Suite, File), Problems>, EngineError> {
    resolve_selected(scenario, selection, Arc::new(cache.clone()), tempfile::tempfile)
        .map_err(|error| EngineError::Machine(machine::no_temporary_file(&error)))
}

/// Returns a message about each provider that may use more memory than all attempts of a run have together.
fn too_large_memory(scenario: &Scenario) -> impl Iterator<Item = String> {
    let memory = scenario.run.memory.unwrap_or_else(machine::memory);
    let all = scenario.providers.iter();
    let limits = all.clone().map(move |provider| (provider, provider.tool_memory(all.clone())));
    limits.filter_map(move |(provider, of_tool)| {
        let limit = provider.limits.memory.saturating_add(of_tool);
        if limit <= memory {
            return None;
        }
        let [limit, memory] = show_sizes_apart(limit, memory);
        let with_tool = if of_tool > 0 { " with that of its largest tool" } else { "" };
        let (role, name) = (provider.role(), &provider.name);
        Some(format!(
            "`limits.memory` of {role} `{name}`{with_tool} is {limit}, but all attempts of a run have {memory} together"
        ))
    })
}

/// Returns the error of a selection that matches no test, with the reasons.
fn nothing_selected(scenario: &Scenario, path: &Path, selection: &Selection) -> EngineError {
    let missing = scenario.optional_files();
    let is_optional = missing.iter().map(|file| format!("{file}, and its list is optional"));
    let unmatched = scenario.unmatched(selection);
    let mut reasons: Vec<_> = is_optional.chain(unmatched.words).chain(unmatched.others).collect();
    if reasons.len() == missing.len() {
        let given = [
            ("--test", !selection.selected.tests.is_empty()),
            ("--exclude", !selection.selected.exclude.is_empty()),
            ("--provider", !selection.selected.providers.is_empty()),
            ("--tag", !selection.selected.tags.is_empty()),
            ("--last-failed", selection.only.is_some()),
        ];
        let given = given.iter().filter(|(_, is_given)| *is_given);
        let mut given: Vec<_> = given.map(|(flag, _)| format!("`{flag}`")).collect();
        given.extend(
            selection.filter.iter().map(|filter| format!("the filter `{}`", filter.text())),
        );
        reasons.push(match given.as_slice() {
            [] => "`select` and `exclude` of the test lists leave out all tests".to_owned(),
            given => format!("every test is left out by {}", given.join(" or ")),
        });
    }
    let path = path.to_string_lossy();
    reasons.push(format!("list all trials: runner exec --dry-run {}", quoted(&path)));
    EngineError::NothingSelected(reasons)
}

/// Returns a note if tests have no expectation. Those on plain commands alone do not count: an exit code other than 0 fails them.
fn unchecked(suite: &Suite, providers: &[PreparedProvider]) -> Option<String> {
    let tests = match suite.unchecked(|provider| !providers[usize::from(provider)].is_plain())? {
        (1, id) => format!("test `{id}` has no expectation"),
        (count, id) => format!("{} tests have no expectation, such as `{id}`", grouped(count)),
    };
    Some(format!("{tests}: any output passes, unless the plugin itself fails it"))
}

/// Returns a warning if a bundled plugin has no grant for its server, which its description cannot request: the configuration
/// names it.
fn ungranted_server(provider: &Provider) -> Option<String> {
    let vendor = model_vendor(provider);
    if vendor.is_none() && provider.plugin != "bundled:http" {
        return None;
    }
    let default = vendor.map(|(server, _)| server);
    let grants = &provider.grants.net;
    let url = provider.config.get("base_url").and_then(Value::as_str).or(default);
    let server = match url.map(|url| url.split('/').take(3).collect::<Vec<_>>().join("/")) {
        Some(server) => {
            let needed = NetGrant::parse(&server).ok()?;
            if grants.iter().any(|grant| grant.covers(&needed)) {
                return None;
            }
            server
        }
        None if !grants.is_empty() => return None,
        None => "https://SERVER".to_owned(),
    };
    let mut wanted = GrantsToml::from(&provider.grants);
    wanted.add(&format!("net = [\"{server}\"]"));
    let is_missing = |name: &&String| !provider.grants.secret_names().contains(&***name);
    for name in sent_secrets(provider).iter().filter(is_missing) {
        wanted.add(&format!("secrets = [\"{name}\"]"));
    }
    let role = provider.role();
    let table = wanted.proposal(provider.table(), &provider.name);
    let name = written_name(&provider.name);
    let table = table.join("\n");
    Some(format!(
        "{role} `{name}` is not granted requests to its server; add to the scenario:\n{table}"
    ))
}

/// Returns the default server and the default secret of a bundled plugin for models. `None` for other
/// plugins.
fn model_vendor(provider: &Provider) -> Option<(&'static str, &'static str)> {
    let is_model = matches!(&*provider.plugin, "bundled:agent" | "bundled:chat");
    let api = provider.config.get("api").and_then(Value::as_str);
    is_model.then_some(match api {
        Some("anthropic") => ("https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        _ => ("https://api.openai.com", "OPENAI_API_KEY"),
    })
}

/// Returns the names of the secrets that a bundled plugin sends to its server by its configuration.
fn sent_secrets(provider: &Provider) -> BTreeSet<String> {
    let key = provider.config.get("api_key_secret").and_then(Value::as_str);
    let key = key.or_else(|| Some(model_vendor(provider)?.1));
    let config = provider.config.to_string();
    let headers = config.split("{{secret.").skip(1);
    let headers = headers.filter_map(|rest| Some(rest.split_once("}}")?.0));
    key.into_iter().chain(headers).filter(|name| is_secret_name(name)).map(str::to_owned).collect()
}

/// Returns counts and digests of a plan. The caller sets the selection.
pub(crate) fn metadata(plan: &Plan) -> Metadata {
    Metadata {
        planned_test_count: plan.suite.trials(),
        planned_trial_count: plan.suite.trials(),
        suite: plan.suite.digest(),
        blobs: plan.blobs.list().map(|list| digest(list.as_bytes())),
        scenario_sha256: digest(plan.scenario.text.as_bytes()),
        runner_version: env!("CARGO_PKG_VERSION").to_owned(),
        selection: Default::default(),
        vars: plan.scenario.vars.clone(),
        has_gate: plan.scenario.gate.is_some() || plan.known.list().strict_entries,
        has_adaptive_repeats: plan.suite.is_adaptive(),
        random_recipe: plan.random_recipe,
    }
}

/// Returns the providers for a manifest, without the descriptions of their plugins.
pub(crate) fn manifest_providers(plan: &Plan) -> Vec<ManifestProvider> {
    let providers = plan.providers.iter().map(|prepared| ManifestProvider {
        name: prepared.provider.name.to_string(),
        is_grader: prepared.provider.grading.is_some(),
        is_tool: prepared.provider.tool.is_some(),
        plugin: prepared.provider.plugin.clone(),
        digest: prepared.digest,
        is_development: development::is_development(&plan.cache, &prepared.digest),
        kind: prepared.kind,
        limits: prepared.provider.limits.clone(),
        grants: prepared.provider.grants.clone(),
        mounts: prepared.mounts.clone(),
        description: None,
    });
    providers.collect()
}
