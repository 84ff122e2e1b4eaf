//! [`difference`] and [`changes_since`]: differences between the plan of a run and the current files.

use std::collections::{BTreeMap, BTreeSet};
use std::{fmt::Display, fs, io, path::Path, sync::Arc};

use runner_model::{Digest, Fingerprint, digest, provider::Provider, visible::shown_path};
use runner_prepare::plugins;
use runner_prepare::source::{Source, SourceState};
use runner_record::{Manifest, ManifestProvider, Metadata, RunDir};
use runner_scenario::{Scenario, Selection, Suite, load_selected};

use super::test_line::{TestLine, tests_at_providers};
use super::{known::has_same_entries, list_plugins::changed_lists, load::resolve, plan::Plan};

/// Names of a kind that a notice lists.
const SHOWN: usize = 3;

/// Compares a run with a new plan by digests. Returns the first difference as a clause, or `None` if the plans are equal.
pub(crate) fn difference<'a>(
    run: &Manifest,
    metadata: &Metadata,
    providers: impl Iterator<Item = &'a ManifestProvider>,
) -> Option<&'static str> {
    let plugin = |provider: &ManifestProvider| (provider.name.clone(), provider.digest);
    let folders = |provider: &ManifestProvider| {
        let contents = provider.mounts.iter().map(|folder| folder.content.as_ref());
        contents.map(|content| content.map(|one| one.sha256)).collect::<Vec<_>>()
    };
    let providers: Vec<_> = providers.collect();
    let old = &run.metadata;
    let [was, is] = [old, metadata].map(|plan| &plan.selection);
    if (&was.overrides, was.replayed()) != (&is.overrides, is.replayed()) {
        Some(
            "`--repeat`, `--retries`, `--seed`, `--limit`, `--journal`, `--replay` or `--set` have changed",
        )
    } else if old.scenario_sha256 != metadata.scenario_sha256 {
        Some("its scenario is different or has changed")
    } else if (old.suite, old.blobs) != (metadata.suite, metadata.blobs) {
        Some("its tests or their selection have changed")
    } else if !run.planned().map(plugin).eq(providers.iter().copied().map(plugin)) {
        Some("a plugin has changed")
    } else if !run.planned().map(folders).eq(providers.iter().copied().map(folders)) {
        Some("a granted folder has changed")
    } else {
        None
    }
}

/// Returns a notice that lists how the scenario's files differ from the stored plan. `None` if no difference was found:
/// lists and plugins that are older than the run are not read, because each resume calls this.
pub(crate) fn changes_since(dir: &RunDir, manifest: &Manifest, plan: &Plan) -> Option<String> {
    let path = Path::new(&manifest.scenario_path);
    let mut clauses = Vec::new();
    let mut builds = BTreeSet::new();
    match load_selected(path, &manifest.metadata.selection.clone().into()) {
        Err(_) if !path.exists() => {
            let path = shown_path(path);
            return Some(format!("{path} is gone; the run continues with its stored copy"));
        }
        Err(_) => clauses.push("its file has problems; see `runner validate`".to_owned()),
        Ok(mut live) => {
            live.override_by(&manifest.metadata.selection.overrides);
            let changed = changed_lists(&mut live, &plan.scenario);
            let is_newer = |path: &Path| is_newer(path, manifest);
            let is_other = digest(live.text.as_bytes()) != manifest.metadata.scenario_sha256;
            // With attachments or schemas everything is compared: only the resolved tests name them.
            let has_blobs = manifest.metadata.blobs.is_some();
            if is_other || has_blobs || live.list_files().any(|file| is_newer(&file)) {
                // Only their plugins know the tests of some lists, and `resume` runs none.
                if live.list_plugins(&Selection::default()).is_empty() {
                    clauses.extend(compare(manifest, plan, &mut live));
                } else if is_other {
                    clauses.push("its text".to_owned());
                }
                if clauses.is_empty() && is_other {
                    clauses.push("only keys that do not affect results".to_owned());
                }
            }
            clauses.extend(changed);
            if (is_other || live.known_files().any(|(_, file)| is_newer(&file)))
                && live.known_list(true).is_ok_and(|list| {
                    list.is_some() != manifest.known().is_some()
                        || list.is_some_and(|list| !has_same_entries(&list, plan.known.list()))
                })
            {
                clauses.push("its known failures changed".to_owned());
            }
            let changes = plugin_changes(manifest, &live.folder, live.providers.iter());
            clauses.extend(changes.clauses);
            builds = changes.builds;
            clauses.extend(plan.changed_folders().iter().map(|folder| format!("{folder} changed")));
        }
    }
    (!clauses.is_empty()).then(|| {
        let accept = dir.command("resume", &["--accept-changes"]);
        let commands: Vec<_> = builds.into_iter().chain([accept]).collect();
        format!(
            "the scenario has changed since the run started: {}. The run continues with its stored copy; to use the changes: {}",
            clauses.join("; "),
            commands.join(" && ")
        )
    })
}

/// Differences between plugins and the stored ones.
pub(crate) struct PluginChanges {
    pub(crate) clauses: Vec<String>,
    /// The commands that build the plugins whose source has changed.
    builds: BTreeSet<String>,
}

