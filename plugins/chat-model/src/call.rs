//! [`Call`], a call of a tool in an answer.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::{loose_json, shown};

/// Longest name of a tool that servers accept.
pub const MAX_NAME: usize = 64;

/// A call as the model wrote it.
#[derive(Debug, Clone)]
pub struct Call {
    /// Never empty, and of no other call of the conversation.
    pub id: String,
    /// Name of the tool for the model. Empty if the server has left it out.
    pub name: String,
    /// The arguments, or the reason if they are not an object.
    pub arguments: Result<Map<String, Value>, String>,
    /// The arguments as the model wrote them.
    pub written: Value,
    /// The whole call as it came.
    pub(crate) raw: Value,
    /// Whether it is the `function_call` of an older server, whose result has another form.
    pub(crate) is_function: bool,
}

/// The ids of all calls of a conversation.
#[derive(Debug, Default)]
pub(crate) struct Ids {
    known: HashSet<String>,
    /// Number of the last id that was made.
    made: u32,
}

impl Ids {
    /// Returns the ids of the calls in a test's messages, in the form of either API.
    pub(crate) fn given(messages: &[Value]) -> Self {
        let lists =
            messages.iter().flat_map(|message| [&message["tool_calls"], &message["content"]]);
        let calls = lists.filter_map(Value::as_array).flatten();
        let ids = calls.filter_map(|call| call["id"].as_str().map(str::to_owned));
        Self { known: ids.collect(), made: 0 }
    }

    /// Returns an id that no other call has: that of the server, unless it is missing, empty or doubled. Servers refuse a doubled one
    /// or give a result to the wrong call, also if both are of different answers.
    pub(crate) fn of(&mut self, id: &Value) -> String {
        let given = match id {
            Value::String(id) if !id.trim().is_empty() => Some(id.clone()),
            Value::Number(id) => Some(id.to_string()),
            _ => None,
        };
        let mut id = given.unwrap_or_else(|| self.next());
        while !self.known.insert(id.clone()) {
            id = self.next();
        }
        id
    }

    /// Returns an id of nine letters and digits, the only form that Mistral accepts; all other servers accept it, too.
    fn next(&mut self) -> String {
        self.made += 1;
        format!("call{:05}", self.made)
    }
}

/// Returns the name that servers accept: `name`, unless it is empty or long, or has other characters than ASCII letters, digits, `_`
/// and `-`. Models write such names, and a server that gets one back refuses the whole request.
pub fn accepted_name(name: &str) -> String {
    let is_accepted = |letter: char| letter.is_ascii_alphanumeric() || "_-".contains(letter);
    let letters = name.chars().map(|letter| if is_accepted(letter) { letter } else { '_' });
    let accepted: String = letters.take(MAX_NAME).collect();
    if accepted.is_empty() { "unnamed".to_owned() } else { accepted }
}

/// Reads arguments. Models leave out an empty object, write `null` for it, or encode it twice.
pub(crate) fn read_arguments(written: &Value) -> Result<Map<String, Value>, String> {
    let read = match written {
        Value::String(text) if text.trim().is_empty() => Value::Null,
        Value::String(text) => loose_json::parse(text.as_bytes())
            .map_err(|error| format!("the arguments `{}` are not JSON: {error}", shown(text)))?,
        value => value.clone(),
    };
    let read = match read {
        Value::String(text) if text.trim().is_empty() => Value::Null,
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        value => value,
    };
    let kind = match read {
        Value::Object(arguments) => return Ok(arguments),
        Value::Null => return Ok(Map::new()),
        Value::Array(_) => "a list",
        Value::String(_) => "a text",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
    };
    let text = written.as_str().map_or_else(|| written.to_string(), str::to_owned);
    Err(format!("the arguments `{}` are {kind}: they must be an object", shown(&text)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Ids, read_arguments};

    #[test]
    fn arguments_are_an_object_or_refused() {
        for written in
            [json!(null), json!(""), json!(" \n"), json!("null"), json!("\"null\""), json!({})]
        {
            assert_eq!(read_arguments(&written), Ok(serde_json::Map::new()), "{written}");
        }
        let object = json!({"a": "x\ny"});
        for written in [
            object.clone(),
            json!(r#"{"a": "x\ny"}"#),
            json!(object.to_string().replace("\\n", "\n")),
            json!(json!(object.to_string()).to_string()),
        ] {
            assert_eq!(read_arguments(&written).map(serde_json::Value::from), Ok(object.clone()));
        }
        for (written, reason) in [
            (json!("[1]"), "the arguments `[1]` are a list: they must be an object"),
            (json!([1]), "the arguments `[1]` are a list: they must be an object"),
            (json!("\"x\""), "the arguments `\"x\"` are a text: they must be an object"),
            (json!(7.5), "the arguments `7.5` are a number: they must be an object"),
            (json!("x"), "the arguments `x` are not JSON: expected value at line 1 column 1"),
        ] {
            assert_eq!(read_arguments(&written), Err(reason.to_owned()));
        }
    }

    #[test]
    fn each_call_has_an_id_of_its_own() {
        let mut ids = Ids::default();
        let mut id = |written| ids.of(&written);
        assert_eq!(id(json!("call00001")), "call00001");
        assert_eq!(id(json!("")), "call00002");
        assert_eq!(id(json!(null)), "call00003");
        assert_eq!(id(json!(193)), "193");
        assert_eq!(id(json!("call00001")), "call00004");
    }
}
