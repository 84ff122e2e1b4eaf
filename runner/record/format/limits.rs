//! [`ManifestLimits`]: what one attempt may use, as the manifest keeps it.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap as _};

use crate::model::Limits;

/// The key of the one limit that is a duration, in milliseconds.
const TIME: &str = "time_ms";

/// What one attempt may use: the keys of the scenario's `limits`.
///
/// What an earlier version did not know is 0 in what it wrote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ManifestLimits(pub Limits);

impl Serialize for ManifestLimits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(time) = self.0.time {
            let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            map.serialize_entry(TIME, &milliseconds)?;
        }
        for limit in Limits::TABLE {
            map.serialize_entry(limit.key, &limit.get(&self.0))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for ManifestLimits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = BTreeMap::<Cow<'_, str>, Option<u64>>::deserialize(deserializer)?;
        let value = |key: &str| stored.get(key).copied().flatten();
        let mut limits = Limits {
            time: value(TIME).map(Duration::from_millis),
            ..Limits::default()
        };
        for limit in Limits::TABLE {
            *limit.get_mut(&mut limits) = value(limit.key).unwrap_or_default();
        }
        Ok(Self(limits))
    }
}

impl JsonSchema for ManifestLimits {
    fn schema_name() -> Cow<'static, str> {
        "ManifestLimits".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = |meaning: &str| json_schema!({ "description": meaning, "type": "integer", "minimum": 0 });
        let time = "The longest that an attempt may take, in milliseconds, where the scenario or the command line caps it.";
        let table = Limits::TABLE.iter();
        let table = table.map(|limit| (limit.key, number(limit.meaning())));
        let properties: BTreeMap<_, _> = table.chain([(TIME, number(time))]).collect();
        let required: Vec<_> = Limits::TABLE.iter().map(|limit| limit.key).collect();
        json_schema!({
            "description": "What one attempt may use: the keys of the scenario's `limits`.",
            "type": "object",
            "properties": properties,
            "required": required,
        })
    }
}
