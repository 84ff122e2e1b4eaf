//! [`Filter`] and its tree.

use std::{collections::HashSet, ops::Range, sync::Arc, time::Duration};

use globset::GlobSet;
use runner_model::{ErrorClass, Outcome};

use crate::problem::{Place, Problem, Problems, Source};

/// Results that `--failed` selects.
const BAD: &str = "unexpected()";

/// A parsed filter.
#[derive(Clone, Debug)]
pub struct Filter {
    text: String,
    root: Expression,
}

#[derive(Clone, Debug)]
pub(crate) enum Expression {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    /// A condition, and its range in the text.
    Is(Condition, Range<usize>),
}

#[derive(Clone, Debug)]
pub(crate) enum Condition {
    Test(GlobSet),
    Provider(GlobSet),
    /// The trial's id or its test's.
    Trial(GlobSet),
    Tag(Vec<String>),
    Meta {
        key: String,
        /// `None` for any value.
        value: Option<GlobSet>,
    },
    Outcome(Vec<Outcome>),
    Error(Vec<ErrorIs>),
    /// The name of a failed check or grader.
    Check(GlobSet),
    /// Lower-case texts that the output contains.
    Output(Vec<String>),
    Log(Vec<String>),
    /// The path of a change in the workspace.
    Changed(GlobSet),
    Flaky,
    Known,
    Unexpected,
    Slower(Duration),
    /// A lower-case part of an id or a message.
    Word(String),
    /// A word with wildcards, which matches ids.
    WordGlob(GlobSet),
    In {
        run: String,
        /// The range of `run` in the text.
        at: Range<usize>,
        filter: Box<Expression>,
        /// Set by [`Filter::resolve`]: the matching tests, as `test@provider`.
        tests: Option<Arc<HashSet<String>>>,
    },
}

impl Condition {
    /// Creates the condition of a test and provider among these, as `test@provider`.
    pub(crate) fn of_run(tests: Arc<HashSet<String>>) -> Self {
        let filter = Box::new(Expression::All(Vec::new()));
        Self::In { run: String::new(), at: 0..0, filter, tests: Some(tests) }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum ErrorIs {
    Class(ErrorClass),
    /// A lower-case part of the message.
    Text(String),
}

/// An `in(RUN, FILTER)` to be looked up.
#[derive(Debug)]
pub struct InRun<'a> {
    /// The run as the user named it.
    pub run: &'a str,
    pub filter: Filter,
}

/// Returns a run's id, and its matching tests as `test@provider`.
pub type RunLookup<'l, E> = dyn FnMut(InRun<'_>) -> Result<(String, HashSet<String>), E> + 'l;

impl Filter {
    pub(crate) fn new(text: &str, root: Expression) -> Self {
        Self { text: text.to_owned(), root }
    }

    pub(crate) fn root(&self) -> &Expression {
        &self.root
    }

    /// Returns the filter that selects results that make the verdict `failed`.
    pub fn failed() -> Self {
        Self::new(BAD, Expression::Is(Condition::Unexpected, 0..BAD.len()))
    }

    /// Returns the filter that selects the tests that failed in a run.
    ///
    /// # Errors
    ///
    /// The name of the run is empty.
    pub fn failed_in(run: &str) -> Result<Self, Problems> {
        Self::parse(&format!("in({}, {BAD})", quoted(run)))
    }

    /// Returns whether a text is a filter rather than a glob, in which a parenthesis is `\(`.
    pub fn is_filter(text: &str) -> bool {
        text.replace("\\(", "").contains('(')
    }

    /// Returns the text, which [`Self::parse`] reads.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Joins filters: all must match. `None` without any.
    pub fn all(filters: Vec<Self>) -> Option<Self> {
        if filters.len() < 2 {
            return filters.into_iter().next();
        }
        let text = filters.iter().map(|filter| format!("({})", filter.text));
        let text = text.collect::<Vec<_>>().join(" & ");
        let mut start = 0;
        let parts = filters.into_iter().map(|mut filter| {
            filter.root.shift(start + 1);
            start += filter.text.len() + ") & (".len();
            filter.root
        });
        let root = Expression::All(parts.collect());
        Some(Self { text, root })
    }

