//! [`Selection`]: which tests run on which providers, as the command line says it and as manifests store it.

use serde_json::{Map, Value};

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
    /// Overrides every `repeat`.
    pub repeat: Option<u32>,
}

/// A list of a selection, by its key in manifests.
type FilterList = (&'static str, fn(&mut Selection) -> &mut Vec<String>);

const LISTS: [FilterList; 4] = [
    ("tests", |selection| &mut selection.tests),
    ("providers", |selection| &mut selection.providers),
    ("tags", |selection| &mut selection.tags),
    ("exclude", |selection| &mut selection.exclude),
];

/// The key of `repeat` in manifests.
const REPEAT: &str = "repeat";

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
        if let Some(repeat) = self.repeat {
            stored.insert(REPEAT.to_owned(), repeat.into());
        }
        Value::Object(stored)
    }

    /// Reads back what [`to_stored`](Self::to_stored) has written.
    pub fn of_stored(stored: &Value) -> Self {
        let mut selection = Self::default();
        for (key, list) in LISTS {
            let globs = stored[key].as_array().into_iter().flatten();
            let globs = globs.filter_map(Value::as_str).map(str::to_owned);
            list(&mut selection).extend(globs);
        }
        selection.repeat = stored[REPEAT]
            .as_u64()
            .and_then(|repeat| repeat.try_into().ok());
        selection
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Selection;

    #[test]
    fn what_is_stored_has_these_keys_and_is_read_back() {
        let selection = Selection {
            tests: vec!["a/*".to_owned()],
            providers: vec!["b".to_owned(), "c".to_owned()],
            tags: vec!["d".to_owned()],
            exclude: vec!["e".to_owned()],
            repeat: Some(3),
        };
        let stored = selection.to_stored();
        let expected = json!({
            "tests": ["a/*"], "providers": ["b", "c"], "tags": ["d"], "exclude": ["e"], "repeat": 3,
        });
        assert_eq!(stored, expected);
        assert_eq!(Selection::of_stored(&stored), selection);
        let everything = Selection::default();
        assert_eq!(everything.to_stored(), json!({}));
        assert_eq!(Selection::of_stored(&Value::Null), everything);
    }
}
