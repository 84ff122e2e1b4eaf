//! [`Expect`]: what a test expects of a reply.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use jsonschema::PatternOptions;
use regex::Regex;
use serde_json::{Map, Value};

use super::{ExpectedError, units};
use crate::model::{Digest, ShownDuration};

/// What a test expects of a reply. What is absent is not checked.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The output is exactly this.
    pub equals: Option<Value>,
    /// Each of these is in the output: a text in a text, a value in a list.
    pub contains: Vec<Value>,
    /// The output is a text in which this matches.
    pub matches: Option<Regex>,
    /// The output has at least what this has.
    pub json: Option<Value>,
    /// How far numbers of `equals` and `json` may be off.
    pub tolerance: Option<f64>,
    /// The output is valid by this.
    pub schema: Option<Arc<Schema>>,
    /// The attempt ends in this way.
    pub error: Option<ExpectedError>,
    /// The command exits with this.
    pub exit_code: Option<i32>,
    /// The graders that judge the output once everything else has held, each once.
    pub graders: Vec<String>,
    /// The provider's score is at least this, or the scores of the graders where there are some.
    pub min_score: Option<f64>,
    /// The attempt takes at most this long.
    pub max_duration: Option<Duration>,
    /// The guest's memories have at most this many bytes.
    pub max_memory: Option<u64>,
}

/// How often a pattern of a schema may try again in one text before it counts as not matching: what it is tried on is a
/// guest's.
const MAX_BACKTRACKS: usize = 10_000;

/// A JSON Schema, ready to use.
pub struct Schema {
    value: Value,
    validator: jsonschema::Validator,
}

impl Schema {
    /// Compiles a schema. One that refers to other documents is refused.
    pub(super) fn compile(value: Value) -> Result<Self, String> {
        let linear = jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(&value);
        // Patterns that look around, or refer back, take an engine that tries.
        let validator = linear.or_else(|_| {
            let trying = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
            let options = jsonschema::options();
            options.with_pattern_options(trying).build(&value)
        });
        match validator {
            Ok(validator) => Ok(Self { value, validator }),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The schema itself.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The compiled form.
    pub fn validator(&self) -> &jsonschema::Validator {
        &self.validator
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}

impl Expect {
    /// Reads the checked and resolved form that a suite holds; `None` if it is none.
    pub(super) fn read(
        mut value: Map<String, Value>,
        schemas: &BTreeMap<Digest, Arc<Schema>>,
    ) -> Option<Self> {
        let mut expect = Self::default();
        for (key, value) in &mut value {
            let value = value.take();
            match key.as_str() {
                "equals" => expect.equals = Some(value),
                "contains" => expect.contains = one_or_many(value),
                "matches" => expect.matches = Some(Regex::new(value.as_str()?).ok()?),
                "json" => expect.json = Some(value),
                "tolerance" => expect.tolerance = Some(value.as_f64()?),
                "schema" => {
                    let digest = Digest::parse(value.as_str()?)?;
                    expect.schema = Some(Arc::clone(schemas.get(&digest)?));
                }
                "error" => expect.error = Some(ExpectedError::parse(value.as_str()?)?),
                "exit_code" => expect.exit_code = Some(value.as_i64()?.try_into().ok()?),
                "graders" => expect.graders = names(&value)?,
                "min_score" => expect.min_score = Some(value.as_f64()?),
                "max_duration" => {
                    expect.max_duration = Some(units::parse_duration(value.as_str()?).ok()?);
                }
                "max_memory" => expect.max_memory = Some(units::size_of(&value)?),
                _ => return None,
            }
        }
        Some(expect)
    }
}

impl Expect {
    /// What is expected, as the keys of a scenario's `expect` say it.
    pub fn told(&self) -> Map<String, Value> {
        let Self {
            equals,
            contains,
            matches,
            json,
            tolerance,
            schema,
            error,
            exit_code,
            graders,
            min_score,
            max_duration,
            max_memory,
        } = self;
        let text = |text: &dyn fmt::Display| Value::from(text.to_string());
        let keys = [
            ("equals", equals.clone()),
            (
                "contains",
                (!contains.is_empty()).then(|| contains.clone().into()),
            ),
            ("matches", matches.as_ref().map(|regex| text(regex))),
            ("json", json.clone()),
            ("tolerance", tolerance.map(Value::from)),
            ("schema", schema.as_ref().map(|schema| schema.value.clone())),
            ("error", error.map(|error| error.as_str().into())),
            ("exit_code", exit_code.map(Value::from)),
            (
                "graders",
                (!graders.is_empty()).then(|| graders.clone().into()),
            ),
            ("min_score", min_score.map(Value::from)),
            (
                "max_duration",
                max_duration.map(|time| text(&ShownDuration(time))),
            ),
            ("max_memory", max_memory.map(Value::from)),
        ];
        let keys = keys.into_iter();
        keys.filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }
}

fn names(value: &Value) -> Option<Vec<String>> {
    let names = value.as_array()?.iter();
    names.map(|name| name.as_str().map(str::to_owned)).collect()
}

fn one_or_many(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        one => vec![one],
    }
}
