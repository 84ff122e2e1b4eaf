//! Lets a chat model solve a task: the model calls tools of the scenario until it answers with a text, which is the output.
//!
//! Input and configuration are those of the plugin `chat`.

mod calls;
mod offers;
mod refused;

use std::num::NonZeroU32;
use std::{thread, time::Duration};

use calls::Call;
use chat_model::{Answer, Conversation, Input, Reader, Usage, steps};
use offers::Offers;
use runner_sdk::{
    Check, Error, ErrorKind, Provider, Reply, Result, Test, Verdict, control, log, tools,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

/// Times before a request is sent again, for servers that name none.
const WAITS: &[Duration] =
    &[Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];

struct Agent;

/// Server, model, and limits of the agent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(flatten)]
    chat: chat_model::Config,
    /// Maximum number of requests to the model.
    #[serde(default = "thirty")]
    max_turns: NonZeroU32,
}

/// Requests and calls of an attempt.
#[derive(Default)]
struct Totals {
    turns: u32,
    tool_calls: u32,
    usage: Option<Usage>,
}

// `requests` is empty, because the necessary grants depend on the configuration, as for the plugin `chat`.
impl Provider for Agent {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let Config { chat, max_turns } = test.config;
        let reader = Reader::new(&chat);
        let offers = Offers::new(tools::list());
        let mut conversation = Conversation::new(chat, test.input, test.seed)?;
        // Servers refuse an empty list.
        if !offers.is_empty() {
            conversation.set("tools", offers.definitions());
        }
        steps::add_given(conversation.messages());

        let mut totals = Totals::default();
        loop {
            check_stop()?;
            totals.turns += 1;
            control::progress(None, &format!("turn {}", totals.turns));
            let answer = send(&conversation, totals.turns)?;
            let (text, usage) = (answer.text(), answer.usage());
            totals.add(usage);
            steps::add_answer(
                conversation.model(),
                answer.message(),
                text.as_deref(),
                &usage,
                &reader,
            );

            let calls = calls::of(answer.message(), totals.turns);
            if calls.is_empty() {
                let text = text.ok_or_else(|| answer.without_text())?;
                return Ok(totals.add_to(reader.reply(&text)?, &reader));
            }
            if totals.turns == max_turns.get() {
                // No error, whose tokens would count in no budget and no comparison.
                let reply = Reply::new(text.unwrap_or_default())?.check(totals.without_end());
                return Ok(totals.add_to(reply, &reader));
            }
            conversation.add(calls::repeated(answer.message(), &calls));
            for call in &calls {
                check_stop()?;
                totals.tool_calls += 1;
                conversation.add(json!({
                    "role": "tool",
                    "tool_call_id": call.id,
                    "content": result(call, &offers),
                }));
            }
        }
    }
}

runner_sdk::export!(Agent);

/// Sends a conversation. After the first turn, a server that is busy is asked again: a new attempt would pay for all turns again.
fn send(conversation: &Conversation, turn: u32) -> Result<Answer> {
    let waits = if turn > 1 { WAITS } else { &[] };
    for wait in waits {
        match conversation.send() {
            Err(error)
                if [ErrorKind::RateLimited, ErrorKind::Unavailable].contains(&error.kind) =>
            {
                let wait = error.retry_after.unwrap_or(*wait);
                if wait >= control::remaining() {
                    return Err(error);
                }
                log::warn(&format!("turn {turn} is sent again after {wait:?}: {error}"));
                thread::sleep(wait);
                check_stop()?;
            }
            answer => return answer,
        }
    }
    conversation.send()
}

/// Makes a call. Returns its result or its error, as the model reads it.
fn result(call: &Call, offers: &Offers) -> String {
    match offers.call(call) {
        Ok(Value::String(text)) => text,
        Ok(output) => output.to_string(),
        Err(error) => {
            let mut shown = json!({"error": error.kind.as_str(), "message": error.message});
            if let Some(details) = error.details {
                shown["details"] = details;
            }
            shown.to_string()
        }
    }
}

fn check_stop() -> Result<()> {
    if control::stop_requested() { Err(Error::stopped()) } else { Ok(()) }
}

impl Totals {
    fn add(&mut self, usage: Usage) {
        match &mut self.usage {
            Some(sum) => *sum += usage,
            None => self.usage = Some(usage),
        }
    }

    fn metrics(&self, reader: &Reader) -> Vec<(&'static str, f64, &'static str)> {
        let counts = [("turns", self.turns.into(), ""), ("tool_calls", self.tool_calls.into(), "")];
        let of_answers = self.usage.iter().flat_map(|usage| usage.metrics(reader.price));
        counts.into_iter().chain(of_answers).collect()
    }

    fn add_to(&self, reply: Reply, reader: &Reader) -> Reply {
        let metrics = self.metrics(reader).into_iter();
        metrics.fold(reply, |reply, (name, value, unit)| reply.metric(name, value, unit))
    }

    /// Returns the failed check of a model that calls tools in its last turn.
    fn without_end(&self) -> Check {
        let turns = match self.turns {
            1 => "its only turn".to_owned(),
            turns => format!("each of its {turns} turns"),
        };
        let message = format!("the model called tools in {turns}, and did not answer");
        Check::new("max_turns", Verdict::Fail).message(message)
    }
}

fn thirty() -> NonZeroU32 {
    NonZeroU32::new(30).expect("it is not 0")
}

#[cfg(test)]
mod tests;