    /// Refuses conditions on results, for a selection of tests that have not run.
    ///
    /// # Errors
    ///
    /// Each such condition with its place.
    pub fn check_for_tests(&self) -> Result<(), Problems> {
        let mut problems = Problems::default();
        self.root.each(false, &mut |condition, at, _| {
            let (message, help) = match condition {
                Condition::Trial(_) => (
                    "`trial(…)` selects one repeat, but a test is selected with all its repeats",
                    "select tests and providers: `test(GLOB) & provider(GLOB)`",
                ),
                Condition::Outcome(_)
                | Condition::Error(_)
                | Condition::Check(_)
                | Condition::Output(_)
                | Condition::Log(_)
                | Condition::Changed(_)
                | Condition::Flaky
                | Condition::Known
                | Condition::Unexpected
                | Condition::Slower(_) => (
                    "this needs results, and nothing has run yet",
                    "for results of an earlier run: `in(latest, outcome(failed))`",
                ),
                Condition::Test(_)
                | Condition::Provider(_)
                | Condition::Tag(_)
                | Condition::Meta { .. }
                | Condition::Word(_)
                | Condition::WordGlob(_)
                | Condition::In { .. } => return,
            };
            let problem = self.problem(at.clone(), message).with_help(help);
            problems.add(usize::MAX, problem);
        });
        if problems.count() == 0 { Ok(()) } else { Err(problems) }
    }

    /// Returns whether `tags` or `meta` of tests are needed, which rows lack.
    pub fn needs_tests(&self) -> bool {
        self.has(|condition| matches!(condition, Condition::Tag(_) | Condition::Meta { .. }))
    }

    /// Returns whether the run's known failures are needed.
    pub fn needs_known(&self) -> bool {
        self.has(|condition| matches!(condition, Condition::Known | Condition::Unexpected))
    }

    /// Returns whether there is a `known()`, except in an `in(RUN, FILTER)`.
    pub fn has_known(&self) -> bool {
        self.has(|condition| matches!(condition, Condition::Known))
    }

    /// Returns whether texts of rows are needed, and not only ids, outcomes and durations.
    pub fn needs_texts(&self) -> bool {
        self.has(|condition| {
            use Condition::{Changed, Check, Error, Log, Output, Word};
            matches!(condition, Error(_) | Check(_) | Output(_) | Log(_) | Changed(_) | Word(_))
        })
    }

    /// Returns an expression that each line of a matching row matches. `None` if all lines have to be parsed.
    pub fn line_pattern(&self) -> Option<regex::bytes::Regex> {
        let texts: Vec<_> = self.root.texts()?.iter().map(|text| regex::escape(text)).collect();
        regex::bytes::Regex::new(&format!("(?i-u:{})", texts.join("|"))).ok()
    }

    /// Returns whether ids or tests are needed, and not only outcomes and durations.
    pub fn needs_ids(&self) -> bool {
        self.has(|condition| {
            !matches!(condition, Condition::Outcome(_) | Condition::Flaky | Condition::Slower(_))
        })
    }

    /// Returns the filter that selects trials with a text in their id, a message or their output.
    pub fn with_text(text: &str) -> Self {
        let text = text.to_lowercase();
        let is = |condition| Expression::Is(condition, 0..0);
        let output = is(Condition::Output(vec![text.clone()]));
        Self::new("", Expression::Any(vec![is(Condition::Word(text)), output]))
    }

    /// Returns whether there is an `in(RUN, FILTER)`.
    pub fn has_runs(&self) -> bool {
        self.has(|condition| matches!(condition, Condition::In { .. }))
    }

    fn has(&self, is_it: fn(&Condition) -> bool) -> bool {
        let mut has = false;
        self.root.each(false, &mut |condition, _, _| has |= is_it(condition));
        has
    }

    /// Calls `each` for every condition with its text, and whether it is negated. Not for filters with `in(RUN, FILTER)`, whose
    /// text changes when it is looked up.
    pub(crate) fn each_term(&self, each: &mut dyn FnMut(&Condition, &str, bool)) {
        if !self.has_runs() {
            self.root.each(false, &mut |condition, at, is_negated| {
                each(condition, &self.text[at.clone()], is_negated);
            });
        }
    }

