//! [`Cases`]: tests with their providers, and what became of them on both sides.

use std::collections::HashMap;

use super::{
    pair::ProviderPair,
    side::{Side, SideTrial},
};
use crate::{
    model::Outcome,
    view::{CaseClass, CaseSide, ComparedCase},
};

/// All tests, each with a provider of both sides.
pub(super) struct Cases {
    cases: Vec<Case>,
}

/// A test with a provider: where its trials are on both sides.
pub(super) struct Case {
    /// Which providers.
    pub(super) pair: usize,
    pub(super) base: Vec<u32>,
    pub(super) new: Vec<u32>,
    class: CaseClass,
}

/// What the trials of a case came to, on one side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    /// There are none.
    Absent,
    /// None of them was judged.
    NotJudged,
    Passed {
        is_flaky: bool,
    },
    Failed,
    /// Some passed, some did not.
    Both,
}

impl Cases {
    /// Those of which a trial of either side is meant.
    pub(super) fn of(base: &Side, new: &Side, pairs: &[ProviderPair]) -> Self {
        let mut places: HashMap<(u32, usize), usize> = HashMap::with_capacity(new.trials.len());
        let mut cases: Vec<Case> = Vec::new();
        let of_provider = |side: &Side, name: fn(&ProviderPair) -> Option<&String>| {
            let mut of_provider = vec![None; side.providers.len()];
            for (place, pair) in pairs.iter().enumerate() {
                let number = name(pair).and_then(|name| side.providers.find(name));
                if let Some(number) = number {
                    of_provider[number as usize] = Some(place);
                }
            }
            of_provider
        };
        let new_pairs = of_provider(new, |pair| pair.new.as_ref());
        for (place, trial) in (0..).zip(&new.trials) {
            let Some(pair) = new_pairs[trial.provider as usize] else {
                continue;
            };
            let case = *places.entry((trial.test, pair)).or_insert_with(|| {
                cases.push(Case::of(pair));
                cases.len() - 1
            });
            cases[case].new.push(place);
        }
        let base_pairs = of_provider(base, |pair| pair.base.as_ref());
        // Tests that the new side does not have get numbers behind its own.
        let unknown = u32::try_from(new.tests.len()).expect("a run has fewer tests");
        for (place, trial) in (0..).zip(&base.trials) {
            let Some(pair) = base_pairs[trial.provider as usize] else {
                continue;
            };
            let known = new.tests.find(base.tests.word(trial.test));
            let test = known.unwrap_or(unknown + trial.test);
            let case = *places.entry((test, pair)).or_insert_with(|| {
                cases.push(Case::of(pair));
                cases.len() - 1
            });
            cases[case].base.push(place);
        }
        let is_meant = |side: &Side, places: &[u32]| {
            let mut trials = places.iter().map(|place| &side.trials[*place as usize]);
            trials.any(|trial| trial.is_meant)
        };
        cases.retain(|case| is_meant(base, &case.base) || is_meant(new, &case.new));
        for case in &mut cases {
            case.class = class(came(base, &case.base), came(new, &case.new));
        }
        Self { cases }
    }

    /// In the order of the new plan, then those that are gone.
    pub(super) fn in_order(&self) -> &[Case] {
        &self.cases
    }
}

impl Case {
    fn of(pair: usize) -> Self {
        Self {
            pair,
            base: Vec::new(),
            new: Vec::new(),
            class: CaseClass::NotJudged,
        }
    }

    pub(super) fn class(&self) -> CaseClass {
        self.class
    }

    /// Tells whether it is on both sides, and not as often.
    pub(super) fn has_other_repeats(&self) -> bool {
        !self.base.is_empty() && !self.new.is_empty() && self.base.len() != self.new.len()
    }

    pub(super) fn shown(&self, base: &Side, new: &Side, pair: &ProviderPair) -> ComparedCase {
        let (side, places) = match self.new.is_empty() {
            true => (base, &self.base),
            false => (new, &self.new),
        };
        let provider = pair.new.as_ref().filter(|_| !self.new.is_empty());
        let mut reasons = self.new.iter().map(|place| &new.trials[*place as usize]);
        ComparedCase {
            test: side
                .tests
                .word(side.trials[places[0] as usize].test)
                .to_owned(),
            provider: provider.or(pair.base.as_ref()).cloned().unwrap_or_default(),
            class: self.class,
            base: case_side(base, &self.base),
            new: case_side(new, &self.new),
            why: reasons.find_map(|trial| trial.why.as_deref().map(str::to_owned)),
        }
    }
}

