//! Chat models with OpenAI's API of chat completions or Anthropic's of messages, for the plugins `chat` and `agent`.

mod answer;
mod anthropic;
pub mod bound;
mod call;
mod config;
mod conversation;
mod end;
mod failure;
mod input;
mod loose_json;
mod openai;
mod size;
pub mod steps;
mod strip;
mod usage;

use runner_sdk::{Reply, Result, log};

pub use answer::{Answer, Reader, content};
pub use call::{Call, MAX_NAME, accepted_name};
pub use config::{Api, Config};
pub use conversation::{Conversation, Definition, Fit};
pub use end::Ended;
pub use failure::{Failure, shown};
pub use input::Input;
pub use size::Size;

/// Sends one question. The output of the reply is the model's text. Its metrics are reported.
pub fn ask(config: Config, input: Input, seed: u32) -> Result<Reply> {
    let reader = Reader::new(&config);
    let mut conversation = Conversation::new(config, input, seed)?;
    let answer = conversation.send()?;
    // An attempt without an answer needs no transcript: its messages are those of the test.
    steps::add_given(conversation.given());
    let text = answer.text();
    steps::add_answer(conversation.model(), &answer, text.as_deref(), &reader, None);
    if answer.is_paused() {
        log::warn("the server paused its own tools: the answer is not complete");
    }
    let text = text.ok_or_else(|| answer.without_text())?;
    reader.reply(&text)
}

/// A provider for tests of the modules.
#[cfg(test)]
struct Chat;

#[cfg(test)]
impl runner_sdk::Provider for Chat {
    type Input = Input;
    type Config = Config;

    fn run(test: runner_sdk::Test<Self>) -> Result<Reply> {
        ask(test.config, test.input, test.seed)
    }
}
