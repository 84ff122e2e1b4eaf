//! Calls of components, by the typed contract.

use runner_model::{
    ErrorClass, Limits, Micros,
    outcome::Verdict,
    provider::Description,
    row::{Check, Metric, Raw, RowError},
};
use wasmtime::{
    Engine, Store,
    component::{Component, ComponentExportIndex, Instance},
    format_err,
};
use wasmtime_wasi::WasiCtxBuilder;

use super::{
    Call, Ended, Ending, Reply,
    classify::{classify, into_error},
    description::{bounded as bounded_description, read_schema},
    reply::{bounded, provider_error, read_json},
};
use crate::{
    contract::{
        Plugin, PluginPre,
        exports::runner::provider::provider::{ProviderError, Test},
        runner::provider::types,
    },
    interrupt::{Guard, Interrupt},
    message::{failure, too_large},
    store::{HANDOVER_MARGIN, Sandbox, StoreRecipe, host::Host, stdio::Capture},
};

/// The contract's optional export, in the host's version; an older guest's is found by it, too.
const LIFECYCLE: &str = "runner:provider/lifecycle@0.1.0";
/// How long a teardown may take.
const TEARDOWN_TIME: Micros = Micros(5_000_000);

/// A linked component of the contract.
pub(crate) struct Provider {
    pub(crate) pre: PluginPre<Sandbox>,
    pub(crate) lifecycle: Option<Lifecycle>,
}

/// Where a component has `setup` and `teardown`. They are not part of the generated bindings: a world asks for all of its
/// exports.
pub(crate) struct Lifecycle {
    setup: ComponentExportIndex,
    teardown: ComponentExportIndex,
}

/// Makes one call in a fresh sandbox.
pub(crate) async fn run(
    provider: &Provider,
    engine: &Engine,
    call: &Call<'_>,
    guard: Guard,
) -> Ended {
    let bytes_in = (call.input.len() + call.config.len()) as u64;
    let host = Host::new(call.limits, guard.clone(), bytes_in);
    let mut store = recipe(host, call.limits).store(engine);
    let mut instance = None;
    let answer = guard
        .bound(provider.answer(&mut store, call, &mut instance))
        .await;
    let took = guard.took();

    let mut reply_bytes = 0;
    let ending = match answer {
        Ok(Ok(reply)) => {
            reply_bytes = size(&reply);
            read_reply(reply, reply_bytes, call.limits)
                .map_or_else(Ending::Error, |reply| Ending::Reply(Box::new(reply)))
        }
        Ok(Err(error)) => read_error(error, &guard.interrupt),
        Err(error) => classify(&error, store.data_mut()),
    };
    if let (Some(lifecycle), Some(instance)) = (&provider.lifecycle, instance)
        && is_own(&ending)
    {
        lifecycle
            .tear_down(&mut store, &instance, &guard.interrupt)
            .await;
    }
    Ended::collect(store.into_data(), ending, took, reply_bytes)
}

/// Asks a component what it is.
pub(crate) async fn describe(
    provider: &Provider,
    engine: &Engine,
    limits: &Limits,
    guard: Guard,
) -> Result<Description, RowError<'static>> {
    let host = Host::new(limits, guard.clone(), 0);
    let mut store = recipe(host, limits).store(engine);
    let answer = guard
        .bound(async {
            let plugin = provider.pre.instantiate_async(&mut store).await?;
            let provider = plugin.runner_provider_provider();
            provider.call_describe(&mut store).await
        })
        .await;
    let description = answer.map_err(|error| into_error(classify(&error, store.data_mut())))?;
    bounded_description(Description {
        config_schema: read_schema("config-schema", description.config_schema.as_deref())?,
        input_schema: read_schema("input-schema", description.input_schema.as_deref())?,
        name: description.name,
        version: description.version,
        summary: description.summary,
        requests: description.requests,
    })
}

fn recipe(host: Host, limits: &Limits) -> StoreRecipe<'_> {
    StoreRecipe {
        wasi: WasiCtxBuilder::new(),
        host,
        stdout: Capture::new(limits.stdio, limits.stdio),
        stderr: Capture::new(limits.stdio, limits.stdio),
        limits,
        handover: limits.reply.saturating_add(HANDOVER_MARGIN),
    }
}

impl Provider {
    /// Instantiates, sets up, and calls `run`. The instance of a guest that was set up is in `instance` afterwards.
    async fn answer(
        &self,
        store: &mut Store<Sandbox>,
        call: &Call<'_>,
        instance: &mut Option<Instance>,
    ) -> wasmtime::Result<Result<types::Reply, ProviderError>> {
        // The contract's `json` is a name for `string`, which the generated types borrow as a `String`.
        let (input, config) = (call.input.to_owned(), call.config.to_owned());
        let plugin = match &self.lifecycle {
            None => self.pre.instantiate_async(&mut *store).await?,
            Some(lifecycle) => {
                let pre = self.pre.instance_pre();
                let made = pre.instantiate_async(&mut *store).await?;
                if let Err(error) = lifecycle.set_up(store, &made, config.clone()).await? {
                    return Ok(Err(error));
                }
                *instance = Some(made);
                Plugin::new(&mut *store, &made)?
            }
        };
        let tags: Vec<&str> = call.tags.iter().map(String::as_str).collect();
        let test = Test {
            trial_id: call.trial,
            test_id: call.test,
            provider: call.provider,
            repeat: call.repeat,
            attempt: call.attempt,
            seed: call.seed,
            input: &input,
            config: &config,
            tags: &tags,
            extra: None,
        };
        let provider = plugin.runner_provider_provider();
        provider.call_run(store, test).await
    }
}

