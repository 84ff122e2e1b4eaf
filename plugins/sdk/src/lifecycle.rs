//! [`Lifecycle`]: a provider that keeps something from one test to the next.

use std::any::Any;
use std::cell::RefCell;

use crate::{Error, FromJson, Provider, Reply, Result, Test};

thread_local! {
    /// The instance's provider, between setup and teardown.
    static KEPT: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// A provider that is set up, answers tests, and is torn down; exported by
/// [`export_with_lifecycle!`](crate::export_with_lifecycle).
///
/// Where the scenario says `reuse = "instance"`, one value answers many tests, else one: what it keeps saves work, and
/// must never decide a result. After a trap, a timeout or a stop there is no teardown; a new value is set up.
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
    /// What a test hands over; [`Raw`](crate::Raw) for JSON text as it is.
    type Input: FromJson;
    /// How a scenario sets the provider up; [`NoConfig`](crate::NoConfig) for not at all.
    type Config: FromJson;

    /// Makes what answers tests, before the first one and inside its time. An error is the error of that test.
    fn setup(config: Self::Config) -> Result<Self>;

    /// Answers one test.
    fn run(&mut self, test: Test<Self>) -> Result<Reply>;

    /// Gives back what is held outside of the instance; a few seconds are left for it.
    fn teardown(self) {}

    /// Names what the provider would like to be granted, such as `net:https://api.example.com` or `secret:API_KEY`.
    fn requests() -> Vec<String> {
        Vec::new()
    }
}

impl<P: Lifecycle> Provider for P {
    type Input = P::Input;
    type Config = P::Config;

    fn run(test: Test<Self>) -> Result<Reply> {
        // Taken out meanwhile, so that what panics is gone.
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

/// Sets `P` up for a configuration, as JSON text.
pub(crate) fn setup<P: Lifecycle>(config: String) -> Result<()> {
    let config =
        P::Config::from_json(config).map_err(|error| Error::invalid_config(error.to_string()))?;
    KEPT.set(Some(Box::new(P::setup(config)?)));
    Ok(())
}

/// Tears `P` down, if it is set up.
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

    use crate::testing::{Host, Seen};
    use crate::{ErrorKind, Lifecycle, Raw, Reply, Result, Test};

    /// Counts tests, from the number that its configuration says.
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

    fn count(tests: usize, config: Value) -> (Result<Vec<Value>>, Seen) {
        let inputs = vec![json!(null); tests];
        let (replies, seen) = Host::new().run_each_and_look::<Counter>(inputs, config);
        let output = |reply: Result<Reply>| reply.unwrap().output().unwrap();
        (replies.map(|all| all.into_iter().map(output).collect()), seen)
    }

    #[test]
    fn one_value_answers_all_tests_and_is_torn_down() {
        let (outputs, seen) = count(3, json!(10));
        assert_eq!(outputs.unwrap(), [json!([1, 11]), json!([1, 12]), json!([1, 13])]);
        assert_eq!(seen.log.len(), 1);
        assert_eq!(seen.log[0].1, "counted to 13");
    }

    #[test]
    fn a_setup_that_fails_leaves_nothing_to_tear_down() {
        let (outputs, seen) = count(1, json!(0));
        assert_eq!(outputs.unwrap_err().kind, ErrorKind::Unavailable);
        assert!(seen.log.is_empty());
        let (outputs, _) = count(1, json!("ten"));
        assert_eq!(outputs.unwrap_err().kind, ErrorKind::InvalidConfig);
    }

    #[test]
    fn nothing_answers_before_it_is_set_up_or_after_it_is_torn_down() {
        count(1, json!(1)).0.unwrap();
        let reply = Host::new().run::<Counter>(json!(null), json!(1));
        assert_eq!(reply.unwrap_err().code, "no-setup");
    }
}
