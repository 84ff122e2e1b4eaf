//! [`Usage`], the tokens and the time of answers.

use std::time::Duration;

use serde_json::Value;

use crate::config::Price;

/// Counts of tokens, `None` if the server has not counted them, and the time until the answer.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// Includes `cached`.
    prompt: Option<f64>,
    /// Includes `reasoning`.
    completion: Option<f64>,
    total: Option<f64>,
    /// Tokens of the prompt that the server had in a cache.
    cached: Option<f64>,
    reasoning: Option<f64>,
    time: Duration,
}

impl Usage {
    /// Reads the `usage` of an answer, in the forms of OpenAI, Anthropic, DeepSeek, Moonshot and xAI.
    pub(crate) fn read(answer: &Value, time: Duration) -> Self {
        let usage = &answer["usage"];
        let first = |places: &[&str]| places.iter().find_map(|place| count(usage.pointer(place)?));
        let prompt = first(&["/prompt_tokens"]).or_else(|| {
            // Anthropic's count excludes both kinds of cached tokens.
            let cached = ["/cache_read_input_tokens", "/cache_creation_input_tokens"];
            let cached = cached.iter().filter_map(|place| first(&[place]));
            Some(first(&["/input_tokens"])? + cached.sum::<f64>())
        });
        let mut completion = first(&["/completion_tokens", "/output_tokens"]);
        let reasoning = first(&[
            "/completion_tokens_details/reasoning_tokens",
            "/output_tokens_details/reasoning_tokens",
            "/reasoning_tokens",
        ]);
        let known = [prompt, completion].into_iter().flatten().reduce(|sum, count| sum + count);
        let total = first(&["/total_tokens"]).or(known);
        // xAI counts reasoning only in the total.
        if let (Some(sum), Some(total), Some(reasoning)) = (known, total, reasoning)
            && reasoning > 0.0
            && total == sum + reasoning
        {
            completion = completion.map(|completion| completion + reasoning);
        }
        let cached = first(&[
            "/prompt_tokens_details/cached_tokens",
            "/input_tokens_details/cached_tokens",
            "/prompt_cache_hit_tokens",
            "/cache_read_input_tokens",
            "/cached_tokens",
        ]);
        Self { prompt, completion, total, cached, reasoning, time }
    }

    /// Returns name, value and unit of each metric: the time, counts of tokens, and with a price the cost.
    pub fn metrics(
        self,
        price: Option<Price>,
    ) -> impl Iterator<Item = (&'static str, f64, &'static str)> {
        let milliseconds = self.time.as_micros() as f64 / 1000.0;
        let counts = self.counts().map(|(name, count)| (name, count, "tokens"));
        let cost = price.and_then(|price| self.cost(price)).map(|cost| ("cost_usd", cost, "USD"));
        [("response_time", milliseconds, "ms")].into_iter().chain(counts).chain(cost)
    }

    /// Returns the name and number of each count.
    pub fn counts(self) -> impl Iterator<Item = (&'static str, f64)> {
        let counts = [
            ("prompt_tokens", self.prompt),
            ("completion_tokens", self.completion),
            ("total_tokens", self.total),
            ("cached_tokens", self.cached),
            ("uncached_tokens", self.uncached()),
            ("reasoning_tokens", self.reasoning),
        ];
        counts.into_iter().filter_map(|(name, count)| Some((name, count?)))
    }

    /// Returns the cost in dollars. `None` if the server has not counted prompt and completion.
    pub fn cost(&self, price: Price) -> Option<f64> {
        let uncached = self.uncached()?;
        let cached = (self.prompt? - uncached) * price.cached.unwrap_or(price.input);
        Some((uncached * price.input + cached + self.completion? * price.output) / 1e6)
    }

    fn uncached(&self) -> Option<f64> {
        Some((self.prompt? - self.cached.unwrap_or_default()).max(0.0))
    }
}

/// Parses a number or a text with a number. `None` if it is negative or not finite.
fn count(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::Usage;
    use crate::config::Price;

    fn read(usage: &Value) -> Usage {
        Usage::read(&json!({ "usage": usage }), Duration::from_millis(2))
    }

    #[test]
    fn usage_is_read_in_each_servers_form() {
        let counts = |usage: Value| {
            let usage = read(&usage);
            [usage.prompt, usage.completion, usage.total, usage.cached, usage.reasoning]
        };
        for (server, usage, expected) in [
            (
                "OpenAI",
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 3}
                }),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), Some(3.0)],
            ),
            (
                "OpenAI, responses",
                json!({
                    "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
                    "input_tokens_details": {"cached_tokens": 8},
                    "output_tokens_details": {"reasoning_tokens": 3}
                }),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), Some(3.0)],
            ),
            (
                "Anthropic",
                json!({
                    "input_tokens": 1, "cache_read_input_tokens": 8,
                    "cache_creation_input_tokens": 1, "output_tokens": 5
                }),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), None],
            ),
            (
                "LiteLLM",
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "cache_read_input_tokens": 8, "prompt_tokens_details": null
                }),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), None],
            ),
            (
                "DeepSeek",
                json!({
                    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
                    "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2
                }),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), None],
            ),
            (
                "Moonshot",
                json!({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 8}),
                [Some(10.0), Some(5.0), Some(15.0), Some(8.0), None],
            ),
            (
                "xAI",
                json!({
                    "prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 15,
                    "completion_tokens_details": {"reasoning_tokens": 3}
                }),
                [Some(10.0), Some(5.0), Some(15.0), None, Some(3.0)],
            ),
            (
                "odd",
                json!({"prompt_tokens": "10", "completion_tokens": -5}),
                [Some(10.0), None, Some(10.0), None, None],
            ),
            ("odd", json!({"total_tokens": "NaN", "prompt_tokens": [1]}), [None; 5]),
            ("odd", json!([{"prompt_tokens": 10}]), [None; 5]),
        ] {
            assert_eq!(counts(usage), expected, "{server}");
        }
    }

    #[test]
    fn cached_tokens_have_their_own_price() {
        let cost = |usage: Value, cached| {
            let price = Price { input: 2.5, output: 10.0, cached };
            read(&usage).cost(price)
        };
        let mut usage = json!({"prompt_tokens": 2000, "completion_tokens": 500});
        assert_eq!(cost(usage.clone(), None), Some(0.01));
        assert_eq!(cost(usage.clone(), Some(0.0)), Some(0.01));
        usage["cached_tokens"] = json!(2000);
        assert_eq!(cost(usage.clone(), None), Some(0.01));
        assert_eq!(cost(usage.clone(), Some(1.25)), Some(0.0075));
        usage["cached_tokens"] = json!(9000);
        assert_eq!(cost(usage, Some(0.0)), Some(0.005));
        assert_eq!(cost(json!({"prompt_tokens": 2000}), None), None);
    }

    #[test]
    fn uncached_tokens_are_known_without_a_cache() {
        let usage = read(&json!({"prompt_tokens": 9, "completion_tokens": 1}));
        let counts: Vec<_> = usage.counts().collect();
        assert_eq!(
            counts,
            [
                ("prompt_tokens", 9.0),
                ("completion_tokens", 1.0),
                ("total_tokens", 10.0),
                ("uncached_tokens", 9.0),
            ]
        );
    }
}
