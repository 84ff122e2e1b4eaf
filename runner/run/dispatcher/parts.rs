//! What a dispatcher is made of.

use std::time::Duration;

use super::{grading::GradingParts, lane::Lane, pace::Ahead, poison::Suspects, work::Work};
use crate::{
    model::{Fingerprint, Reason},
    plugin::Moment,
    record::State,
    run::{spending::Spending, stop::Cause},
    scenario::Test,
};

/// What bounds a session.
pub(in crate::run) struct Rules {
    /// At how many trials that ended badly the run gives up.
    pub(in crate::run) fail_fast: Option<u64>,
    /// How long guests are asked to stop before they are interrupted.
    pub(in crate::run) grace: Duration,
    /// The run's own deadline.
    pub(in crate::run) ends: Moment,
    /// What sets it, for people.
    pub(in crate::run) limit: String,
    /// How many attempts run at once, where executors together could take more than was asked for.
    pub(in crate::run) most: Option<usize>,
    /// Whether workers on other machines are to make the attempts.
    pub(in crate::run) is_spread: bool,
    /// How long somebody else is waited for, where all machines that there were are gone or set aside.
    pub(in crate::run) forsaken: Duration,
    /// How much work lies ready with executors, so that they never wait for the dispatcher.
    pub(in crate::run) ahead: Ahead,
    /// What may be used up of what attempts measure, and is.
    pub(in crate::run) spending: Spending,
}

impl Rules {
    /// Why the run begins nothing more, `bad` trials having ended badly.
    pub(super) fn gives_up(&self, bad: u64) -> Option<Cause> {
        if self.fail_fast.is_some_and(|most| bad >= most) {
            return Some(Cause::of(Reason::FailFast));
        }
        self.spending.used_up().map(Cause::of_budget)
    }

    /// Begins nothing more on providers that have used up a budget of their own.
    pub(super) fn close_spent(&self, work: &mut Work) {
        let spending = &self.spending;
        if spending.is_bounded()
            && work.close(|name| spending.is_used_up_by(name))
            && let Some(text) = spending.used_up_by_providers()
        {
            tracing::info!("{text}; the other providers go on");
        }
    }

    /// Tells of budgets that bound nothing, attempts having been made.
    pub(super) fn tell_of_idle_budgets(&self) {
        for budget in self.spending.unmeasured() {
            tracing::warn!("the budget of `{budget}` bounds nothing: no attempt has measured that");
        }
    }

    /// Why work `remains` and what is said of it: where nothing else has ended the session, that providers have used up
    /// budgets of their own.
    pub(super) fn cause_left(
        &self,
        remains: bool,
        cause: Option<Cause>,
        said: Option<String>,
    ) -> (Option<Cause>, Option<String>) {
        match self.spending.used_up_by_providers() {
            Some(used_up) if remains && cause.is_none() => {
                (Some(Cause::of(Reason::Budget)), said.or(Some(used_up)))
            }
            _ => (cause, said),
        }
    }

    /// How many attempts may be assigned and not answered, whatever executors could take.
    ///
    /// If all of them end badly, the run gives up before any is begun that nobody waits for, but for those that executors
    /// would otherwise be idle for. With a budget none is begun before it is known what those before have used up.
    pub(super) fn most_in_flight(&self, bad: u64, slots: usize) -> usize {
        let slots = slots.min(self.most.unwrap_or(usize::MAX));
        if self.most.is_some() {
            return slots;
        }
        if self.spending.is_bounded() {
            return slots;
        }
        let Some(most) = self.fail_fast else {
            return usize::MAX;
        };
        let left = usize::try_from(most.saturating_sub(bad)).unwrap_or(usize::MAX);
        left.max(slots)
    }
}

/// The fingerprint of a test's trials on the provider in this place of the scenario.
pub(in crate::run) type FingerprintOf = Box<dyn Fn(usize, &Test) -> Fingerprint>;

/// The parts that a dispatcher is made of.
pub(in crate::run) struct DispatcherParts<E> {
    pub(in crate::run) out: E,
    pub(in crate::run) rules: Rules,
    pub(in crate::run) state: State,
    pub(in crate::run) lanes: Vec<Lane>,
    pub(in crate::run) suspects: Suspects,
    pub(in crate::run) grading: GradingParts,
    pub(in crate::run) fingerprint: FingerprintOf,
}
