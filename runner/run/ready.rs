//! From a plan to providers that can be called: compile, link, describe, check configuration and inputs.

use std::{collections::HashMap, sync::Arc, time::Instant};

use jsonschema::Validator;
use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    Event,
    error::ReadyError,
    executor::{Plain, ReadyProvider},
    fit::{self, UnfitError},
    grants::Environment,
    plan::{Plan, PlannedProvider},
    requests,
};
use crate::{
    model::Digest,
    plugin::{Description, Engine, Interrupt, Plugin, Protocol},
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
                    let start = Instant::now();
                    let linked = engine.link(&provider.file, interrupt).await;
                    let took = start.elapsed();
                    observe(Event::Linked { provider: id, took });
                    linked.map_err(|error| stopped_or(interrupt, ReadyError::link(id, &error)))?
                }
            };
            plugins.insert(provider.file.sha256, plugin.clone());

            let description = describe(provider, &plugin, guests, interrupt).await?;
            if let Some(description) = &description {
                requests::tell(provider, &description.requests, observe);
            }
            schemas.push(check_config(provider, description.as_ref())?);
            ready.push(Some(make_ready(provider, plugin)));
        }
        self.check_inputs(&schemas, interrupt)?;
        Ok(ready)
    }

    /// Checks the input of every test against the schemas of the plugins it is for.
    fn check_inputs(
        &self,
        schemas: &[Option<Validator>],
        interrupt: &Interrupt,
    ) -> Result<(), ReadyError> {
        if schemas.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut wrong = WrongInputs::default();
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
                    wrong.add(provider, test.id.as_str(), &errors);
                }
            }
        }
        match wrong.first_provider {
            None => Ok(()),
            Some(provider) => Err(ReadyError::Plugin {
                provider: self.scenario.providers()[provider].id.clone(),
                problem: wrong.to_string(),
            }),
        }
    }
}

/// Inputs that a provider's schema refuses.
#[derive(Default)]
struct WrongInputs {
    first_provider: Option<usize>,
    named: Vec<String>,
    count: u64,
}

impl WrongInputs {
    fn add(&mut self, provider: usize, test: &str, error: &str) {
        if *self.first_provider.get_or_insert(provider) != provider {
            return;
        }
        self.count += 1;
        if self.named.len() < MAX_NAMED_INPUTS {
            self.named.push(format!("`{test}`: {error}"));
        }
    }
}

impl std::fmt::Display for WrongInputs {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
) -> Result<Option<Description>, ReadyError> {
    if provider.is_plain() {
        return Ok(None);
    }
    let described = fit::describe(plugin, Protocol::Json, provider.limits, guests, interrupt).await;
    described.map_err(|error| stopped_or(interrupt, unfit(provider, &error)))
}

/// Checks the configuration, and returns the schema that inputs are checked against.
fn check_config(
    provider: &PlannedProvider,
    description: Option<&Description>,
) -> Result<Option<Validator>, ReadyError> {
    let Some(description) = description else {
        return Ok(None);
    };
    fit::check_config(description, &provider.definition.config)
        .map_err(|error| unfit(provider, &error))
}

fn unfit(provider: &PlannedProvider, error: &UnfitError) -> ReadyError {
    ReadyError::Plugin {
        provider: provider.definition.id.clone(),
        problem: error.to_string(),
    }
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

fn stopped_or(interrupt: &Interrupt, error: ReadyError) -> ReadyError {
    if interrupt.is_requested() {
        return ReadyError::Stopped;
    }
    error
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("a suite holds valid JSON")
}
