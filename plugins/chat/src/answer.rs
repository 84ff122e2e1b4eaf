//! From an answer of the server to the reply that a scenario judges.

use runner_sdk::http::Response;
use runner_sdk::{Check, Error, ErrorKind, Reply, Result, Verdict, log};
use serde::Deserialize;
use serde_json::Value;

use crate::{OutputForm, Price, failure};

/// A chat completion, as far as it matters here.
#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    message: Message,
    finish_reason: Option<String>,
    /// The failure of a server that asks others, such as OpenRouter, once the answer has started.
    error: Option<Value>,
}

#[derive(Deserialize, Default)]
struct Message {
    content: Option<String>,
    /// What newer models of OpenAI say instead where they do not want to answer.
    refusal: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    total_tokens: Option<f64>,
}

/// Reads the answer of a server that was content with the request.
pub(crate) fn read(response: &Response, form: OutputForm, price: Option<Price>) -> Result<Reply> {
    let malformed = |why: String| {
        let message = format!(
            "the answer is no chat completion: {why}; it begins with {}",
            failure::beginning(response)
        );
        Error::new(ErrorKind::Other, message).code("malformed-answer")
    };
    let completion: Completion = response.json().map_err(|error| malformed(error.to_string()))?;
    let choice = completion.choices.into_iter().next();
    let choice = choice.ok_or_else(|| malformed("`choices` is empty".to_owned()))?;
    if choice.error.is_some() || choice.finish_reason.as_deref() == Some("error") {
        return Err(failure::in_answer(choice.error, response));
    }
    let text = choice.text().ok_or_else(|| malformed("its message has no text".to_owned()))?;

    let milliseconds = response.duration.as_micros() as f64 / 1000.0;
    let mut reply = shaped(text, form)?.metric("response_time", milliseconds, "ms");
    for (name, count) in completion.usage.iter().flat_map(Usage::counts) {
        reply = reply.metric(name, count, "tokens");
    }
    if let (Some(price), Some(usage)) = (price, &completion.usage)
        && let Some(cost) = usage.cost(price)
    {
        reply = reply.metric("cost_usd", cost, "USD");
    }
    Ok(reply)
}

impl Choice {
    /// The text, and a line in the log where there is more to know about it. Whether a cut text will do is for the
    /// scenario to judge.
    fn text(self) -> Option<String> {
        let is_cut = match self.finish_reason.as_deref() {
            Some("length") => {
                log::warn("the model stopped at `max_tokens`: its answer is cut");
                true
            }
            Some("content_filter") => {
                log::warn("the server's content filter cut the answer");
                true
            }
            None | Some("stop" | "tool_calls" | "function_call") => false,
            Some(other) => {
                log::warn(&format!(
                    "the answer may be cut: its `finish_reason` is `{}`",
                    failure::shown(other)
                ));
                false
            }
        };
        let Message { content, refusal } = self.message;
        if refusal.is_some() {
            log::warn("the model refused to answer");
        }
        content.or(refusal).or(is_cut.then(String::new))
    }
}

impl Usage {
    /// Returns the cost in dollars. `None` if the server has not counted both kinds of tokens.
    fn cost(&self, price: Price) -> Option<f64> {
        let input = self.prompt_tokens? * price.input;
        Some((input + self.completion_tokens? * price.output) / 1e6)
    }

    fn counts(&self) -> impl Iterator<Item = (&'static str, f64)> + use<> {
        let counts = [
            ("prompt_tokens", self.prompt_tokens),
            ("completion_tokens", self.completion_tokens),
            ("total_tokens", self.total_tokens),
        ];
        counts.into_iter().filter_map(|(name, count)| Some((name, count?)))
    }
}

