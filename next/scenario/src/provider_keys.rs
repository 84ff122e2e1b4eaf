//! The keys of providers and their limits.

use runner_model::{
    BudgetName, Budgets, LimitUnit, Limits, ProviderName,
    provider::{OutputForm, Protocol, Provider, Stdin},
};

use crate::{
    form::{AnyTable, ByMetric, ByName, List, Sub, Templated},
    reading::COMMAND_ROOTS,
    scalar::{Integer, RATE, SIZE, TEXT, TIMEOUT, Word},
    table::Table,
};

/// How many attempts of a run or of a provider may run at once.
pub(crate) const CONCURRENCY: Integer<u32> = Integer(1, 4096);
pub(crate) const PROVIDERS: ByName<Sub<Provider>> = ByName(Sub("`[providers.NAME]`", provider));
/// The `budget` of a run or of a provider.
pub(crate) const BUDGET: Sub<Vec<(String, f64)>> = Sub("`budget`", budget);
const LIMITS: Sub<Limits> = Sub("`limits` of a provider", limits);
const OUTPUT: Word<OutputForm> = Word(
    || OutputForm::ALL.iter().map(|form| form.as_str()).collect(),
    OutputForm::parse,
);
const PROTOCOL: Word<Protocol> = Word(
    || Protocol::ALL.iter().map(|form| form.as_str()).collect(),
    Protocol::parse,
);

fn provider(table: &mut Table<'_, '_>) -> Option<Provider> {
    let name = ProviderName::parse(table.name());
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
    let args = table.or(
        "args",
        &List(0, Templated(COMMAND_ROOTS)),
        "[]",
        "The arguments of a plain command: templates such as `{{input.code}}`.",
    );
    let stdin = table.optional(
        "stdin",
        &Templated(COMMAND_ROOTS),
        "The standard input of a plain command: a template.",
    );
    let output = table.or(
        "output",
        &OUTPUT,
        r#""text""#,
        "What a plain command's standard output is taken for.",
    );
    let protocol = table.optional(
        "protocol",
        &PROTOCOL,
        "How a command is called. Default for commands: `plain`. Components need none.",
    );
    let limits = table.optional("limits", &LIMITS, "What one attempt may use.");
    let concurrency = table.optional(
        "concurrency",
        &CONCURRENCY,
        "How many of its attempts run at once.",
    );
    let rate = table.optional(
        "rate",
        &RATE,
        "How many attempts may start in which time, such as `60/min`, `5/s` or `100/h`.",
    );
    let budget = table.optional(
        "budget",
        &BUDGET,
        "How much of what it measures it may use up.",
    );
    if protocol == Some(Protocol::Json) {
        for key in ["args", "stdin", "output"] {
            if table.has(key) {
                let message = format!("`{key}` is for plain commands, and `protocol` is `json`");
                table.refuse_key(key, &message);
            }
        }
    }
    let name = name.ok()?;
    Some(Provider {
        budget: budget_of(Some(&name), budget),
        name,
        plugin: plugin?,
        config,
        args,
        stdin: stdin.map(Stdin::Text),
        output,
        protocol: protocol.unwrap_or_default(),
        sha256: None,
        reuse: None,
        grants: Default::default(),
        limits: limits.unwrap_or_default(),
        concurrency,
        rate,
    })
}

fn budget(table: &mut Table<'_, '_>) -> Option<Vec<(String, f64)>> {
    table.required(
        "metrics",
        &ByMetric,
        "How much there is of each metric, over all attempts of all sessions. Once one is used up, no further attempt begins.",
    )
}

/// The budgets of a provider, or of all together.
pub(crate) fn budget_of(
    provider: Option<&ProviderName>,
    metrics: Option<Vec<(String, f64)>>,
) -> Budgets {
    let metrics = metrics.into_iter().flatten();
    let named = metrics.map(|(metric, most)| {
        let provider = provider.map(ToString::to_string);
        (BudgetName { provider, metric }, Some(most))
    });
    Budgets(named.collect())
}

fn limits(table: &mut Table<'_, '_>) -> Option<Limits> {
    let mut limits = Limits {
        time: table.optional("time", &TIMEOUT, "Caps every attempt's `timeout`."),
        ..Limits::default()
    };
    for limit in Limits::TABLE {
        *(limit.get_mut)(&mut limits) = match limit.unit {
            LimitUnit::Bytes => table.or(limit.key, &SIZE, limit.default, limit.about),
            LimitUnit::Count(max) => {
                table.or(limit.key, &Integer(0, max), limit.default, limit.about)
            }
        };
    }
    Some(limits)
}

#[cfg(test)]
mod tests {
    use runner_model::Limits;
    use serde_json::json;

    use super::LIMITS;
    use crate::{
        form::Form,
        reading::{At, Reading},
    };

    #[test]
    fn the_written_defaults_of_limits_are_the_real_ones() {
        let limits = LIMITS.read(&At::ROOT, &mut json!({}), &mut Reading::new(&()));
        assert_eq!(limits, Some(Limits::default()));
    }
}
