//! What a run's providers tried and were not granted, as people read it.

use owo_colors::OwoColorize as _;

use super::{format, grants::Granted};
use crate::record::{Denial, Denials};

/// Tells what was denied and how to grant all of it at once, beside what is `granted`; nothing of nothing.
pub(super) fn text(denials: &Denials, granted: &Granted) -> Option<String> {
    if denials.is_empty() {
        return None;
    }
    let mut lines = vec!["denied".bold().to_string()];
    for (provider, denials) in denials.by_provider() {
        let told = denials.iter().take(Denials::MAX_TOLD);
        lines.extend(told.clone().map(|denial| line(provider, denial)));
        if denials.len() > Denials::MAX_TOLD {
            lines.push(format!("  {provider}: … and more"));
        }
        let grants = told.filter_map(|denial| denial.denied.grant.as_deref());
        let table = granted.with(provider, grants);
        if !table.is_empty() {
            lines.push("    to allow it, the scenario grants".to_owned());
            lines.extend(table.iter().map(|line| format!("      {line}")));
        }
    }
    Some(lines.join("\n"))
}

fn line(provider: &str, denial: &Denial) -> String {
    let times = match denial.count {
        1 => String::new(),
        count => format!(", {} times", format::count(count)),
    };
    let what = format::visible_line(&denial.denied.what);
    format!("  {provider}: {what}{times}")
}
