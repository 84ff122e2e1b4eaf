//! [`Filter`] and its [`Expression`].

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use globset::GlobSet;

use super::{error::FilterError, members::Members};
use crate::model::{ErrorClass, Outcome};

/// Which trials are meant, as a text that was parsed.
///
/// Two filters are equal if their texts are.
#[derive(Clone, Debug)]
pub struct Filter {
    pub(super) text: Arc<str>,
    pub(super) root: Expression,
}

/// A part of a filter.
#[derive(Clone, Debug)]
pub enum Expression {
    /// Each of these holds; without any of them it does.
    All(Vec<Self>),
    /// One of these holds.
    Any(Vec<Self>),
    /// This does not hold.
    Not(Box<Self>),
    /// One question, and where it stands in the text.
    Ask(Condition, Range<usize>),
}

/// What can be asked of a trial.
#[derive(Clone, Debug)]
pub enum Condition {
    /// Whether its test's id matches.
    Test(GlobSet),
    /// Whether its provider's name matches.
    Provider(GlobSet),
    /// Whether its own id, or its test's, matches.
    Trial(GlobSet),
    /// Whether its test has one of these tags.
    Tag(Vec<String>),
    /// Whether its test says this of itself.
    Meta {
        /// The key.
        key: String,
        /// What the value's text matches; `None` for any.
        value: Option<GlobSet>,
    },
    /// Whether it came to one of these.
    Outcome(Vec<Outcome>),
    /// Whether it ended in an error of one of these classes.
    Error(Vec<ErrorClass>),
    /// Whether it passed only after an attempt that did not.
    Flaky,
    /// Whether its last attempt took longer than this.
    Slower(Duration),
    /// Whether the same test on the same provider is one of those of another run for which something holds.
    In {
        /// As it is named, and where.
        run: (String, Range<usize>),
        /// What holds for them.
        of: Box<Expression>,
        /// Which these are, once somebody has looked.
        members: Option<Members>,
    },
}

impl Filter {
    /// Tells whether a text is a filter and no glob: no id has a parenthesis.
    pub fn is_meant_by(text: &str) -> bool {
        text.contains('(')
    }

    /// The text that it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it says.
    pub(crate) fn expression(&self) -> &Expression {
        &self.root
    }

    /// Refuses what cannot be known of a trial before it has run.
    ///
    /// # Errors
    ///
    /// Fails with the first such question and its place.
    pub fn check_for_plan(&self) -> Result<(), FilterError> {
        self.check(Condition::unplanned)
    }

    /// Refuses what cannot be asked of a test over many runs.
    ///
    /// # Errors
    ///
    /// Fails with the first such question and its place.
    pub fn check_for_history(&self) -> Result<(), FilterError> {
        self.check(Condition::not_of_many_runs)
    }

    fn check(
        &self,
        refused_for: fn(&Condition) -> Option<(&'static str, &'static str)>,
    ) -> Result<(), FilterError> {
        let mut refused = None;
        self.root.each(&mut |question, at| {
            if refused.is_none()
                && let Some((message, help)) = refused_for(question)
            {
                let error = FilterError::new(&self.text, at.clone(), message);
                refused = Some(error.with_help(help));
            }
        });
        refused.map_or(Ok(()), Err)
    }

    /// Tells whether it asks for tags or `meta`, which rows do not have.
    pub fn asks_for_tags(&self) -> bool {
        self.root.asks_for_tags()
    }

    /// Tells whether it asks what a trial came to.
    pub fn asks_for_results(&self) -> bool {
        let mut asks = false;
        self.root
            .each(&mut |question, _| asks |= question.is_about_results());
        asks
    }
}

impl Expression {
    /// Tells whether it asks for tags, which rows do not have.
    pub fn asks_for_tags(&self) -> bool {
        let mut asks = false;
        self.each(&mut |question, _| asks |= question.is_about_tests());
        asks
    }

    /// Trials that ended badly: what `--failed` means.
    pub fn ended_badly() -> Self {
        let bad = Outcome::ALL.into_iter().filter(|outcome| outcome.is_bad());
        Self::Ask(Condition::Outcome(bad.collect()), 0..0)
    }

    /// Calls `each` with every question that is asked of the trials themselves, and not of those of another run.
    pub(super) fn each<'a>(&'a self, each: &mut dyn FnMut(&'a Condition, &'a Range<usize>)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                for part in parts {
                    part.each(each);
                }
            }
            Self::Not(part) => part.each(each),
            Self::Ask(question, at) => each(question, at),
        }
    }
}

impl Condition {
    /// Tells whether it asks what stands with the test, and not in rows.
    fn is_about_tests(&self) -> bool {
        matches!(self, Self::Tag(_) | Self::Meta { .. })
    }

    fn is_about_results(&self) -> bool {
        match self {
            Self::Outcome(_) | Self::Error(_) | Self::Flaky | Self::Slower(_) => true,
            Self::Test(_)
            | Self::Provider(_)
            | Self::Trial(_)
            | Self::Tag(_)
            | Self::Meta { .. }
            | Self::In { .. } => false,
        }
    }

    /// Why it cannot be asked of a test over many runs, and what to ask instead.
    fn not_of_many_runs(&self) -> Option<(&'static str, &'static str)> {
        let known = matches!(self, Self::Test(_) | Self::Provider(_) | Self::In { .. });
        (!known).then_some((
            "this asks for what one run knows, and a history is of tests over many",
            "`test(GLOB)` and `provider(GLOB)` can be asked for, and `in(RUN, …)` has everything of one run, such as `in(latest, outcome(failed))`",
        ))
    }

    /// Why it cannot be asked before there is a row, and what to ask instead.
    fn unplanned(&self) -> Option<(&'static str, &'static str)> {
        if self.is_about_results() {
            return Some((
                "this asks what a trial came to, and nothing has run yet",
                "`in(latest, outcome(failed))` asks it of the trials of another run",
            ));
        }
        matches!(self, Self::Trial(_)).then_some((
            "this asks for one trial, but a test is selected with all of its repeats",
            "`test(GLOB) & provider(GLOB)` selects tests on providers",
        ))
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Filter {}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}
