//! The keys of providers, their limits and budgets.

use std::collections::BTreeMap;

use runner_model::provider::{
    Arguments, COST, GRADED_ROOTS, Grading, OutputForm, Protocol, Provider, ProviderFile, Reuse,
    Stdin,
};
use runner_model::workspace::{GradedAccess, GradedWorkspace};
use runner_model::{
    BudgetName, Budgets, Dollars, Grants, LimitUnit, Limits, MAX_JOBS, MAX_TOKENS, MAX_WEIGHT,
    ProviderName, globs,
};
use serde_json::{Value, json};

use super::workspace_keys::{ACCESS, HIDDEN, SCRATCH, WORKSPACE_TABLE};
use crate::keys::{FILES, FilePlace, GRANTS, MATRIX, MATRIX_NAME, NamedFile, RETRIES};
use crate::reading::{
    Any, AnyTable, At, COMMAND_ROOTS, DIGEST, Either, Form, Integer, List, Named, Number, RATE,
    Reader, SIZE, STACK, StringOr, TEXT, TIMEOUT, Table, TableForm, TemplateValue, Templated,
    Templates, Word,
};
use crate::suite::blobs::Blobs;

/// The number of attempts of a run or provider that may run at once.
pub(crate) const CONCURRENCY: Integer<u32> = Integer(1, MAX_JOBS);
pub(crate) const PROVIDERS: Named<TableForm<Provider>> = Named {
    form: TableForm("`[providers.NAME]`", provider),
    words: "a table",
    refuse: |name| ProviderName::parse(name).err().map(|error| error.to_string()),
    pattern: "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$",
    count: (0, usize::MAX),
};
pub(crate) const GRADERS: Named<TableForm<Provider>> =
    Named { form: TableForm("`[graders.NAME]`", grader), ..PROVIDERS };
/// The `budget` of a run or of a provider.
pub(crate) const BUDGET: TableForm<Vec<(String, f64)>> = TableForm("`budget`", budget);
/// Positive numbers by metric.
const METRICS: Named<Number> = Named {
    form: Number(Budgets::LEAST, f64::MAX),
    words: "a table such as { tokens = 2_000_000 }",
    refuse: |_| None,
    pattern: "",
    count: (1, usize::MAX),
};
/// Dollars per million of each metric, by globs over names of providers and graders.
pub(crate) const PRICES: Named<Named<Number>> = Named {
    form: Named {
        form: Number(0.0, f64::MAX),
        words: "a table such as { input_tokens = 2.5 }",
        ..METRICS
    },
    words: "a table",
    refuse: |glob| globs::over_ids(&[glob]).err(),
    pattern: "",
    count: (0, usize::MAX),
};
const STDIN: StringOr<Templated, TableForm<String>> = StringOr {
    string: Templated(COMMAND_ROOTS),
    table: TableForm("`stdin` of a provider, as a table", |table| table.required("file", &TEXT)),
    words: "a string or a table",
};
pub(super) const PLUGIN: NamedFile =
    NamedFile("plugin", |metadata| metadata.is_file() || metadata.is_dir(), FilePlace::Any);
const LIMITS: TableForm<Limits> = TableForm("`limits` of a provider", limits);
const OUTPUT: Word<OutputForm> =
    Word(|| OutputForm::ALL.iter().map(|form| form.as_str()).collect(), OutputForm::parse);
const REUSE: Word<Reuse> =
    Word(|| Reuse::ALL.iter().map(|reuse| reuse.as_str()).collect(), Reuse::parse);
const PROTOCOL: Word<Protocol> =
    Word(|| Protocol::ALL.iter().map(|form| form.as_str()).collect(), Protocol::parse);

fn provider(table: &mut Table<'_, '_>) -> Option<Provider> {
    // `keys::matrix` has expanded these before.
    table.optional("matrix", &MATRIX);
    table.optional("name", &MATRIX_NAME);
    let files = table.optional("files", &ProviderFiles).unwrap_or_default();
    let workspace = table.optional("workspace", &WORKSPACE_TABLE);
    let mut provider = Provider { files, workspace, ..settings(table)? };
    // A workspace with a written 0 is refused.
    if provider.workspace.is_some() && provider.limits.scratch == 0 {
        provider.limits.scratch = SCRATCH;
    }
    Some(provider)
}