    /// Returns the words that are not negated, as they are in the text.
    pub fn words(&self) -> Vec<&str> {
        let mut words = Vec::new();
        self.root.each(false, &mut |condition, at, is_negated| {
            if matches!(condition, Condition::Word(_) | Condition::WordGlob(_)) && !is_negated {
                words.push(at.clone());
            }
        });
        words.into_iter().map(|at| &self.text[at]).collect()
    }

    /// Looks up each `in(RUN, FILTER)`, the innermost first. Its id replaces the run's name in the text.
    ///
    /// # Errors
    ///
    /// The first error of `look_up`.
    pub fn resolve<E>(&mut self, look_up: &mut RunLookup<'_, E>) -> Result<(), E> {
        let mut ids = Vec::new();
        self.root.resolve(&self.text, look_up, &mut ids)?;
        // From the end, so that the other ranges stay valid.
        ids.sort_by_key(|(at, _): &(Range<usize>, String)| at.start);
        for (at, id) in ids.into_iter().rev() {
            self.text.replace_range(at, &quoted(&id));
        }
        Ok(())
    }

    pub(super) fn problem(&self, at: Range<usize>, message: &str) -> Problem {
        problem(&self.text, at, message)
    }
}

/// Creates a problem at a place of a filter.
pub(super) fn problem(text: &str, at: Range<usize>, message: impl Into<String>) -> Problem {
    let source = Source::new("filter", text, 1);
    Problem::new(message).at(Place::new(&source, at, ""))
}

impl Expression {
    /// Calls `each` for every condition on the trials themselves, not for those inside of `in(…)`.
    /// Its last argument is whether the condition is negated, starting from `is_negated`.
    fn each(&self, is_negated: bool, each: &mut dyn FnMut(&Condition, &Range<usize>, bool)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.each(is_negated, each));
            }
            Self::Not(part) => part.each(!is_negated, each),
            Self::Is(condition, at) => each(condition, at, is_negated),
        }
    }

    /// Returns texts of which a matching row has at least one, as it is in JSON. `None` if it may have none.
    fn texts(&self) -> Option<Vec<&str>> {
        // Other letters can be written in several ways.
        let is_plain = |text: &&str| {
            text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\'))
        };
        let texts = match self {
            Self::All(parts) => return parts.iter().find_map(Self::texts),
            Self::Any(parts) => {
                let all: Option<Vec<_>> = parts.iter().map(Self::texts).collect();
                return all.map(|all| all.concat());
            }
            Self::Is(Condition::Word(word), _) => vec![word.as_str()],
            Self::Is(Condition::Output(texts), _) => texts.iter().map(String::as_str).collect(),
            Self::Is(..) | Self::Not(_) => return None,
        };
        texts.iter().all(is_plain).then_some(texts)
    }

    fn shift(&mut self, by: usize) {
        let shifted = |at: &mut Range<usize>| *at = at.start + by..at.end + by;
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter_mut().for_each(|part| part.shift(by));
            }
            Self::Not(part) => part.shift(by),
            Self::Is(condition, at) => {
                shifted(at);
                if let Condition::In { at, filter, .. } = condition {
                    shifted(at);
                    filter.shift(by);
                }
            }
        }
    }

    fn resolve<E>(
        &mut self,
        text: &str,
        look_up: &mut RunLookup<'_, E>,
        ids: &mut Vec<(Range<usize>, String)>,
    ) -> Result<(), E> {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter_mut().try_for_each(|part| part.resolve(text, look_up, ids))
            }
            Self::Not(part) => part.resolve(text, look_up, ids),
            Self::Is(Condition::In { run, at, filter, tests }, _) => {
                filter.resolve(text, look_up, ids)?;
                let inner = Filter { text: text.to_owned(), root: (**filter).clone() };
                let (id, found) = look_up(InRun { run, filter: inner })?;
                *tests = Some(Arc::new(found));
                ids.push((at.clone(), id));
                Ok(())
            }
            Self::Is(..) => Ok(()),
        }
    }
}

/// Quotes an argument, unless it has no special character.
fn quoted(text: &str) -> String {
    if !text.is_empty()
        && text.chars().all(|character| character.is_alphanumeric() || "-_./~:".contains(character))
    {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
