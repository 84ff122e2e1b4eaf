//! Placeholders in texts of any kind, and the places where those of the runner have a value.

use runner_model::visible;
use serde_json::Value;

/// First keys of all placeholders, with the end of a message about the only places where they have a value.
const PLACEHOLDERS: [(&[&str], &str); 9] = [
    (
        &["row", "row_number", "file"],
        "has a value only in `id`, `input`, `expect`, `reference` and `meta` of a test list",
    ),
    (
        &["input"],
        "has a value only in `args`, `stdin`, `grants.env` and `workspace.from`, and in a grader's `input` and `hidden`",
    ),
    (&["config", "run", "trial"], "has a value only in `args`, `stdin` and `grants.env`"),
    (
        &["output", "reference", "metrics", "test", "provider"],
        "has a value only in the `input` of a grader",
    ),
    (
        &["matrix"],
        "has a value only in `plugin`, `config`, `args`, `stdin`, `files`, `grants` and `workspace` of a provider with a `matrix`",
    ),
    (&["var"], "has no value: write `{{var.NAME}}`, which has one everywhere outside of `[vars]`"),
    (&["vars"], "has no value: a variable of `[vars]` is `{{var.NAME}}`"),
    (&["env"], "has no value: write `{{var.NAME}}`, and set it with `exec --set NAME=VALUE`"),
    (
        &["secret"],
        "has a value only in `grants.env`, and as `{{secret.NAME}}` in `config` and `input` of a provider that sends it in a header",
    ),
];
/// Characters of a placeholder in a message.
pub(super) const MAX_SHOWN: usize = 80;

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextPart<'a> {
    Text(&'a str),
    /// `{{{{`, which is the text `{{`.
    Braces,
    /// `{{…}}`, of the runner or of another template language.
    Placeholder {
        /// The placeholder with its braces.
        source: &'a str,
        /// The text between the braces.
        path: &'a str,
    },
}

/// Splits any text into its parts.
pub(crate) fn parts(text: &str) -> Vec<TextPart<'_>> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        if !before.is_empty() {
            parts.push(TextPart::Text(before));
        }
        // Searched only up to the next braces, or a text of braces alone would take quadratic time.
        let closed = after.split("{{").next().and_then(|inner| inner.split_once("}}"));
        let (part, after) = match (after.strip_prefix("{{"), closed) {
            (Some(after), _) => (TextPart::Braces, after),
            (None, Some((path, _))) => {
                let end = &after[path.len() + 2..];
                let source = &rest[before.len()..rest.len() - end.len()];
                (TextPart::Placeholder { source, path }, end)
            }
            (None, None) => (TextPart::Text("{{"), after),
        };
        parts.push(part);
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(TextPart::Text(rest));
    }
    parts
}

/// A text in which values replace placeholders. Values stay text: also a brace at the end of one and a brace after it make no
/// placeholder when the text is read again.
#[derive(Default)]
pub(crate) struct FilledText {
    text: String,
    /// Whether the text ends in a brace to which another one would be added.
    has_open_brace: bool,
}

impl FilledText {
    /// Adds a value.
    pub(crate) fn push_text(&mut self, mut text: &str) {
        if let Some(rest) = text.strip_prefix('{').filter(|_| self.has_open_brace) {
            self.text.push_str("{{{");
            self.has_open_brace = false;
            text = rest;
        }
        if !text.is_empty() {
            self.text.push_str(&text.replace("{{", "{{{{"));
            let braces = text.len() - text.trim_end_matches('{').len();
            self.has_open_brace = braces % 2 == 1;
        }
    }

