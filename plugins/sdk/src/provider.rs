//! [`Provider`]: what a plugin's author implements.

use crate::{Error, FromJson, Reply, Result};

/// Answers tests.
pub trait Provider: Sized {
    /// What a test hands over; [`Raw`](crate::Raw) for JSON text as it is.
    type Input: FromJson;
    /// How a scenario sets the provider up; [`NoConfig`](crate::NoConfig) for not at all.
    type Config: FromJson;

    /// Answers one test. The instance is fresh, unless the scenario says `reuse`: nothing is left of the test before. A
    /// provider that keeps something on purpose implements [`Lifecycle`](crate::Lifecycle) instead.
    fn run(test: Test<Self>) -> Result<Reply>;

    /// Names what the provider would like to be granted, such as `net:https://api.example.com` or `secret:API_KEY`.
    fn requests() -> Vec<String> {
        Vec::new()
    }
}

/// A test as a provider gets it: everything that decides the result, and nothing that differs from run to run.
pub struct Test<P: Provider> {
    /// `test@provider#repeat`.
    pub trial_id: String,
    /// The test's id in the scenario.
    pub test_id: String,
    /// The provider's name in the scenario.
    pub provider: String,
    /// Which repeat of the test this is, from 1.
    pub repeat: u32,
    /// Which attempt at the trial this is, from 1.
    pub attempt: u32,
    /// What chance is to be drawn from.
    pub seed: u32,
    /// What the test hands over.
    pub input: P::Input,
    /// How the scenario set the provider up.
    pub config: P::Config,
    /// The test's tags.
    pub tags: Vec<String>,
}

/// A test before its input and configuration are read.
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

/// Reads what `test` carries and answers it.
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

/// The crate that a provider is built from; [`export!`](crate::export) fills it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// The crate's name.
    pub name: &'static str,
    /// The crate's version.
    pub version: &'static str,
    /// The crate's description.
    pub summary: &'static str,
}

/// A provider that knows which crate it is built from; [`export!`](crate::export) implements it.
pub trait Packaged: Provider {
    /// The crate.
    const PACKAGE: Package;
}
