//! Calls of components, by the typed contract.

use bytesize::ByteSize;
use serde_json::Value;
use wasmtime::{Store, component::InstancePre};
use wasmtime_wasi::WasiCtxBuilder;

use super::{
    classify::classify,
    description::{Description, read_schema},
    ended::{Ended, Ending, Reply},
    instance::{Exports, Instance},
    json_cost::{Allowance, Unread},
    lifecycle::LifecycleIndices,
    reply::{few_parts, provider_error, too_large},
    request::Call,
};
use crate::{
    model::{AttemptError, Check, CheckVerdict, ErrorClass, Limits, Metric},
    plugin::{
        code::{config::Metering, footprint::Footprint},
        contract::{
            self, PluginPre,
            exports::runner::provider::provider::{ProviderError, Test},
            runner::provider::types,
        },
        failure::{beginning, failure},
        fs::{attempt_folders::Role, files::Files},
        interrupt::Guard,
        listener::Heard,
        sandbox::{
            handover::HANDOVER_MARGIN,
            host::AttemptHost,
            stdio::Capture,
            store::{Meter, Sandbox, StoreRecipe},
        },
    },
};

/// A linked component.
pub(in crate::plugin) struct LinkedComponent {
    pre: PluginPre<Sandbox>,
    lifecycle: Option<LifecycleIndices>,
    metering: Metering,
    footprint: Footprint,
}

/// Runs one attempt in the instance that is in `slot`, or else in a fresh one. Whichever it was is in `slot` afterwards if
/// it can serve another attempt.
pub(in crate::plugin) async fn run(
    guest: &LinkedComponent,
    slot: &mut Option<Instance>,
    call: &Call<'_>,
    guard: &Guard,
) -> Ended {
    let host = host(call, guard);
    let mut instance = match slot.take() {
        Some(mut instance) => {
            instance.store.data_mut().begin_attempt();
            instance.store.data_mut().host = host;
            instance
        }
        None => match guest.prepare(host, call, guard).await {
            Ok(instance) => instance,
            Err(ending) => return Ended::without_sandbox(ending),
        },
    };

    let mut meter = Meter::start(&instance.store);
    let answer = guest.answer(&mut instance, call, &mut meter);
    let answer = guard.bound(answer).await;
    let spent = meter.stop(&instance.store);

    let sandbox = instance.store.data_mut();
    let mut reply_bytes = 0;
    let ending = match answer {
        Ok(Ok(reply)) => {
            reply_bytes = size(&reply);
            read_reply(reply, reply_bytes, &call.limits).map_or_else(Ending::Error, Ending::Reply)
        }
        Ok(Err(error)) => read_error(error, guard),
        Err(error) => classify(&error, sandbox),
    };
    let ended = Ended::collect(sandbox, ending, spent, reply_bytes);
    if instance.can_go_on(&ended.ending) {
        *slot = Some(instance);
    } else {
        instance.remove().await;
    }
    ended
}

/// Asks a component what it is.
pub(in crate::plugin) async fn describe(
    guest: &LinkedComponent,
    limits: &Limits,
    guard: &Guard,
) -> Result<Description, AttemptError> {
    let host = AttemptHost::new(limits, [].into(), guard.clone());
    let mut store = recipe(host, limits).store(guest.pre.engine(), guest.metering);
    let answer = guard
        .bound(async {
            let exports = guest.instantiate(&mut store).await?;
            let provider = exports.plugin.runner_provider_provider();
            provider.call_describe(&mut store).await
        })
        .await;
    let description = answer.map_err(|error| classify(&error, store.data()).into_error())?;

    let description = Description {
        name: description.name,
        version: description.version,
        summary: description.summary,
        config_schema: read_schema("config-schema", description.config_schema.as_deref())?,
        input_schema: read_schema("input-schema", description.input_schema.as_deref())?,
        requests: description.requests,
    };
    description.bounded()
}

impl LinkedComponent {
    /// Fails if the component lacks an export of the contract.
    pub(in crate::plugin) fn new(
        pre: InstancePre<Sandbox>,
        metering: Metering,
        footprint: Footprint,
    ) -> wasmtime::Result<Self> {
        Ok(Self {
            lifecycle: LifecycleIndices::find(pre.component())?,
            pre: PluginPre::new(pre)?,
            metering,
            footprint,
        })
    }

    /// Makes all that an instance needs; nothing of the guest has run yet.
    async fn prepare(
        &self,
        host: AttemptHost,
        call: &Call<'_>,
        guard: &Guard,
    ) -> Result<Instance, Ending> {
        let mut wasi = WasiCtxBuilder::new();
        wasi.envs(&call.env);
        let files = Files::mount(call, Role::Component, guard, &mut wasi).await?;
        let recipe = StoreRecipe {
            wasi,
            quota: files.quota(),
            ..recipe(host, &call.limits)
        };
        Ok(Instance {
            store: recipe.store(self.pre.engine(), self.metering),
            exports: None,
            files,
            provider: call.provider.to_owned(),
        })
    }

