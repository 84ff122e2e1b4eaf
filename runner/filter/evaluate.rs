//! Asking a filter about a trial, with three answers: it holds, it does not, or that depends on what is not known yet.

use super::{
    ask::Facts,
    expression::{Condition, Expression, Filter},
};
use crate::model::scalar_text;

impl Filter {
    /// Tells whether a trial is meant; `None` if that depends on what is not known of it.
    pub(crate) fn holds(&self, facts: &dyn Facts) -> Option<bool> {
        self.root.holds(facts)
    }
}

impl Expression {
    /// Tells whether it holds for a trial; `None` if that depends on what is not known of it.
    pub(crate) fn holds(&self, facts: &dyn Facts) -> Option<bool> {
        match self {
            Self::All(parts) => decide(parts, facts, false),
            Self::Any(parts) => decide(parts, facts, true),
            Self::Not(part) => part.holds(facts).map(|holds| !holds),
            Self::Ask(question, _) => question.answer(facts),
        }
    }
}

/// One part with the answer `decisive` decides; then one that is not known; else all have the other answer.
fn decide(parts: &[Expression], facts: &dyn Facts, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for part in parts {
        match part.holds(facts) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

impl Condition {
    fn answer(&self, facts: &dyn Facts) -> Option<bool> {
        match self {
            Self::Test(globs) => facts.test().map(|test| globs.is_match(test)),
            Self::Provider(globs) => facts.provider().map(|provider| globs.is_match(provider)),
            Self::Trial(globs) => {
                let by_test = facts.test().map(|test| globs.is_match(test));
                match by_test {
                    Some(true) => Some(true),
                    _ => facts.trial().map(|trial| globs.is_match(trial.as_ref())),
                }
            }
            Self::Tag(wanted) => {
                let tags = facts.tags()?;
                Some(tags.iter().any(|tag| wanted.contains(tag)))
            }
            Self::Meta { key, value } => {
                let said = facts.meta()?.get(key);
                Some(said.is_some_and(|said| {
                    let value = value.as_ref();
                    value.is_none_or(|value| value.is_match(&*scalar_text(said)))
                }))
            }
            Self::Outcome(wanted) => {
                let outcome = facts.came_to()?.outcome;
                Some(outcome.is_some_and(|outcome| wanted.contains(&outcome)))
            }
            Self::Error(wanted) => {
                let class = facts.came_to()?.error;
                Some(class.is_some_and(|class| wanted.contains(&class)))
            }
            Self::Flaky => Some(facts.came_to()?.is_flaky),
            Self::Slower(than) => {
                let duration = facts.came_to()?.duration;
                Some(duration.is_some_and(|duration| duration > *than))
            }
            Self::In { members, .. } => {
                let (test, provider) = (facts.test()?, facts.provider()?);
                members.as_ref().map(|members| members.has(test, provider))
            }
        }
    }
}
