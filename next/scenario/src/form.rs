//! [`Form`]: what a value must be. One description reads values, names itself in messages, and makes the schema.

use std::collections::BTreeMap;

use runner_model::{
    ProviderName,
    template::{Template, TemplateValue},
};
use serde_json::{Value, json};

use crate::{
    reading::{At, Part, Reading, Roots, kind_label},
    table::{KeyTable, Table},
};

/// What a value must be.
pub(crate) trait Form {
    /// What it is read as.
    type Out;
    /// Reads a value. What is wrong with it is noted in `reading`, and then there is mostly no output.
    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Self::Out>;
    /// Its JSON Schema.
    fn schema(&self) -> Value;
    /// Its name in the tables of the documentation.
    fn name(&self) -> String;
    /// The keys of the tables in it.
    fn keys(&self) -> Option<KeyTable> {
        None
    }
    /// Whether null is a value of its own; otherwise it is an absent one.
    fn takes_null(&self) -> bool {
        false
    }
}

/// Reads a value by its form, unless it is a template where templates may be.
pub(crate) fn read<F: Form>(
    form: &F,
    at: &At<'_>,
    value: &Value,
    reading: &mut Reading,
) -> Option<F::Out> {
    match (reading.templates, value) {
        (Some(roots), Value::String(text)) if text.contains("{{") => {
            reading.template(at, text, roots);
            None
        }
        _ => form.read(at, value, reading),
    }
}

fn refuse_kind(at: &At<'_>, value: &Value, expected: &str, reading: &mut Reading) {
    let message = format!("{} must be {expected}", at.subject());
    reading.refuse(at, message, kind_label(value));
}

/// Any value.
pub(crate) struct Any;

impl Form for Any {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Value> {
        if reading.templates.is_some() {
            each_inside(at, value, &mut |at, value| {
                read(self, at, value, reading);
            });
        }
        Some(value.clone())
    }

    fn schema(&self) -> Value {
        json!({})
    }

    fn name(&self) -> String {
        "any".to_owned()
    }

    fn takes_null(&self) -> bool {
        true
    }
}

fn each_inside(at: &At<'_>, value: &Value, visit: &mut dyn FnMut(&At<'_>, &Value)) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(&at.index(index), item);
            }
        }
        Value::Object(map) => {
            for (key, value) in map {
                visit(&at.key(key), value);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// A table of any values.
pub(crate) struct AnyTable;

impl Form for AnyTable {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Value> {
        if !value.is_object() {
            refuse_kind(at, value, "a table", reading);
            return None;
        }
        Some(value.clone())
    }

    fn schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn name(&self) -> String {
        "table".to_owned()
    }
}

/// An array of values of one form, of which bad ones are left out.
pub(crate) struct List<F> {
    form: F,
    may_be_empty: bool,
}

impl<F> List<F> {
    pub(crate) const fn of(form: F) -> Self {
        Self {
            form,
            may_be_empty: true,
        }
    }

    pub(crate) const fn some(form: F) -> Self {
        Self {
            form,
            may_be_empty: false,
        }
    }
}

impl<F: Form> Form for List<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Self::Out> {
        let Value::Array(items) = value else {
            refuse_kind(at, value, "an array", reading);
            return None;
        };
        if items.is_empty() && !self.may_be_empty {
            reading.refuse(at, format!("{} cannot be empty", at.subject()), "here");
        }
        let items = items.iter().enumerate();
        Some(
            items
                .filter_map(|(index, item)| read(&self.form, &at.index(index), item, reading))
                .collect(),
        )
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": "array", "items": self.form.schema()});
        if !self.may_be_empty {
            schema["minItems"] = json!(1);
        }
        schema
    }

    fn name(&self) -> String {
        format!("array of {}s", self.form.name())
    }

    fn keys(&self) -> Option<KeyTable> {
        self.form.keys()
    }
}

/// A text, or an array of any values.
pub(crate) struct TextOrList;

impl Form for TextOrList {
    type Out = Vec<Value>;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Vec<Value>> {
        match value {
            Value::String(_) => Some(vec![value.clone()]),
            Value::Array(_) => List::some(Any).read(at, value, reading),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
                refuse_kind(at, value, "a string or an array", reading);
                None
            }
        }
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "array"], "minItems": 1})
    }

    fn name(&self) -> String {
        "string or array".to_owned()
    }
}