/// Compares the plugins of providers with the stored ones, and their source with the built ones. `folder` is that of the scenario.
pub(crate) fn plugin_changes<'a>(
    manifest: &Manifest,
    folder: &Path,
    providers: impl Iterator<Item = &'a Provider>,
) -> PluginChanges {
    let (mut plugins, mut sources, mut builds) = (Vec::new(), Vec::new(), BTreeSet::new());
    for provider in providers {
        let stored = manifest.planned().find(|stored| stored.name == *provider.name);
        let Some(stored) = stored else { continue };
        let path = folder.join(&provider.plugin);
        // The time of a folder does not show when the plugin in it was built.
        let is_bundled = provider.plugin.starts_with("bundled:");
        if !is_bundled && !path.is_dir() && !is_newer(&path, manifest) {
            continue;
        }
        match plugins::read(&provider.plugin, folder, provider.limits.file) {
            Ok(plugin) if plugin.digest == stored.digest => {}
            Ok(_) => plugins.push(&*provider.name),
            Err(_) => {
                if let Ok(source) = Source::open(&path)
                    && matches!(source.state(), Ok(SourceState::Stale(_)))
                {
                    sources.push(&*provider.name);
                    builds.insert(source.rebuild_command());
                }
            }
        }
    }
    let clauses = [("plugin", plugins), ("source", sources)].into_iter();
    let clauses = clauses.filter(|(_, names)| !names.is_empty());
    let clauses = clauses.map(|(what, names)| format!("{what} of {} changed", listed(&names)));
    PluginChanges { clauses: clauses.collect(), builds }
}

/// Returns whether a file has changed since the run started.
fn is_newer(path: &Path, manifest: &Manifest) -> bool {
    let changed = fs::metadata(path).and_then(|about| about.modified());
    changed.is_ok_and(|changed| manifest.started_at < changed.into())
}

/// Compares the stored providers and tests with the current ones.
fn compare(manifest: &Manifest, plan: &Plan, live: &mut Scenario) -> Vec<String> {
    let stored = &plan.scenario.providers;
    let suite = &plan.suite;
    let selected = &manifest.metadata.selection;
    // The runs that a filter names may have been deleted.
    let refers_to_runs = selected.has_fixed_tests() || selected.filter.is_some();
    // A shard does not show the tests of the others.
    let is_comparable = !refers_to_runs || selected.shard.is_none();
    let only = refers_to_runs
        .then(|| Arc::new(tests_at_providers(suite, stored, |_| true).unwrap_or_default()));
    let selection = Selection { only, ..selected.clone().into() };
    let resolved = resolve(live, &selection, &plan.cache);
    let providers = |table| {
        names(table, &provider_digests(table, stored), &provider_digests(table, &live.providers))
    };
    let mut clauses: Vec<_> =
        ["providers", "graders", "tools"].into_iter().flat_map(providers).collect();
    match resolved {
        _ if !is_comparable => {}
        Ok(Ok((new, _))) => {
            let old = test_fingerprints(suite, stored);
            let new = test_fingerprints(&new, &live.providers);
            clauses.extend(names("tests", &old, &new));
        }
        _ => clauses.push("its tests have problems; see `runner validate`".to_owned()),
    }
    clauses
}

/// Returns the names and the digests of the settings of the providers in a table of the scenario.
fn provider_digests(table: &str, providers: &[Provider]) -> BTreeMap<String, Digest> {
    let text = |provider| serde_json::to_vec(provider).unwrap_or_default();
    let of_table = providers.iter().filter(|one| one.table() == table);
    of_table.map(|one| (one.name.to_string(), digest(&text(one)))).collect()
}

/// The names of a test's providers with their bases, and its execution and judgement fingerprints without any provider's part.
type TestFingerprints = (BTreeMap<String, Option<Digest>>, Fingerprint, Fingerprint);

fn test_fingerprints(suite: &Suite, providers: &[Provider]) -> BTreeMap<String, TestFingerprints> {
    let mut line = Vec::new();
    let mut print = |test| -> io::Result<(String, TestFingerprints)> {
        suite.line(test, &mut line)?;
        let test = TestLine::read(&line)?;
        let bases = test.providers.iter().filter_map(|index| {
            let name = providers.get(usize::from(*index))?.name.to_string();
            Some((name, test.bases.get(index).copied()))
        });
        let (execution, judgement) = test.without_provider()?;
        Ok((test.id.to_string(), (bases.collect(), execution, judgement)))
    };
    (0..suite.tests()).filter_map(|test| print(test).ok()).collect()
}

/// Lists additions, removals and changes, each as `tests added: `a`, `b``.
fn names<T: PartialEq>(
    what: &str,
    old: &BTreeMap<String, T>,
    new: &BTreeMap<String, T>,
) -> Vec<String> {
    let added = new.keys().filter(|name| !old.contains_key(*name));
    let removed = old.keys().filter(|name| !new.contains_key(*name));
    let changed = new.iter().filter(|(name, new)| old.get(*name).is_some_and(|old| old != *new));
    let all = [
        ("added", added.collect::<Vec<_>>()),
        ("removed", removed.collect()),
        ("changed", changed.map(|(name, _)| name).collect()),
    ];
    let lines = all.iter().filter(|(_, names)| !names.is_empty());
    lines.map(|(verb, names)| format!("{what} {verb}: {}", listed(names))).collect()
}

/// Lists names as `` `a`, `b`, `c` and 2 more ``.
fn listed(names: &[impl Display]) -> String {
    let shown = names.iter().take(SHOWN).map(|name| format!("`{name}`"));
    let shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
