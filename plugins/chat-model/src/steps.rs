//! Steps of the transcript, in the Agent Trajectory Interchange Format.

use runner_sdk::transcript;
use serde_json::{Map, Value, json};

use crate::bound::{MAX_HANDOVER, cut};
use crate::{Answer, Ended, Reader, content};

/// Bytes of a text in a step.
const MAX_TEXT: usize = MAX_HANDOVER / 16;

/// Adds the messages of a test.
pub fn add_given(messages: &[Value]) {
    for message in messages {
        let (source, is_copied) = match message["role"].as_str() {
            Some("user") => ("user", false),
            Some("assistant") => ("agent", true),
            // The format has no source for the results of tools.
            Some("tool") => ("system", true),
            _ => ("system", false),
        };
        let text = content(&message["content"]).unwrap_or_default();
        let mut step = json!({"source": source, "message": shortened(&text)});
        if is_copied {
            step["is_copied_context"] = true.into();
        }
        add(&step);
    }
}

/// Adds an answer of the model. `ended` is the end of an agent whose last answer it is.
pub fn add_answer(
    model: &str,
    answer: &Answer,
    text: Option<&str>,
    reader: &Reader,
    ended: Option<Ended>,
) {
    let mut step = json!({
        "source": "agent",
        "model_name": model,
        "message": shortened(text.unwrap_or_default()),
        "llm_call_count": 1,
    });
    if let Some(reasoning) = answer.reasoning() {
        step["reasoning_content"] = shortened(&reasoning).into();
    }
    let usage = answer.usage();
    let known = ["prompt_tokens", "completion_tokens", "cached_tokens"];
    let counts = usage.counts().filter(|(name, _)| known.contains(name));
    // Counts are whole numbers in the format.
    let mut metrics: Map<_, _> =
        counts.map(|(name, count)| (name.to_owned(), Value::from(count as u64))).collect();
    if let Some(cost) = reader.price.and_then(|price| usage.cost(price)) {
        metrics.insert("cost_usd".to_owned(), cost.into());
    }
    if !metrics.is_empty() {
        step["metrics"] = metrics.into();
    }
    if let Some(ended) = ended {
        step["extra"] = json!({ "ended": ended.as_str() });
    }
    if !add(&step)
        && let Some(ended) = ended
    {
        // A transcript with megabytes of calls may have room for this one.
        add_end(ended, "");
    }
}

/// Adds the end of an agent that has no last answer, with the reason.
pub fn add_end(ended: Ended, reason: &str) {
    let extra = json!({ "ended": ended.as_str() });
    add(&json!({"source": "system", "message": shortened(reason), "extra": extra}));
}

/// Adds a note that the model reads less than the calls have returned.
pub fn add_shortened(results: usize, reason: &str) {
    let extra = json!({ "shortened_results": results });
    add(&json!({"source": "system", "message": reason, "extra": extra}));
}

/// Adds a step, and returns whether it fits. The runner counts those that do not.
pub fn add(step: &Value) -> bool {
    transcript::append(step).is_ok()
}

/// Returns a text that a step can have. The host bounds the bytes of a whole step, in which an escape takes up to six bytes.
pub fn shortened(text: &str) -> String {
    cut(text, MAX_TEXT, text.len()).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use runner_sdk::http::Response;
    use runner_sdk::testing::Host;
    use serde_json::{Value, json};

    use crate::Chat;

    fn steps(answer: &Value) -> Vec<Value> {
        let host = Host::new().responses([Ok(Response::new(200).with_json(answer).unwrap())]);
        let config = json!({"model": "m", "api_key_secret": "", "system": "be brief"});
        host.run_recorded::<Chat>(json!("hi"), config).1.steps
    }

    #[test]
    fn question_and_answer_are_steps() {
        let usage = json!({"prompt_tokens": 3, "completion_tokens": 1});
        let message = |text: Value| json!({"choices": [{"message": text}], "usage": usage});
        let system = json!({"source": "system", "message": "be brief"});
        let user = json!({"source": "user", "message": "hi"});
        let mut answer = json!({
            "source": "agent", "model_name": "m", "message": "hello", "llm_call_count": 1,
            "metrics": usage,
        });
        let found = steps(&message(json!({"content": "hello"})));
        assert_eq!(found, [system, user, answer.clone()]);
        // An answer without a text is an error, whose step has the reasoning.
        let thought = json!({"content": null, "reasoning": "too long"});
        answer["message"] = "".into();
        answer["reasoning_content"] = "too long".into();
        assert_eq!(steps(&message(thought))[2], answer);
        assert_eq!(steps(&json!({"error": "busy"})), [Value::Null; 0]);
    }
}