/// Tables by the names of providers.
pub(crate) struct ByName<F>(pub(crate) F);

impl<F: Form> Form for ByName<F> {
    type Out = BTreeMap<ProviderName, F::Out>;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Self::Out> {
        let Value::Object(map) = value else {
            refuse_kind(at, value, "a table", reading);
            return None;
        };
        let mut out = BTreeMap::new();
        for (key, value) in map {
            let at = at.key(key);
            let name = ProviderName::parse(key);
            // Names with brackets are those that a matrix makes.
            let name = match name {
                Ok(name) if !key.contains('[') => Some(name),
                Ok(_) => {
                    refuse_name(
                        &at,
                        key,
                        "brackets stand only in names that a matrix makes",
                        reading,
                    );
                    None
                }
                Err(error) => {
                    refuse_name(&at, key, &error.to_string(), reading);
                    None
                }
            };
            let read = read(&self.0, &at, value, reading);
            if let (Some(name), Some(read)) = (name, read) {
                out.insert(name, read);
            }
        }
        Some(out)
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$"},
            "additionalProperties": self.0.schema(),
        })
    }

    fn name(&self) -> String {
        "table".to_owned()
    }

    fn keys(&self) -> Option<KeyTable> {
        self.0.keys()
    }
}

fn refuse_name(at: &At<'_>, name: &str, reason: &str, reading: &mut Reading) {
    let message = format!("`{name}` is not a valid name here: {reason}");
    reading
        .findings
        .push(at.finding(Part::Key, message, "this name"));
}

/// A table of known keys: its title in the documentation, and the function that reads it.
pub(crate) struct Sub<T>(
    pub(crate) &'static str,
    pub(crate) fn(&mut Table<'_>) -> Option<T>,
);

impl<T> Form for Sub<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<T> {
        let Value::Object(map) = value else {
            refuse_kind(at, value, "a table", reading);
            return None;
        };
        let mut table = Table::reading(self.0, map, at, reading);
        let out = self.1(&mut table);
        table.report_unknown();
        out
    }

    fn schema(&self) -> Value {
        self.describe().schema()
    }

    fn name(&self) -> String {
        "table".to_owned()
    }

    fn keys(&self) -> Option<KeyTable> {
        Some(self.describe())
    }
}

impl<T> Sub<T> {
    /// What keys the table may have.
    pub(crate) fn describe(&self) -> KeyTable {
        let mut keys = KeyTable::new(self.0);
        self.1(&mut Table::describing(&mut keys));
        keys
    }
}

/// A text with templates that begin with one of these.
pub(crate) struct Templated {
    pub(crate) roots: Roots,
    /// Whether it may have a NUL, which neither an argument nor a variable can.
    pub(crate) takes_nul: bool,
}

impl Form for Templated {
    type Out = Template;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<Template> {
        let Value::String(text) = value else {
            refuse_kind(at, value, "a string", reading);
            return None;
        };
        if text.contains('\0') && !self.takes_nul {
            let message = format!("{} cannot have a NUL in it", at.subject());
            reading.refuse(at, message, "this template");
        }
        reading.template(at, text, self.roots)
    }

    fn schema(&self) -> Value {
        json!({"type": "string"})
    }

    fn name(&self) -> String {
        "string".to_owned()
    }
}

/// A value in which every string may be a template; what is no template must be of the form.
pub(crate) struct Templates<F>(pub(crate) F, pub(crate) Roots);

impl<F: Form> Form for Templates<F> {
    type Out = TemplateValue;

    fn read(&self, at: &At<'_>, value: &Value, reading: &mut Reading) -> Option<TemplateValue> {
        reading.templates = Some(self.1);
        read(&self.0, at, value, reading);
        reading.templates = None;
        TemplateValue::parse(value).ok()
    }

    fn schema(&self) -> Value {
        let mut schema = self.0.schema();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for property in properties.values_mut() {
                let description = property["description"].take();
                *property = json!({
                    "anyOf": [property.take(), {"type": "string", "pattern": r"\{\{"}],
                    "description": description,
                });
            }
        }
        schema
    }

    fn name(&self) -> String {
        self.0.name()
    }

    fn keys(&self) -> Option<KeyTable> {
        self.0.keys()
    }

    fn takes_null(&self) -> bool {
        self.0.takes_null()
    }
}
