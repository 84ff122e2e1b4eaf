//! Globs over ids and names, in which `*` matches `/`, and over files, in which it does not.

use std::borrow::Cow;

use crate::id_glob;
use globset::{ErrorKind, Glob, GlobBuilder, GlobSet, GlobSetBuilder};

/// Levels of braces in a glob. `globset` parses them by recursion, and a regular expression has at most 125.
const MAX_LEVELS: usize = 100;

/// A glob over the ids of trials and tests.
#[derive(Clone, Debug)]
pub struct IdGlob {
    /// The glob as it was typed.
    pub text: String,
    set: GlobSet,
}

impl IdGlob {
    /// Compiles a glob.
    ///
    /// # Errors
    ///
    /// The mistake, which continues a sentence.
    pub fn new(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), set: over_ids(&[text])? })
    }

    pub fn is_match(&self, id: &str) -> bool {
        self.set.is_match(id)
    }
}

/// Returns the texts before and after the wildcard of a glob over ids whose only one is `*`. Such a glob is valid, and needs no
/// regular expression.
pub fn around_star(glob: &str) -> Option<(&str, &str)> {
    let (start, end) = glob.split_once('*')?;
    let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '{', '}', '\\']);
    (is_plain(start) && is_plain(end)).then_some((start, end))
}

/// Compiles globs over the ids of tests and the names of providers. A name that is the text of a glob matches, too, so the set has
/// two globs for each of `globs`.
///
/// Brackets that contain `=`, or only `*`, are part of a name such as `gpt[size=small]`, not a set of characters.
///
/// # Errors
///
/// The mistake, which continues a sentence.
pub fn over_ids<T: AsRef<str>>(globs: &[T]) -> Result<GlobSet, String> {
    let mut parsed = Vec::with_capacity(2 * globs.len());
    for text in globs.iter().map(AsRef::as_ref) {
        check_levels(text)?;
        for glob in [&*escape_names(text), &id_glob(text)] {
            parsed.push(Glob::new(glob).map_err(|error| reason(&error))?);
        }
    }
    compile(parsed)
}

/// Compiles globs over files. Brackets also match their own letters, so `app/[id]/*` has the files of a folder `[id]` and of `i`,
/// and so do all braces of a glob: `{{name}}/*` has those of a folder `{{name}}`.
/// A path without `*` and `?` stands for all below it, too.
///
/// # Errors
///
/// The mistake, which continues a sentence, or the globs are too large together.
pub fn over_files<T: AsRef<str>>(globs: &[T]) -> Result<GlobSet, String> {
    let mut parsed = Vec::with_capacity(2 * globs.len());
    for text in globs.iter().map(AsRef::as_ref) {
        check_levels(text)?;
        let PathGlob { glob, has_wildcard } = PathGlob::new(text);
        let written = text.contains(['{', '}']).then(|| as_written(text));
        for glob in [Some(glob), written].into_iter().flatten() {
            parsed.push(file_glob(&glob).map_err(|error| reason(&error))?);
            if !has_wildcard {
                parsed.push(file_glob(&format!("{glob}/**")).map_err(|error| reason(&error))?);
            }
        }
    }
    compile(parsed)
}

/// Compiles globs over the paths of a workspace.
///
/// # Errors
///
/// As [`over_files`], or a glob matches no relative path, such as `/work/src/**`, `./src/**` or `src/`.
pub fn over_workspace<T: AsRef<str>>(globs: &[T]) -> Result<GlobSet, String> {
    for text in globs.iter().map(AsRef::as_ref) {
        if text.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return Err(format!(
                "write a path below the workspace, such as `src/**`, not `{text}`"
            ));
        }
    }
    over_files(globs)
}

fn file_glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text).literal_separator(true).build()
}

/// A glob over files whose brackets also match as they are written: frameworks name files `[id].tsx` and `[[...slug]]`.
struct PathGlob {
    glob: String,
    has_wildcard: bool,
}

impl PathGlob {
    fn new(text: &str) -> Self {
        let mut path = Self { glob: String::with_capacity(text.len()), has_wildcard: false };
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = match first {
                '\\' => rest.chars().take(2).map(char::len_utf8).sum(),
                '[' => set_length(rest),
                first => first.len_utf8(),
            };
            let (part, after) = rest.split_at(length);
            path.has_wildcard |= first != '\\' && part.contains(['*', '?']);
            if first == '[' {
                path.push_brackets(part);
            } else {
                path.glob.push_str(part);
            }
            rest = after;
        }
        path
    }

    fn push_brackets(&mut self, brackets: &str) {
        let mut letters = escaped(brackets, &['[', ']', '{', '}', ',', '\\']);
        // A set such as `[z-a]` is invalid, and a bracket may lack its end.
        if file_glob(brackets).is_ok() {
            letters = format!("{{{brackets},{letters}}}");
        }
        self.glob.push_str(&letters);
    }
}

