//! Differences between two runs that make a comparison unfair.

use std::collections::BTreeSet;
use std::iter;

use runner_model::status::RunVerdict;
use runner_model::units::{grouped, plural};
use runner_model::{RunStatus, visible::shown_path};
use runner_record::{Manifest, RunDir};

use super::side::{Sample, Side, pairs};
use crate::failures;

/// Names in a list.
const MAX_NAMES: usize = 5;

/// Returns the reason why results of a run may be missing. `None` for a run with all of them.
pub(crate) fn incomplete(run: &RunDir, manifest: &Manifest) -> Option<String> {
    let (done, planned) = (manifest.counts.done(), manifest.metadata.planned_trial_count);
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
    let runs = iter::zip(["base", "new"], iter::zip(manifests, incomplete));
    let runs: Vec<_> = match base.id == new.id {
        true => runs.take(1).map(|(_, run)| ("the run", run)).collect(),
        false => runs.collect(),
    };
    for (name, (_, incomplete)) in &runs {
        cautions.extend(incomplete.iter().map(|reason| format!("{name} {reason}")));
    }
    for (name, (manifest, _)) in &runs {
        if !manifest.metadata.selection.is_whole() {
            cautions.push(format!("{name} ran only selected tests"));
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
    if providers.is_none() {
        let changed = changed_plugins(base, new);
        cautions.extend(named("the plugins of these providers have changed", &changed));
        cautions.extend(changed_tests(new, &changed, sides));
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
    let is_changed = |name: &str, digest| {
        base.providers.iter().any(|one| one.name == name && one.digest != digest)
    };
    let changed = new.providers.iter().filter(|one| is_changed(&one.name, one.digest));
    changed.map(|provider| &*provider.name).collect()
}

fn named(words: &str, names: &[&str]) -> Option<String> {
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(|name| (*name).to_owned()).collect();
    let names = failures::named(&shown, names.len() as u64);
    (!shown.is_empty()).then(|| format!("{words}: {names}"))
}

/// Counts tests whose fingerprints or numbers of repeats have changed. A changed plugin changes all fingerprints.
fn changed_tests(new: &Manifest, plugins: &[&str], sides: [&Side; 2]) -> Vec<String> {
    let (mut executions, mut judgements, mut repeats) = (0, 0, 0);
    let first = |one: &[Sample]| one.first().map(|sample| sample.fingerprints);
    for [base, now] in pairs(sides[0], sides[1]) {
        let ([Some([input, judgement]), Some([new_input, new_judgement])], Some(sample)) =
            ([first(base), first(now)], now.first())
        else {
            continue;
        };
        let provider = new.providers.get(usize::from(sample.provider));
        let is_plugin = provider.is_some_and(|one| plugins.contains(&&*one.name));
        executions += u64::from(input != new_input && !is_plugin);
        judgements += u64::from(judgement != new_judgement);
        repeats += u64::from(base.len() != now.len());
    }
    let count = |count: u64, words: &str| {
        (count > 0).then(|| format!("{} {words}", plural(count, "test has", "tests have")))
    };
    let counts = [
        count(executions, "another input, configuration, limit, grant or granted file"),
        count(judgements, "other expectations or graders"),
        count(repeats, "another number of repeats"),
    ];
    counts.into_iter().flatten().collect()
}
