//! Globs over ids and names, in which `*` matches `/`, and over files, in which it does not.

use std::borrow::Cow;

use globset::{Error, Glob, GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

/// Compiles a glob over the ids of tests and the names of providers.
///
/// Brackets that contain `=`, or only `*`, are part of a name such as `gpt[size=small]`, not a set of characters.
pub(crate) fn over_ids(text: &str) -> Result<Glob, Error> {
    Glob::new(&escape_names(text))
}

/// A glob over the ids of trials and tests.
#[derive(Debug)]
pub struct IdGlob(GlobMatcher);

impl IdGlob {
    /// Compiles a glob.
    ///
    /// # Errors
    ///
    /// The mistake, which continues a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        let glob = over_ids(text).map_err(|error| error.kind().to_string())?;
        Ok(Self(glob.compile_matcher()))
    }

    pub fn is_match(&self, id: &str) -> bool {
        self.0.is_match(id)
    }
}

/// Compiles a glob over files.
pub(crate) fn over_files(text: &str) -> Result<Glob, Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

/// Compiles a set of globs over ids. It matches if one of them does.
pub(crate) fn set<T: AsRef<str>>(globs: &[T]) -> Result<GlobSet, Error> {
    let mut builder = GlobSetBuilder::new();
    for text in globs {
        builder.add(over_ids(text.as_ref())?);
    }
    builder.build()
}

/// Escapes the brackets in names of a matrix.
fn escape_names(text: &str) -> Cow<'_, str> {
    if !text.contains('[') {
        return text.into();
    }
    let mut escaped = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let Some(length) = rest[open..].find(']') else { break };
        let close = open + length;
        let inside = &rest[open + 1..close];
        let is_name = inside.contains('=') || inside == "*";
        if is_name && !rest[..open].ends_with('\\') {
            escaped.push_str(&format!("{}\\[{inside}\\]", &rest[..open]));
        } else {
            escaped.push_str(&rest[..=close]);
        }
        rest = &rest[close + 1..];
    }
    escaped.push_str(rest);
    escaped.into()
}

#[cfg(test)]
mod tests {
    use super::over_ids;

    #[test]
    fn brackets_with_equals_sign_are_literal() {
        let matches = |text: &str, name: &str| {
            let glob = over_ids(text).unwrap();
            glob.compile_matcher().is_match(name)
        };
        let name = "gpt[size=small,temp=0.5]";
        for text in [
            name,
            "gpt*",
            "gpt[size=*]",
            "gpt[size=small,*]",
            "gpt[*]",
            "*[*temp=0.5]",
            "gpt[[]*",
            "gpt\\[size=small,temp=0.5\\]",
            "gpt[size={small,large},temp=?.5]",
        ] {
            assert!(matches(text, name), "{text}");
        }
        for text in ["gpt[size=large,*]", "gpt", "gpt[siz]*"] {
            assert!(!matches(text, name), "{text}");
        }
        assert!(matches("a*c", "a/b/c"));
        assert!(matches("a[0-3]/b", "a2/b"));
        // As a set of characters, `z-a` would be invalid.
        assert!(matches("m[v=z-a]", "m[v=z-a]"));
    }
}
