//! How values are written: an enum by its words, other types by their text, and keys only where they say something.

use serde::{Deserialize, Deserializer};

/// Lets serde write a type as the text that it displays, and read it with a function of that text.
macro_rules! as_text {
    ($name:ty, $parse:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
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
pub(crate) use as_text;

/// Declares an enum whose values are written as words.
macro_rules! text_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word for it on disk, on the command line and in messages.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// Reads [`Self::as_str`] back.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        crate::enum_text::as_text!($name, |word| {
            Self::parse(word)
                .ok_or_else(|| format!("`{word}` is none of `{}`", [$($word),+].join("`, `")))
        });
    };
}
pub(crate) use text_enum;

/// Tells whether a value has nothing to say, so that its key is not written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads a key that is there, also if it is `null`.
pub(crate) fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
