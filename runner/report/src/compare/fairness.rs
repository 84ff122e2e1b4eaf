//! Differences between two runs that make a comparison unfair.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use runner_model::units::{grouped, plural};
use runner_model::{Limits, RunStatus, status::RunVerdict, visible::shown_path};
use runner_record::{Manifest, ManifestProvider, RunDir};
use runner_results::{Side, pairs};

use crate::{failures, list::short_id};

/// Names in a list.
const MAX_NAMES: usize = 5;

/// Returns the reason why results of a run may be missing. `None` for a run with all of them.
pub(crate) fn incomplete(run: &RunDir, manifest: &Manifest) -> Option<String> {
    let done = manifest.counts.done();
    let planned = manifest.counts.needed_of(manifest.metadata.planned_trial_count);
    if manifest.verdict == RunVerdict::Damaged {
        Some(format!("is damaged, and results may be missing: {}", run.command("verify", &[])))
    } else if manifest.status == RunStatus::Running {
        Some("is running".to_owned())
    } else if done < planned || manifest.status != RunStatus::Completed {
        let trials = plural(planned, "trial has a result", "trials have results");
        Some(format!("is incomplete: {} of {trials}", grouped(done)))
    } else {
        None
    }
}

/// Returns sentences about differences of the runs, missing results first. `providers` are those that are compared with each
/// other.
pub(crate) fn cautions(
    manifests: [&Manifest; 2],
    incomplete: &[Option<String>; 2],
    sides: [&Side; 2],
    providers: Option<&[String; 2]>,
) -> Vec<String> {
    let [base, new] = manifests;
    let mut cautions = Vec::new();
    let names: &[_] = if base.id == new.id { &["the run"] } else { &["base", "new"] };
    for (name, incomplete) in iter::zip(names, incomplete) {
        cautions.extend(incomplete.iter().map(|reason| format!("{name} {reason}")));
    }
    let replayed = manifests.map(|manifest| manifest.metadata.selection.replayed());
    for (index, (name, manifest)) in iter::zip(names, manifests).enumerate() {
        if manifest.metadata.selection.is_part() {
            cautions.push(format!("{name} ran only selected tests"));
        }
        if let Some(run) = replayed[index] {
            // A replay waits for no response and no sleep.
            let is_other_real = replayed[1 - index].is_none();
            let durations = if is_other_real { ", so durations may differ" } else { "" };
            cautions.push(format!("{name} is a replay of {}{durations}", short_id(run)));
        }
    }
    if base.scenario_path != new.scenario_path {
        let [base, new] = [base, new].map(|run| shown_path(run.scenario_path.as_ref()));
        cautions.push(format!("the scenarios are different files: {base} and {new}"));
    }
    if let [base, new] = &[base, new].map(hosts)
        && base != new
    {
        cautions
            .push(format!("the machines are different, so durations may differ: {base} and {new}"));
    }
    let keys: BTreeSet<_> = base.metadata.vars.keys().chain(new.metadata.vars.keys()).collect();
    for key in keys {
        let values = [base, new].map(|run| run.metadata.vars.get(key));
        if values[0] != values[1] {
            let [base, new] =
                values.map(|value| value.map_or("no value".into(), |value| value.to_string()));
            cautions.push(format!("the variable `{key}` has changed: {base}, then {new}"));
        }
    }
    for (index, name) in (0..2).zip(names.iter().cycle()) {
        let forms = development_forms(manifests, index, providers);
        cautions
            .extend(named(&format!("{name} used the development form of these providers"), &forms));
    }
    if providers.is_none() {
        let changed = changed_plugins(base, new);
        cautions.extend(named("the plugins of these providers have changed", &changed));
        cautions.extend(changed_tests(manifests, &changed, sides));
    }
    cautions
}

/// Returns the names of the machines that a run has run on.
pub(crate) fn hosts(run: &Manifest) -> String {
    let hosts: BTreeSet<_> = run.sessions.iter().map(|session| &*session.host).collect();
    hosts.into_iter().collect::<Vec<_>>().join(", ")
}

/// Returns the names of providers and graders whose plugin has other bytes.
fn changed_plugins<'a>(base: &Manifest, new: &'a Manifest) -> Vec<&'a str> {
    let changed = new.providers.iter().filter(|new| {
        base.providers.iter().any(|base| base.name == new.name && base.digest != new.digest)
    });
    changed.map(|provider| &*provider.name).collect()
}

