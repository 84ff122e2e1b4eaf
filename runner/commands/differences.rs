//! What has changed since a run began. The stored files are used; the user is told.

use std::path::Path;

use similar::TextDiff;

use crate::{
    model::{Digest, ProviderId},
    output::Output,
    record::RunReader,
    scenario::{self, Provider, Scenario},
    toolchain::{Source, SourceState},
};

/// How many lines of a scenario's diff are shown.
const MAX_LINES: usize = 20;

/// Says how the live scenario and plugins differ from the stored ones. Files that are gone say nothing.
pub(super) fn tell(run: &RunReader, output: &Output) {
    let manifest = run.manifest();
    let path = Path::new(&manifest.scenario.path);
    let Ok(text) = fs_err::read_to_string(path) else {
        return;
    };
    if Digest::of(text.as_bytes()) != manifest.scenario.sha256 {
        output.warn(&format!(
            "scenario `{}` has changed since the run began; the stored one is used",
            path.display()
        ));
        if let Ok(stored) = run.scenario_text() {
            show_diff(&stored, &text, output);
        }
    }
    let Ok(scenario) = scenario::parse_stored(path, &text) else {
        return;
    };
    if let Ok(stored) = run.scenario_text()
        && let Ok(stored) = scenario::parse_stored(path, &stored)
    {
        grants(&stored, &scenario, |provider| {
            output.warn(&format!(
                "the grants of provider `{provider}` have changed since the run began; the stored ones are used"
            ));
        });
    }
    for stored in &manifest.providers {
        let live = scenario.providers().iter();
        let live = live
            .filter(|provider| provider.id.as_str() == stored.name)
            .find_map(live_digest);
        if live.is_some_and(|live| live != stored.plugin_sha256) {
            output.warn(&format!(
                "the plugin of provider `{}` has changed since the run began; the stored one is used",
                stored.name
            ));
        }
    }
}

/// Tells of each provider that is in both scenarios and is granted something else.
pub(super) fn grants(stored: &Scenario, live: &Scenario, mut tell: impl FnMut(&ProviderId)) {
    for provider in stored.providers() {
        let mut live = live.providers().iter();
        if live.any(|live| live.id == provider.id && live.grants != provider.grants) {
            tell(&provider.id);
        }
    }
}

fn live_digest(provider: &Provider) -> Option<Digest> {
    let file = if provider.plugin.is_dir() {
        match Source::open(&provider.plugin).ok()?.state(&|| false).ok()? {
            SourceState::Fresh(file) | SourceState::Stale(file) => file,
            SourceState::Missing => return None,
        }
    } else {
        provider.plugin.clone()
    };
    Some(Digest::of(&fs_err::read(file).ok()?))
}

fn show_diff(stored: &str, live: &str, output: &Output) {
    let diff = TextDiff::from_lines(stored, live);
    let diff = diff.unified_diff().context_radius(0).to_string();
    let lines = || diff.lines().filter(|line| !line.starts_with("@@"));
    lines().take(MAX_LINES).for_each(|line| output.hint(line));
    let more = lines().count().saturating_sub(MAX_LINES);
    if more > 0 {
        output.hint(&format!("… {more} more lines"));
    }
}
