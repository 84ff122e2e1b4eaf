//! What has changed since a run began. The stored files are used; the user is told.

use std::path::Path;

use similar::TextDiff;

use super::{Notice, Observe};
use crate::{
    model::{Digest, ProviderId},
    plugin::PluginFile,
    record::RunReader,
    scenario::{self, Provider, Scenario},
    toolchain::{Source, SourceState},
};

/// Says how the live scenario and plugins differ from the stored ones. Files that are gone say nothing.
pub(super) fn tell(run: &RunReader, observe: &mut dyn Observe) {
    let manifest = run.manifest();
    let path = Path::new(&manifest.scenario.path);
    let Ok(text) = fs_err::read_to_string(path) else {
        return;
    };
    if Digest::of(text.as_bytes()) != manifest.scenario.sha256 {
        let diff = run.scenario_text().map(|stored| diff(&stored, &text));
        let diff = &diff.unwrap_or_default();
        observe.notice(&Notice::ScenarioChanged { path, diff });
    }
    let Ok(scenario) = scenario::parse_stored(path, &text) else {
        return;
    };
    if let Ok(stored) = run.scenario_text()
        && let Ok(stored) = scenario::parse_stored(path, &stored)
    {
        grants(&stored, &scenario, |provider| {
            observe.notice(&Notice::GrantsChanged { provider });
        });
    }
    for stored in manifest.providers.iter().chain(&manifest.graders) {
        let live = scenario
            .plugins()
            .filter(|provider| provider.id.as_str() == stored.name)
            .find_map(live_digest);
        if live.is_some_and(|live| live != stored.plugin_sha256) {
            let provider = &stored.name;
            observe.notice(&Notice::PluginChanged { provider });
        }
    }
}

/// Tells of each provider that is in both scenarios and is granted something else.
pub(super) fn grants(stored: &Scenario, live: &Scenario, mut tell: impl FnMut(&ProviderId)) {
    for provider in stored.plugins() {
        let mut live = live.plugins();
        if live.any(|live| live.id == provider.id && live.grants != provider.grants) {
            tell(&provider.id);
        }
    }
}

fn live_digest(provider: &Provider) -> Option<Digest> {
    let file = if Source::is_at(&provider.plugin) {
        match Source::open(&provider.plugin).ok()?.state(&|| false).ok()? {
            SourceState::Fresh(file) | SourceState::Stale(file) => file,
            SourceState::Missing => return None,
        }
    } else {
        provider.plugin.clone()
    };
    let bytes = PluginFile::read_bytes(&file, u64::MAX).ok()?;
    Some(Digest::of(&bytes))
}

/// The lines that differ.
fn diff(stored: &str, live: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(stored, live);
    let diff = diff.unified_diff().context_radius(0).to_string();
    let lines = diff.lines().filter(|line| !line.starts_with("@@"));
    lines.map(str::to_owned).collect()
}
