//! Globs over ids and names. `*` crosses `/`, and the brackets in the name of a provider that a matrix has made are themselves.

use std::borrow::Cow;

use globset::{Error, Glob, GlobSet, GlobSetBuilder};

/// Compiles a glob over the ids of tests and trials and the names of providers.
///
/// A pair of brackets with `=`, or nothing but `*`, between them is no set of characters, but part of a name such as
/// `gpt[size=small]`.
///
/// # Errors
///
/// Fails if the text is no glob.
pub fn glob(text: &str) -> Result<Glob, Error> {
    match with_plain_names(text) {
        Cow::Borrowed(text) => Glob::new(text),
        Cow::Owned(escaped) => Glob::new(&escaped),
    }
}

/// Compiles globs of which one must match; `None` where there is none.
///
/// # Errors
///
/// Fails if one of them is no glob.
pub fn glob_set<'a>(globs: impl Iterator<Item = &'a str>) -> Result<Option<GlobSet>, Error> {
    let mut builder = GlobSetBuilder::new();
    let mut is_empty = true;
    for text in globs {
        builder.add(glob(text)?);
        is_empty = false;
    }
    let set = builder.build()?;
    Ok((!is_empty).then_some(set))
}

/// Escapes the brackets of names that a matrix has made.
fn with_plain_names(text: &str) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('[') {
        let Some(length) = rest[open..].find(']') else {
            break;
        };
        let close = open + length;
        let inside = &rest[open + 1..close];
        let is_name = inside.contains('=') || inside == "*";
        if is_name && !rest[..open].ends_with('\\') {
            escaped.push_str(&rest[..open]);
            escaped.push_str("\\[");
            escaped.push_str(inside);
            escaped.push_str("\\]");
        } else {
            escaped.push_str(&rest[..=close]);
        }
        rest = &rest[close + 1..];
    }
    escaped.push_str(rest);
    match escaped == text {
        true => Cow::Borrowed(text),
        false => Cow::Owned(escaped),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn brackets_with_an_equals_sign_are_part_of_a_name() {
        let matches = |text: &str, name: &str| glob(text).unwrap().compile_matcher().is_match(name);
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
        assert!(matches("a[0-3]/b", "a2/b"));
        // What would be a set that ends before it begins.
        assert!(matches("m[v=z-a]", "m[v=z-a]"));
    }
}