/// Returns the names of the providers of a run with the development form of a plugin, whose final form the other run used.
fn development_forms<'a>(
    manifests: [&'a Manifest; 2],
    index: usize,
    providers: Option<&[String; 2]>,
) -> Vec<&'a str> {
    let [own, other] = [manifests[index], manifests[1 - index]];
    let forms = own.providers.iter().filter(|provider| provider.is_development);
    let forms = forms.filter(|provider| {
        let counterpart = match providers {
            None => &provider.name,
            Some(names) if names[index] == provider.name => &names[1 - index],
            Some(_) => return false,
        };
        other.providers.iter().any(|other| other.name == *counterpart && !other.is_development)
    });
    forms.map(|provider| &*provider.name).collect()
}

fn named(words: &str, names: &[&str]) -> Option<String> {
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(|name| (*name).to_owned()).collect();
    let names = failures::named(&shown, names.len() as u64);
    (!shown.is_empty()).then(|| format!("{words}: {names}"))
}

/// Counts results whose fingerprints or numbers of repeats have changed. A changed plugin changes all fingerprints.
fn changed_tests(manifests: [&Manifest; 2], plugins: &[&str], sides: [&Side; 2]) -> Vec<String> {
    let new = manifests[1];
    // Results and names of providers, by the parts that differ.
    let mut executions = BTreeMap::<_, (u64, BTreeSet<_>)>::new();
    let parts: Vec<_> =
        new.providers.iter().map(|provider| changed_parts(manifests, provider)).collect();
    let mut judgements = 0;
    let mut repeats = 0;
    for [base, now] in pairs(sides[0], sides[1]) {
        let (Some(first), Some(row)) = (base.first(), now.first()) else { continue };
        let [input, judgement] = sides[0].table.fingerprints(first.number);
        let [new_input, new_judgement] = sides[1].table.fingerprints(row.number);
        let provider = new.providers.get(sides[1].table.provider(row.trial));
        let is_plugin = provider.is_some_and(|provider| plugins.contains(&&*provider.name));
        if input != new_input
            && !is_plugin
            && let Some(provider) = provider
        {
            let parts = &parts[sides[1].table.provider(row.trial)];
            let (count, names) = executions.entry(parts).or_default();
            *count += 1;
            names.insert(provider.name.clone());
        }
        judgements += u64::from(judgement != new_judgement);
        repeats += u64::from(base.len() != now.len());
    }
    let counts = [
        (judgements, "other expectations or graders".to_owned()),
        (repeats, "another number of repeats".to_owned()),
    ];
    let executions = executions.into_iter().map(|(parts, (count, names))| {
        let all = names.len() as u64;
        let names: Vec<_> = names.into_iter().take(MAX_NAMES).collect();
        (count, format!("{parts}: {}", failures::named(&names, all)))
    });
    let counts = executions.chain(counts).filter(|(count, _)| *count > 0);
    counts
        .map(|(count, words)| format!("{} {words}", plural(count, "result has", "results have")))
        .collect()
}

/// Names the parts of a provider that differ, apart from its plugin. Manifests have neither inputs nor configurations.
fn changed_parts([base, new]: [&Manifest; 2], provider: &ManifestProvider) -> String {
    let before = base.providers.iter().find(|other| other.name == provider.name);
    let differs = |differs: fn([&ManifestProvider; 2]) -> bool| {
        before.is_some_and(|before| differs([before, provider]))
    };
    let has_other_tools = provider.grants.tools.iter().any(|name| {
        let [before, now] = [base, new].map(|run| {
            let tool = run.providers.iter().find(|tool| tool.is_tool && tool.name == *name)?;
            Some((tool.digest, &tool.limits, &tool.grants, &tool.mounts))
        });
        before != now
    });
    let parts = [
        ("limits", differs(|of| have_other_limits(of.map(|provider| &provider.limits)))),
        ("grants", differs(|[before, now]| before.grants != now.grants)),
        (
            "granted files",
            differs(|of| {
                let [before, now] =
                    of.map(|provider| provider.mounts.iter().map(|folder| folder.content.as_ref()));
                !before.eq(now)
            }),
        ),
        ("tools", has_other_tools),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect();
    if !parts.is_empty() {
        format!("other {}", parts.join(" and "))
    } else if base.metadata.suite == new.metadata.suite {
        "another configuration or seed".to_owned()
    } else {
        "another input, configuration or seed".to_owned()
    }
}

fn have_other_limits([before, now]: [&Limits; 2]) -> bool {
    let mut deciding = Limits::TABLE.iter().filter(|limit| limit.decides_results);
    before.time != now.time
        || before.total_tokens != now.total_tokens
        || before.cost_usd != now.cost_usd
        || deciding.any(|limit| (limit.get)(before) != (limit.get)(now))
}
