//! The keys of `[gate]` and `[report]`, which apply once the trials of a run are done.

use runner_model::{Form as ReportForm, Gate, GateRule, GateScope, globs};
use serde_json::{Value, json};

use crate::reading::{At, Form, Integer, Named, Number, Reader, Table, TableForm};

pub(crate) const GATE: TableForm<Gate> = TableForm("`[gate]`", gate);
const RULE: TableForm<GateRule> = TableForm("a rule of `[gate]`", |table| Some(rule(table)));
const TAGS: Named<TableForm<GateRule>> = Named {
    form: RULE,
    words: "a table",
    refuse: |tag| tag.is_empty().then(|| "it is empty".to_owned()),
    pattern: "",
    count: (0, 100),
};
const PROVIDERS: Named<TableForm<GateRule>> =
    Named { refuse: |glob| globs::over_ids(&[glob]).err(), ..TAGS };
pub(crate) const REPORT: TableForm<Vec<String>> = TableForm("`[report]`", report);

const WORDS: &str = "`true`, `false` or the name of a file";
/// Bytes of a name.
const MAX_NAME: usize = 200;

fn gate(table: &mut Table<'_, '_>) -> Option<Gate> {
    let mut rules = vec![rule(table)];
    let tags = table.optional("tags", &TAGS).unwrap_or_default();
    let providers = table.optional("providers", &PROVIDERS).unwrap_or_default();
    let tags = tags.into_iter().map(|(name, rule)| (GateScope::Tag(name), rule));
    let providers = providers.into_iter().map(|(name, rule)| (GateScope::Provider(name), rule));
    rules.extend(tags.chain(providers).map(|(scope, rule)| GateRule { scope, ..rule }));
    rules.retain(|rule| *rule != GateRule { scope: rule.scope.clone(), ..GateRule::default() });
    Some(Gate(rules))
}

fn rule(table: &mut Table<'_, '_>) -> GateRule {
    GateRule {
        scope: GateScope::All,
        pass_rate: table.optional("pass_rate", &Number(0.0, 1.0)),
        min_score: table.optional("min_score", &Number(f64::MIN, f64::MAX)),
        max_errors: table.optional("max_errors", &Integer(0, u32::MAX)).map(u64::from),
    }
}

fn report(table: &mut Table<'_, '_>) -> Option<Vec<String>> {
    let files = ReportForm::ALL.iter().map(|form| table.optional(form.as_str(), &FileName(*form)));
    Some(files.flatten().flatten().collect())
}

/// The name of a file in the run's folder: `true` for the usual name, or another one with the same extension, which no other
/// file of a run has.
struct FileName(ReportForm);

impl Form for FileName {
    type Out = Option<String>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let name = match value {
            Value::Bool(is_written) => {
                return Some(is_written.then(|| self.0.file_name().to_owned()));
            }
            Value::String(name) => name.clone(),
            _ => return reader.refuse_kind(at, value, WORDS),
        };
        let extension = self.0.extension();
        let is_plain = !name.starts_with('.') && !name.contains(['/', '\\']);
        let has_extension = name.strip_suffix(extension).is_some_and(|rest| rest.ends_with('.'));
        if is_plain && has_extension && !name.contains(char::is_control) && name.len() <= MAX_NAME {
            return Some(Some(name));
        }
        let reason = format!(
            "write a name without folders that ends in `.{extension}`, such as \"{}\"",
            self.0.file_name()
        );
        reader.refuse_value(at, WORDS, &reason)
    }

    fn schema(&self) -> Value {
        json!({"title": "boolean or string", "type": ["boolean", "string"], "examples": [self.0.file_name()]})
    }
}