    /// Adds a part that is not a value.
    pub(crate) fn push_part(&mut self, part: TextPart<'_>) {
        match part {
            // Braces that are not closed are reported later.
            TextPart::Text(source @ "{{") | TextPart::Placeholder { source, .. } => {
                self.text.push_str(source);
                self.has_open_brace = false;
            }
            TextPart::Text(text) => self.push_text(text),
            TextPart::Braces => self.text.push_str("{{{{"),
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Returns the keys of a placeholder's path after `root`: `size` of `matrix.size`. Empty if there are none.
pub(crate) fn key_of<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let rest = path.trim().strip_prefix(root)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

/// Returns the text of a value that is inserted into another text.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Makes placeholders in a value that is inserted into a scenario's text literal.
pub(crate) fn escape(value: &mut Value) {
    match value {
        Value::String(text) if text.contains("{{") => *text = text.replace("{{", "{{{{"),
        Value::Array(items) => items.iter_mut().for_each(escape),
        Value::Object(map) => {
            let entries = std::mem::take(map).into_iter().map(|(key, mut value)| {
                escape(&mut value);
                (key.replace("{{", "{{{{"), value)
            });
            *map = entries.collect();
        }
        _ => {}
    }
}

/// Returns the end of a message about a placeholder of the runner. `None` for those of other template languages.
pub(crate) fn places_of(path: &str) -> Option<&'static str> {
    // `{{{row.x}}}`, `{{- row.x -}}`, `{{row["x"]}}` and `{{row.x | upper}}` are meant as placeholders, too.
    let is_mark = |mark: char| mark.is_whitespace() || "{-~&".contains(mark);
    let path = path.trim_start_matches(is_mark);
    let end = path.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let (root, after) = path.split_at(end.unwrap_or(path.len()));
    let after = after.trim_start_matches(is_mark);
    let is_path = after.is_empty() || after.starts_with(['.', '|', '[']);
    let known = PLACEHOLDERS.iter().find(|(roots, _)| is_path && roots.contains(&root));
    known.map(|(_, places)| *places)
}

/// Returns a help on writing a placeholder as text.
pub(crate) fn escape_help(path: &str) -> String {
    format!("for the text itself, write `{{{{{{{{{}}}}}`", visible::cut(path, MAX_SHOWN))
}

#[cfg(test)]
mod tests {
    use runner_model::template::Template;

    use super::{FilledText, TextPart, parts};

    #[test]
    fn texts_split_into_their_parts() {
        use TextPart::{Braces, Placeholder, Text};
        let row = Placeholder { source: "{{ row.x }}", path: " row.x " };
        let other = Placeholder { source: "{{{x}}", path: "{x" };
        for (text, expected) in [
            ("", &[][..]),
            ("a{{ row.x }}b", &[Text("a"), row, Text("b")]),
            ("{{{{{{ row.x }}", &[Braces, row]),
            ("{{{x}}}", &[other, Text("}")]),
            ("{{ x {{ row.x }}", &[Text("{{"), Text(" x "), row]),
            ("{{{{{ {{", &[Braces, Text("{ "), Text("{{")]),
        ] {
            assert_eq!(parts(text), expected, "{text}");
        }
    }
    #[test]
    fn values_that_meet_braces_stay_text() {
        for (source, values, expected) in [
            ("{{x}}{{y}}", ["{", "{input.q}}"], "{{input.q}}"),
            ("{{x}}{input.q}}{{y}}", ["{", ""], "{{input.q}}"),
            ("a{{{{{{x}}{{y}}b}}", ["{", "{"], "a{{{{b}}"),
            ("{ {{x}}{{y}}{{{{", ["{{{", "{{{"], "{ {{{{{{{{"),
            ("{{x}}{{{{{{y}}", ["{", "{a}}"], "{{{{a}}"),
            ("{{x}}{{y}}{", ["", "{"], "{{"),
            ("{{x}}}}{{y}}", ["{{", "{}"], "{{}}{}"),
        ] {
            let mut filled = FilledText::default();
            for part in parts(source) {
                match part {
                    TextPart::Placeholder { path: "x", .. } => filled.push_text(values[0]),
                    TextPart::Placeholder { path: "y", .. } => filled.push_text(values[1]),
                    part => filled.push_part(part),
                }
            }
            let filled = filled.into_text();
            let template = Template::parse(&filled).unwrap();
            assert_eq!(template.render_text(&[]).as_deref(), Ok(expected), "{source}: {filled}");
        }
    }
}
