//! Chat models with OpenAI's API of chat completions, for the plugins `chat` and `agent`.

mod answer;
mod config;
mod conversation;
mod failure;
mod input;
mod loose_json;
mod strip;
mod usage;

use runner_sdk::{Reply, Result};

pub use answer::{Answer, Reader, content};
pub use config::Config;
pub use conversation::Conversation;
pub use failure::shown;
pub use input::Input;
pub use usage::Usage;

/// Sends one question. The output of the reply is the model's text.
pub fn ask(config: Config, input: Input, seed: u32) -> Result<Reply> {
    let reader = Reader::new(&config);
    let answer = Conversation::new(config, input, seed)?.send()?;
    let text = answer.text().ok_or_else(|| answer.without_text())?;
    let reply = reader.reply(&text)?;
    let metrics = answer.usage().metrics(reader.price);
    Ok(metrics.fold(reply, |reply, (name, value, unit)| reply.metric(name, value, unit)))
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
