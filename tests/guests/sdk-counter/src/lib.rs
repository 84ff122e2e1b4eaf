//! A provider of the SDK that counts its own tests, from a number that its configuration says.

use runner_sdk::{
    Error, Lifecycle, Raw, Reply, Result, Test, log,
    schemars::{self, JsonSchema},
    serde::{self, Deserialize},
};

struct Counter(u64);

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "serde")]
#[schemars(crate = "schemars")]
struct Config {
    first: u64,
}

impl Lifecycle for Counter {
    type Input = Raw;
    type Config = Config;

    fn setup(config: Config) -> Result<Self> {
        if config.first == 0 {
            return Err(Error::invalid_config("there is no number before 0"));
        }
        Ok(Self(config.first - 1))
    }

    fn run(&mut self, _test: Test<Self>) -> Result<Reply> {
        self.0 += 1;
        Reply::new(self.0)
    }

    fn teardown(self) {
        log::info(&format!("counted to {}", self.0));
    }
}

runner_sdk::export_with_lifecycle!(Counter);
