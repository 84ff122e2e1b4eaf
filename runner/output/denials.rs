//! [`Denials`]: what a run's providers tried and were not granted.

use std::{collections::BTreeMap, fmt};

use owo_colors::OwoColorize as _;

use super::{format, grants};
use crate::record::RowDenied;

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
    /// Counts what was denied to an attempt of a provider.
    pub(super) fn add(&mut self, provider: &str, denied: &[RowDenied<'_>]) {
        if denied.is_empty() {
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

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Denials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_fmt(format_args!("{}", "denied".bold()))?;
        for (provider, denials) in &self.0 {
            for Denial { denied, count } in denials.iter().take(MAX_TOLD) {
                let times = match count {
                    1 => String::new(),
                    count => format!(", {} times", format::count(*count)),
                };
                let what = format::visible_line(&denied.what);
                write!(formatter, "\n  {provider}: {what}{times}")?;
            }
            if denials.len() > MAX_TOLD {
                write!(formatter, "\n  {provider}: … and more")?;
            }
            let grants: Vec<_> = denials
                .iter()
                .take(MAX_TOLD)
                .filter_map(|denial| denial.denied.grant.as_deref())
                .collect();
            for line in grants::allowing(provider, &grants) {
                write!(formatter, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

fn owned(denied: &RowDenied<'_>) -> RowDenied<'static> {
    RowDenied {
        what: denied.what.clone().into_owned().into(),
        grant: denied.grant.clone().map(|grant| grant.into_owned().into()),
    }
}
