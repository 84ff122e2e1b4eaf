//! The summary of a comparison in one sentence: `mixed: 16 regressed, 29 fixed; pass rate 71.9 → 80.2 %, not significant`.

use runner_model::units::grouped;

use super::{
    Class, ClassCounts, ComparisonDocument, Measure,
    measures::{DURATION, PASS_RATE},
};
use crate::failures;

/// Measures that are named.
const MOST_MEASURES: usize = 3;

impl ComparisonDocument {
    /// Formats the numbers of results by their change that are not 0: `2 regressed, 1 fixed`.
    pub fn counts_text(&self) -> String {
        self.counts.text(|class| class.title(self.providers.as_ref()))
    }

    /// Sums up the comparison. A run with regressed results is worse or mixed, as for `--fail-on regressed`.
    pub(super) fn summarize(&self) -> String {
        let counts = &self.counts;
        let failing =
            self.changes.changed.iter().filter(|one| one.fails_without_base()).count() as u64;
        let has_unknown = failing > 0 || !self.unknown().is_empty();
        let mut significant = self.measures.iter().filter(|measure| measure.is_significant());
        let has_better = significant.clone().any(|one| one.name == PASS_RATE && one.change > 0.0);
        let has_worse = significant.any(|one| one.worse && one.name != DURATION);
        let falls = counts.regressed > 0;
        let rises = counts.fixed > 0;
        let (is_worse, is_better) = match &self.providers {
            // Two providers have no order in time. Without a significant difference, changes in both directions are mixed.
            Some(_) if has_worse || has_better => (has_worse, has_better),
            Some(_) => (falls, rises),
            None => (falls || has_worse, has_better || rises && !has_worse),
        };
        let word = match (is_worse, is_better) {
            (true, true) => "mixed",
            (true, false) => "worse",
            (false, _) if has_unknown => "unclear",
            (false, true) => "better",
            (false, false) => match (&self.providers, self.has_equal_rates()) {
                (Some(_), true) => "no difference",
                (Some(_), false) => "no clear difference",
                (None, true) => "no change",
                (None, false) => "no clear change",
            },
        };
        let names = self.providers.as_ref().filter(|_| ["worse", "better"].contains(&word));
        let head = match names {
            Some([base, new]) => format!("{new} is {word} than {base}"),
            None => word.to_owned(),
        };
        // A sentence with both names does not repeat them.
        let ClassCounts { regressed, fixed, flaky, newly_skipped, .. } = self.counts;
        let changed =
            ClassCounts { regressed, fixed, flaky, newly_skipped, ..ClassCounts::default() };
        let changed = changed.text(|class| match class {
            Class::Regressed if names.is_some() => "worse".to_owned(),
            Class::Fixed if names.is_some() => "better".to_owned(),
            class => class.title(self.providers.as_ref()),
        });
        let base = self.providers.as_ref().map_or("base", |[base, _]| base);
        let failing = (failing > 0)
            .then(|| format!("{} failing without a result in {base}", grouped(failing)));
        let missing = self.incomplete[1].as_ref().map(|_| "results are missing".to_owned());
        let changed = (!changed.is_empty()).then_some(changed);
        let parts: Vec<_> = changed.into_iter().chain(failing).chain(missing).collect();
        let colon = if parts.is_empty() { "" } else { ": " };
        format!("{head}{colon}{}{}", parts.join(", "), self.rates())
    }

    /// Returns whether no pass rate changed. Those of flaky tests do.
    fn has_equal_rates(&self) -> bool {
        let mut rates = self.measures.iter().filter(|measure| measure.name == PASS_RATE);
        rates.all(|rate| rate.change == 0.0)
    }

    /// Formats the pass rate, or of several providers those that changed significantly.
    fn rates(&self) -> String {
        let rates: Vec<_> =
            self.measures.iter().filter(|measure| measure.name == PASS_RATE).collect();
        if let [rate] = rates[..] {
            return format!("; {}", rate.sentence(false));
        }
        let all: Vec<_> = rates.iter().filter(|rate| rate.is_significant()).collect();
        let shown = all.iter().take(MOST_MEASURES).map(|rate| rate.sentence(true));
        match all.len() as u64 {
            0 if rates.iter().all(|rate| rate.p.is_none()) => String::new(),
            0 => "; no pass rate changed significantly".to_owned(),
            count => format!("; {}", failures::named(&shown.collect::<Vec<_>>(), count)),
        }
    }
}

impl Measure {
    fn sentence(&self, is_named: bool) -> String {
        let [base, new] = self.values();
        let provider = self.provider.as_ref().filter(|_| is_named);
        let name = provider.map_or_else(String::new, |provider| format!(" of {provider}"));
        let is_equal = base == new;
        let values =
            if is_equal { new } else { format!("{} → {new}", base.trim_end_matches(" %")) };
        let significance = match self.p {
            Some(_) if is_equal => "",
            None => "",
            Some(_) if self.is_significant() => ", significant",
            Some(_) => ", not significant",
        };
        format!("{PASS_RATE}{name} {values}{significance}")
    }
}
