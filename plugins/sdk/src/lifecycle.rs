//! [`Lifecycle`], the trait of providers that keep data between tests.

use std::any::Any;
use std::cell::RefCell;

use crate::{Error, FromJson, Provider, Reply, Result, Test};

thread_local! {
    /// The instance's provider. `None` before setup, during a test and after teardown.
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// A provider with setup and teardown. Export it with [`export_with_lifecycle!`](crate::export_with_lifecycle).
///
/// With `reuse = "instance"` in the scenario, one value runs many tests, otherwise one. Kept data may save work, and must
/// not change a result: the order of tests differs between runs. A trap, a timeout or a stop ends the instance without
/// teardown, and the next test sets up a new value.
///
/// ```
/// use runner_sdk::serde_json::json;
/// use runner_sdk::testing::Host;
/// use runner_sdk::{Lifecycle, NoConfig, Reply, Result, Test};
///
/// struct Primes(Vec<u64>);
///
/// impl Lifecycle for Primes {
///     type Input = u64;
///     type Config = NoConfig;
///
///     fn setup(_config: NoConfig) -> Result<Self> {
///         let is_prime = |number: &u64| (2..*number).all(|divisor| number % divisor != 0);
///         Ok(Self((2..1_000).filter(is_prime).collect()))
///     }
///
///     fn run(&mut self, test: Test<Self>) -> Result<Reply> {
///         Reply::new(self.0.binary_search(&test.input).is_ok())
///     }
/// }
///
/// runner_sdk::export_with_lifecycle!(Primes);
///
/// let replies = Host::new().run_each::<Primes>([json!(7), json!(9)], json!({})).unwrap();
/// let outputs = replies.into_iter().map(|reply| reply.unwrap().output().unwrap());
/// assert_eq!(outputs.collect::<Vec<_>>(), [true, false]);
/// ```
pub trait Lifecycle: Sized + 'static {
    /// Input of a test. Use [`Raw`](crate::Raw) for JSON that the provider does not parse.
    type Input: FromJson;
    /// The provider's `config` in the scenario. [`NoConfig`](crate::NoConfig) refuses every key.
    type Config: FromJson;

    /// Creates the value before the first test of an instance. Its time and its error count as those of the test.
    fn setup(config: Self::Config) -> Result<Self>;

    /// Runs one test.
    fn run(&mut self, test: Test<Self>) -> Result<Reply>;

    /// Releases resources outside of the instance, within a few seconds. Memory needs no release: it is dropped.
    fn teardown(self) {}

    /// Returns the grants that the provider needs, such as `net:https://api.example.com` or `secret:API_KEY`.
    fn requests() -> Vec<String> {
        Vec::new()
    }
}

impl<P: Lifecycle> Provider for P {
    type Input = P::Input;
    type Config = P::Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        // Taken during the test, so that a value that panics is not used again.
        let mut provider = take::<P>()
            .ok_or_else(|| Error::internal("the provider has not been set up").code("no-setup"))?;
        let reply = provider.run(test);
        KEPT.set(Some(provider));
        reply
    }

    fn requests() -> Vec<String> {
        P::requests()
    }
}

/// Parses the configuration and sets `P` up.
pub(crate) fn setup<P: Lifecycle>(config: String) -> Result<()> {
    let config =
        P::Config::from_json(config).map_err(|error| Error::invalid_config(error.to_string()))?;
    KEPT.set(Some(Box::new(P::setup(config)?)));
    Ok(())
}

/// Tears `P` down. Does nothing if it is not set up.
pub(crate) fn teardown<P: Lifecycle>() {
    if let Some(provider) = take::<P>() {
        provider.teardown();
    }
}

fn take<P: Lifecycle>() -> Option<Box<P>> {
    KEPT.take()?.downcast().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::testing::{Calls, Host};
    use crate::{ErrorKind, Lifecycle, Raw, Reply, Result, Test};

    /// Counts tests, from the number in the configuration.
    struct Counter(u64);

    impl Lifecycle for Counter {
        type Input = Raw;
        type Config = u64;

        fn setup(first: u64) -> Result<Self> {
            if first == 0 {
                return Err(crate::Error::unavailable("no numbers"));
            }
            Ok(Self(first))
        }

        fn run(&mut self, test: Test<Self>) -> Result<Reply> {
            self.0 += 1;
            Reply::new(json!([test.attempt, self.0]))
        }

        fn teardown(self) {
            crate::log::info(&format!("counted to {}", self.0));
        }
    }

    fn count(tests: usize, config: Value) -> (Result<Vec<Value>>, Calls) {
        let inputs = vec![json!(null); tests];
        let (replies, calls) = Host::new().run_each_recorded::<Counter>(inputs, config);
        let output = |reply: Result<Reply>| reply.unwrap().output().unwrap();
        (replies.map(|all| all.into_iter().map(output).collect()), calls)
    }

    #[test]
    fn one_value_runs_all_tests_until_teardown() {
        let (outputs, calls) = count(3, json!(10));
        assert_eq!(outputs.unwrap(), [json!([1, 11]), json!([1, 12]), json!([1, 13])]);
        assert_eq!(calls.log.len(), 1);
        assert_eq!(calls.log[0].1, "counted to 13");
    }

    #[test]
    fn failed_setup_has_no_teardown() {
        let (outputs, calls) = count(1, json!(0));
        assert_eq!(outputs.unwrap_err().kind, ErrorKind::Unavailable);
        assert!(calls.log.is_empty());
        let (outputs, _) = count(1, json!("ten"));
        assert_eq!(outputs.unwrap_err().kind, ErrorKind::InvalidConfig);
    }

    #[test]
    fn tests_outside_of_setup_and_teardown_fail() {
        count(1, json!(1)).0.unwrap();
        let reply = Host::new().run::<Counter>(json!(null), json!(1));
        assert_eq!(reply.unwrap_err().code, "no-setup");
    }
}
