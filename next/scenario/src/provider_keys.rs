//! The keys of providers and their limits.

use std::collections::BTreeMap;

use runner_model::{
    LimitUnit, Limits, ProviderName,
    provider::{OutputForm, Protocol, Provider},
    template::Template,
};
use serde_json::Value;

use crate::{
    form::{AnyTable, ByName, List, Sub, Templated},
    reading::COMMAND_ROOTS,
    scalar::{Count, Number, Size, TEXT, TIMEOUT, Word},
    table::Table,
};

/// How many attempts of a run or of a provider may run at once.
pub(crate) const CONCURRENCY: Count = Count { min: 1, max: 4096 };

pub(crate) const PROVIDERS: ByName<Sub<WrittenProvider>> =
    ByName(Sub("`[providers.NAME]`", provider));
const LIMITS: Sub<Limits> = Sub("`limits` of a provider", limits);

/// A provider without its name.
#[derive(Debug)]
pub(crate) struct WrittenProvider {
    plugin: String,
    config: Value,
    args: Vec<Template>,
    stdin: Option<Template>,
    output: OutputForm,
    protocol: Protocol,
    limits: Limits,
    concurrency: Option<u32>,
}

/// Gives providers their names.
pub(crate) fn named(written: BTreeMap<ProviderName, WrittenProvider>) -> Vec<Provider> {
    let provider = |(name, written): (ProviderName, WrittenProvider)| Provider {
        name,
        plugin: written.plugin,
        config: written.config,
        args: written.args,
        stdin: written.stdin,
        output: written.output,
        protocol: written.protocol,
        limits: written.limits,
        concurrency: written.concurrency,
    };
    written.into_iter().map(provider).collect()
}

fn provider(table: &mut Table<'_>) -> Option<WrittenProvider> {
    let plugin = table.required(
        "plugin",
        &TEXT,
        "A `.wasm` file, relative to the scenario; or a plugin that the runner carries: `bundled:chat`, `bundled:echo`, `bundled:http` or `bundled:units`.",
    );
    let config = table.or(
        "config",
        &AnyTable,
        "{}",
        "The provider's configuration. It reaches the provider as JSON.",
    );
    let argument = Templated {
        roots: COMMAND_ROOTS,
        takes_nul: false,
    };
    let args = table.or(
        "args",
        &List::of(argument),
        "[]",
        "The arguments of a plain command: templates such as `{{input.code}}`.",
    );
    let stdin = table.optional(
        "stdin",
        &Templated {
            roots: COMMAND_ROOTS,
            takes_nul: true,
        },
        "The standard input of a plain command: a template.",
    );
    let output = table.or(
        "output",
        &Word {
            all: || OutputForm::ALL.iter().map(|form| form.as_str()).collect(),
            parse: OutputForm::parse,
        },
        r#""text""#,
        "What a plain command's standard output is taken for.",
    );
    let protocol = table.optional(
        "protocol",
        &Word {
            all: || Protocol::ALL.iter().map(|form| form.as_str()).collect(),
            parse: Protocol::parse,
        },
        "How a command is called. Default for commands: `plain`. Components need none.",
    );
    let limits = table.optional("limits", &LIMITS, "What one attempt may use.");
    let concurrency = table.optional(
        "concurrency",
        &CONCURRENCY,
        "How many of its attempts run at once.",
    );
    if protocol == Some(Protocol::Json) {
        for key in ["args", "stdin", "output"] {
            if table.has(key) {
                let message = format!("`{key}` is for plain commands, and `protocol` is `json`");
                table.refuse_key(key, message);
            }
        }
    }
    Some(WrittenProvider {
        plugin: plugin?,
        config,
        args,
        stdin,
        output,
        protocol: protocol.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        concurrency,
    })
}

fn limits(table: &mut Table<'_>) -> Option<Limits> {
    let mut limits = Limits {
        time: table.optional("time", &TIMEOUT, "Caps every attempt's `timeout`."),
        ..Limits::default()
    };
    for limit in Limits::TABLE {
        *(limit.get_mut)(&mut limits) = match limit.unit {
            LimitUnit::Bytes => table.or(limit.key, &Size, limit.default, limit.about),
            LimitUnit::Count(max) => {
                let form = Number {
                    min: 0,
                    max: i64::try_from(max).unwrap_or(i64::MAX),
                };
                let count = table.or(limit.key, &form, limit.default, limit.about);
                count.unsigned_abs()
            }
        };
    }
    Some(limits)
}
