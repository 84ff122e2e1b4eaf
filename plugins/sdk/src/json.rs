//! Values that are JSON text for the host: [`FromJson`] for inputs, [`IntoJson`] for outputs, [`Raw`] for the text itself.

use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};

/// A type that can be read from JSON text: every type with [`serde::Deserialize`] and [`JsonSchema`].
pub trait FromJson: Sized {
    /// Parses JSON text.
    fn from_json(text: String) -> Result<Self, serde_json::Error>;

    /// Returns the JSON Schema of the type, as text. `None` accepts all JSON.
    fn schema() -> Option<String>;
}

impl<T: DeserializeOwned + JsonSchema> FromJson for T {
    fn from_json(text: String) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&text)
    }

    fn schema() -> Option<String> {
        let schema = SchemaGenerator::default().into_root_schema_for::<T>();
        serde_json::to_string(&schema).ok()
    }
}

/// A type that can be written as JSON text: every type with [`serde::Serialize`].
pub trait IntoJson {
    /// Writes the value as JSON.
    fn into_json(self) -> Result<String, serde_json::Error>;
}

impl<T: Serialize> IntoJson for T {
    fn into_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self)
    }
}

/// JSON text that the SDK does not parse. It is the cheapest input, and an output that is already JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw(
    /// The JSON text.
    pub String,
);

impl FromJson for Raw {
    fn from_json(text: String) -> Result<Self, serde_json::Error> {
        Ok(Self(text))
    }

    fn schema() -> Option<String> {
        None
    }
}

impl IntoJson for Raw {
    fn into_json(self) -> Result<String, serde_json::Error> {
        Ok(self.0)
    }
}

/// An empty configuration. Every key is refused.
// The schema is a literal, so that a plugin without types of its own does not contain schemars.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NoConfig;

impl FromJson for NoConfig {
    fn from_json(text: String) -> Result<Self, serde_json::Error> {
        // The host sends this if a scenario has no `config`. It needs no parser.
        if text == "{}" {
            return Ok(Self);
        }
        serde_json::from_str::<Empty>(&text).map(|Empty| Self)
    }

    fn schema() -> Option<String> {
        Some(r#"{"type":"object","additionalProperties":false}"#.to_owned())
    }
}

/// An object without keys.
struct Empty;

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EmptyVisitor)
    }
}

struct EmptyVisitor;

impl<'de> Visitor<'de> for EmptyVisitor {
    type Value = Empty;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("no configuration")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Empty, A::Error> {
        match map.next_entry::<String, IgnoredAny>()? {
            None => Ok(Empty),
            Some((key, _)) => Err(serde::de::Error::custom(format_args!(
                "unknown key `{key}`: this provider has no configuration"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{FromJson, IntoJson, NoConfig, Raw};

    #[test]
    fn raw_text_passes_through_untouched() {
        let text = r#"{ "b" : 1.0,  "a": [ ] }"#;
        let raw = Raw::from_json(text.to_owned()).unwrap();
        assert_eq!(raw.into_json().unwrap(), text);
    }

    #[test]
    fn no_config_refuses_every_key() {
        assert!(NoConfig::from_json("{}".to_owned()).is_ok());
        assert!(NoConfig::from_json(" { } ".to_owned()).is_ok());
        let error = NoConfig::from_json(r#"{"suffix":"!"}"#.to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown key `suffix`: this provider has no configuration at line 1 column 14"
        );
        assert!(NoConfig::from_json("3".to_owned()).is_err());
    }

    #[test]
    fn a_schema_is_derived_from_the_type() {
        let schema: serde_json::Value =
            serde_json::from_str(&<Vec<u8> as FromJson>::schema().unwrap()).unwrap();
        assert_eq!(schema["type"], "array");
        assert_eq!(Raw::schema(), None);
    }
}
