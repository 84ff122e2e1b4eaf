//! [`Denials`]: what a run's providers tried and were not granted.

use std::collections::BTreeMap;

use crate::{
    model::{ErrorClass, Outcome},
    record::format::row::RowDenied,
};

/// What a run's providers tried and were not granted, by provider, each thing once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denials(BTreeMap<String, Vec<Denial>>);

/// Something that was denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What, and what would allow it.
    pub denied: RowDenied<'static>,
    /// How often.
    pub count: u64,
}

impl Denials {
    /// How many different denials are told of one provider. One more is kept, so that there is word of more.
    pub const MAX_TOLD: usize = 10;

    /// Counts what was denied to an attempt of a provider. Where just that was expected, nobody wants it granted.
    pub(in crate::record) fn add(
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
            if known.len() <= Self::MAX_TOLD {
                known.push(Denial {
                    denied: owned(denied),
                    count: 1,
                });
            }
        }
    }

    /// Tells whether nothing was denied.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was denied to each provider.
    pub fn by_provider(&self) -> impl Iterator<Item = (&str, &[Denial])> {
        let providers = self.0.iter();
        providers.map(|(provider, denials)| (provider.as_str(), denials.as_slice()))
    }
}

fn owned(denied: &RowDenied<'_>) -> RowDenied<'static> {
    RowDenied {
        what: denied.what.clone().into_owned().into(),
        grant: denied.grant.clone().map(|grant| grant.into_owned().into()),
    }
}
