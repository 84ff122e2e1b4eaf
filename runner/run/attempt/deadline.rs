//! Which deadline an attempt has, and its name.

use std::time::Duration;

use crate::{
    model::{Limits, ShownDuration},
    plugin::Moment,
    scenario::{DEFAULT_TIMEOUT, Test},
};

/// The command line's cap on every attempt.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::run) struct Budget {
    pub(in crate::run) cap: Option<Duration>,
}

/// When an attempt must have ended, and which rule says so.
#[derive(Clone, Debug)]
pub(in crate::run) struct Deadline {
    pub(in crate::run) at: Moment,
    /// How long that is from the attempt's start.
    pub(super) after: Duration,
    pub(super) rule: Rule,
    /// What somebody set: more than `after` where earlier attempts have used some of it.
    pub(super) set: Duration,
}

/// The rules that end an attempt, from the weakest claim to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// `timeout` of the test, its list or the defaults.
    Attempt,
    /// The provider's `limits.time`.
    Provider,
    /// `--limit time=…`.
    CommandLine,
    /// `trial_timeout`.
    Trial,
}

impl Rule {
    /// A stable word for rows.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Attempt => "timeout",
            Self::Provider => "limits.time",
            Self::CommandLine => "limit-time",
            Self::Trial => "trial_timeout",
        }
    }

    /// Names it for people, with its value.
    fn name(self, set: Duration) -> String {
        let set_text = ShownDuration(set);
        match self {
            Self::Attempt if set == DEFAULT_TIMEOUT => {
                format!("the attempt's `timeout = \"{set_text}\"`, which is the default")
            }
            Self::Attempt => format!("the attempt's `timeout = \"{set_text}\"`"),
            Self::Provider => format!("the provider's `limits.time = \"{set_text}\"`"),
            Self::CommandLine => format!("`--limit time={set_text}`"),
            Self::Trial => format!("the test's `trial_timeout = \"{set_text}\"`"),
        }
    }
}

impl Deadline {
    /// Says what fired, for people.
    pub(super) fn text(&self) -> String {
        let (name, after) = (self.rule.name(self.set), ShownDuration(self.after));
        if self.after < self.set {
            return format!("no reply within {after}, what was left of {name}");
        }
        format!("no reply within {after}, set by {name}")
    }
}

impl Budget {
    /// Finds the smallest of the nested deadlines for an attempt that starts `now`.
    pub(in crate::run) fn deadline(
        self,
        test: &Test,
        limits: &Limits,
        trial_ends: Option<Moment>,
        now: Moment,
    ) -> Deadline {
        let trial_left = match (trial_ends, test.trial_timeout) {
            (Some(ends), _) => Some(ends.saturating_duration_since(now)),
            (None, whole) => whole,
        };
        let rules = [
            (Rule::Provider, limits.time),
            (Rule::CommandLine, self.cap),
            (Rule::Trial, trial_left),
        ];
        let attempt = (Rule::Attempt, test.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let set = rules
            .into_iter()
            .filter_map(|(rule, time)| Some((rule, time?)));
        let (rule, after) = set.fold(
            attempt,
            |least, next| {
                if next.1 < least.1 { next } else { least }
            },
        );
        Deadline {
            at: now + after,
            after,
            rule,
            set: match rule {
                Rule::Trial => test.trial_timeout.unwrap_or(after),
                Rule::Attempt | Rule::Provider | Rule::CommandLine => after,
            },
        }
    }
}