/// Returns a glob in which brackets and braces are text.
fn as_written(glob: &str) -> String {
    let mut parts = glob.split('\\');
    let special = ['[', ']', '{', '}'];
    let mut written = escaped(parts.next().unwrap_or_default(), &special);
    while let Some(part) = parts.next() {
        // The character after `\` is text already, also if it is another `\`.
        let first = part.chars().next().map_or(0, char::len_utf8);
        written += &format!("\\{}{}", &part[..first], escaped(&part[first..], &special));
        if first == 0
            && let Some(next) = parts.next()
        {
            written += &format!("\\{}", escaped(next, &special));
        }
    }
    written
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut escaped = String::with_capacity(2 * text.len());
    for letter in text.chars() {
        if special.contains(&letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// Returns the length of the set of characters with which a glob starts. Of a bracket without an end, it is its own length.
fn set_length(glob: &str) -> usize {
    let set = glob[1..].strip_prefix(['!', '^']).unwrap_or(&glob[1..]);
    // The first character may be `]`.
    let start = glob.len() - set.len() + set.chars().next().map_or(0, char::len_utf8);
    glob[start..].find(']').map_or(1, |end| start + end + 1)
}

fn check_levels(text: &str) -> Result<(), String> {
    let mut level = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'{' => level += 1,
            b'}' => level = level.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(level);
    }
    if deepest > MAX_LEVELS {
        return Err(format!(
            "its braces are {deepest} levels deep; at most {MAX_LEVELS} are allowed"
        ));
    }
    Ok(())
}

// `Glob::compile_matcher` panics if a valid glob makes a regular expression that is too large.
fn compile(globs: Vec<Glob>) -> Result<GlobSet, String> {
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(glob);
    }
    builder.build().map_err(|error| reason(&error))
}

fn reason(error: &globset::Error) -> String {
    match error.kind() {
        ErrorKind::Regex(_) => "it is too large; write several shorter ones".to_owned(),
        ErrorKind::UnclosedAlternates => {
            "`{` without `}`: for a name with `{`, write `\\{`".to_owned()
        }
        ErrorKind::UnopenedAlternates => {
            "`}` without `{`: for a name with `}`, write `\\}`".to_owned()
        }
        kind => kind.to_string(),
    }
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
    use super::{MAX_LEVELS, id_glob, over_files, over_ids, over_workspace};

    #[test]
    fn brackets_with_equals_sign_are_literal() {
        let matches = |text: &str, name: &str| over_ids(&[text]).unwrap().is_match(name);
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
        for id in ["[a]", "*", "a?", "{a}", "a\\b", "-x", "(p)", "[!a-z]x"] {
            assert!(matches(id, id) && matches(&id_glob(id), id), "{id}");
            for other in ["a", "ab", "[a]*"] {
                assert!(!matches(&id_glob(id), other), "{id} {other}");
            }
        }
        assert!(matches("a*c", "a/b/c"));
        assert!(matches("a[0-3]/b", "a2/b"));
        // As a set of characters, `z-a` would be invalid.
        assert!(matches("m[v=z-a]", "m[v=z-a]"));
    }

    #[test]
    fn brackets_of_paths_also_match_their_letters() {
        for (glob, paths, others) in [
            (
                "app/[id]/page.tsx",
                "app/[id]/page.tsx app/i/page.tsx app/[id]/page.tsx/x",
                "app/id/page.tsx",
            ),
            ("app/[id]/**", "app/[id]/a/b app/d/a", "app/[id] app/[x]/a"),
            (
                "[[...slug]]/[0-9].ts",
                "[[...slug]]/7.ts [[...slug]]/[0-9].ts .]/7.ts",
                "[[...slug]]/a.ts",
            ),
            ("[...rest]", "[...rest] [...rest]/a r", "rest"),
            ("[z-a]/[a-z]", "[z-a]/[a-z] [z-a]/b/c", "z/b"),
            ("a[0/b", "a[0/b a[0/b/c", "a0/b"),
            ("a[]", "a[] a[]/b", "a"),
            ("[]x]", "[]x] ] x", "[]"),
            ("[!a]", "[!a] b", "a"),
            ("{[id],b}/c", "[id]/c b/c i/c/d", "id/c"),
            ("[a,{b}]", "[a,{b}] , }", "[a"),
            ("[*]/a", "[id]/a */a", "i/a [id]/a/b"),
            ("\\[id]", "[id] [id]/a", "i"),
            ("a\\*", "a* a*/b", "ab"),
            ("[\\d]", "[\\d] d", "3"),
            ("src", "src src/a/b", "src2"),
            ("{a,b}", "a/x b {a,b} {a,b}/c", "ab {a"),
            ("x{y}/f", "x{y}/f xy/f x{y}/f/g", "x/f"),
            ("{{cookiecutter.slug}}", "{{cookiecutter.slug}} {{cookiecutter.slug}}/a/b", "a"),
            ("{{a}}/[b]?.{c,d}", "{{a}}/[b]x.{c,d} a/bx.c", "{{a}}/[b]xx.{c,d} {{a}}/[b]/.{c,d}"),
            ("\\{a\\}/{b}", "{a}/{b} {a}/b", "a/b"),
            ("a\\\\{b,c}", "a\\b a\\{b,c}", "ab"),
            ("a?", "ab", "ab/c"),
        ] {
            let set = over_workspace(&[glob]).unwrap_or_else(|why| panic!("{glob}: {why}"));
            assert!(paths.split(' ').all(|path| set.is_match(path)), "{glob}: {paths}");
            assert!(!others.split(' ').any(|path| set.is_match(path)), "{glob}: {others}");
        }
    }

    #[test]
    fn deep_and_large_globs_are_refused() {
        let nested = |levels: usize| "{a,".repeat(levels) + &"}".repeat(levels);
        for (glob, says) in [
            (nested(MAX_LEVELS), None),
            (nested(MAX_LEVELS + 1), Some("levels deep")),
            (nested(1_000_000), Some("levels deep")),
            ("?[a-z]".repeat(200_000), Some("too large")),
            ("{".to_owned(), Some("`{` without `}`")),
        ] {
            for read in [over_ids(&[&glob]), over_files(&[&glob])] {
                match (read, says) {
                    (Ok(_), None) => {}
                    (Err(reason), Some(says)) => assert!(reason.contains(says), "{reason}"),
                    (read, says) => panic!("{says:?}: {:?}", read.err()),
                }
            }
        }
    }
}