/// Makes the reply from the text. One that should be JSON and is not is the model's failure, so it fails the test.
fn shaped(text: String, form: OutputForm) -> Result<Reply> {
    match form {
        OutputForm::Text => Reply::new(text),
        OutputForm::Json => match serde_json::from_str::<Value>(&text) {
            Ok(value) => Reply::new(value),
            Err(error) => {
                let check = Check::new("output", Verdict::Fail);
                let message = format!("the model's text is no JSON: {error}");
                Ok(Reply::new(text)?.check(check.message(message)))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use runner_sdk::http::Response;
    use runner_sdk::testing::{Host, Seen};
    use runner_sdk::{ErrorKind, Reply, Result, Verdict};
    use serde_json::{Value, json};

    use crate::Chat;

    fn reply_to(response: Response, config: Value) -> (Result<Reply>, Seen) {
        let host = Host::new().responses([Ok(response)]);
        host.run_and_look::<Chat>(json!("hi"), config)
    }

    fn reply(answer: &Value) -> (Result<Reply>, Seen) {
        let config = json!({"model": "m", "api_key_secret": ""});
        reply_to(Response::new(200).with_json(answer).unwrap(), config)
    }

    fn choice(message: &Value, finish_reason: &str) -> Value {
        json!({"choices": [{"message": message, "finish_reason": finish_reason}]})
    }

    #[test]
    fn the_output_is_the_text_and_what_it_cost_are_metrics() {
        let mut answer = choice(&json!({"role": "assistant", "content": "4"}), "stop");
        answer["usage"] = json!({"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10});
        let mut response = Response::new(200).with_json(&answer).unwrap();
        response.duration = Duration::from_millis(250);
        let (reply, seen) = reply_to(response, json!({"model": "m", "api_key_secret": ""}));
        let reply = reply.unwrap();
        assert_eq!(reply.output().unwrap(), "4");
        let metrics: Vec<_> = reply
            .metrics()
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
            ]
        );
        assert_eq!(seen.log, []);
    }

    #[test]
    fn a_server_may_leave_out_what_it_did_not_count() {
        let (reply, _) = reply(&json!({
            "choices": [{"message": {"content": ""}}],
            "usage": {"total_tokens": null}
        }));
        let reply = reply.unwrap();
        assert_eq!(reply.output().unwrap(), "");
        assert_eq!(reply.metrics().len(), 1);
    }

    #[test]
    fn cost_needs_a_price_and_both_counts() {
        let cost = |price: Value, usage: Value| {
            let mut answer = choice(&json!({"content": "4"}), "stop");
            answer["usage"] = usage;
            let config = json!({"model": "m", "api_key_secret": "", "price": price});
            let (reply, _) = reply_to(Response::new(200).with_json(&answer).unwrap(), config);
            let reply = reply.unwrap();
            let mut metrics = reply.metrics().iter();
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
    fn an_answer_that_was_cut_or_refused_is_still_one_and_is_logged() {
        for (answer, output, word) in [
            (choice(&json!({"content": "4"}), "length"), "4", "`max_tokens`"),
            (choice(&json!({"content": null}), "length"), "", "`max_tokens`"),
            (choice(&json!({"content": null}), "content_filter"), "", "filter"),
            (choice(&json!({"content": null, "refusal": "no"}), "stop"), "no", "refused"),
        ] {
            let (reply, seen) = reply(&answer);
            assert_eq!(reply.unwrap().output().unwrap(), output);
            assert!(seen.log[0].1.contains(word), "{:?}", seen.log);
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
        let message = json!({"content": "42"});
        for (choice, kind, code, told) in [
            (
                json!({"finish_reason": "error", "message": message, "error": {"code": 429, "message": "slow down"}}),
                ErrorKind::RateLimited,
                "http-429",
                "slow down",
            ),
            (
                json!({"finish_reason": "stop", "message": message, "error": {"code": "upstream", "message": "gone"}}),
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
            assert_eq!(error.message, format!("the server ended its answer with an error: {told}"));
        }
    }

    #[test]
    fn the_text_can_be_read_as_json() {
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
    fn what_is_no_completion_is_shown_by_its_beginning() {
        let tools = choice(&json!({"content": null, "tool_calls": [{"id": "c"}]}), "tool_calls");
        for (body, names) in [
            ("<!DOCTYPE html>".to_owned(), "`<!DOCTYPE html>`"),
            (json!({"choices": []}).to_string(), "`choices` is empty"),
            (json!({"error": "no"}).to_string(), "missing field `choices`"),
            (tools.to_string(), "its message has no text"),
        ] {
            let config = json!({"model": "m", "api_key_secret": ""});
            let (reply, _) = reply_to(Response::new(200).with_body(body), config);
            let error = reply.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Other);
            assert_eq!(error.code, "malformed-answer");
            assert!(error.message.contains(names), "{error}");
        }
    }
}
