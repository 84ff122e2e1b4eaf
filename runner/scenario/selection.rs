//! [`Selection`]: which tests run on which providers, as the command line says it and as manifests store it.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{ScenarioError, globs};
use crate::{
    filter::{Condition, Expression, Filter, FilterError},
    model::Shard,
};

/// How often a test may be said to run.
pub const REPEATS: RangeInclusive<u32> = 1..=1_000_000;

/// What the command line selects. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Globs over test ids, of which one must match; none means all.
    pub tests: Vec<String>,
    /// Globs over providers' names, of which one must match; none means all.
    pub providers: Vec<String>,
    /// Tags, of which a test must have one; none means all.
    pub tags: Vec<String>,
    /// Globs over test ids, of which none may match.
    pub exclude: Vec<String>,
    /// What must hold beside all that; with the trials of other runs looked up.
    pub filter: Option<Filter>,
    /// Overrides every `repeat`.
    pub repeat: Option<u32>,
    /// Which part of all that.
    pub shard: Option<Shard>,
}

/// A list of a selection, by its key in manifests.
type FilterList = (&'static str, fn(&mut Selection) -> &mut Vec<String>);

const LISTS: [FilterList; 4] = [
    ("tests", |selection| &mut selection.tests),
    ("providers", |selection| &mut selection.providers),
    ("tags", |selection| &mut selection.tags),
    ("exclude", |selection| &mut selection.exclude),
];

/// The keys of the others in manifests.
const FILTER: &str = "filter";
const REPEAT: &str = "repeat";
const SHARD: &str = "shard";

impl Selection {
    /// Writes what is set for a manifest.
    pub fn to_stored(&self) -> Value {
        let mut selection = self.clone();
        let mut stored = Map::new();
        for (key, list) in LISTS {
            let list = std::mem::take(list(&mut selection));
            if !list.is_empty() {
                stored.insert(key.to_owned(), list.into());
            }
        }
        if let Some(filter) = &self.filter {
            stored.insert(FILTER.to_owned(), filter.as_str().into());
        }
        if let Some(repeat) = self.repeat {
            stored.insert(REPEAT.to_owned(), repeat.into());
        }
        if let Some(shard) = self.shard {
            stored.insert(SHARD.to_owned(), shard.to_string().into());
        }
        Value::Object(stored)
    }

    /// Reads back what [`to_stored`](Self::to_stored) has written; where its filter asks for trials of other runs, these are
    /// to be looked up again.
    ///
    /// # Errors
    ///
    /// Fails if its filter is none; a newer version may have written it.
    pub fn of_stored(stored: &Value) -> Result<Self, FilterError> {
        let mut selection = Self::default();
        for (key, list) in LISTS {
            let globs = stored[key].as_array().into_iter().flatten();
            let globs = globs.filter_map(Value::as_str).map(str::to_owned);
            list(&mut selection).extend(globs);
        }
        let filter = stored[FILTER].as_str();
        selection.filter = filter.map(Filter::parse).transpose()?;
        selection.repeat = stored[REPEAT]
            .as_u64()
            .and_then(|repeat| repeat.try_into().ok());
        let shard = stored[SHARD].as_str();
        selection.shard = shard.and_then(|shard| shard.parse().ok());
        Ok(selection)
    }

    /// All of it as one expression, which always holds where nothing is selected.
    pub(super) fn expression(&self) -> Result<Expression, ScenarioError> {
        let ask = |globs: &[String], question: fn(globset::GlobSet) -> Condition| {
            let set = globs::set(globs.iter().map(String::as_str));
            let set = set.map_err(|source| ScenarioError::Selection {
                glob: source.glob().unwrap_or_default().to_owned(),
                source,
            })?;
            Ok(set.map(|set| Expression::Ask(question(set), 0..0)))
        };
        let tags = (!self.tags.is_empty()).then(|| Condition::Tag(self.tags.clone()));
        let excluded = ask(&self.exclude, Condition::Test)?;
        let parts = [
            ask(&self.tests, Condition::Test)?,
            ask(&self.providers, Condition::Provider)?,
            tags.map(|tags| Expression::Ask(tags, 0..0)),
            excluded.map(|excluded| Expression::Not(Box::new(excluded))),
            self.filter
                .as_ref()
                .map(|filter| filter.expression().clone()),
        ];
        Ok(Expression::All(parts.into_iter().flatten().collect()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Selection, Shard};
    use crate::filter::Filter;

    #[test]
    fn what_is_stored_has_these_keys_and_is_read_back() {
        let selection = Selection {
            tests: vec!["a/*".to_owned()],
            providers: vec!["b".to_owned(), "c".to_owned()],
            tags: vec!["d".to_owned()],
            exclude: vec!["e".to_owned()],
            filter: Some(Filter::parse("!tag(f)").unwrap()),
            repeat: Some(3),
            shard: Shard::new(2, 7),
        };
        let stored = selection.to_stored();
        let expected = json!({
            "tests": ["a/*"], "providers": ["b", "c"], "tags": ["d"], "exclude": ["e"],
            "filter": "!tag(f)", "repeat": 3, "shard": "2/7",
        });
        assert_eq!(stored, expected);
        assert_eq!(Selection::of_stored(&stored).unwrap(), selection);
        let everything = Selection::default();
        assert_eq!(everything.to_stored(), json!({}));
        assert_eq!(Selection::of_stored(&Value::Null).unwrap(), everything);
    }
}
