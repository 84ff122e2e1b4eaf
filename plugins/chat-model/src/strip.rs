//! [`Strip`], which removes reasoning from a model's text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// Name of a tag, or a start and an end around one `*`.
const PATTERN: &str = r"^[^*]+(\*[^*]+)?$";

/// Starts and ends of reasoning, in lower case.
#[derive(Deserialize, Clone, Default)]
#[serde(try_from = "Written")]
pub(crate) struct Strip(Vec<(String, String)>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    One(String),
    Several(Vec<String>),
}

impl Strip {
    /// Returns the text without its reasoning, trimmed. `None` if it has no reasoning.
    pub(crate) fn cut(&self, text: &str) -> Option<String> {
        let cut = self.0.iter().fold(None, |cut: Option<String>, (start, end)| {
            without(cut.as_deref().unwrap_or(text), start, end).or(cut)
        });
        Some(cut?.trim().to_owned())
    }
}

/// Removes each part between `start` and `end`. `None` without such a part.
fn without(text: &str, start: &str, end: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let find = |part: &str, from: usize| Some(lower[from..].find(part)? + from);
    let (mut kept, mut from) = (String::new(), 0);
    while let Some(open) = find(start, from) {
        kept += &text[from..open];
        let close = find(end, open + start.len());
        // A start without an end is reasoning that was cut, or, after other text, a word of the answer.
        if close.is_none() && !kept.trim().is_empty() {
            from = open;
            break;
        }
        from = close.map_or(text.len(), |close| close + end.len());
    }
    kept += &text[from..];
    // Many models have the start in their prompt, so their answers have only the end.
    if let Some(close) = kept.to_ascii_lowercase().rfind(end) {
        kept.drain(..close + end.len());
    }
    (kept.len() < text.len()).then_some(kept)
}

impl TryFrom<Written> for Strip {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let patterns = match written {
            Written::One(pattern) => vec![pattern],
            Written::Several(patterns) => patterns,
        };
        let pair = |pattern: String| {
            let lower = pattern.to_ascii_lowercase();
            match lower.split_once('*') {
                None if lower.trim_matches(['<', '>']).is_empty() => {}
                None => {
                    let name = lower.trim_matches(['<', '>']);
                    return Ok((format!("<{name}>"), format!("</{name}>")));
                }
                Some((start, end)) if start.is_empty() || end.is_empty() || end.contains('*') => {}
                Some((start, end)) => return Ok((start.to_owned(), end.to_owned())),
            }
            Err(format!(
                "`strip` has `{pattern}`: write the name of a tag, such as `think`, or START*END, such as `[THINK]*[/THINK]`"
            ))
        };
        patterns.into_iter().map(pair).collect::<Result<_, _>>().map(Self)
    }
}

// By hand: with the derived "any of", messages about a wrong value would describe both forms.
impl JsonSchema for Strip {
    fn schema_name() -> Cow<'static, str> {
        "Strip".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "array"],
            "pattern": PATTERN,
            "items": {"type": "string", "pattern": PATTERN}
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Strip;

    fn cut(strip: Value, text: &str) -> Option<String> {
        serde_json::from_value::<Strip>(strip).unwrap().cut(text)
    }

    #[test]
    fn reasoning_is_removed_anywhere() {
        for (text, expected) in [
            ("42", None),
            ("<think>6 times 7</think>\n\n42", Some("42")),
            ("<THINK>\n</Think>42\n", Some("42")),
            ("6 times 7\n</think>\n42", Some("42")),
            ("<think>a<think>b</think>c</think>42", Some("42")),
            ("<think>a</think>4<think>b</think>2", Some("42")),
            ("\n<think>six times sev", Some("")),
            ("the tag <think> starts it", None),
            ("<think>tags</think>The tag <think> starts it", Some("The tag <think> starts it")),
            ("<thinking>a</thinking>42", None),
            ("<think>ä€😀</think>é", Some("é")),
        ] {
            assert_eq!(cut(json!("think"), text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn patterns_are_names_or_starts_and_ends() {
        let several = json!(["<thought>", "[THINK]*[/THINK]", "<|channel|>analysis*<|end|>"]);
        for (text, expected) in [
            ("<thought>a</thought>42", Some("42")),
            ("[think]a[/THINK] 42", Some("42")),
            ("<|channel|>analysis<|message|>a<|end|>[THINK]b[/THINK]42", Some("42")),
            ("<think>a</think>42", None),
        ] {
            assert_eq!(cut(several.clone(), text).as_deref(), expected, "{text}");
        }
        for wrong in
            [json!(""), json!("<>"), json!("*"), json!("a*"), json!(["*b"]), json!("a*b*c")]
        {
            let error = serde_json::from_value::<Strip>(wrong.clone()).err().unwrap().to_string();
            assert!(error.contains("START*END"), "{wrong}: {error}");
        }
    }
}
