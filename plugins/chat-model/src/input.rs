//! [`Input`], the input of a test.

use std::borrow::Cow;
use std::fmt;

use runner_sdk::{Error, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value, json};

/// Input of a test: a text, or a table with keys.
#[derive(Default)]
pub struct Input(pub(crate) Question);

/// A prompt or a conversation, and settings in place of those of the configuration.
#[derive(serde::Deserialize, serde::Serialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// Message of the user.
    prompt: Option<String>,
    /// Whole conversation, in place of `prompt`.
    messages: Option<Vec<Message>>,
    /// Model. The default is that of the configuration.
    pub(crate) model: Option<String>,
    /// Sampling temperature. The default is that of the configuration.
    pub(crate) temperature: Option<f64>,
    /// Maximum length of the answer, in tokens. The default is that of the configuration.
    pub(crate) max_tokens: Option<u32>,
    /// Seed, in place of the test's own.
    pub(crate) seed: Option<u32>,
    /// Values for templates of the scenario, such as a name in `workspace`. The model does not get them.
    #[serde(rename = "data", skip_serializing)]
    _data: Option<Map<String, Value>>,
}

/// One message of a conversation.
#[derive(serde::Deserialize, serde::Serialize, JsonSchema)]
pub(crate) struct Message {
    /// Author of the message.
    pub(crate) role: Role,
    /// Content of the message: a text, or a list of parts.
    content: Value,
    /// Further keys, such as `name` and `tool_call_id`.
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Author of a message.
#[derive(serde::Deserialize, serde::Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    System,
    /// Replaces `system` for newer models of OpenAI.
    Developer,
    User,
    /// The model.
    Assistant,
    /// A tool that the model has called.
    Tool,
}

impl Question {
    /// Returns the messages to send. `system` is the first one, unless the test's messages start with a system message.
    pub(crate) fn messages(&mut self, system: Option<&str>) -> Result<Vec<Message>> {
        let mut messages = match (self.prompt.take(), self.messages.take()) {
            (Some(prompt), None) => vec![Message::new(Role::User, prompt)],
            (None, Some(messages)) if !messages.is_empty() => messages,
            (None, Some(_)) => return Err(Error::invalid_input("`messages` is empty")),
            (Some(_), Some(_)) => {
                return Err(Error::invalid_input("`prompt` and `messages` are both there"));
            }
            (None, None) => {
                return Err(Error::invalid_input("there is neither `prompt` nor `messages`"));
            }
        };
        let is_set_up = matches!(messages[0].role, Role::System | Role::Developer);
        if let Some(system) = system.filter(|_| !is_set_up) {
            messages.insert(0, Message::new(Role::System, system.to_owned()));
        }
        Ok(messages)
    }
}

impl Message {
    fn new(role: Role, content: String) -> Self {
        Self { role, content: content.into(), more: Map::new() }
    }
}

// By hand: for an untagged enum, serde's errors and schemars' schema do not name a wrong key.
impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputVisitor)
    }
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Input;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a text, or a table with `prompt` or `messages`")
    }

    fn visit_str<E>(self, text: &str) -> Result<Input, E> {
        Ok(Input(Question { prompt: Some(text.to_owned()), ..Question::default() }))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Input, A::Error> {
        Question::deserialize(MapAccessDeserializer::new(map)).map(Input)
    }
}

impl JsonSchema for Input {
    fn schema_name() -> Cow<'static, str> {
        "Input".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Question::json_schema(generator);
        schema.insert("type".to_owned(), json!(["string", "object"]));
        schema
    }
}

#[cfg(test)]
mod tests {
    use runner_sdk::FromJson as _;
    use serde_json::{Value, json};

    use super::Input;

    fn messages(input: &Value, system: Option<&str>) -> Result<Value, String> {
        let mut input = Input::from_json(input.to_string()).map_err(|error| error.to_string())?;
        let messages = input.0.messages(system);
        messages.map(|messages| json!(messages)).map_err(|error| error.to_string())
    }

    #[test]
    fn text_is_a_prompt_of_the_user() {
        let expected = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(messages(&json!("hi"), None), Ok(expected.clone()));
        assert_eq!(messages(&json!({"prompt": "hi"}), None), Ok(expected));
    }

    #[test]
    fn system_message_is_first_unless_given() {
        let system = json!({"role": "system", "content": "be brief"});
        let user = json!({"role": "user", "content": "hi"});
        let own = json!({"role": "developer", "content": "be long"});
        assert_eq!(messages(&json!("hi"), Some("be brief")), Ok(json!([system, user])));
        assert_eq!(
            messages(&json!({"messages": [own, user]}), Some("be brief")),
            Ok(json!([own, user]))
        );
    }

    #[test]
    fn messages_keep_other_keys() {
        let parts = json!([
            {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "ada"},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "tool", "content": "3", "tool_call_id": "c"}
        ]);
        assert_eq!(messages(&json!({"messages": parts}), None), Ok(parts));
    }

    #[test]
    fn data_is_not_sent() {
        let expected = json!([{"role": "user", "content": "hi"}]);
        assert_eq!(messages(&json!({"prompt": "hi", "data": {"task": "a"}}), None), Ok(expected));
        assert!(messages(&json!({"prompt": "hi", "data": "a"}), None).is_err());
    }

    #[test]
    fn invalid_inputs_are_named() {
        for (input, names) in [
            (json!({}), "neither `prompt` nor `messages`"),
            (json!({"prompt": "a", "messages": []}), "both"),
            (json!({"messages": []}), "`messages` is empty"),
            (json!({"promt": "a"}), "`promt`"),
            (json!(3), "a text, or a table with `prompt` or `messages`"),
            (json!({"messages": [{"role": "robot", "content": ""}]}), "`robot`"),
            (json!({"messages": [{"role": "user"}]}), "`content`"),
        ] {
            let error = messages(&input, None).unwrap_err();
            assert!(error.contains(names), "{input}: {error}");
        }
    }

    #[test]
    fn schema_names_each_key_and_refuses_others() {
        let schema: Value = serde_json::from_str(&Input::schema().unwrap()).unwrap();
        assert_eq!(schema["type"], json!(["string", "object"]));
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(schema["properties"].as_object().unwrap().len(), 7);
    }
}
