//! Answers with its input: the shortest possible provider.

use runner_sdk::{NoConfig, Provider, Raw, Reply, Result, Test};

struct Echo;

impl Provider for Echo {
    type Input = Raw;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        Reply::new(test.input)
    }
}

runner_sdk::export!(Echo);
