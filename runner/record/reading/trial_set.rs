//! [`TrialSet`]: some trials of a plan, a bit each.

use super::trial_pages::TrialPages;

/// Some trials of a plan, by ordinal.
#[derive(Clone, Debug, Default)]
pub(in crate::record) struct TrialSet(TrialPages<u64>);

impl TrialSet {
    /// Adds a trial; tells whether it was not there.
    ///
    /// # Panics
    ///
    /// If no plan can have so many trials.
    pub(in crate::record) fn insert(&mut self, ordinal: u64) -> bool {
        let word = self.0.slot(ordinal / 64);
        let bit = 1 << (ordinal % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(in crate::record) fn contains(&self, ordinal: u64) -> bool {
        let word = self.0.get(ordinal / 64);
        word.is_some_and(|word| word & (1 << (ordinal % 64)) != 0)
    }

    /// All of them, in the plan's order.
    pub(in crate::record) fn iter(&self) -> impl Iterator<Item = u64> {
        let words = self.0.iter().filter(|(_, word)| **word != 0);
        words.flat_map(|(place, word)| {
            let bits = (0..64).filter(move |bit| word & (1 << bit) != 0);
            bits.map(move |bit| place * 64 + bit)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::TrialSet;

    #[test]
    fn a_trial_is_new_once() {
        let mut set = TrialSet::default();
        for ordinal in [64, 0, 63, 99_999_999] {
            assert!(!set.contains(ordinal));
            assert!(set.insert(ordinal));
            assert!(!set.insert(ordinal) && set.contains(ordinal));
        }
        assert!(!set.contains(65));
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 99_999_999]);
    }
}
