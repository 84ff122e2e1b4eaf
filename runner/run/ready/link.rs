//! From a plan to providers that can be called: compile, link, describe, check configuration and inputs.

use std::{
    collections::HashMap,
    fmt::{self, Display},
    io,
    path::PathBuf,
    sync::Arc,
};

use serde_json::Value;
use tokio::runtime::Handle;

use super::{
    error::{Problems, ReadyError},
    fit::{self, UnfitError},
    requests,
    schema::{SchemaCheck, Wrong},
};
use crate::{
    model::{Digest, ProviderId, chain},
    plugin::{
        CommandProtocol, Description, Engine, Interrupt, LinkError, Moment, Plugin, child::Helper,
    },
    run::{
        event::Event,
        grants::Environment,
        local::{Plain, ReadyProvider},
        plan::{Plan, PlannedProvider},
    },
    scenario::Provider,
};

/// Everything that is called in a session.
pub struct ReadyPlugins {
    /// By their places in the scenario; `None` for one without trials.
    pub(in crate::run) providers: Vec<Option<ReadyProvider>>,
    /// The same of graders; `None` for one that no test names.
    pub(in crate::run) graders: Vec<Option<ReadyProvider>>,
}

impl Plan {
    /// Makes every provider and grader ready; guests run on `guests` only.
    pub async fn link(
        &self,
        engine: &Engine,
        guests: &Handle,
        interrupt: &Interrupt,
        blobs: &dyn Fn(Digest) -> PathBuf,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<ReadyPlugins, ReadyError> {
        let mut plugins: HashMap<Digest, Plugin> = HashMap::new();
        let mut ready = Vec::new();
        let mut schemas = Vec::new();
        let mut problems = Problems::default();
        let helper = engine.helper();
        let graders = self.graders.iter();
        let graders = graders.map(|grader| Some(&grader.as_ref()?.plugin));
        let providers = self.providers.iter().map(Option::as_ref);
        for provider in providers.chain(graders) {
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
                    let linked = link_stored(provider, engine, interrupt, blobs).await;
                    let took = start.elapsed();
                    observe(Event::Linked { provider: id, took });
                    match linked {
                        Ok(plugin) => plugin,
                        Err(error) => {
                            let of = &provider.definition;
                            return Err(unusable(problems, of, &chain(&error), interrupt));
                        }
                    }
                }
            };
            plugins.insert(provider.file.sha256, plugin.clone());

            let described = describe(provider, &plugin, guests, interrupt).await;
            let description = match described {
                Ok(description) => description,
                Err(error) => {
                    return Err(unusable(problems, &provider.definition, &error, interrupt));
                }
            };
            if let Some(description) = &description {
                requests::show(provider, &description.requests, observe);
                let config = &provider.definition.config;
                let checked = fit::check_config(description, config, helper, interrupt).await;
                refused(checked, provider, &mut problems)?;
            }
            schemas.push(description.and_then(|description| description.input_schema));
            ready.push(Some(make_ready(provider, plugin)));
        }
        self.check_inputs(&schemas, helper, interrupt, &mut problems)
            .await?;
        if problems.is_empty() {
            let graders = ready.split_off(self.providers.len());
            Ok(ReadyPlugins {
                providers: ready,
                graders,
            })
        } else {
            Err(ReadyError::Plugins(problems))
        }
    }

    /// Links ahead what is compiled already, while the session has other things to wait for.
    pub fn link_ahead(&self, engine: &Engine) {
        let files: HashMap<_, _> = self
            .plugins()
            .map(|provider| (provider.file.sha256, &provider.file))
            .collect();
        files.into_values().for_each(|file| engine.link_ahead(file));
    }

    /// Makes every provider ready in a worker: what another process has found to fit is not checked again.
    ///
    /// # Errors
    ///
    /// Fails with the provider whose plugin cannot be linked here.
    pub(in crate::run) async fn link_again(
        &self,
        engine: &Engine,
        interrupt: &Interrupt,
        blobs: &dyn Fn(Digest) -> PathBuf,
    ) -> Result<Vec<Option<ReadyProvider>>, (ProviderId, LinkError)> {
        let mut plugins: HashMap<Digest, Plugin> = HashMap::new();
        let mut ready = Vec::new();
        for provider in &self.providers {
            let Some(provider) = provider else {
                ready.push(None);
                continue;
            };
            let plugin = match plugins.get(&provider.file.sha256) {
                Some(plugin) => plugin.clone(),
                None => link_stored(provider, engine, interrupt, blobs)
                    .await
                    .map_err(|error| (provider.definition.id.clone(), error))?,
            };
            plugins.insert(provider.file.sha256, plugin.clone());
            ready.push(Some(make_ready(provider, plugin)));
        }
        Ok(ready)
    }

    /// Checks the input of every test against the schemas of the plugins it is for.
    async fn check_inputs(
        &self,
        schemas: &[Option<Value>],
        helper: &Helper,
        interrupt: &Interrupt,
        problems: &mut Problems,
    ) -> Result<(), ReadyError> {
        let mut checks = Vec::new();
        for (provider, schema) in self.providers.iter().zip(schemas) {
            let check = schema.as_ref().map(SchemaCheck::new).transpose();
            let check = check.or_else(|broken| {
                let provider = provider.as_ref().expect("only a planned one is described");
                refused(Err(UnfitError::of(fit::INPUT, broken)), provider, problems).map(|()| None)
            });
            checks.push(check?);
        }
        if checks.iter().all(Option::is_none) {
            return Ok(());
        }
        let mut reader = self.suite.reader();
        for index in 0..self.suite.test_count() {
            // Between any two: a schema may take a fifth of a second for one.
            if interrupt.is_requested() {
                return Err(ReadyError::Stopped);
            }
            let test = reader.test(index)?;
            for provider in test.providers.iter() {
                if let Some(check) = &mut checks[provider] {
                    let added = check.add(test.id.as_str(), &test.input);
                    added.map_err(|broken| io::Error::other(UnfitError::of(fit::INPUT, broken)))?;
                }
            }
        }
        for (provider, check) in self.providers.iter().zip(checks) {
            let (Some(provider), Some(check)) = (provider, check) else {
                continue;
            };
            match check.finish(helper, interrupt).await {
                Ok(wrong) if wrong.count == 0 => {}
                Ok(wrong) => {
                    let (of, path) = (&provider.definition, &provider.file.path);
                    problems.add_refused(of, path, &WrongInputs(wrong));
                }
                Err(broken) => {
                    refused(Err(UnfitError::of(fit::INPUT, broken)), provider, problems)?;
                }
            }
        }
        Ok(())
    }
}

