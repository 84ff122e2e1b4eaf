//! Calls of components, by the typed contract.

use std::{pin::pin, sync::Arc};

use runner_model::row::{Check, Metric, Raw, RowError};
use runner_model::{ErrorClass, Limits, outcome::Verdict, provider::Description};
use wasmtime::component::{ComponentExportIndex, InstancePre};
use wasmtime::format_err;
use wasmtime_wasi::WasiCtxBuilder;

use super::classify::{classify, into_error};
use super::description::{bounded as bounded_description, read_schema};
use super::ended::{Ended, Ending, Reply};
use super::inputs::Call;
use super::instance::{Exports, Instance, Lifecycle};
use super::json::read_json;
use super::reply::{bounded, provider_error};
use crate::{
    contract::{
        EverythingPre,
        exports::runner::provider::provider::{ProviderError, Test},
        runner::provider::types,
    },
    fs::{AttemptFiles, Role},
    interrupt::Guard,
    message::{failure, too_large},
    redact::Redactor,
    store::{HANDOVER_MARGIN, Sandbox, StoreRecipe, host::Host, stdio::Capture, stdio::Spool},
};

/// The contract's required export.
const PROVIDER: &str = "runner:provider/provider@0.1.2";

/// A linked component of the contract.
pub(crate) struct LinkedComponent {
    pre: EverythingPre<Sandbox>,
    /// The contract's `run`.
    run: ComponentExportIndex,
    lifecycle: Option<Lifecycle>,
    is_composed: bool,
    /// The source that a development form reads. `None` for other plugins.
    pub(crate) source: Option<Arc<[u8]>>,
}

/// Makes one call, in the instance in `kept` or in a fresh one. Afterwards `kept` holds the
/// instance if it can serve another call.
pub(crate) async fn run(
    provider: &LinkedComponent,
    kept: &mut Option<Instance>,
    call: &Call<'_>,
    guard: Guard,
) -> Ended {
    let mut host = Host::for_call(call, guard.clone(), call.input.len() + call.config.len());
    host.records = match Spool::for_call(
        call.records,
        call.limits.reply,
        "list of records",
        &host.artifacts,
    ) {
        Ok(records) => records,
        Err(error) => return Ended::without_sandbox(Ending::Error(error)),
    };
    let mut instance = match kept.take() {
        Some(mut instance) => {
            instance.store.data_mut().start_call(host);
            instance
        }
        None => match provider.create_instance(host, call, &guard).await {
            Ok(instance) => instance,
            Err(ended) => return *ended,
        },
    };
    let answer = guard.bound(pin!(provider.call(&mut instance, call))).await;
    let answer = guard.check_end(answer);
    let time = guard.elapsed();

    let sandbox = instance.store.data_mut();
    let mut reply_bytes = 0;
    let is_partial = answer.is_err();
    let ending = match answer {
        Ok(Ok(reply)) => {
            reply_bytes = size(&reply);
            read_reply(reply, reply_bytes, call.limits, sandbox.host.redactor())
                .map_or_else(Ending::Error, |reply| Ending::Reply(Box::new(reply)))
        }
        Ok(Err(error)) => read_error(error, sandbox),
        Err(error) => classify(&error, sandbox),
    };
    let ending = match (ending, sandbox.host.records.take().map(Spool::finish)) {
        (Ending::Reply(reply), Some(Ok(records))) => {
            sandbox.host.artifacts.files = vec![records];
            Ending::Reply(reply)
        }
        (Ending::Reply(_), Some(Err(error))) => Ending::Error(error),
        (ending, _) => ending,
    };
    let redactor = sandbox.host.redactor().cloned();
    let mut ended = Ended::collect(sandbox, ending, time, reply_bytes);
    instance.files.give_back(sandbox.workspace.take_if(|_| call.inside.is_some()));
    instance.files.add_changes(&mut ended, call.limits.workspace, redactor, is_partial).await;
    // The next attempt must not see this one's workspace.
    if call.workspace.is_none() && call.inside.is_none() && instance.is_reusable(&ended.ending) {
        *kept = Some(instance);
    } else {
        instance.remove().await;
    }
    ended
}

/// Reads a component's description.
pub(crate) async fn describe(
    provider: &LinkedComponent,
    limits: &Limits,
    guard: Guard,
) -> Result<Description, RowError<'static>> {
    let host = Host::new(limits, guard.clone());
    let mut store = provider.recipe(host, limits).create_store(provider.pre.engine());
    let answer = guard
        .bound(pin!(async {
            let plugin = provider.pre.instantiate_async(&mut store).await?;
            let provider = plugin.runner_provider_provider();
            provider.call_describe(&mut store).await
        }))
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

impl LinkedComponent {
    /// Checks the component's exports against the contract.
    pub(crate) fn new(pre: InstancePre<Sandbox>, is_composed: bool) -> wasmtime::Result<Self> {
        let component = pre.component();
        let run = component
            .get_export_index(None, PROVIDER)
            .and_then(|provider| component.get_export_index(Some(&provider), "run"));
        let lifecycle = Lifecycle::find(component)?;
        // The bindings name a missing export.
        let pre = EverythingPre::new(pre)?;
        let run = run.ok_or_else(|| format_err!("its `{PROVIDER}` has no `run`"))?;
        Ok(Self { pre, run, lifecycle, is_composed, source: None })
    }

