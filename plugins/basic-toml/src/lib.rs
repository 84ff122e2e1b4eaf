//! The crate `basic-toml` as a TOML decoder. It reads TOML 1.0 without dates and times, which it does not support on purpose.

use parser::Error;
use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
use toml_tagged::{Case, Tagged};

struct BasicToml;

impl Provider for BasicToml {
    type Input = Case;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        toml_tagged::answer(test.input, |text| {
            let Tagged(value) = parser::from_str(text)?;
            Ok::<_, Error>(value)
        })
    }
}

runner_sdk::export!(BasicToml);
