//! How the run came about: its sessions, versions, digests and what its providers may do.

use maud::{Markup, html};

use crate::{model::plural, view::RunReport};

pub(super) fn origin(report: &RunReport) -> Markup {
    let manifest = &report.head.manifest;
    html! {
        h2 { "How it ran" }
        dl {
            dt { "scenario" } dd { code { (manifest.scenario.path) } " " span class="soft" { (manifest.scenario.sha256) } }
            dt { "plan" } dd { (plural(manifest.metadata.planned_test_count, "trial")) " " span class="soft" { (manifest.metadata.plan_digest) } }
            dt { "runner" } dd { (manifest.runner_version) }
        }
        h3 { "Sessions" }
        div class="wide" { table {
            thead { tr { @for name in ["session", "began", "ended", "by", "why it ended"] { th scope="col" { (name) } } } }
            tbody { @for session in &manifest.sessions { tr {
                td { (session.n) }
                td { (session.opened_at) }
                td { @if let Some(at) = session.closed_at { (at) } @else { "it goes on" } }
                td { (session.opened_by) }
                td {
                    @if let Some(reason) = session.reason { (reason) }
                    @if let Some(error) = &session.error { ": " (error) }
                }
            } } }
        } }
        @for provider in &manifest.providers {
            h3 { (provider.name) }
            dl {
                dt { "plugin" } dd { (provider.kind) " " span class="soft" { (provider.plugin_sha256) } }
                dt { "limits" } dd { (as_json(&provider.limits)) }
                dt { "grants" } dd { (as_json(&provider.grants)) }
            }
        }
    }
}

/// A part of the manifest as it is written there, without what surrounds it.
fn as_json(part: &impl serde::Serialize) -> String {
    match serde_json::to_value(part) {
        Ok(serde_json::Value::Object(keys)) if keys.is_empty() => "none".to_owned(),
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}
