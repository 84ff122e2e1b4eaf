//! Calls of components, by the typed contract.

use std::time::Instant;

use bytesize::ByteSize;
use serde_json::Value;
use wasmtime_wasi::WasiCtxBuilder;

use super::{
    Call, Description, Ended, Ending, Reply,
    classify::{beginning, classify, failure},
    contract::{
        PluginPre,
        exports::runner::provider::provider::{ProviderError, Test},
        runner::provider::types,
    },
    fs::{Files, Role},
    host::Host,
    interrupt::Guard,
    sandbox::{HANDOVER_MARGIN, Recipe, Sandbox},
    stdio::Capture,
};
use crate::model::{AttemptError, Check, CheckVerdict, ErrorClass, Limits, Metric};

/// Runs one attempt in a fresh store.
pub(super) async fn run(pre: &PluginPre<Sandbox>, call: &Call<'_>, guard: &Guard) -> Ended {
    let mut host = Host::of(call, guard);
    host.bytes_in = (call.input.len() + call.config.len()) as u64;
    let mut wasi = WasiCtxBuilder::new();
    wasi.envs(&call.env);
    let files = match Files::mount(call, Role::Component, guard, &mut wasi).await {
        Ok(files) => files,
        Err(error) => return Ended::without_sandbox(error),
    };
    let recipe = Recipe {
        wasi,
        quota: files.quota(),
        ..recipe(host, &call.limits)
    };
    let mut store = recipe.store(pre.engine());
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

    let started = Instant::now();
    let answer = guard
        .bound(async {
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin
                .runner_provider_provider()
                .call_run(&mut store, test)
                .await
        })
        .await;
    let duration = started.elapsed();

    let sandbox = store.into_data();
    files.remove().await;
    let mut reply_bytes = 0;
    let ending = match answer {
        Ok(Ok(reply)) => {
            reply_bytes = size(&reply);
            read_reply(reply, reply_bytes, &call.limits).map_or_else(Ending::Error, Ending::Reply)
        }
        Ok(Err(error)) => read_error(error, guard),
        Err(error) => classify(&error, &sandbox),
    };
    Ended::collect(sandbox, ending, duration, reply_bytes)
}

/// Asks a component what it is.
pub(super) async fn describe(
    pre: &PluginPre<Sandbox>,
    limits: &Limits,
    guard: &Guard,
) -> Result<Description, AttemptError> {
    let host = Host::new(limits, [].into(), guard.clone());
    let mut store = recipe(host, limits).store(pre.engine());
    let answer = guard
        .bound(async {
            let plugin = pre.instantiate_async(&mut store).await?;
            plugin
                .runner_provider_provider()
                .call_describe(&mut store)
                .await
        })
        .await;
    let description = answer.map_err(|error| classify(&error, store.data()).into_error())?;

    Ok(Description {
        name: description.name,
        version: description.version,
        summary: description.summary,
        config_schema: read_json("config-schema", description.config_schema)?,
        input_schema: read_json("input-schema", description.input_schema)?,
        requests: description.requests,
    })
}

/// What the contract's word for an error is to us; a stop counts only if there was a request to stop.
pub(super) fn provider_error(kind: types::ErrorKind, error: AttemptError, guard: &Guard) -> Ending {
    let class = match kind {
        types::ErrorKind::InvalidConfig => ErrorClass::InvalidConfig,
        types::ErrorKind::InvalidInput => ErrorClass::InvalidInput,
        types::ErrorKind::Denied => ErrorClass::Denied,
        types::ErrorKind::Unavailable => ErrorClass::Unavailable,
        types::ErrorKind::RateLimited => ErrorClass::RateLimited,
        types::ErrorKind::Internal => ErrorClass::Internal,
        types::ErrorKind::Other => ErrorClass::Other,
        types::ErrorKind::Stopped if guard.interrupt.is_requested() => return Ending::Stopped,
        types::ErrorKind::Stopped => {
            return Ending::Error(failure(
                ErrorClass::Protocol,
                "stopped",
                "the guest said that it was stopped, and nobody had asked it to",
            ));
        }
    };
    Ending::Error(AttemptError {
        class: Some(class),
        ..error
    })
}

fn recipe(host: Host, limits: &Limits) -> Recipe<'_> {
    Recipe {
        wasi: WasiCtxBuilder::new(),
        host,
        quota: None,
        stdout: Capture::new(limits.stdio, limits.stdio),
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
    Ok(Reply {
        output: parse_json("output", &reply.output)?,
        verdict: reply.verdict.map(verdict),
        score: reply
            .score
            .map(|score| finite("score", score))
            .transpose()?,
        summary: reply.summary,
        checks: reply
            .checks
            .into_iter()
            .map(read_check)
            .collect::<Result<_, _>>()?,
        metrics: reply
            .metrics
            .into_iter()
            .map(read_metric)
            .collect::<Result<_, _>>()?,
        exit_code: None,
    })
}

fn read_check(check: types::Check) -> Result<Check, AttemptError> {
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
        details: read_json("details of a check", check.details)?,
        name: check.name,
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
        format!("the {what} is {number}, which is no number"),
    ))
}

fn read_json(what: &str, text: Option<String>) -> Result<Option<Value>, AttemptError> {
    text.map(|text| parse_json(what, &text)).transpose()
}

fn parse_json(what: &str, text: &str) -> Result<Value, AttemptError> {
    serde_json::from_str(text).map_err(|error| {
        let message = format!(
            "the {what} is not JSON: {error}{}",
            beginning(text.as_bytes())
        );
        failure(ErrorClass::Protocol, "json", message)
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
