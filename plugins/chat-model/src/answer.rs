//! Reads the answer of a server.
//!
//! Servers differ in every field, so only the text is required. A field with an unexpected type counts as absent.

use runner_sdk::http::Response;
use runner_sdk::{Check, Error, ErrorKind, Reply, Result, Verdict, log};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::call::{Call, Ids};
use crate::config::{Api, Config, OutputForm, Price};
use crate::end::{Ended, Stop};
use crate::failure::Failure;
use crate::strip::Strip;
use crate::usage::Usage;
use crate::{anthropic, failure, loose_json, openai};

/// An answer with a message.
#[derive(Debug)]
pub struct Answer {
    api: Api,
    url: String,
    response: Response,
    body: Value,
    stop: Stop,
}

/// Settings for replies with a model's text.
pub struct Reader {
    form: OutputForm,
    strip: Strip,
    /// Price of the model.
    pub price: Option<Price>,
}

impl Answer {
    /// Reads an answer of `url` with a status of success.
    pub(crate) fn read(api: Api, url: &str, response: Response) -> Result<Self, Failure> {
        let body = loose_json::parse(&response.body)
            .map_err(|error| malformed(api, url, &response, &error.to_string()))?;
        let usage =
            body["usage"].is_object().then(|| Box::new(Usage::read(&body, response.duration)));
        Self::check(api, url, response, body).map_err(|failure| Failure { usage, ..failure })
    }

    fn check(api: Api, url: &str, response: Response, body: Value) -> Result<Self, Failure> {
        let choice = match api {
            Api::OpenAi => &body["choices"][0],
            Api::Anthropic if body["content"].is_array() => &body,
            Api::Anthropic => &Value::Null,
        };
        if let Some(failure) = failure::in_answer(choice, &body, &response) {
            return Err(failure);
        }
        if choice.is_null() {
            let field = if api == Api::OpenAi { "choices" } else { "content" };
            return Err(malformed(api, url, &response, &format!("it has no `{field}`")).into());
        }
        let reason = if api == Api::OpenAi { "finish_reason" } else { "stop_reason" };
        let written = choice[reason].as_str().unwrap_or_default();
        let stop = Stop::read(written);
        if stop == Stop::Failed {
            let message = format!("the server broke off its answer: its `{reason}` is `{written}`");
            let error = Error::unavailable(message).code("failed-answer");
            return Err(failure::with_wait(error, &response).into());
        }
        let answer = Self { api, url: url.to_owned(), response, body, stop };
        if answer.stop == Stop::Malformed && answer.calls(&mut Ids::default()).is_empty() {
            let message = "the model wrote a call that its server refused or could not read";
            let error = Error::unavailable(message).code("malformed-call");
            return Err(failure::with_wait(error, &answer.response).into());
        }
        Ok(answer)
    }

    /// Returns the message, in the form of the API.
    pub(crate) fn message(&self) -> &Value {
        match self.api {
            Api::OpenAi => &self.body["choices"][0]["message"],
            Api::Anthropic => &self.body,
        }
    }

    /// Returns the text. Logs if it is cut or refused: the scenario judges whether such a text is enough.
    pub fn text(&self) -> Option<String> {
        match &self.stop {
            Stop::Cut => log::warn("the model stopped at `max_tokens`: its answer is cut"),
            Stop::Context => log::warn("the model's context is full: its answer is cut"),
            Stop::Refused if self.api == Api::OpenAi => {
                log::warn("the server's content filter cut the answer");
            }
            Stop::Unknown(reason) => {
                let reason = failure::shown(reason);
                log::warn(&format!("the answer may be cut: its `finish_reason` is `{reason}`"));
            }
            Stop::Refused | Stop::Finished | Stop::Paused | Stop::Malformed | Stop::Failed => {}
        }
        let refusal = self.refusal();
        if refusal.is_some() || (self.stop == Stop::Refused && self.api == Api::Anthropic) {
            log::warn("the model refused to answer");
        }
        let text = match self.api {
            Api::OpenAi => content(&self.message()["content"]),
            Api::Anthropic => anthropic::text(self.message()),
        };
        let text = text.filter(|text| refusal.is_none() || !text.is_empty());
        text.or(refusal.map(str::to_owned)).or(self.is_cut().then(String::new))
    }