impl Lifecycle {
    /// Looks for the export; most components have none.
    pub(crate) fn find(component: &Component) -> wasmtime::Result<Option<Self>> {
        let Some(export) = component.get_export_index(None, LIFECYCLE) else {
            return Ok(None);
        };
        let find = |name: &str| {
            let function = component.get_export_index(Some(&export), name);
            function.ok_or_else(|| format_err!("its `{LIFECYCLE}` has no `{name}`"))
        };
        Ok(Some(Self {
            setup: find("setup")?,
            teardown: find("teardown")?,
        }))
    }

    /// The inner error is the guest's own.
    async fn set_up(
        &self,
        store: &mut Store<Sandbox>,
        instance: &Instance,
        config: String,
    ) -> wasmtime::Result<Result<(), ProviderError>> {
        type Answer = (Result<(), ProviderError>,);
        let setup = instance.get_typed_func::<(String,), Answer>(&mut *store, self.setup)?;
        let (answer,) = setup.call_async(store, (config,)).await?;
        Ok(answer)
    }

    /// Tells a guest that no test follows. How that ends changes nothing.
    async fn tear_down(
        &self,
        store: &mut Store<Sandbox>,
        instance: &Instance,
        interrupt: &Interrupt,
    ) {
        let guard = Guard::new(interrupt.clone(), TEARDOWN_TIME);
        store.data_mut().host.guard = guard.clone();
        let teardown = guard.bound(async {
            let teardown = instance.get_typed_func::<(), ()>(&mut *store, self.teardown)?;
            teardown.call_async(store, ()).await
        });
        let _ = teardown.await;
    }
}

/// Tells whether the guest came to this end by itself; after any other its instance is not called again.
fn is_own(ending: &Ending) -> bool {
    use ErrorClass::{Limit, OutOfMemory, Protocol, Trap};
    match ending {
        Ending::Reply(_) => true,
        Ending::Error(error) => !matches!(error.class, Some(Trap | OutOfMemory | Limit | Protocol)),
        Ending::Timeout | Ending::Stopped => false,
    }
}

fn read_error(error: ProviderError, interrupt: &Interrupt) -> Ending {
    let read = RowError {
        class: match error.kind {
            types::ErrorKind::InvalidConfig => Some(ErrorClass::InvalidConfig),
            types::ErrorKind::InvalidInput => Some(ErrorClass::InvalidInput),
            types::ErrorKind::Denied => Some(ErrorClass::Denied),
            types::ErrorKind::Unavailable => Some(ErrorClass::Unavailable),
            types::ErrorKind::RateLimited => Some(ErrorClass::RateLimited),
            types::ErrorKind::Internal => Some(ErrorClass::Internal),
            types::ErrorKind::Other => Some(ErrorClass::Other),
            types::ErrorKind::Stopped => None,
        },
        code: error.code.into(),
        message: error.message.into(),
        retry_after_ms: error.retry_after,
        // An error counts also if its details are not JSON.
        details: error
            .details
            .and_then(|details| read_json("details", details).ok()),
    };
    provider_error(read, interrupt)
}

fn read_reply(
    reply: types::Reply,
    bytes: u64,
    limits: &Limits,
) -> Result<Reply, RowError<'static>> {
    if bytes > limits.reply {
        return Err(too_large("reply", bytes, "reply", limits.reply));
    }
    let checks = reply.checks.into_iter().map(read_check);
    let metrics = reply.metrics.into_iter().map(read_metric);
    bounded(Reply {
        output: read_json("output", reply.output)?,
        verdict: reply.verdict.map(verdict),
        score: reply
            .score
            .map(|score| finite("score", score))
            .transpose()?,
        checks: checks.collect::<Result<_, _>>()?,
        metrics: metrics.collect::<Result<_, _>>()?,
        exit_code: None,
    })
}

fn read_check(check: types::Check) -> Result<Check<'static>, RowError<'static>> {
    let score = check.score.map(|score| finite("score of a check", score));
    Ok(Check {
        name: check.name.into(),
        verdict: verdict(check.verdict),
        score: score.transpose()?.and_then(|score| Raw::of(&score).ok()),
        message: check.message.map(Into::into),
        expected: None,
        actual: None,
        diff: None,
        details: check
            .details
            .map(|details| read_json("details of a check", details))
            .transpose()?,
    })
}

fn read_metric(metric: types::Metric) -> Result<Metric<'static>, RowError<'static>> {
    Ok(Metric {
        value: finite("value of a metric", metric.value)?,
        name: metric.name.into(),
        unit: metric.unit.map(Into::into),
    })
}

fn verdict(verdict: types::Verdict) -> Verdict {
    match verdict {
        types::Verdict::Pass => Verdict::Pass,
        types::Verdict::Fail => Verdict::Fail,
        types::Verdict::Skip => Verdict::Skip,
    }
}

fn finite(what: &str, number: f64) -> Result<f64, RowError<'static>> {
    if number.is_finite() {
        return Ok(number);
    }
    let message = format!("the {what} is {number}, which is not a finite number");
    Err(failure(ErrorClass::Protocol, "number", message))
}

/// Bytes of all texts of a reply.
fn size(reply: &types::Reply) -> u64 {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let checks = reply
        .checks
        .iter()
        .map(|check| check.name.len() + optional(&check.message) + optional(&check.details));
    let metrics = reply
        .metrics
        .iter()
        .map(|metric| metric.name.len() + optional(&metric.unit));
    let texts = reply.output.len() + optional(&reply.summary) + optional(&reply.extra);
    (texts + checks.sum::<usize>() + metrics.sum::<usize>()) as u64
}
