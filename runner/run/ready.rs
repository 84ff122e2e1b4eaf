//! From a plan to providers that can be called: compile, link, describe, check configuration and inputs.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::{self, Display},
    sync::Arc,
};

use jsonschema::Validator;
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    Event,
    error::{Problems, ReadyError},
    executor::{Plain, ReadyProvider},
    fit::{self, UnfitError},
    grants::Environment,
    plan::{Plan, PlannedProvider},
    requests,
};
use crate::{
    model::{Digest, ProviderId, chain},
    plugin::{Description, Engine, Interrupt, Moment, Plugin, Protocol},
};

/// How many inputs that do not fit a plugin's schema are named.
const MAX_NAMED_INPUTS: usize = 10;
/// After how many tests a stop is looked for.
const STOP_EVERY: u64 = 1024;

impl Plan {
    /// Makes every provider ready; guests run on `guests` only.
    pub async fn link(
        &self,
        engine: &Engine,
        guests: &Handle,
        interrupt: &Interrupt,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Vec<Option<ReadyProvider>>, ReadyError> {
        let mut plugins: HashMap<Digest, Plugin> = HashMap::new();
        let mut ready = Vec::new();
        let mut schemas = Vec::new();
        let mut problems = Problems::default();
        for provider in &self.providers {
            let Some(provider) = provider else {
                ready.push(None);
                schemas.push(None);
                continue;
            };
            let id = &provider.definition.id;
            let plugin = match plugins.get(&provider.file.sha256) {
                Some(plugin) => plugin.clone(),
                None => {
                    observe(Event::Linking { provider: id });
                    let start = Moment::now();
                    let linked = engine.link(&provider.file, interrupt).await;
                    let took = start.elapsed();
                    observe(Event::Linked { provider: id, took });
                    match linked {
                        Ok(plugin) => plugin,
                        Err(error) => {
                            return Err(unusable(problems, id, &chain(&error), interrupt));
                        }
                    }
                }
            };
            plugins.insert(provider.file.sha256, plugin.clone());

            let described = describe(provider, &plugin, guests, interrupt).await;
            let description = match described {
                Ok(description) => description,
                Err(error) => return Err(unusable(problems, id, &error, interrupt)),
            };
            let schema = description.and_then(|description| {
                requests::tell(provider, &description.requests, observe);
                check(provider, &description, &mut problems)
            });
            schemas.push(schema);
            ready.push(Some(make_ready(provider, plugin)));
        }
        self.check_inputs(&schemas, interrupt, &mut problems)?;
        if problems.is_empty() {
            Ok(ready)
        } else {
            Err(ReadyError::Plugins(problems))
        }
    }

    /// Checks the input of every test against the schemas of the plugins it is for.
    fn check_inputs(
        &self,
        schemas: &[Option<Validator>],
        interrupt: &Interrupt,
        problems: &mut Problems,
    ) -> Result<(), ReadyError> {
        if schemas.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut wrong: BTreeMap<usize, WrongInputs> = BTreeMap::new();
        let mut reader = self.suite.reader();
        for index in 0..self.suite.test_count() {
            if index % STOP_EVERY == 0 && interrupt.is_requested() {
                return Err(ReadyError::Stopped);
            }
            let test = reader.test(index)?;
            let mut input = None;
            for provider in test.providers.iter() {
                let Some(schema) = &schemas[provider] else {
                    continue;
                };
                let input = input.get_or_insert_with(|| parse(&test.input));
                if let Some(errors) = fit::errors(schema, input) {
                    let wrong = wrong.entry(provider).or_default();
                    wrong.add(test.id.as_str(), &errors);
                }
            }
        }
        for (provider, wrong) in wrong {
            let provider = self.providers[provider].as_ref();
            let provider = provider.expect("a test's provider has trials");
            let (id, path) = (&provider.definition.id, &provider.file.path);
            problems.add_refused(id, path, &wrong);
        }
        Ok(())
    }
}

/// Inputs that a provider's schema refuses.
#[derive(Default)]
struct WrongInputs {
    named: Vec<String>,
    count: u64,
}

impl WrongInputs {
    fn add(&mut self, test: &str, error: &str) {
        self.count += 1;
        if self.named.len() < MAX_NAMED_INPUTS {
            self.named.push(format!("`{test}`: {error}"));
        }
    }
}

impl Display for WrongInputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tests = if self.count == 1 { "test" } else { "tests" };
        write!(
            formatter,
            "the input of {} {tests} does not fit its schema: {}",
            self.count,
            self.named.join("; ")
        )?;
        let more = self.count - self.named.len() as u64;
        if more > 0 {
            write!(formatter, "; and {more} more")?;
        }
        Ok(())
    }
}

async fn describe(
    provider: &PlannedProvider,
    plugin: &Plugin,
    guests: &Handle,
    interrupt: &Interrupt,
) -> Result<Option<Description>, UnfitError> {
    if provider.is_plain() {
        return Ok(None);
    }
    fit::describe(plugin, Protocol::Json, provider.limits, guests, interrupt).await
}

/// Checks the configuration, and returns the schema that inputs are checked against.
fn check(
    provider: &PlannedProvider,
    description: &Description,
    problems: &mut Problems,
) -> Option<Validator> {
    let definition = &provider.definition;
    if let Err(error) = fit::check_config(description, &definition.config) {
        problems.add_refused(&definition.id, &provider.file.path, &error);
    }
    fit::input_schema(description).unwrap_or_else(|error| {
        problems.add(&definition.id, &error);
        None
    })
}

fn make_ready(provider: &PlannedProvider, plugin: Plugin) -> ReadyProvider {
    let definition = &provider.definition;
    let plain = provider.is_plain().then(|| Plain {
        args: definition.args.clone(),
        stdin: definition.stdin.clone(),
        output: definition.output,
    });
    ReadyProvider {
        id: definition.id.clone(),
        plugin,
        config: Arc::from(definition.config.to_string()),
        limits: provider.limits,
        access: provider.access(),
        environment: Environment::new(&definition.grants, &provider.secrets),
        plain,
        reuse: definition.reuse,
    }
}

/// Ends with a plugin that cannot be used at all, and what was found before; nobody is told of one that was stopped.
fn unusable(
    mut problems: Problems,
    provider: &ProviderId,
    problem: &dyn Display,
    interrupt: &Interrupt,
) -> ReadyError {
    if interrupt.is_requested() {
        return ReadyError::Stopped;
    }
    problems.add(provider, problem);
    ReadyError::Plugins(problems)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a suite holds valid JSON")
}
