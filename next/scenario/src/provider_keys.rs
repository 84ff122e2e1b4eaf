//! The keys of providers and their limits.

use runner_model::{
    BudgetName, Budgets, LimitUnit, Limits, ProviderName,
    provider::{OutputForm, Protocol, Provider, Reuse, Stdin},
};

use crate::{
    form::{AnyTable, Either, List, Named, StringOr, Sub, Templated},
    grant_keys::GRANTS,
    matrix::{MATRIX, MATRIX_NAME},
    reading::COMMAND_ROOTS,
    scalar::{DIGEST, Integer, Number, RATE, SIZE, TEXT, TIMEOUT, Word},
    table::Table,
};

/// How many attempts of a run or of a provider may run at once.
pub(crate) const CONCURRENCY: Integer<u32> = Integer(1, 4096);
pub(crate) const PROVIDERS: Named<Sub<Provider>> = Named {
    form: Sub("`[providers.NAME]`", provider),
    words: "a table",
    refuse: |name| match ProviderName::parse(name) {
        Ok(_) => None,
        Err(error) => Some(error.to_string()),
    },
    pattern: "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$",
    count: (0, usize::MAX),
};
/// The `budget` of a run or of a provider.
pub(crate) const BUDGET: Sub<Vec<(String, f64)>> = Sub("`budget`", budget);
/// Numbers above zero by the names of metrics.
const METRICS: Named<Number> = Named {
    form: Number(Budgets::LEAST, f64::MAX),
    words: "a table such as { tokens = 2_000_000 }",
    refuse: |_| None,
    pattern: "",
    count: (1, usize::MAX),
};
const STDIN: StringOr<Templated, Sub<String>> = StringOr {
    string: Templated(COMMAND_ROOTS),
    table: Sub("`stdin` of a provider, as a table", |table| {
        table.required("file", &TEXT, "The name of an attachment of the test.")
    }),
    words: "a string or a table",
};
const LIMITS: Sub<Limits> = Sub("`limits` of a provider", limits);
const OUTPUT: Word<OutputForm> = Word(
    || OutputForm::ALL.iter().map(|form| form.as_str()).collect(),
    OutputForm::parse,
);
const REUSE: Word<Reuse> = Word(
    || Reuse::ALL.iter().map(|reuse| reuse.as_str()).collect(),
    Reuse::parse,
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
        "A `.wasm` file, or a folder with a plugin's source, relative to the scenario; or a plugin that the runner carries: `bundled:chat`, `bundled:echo`, `bundled:http` or `bundled:units`.",
    );
    // A matrix is written out before this is read.
    table.optional(
        "matrix",
        &MATRIX,
        "Lists of values by name. Each combination makes a provider, in whose `plugin`, `config`, `args`, `stdin` and `grants` `{{matrix.NAME}}` is its value.",
    );
    table.optional(
        "name",
        &MATRIX_NAME,
        "How the providers of a matrix are named, such as `gpt-{{matrix.size}}`. Default: `gpt[size=small,temp=0]`.",
    );
    let sha256 = table.optional("sha256", &DIGEST, "What the plugin's file must hash to.");
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
        &STDIN,
        "The standard input of a plain command: a template, or `{ file = NAME }` for the bytes of an attachment.",
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
    let reuse = table.optional(
        "reuse",
        &REUSE,
        "`instance`: a component's instance serves many tests, one after the other. Default: each attempt has a fresh one.",
    );
    let grants = table.optional(
        "grants",
        &GRANTS,
        "What of the world outside its sandbox it may touch. Default: nothing.",
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
        stdin: stdin.map(|stdin| match stdin {
            Either::String(text) => Stdin::Text(text),
            Either::Table(file) => Stdin::File { file },
        }),
        output,
        protocol: protocol.unwrap_or_default(),
        sha256,
        reuse,
        grants: grants.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        concurrency,
        rate,
    })
}

fn budget(table: &mut Table<'_, '_>) -> Option<Vec<(String, f64)>> {
    table.required(
        "metrics",
        &METRICS,
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
