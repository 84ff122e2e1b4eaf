//! [`Conversation`]: the messages that a provider sends to a model, all of them in each request.

use std::time::Duration;

use runner_sdk::http::{self, Request};
use runner_sdk::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{Answer, Config, Input, failure};

/// A conversation with a model.
pub struct Conversation {
    /// The request without its body.
    request: Request,
    /// The request's fields without `messages`.
    fields: Map<String, Value>,
    messages: Vec<Value>,
}

impl Conversation {
    /// Starts a conversation with the messages of a test.
    pub fn new(config: Config, input: Input, seed: u32) -> Result<Self> {
        let mut question = input.0;
        let request = request(&config);
        let mut fields = config.extra;
        if fields.get("stream").is_some_and(|stream| *stream != json!(false)) {
            let message = "`extra.stream` cannot be set: an answer is read as a whole";
            return Err(Error::invalid_config(message));
        }
        let messages = question.messages(config.system.as_deref())?;
        let messages = messages.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let model = question.model.unwrap_or(config.model);
        fields.insert("model".to_owned(), model.into());
        fields.remove("messages");
        let temperature = question.temperature.or(config.temperature);
        let max_tokens = question.max_tokens.or(config.max_tokens);
        let seed = question.seed.or(config.seed.then_some(seed));
        for (name, value) in [
            ("temperature", temperature.map(Value::from)),
            ("max_tokens", max_tokens.map(Value::from)),
            ("seed", seed.map(Value::from)),
        ] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value);
            }
        }
        Ok(Self { request, fields, messages })
    }

    /// Returns the name of the model.
    pub fn model(&self) -> &str {
        self.fields["model"].as_str().unwrap_or_default()
    }

    /// Returns the messages, in OpenAI's form.
    pub fn messages(&self) -> &[Value] {
        &self.messages
    }

    /// Adds a message, in OpenAI's form.
    pub fn add(&mut self, message: Value) {
        self.messages.push(message);
    }

    /// Sets a field of all requests, such as `tools`.
    pub fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }

    /// Sends all messages, and waits for the model's answer.
    pub fn send(&self) -> Result<Answer> {
        let body = Body { fields: &self.fields, messages: &self.messages };
        let response =
            self.request.clone().json(&body)?.send().map_err(failure::without_response)?;
        let url = &self.request.url;
        if !response.is_success() {
            return Err(failure::from_response(url, &response));
        }
        Answer::read(url, response)
    }
}

/// The body of a request. It copies nothing, because a conversation may have megabytes of results of tools.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
    messages: &'a [Value],
}

fn request(config: &Config) -> Request {
    let Config { base_url, api_key_secret, headers, timeout_ms, .. } = config;
    let base_url = base_url.trim_end_matches('/');
    let mut request = http::post(format!("{base_url}/chat/completions"));
    if !api_key_secret.is_empty() {
        // The host inserts the secret, so the plugin never has it.
        let token = format!("Bearer {{{{secret.{api_key_secret}}}}}");
        request = request.header("authorization", token);
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request.timeout = timeout_ms.map(|timeout| Duration::from_millis(timeout.into()));
    request
}

#[cfg(test)]
mod tests {
    use runner_sdk::http::{Request, Response};
    use runner_sdk::testing::Host;
    use runner_sdk::{Error, ErrorKind};
    use serde_json::{Value, json};

    use crate::Chat;

    fn sent(input: Value, config: Value) -> Request {
        let answer = json!({"choices": [{"message": {"content": "hi"}}]});
        let host = Host::new()
            .seed(7)
            .secret("OPENAI_API_KEY", "k")
            .secret("OTHER", "o")
            .responses([Ok(Response::new(200).with_json(&answer).unwrap())]);
        let (reply, mut calls) = host.run_recorded::<Chat>(input, config);
        reply.unwrap();
        calls.requests.remove(0)
    }

    fn body(input: Value, config: Value) -> Value {
        serde_json::from_slice(&sent(input, config).body.unwrap()).unwrap()
    }

    fn refused(input: Value, config: Value) -> Error {
        let (reply, calls) = Host::new().run_recorded::<Chat>(input, config);
        assert_eq!(calls.requests, []);
        reply.unwrap_err()
    }

    fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
        let mut headers = request.headers.iter();
        Some(&headers.find(|(known, _)| known == name)?.1)
    }

    #[test]
    fn model_alone_is_sent_to_openai() {
        let request = sent(json!("hi"), json!({"model": "m"}));
        assert_eq!(request.method, "POST");
        assert_eq!(request.url, "https://api.openai.com/v1/chat/completions");
        assert_eq!(header(&request, "content-type"), Some("application/json"));
        assert_eq!(header(&request, "authorization"), Some("Bearer {{secret.OPENAI_API_KEY}}"));
        let body: Value = serde_json::from_slice(&request.body.unwrap()).unwrap();
        let message = json!({"role": "user", "content": "hi"});
        assert_eq!(body, json!({"model": "m", "messages": [message]}));
    }

    #[test]
    fn key_and_headers_can_be_set() {
        let request = sent(
            json!("hi"),
            json!({
                "base_url": "http://127.0.0.1:11434/v1/",
                "model": "m",
                "api_key_secret": "",
                "headers": {"api-key": "{{secret.OTHER}}"},
                "timeout_ms": 1500
            }),
        );
        assert_eq!(request.url, "http://127.0.0.1:11434/v1/chat/completions");
        assert_eq!(header(&request, "authorization"), None);
        assert_eq!(header(&request, "api-key"), Some("{{secret.OTHER}}"));
        assert_eq!(request.timeout.unwrap().as_millis(), 1500);
    }

    #[test]
    fn test_overrides_the_configuration_and_that_extra() {
        let config = json!({
            "model": "m",
            "temperature": 0.5,
            "max_tokens": 10,
            "seed": true,
            "extra": {"top_p": 0.1, "model": "x", "stream": false, "messages": []}
        });
        let asked = body(json!("hi"), config.clone());
        assert_eq!(asked["model"], "m");
        assert_eq!(asked["temperature"], 0.5);
        assert_eq!(asked["max_tokens"], 10);
        assert_eq!(asked["seed"], 7);
        assert_eq!(asked["top_p"], 0.1);
        assert_eq!(asked["messages"].as_array().unwrap().len(), 1);

        let own = json!({
            "prompt": "hi", "model": "n", "temperature": 0, "max_tokens": 2, "seed": 3
        });
        let asked = body(own, config);
        assert_eq!(asked["model"], "n");
        assert_eq!(asked["temperature"], 0.0);
        assert_eq!(asked["max_tokens"], 2);
        assert_eq!(asked["seed"], 3);
    }

    #[test]
    fn invalid_configuration_is_refused_before_sending() {
        for (config, names) in [
            (json!({}), "`model`"),
            (json!({"model": "m", "extra": {"stream": true}}), "`extra.stream`"),
            (json!({"model": "m", "url": "http://a"}), "`url`"),
            (json!({"model": "m", "output": "xml"}), "`xml`"),
        ] {
            let error = refused(json!("hi"), config);
            assert_eq!(error.kind, ErrorKind::InvalidConfig, "{error}");
            assert!(error.message.contains(names), "{error}");
        }
    }
}
