//! Sends prompts to a chat model: a provider for servers with OpenAI's API of chat completions.
//!
//! The input is `"Say hello."`, `{ prompt = "Say hello." }` or `{ messages = […] }`, the output the text of the model.

use chat_model::{Config, Input};
use runner_sdk::{Provider, Reply, Result, Test};

struct Chat;

// `requests` is empty, because the necessary grants depend on the configuration: a model on this machine needs no grant for
// OpenAI. A denial names the missing grant.
impl Provider for Chat {
    type Input = Input;
    type Config = Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        chat_model::ask(test.config, test.input, test.seed)
    }
}

runner_sdk::export!(Chat);
