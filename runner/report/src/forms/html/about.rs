//! The end of a page: the run's files and settings, its sessions, and its plugins with their grants.

use maud::{Markup, html};
use runner_model::row::duration;
use runner_model::units::show_duration;
use runner_model::visible::{cut, quoted, visible_line};
use runner_record::{ManifestProvider, SessionEntry};
use runner_scenario::GrantsToml;

use super::overview::utc;
use crate::{RunDocument, phrases, table_with};

/// Characters of a denied access.
const LONG_LINE: usize = 300;

pub(super) fn section(document: &RunDocument) -> Markup {
    let manifest = &document.manifest;
    html! {
        section #about {
            h2 { "About the run" }
            dl { @for (name, text) in facts(document) { dt { (name) } dd { (visible_line(&text)) } } }
            h3 { "Sessions" }
            @for session in &manifest.sessions { (self::session(session)) }
            h3 { "Plugins and grants" }
            @for provider in &manifest.providers { (self::provider(document, provider)) }
        }
    }
}

fn facts(document: &RunDocument) -> Vec<(&'static str, String)> {
    let (manifest, metadata) = (&document.manifest, &document.manifest.metadata);
    let selection = serde_json::to_string(&metadata.selection).unwrap_or_default();
    let vars: Vec<_> =
        metadata.vars.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let facts = [
        ("Scenario", manifest.scenario_path.clone()),
        ("SHA-256", metadata.scenario_sha256.to_string()),
        ("Tests", metadata.suite.to_string()),
        ("Variables", vars.join(", ")),
        ("Selection", selection),
        ("Runner", metadata.runner_version.clone()),
        ("Workers", document.workers().join("; ")),
    ];
    facts.into_iter().filter(|(_, text)| !["", "{}"].contains(&text.as_str())).collect()
}

fn session(session: &SessionEntry) -> Markup {
    let command: Vec<_> = session.command.iter().map(|word| quoted(word)).collect();
    let ended = session.ended_at.map_or_else(|| "now".to_owned(), utc);
    let worked = session.worked_ms.map(|worked| show_duration(duration(worked)));
    html! {
        pre { (visible_line(&command.join(" "))) }
        p.facts {
            span { (utc(session.started_at)) " to " (ended) }
            @if let Some(worked) = worked { span { "worked " (worked) } }
            span { (visible_line(&session.user)) " on " (visible_line(&session.host)) }
            @if let Some(wall) = &session.wall { span { "sandbox " (visible_line(wall)) } }
            @if session.adopted.is_some() { span { "took over changes of the scenario" } }
            @if !session.in_flight.is_empty() { span { "its process died" } }
            @if let Some(by) = &session.stopped_by { span { "stopped by " (phrases::actor(by)) } }
        }
    }
}

fn provider(document: &RunDocument, provider: &ManifestProvider) -> Markup {
    let (table, name) = (provider.table(), &provider.name);
    let mut denials = document.denials.by_name();
    let denied = denials.find(|(of, _)| **of == **name).map_or(&[][..], |(_, denied)| denied);
    html! {
        h4 { (visible_line(name)) }
        p.facts { span { (provider.kind) " " (visible_line(&provider.plugin)) } span { (provider.digest) } }
        (lines("", &GrantsToml::from(&provider.grants).table(table, name)))
        @for denial in denied { p.why { "denied: " (cut(&visible_line(&denial.what), LONG_LINE)) } }
        (lines("To allow it, add to the scenario:", &table_with(table, name, &provider.grants, denied)))
    }
}

fn lines(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            p.facts { (title) }
            pre { @for line in lines { (visible_line(line)) "\n" } }
        }
    }
}
