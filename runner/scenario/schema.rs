//! The JSON Schema of a scenario, made of the same table that scenarios are checked with.

use serde_json::{Map, Value, json};

use super::{
    form::{Form, Key, Name, Presence},
    keys,
};

/// Makes the JSON Schema of a scenario file.
pub fn json_schema() -> Value {
    titled(
        &keys::SCENARIO,
        "A scenario of `runner`",
        "Which tests run on which providers, and what must come.",
    )
}

/// Makes the JSON Schema of a file.
pub(super) fn titled(form: &Form, title: &str, description: &str) -> Value {
    let mut schema = of(form);
    let root = schema
        .as_object_mut()
        .expect("a table's schema is an object");
    root.insert(
        "$schema".to_owned(),
        json!("http://json-schema.org/draft-07/schema#"),
    );
    root.insert("title".to_owned(), json!(title));
    root.insert("description".to_owned(), json!(description));
    schema
}

fn of(form: &Form) -> Value {
    match form {
        Form::Any | Form::Templates(_) => json!({}),
        Form::AnyTable => json!({"type": "object"}),
        Form::Text | Form::File | Form::Folder | Form::Glob | Form::FileGlob => {
            json!({"type": "string", "minLength": 1})
        }
        Form::Template(_) => json!({"type": "string"}),
        Form::Scalar => json!({"type": ["string", "number", "boolean"], "minLength": 1}),
        Form::Mount => {
            json!({"type": "string", "pattern": "^(/[^/]+)+$", "examples": ["/fixtures"]})
        }
        Form::NetGrant => json!({
            "type": "string",
            "pattern": "^https?://",
            "examples": ["https://api.example.com", "http://127.0.0.1:8080", "https://*.example.com"],
        }),
        Form::Host => json!({
            "type": "string",
            "minLength": 1,
            "examples": ["api.example.com", "http://127.0.0.1:8080"],
        }),
        Form::Header => json!({"type": "string", "minLength": 1, "examples": ["authorization"]}),
        Form::SecretName => json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}),
        Form::TestId => json!({
            "type": "string",
            "maxLength": 200,
            "pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$",
        }),
        Form::Integer { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Form::Number { min, max } => number(*min, *max),
        Form::Duration { .. } => {
            json!({"type": "string", "pattern": "[0-9]", "examples": ["10s", "200ms", "1h30m"]})
        }
        Form::Age => json!({"type": "string", "pattern": "[0-9]", "examples": ["30d", "12h"]}),
        Form::Boolean => json!({"type": "boolean"}),
        Form::Url => json!({
            "type": "string",
            "pattern": "^https?://",
            "examples": ["https://example.com/hook"],
        }),
        Form::Refused(_) => json!({"not": {}}),
        Form::Size => json!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": "^[0-9]",
            "examples": ["64MiB"],
        }),
        Form::Rate => json!({
            "type": "string",
            "pattern": "^[0-9]+ */ *(s|sec|second|m|min|minute|h|hour)$",
            "examples": ["60/min", "5/s"],
        }),
        Form::ReportFile(extension) => json!({
            "type": ["boolean", "string"],
            "pattern": format!(r"^[^./\\][^/\\]*\.{extension}$"),
        }),
        Form::FailFast => json!({"type": ["boolean", "number"], "minimum": 0}),
        Form::Digest => json!({"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}),
        Form::Regex => json!({"type": "string", "format": "regex"}),
        Form::Word(words) => json!({"type": "string", "enum": words}),
        Form::TextOrList => json!({"type": ["string", "array"]}),
        Form::SomeOf(item) => json!({"type": "array", "minItems": 1, "items": of(item)}),
        Form::List(item) => json!({"type": "array", "items": of(item)}),
        Form::Map(value, name) => json!({
            "type": "object",
            "propertyNames": {"pattern": name_pattern(*name)},
            "additionalProperties": of(value),
        }),
        Form::Either(text, table) => json!({"anyOf": [of(text), of(table)]}),
        Form::Table(groups) => table(groups, &of),
        Form::Templated(form, _) => match form {
            Form::Table(groups) => table(groups, &or_template),
            other => or_template(other),
        },
    }
}

fn table(groups: &[&[Key]], of: &dyn Fn(&Form) -> Value) -> Value {
    let keys = || groups.iter().copied().flatten();
    let properties = keys().map(|key| (key.name.to_owned(), property(key, of(&key.form))));
    let required: Vec<_> = keys()
        .filter(|key| key.presence == Presence::Required)
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties.collect::<Map<_, _>>(),
    });
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn property(key: &Key, mut schema: Value) -> Value {
    schema["description"] = json!(key.meaning);
    if let Presence::Default(default) = key.presence {
        schema["default"] = serde_json::from_str(default).expect("the defaults of keys are JSON");
    }
    schema
}

fn or_template(form: &Form) -> Value {
    match form {
        Form::Any => json!({}),
        form => json!({"anyOf": [of(form), {"type": "string", "pattern": r"\{\{"}]}),
    }
}

fn number(min: f64, max: f64) -> Value {
    let mut schema = json!({"type": "number"});
    if min != f64::MIN {
        schema["minimum"] = json!(min);
    }
    if max != f64::MAX {
        schema["maximum"] = json!(max);
    }
    schema
}

fn name_pattern(name: Name) -> &'static str {
    match name {
        Name::Provider => "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$",
        Name::MatrixKey => "^[A-Za-z0-9_-]{1,32}$",
        Name::Meta => "^[^ ]{1,64}$",
        Name::Metric => "^.+$",
        Name::Attachment => r"^[^/\\]{1,128}$",
        Name::Variable => "^[^=\u{0}]+$",
    }
}
