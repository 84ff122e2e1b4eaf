//! The keys of providers and their limits.

use runner_model::{
    BudgetName, Budgets, LimitUnit, Limits, ProviderName,
    provider::{OutputForm, Protocol, Provider, Reuse, Stdin},
};

use crate::{
    files::NamedFile,
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
    table: Sub("`stdin` of a provider, as a table", |table| table.required("file", &TEXT)),
    words: "a string or a table",
};
const PLUGIN: NamedFile = NamedFile("plugin", |metadata| metadata.is_file() || metadata.is_dir());
const LIMITS: Sub<Limits> = Sub("`limits` of a provider", limits);
const OUTPUT: Word<OutputForm> =
    Word(|| OutputForm::ALL.iter().map(|form| form.as_str()).collect(), OutputForm::parse);
const REUSE: Word<Reuse> =
    Word(|| Reuse::ALL.iter().map(|reuse| reuse.as_str()).collect(), Reuse::parse);
const PROTOCOL: Word<Protocol> =
    Word(|| Protocol::ALL.iter().map(|form| form.as_str()).collect(), Protocol::parse);

fn provider(table: &mut Table<'_, '_>) -> Option<Provider> {
    let name = ProviderName::parse(table.name());
    let plugin = table.required("plugin", &PLUGIN);
    // A matrix is written out before this is read.
    table.optional("matrix", &MATRIX);
    table.optional("name", &MATRIX_NAME);
    if table.is("protocol", Protocol::Json.as_str()) {
        for key in ["args", "stdin", "output"] {
            if table.has(key) {
                let message = format!("`{key}` is for plain commands, and `protocol` is `json`");
                table.refuse_key(key, &message);
            }
        }
    }
    Some(Provider {
        sha256: table.optional("sha256", &DIGEST),
        config: table.or("config", &AnyTable, "{}"),
        args: table.or("args", &List(0, Templated(COMMAND_ROOTS)), "[]"),
        stdin: table.optional("stdin", &STDIN).map(|stdin| match stdin {
            Either::String(text) => Stdin::Text(text),
            Either::Table(file) => Stdin::File { file },
        }),
        output: table.or("output", &OUTPUT, r#""text""#),
        protocol: table.optional("protocol", &PROTOCOL).unwrap_or_default(),
        reuse: table.optional("reuse", &REUSE),
        grants: table.optional("grants", &GRANTS).unwrap_or_default(),
        limits: table.optional("limits", &LIMITS).unwrap_or_default(),
        concurrency: table.optional("concurrency", &CONCURRENCY),
        rate: table.optional("rate", &RATE),
        budget: budget_of(name.as_ref().ok(), table.optional("budget", &BUDGET)),
        plugin: plugin?,
        name: name.ok()?,
    })
}

fn budget(table: &mut Table<'_, '_>) -> Option<Vec<(String, f64)>> {
    table.required("metrics", &METRICS)
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
    let mut limits = Limits { time: table.optional("time", &TIMEOUT), ..Limits::default() };
    for limit in Limits::TABLE {
        *(limit.get_mut)(&mut limits) = match limit.unit {
            LimitUnit::Bytes => table.or(limit.key, &SIZE, limit.default),
            LimitUnit::Count(max) => table.or(limit.key, &Integer(0, max), limit.default),
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
