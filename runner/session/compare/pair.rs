//! [`ProviderPair`]: which providers are compared with each other.

use super::side::Side;

/// A provider on both sides, or on one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProviderPair {
    pub(super) base: Option<String>,
    pub(super) new: Option<String>,
}

impl ProviderPair {
    /// Those that are `asked` for, or else each with the one of its name: in the order of the new run, then those that are
    /// gone.
    pub(super) fn all(asked: Option<&(String, String)>, base: &Side, new: &Side) -> Vec<Self> {
        if let Some((first, second)) = asked {
            return vec![Self {
                base: Some(first.clone()),
                new: Some(second.clone()),
            }];
        }
        let names = |side: &Side| -> Vec<String> {
            let providers = side.manifest.providers.iter();
            providers.map(|provider| provider.name.clone()).collect()
        };
        let (before, now) = (names(base), names(new));
        let mut pairs: Vec<_> = now
            .iter()
            .map(|name| Self {
                base: before.contains(name).then(|| name.clone()),
                new: Some(name.clone()),
            })
            .collect();
        let gone = before.into_iter().filter(|name| !now.contains(name));
        pairs.extend(gone.map(|name| Self {
            base: Some(name),
            new: None,
        }));
        pairs
    }
}
