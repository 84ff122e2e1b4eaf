//! Differences between two runs that make a comparison unfair.

use std::{collections::BTreeSet, iter};

use runner_model::units::{grouped, plural};
use runner_model::{RunStatus, status::RunVerdict, visible::shown_path};
use runner_record::{Manifest, RunDir};
use runner_results::{Side, pairs};

use crate::failures;

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
    for (name, manifest) in iter::zip(names, manifests) {
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
    let changed = new.providers.iter().filter(|new| {
        base.providers.iter().any(|base| base.name == new.name && base.digest != new.digest)
    });
    changed.map(|provider| &*provider.name).collect()
}

fn named(words: &str, names: &[&str]) -> Option<String> {
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(|name| (*name).to_owned()).collect();
    let names = failures::named(&shown, names.len() as u64);
    (!shown.is_empty()).then(|| format!("{words}: {names}"))
}

/// Counts results whose fingerprints or numbers of repeats have changed. A changed plugin changes all fingerprints.
fn changed_tests(new: &Manifest, plugins: &[&str], sides: [&Side; 2]) -> Vec<String> {
    let mut executions = 0;
    let mut judgements = 0;
    let mut repeats = 0;
    for [base, now] in pairs(sides[0], sides[1]) {
        let (Some(first), Some(row)) = (base.first(), now.first()) else { continue };
        let [input, judgement] = sides[0].table.fingerprints(first.number);
        let [new_input, new_judgement] = sides[1].table.fingerprints(row.number);
        let provider = new.providers.get(sides[1].table.provider(row.trial));
        let is_plugin = provider.is_some_and(|one| plugins.contains(&&*one.name));
        executions += u64::from(input != new_input && !is_plugin);
        judgements += u64::from(judgement != new_judgement);
        repeats += u64::from(base.len() != now.len());
    }
    let counts = [
        (executions, "another input, configuration, limit, grant or granted file"),
        (judgements, "other expectations or graders"),
        (repeats, "another number of repeats"),
    ];
    let counts = counts.into_iter().filter(|(count, _)| *count > 0);
    counts
        .map(|(count, words)| format!("{} {words}", plural(count, "result has", "results have")))
        .collect()
}