    /// Returns the text that newer models of OpenAI have in place of an answer.
    fn refusal(&self) -> Option<&str> {
        self.message()["refusal"].as_str().filter(|refusal| !refusal.is_empty())
    }

    /// Returns the end of an agent whose last answer this is.
    pub fn ended(&self) -> Ended {
        let of_stop = self.stop.ended();
        of_stop.unwrap_or(if self.refusal().is_some() { Ended::Refused } else { Ended::Done })
    }

    /// Returns whether a limit or a filter has cut the answer. The last call of such an answer may be cut, too, and still be valid.
    pub fn is_cut(&self) -> bool {
        matches!(self.stop, Stop::Cut | Stop::Context | Stop::Refused) || self.refusal().is_some()
    }

    /// Returns whether the server continues the answer once it has it back.
    pub fn is_paused(&self) -> bool {
        self.stop == Stop::Paused
    }

    pub(crate) fn calls(&self, ids: &mut Ids) -> Vec<Call> {
        match self.api {
            Api::OpenAi => openai::calls(self.message(), ids),
            Api::Anthropic => anthropic::calls(self.message(), ids),
        }
    }

    /// Returns the reasoning of the model, as far as the server shows it.
    pub(crate) fn reasoning(&self) -> Option<String> {
        let message = self.message();
        let reasoning = match self.api {
            Api::OpenAi => {
                let texts = ["reasoning_content", "reasoning"].iter();
                let mut texts = texts.filter_map(|key| message[*key].as_str());
                texts.find(|text| !text.is_empty()).unwrap_or_default().to_owned()
            }
            Api::Anthropic => anthropic::reasoning(message),
        };
        (!reasoning.is_empty()).then_some(reasoning)
    }

    /// Returns the error for an answer that must have a text, and has none.
    pub fn without_text(&self) -> Error {
        malformed(self.api, &self.url, &self.response, "its message has no text")
    }

    /// Returns the tokens and the time of the answer.
    pub fn usage(&self) -> Usage {
        Usage::read(&self.body, self.response.duration)
    }
}

fn malformed(api: Api, url: &str, response: &Response, why: &str) -> Error {
    let start = failure::start_of(response);
    let form =
        if api == Api::OpenAi { "a chat completion" } else { "a message of Anthropic's API" };
    let message = format!("the answer of {url} is not {form}: {why}; it starts with {start}");
    Error::new(ErrorKind::Other, message).code("malformed-answer")
}

impl Reader {
    /// Reads the settings of a configuration.
    pub fn new(config: &Config) -> Self {
        Self { form: config.output, strip: config.strip.clone(), price: config.price }
    }

    /// Returns the reply with a text. If it must be JSON and is not, that is a failure of the model, so the test fails.
    pub fn reply(&self, text: &str) -> Result<Reply> {
        let stripped = self.strip.cut(text);
        let kept = stripped.as_deref().unwrap_or(text);
        let mut is_whole = stripped.is_none();
        let reply = match self.form {
            OutputForm::Text => Reply::new(kept),
            OutputForm::Json => match loose_json::in_text(kept) {
                Ok(value) => {
                    is_whole &= serde_json::from_str::<IgnoredAny>(kept).is_ok();
                    Reply::new(value)
                }
                Err(error) => {
                    let check = Check::new("output", Verdict::Fail);
                    let message = format!("the model's text is not JSON: {error}");
                    Ok(Reply::new(kept)?.check(check.message(message)))
                }
            },
        }?;
        if !is_whole {
            log::info(&format!("the whole text of the model:\n{text}"));
        }
        Ok(reply)
    }
}