async fn link_stored(
    provider: &PlannedProvider,
    engine: &Engine,
    interrupt: &Interrupt,
    blobs: &dyn Fn(Digest) -> PathBuf,
) -> Result<Plugin, LinkError> {
    // The original may be replaced while others are compiled.
    let stored = provider.file.moved_to(blobs(provider.file.sha256));
    match engine.link(&stored, interrupt).await {
        // What is stored is damaged, which `runner verify` reports; the original is as good.
        Err(LinkError::File(_)) => engine.link(&provider.file, interrupt).await,
        linked => linked,
    }
}

/// Notes why a provider's values cannot be used; ends with a stop that came first.
fn refused(
    checked: Result<(), UnfitError>,
    provider: &PlannedProvider,
    problems: &mut Problems,
) -> Result<(), ReadyError> {
    let (of, path) = (&provider.definition, &provider.file.path);
    match checked {
        Ok(()) => {}
        Err(UnfitError::Stopped) => return Err(ReadyError::Stopped),
        Err(error @ UnfitError::Config(_)) => problems.add_refused(of, path, &error),
        Err(error) => problems.add(of, &error),
    }
    Ok(())
}

/// Inputs that a provider's schema refuses.
struct WrongInputs(Wrong);

impl Display for WrongInputs {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wrong { count, named } = &self.0;
        let tests = if *count == 1 { "test" } else { "tests" };
        let named: Vec<_> = named
            .iter()
            .map(|(test, errors)| format!("`{test}`: {errors}"))
            .collect();
        write!(
            formatter,
            "the input of {count} {tests} does not fit its schema: {}",
            named.join("; ")
        )?;
        let more = count - named.len() as u64;
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
    fit::describe(
        plugin,
        CommandProtocol::Json,
        provider.limits,
        guests,
        interrupt,
    )
    .await
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

/// Ends with a plugin that cannot be used at all, and what was found before; one that was stopped is not reported.
fn unusable(
    mut problems: Problems,
    provider: &Provider,
    problem: &dyn Display,
    interrupt: &Interrupt,
) -> ReadyError {
    if interrupt.is_requested() {
        return ReadyError::Stopped;
    }
    problems.add(provider, problem);
    ReadyError::Plugins(problems)
}
