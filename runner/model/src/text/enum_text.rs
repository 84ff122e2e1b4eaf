//! Macros and functions for serde and schemas: enums as words, other types as their text, and absent keys.

use serde::{Deserialize, Deserializer};

/// Implements `JsonSchema` for a type that is written as a text, with the properties of its schema.
macro_rules! text_schema {
    ($name:ty, $($key:literal: $value:expr),*) => {
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", $($key: $value),*})
            }
        }
    };
}
pub(crate) use text_schema;

text_schema!(crate::Text<'_>,);

/// Implements serde and `JsonSchema` for a type by its text and a parser. The text is that of `Display`, unless a faster way is
/// given.
macro_rules! as_text {
    ($name:ty, $parse:expr) => {
        crate::enum_text::as_text!($name, $parse, |this, serializer| serializer.collect_str(this));
    };
    ($name:ty, $parse:expr, |$this:ident, $serializer:ident| $serialize:expr) => {
        crate::enum_text::text_schema!($name,);
        crate::enum_text::serde_text!($name, $parse, |$this, $serializer| $serialize);
    };
}
pub(crate) use as_text;

/// Implements serde as [`as_text`] does.
macro_rules! serde_text {
    ($name:ty, $parse:expr, |$this:ident, $serializer:ident| $serialize:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, $serializer: S) -> Result<S::Ok, S::Error> {
                let $this = self;
                $serialize
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = crate::Text::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<Self, _> = $parse;
                parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_text;

/// Declares an enum whose values have words for text formats.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, schemars::JsonSchema)]
        $vis enum $name { $($(#[$doc])* #[schemars(rename = $word)] $variant,)+ }

        impl $name {
            /// All values, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word on disk, on the command line and in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Parses the word of [`Self::as_str`].
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        crate::enum_text::serde_text!(
            $name,
            |word| Self::parse(word)
                .ok_or_else(|| format!("`{word}` is not one of `{}`", [$($word),+].join("`, `"))),
            |this, serializer| serializer.serialize_str(this.as_str())
        );
    };
}
pub(crate) use text_enum;

/// Returns whether a value's key can be absent.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Returns the weight of tests and graders without one of their own.
pub(crate) fn default_weight() -> f64 {
    1.0
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
pub(crate) fn is_default_weight(weight: &f64) -> bool {
    weight.to_bits() == 1.0_f64.to_bits()
}

/// Reads a key that is present, also if its value is `null`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
