//! Names in paths and keys after `?` that several calls have.

use runner_model::{Time, units::parse_age};
use runner_record::now;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{HttpProblem, Result};

/// A query without keys, or an empty body.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The name of a run in a path.
#[derive(Deserialize)]
pub(crate) struct RunName {
    pub run: String,
}

/// Returns the value of a key. `None` for an empty value, such as that of an empty field of a form.
pub(crate) fn present(value: &Option<String>) -> Option<&str> {
    value.as_deref().filter(|value| !value.is_empty())
}

/// Parses an age before now, or a time.
pub(crate) fn since(text: &str) -> Result<Time> {
    if let Ok(age) = parse_age(text) {
        return Ok(Time::from_millis(now().as_millis() - age.as_millis() as i64));
    }
    Time::parse(text).ok_or_else(|| {
        let problem = HttpProblem::invalid(&format!("`since` has no value `{text}`"));
        problem.with_help("use an age such as `7d`, or a time such as `2026-11-20T09:30:00Z`")
    })
}

/// Parses words with commas between them.
pub(crate) fn words<T: Copy>(
    key: &str,
    value: &Option<String>,
    all: &[T],
    word: fn(T) -> &'static str,
) -> Result<Vec<T>> {
    let parse = |text: &str| {
        let found = all.iter().find(|one| word(**one) == text).copied();
        found.ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|one| word(*one)).collect();
            let detail = format!("`{key}` has no value `{text}`");
            HttpProblem::invalid(&detail).with_help(format!("use {}", known.join(", ")))
        })
    };
    present(value).into_iter().flat_map(|text| text.split(',')).map(parse).collect()
}