/// Returns the text of a message's content: a text, or a list of parts. Parts with reasoning, pictures and tools are left out.
pub fn content(content: &Value) -> Option<String> {
    let part = |part: &Value| match &part["type"] {
        Value::String(kind) if kind != "text" && kind != "output_text" => None,
        _ => {
            let texts = [part, &part["text"], &part["text"]["value"]];
            texts.iter().find_map(|text| text.as_str()).map(str::to_owned)
        }
    };
    match content {
        Value::Null => None,
        Value::Array(parts) => {
            let texts: Vec<_> = parts.iter().filter_map(part).collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
        // Some servers parse the model's JSON and send a value in place of a text.
        value => part(value).or_else(|| Some(value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_sdk::http::Response;
    use runner_sdk::testing::{Calls, Host};
    use runner_sdk::{ErrorKind, Reply, Result, Verdict};
    use serde_json::{Value, json};

    use crate::Chat;

    fn reply_to(response: Response, config: Value) -> (Result<Reply>, Calls) {
        let host = Host::new().responses([Ok(response)]);
        host.run_recorded::<Chat>(json!("hi"), config)
    }

    fn reply(answer: &Value) -> (Result<Reply>, Calls) {
        let config = json!({"model": "m", "api_key_secret": ""});
        reply_to(Response::new(200).with_json(answer).unwrap(), config)
    }

    fn choice(message: &Value, finish_reason: &str) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish_reason}]})
    }

    #[test]
    fn text_is_output_and_usage_is_metrics() {
        let mut answer = choice(&json!({"role": "assistant", "content": "4"}), "stop");
        answer["usage"] = json!({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10});
        let mut response = Response::new(200).with_json(&answer).unwrap();
        response.duration = Duration::from_millis(250);
        let (reply, calls) = reply_to(response, json!({"model": "m", "api_key_secret": ""}));
        let reply = reply.unwrap();
        assert_eq!(reply.output().unwrap(), "4");
        let metrics: Vec<_> = calls
            .usage
            .iter()
            .map(|metric| (metric.name.as_str(), metric.value, metric.unit.as_deref()))
            .collect();
        assert_eq!(
            metrics,
            [
                ("response_time", 250.0, Some("ms")),
                ("prompt_tokens", 9.0, Some("tokens")),
                ("completion_tokens", 1.0, Some("tokens")),
                ("total_tokens", 10.0, Some("tokens")),
                ("uncached_tokens", 9.0, Some("tokens")),
            ]
        );
        assert_eq!(calls.log, []);
    }

    #[test]
    fn missing_counts_make_no_metrics() {
        let (reply, calls) = reply(&json!({
            "choices": [{"message": {"content": ""}}],
            "usage": {"total_tokens": null}
        }));
        let reply = reply.unwrap();
        assert_eq!(reply.output().unwrap(), "");
        assert_eq!(calls.usage.len(), 1);
    }

    #[test]
    fn cost_needs_a_price_and_both_counts() {
        let cost = |price: Value, usage: Value| {
            let mut answer = choice(&json!({"content": "4"}), "stop");
            answer["usage"] = usage;
            let config = json!({"model": "m", "api_key_secret": "", "price": price});
            let (_, calls) = reply_to(Response::new(200).with_json(&answer).unwrap(), config);
            let mut metrics = calls.usage.iter();
            let cost = metrics.find(|metric| metric.name == "cost_usd");
            cost.map(|metric| (metric.value, metric.unit.clone()))
        };
        let price = json!({"input": 2.5, "output": 10});
        let usage = json!({"prompt_tokens": 2000, "completion_tokens": 500});
        let dollars = Some((0.01, Some("USD".to_owned())));
        assert_eq!(cost(price.clone(), usage.clone()), dollars);
        assert_eq!(cost(price, json!({"prompt_tokens": 2000})), None);
        assert_eq!(cost(Value::Null, usage), None);
    }

    #[test]
    fn cut_and_refused_answers_are_logged() {
        for (answer, output, word) in [
            (choice(&json!({"content": "4"}), "length"), "4", "`max_tokens`"),
            (choice(&json!({"content": null}), "length"), "", "`max_tokens`"),
            (choice(&json!({"content": null}), "content_filter"), "", "filter"),
            (choice(&json!({"content": null, "refusal": "no"}), "stop"), "no", "refused"),
        ] {
            let (reply, calls) = reply(&answer);
            assert_eq!(reply.unwrap().output().unwrap(), output);
            assert!(calls.log[0].1.contains(word), "{:?}", calls.log);
        }
    }

    #[test]
    fn unknown_finish_reason_is_logged() {
        let log = |reason: &str| reply(&choice(&json!({"content": "4"}), reason)).1.log;
        assert!(log("max_time")[0].1.contains("`max_time`"));
        for reason in ["stop", "tool_calls", "function_call"] {
            assert_eq!(log(reason), [], "{reason}");
        }
    }

    #[test]
    fn answer_that_ended_with_an_error_fails() {
        let content = json!({"content": "42"});
        for (choice, kind, code, message) in [
            (
                json!({"finish_reason": "error", "message": content, "error": {"code": 429, "message": "slow down"}}),
                ErrorKind::RateLimited,
                "http-429",
                "slow down",
            ),
            (
                json!({"finish_reason": "stop", "message": content, "error": {"code": "upstream", "message": "gone"}}),
                ErrorKind::Unavailable,
                "upstream",
                "gone",
            ),
            (
                json!({"finish_reason": "error"}),
                ErrorKind::Unavailable,
                "failed-answer",
                r#"`{"choices":[{"finish_reason":"error"}]}`"#,
            ),
        ] {
            let error = reply(&json!({"choices": [choice]})).0.unwrap_err();
            assert_eq!((error.kind, &*error.code), (kind, code));
            assert_eq!(
                error.message,
                format!("the server ended its answer with an error: {message}")
            );
        }
    }

    #[test]
    fn text_can_be_read_as_json() {
        let config = json!({"model": "m", "api_key_secret": "", "output": "json"});
        let answer = |content: &str| {
            let answer = choice(&json!({"content": content}), "stop");
            let response = Response::new(200).with_json(&answer).unwrap();
            reply_to(response, config.clone()).0.unwrap()
        };
        let reply = answer(" {\"a\": [1]}\n");
        assert_eq!(reply.output().unwrap(), json!({"a": [1]}));
        assert_eq!(reply.checks(), []);

        let reply = answer("Sure! {\"a\": 1}");
        assert_eq!(reply.output().unwrap(), "Sure! {\"a\": 1}");
        assert_eq!(reply.checks()[0].verdict, Verdict::Fail);
    }

    #[test]
    fn strip_removes_reasoning_before_the_output_is_read() {
        let answer = |content: &str, output: &str| {
            let answer = choice(&json!({"content": content}), "stop");
            let response = Response::new(200).with_json(&answer).unwrap();
            let config =
                json!({"model": "m", "api_key_secret": "", "output": output, "strip": "think"});
            let (reply, calls) = reply_to(response, config);
            (reply.unwrap().output().unwrap(), calls.log)
        };
        let whole = "<think>{\"a\": 0}</think>\n\n{\"a\": 1}";
        for (output, expected) in [("text", json!("{\"a\": 1}")), ("json", json!({"a": 1}))] {
            let (read, log) = answer(whole, output);
            assert_eq!(read, expected);
            assert_eq!(log.len(), 1);
            assert!(log[0].1.ends_with(whole), "{log:?}");
            assert_eq!(answer("{\"a\": 1}", output), (expected, Vec::new()));
        }
        let fenced = "```json\n{\"a\": 1}\n```";
        let (read, log) = answer(fenced, "json");
        assert_eq!(read, json!({"a": 1}));
        assert!(log[0].1.ends_with(fenced), "{log:?}");
        assert_eq!(answer(fenced, "text"), (json!(fenced), Vec::new()));
    }

    #[test]
    fn malformed_answer_is_shown_with_its_start() {
        let tools = choice(&json!({"content": null, "tool_calls": [{"id": "c"}]}), "tool_calls");
        for (body, names) in [
            ("<!DOCTYPE html>".to_owned(), "`<!DOCTYPE html>`"),
            (json!({"choices": []}).to_string(), "it has no `choices`"),
            (json!({"choices": null, "error": {}}).to_string(), "it has no `choices`"),
            (tools.to_string(), "its message has no text"),
        ] {
            let config = json!({"model": "m", "api_key_secret": ""});
            let (reply, _) = reply_to(Response::new(200).with_body(body), config);
            let error = reply.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Other);
            assert_eq!(error.code, "malformed-answer");
            assert!(error.message.contains(names), "{error}");
            let url = "the answer of https://api.openai.com/v1/chat/completions is not";
            assert!(error.message.starts_with(url), "{error}");
        }
    }
}
