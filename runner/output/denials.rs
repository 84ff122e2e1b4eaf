//! [`Denials`]: what a run's providers tried and were not granted.

use std::collections::BTreeMap;

use owo_colors::OwoColorize as _;

use super::{format, grants::Granted};
use crate::{
    model::{ErrorClass, Outcome},
    record::RowDenied,
};

/// How many different denials are told of one provider.
const MAX_TOLD: usize = 10;

/// What a run's providers tried and were not granted, by provider, each thing once.
#[derive(Default)]
pub(super) struct Denials(BTreeMap<String, Vec<Denial>>);

struct Denial {
    denied: RowDenied<'static>,
    count: u64,
}

impl Denials {
    /// Counts what was denied to an attempt of a provider. Where just that was expected, nobody wants it granted.
    pub(super) fn add(
        &mut self,
        provider: &str,
        denied: &[RowDenied<'_>],
        outcome: Outcome,
        class: Option<ErrorClass>,
    ) {
        let is_expected = outcome == Outcome::Passed && class == Some(ErrorClass::Denied);
        if denied.is_empty() || is_expected {
            return;
        }
        let known = self.0.entry(provider.to_owned()).or_default();
        for denied in denied {
            if let Some(known) = known.iter_mut().find(|known| known.denied == *denied) {
                known.count += 1;
                continue;
            }
            // One more than is told, so that there is word of more.
            if known.len() <= MAX_TOLD {
                known.push(Denial {
                    denied: owned(denied),
                    count: 1,
                });
            }
        }
    }

    /// Tells what was denied and how to grant all of it at once, beside what is `granted`; nothing of nothing.
    pub(super) fn text(&self, granted: &Granted) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut lines = vec!["denied".bold().to_string()];
        for (provider, denials) in &self.0 {
            let told = denials.iter().take(MAX_TOLD);
            lines.extend(told.clone().map(|denial| denial.line(provider)));
            if denials.len() > MAX_TOLD {
                lines.push(format!("  {provider}: … and more"));
            }
            let table = granted.with(provider, told.filter_map(Denial::grant));
            if !table.is_empty() {
                lines.push("    to allow it, the scenario grants".to_owned());
                lines.extend(table.iter().map(|line| format!("      {line}")));
            }
        }
        Some(lines.join("\n"))
    }
}

impl Denial {
    fn line(&self, provider: &str) -> String {
        let times = match self.count {
            1 => String::new(),
            count => format!(", {} times", format::count(count)),
        };
        format!(
            "  {provider}: {}{times}",
            format::visible_line(&self.denied.what)
        )
    }

    fn grant(&self) -> Option<&str> {
        self.denied.grant.as_deref()
    }
}

fn owned(denied: &RowDenied<'_>) -> RowDenied<'static> {
    RowDenied {
        what: denied.what.clone().into_owned().into(),
        grant: denied.grant.clone().map(|grant| grant.into_owned().into()),
    }
}
