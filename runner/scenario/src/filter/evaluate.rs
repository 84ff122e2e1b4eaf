//! Evaluates a filter. The answer is unknown if it depends on facts that are not known yet.

use std::borrow::Cow;

use runner_model::{RowRef, known::KnownState, outcome::Verdict};

use super::expression::{Condition, ErrorIs, Expression, Filter};

/// Facts about a trial, or about a test on a provider. `None` if a fact is not known.
pub trait Facts {
    fn test(&self) -> Option<&str>;

    fn provider(&self) -> Option<&str>;

    /// Returns whether the test has a tag.
    fn has_tag(&self, tag: &str) -> Option<bool>;

    /// Calls `matches` with the value of a key of the test's `meta` as text. `Some(false)` if it has no such key.
    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool>;

    /// Returns the row that settles the trial.
    fn row(&self) -> Option<&RowRef<'_>>;

    /// Returns the result by the known failures.
    fn known(&self) -> Option<KnownState>;

    /// Returns everything that the attempt logged and printed.
    fn log(&self) -> Option<Cow<'_, str>>;

    /// Returns the paths that the attempt has changed in its workspace.
    fn changed(&self) -> Option<Vec<String>>;
}

impl Filter {
    /// Returns whether the filter matches. `None` if that depends on facts that are not known.
    pub fn matches(&self, facts: &dyn Facts) -> Option<bool> {
        self.root().matches(facts)
    }
}

impl Expression {
    fn matches(&self, facts: &dyn Facts) -> Option<bool> {
        match self {
            Self::All(parts) => combine(parts, facts, false),
            Self::Any(parts) => combine(parts, facts, true),
            Self::Not(part) => part.matches(facts).map(|matches| !matches),
            Self::Is(condition, _) => condition.matches(facts),
        }
    }
}

/// Returns `decisive` if a part has this answer, unknown if one is unknown, and otherwise the opposite.
fn combine(parts: &[Expression], facts: &dyn Facts, decisive: bool) -> Option<bool> {
    let mut answer = Some(!decisive);
    for part in parts {
        match part.matches(facts) {
            Some(matches) if matches == decisive => return Some(decisive),
            Some(_) => {}
            None => answer = None,
        }
    }
    answer
}

impl Condition {
    fn matches(&self, facts: &dyn Facts) -> Option<bool> {
        match self {
            Self::Test(globs) => Some(globs.is_match(facts.test()?)),
            Self::Provider(globs) => Some(globs.is_match(facts.provider()?)),
            Self::Trial(globs) => {
                let row = facts.row()?;
                Some(globs.is_match(&*row.test) || globs.is_match(row.trial.to_string()))
            }
            Self::Tag(tags) => {
                tags.iter().map(|tag| facts.has_tag(tag)).reduce(|any, has| Some(any? || has?))?
            }
            Self::Meta { key, value } => {
                facts.meta(key, &|text| value.as_ref().is_none_or(|globs| globs.is_match(text)))
            }
            Self::Outcome(outcomes) => Some(outcomes.contains(&facts.row()?.outcome)),
            Self::Error(errors) => {
                let error = facts.row()?.error.as_ref();
                Some(error.is_some_and(|error| {
                    errors.iter().any(|is| match is {
                        ErrorIs::Class(class) => error.class == Some(*class),
                        ErrorIs::Text(text) => contains(&error.to_string(), text),
                    })
                }))
            }
            Self::Check(globs) => {
                Some(facts.row()?.failed_checks().any(|name| globs.is_match(name)))
            }
            Self::Output(texts) => {
                let output = facts.row()?.output.as_ref();
                Some(output.is_some_and(|output| {
                    let output = output_text(output.get());
                    texts.iter().any(|text| contains(&output, text))
                }))
            }
            Self::Log(texts) => {
                let log = facts.log()?;
                Some(texts.iter().any(|text| contains(&log, text)))
            }
            Self::Changed(globs) => Some(facts.changed()?.iter().any(|path| globs.is_match(path))),
            Self::Flaky => facts.row().map(|row| row.flaky),
            Self::Known => Some(facts.known()? == KnownState::Known),
            Self::Unexpected => Some(facts.known()?.is_unexpected(facts.row()?.outcome)),
            Self::Slower(duration) => {
                // A table has durations with this precision. Filters with and without texts select the same trials.
                let limit = (duration.as_secs_f64() * 1e3) as f32;
                Some(facts.row()?.duration_ms as f32 > limit)
            }
            Self::Word(word) => word_matches(word, facts),
            Self::WordGlob(globs) => {
                if globs.is_match(facts.test()?) {
                    return Some(true);
                }
                let id = format!("{}@{}", facts.test()?, facts.provider()?);
                let is_trial = |row: &RowRef<'_>| globs.is_match(row.trial.to_string());
                Some(globs.is_match(id) || facts.row().is_some_and(is_trial))
            }
            Self::In { tests, .. } => {
                let id = format!("{}@{}", facts.test()?, facts.provider()?);
                Some(tests.as_ref()?.contains(&id))
            }
        }
    }
}

/// Returns whether a part of the id or of a message is the word.
fn word_matches(word: &str, facts: &dyn Facts) -> Option<bool> {
    let Some(row) = facts.row() else {
        if contains(facts.test()?, word) {
            return Some(true);
        }
        return Some(contains(&format!("{}@{}", facts.test()?, facts.provider()?), word));
    };
    let failed = row.checks.iter().filter(|check| check.verdict == Verdict::Fail);
    let mut differences = failed.clone().flat_map(|check| &check.differences);
    let checks = failed
        .flat_map(|check| [Some(check.label()), check.message.as_deref(), check.stderr.as_deref()]);
    let grades = row.grades.iter().filter(|grade| grade.verdict != Some(Verdict::Pass));
    let mut errors = grades.clone().filter_map(|grade| grade.error.as_ref()).chain(&row.error);
    let grades = grades.map(|grade| grade.explanation.as_deref());
    let mut texts = checks.chain(grades).chain([row.summary.as_deref()]).flatten();
    Some(
        contains(&row.trial.to_string(), word)
            || texts.any(|text| contains(text, word))
            || errors.any(|error| contains(&error.to_string(), word))
            || differences.any(|difference| contains(&difference.to_string(), word)),
    )
}

/// Returns whether `text` contains a lower-case text. Letter case does not matter.
fn contains(text: &str, lower: &str) -> bool {
    text.contains(lower) || text.to_lowercase().contains(lower)
}

/// Returns the output: a text as it is, another value as JSON.
fn output_text(json: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(json) {
        Ok(text) => text.into(),
        Err(_) => json.into(),
    }
}
