//! Recognizes words that are syntax in the filters of other tools. As words they would match nothing, without an error.

use runner_model::Outcome;

use crate::reading::similar;

/// A message and its help.
type Advice = (String, String);

/// Returns advice if a word is syntax of another language. `rest` is the filter from the word on.
pub(super) fn of_another_language(word: &str, rest: &str) -> Option<Advice> {
    let advice = |message: &str, instead: &str| {
        let help = format!("did you mean `{instead}`? To search the text: `\"{word}\"`");
        Some((format!("{message} `{word}`"), help))
    };
    match word {
        "AND" | "OR" | "NOT" => {
            return advice("operators are in lower case:", &word.to_lowercase());
        }
        "+" | "," => return advice("unknown operator", "a | b"),
        "-" => return advice("unknown operator", "a & !b"),
        "=" | "==" | ":" => return advice("unknown operator", "outcome(failed)"),
        _ => {}
    }
    if let Some(quoted) = word.strip_prefix('\'') {
        // The word ends at white space, the quoted text does not.
        let text = rest[1..].split_once('\'').map_or(quoted, |(text, _)| text);
        return single_quotes(&format!("'{text}'"));
    }
    if let Some(text) = word.strip_prefix('/').and_then(|word| word.strip_suffix('/')) {
        let help = format!("to search the text: `\"{text}\"`; for ids there are globs: `*{text}*`");
        return (!text.is_empty())
            .then(|| ("filters have no regular expressions".to_owned(), help));
    }
    let (key, value) = word.split_once([':', '='])?;
    let value = value.trim_start_matches('=');
    let call = match key.to_ascii_lowercase().as_str() {
        "tag" | "tags" => format!("tag({value})"),
        "test" | "id" | "name" => format!("test({value})"),
        "status" | "outcome" | "result" | "verdict" => {
            let known = Outcome::ALL.iter().map(|outcome| outcome.as_str());
            format!("outcome({})", similar(value, known).unwrap_or("failed"))
        }
        "meta" => format!("meta({value})"),
        key @ ("provider" | "trial" | "error" | "check" | "output" | "log" | "changed"
        | "slower") => {
            format!("{key}({value})")
        }
        _ => return None,
    };
    // Without a value, a quoted text follows.
    let call = if value.is_empty() { format!("{}(…)", key.to_ascii_lowercase()) } else { call };
    let help = format!("did you mean `{call}`? To search the text: `\"{word}\"`");
    Some((format!("`{word}` is not a condition"), help))
}

/// Returns advice if a text is in single quotes.
pub(super) fn single_quotes(text: &str) -> Option<Advice> {
    let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
    let message = "texts are in double quotes".to_owned();
    Some((message, format!("did you mean `\"{inner}\"`? For the quotes themselves: `\"{text}\"`")))
}