    /// Calls an instance's `run`, after it is instantiated and set up.
    async fn answer(
        &self,
        instance: &mut Instance,
        call: &Call<'_>,
        meter: &mut Meter,
    ) -> wasmtime::Result<Result<types::Reply, ProviderError>> {
        let Instance { store, exports, .. } = instance;
        let exports = match exports {
            Some(exports) => exports,
            None => {
                let made = self.instantiate(store).await?;
                if let Some(lifecycle) = &made.lifecycle
                    && let Err(error) = lifecycle.call_setup(&mut *store, &call.config).await?
                {
                    return Ok(Err(error));
                }
                exports.insert(made)
            }
        };
        meter.instantiated();
        // The contract's `json` is a name for `string`, which the generated types borrow as a `String`.
        let (input, config) = (call.input.to_string(), call.config.to_string());
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
        exports
            .plugin
            .runner_provider_provider()
            .call_run(store, test)
            .await
    }

    async fn instantiate(&self, store: &mut Store<Sandbox>) -> wasmtime::Result<Exports> {
        store
            .data_mut()
            .limiter
            .hold_instances(self.footprint)
            .await?;
        let Some(lifecycle) = &self.lifecycle else {
            return Ok(Exports {
                plugin: self.pre.instantiate_async(store).await?,
                lifecycle: None,
            });
        };
        let instance = self
            .pre
            .instance_pre()
            .instantiate_async(&mut *store)
            .await?;
        Ok(Exports {
            plugin: contract::Plugin::new(&mut *store, &instance)?,
            lifecycle: Some(lifecycle.load(store, &instance)?),
        })
    }
}

fn host(call: &Call<'_>, guard: &Guard) -> AttemptHost {
    let mut host = AttemptHost::of(call, guard);
    host.bytes_in = (call.input.len() + call.config.len()) as u64;
    host
}

fn recipe(host: AttemptHost, limits: &Limits) -> StoreRecipe<'_> {
    let mut stdout = Capture::new(limits.stdio, limits.stdio);
    if let Some(listener) = host.listener.clone() {
        stdout = stdout.heard_by(move |line| listener.hear(Heard::Stdout(line)));
    }
    StoreRecipe {
        wasi: WasiCtxBuilder::new(),
        host,
        quota: None,
        stdout,
        limits,
        handover: limits.reply.saturating_add(HANDOVER_MARGIN),
    }
}

fn read_error(error: ProviderError, guard: &Guard) -> Ending {
    let known = AttemptError {
        class: None,
        code: error.code,
        message: error.message,
        retry_after: error
            .retry_after
            .map(|ms| std::time::Duration::from_millis(ms.into())),
        fault: None,
    };
    provider_error(error.kind, known, guard)
}

fn read_reply(reply: types::Reply, bytes: u64, limits: &Limits) -> Result<Reply, AttemptError> {
    if bytes > limits.reply {
        return Err(failure(
            ErrorClass::Limit,
            "reply",
            format!(
                "the reply has {}, and `limits.reply` is {}",
                ByteSize(bytes),
                ByteSize(limits.reply)
            ),
        ));
    }
    few_parts(reply.checks.len(), reply.metrics.len())?;
    let mut json = Allowance::of(limits);
    Ok(Reply {
        output: parse_json("output", reply.output, &mut json)?,
        verdict: reply.verdict.map(verdict),
        score: reply
            .score
            .map(|score| finite("score", score))
            .transpose()?,
        summary: reply.summary,
        checks: reply
            .checks
            .into_iter()
            .map(|check| read_check(check, &mut json))
            .collect::<Result<_, _>>()?,
        metrics: reply
            .metrics
            .into_iter()
            .map(read_metric)
            .collect::<Result<_, _>>()?,
        exit_code: None,
    })
}

fn read_check(check: types::Check, json: &mut Allowance) -> Result<Check, AttemptError> {
    Ok(Check {
        verdict: verdict(check.verdict),
        score: check
            .score
            .map(|score| finite("score of a check", score))
            .transpose()?,
        message: check.message,
        expected: None,
        actual: None,
        diff: None,
        details: read_json("details of a check", check.details, json)?,
        name: check.name.into(),
    })
}

fn read_metric(metric: types::Metric) -> Result<Metric, AttemptError> {
    Ok(Metric {
        value: finite("value of a metric", metric.value)?,
        name: metric.name,
        unit: metric.unit,
    })
}

fn verdict(verdict: types::Verdict) -> CheckVerdict {
    match verdict {
        types::Verdict::Pass => CheckVerdict::Pass,
        types::Verdict::Fail => CheckVerdict::Fail,
        types::Verdict::Skip => CheckVerdict::Skip,
    }
}

fn finite(what: &str, number: f64) -> Result<f64, AttemptError> {
    if number.is_finite() {
        return Ok(number);
    }
    Err(failure(
        ErrorClass::Protocol,
        "number",
        format!("the {what} is {number}, which is not a finite number"),
    ))
}

fn read_json(
    what: &str,
    text: Option<String>,
    json: &mut Allowance,
) -> Result<Option<Value>, AttemptError> {
    text.map(|text| parse_json(what, text, json)).transpose()
}

/// Takes the text, so that it is gone when its value is there.
#[expect(
    clippy::needless_pass_by_value,
    reason = "two of what may be large are not kept"
)]
fn parse_json(what: &str, text: String, json: &mut Allowance) -> Result<Value, AttemptError> {
    json.parse(text.as_bytes()).map_err(|error| match error {
        Unread::TooLarge(_) => too_large(what, &error),
        Unread::Json(error) => {
            let message = format!(
                "the {what} is not JSON: {error}{}",
                beginning(text.as_bytes())
            );
            failure(ErrorClass::Protocol, "json", message)
        }
    })
}

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
