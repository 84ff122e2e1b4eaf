//! Lets a chat model solve a task: the model calls tools of the scenario until it answers with a text, which is the output.
//!
//! Input and configuration are those of the plugin `chat`.

mod offers;
mod refused;

use std::num::NonZeroU32;
use std::{thread, time::Duration};

use chat_model::bound::{MAX_HANDOVER, cut_for_json, readable};
use chat_model::{Answer, Call, Conversation, Ended, Failure, Fit, Input, Reader, Size, steps};
use offers::Offers;
use runner_sdk::{Error, ErrorKind, Provider, Reply, Result, Test, control, log, tools};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Times before a request is sent again, for servers that name none.
const WAITS: &[Duration] =
    &[Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(16)];
/// Bytes of the last text as JSON. The reply has metrics, too.
const MAX_OUTPUT: usize = MAX_HANDOVER - (64 << 10);

/// Shorter results are not cut to a few words, and all of them can be passed to the host.
type MaxResult = Size<256, MAX_HANDOVER>;
type Context = Size<4096, MAX_HANDOVER>;

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
    /// Bytes of a call's result that the model reads. A longer one keeps its start and its end.
    #[serde(default = "max_result")]
    max_result: MaxResult,
    /// Bytes of a request with the whole conversation. Results of earlier turns are shortened for it, the oldest first.
    #[serde(default = "context")]
    context: Context,
}

/// A conversation with a model that calls tools.
struct Session {
    conversation: Conversation,
    reader: Reader,
    offers: Offers,
    max_turns: u32,
    max_result: usize,
    context: usize,
    /// Text of the last answer.
    text: String,
    turns: u32,
    tool_calls: u32,
}

// `requests` is empty, because the necessary grants depend on the configuration, as for the plugin `chat`.
impl Provider for Agent {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        let mut session = Session::new(test.config, test.input, test.seed)?;
        steps::add_given(session.conversation.given());
        let ended = session.run()?;
        session.reply(ended)
    }
}

runner_sdk::export!(Agent);

impl Session {
    fn new(config: Config, input: Input, seed: u32) -> Result<Self> {
        let Config { chat, max_turns, max_result, context } = config;
        let reader = Reader::new(&chat);
        let offers = Offers::new(tools::list());
        let mut conversation = Conversation::new(chat, input, seed)?;
        conversation.offer(offers.definitions());
        Ok(Self {
            conversation,
            reader,
            offers,
            max_turns: max_turns.get(),
            max_result: max_result.0,
            context: context.0,
            text: String::new(),
            turns: 0,
            tool_calls: 0,
        })
    }

    /// Takes turns until the agent ends, and writes into the transcript how it ended.
    fn run(&mut self) -> Result<Ended> {
        loop {
            check_stop()?;
            if self.fit() == Fit::Full {
                let context = self.context;
                let reason =
                    format!("the model's answers do not fit into `context`, {context} bytes");
                return Ok(end(Ended::Context, &reason));
            }
            control::progress(None, &format!("turn {}", self.turns + 1));
            let answer = match self.send() {
                Ok(answer) => answer,
                Err(Failure { ended: Some(ended), error, .. }) => {
                    return Ok(end(ended, &error.message));
                }
                Err(failure) => {
                    // The next request would be refused, too.
                    let end = if self.turns > 0 { self.used_up() } else { None };
                    return end.ok_or(failure.error);
                }
            };
            self.turns += 1;
            let calls = self.conversation.calls(&answer);
            let text = text_of(&answer);
            let ended = self.ended(&answer, &calls);
            // An answer after calls may have no text, since the work is done.
            let is_malformed = text.is_none() && ended == Some(Ended::Done) && self.turns == 1;
            let shown = ended.filter(|_| !is_malformed);
            let model = self.conversation.model();
            steps::add_answer(model, &answer, text.as_deref(), &self.reader, shown);
            if is_malformed {
                return Err(answer.without_text());
            }
            self.text = text.unwrap_or_default();
            if let Some(ended) = ended {
                return Ok(ended);
            }
            if let Some(end) = self.used_up() {
                return Ok(end);
            }
            self.conversation.add(&answer, &calls);
            for call in &calls {
                check_stop()?;
                self.tool_calls += 1;
                self.call(call);
            }
        }
    }

