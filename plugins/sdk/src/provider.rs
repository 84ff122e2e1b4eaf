//! [`Provider`], the trait that the author of a plugin implements.

use crate::{Error, FromJson, Reply, Result};

/// Runs tests on the program under test.
pub trait Provider: Sized {
    /// Input of a test. Use [`Raw`](crate::Raw) for JSON that the provider does not parse.
    type Input: FromJson;
    /// The provider's `config` in the scenario. [`NoConfig`](crate::NoConfig) refuses every key.
    type Config: FromJson;

    /// Runs one test. Unless the scenario sets `reuse`, each test has a new instance, without data of earlier tests. To keep
    /// data, implement [`Lifecycle`](crate::Lifecycle) instead.
    fn run(test: Test<Self>) -> Result<Reply>;

    /// Returns the grants that the provider needs, such as `net:https://api.example.com` or `secret:API_KEY`.
    fn requests() -> Vec<String> {
        Vec::new()
    }
}

/// A test for a provider. It has all data that may decide the result, and none that differs between runs, such as the time.
pub struct Test<P: Provider> {
    /// Id of the trial: `test@provider#repeat`.
    pub trial_id: String,
    /// Id of the test in the scenario.
    pub test_id: String,
    /// Name of the provider in the scenario.
    pub provider: String,
    /// Number of the repeat of the test, from 1.
    pub repeat: u32,
    /// Number of the attempt of the trial, from 1.
    pub attempt: u32,
    /// Seed for all random choices.
    pub seed: u32,
    /// Input of the test.
    pub input: P::Input,
    /// Configuration of the provider.
    pub config: P::Config,
    /// Tags of the test.
    pub tags: Vec<String>,
}

/// A test with its input and configuration as JSON text.
pub(crate) struct RawTest {
    pub(crate) trial_id: String,
    pub(crate) test_id: String,
    pub(crate) provider: String,
    pub(crate) repeat: u32,
    pub(crate) attempt: u32,
    pub(crate) seed: u32,
    pub(crate) input: String,
    pub(crate) config: String,
    pub(crate) tags: Vec<String>,
}

/// Parses configuration and input, and runs the test.
pub(crate) fn run<P: Provider>(test: RawTest) -> Result<Reply> {
    let config = P::Config::from_json(test.config)
        .map_err(|error| Error::invalid_config(error.to_string()))?;
    let input =
        P::Input::from_json(test.input).map_err(|error| Error::invalid_input(error.to_string()))?;

    P::run(Test {
        trial_id: test.trial_id,
        test_id: test.test_id,
        provider: test.provider,
        repeat: test.repeat,
        attempt: test.attempt,
        seed: test.seed,
        input,
        config,
        tags: test.tags,
    })
}

/// Metadata of the provider's crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Name of the crate.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
    /// Description of the crate.
    pub summary: &'static str,
}

/// A provider with the metadata of its crate. [`export!`](crate::export) implements it.
pub trait Packaged: Provider {
    /// Metadata of the crate.
    const PACKAGE: Package;
}
