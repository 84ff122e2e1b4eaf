//! [`Conversation`]: the messages that a provider sends to a model, all of them in each request.

use std::collections::BTreeSet;
use std::time::Duration;

use runner_sdk::http::{self, Request};
use runner_sdk::{Error, Metric, Result, control};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::bound::{MAX_HANDOVER, cut, length};
use crate::call::{Call, Ids};
use crate::config::{Api, Price};
use crate::{Answer, Config, Ended, Failure, Input, anthropic, end, failure, openai};

/// Bytes that results of earlier turns keep: as long as it helps, all of them in order, and then all of them again.
const KEPT: [usize; 2] = [1024, 160];

/// A conversation with a model.
pub struct Conversation {
    api: Api,
    /// The request without its body.
    request: Request,
    /// The request's fields without `messages`.
    fields: Map<String, Value>,
    /// The messages of the test, in OpenAI's form.
    given: Vec<Value>,
    /// All messages, in the form of the API.
    messages: Vec<Value>,
    /// Number of the test's messages in `messages`.
    given_count: usize,
    ids: Ids,
    results: Vec<ResultPlace>,
    /// Number of results of earlier turns in `results`.
    earlier: usize,
    /// Whether the server refuses keys of answers that are not in its API.
    is_plain: bool,
    price: Option<Price>,
    used_up: Option<String>,
}

/// A result of a call in the messages.
struct ResultPlace {
    message: usize,
    /// Block of the message, for Anthropic.
    block: Option<usize>,
    /// Bytes of the whole result. The message may have less.
    whole: usize,
}

/// A tool for a model.
pub struct Definition<'a> {
    /// Name for the model.
    pub name: &'a str,
    /// Purpose of the tool.
    pub description: &'a str,
    /// JSON Schema of the arguments, an object.
    pub parameters: &'a Value,
}

/// Bytes of the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It fits as it is.
    Whole,
    /// It fits with this number of further results shortened.
    Shortened(usize),
    /// It does not fit, because of messages that are not results.
    Full,
}

impl Conversation {
    /// Starts a conversation with the messages of a test.
    pub fn new(config: Config, input: Input, seed: u32) -> Result<Self> {
        let mut question = input.0;
        let (api, request, price) = (config.api, request(&config), config.price);
        let mut fields = config.extra;
        if fields.get("stream").is_some_and(|stream| *stream != json!(false)) {
            let message = "`extra.stream` cannot be set: an answer is read as a whole";
            return Err(Error::invalid_config(message));
        }
        let given = question.messages(config.system.as_deref())?;
        let given: Vec<Value> = given.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
        let model = question.model.unwrap_or(config.model);
        fields.remove("messages");
        let temperature = question.temperature.or(config.temperature);
        let max_tokens = question.max_tokens.or(config.max_tokens);
        if api == Api::Anthropic {
            // A seed that does nothing would promise equal answers.
            let message = "`seed` cannot be sent: the Messages API has no seeds";
            if question.seed.is_some() {
                return Err(Error::invalid_input(message));
            } else if config.seed {
                return Err(Error::invalid_config(message));
            }
            let max_tokens = anthropic::max_tokens(&model);
            fields.entry("max_tokens").or_insert(max_tokens.into());
        }
        fields.insert("model".to_owned(), model.into());
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
        let messages = match api {
            Api::OpenAi => given.clone(),
            Api::Anthropic => {
                let (system, messages) = anthropic::given(&given);
                fields.extend(system.map(|system| ("system".to_owned(), system)));
                messages
            }
        };
        Ok(Self {
            api,
            request,
            fields,
            given,
            given_count: messages.len(),
            ids: Ids::given(&messages),
            messages,
            results: Vec::new(),
            earlier: 0,
            is_plain: false,
            price,
            used_up: None,
        })
    }

    /// Returns the name of the model.
    pub fn model(&self) -> &str {
        self.fields["model"].as_str().unwrap_or_default()
    }

