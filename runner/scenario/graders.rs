//! [`Grader`]: a plugin that judges what providers have put out.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Map, Value};

use super::{
    MissingKey, Provider, ProviderSet, Repeats, Retries, Test,
    check::{self, At, FormError, Part},
    keys::GRADER_ROOTS,
    settings::Settings,
    template::{Template, TemplateValue},
};
use crate::model::PluginRole;

/// A plugin that judges what providers have put out: a provider in another role.
#[derive(Clone, Debug)]
pub struct Grader {
    /// The plugin as the grader uses it, under the grader's name.
    pub provider: Provider,
    /// How long one attempt to grade may take; `None` leaves it to the run.
    pub timeout: Option<Duration>,
    /// Which attempts to grade are made again.
    pub retries: Arc<Retries>,
    /// The least score that passes, where a test does not say it.
    pub min_score: Option<f64>,
    /// What the scenario says of its input.
    written: Option<Value>,
    input: TemplateValue,
}

impl Grader {
    /// Reads what a checked table says beside the keys of every plugin.
    pub(super) fn read(provider: Provider, table: &Map<String, Value>) -> Self {
        let settings = Settings::read(table);
        let written = table.get("input").cloned();
        let template = written.clone().unwrap_or_else(everything);
        let role = PluginRole::Grader;
        Self {
            provider: Provider { role, ..provider },
            timeout: settings.timeout,
            retries: Arc::new(settings.retries.unwrap_or_default()),
            min_score: table.get("min_score").and_then(Value::as_f64),
            // What is wrong with it has been reported.
            input: TemplateValue::parse(&template).unwrap_or(TemplateValue::Constant(Value::Null)),
            written,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.provider.id.as_str()
    }

    /// What the scenario says of its input, if it does.
    pub fn written_input(&self) -> Option<&Value> {
        self.written.as_ref()
    }

    /// Makes the test by which it judges an output of `test`, with this input.
    pub fn test_of(&self, test: &Test, input: Arc<str>) -> Test {
        Test {
            input,
            reference: None,
            expect: Arc::default(),
            providers: ProviderSet(Arc::default()),
            timeout: self.timeout,
            trial_timeout: None,
            retries: Arc::clone(&self.retries),
            repeats: Repeats::All(1),
            files: Arc::default(),
            ..test.clone()
        }
    }

    /// Makes its input of `roots`: values are put in as they are, and nothing in them is looked through.
    ///
    /// # Errors
    ///
    /// Fails with what is not there.
    pub fn input(&self, roots: &[(&str, &Value)]) -> Result<Value, MissingKey> {
        self.input.render(roots)
    }
}

/// What a grader gets that has no `input`: all that there is, by name.
fn everything() -> Value {
    let names = GRADER_ROOTS.iter();
    let entries = names.map(|name| ((*name).to_owned(), format!("{{{{{name}}}}}").into()));
    Value::Object(entries.collect())
}

/// What is wrong with the graders of an `expect`: in which place of its list, what, and what to do.
type ListRefusal = (Option<usize>, String, Option<String>);

/// Looks at the graders that an `expect` names, of those that have these `names`.
pub(super) fn refusals(expect: &Map<String, Value>, names: &[&str]) -> Vec<ListRefusal> {
    let mut refusals = Vec::new();
    let Some(named) = expect.get("graders").and_then(Value::as_array) else {
        return refusals;
    };
    let mut seen = HashSet::new();
    for (index, name) in named.iter().enumerate() {
        let Some(name) = name.as_str().filter(|name| !name.contains("{{")) else {
            continue;
        };
        if !names.contains(&name) {
            let help = match names {
                [] => "write `[graders.NAME]` with `plugin = \"FILE.wasm\"`".to_owned(),
                names => check::suggest(name, names),
            };
            let message = format!("there is no grader `{name}`");
            refusals.push((Some(index), message, Some(help)));
        } else if !seen.insert(name) {
            let message = format!("the grader `{name}` is named twice");
            refusals.push((Some(index), message, None));
        }
    }
    if expect.get("error").is_some_and(|error| !error.is_null()) {
        let message = "graders judge an output, and `error` expects that there is none";
        refusals.push((None, message.to_owned(), None));
    }
    refusals
}

/// Reports what of a grader's own templates will never have a value.
pub(super) fn check_templates(
    table: &Map<String, Value>,
    at: &At<'_>,
    findings: &mut Vec<FormError>,
) {
    if let Some(input) = table.get("input") {
        check_input(input, &at.key("input"), findings);
    }
}

fn check_input(value: &Value, at: &At<'_>, findings: &mut Vec<FormError>) {
    match value {
        Value::String(text) => {
            let Ok(template) = Template::parse(text) else {
                return;
            };
            for root in ["test", "provider"] {
                if let Some(keys) = template.keys_of(root).find(|keys| !keys.is_empty()) {
                    let path = keys.join(".");
                    let message = format!("there is no `{root}.{path}`");
                    let mut finding = at.finding(Part::Value, message, "this template");
                    finding.help = Some(match root {
                        "test" => "`test` is the test's id".to_owned(),
                        _ => "`provider` is the provider's name".to_owned(),
                    });
                    findings.push(finding);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                check_input(item, &at.index(index), findings);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                check_input(value, &at.key(key), findings);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{TemplateValue, everything};
    use crate::scenario::keys::GRADER_ROOTS;

    fn render(template: &Value, output: &Value) -> Value {
        let shape = TemplateValue::parse(template).unwrap();
        let other = json!({ "tokens": 3 });
        let value = |name: &str| if name == "output" { output } else { &other };
        let roots: Vec<_> = GRADER_ROOTS
            .iter()
            .map(|name| (*name, value(name)))
            .collect();
        shape.render(&roots).unwrap()
    }

    #[test]
    fn an_output_is_put_in_as_it_is_whatever_it_looks_like() {
        let hostile = json!("{{reference}} {{secret.KEY}} \"}, \u{1b}[2J");
        assert_eq!(render(&everything(), &hostile)["output"], hostile);
        let within = render(&json!("<{{output}}>"), &hostile);
        assert_eq!(
            within,
            json!("<{{reference}} {{secret.KEY}} \"}, \u{1b}[2J>")
        );
        let table = json!({ "{{reference}}": ["{{reference}}"] });
        assert_eq!(render(&json!({ "a": "{{output}}" }), &table)["a"], table);
        assert_eq!(
            render(
                &json!("{{metrics.tokens}} of {{output}}"),
                &json!([1, null])
            ),
            json!("3 of [1,null]")
        );
    }
}