/// Attachments of all tests of a provider.
pub(super) struct ProviderFiles;

impl Form for ProviderFiles {
    type Out = Vec<ProviderFile>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let before = reader.missing_files.len();
        let named = FILES.read(at, value, reader)?;
        // Missing files are reported already.
        let is_missing = reader.missing_files.len() > before;
        for (name, path) in named.iter().filter(|_| !is_missing) {
            let Some(project) = reader.project else { continue };
            if reader.files.attached.contains_key(path) {
                continue;
            }
            match Blobs::default().attachment(project, project.base.join(path)) {
                Ok(found) => drop(reader.files.attached.insert(path.clone(), found)),
                Err(refusal) => {
                    let file = format!("attachment `{path}`");
                    reader.refuse_file(&at.key(name), &file, refusal, "here");
                }
            }
        }
        let files = named.into_iter().filter_map(|(name, path)| {
            let (sha256, bytes) = *reader.files.attached.get(&path)?;
            Some(ProviderFile { name, path, sha256, bytes })
        });
        Some(files.collect())
    }

    fn schema(&self) -> Value {
        FILES.schema()
    }
}

fn grader(table: &mut Table<'_, '_>) -> Option<Provider> {
    let input = table.optional("input", &Templates(Any, GRADED_ROOTS));
    let hidden = table.optional("hidden", &HIDDEN).unwrap_or_default();
    let access = table.optional("workspace", &ACCESS);
    let grading = Grading {
        input: input.map(TemplateValue::into_value),
        min_score: table.optional("min_score", &Number(f64::MIN, f64::MAX)),
        max_score: table.optional("max_score", &Number(Budgets::LEAST, f64::MAX)),
        weight: table.or("weight", &Number(0.0, MAX_WEIGHT), "1"),
        timeout: table.or("timeout", &TIMEOUT, r#""60s""#),
        retries: table.optional("retries", &RETRIES),
        workspace: access
            .map(|access| GradedWorkspace { access, hidden: hidden.into_iter().collect() }),
        fingerprint: None,
    };
    let mut grader = Provider { grading: Some(Box::new(grading)), ..settings(table)? };
    // A written 0 is refused.
    if access == Some(GradedAccess::Write) && grader.limits.scratch == 0 {
        grader.limits.scratch = SCRATCH;
    }
    Some(grader)
}

/// Reads the keys that providers and graders share.
fn settings(table: &mut Table<'_, '_>) -> Option<Provider> {
    let called = called(table, &GRANTS);
    let name = ProviderName::parse(table.name()).ok();
    Some(Provider {
        stdin: table.optional("stdin", &STDIN).map(|stdin| match stdin {
            Either::String(text) => Stdin::Text(text),
            Either::Table(file) => Stdin::File { file },
        }),
        output: table.or("output", &OUTPUT, r#""text""#),
        reuse: table.optional("reuse", &REUSE),
        concurrency: table.optional("concurrency", &CONCURRENCY),
        rate: table.optional("rate", &RATE),
        budget: budget_of(name.as_ref(), table.optional("budget", &BUDGET)),
        ..called?
    })
}

/// Reads the keys that tools have, too.
pub(super) fn called(table: &mut Table<'_, '_>, grants: &TableForm<Grants>) -> Option<Provider> {
    let name = ProviderName::parse(table.name());
    let plugin = table.required("plugin", &PLUGIN);
    if table.is("protocol", Protocol::Json.as_str()) {
        for key in ["args", "stdin", "output"] {
            if table.has(key) {
                let message = format!("`{key}` is for plain commands, but `protocol` is `json`");
                table.refuse_key(key, &message);
            }
        }
    }
    Some(Provider {
        sha256: table.optional("sha256", &DIGEST),
        config: table.or("config", &AnyTable, "{}"),
        args: table.or("args", &ArgumentsForm, "[]"),
        stdin: None,
        output: OutputForm::default(),
        protocol: table.optional("protocol", &PROTOCOL).unwrap_or_default(),
        files: Vec::new(),
        reuse: None,
        grants: table.optional("grants", grants).unwrap_or_default(),
        limits: table.optional("limits", &LIMITS).unwrap_or_default(),
        concurrency: None,
        rate: None,
        budget: Budgets::default(),
        prices: BTreeMap::new(),
        records: None,
        deterministic: None,
        workspace: None,
        grading: None,
        tool: None,
        plugin: plugin?,
        name: name.ok()?,
    })
}

/// An array of templates, or a placeholder for the whole array.
struct ArgumentsForm;

const EACH: List<Templated> = List(0, Templated(COMMAND_ROOTS));

impl Form for ArgumentsForm {
    type Out = Arguments;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Arguments> {
        const WORDS: &str = "an array, or one placeholder such as \"{{input.args}}\"";
        match value {
            Value::Array(_) => EACH.read(at, value, reader).map(Arguments::Each),
            Value::String(text) => {
                let template = reader.template(at, text, COMMAND_ROOTS)?;
                match template.only_path() {
                    Some(_) => Some(Arguments::List(template)),
                    None => {
                        let reason = format!("for one argument, write `args = [{text:?}]`");
                        reader.refuse_value(at, WORDS, &reason)
                    }
                }
            }
            _ => reader.refuse_kind(at, value, WORDS),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [EACH.schema(), {"title": "placeholder", "type": "string", "pattern": "^\\{\\{[^{}]+\\}\\}$"}]})
    }
}

fn budget(table: &mut Table<'_, '_>) -> Option<Vec<(String, f64)>> {
    table.required("metrics", &METRICS)
}

/// Returns the budgets of a provider, or without one those of the run.
pub(crate) fn budget_of(
    provider: Option<&ProviderName>,
    metrics: Option<Vec<(String, f64)>>,
) -> Budgets {
    let budgets = metrics.into_iter().flatten().map(|(metric, most)| {
        (BudgetName { provider: provider.map(ToString::to_string), metric }, Some(most))
    });
    Budgets(budgets.collect())
}

/// Adds prices to the providers and graders that their globs match.
pub(crate) fn add_prices(providers: &mut [Provider], prices: Vec<(String, Vec<(String, f64)>)>) {
    for (glob, prices) in prices {
        // An invalid glob is refused when it is read.
        let Ok(set) = globs::over_ids(&[glob]) else { continue };
        for provider in providers.iter_mut().filter(|provider| set.is_match(&*provider.name)) {
            provider.prices.extend(prices.iter().cloned());
        }
    }
}

fn limits(table: &mut Table<'_, '_>) -> Option<Limits> {
    let mut limits = Limits {
        time: table.optional("time", &TIMEOUT),
        total_tokens: table.optional("total_tokens", &Integer(1, MAX_TOKENS)),
        cost_usd: table.optional(COST, &Number(f64::MIN_POSITIVE, f64::MAX)).map(Dollars),
        ..Limits::default()
    };
    for limit in Limits::TABLE {
        *(limit.get_mut)(&mut limits) = match limit.unit {
            LimitUnit::Bytes => table.or(limit.key, &SIZE, limit.default),
            LimitUnit::Stack => table.or(limit.key, &STACK, limit.default),
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
    use crate::parse_stored;
    use crate::reading::{At, Form, Reader};

    #[test]
    fn written_defaults_of_limits_are_applied() {
        let limits = LIMITS.read(&At::ROOT, &mut json!({}), &mut Reader::new(&()));
        assert_eq!(limits, Some(Limits::default()));
    }

    #[test]
    fn providers_have_prices_of_all_matching_globs() {
        let text = r#"
            [providers.gpt]
            plugin = "bundled:chat"
            matrix = { size = ["small", "large"] }
            [graders.judge]
            plugin = "bundled:chat"
            [prices."gpt[*]"]
            input = 2
            [prices."{*large*,judge}"]
            output = 0.5
            [[tests]]
            id = "a"
        "#;
        let scenario = parse_stored(text, "s", &Default::default()).unwrap();
        let prices = scenario.providers.iter().map(|provider| json!(provider.prices));
        let [input, output] = [json!({"input": 2.0}), json!({"output": 0.5})];
        assert_eq!(
            prices.collect::<Vec<_>>(),
            [input, json!({"input": 2.0, "output": 0.5}), output]
        );
    }
}