    /// Returns the messages of the test, in OpenAI's form.
    pub fn given(&self) -> &[Value] {
        &self.given
    }

    /// Offers tools to the model, in addition to those of the server in `extra`.
    pub fn offer<'a>(&mut self, tools: impl Iterator<Item = Definition<'a>>) {
        let tools = tools.map(|Definition { name, description, parameters }| match self.api {
            Api::OpenAi => json!({
                "type": "function",
                "function": {"name": name, "description": description, "parameters": parameters},
            }),
            Api::Anthropic => {
                json!({"name": name, "description": description, "input_schema": parameters})
            }
        });
        let tools: Vec<_> = tools.collect();
        match self.fields.get_mut("tools") {
            Some(Value::Array(known)) => known.extend(tools),
            // Servers refuse an empty list.
            _ if tools.is_empty() => {}
            _ => {
                self.fields.insert("tools".to_owned(), tools.into());
            }
        }
    }

    /// Adds an answer for the next request. Each of its calls must get a result.
    pub fn add(&mut self, answer: &Answer, calls: &[Call]) {
        let message = match self.api {
            Api::OpenAi => Some(openai::repeated(answer.message(), calls)),
            Api::Anthropic => anthropic::repeated(answer.message(), calls),
        };
        self.messages.extend(message);
        if self.is_plain {
            self.remove_other_keys(self.messages.len() - 1);
        }
        self.earlier = self.results.len();
    }

    /// Returns the calls of an answer.
    pub fn calls(&mut self, answer: &Answer) -> Vec<Call> {
        answer.calls(&mut self.ids)
    }

    /// Adds the result of a call. `whole` is the number of its bytes before it was cut.
    pub fn add_result(&mut self, call: &Call, content: &str, whole: usize, is_error: bool) {
        match self.api {
            Api::OpenAi => self.messages.push(openai::result(call, content)),
            Api::Anthropic => anthropic::add_result(&mut self.messages, call, content, is_error),
        }
        let message = self.messages.len() - 1;
        let blocks = self.messages[message]["content"].as_array();
        let block = blocks.map(|blocks| blocks.len() - 1);
        self.results.push(ResultPlace { message, block, whole });
    }

    /// Shortens results until a request with all messages has at most `context` bytes: those of earlier turns first, the oldest
    /// first. Messages of the test are not cut, and all that follows them may have half of `context`.
    pub fn fit(&mut self, context: usize) -> Fit {
        let given = length(&self.body(&self.messages[..self.given_count]));
        let mut size = length(&self.body(&self.messages));
        // The host's bound is out of reach, unless the messages of the test alone are beyond it.
        let mut most = context.max(given + context / 2);
        if given <= MAX_HANDOVER {
            most = most.min(MAX_HANDOVER);
        }
        if size <= most {
            return Fit::Whole;
        }
        let mut shortened = BTreeSet::new();
        // Each change of a message makes a server's cache useless, so a request with changes leaves room for several turns.
        let target = most - context / 4;
        for (kept, enough) in KEPT.into_iter().zip([target, most]) {
            for place in 0..self.earlier {
                if size <= enough {
                    break;
                }
                if let Some(saved) = self.shorten(place, kept) {
                    size -= saved;
                    shortened.insert(place);
                }
            }
        }
        let mut kept = context / 4;
        while size > most && kept > KEPT[1] / 2 {
            for place in self.earlier..self.results.len() {
                if let Some(saved) = self.shorten(place, kept) {
                    size -= saved;
                    shortened.insert(place);
                }
            }
            kept /= 2;
        }
        if size > most { Fit::Full } else { Fit::Shortened(shortened.len()) }
    }

    /// Shortens a result to `kept` bytes. Returns by how many bytes the request is shorter, `None` if the result has no more.
    fn shorten(&mut self, place: usize, kept: usize) -> Option<usize> {
        let ResultPlace { message, block, whole } = &self.results[place];
        let mut content = &mut self.messages[*message]["content"];
        if let Some(block) = block {
            content = &mut content[*block]["content"];
        }
        let text = content.as_str()?;
        let shortened = cut(text, kept, *whole)?;
        // Escapes take bytes of the request, too.
        let saved = length(text).checked_sub(length(&shortened))?;
        *content = shortened.into();
        Some(saved)
    }

    fn body<'a>(&'a self, messages: &'a [Value]) -> Body<'a> {
        Body { fields: &self.fields, messages }
    }

    /// Sends all messages, and waits for the model's answer.
    pub fn send(&mut self) -> Result<Answer, Failure> {
        match self.exchange() {
            // Some servers send keys that they do not accept.
            Err(failure) if failure.refuses_keys && !self.is_plain && self.has_answers() => {
                self.is_plain = true;
                self.remove_other_keys(self.given_count);
                self.exchange()
            }
            // The test's own messages may be too long for a model, but `max_tokens` or a proxy may be at fault as well.
            Err(failure)
                if failure.ended == Some(Ended::Context)
                    && !self.has_answers()
                    && end::may_be_of_settings(&failure.error.message) =>
            {
                Err(Failure { ended: None, ..failure })
            }
            result => result,
        }
    }

    fn has_answers(&self) -> bool {
        self.messages.len() > self.given_count
    }

    /// Removes the keys of answers, from the message at `start`, that the API does not have.
    fn remove_other_keys(&mut self, start: usize) {
        let remove = match self.api {
            Api::OpenAi => openai::remove_other_keys,
            Api::Anthropic => anthropic::remove_other_keys,
        };
        self.messages[start..].iter_mut().for_each(remove);
    }

    /// Returns the limit of the attempt that is used up, such as `total_tokens`: the next request will be refused.
    pub fn used_up(&self) -> Option<&str> {
        self.used_up.as_deref()
    }

    /// Sends all messages once. Reports the usage, also of an answer that cannot be used. After a failure, too, it asks for the
    /// limit that is used up.
    fn exchange(&mut self) -> Result<Answer, Failure> {
        let result = self.answer();
        let usage = match &result {
            Ok(answer) => Some(answer.usage()),
            Err(failure) => failure.usage.as_deref().copied(),
        };
        let metrics = usage.into_iter().flat_map(|usage| usage.metrics(self.price));
        self.used_up = control::report_usage(metrics.map(|(name, value, unit)| Metric {
            name: name.to_owned(),
            value,
            unit: Some(unit.to_owned()),
        }));
        result
    }

    fn answer(&self) -> Result<Answer, Failure> {
        let body = self.body(&self.messages);
        let request = self.request.clone().json(&body).map_err(Error::from)?;
        let response = request.send().map_err(failure::without_response)?;
        let url = &self.request.url;
        if !response.is_success() {
            return Err(failure::from_response(url, &response));
        }
        Answer::read(self.api, url, response)
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
    let Config { api, base_url, api_key_secret, headers, timeout_ms, .. } = config;
    let (vendor, path, key) = api.defaults();
    let base_url = base_url.as_deref().unwrap_or(vendor).trim_end_matches('/');
    let key = api_key_secret.as_deref().unwrap_or(key);
    let mut request = http::post(format!("{base_url}/{path}"));
    if !key.is_empty() {
        // The host inserts the secret, so the plugin never has it.
        let key = format!("{{{{secret.{key}}}}}");
        request = match api {
            Api::OpenAi => request.header("authorization", format!("Bearer {key}")),
            Api::Anthropic => request.header("x-api-key", key),
        };
    }
    let has_version = headers.keys().any(|name| name.eq_ignore_ascii_case("anthropic-version"));
    if *api == Api::Anthropic && !has_version {
        request = request.header("anthropic-version", anthropic::VERSION);
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
