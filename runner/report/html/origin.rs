//! How the run came about: its sessions, versions, digests and what its providers may do.

use bytesize::ByteSize;
use maud::{Markup, html};
use serde_json::Value;

use super::parts::wide;
use crate::{
    model::{LimitUnit, Limits, count, duration, plural},
    view::RunReport,
};

pub(super) fn origin(report: &RunReport) -> Markup {
    let manifest = &report.head.manifest;
    let sessions = html! {
        table {
            thead { tr { @for name in ["session", "began", "ended", "by", "why it ended"] { th scope="col" { (name) } } } }
            tbody { @for session in &manifest.sessions { tr {
                td { (session.n) }
                td { (session.opened_at) }
                td { @if let Some(at) = session.closed_at { (at) } @else { "it goes on" } }
                td { (session.opened_by) }
                td {
                    @match session.reason {
                        Some(reason) => (reason),
                        None if session.closed_at.is_some() => "every trial was done",
                        None => "–",
                    }
                    @if let Some(error) = &session.error { ": " (error) }
                }
            } } }
        }
    };
    html! {
        h2 { "How it ran" }
        dl {
            dt { "scenario" } dd { code { (manifest.scenario.path) } " " span class="soft" { (manifest.scenario.sha256) } }
            dt { "plan" } dd { (plural(manifest.metadata.planned_test_count, "trial")) " " span class="soft" { (manifest.metadata.plan_digest) } }
            dt { "runner" } dd { (manifest.runner_version) }
        }
        h3 { "Sessions" }
        (wide("Sessions", &sessions))
        @for provider in &manifest.providers {
            h3 { (provider.name) }
            dl {
                dt { "plugin" } dd { (provider.kind) " " span class="soft" { (provider.plugin_sha256) } }
                dt { "limits" } dd { (limits_in_words(&provider.limits.0)) }
                dt { "grants" } dd { (in_words(&provider.grants)) }
            }
        }
    }
}

/// Limits by their keys, each as a scenario would say it.
fn limits_in_words(limits: &Limits) -> String {
    let time = limits.time.map(|time| format!("time {}", duration(time)));
    let others = Limits::TABLE.iter().map(|limit| {
        let value = limit.get(limits);
        let value = match limit.unit {
            LimitUnit::Bytes => ByteSize(value).to_string().replacen(".0 ", " ", 1),
            LimitUnit::Count { .. } => count(value),
        };
        format!("{} {value}", limit.key)
    });
    let words: Vec<_> = time.into_iter().chain(others).collect();
    words.join(" · ")
}

/// A part of the manifest, key by key.
fn in_words(part: &impl serde::Serialize) -> String {
    match serde_json::to_value(part) {
        Ok(Value::Object(keys)) if keys.is_empty() => "none".to_owned(),
        Ok(Value::Object(keys)) => {
            let words = keys.iter().map(|(key, value)| match value {
                Value::Number(number) => match number.as_u64() {
                    Some(number) => format!("{key} {}", count(number)),
                    None => format!("{key} {number}"),
                },
                other => format!("{key} {other}"),
            });
            words.collect::<Vec<_>>().join(" · ")
        }
        Ok(value) => value.to_string(),
        Err(error) => error.to_string(),
    }
}