    fn recipe<'a>(&self, mut host: Host, limits: &'a Limits) -> StoreRecipe<'a> {
        host.source.clone_from(&self.source);
        let capture = || {
            Capture::new(limits.stdio, limits.stdio)
                .redacted_by(host.redactor())
                .with_writes_of(limits.reply)
                .shown_in(&host.guard.activity)
        };
        StoreRecipe {
            wasi: WasiCtxBuilder::new(),
            stdout: capture(),
            stderr: capture(),
            host,
            quota: None,
            roots: Vec::new(),
            workspace: None,
            limits,
            is_composed: self.is_composed,
            handover: (limits.reply.saturating_add(HANDOVER_MARGIN), "which `limits.reply` sets"),
        }
    }

    /// Creates the store and folders of an instance. No code of the guest runs yet.
    async fn create_instance(
        &self,
        host: Host,
        call: &Call<'_>,
        guard: &Guard,
    ) -> Result<Instance, Box<Ended>> {
        let mut recipe = self.recipe(host, call.limits);
        recipe.wasi.envs(call.env);
        let files = AttemptFiles::mount(call, Role::Component, guard, &mut recipe.wasi).await?;
        recipe.quota = files.quota();
        recipe.workspace = files.workspace();
        recipe.roots = files.roots(call);
        Ok(Instance { store: recipe.create_store(self.pre.engine()), exports: None, files })
    }

    /// Calls `run` of an instance, after instantiating it and calling `setup` if it is new.
    async fn call(
        &self,
        instance: &mut Instance,
        call: &Call<'_>,
    ) -> wasmtime::Result<Result<types::Reply, ProviderError>> {
        // The contract's `json` is an alias of `string`, for which the generated types borrow a
        // `String`.
        let input = call.input.to_owned();
        let config = call.config.to_owned();
        let Instance { store, exports, .. } = instance;
        let exports = match exports {
            Some(exports) => exports,
            None => {
                let instance = self.pre.instance_pre().instantiate_async(&mut *store).await?;
                if let Some(lifecycle) = self.lifecycle
                    && let Err(error) = lifecycle.set_up(store, &instance, config.clone()).await?
                {
                    return Ok(Err(error));
                }
                exports.insert(Exports { instance, lifecycle: self.lifecycle })
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
        // The generated bindings would look up and check `describe` for each instance, too.
        let run = exports.instance.get_typed_func::<(Test<'_>,), (_,)>(&mut *store, self.run)?;
        let (answer,) = run.call_async(store, (test,)).await?;
        Ok(answer)
    }
}

fn read_error(error: ProviderError, sandbox: &mut Sandbox) -> Ending {
    let redactor = sandbox.host.redactor().cloned();
    let parse = |details| read_json("`details` of the error", details, redactor.as_ref());
    // An error with malformed details is still the provider's error.
    let details = error.details.map(parse).transpose().unwrap_or_else(|problem| {
        sandbox.host.warn(format!("{}, so it was left out", problem.message));
        None
    });
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
        details,
        ..RowError::default()
    };
    provider_error(read, &sandbox.host.guard.interrupt)
}

fn read_reply(
    reply: types::Reply,
    bytes: u64,
    limits: &Limits,
    redactor: Option<&Arc<Redactor>>,
) -> Result<Reply, RowError<'static>> {
    if bytes > limits.reply {
        return Err(too_large("reply", bytes, "reply", limits.reply));
    }
    let checks = reply.checks.into_iter().map(|check| read_check(check, redactor));
    let metrics = reply.metrics.into_iter().map(read_metric);
    bounded(Reply {
        output: read_json("output", reply.output, redactor)?,
        verdict: reply.verdict.map(verdict),
        score: reply.score.map(|score| finite("score", score)).transpose()?,
        summary: reply.summary.map(Into::into),
        checks: checks.collect::<Result<_, _>>()?,
        metrics: metrics.collect::<Result<_, _>>()?,
        exit_code: None,
    })
}

fn read_check(
    check: types::Check,
    redactor: Option<&Arc<Redactor>>,
) -> Result<Check<'static>, RowError<'static>> {
    let score = check.score.map(|score| finite("score of a check", score));
    Ok(Check {
        score: score.transpose()?.and_then(|score| Raw::of(&score).ok()),
        message: check.message.map(Into::into),
        details: check
            .details
            .map(|details| read_json("details of a check", details, redactor))
            .transpose()?,
        ..Check::own(check.name, verdict(check.verdict))
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

/// Returns the bytes of all strings of a reply.
fn size(reply: &types::Reply) -> u64 {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let checks = reply
        .checks
        .iter()
        .map(|check| check.name.len() + optional(&check.message) + optional(&check.details));
    let metrics = reply.metrics.iter().map(|metric| metric.name.len() + optional(&metric.unit));
    let texts = reply.output.len() + optional(&reply.summary) + optional(&reply.extra);
    (texts + checks.sum::<usize>() + metrics.sum::<usize>()) as u64
}
