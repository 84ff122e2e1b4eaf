//! [`Text`]: a string that borrows from its JSON source if possible.

pub mod alike;
pub(crate) mod enum_text;
pub mod globs;
pub mod json;
pub mod recent_output;
pub mod template;
pub mod units;
pub mod visible;

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{Deserialize, Serialize};

/// Returns a file's text without the byte order mark that some editors on Windows write at its start.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A string that borrows from its JSON source unless it has escapes. serde's `Option<Cow<str>>` never borrows, and `&str`
/// refuses escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

impl Text<'_> {
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::Text;

    #[test]
    fn only_texts_with_escapes_are_copied() {
        let json = r#"["plain",null,"a\"b"]"#;
        let texts: Vec<Option<Text<'_>>> = serde_json::from_str(json).unwrap();
        let [Some(plain), None, Some(escaped)] = &texts[..] else { panic!("{texts:?}") };
        assert!(matches!(plain.0, Cow::Borrowed("plain")));
        assert!(matches!(&escaped.0, Cow::Owned(text) if text == "a\"b"));
    }
}