fn case_side(side: &Side, places: &[u32]) -> Option<CaseSide> {
    let trials: Vec<&SideTrial> = places
        .iter()
        .map(|place| &side.trials[*place as usize])
        .collect();
    let first = trials.first()?;
    let outcomes = || trials.iter().filter_map(|trial| trial.outcome);
    let count = |number: usize| u32::try_from(number).expect("a test has fewer trials");
    let bad = outcomes().find(|outcome| outcome.is_bad());
    let times = trials.iter().filter(|trial| trial.has_duration());
    Some(CaseSide {
        trials: count(trials.len()),
        passed: count(
            outcomes()
                .filter(|outcome| *outcome == Outcome::Passed)
                .count(),
        ),
        settled: count(outcomes().count()),
        is_flaky: trials.iter().any(|trial| trial.is_flaky),
        outcome: bad.or(first.outcome),
        score: mean(trials.iter().filter_map(|trial| trial.score)),
        duration_ms: mean(times.map(|trial| trial.duration_ms)),
    })
}

impl SideTrial {
    /// 1 if it has passed and 0 if not; `None` if it was not judged.
    pub(super) fn pass(&self) -> Option<f64> {
        match self.outcome? {
            Outcome::Passed => Some(1.0),
            Outcome::Failed | Outcome::Error | Outcome::Timeout => Some(0.0),
            Outcome::Skipped | Outcome::Stopped | Outcome::Ungraded => None,
        }
    }

    /// Tells whether its duration is that of an answer: what broke or was stopped took as long as that.
    pub(super) fn has_duration(&self) -> bool {
        matches!(self.outcome, Some(Outcome::Passed | Outcome::Failed))
    }
}

/// The mean; `None` of nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of trials are far below 2^52"
)]
pub(super) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn came(side: &Side, places: &[u32]) -> Came {
    let trials = || places.iter().map(|place| &side.trials[*place as usize]);
    if places.is_empty() {
        return Came::Absent;
    }
    let passes = trials().filter_map(SideTrial::pass);
    let (passed, failed) = passes.fold((0, 0), |(passed, failed), pass| match pass > 0.0 {
        true => (passed + 1, failed),
        false => (passed, failed + 1),
    });
    match (passed, failed) {
        (0, 0) => Came::NotJudged,
        (_, 0) => Came::Passed {
            is_flaky: trials().any(|trial| trial.is_flaky),
        },
        (0, _) => Came::Failed,
        _ => Came::Both,
    }
}

fn class(base: Came, new: Came) -> CaseClass {
    match (base, new) {
        (Came::Absent, _) => CaseClass::New,
        (_, Came::Absent) => CaseClass::Gone,
        (Came::NotJudged, _) | (_, Came::NotJudged) => CaseClass::NotJudged,
        (Came::Passed { is_flaky: before }, Came::Passed { is_flaky: now }) => {
            match before || now {
                true => CaseClass::Flaky,
                false => CaseClass::StillPassing,
            }
        }
        (Came::Passed { .. }, Came::Failed | Came::Both) => CaseClass::Regressed,
        (Came::Failed | Came::Both, Came::Passed { .. }) => CaseClass::Fixed,
        (Came::Failed, Came::Failed) => CaseClass::StillFailing,
        (Came::Both, _) | (_, Came::Both) => CaseClass::Flaky,
    }
}

#[cfg(test)]
mod tests {
    use super::{Came, class};
    use crate::view::CaseClass;

    #[test]
    fn every_case_has_its_class() {
        let passed = Came::Passed { is_flaky: false };
        let flaky = Came::Passed { is_flaky: true };
        let all = [
            Came::Absent,
            Came::NotJudged,
            passed,
            flaky,
            Came::Both,
            Came::Failed,
        ];
        let classes = |base| all.map(|new| class(base, new));
        use CaseClass::{
            Fixed, Flaky, Gone, New, NotJudged, Regressed, StillFailing, StillPassing,
        };
        assert_eq!(classes(Came::Absent)[1..], [New; 5]);
        assert_eq!(classes(Came::NotJudged)[0], Gone);
        assert_eq!(classes(Came::NotJudged)[1..], [NotJudged; 5]);
        assert_eq!(
            classes(passed),
            [Gone, NotJudged, StillPassing, Flaky, Regressed, Regressed]
        );
        assert_eq!(
            classes(flaky),
            [Gone, NotJudged, Flaky, Flaky, Regressed, Regressed]
        );
        assert_eq!(
            classes(Came::Both),
            [Gone, NotJudged, Fixed, Fixed, Flaky, Flaky]
        );
        assert_eq!(
            classes(Came::Failed),
            [Gone, NotJudged, Fixed, Fixed, Flaky, StillFailing]
        );
    }
}
