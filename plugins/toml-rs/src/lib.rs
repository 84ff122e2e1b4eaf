//! The crate `toml` as a TOML decoder. It reads TOML 1.1.

use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
use toml_tagged::{Case, toml_rs};

struct TomlRs;

impl Provider for TomlRs {
    type Input = Case;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        toml_tagged::answer(test.input, toml_rs::decode)
    }
}

runner_sdk::export!(TomlRs);
