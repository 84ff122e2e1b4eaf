//! The end of a page: how the run came about.

use maud::{Markup, html};
use runner_model::row::duration;
use runner_model::units::show_duration;
use runner_model::visible::{cut, quoted, visible_line};
use runner_record::{Manifest, ManifestProvider, SessionEntry};
use runner_scenario::GrantsToml;

use super::overview::utc;
use crate::{RunDocument, phrases, table_with};

/// Characters of a denied access.
const LONG_LINE: usize = 300;

pub(super) fn section(document: &RunDocument) -> Markup {
    let manifest = &document.manifest;
    html! {
        section #about {
            h2 { "How the run came about" }
            dl { @for (name, text) in facts(manifest) { dt { (name) } dd { (visible_line(&text)) } } }
            h3 { "Sessions" }
            @for session in &manifest.sessions { (self::session(session)) }
            h3 { "Plugins and grants" }
            @for provider in &manifest.providers { (self::provider(document, provider)) }
        }
    }
}

fn facts(manifest: &Manifest) -> Vec<(&'static str, String)> {
    let metadata = &manifest.metadata;
    let selection = serde_json::to_value(&metadata.selection).unwrap_or_default();
    let selection =
        selection.as_object().filter(|keys| !keys.is_empty()).map(|_| selection.to_string());
    let vars = metadata.vars.iter().map(|(name, value)| format!("{name}={value}"));
    let vars: Vec<_> = vars.collect();
    let facts = [
        ("Scenario", Some(manifest.scenario_path.clone())),
        ("SHA-256", Some(metadata.scenario_sha256.to_string())),
        ("Tests", Some(metadata.suite.to_string())),
        ("Variables", Some(vars.join(", ")).filter(|vars| !vars.is_empty())),
        ("Selection", selection),
        ("Runner", Some(metadata.runner_version.clone())),
    ];
    facts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

fn session(session: &SessionEntry) -> Markup {
    let command: Vec<_> = session.command.iter().map(|word| quoted(word)).collect();
    let ended = session.ended_at.map_or_else(|| "now".to_owned(), utc);
    let mut notes = vec![format!("{} to {ended}", utc(session.started_at))];
    notes.extend(
        session.worked_ms.map(|worked| format!("worked {}", show_duration(duration(worked)))),
    );
    notes.push(format!("{} on {}", session.user, session.host));
    notes.extend(session.wall.iter().map(|wall| format!("sandbox {wall}")));
    notes.extend(session.adopted.map(|_| "took over changes of the scenario".to_owned()));
    notes.extend((!session.in_flight.is_empty()).then(|| "its process died".to_owned()));
    notes.extend(session.stopped_by.iter().map(|by| format!("stopped by {}", phrases::actor(by))));
    html! {
        pre { (visible_line(&command.join(" "))) }
        p.facts { @for note in notes { span { (visible_line(&note)) } } }
    }
}

fn provider(document: &RunDocument, provider: &ManifestProvider) -> Markup {
    let grants = GrantsToml::from(&provider.grants).table(provider.table(), &provider.name);
    let mut denials = document.denials.by_name();
    let denied =
        denials.find(|(name, _)| **name == provider.name).map_or(&[][..], |(_, denied)| denied);
    let wanted = table_with(provider.table(), &provider.name, &provider.grants, denied);
    let lines = |lines: &[String]| visible_lines(lines);
    html! {
        h4 { (visible_line(&provider.name)) }
        p.facts { span { (provider.kind) " " (visible_line(&provider.plugin)) } span { (provider.digest) } }
        @if !grants.is_empty() { pre { (lines(&grants)) } }
        @for denial in denied { p.why { "denied: " (cut(&visible_line(&denial.what), LONG_LINE)) } }
        @if !wanted.is_empty() { p.facts { "To allow it, add to the scenario:" } pre { (lines(&wanted)) } }
    }
}

fn visible_lines(lines: &[String]) -> String {
    lines.iter().map(|line| visible_line(line).into_owned() + "\n").collect()
}