    /// Ends the agent if a limit of the attempt is used up.
    fn used_up(&self) -> Option<Ended> {
        let limit = self.conversation.used_up()?;
        Some(end(Ended::Limit, &format!("`limits.{limit}` of the attempt is used up")))
    }

    /// Returns the end of the agent if this answer is its last one.
    fn ended(&self, answer: &Answer, calls: &[Call]) -> Option<Ended> {
        if !answer.is_cut() && (!calls.is_empty() || answer.is_paused()) {
            (self.turns == self.max_turns).then_some(Ended::Turns)
        } else {
            Some(answer.ended())
        }
    }

    /// Makes a call, and adds its result or its error for the model.
    fn call(&mut self, call: &Call) {
        let (output, is_error) = match self.offers.call(call) {
            Ok(output) => (output, false),
            Err(error) => {
                let mut shown = json!({"error": error.kind.as_str(), "message": error.message});
                if let Some(details) = error.details {
                    shown["details"] = details;
                }
                (shown, true)
            }
        };
        let (content, whole) = readable(output, self.max_result);
        if content.len() < whole {
            let (turn, length) = (self.turns, content.len());
            log::info(&format!(
                "turn {turn}: the model reads {length} of {whole} bytes of a result"
            ));
        }
        self.conversation.add_result(call, &content, whole, is_error);
    }

    /// Shortens results until the next request fits.
    fn fit(&mut self) -> Fit {
        let fit = self.conversation.fit(self.context);
        if let Fit::Shortened(results) = fit {
            let context = self.context;
            let reason = format!(
                "From here on, the model reads less of {results} results: the conversation was over `context`, {context} bytes."
            );
            steps::add_shortened(results, &reason);
        }
        fit
    }

    /// Sends the conversation. After the first turn, a server that is busy is asked again: a new attempt would pay for all turns
    /// again.
    fn send(&mut self) -> Result<Answer, Failure> {
        let turn = self.turns + 1;
        let waits = if turn > 1 { WAITS } else { &[] };
        for wait in waits {
            match self.conversation.send() {
                Err(Failure { error, ended: None, is_timeout, .. })
                    if [ErrorKind::RateLimited, ErrorKind::Unavailable].contains(&error.kind)
                        && self.conversation.used_up().is_none() =>
                {
                    let wait = error.retry_after.unwrap_or(*wait);
                    if wait >= control::remaining() {
                        return Err(error.into());
                    }
                    log::warn(&format!("turn {turn} is sent again after {wait:?}: {error}"));
                    thread::sleep(wait);
                    check_stop()?;
                    // Each answer that comes too late is paid for, and the next one may be as late.
                    if is_timeout {
                        break;
                    }
                }
                answer => return answer,
            }
        }
        self.conversation.send()
    }

    fn reply(self, ended: Ended) -> Result<Reply> {
        let reply = match ended {
            // The last answer has calls, and its text may be empty.
            Ended::Limit if self.conversation.used_up().is_some() => Reply::new(self.text)?,
            Ended::Done | Ended::Limit | Ended::Refused => self.reader.reply(&self.text)?,
            // The text does not answer. An error would have no tokens, which count in budgets and comparisons.
            Ended::Context | Ended::Turns => Reply::new(self.text)?,
        };
        Ok(reply.metric("turns", self.turns.into(), "").metric(
            "tool_calls",
            self.tool_calls.into(),
            "",
        ))
    }
}

/// Returns the text of an answer. The host refuses a reply of megabytes.
fn text_of(answer: &Answer) -> Option<String> {
    let text = answer.text();
    let shortened = text.as_deref().and_then(|text| cut_for_json(text, MAX_OUTPUT));
    if shortened.is_some() {
        log::warn("the model's text has megabytes: its start and its end are kept");
    }
    shortened.or(text)
}

/// Adds the end of an agent whose last request has no answer.
fn end(ended: Ended, reason: &str) -> Ended {
    log::warn(&format!("the agent ended as `{}`: {reason}", ended.as_str()));
    steps::add_end(ended, reason);
    ended
}

fn check_stop() -> Result<()> {
    if control::stop_requested() { Err(Error::stopped()) } else { Ok(()) }
}

fn thirty() -> NonZeroU32 {
    NonZeroU32::new(30).expect("it is not 0")
}

fn max_result() -> MaxResult {
    Size(16 << 10)
}

fn context() -> Context {
    Size(400 << 10)
}

#[cfg(test)]
mod tests;
