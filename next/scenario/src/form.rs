//! [`Form`]: what a value must be. One description reads values, names itself in messages, and makes the schema.

use runner_model::{
    Budgets, ProviderName,
    template::{Template, TemplateValue},
};
use serde_json::{Value, json};

use crate::{
    reading::{At, Reading, Roots},
    scalar::Number,
    table::{Keys, Table},
};

/// What a value must be.
pub(crate) trait Form {
    /// What it is read as.
    type Out;
    /// Reads a value, and may take it. What is wrong with it is noted in `reading`, and then there is mostly no output.
    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out>;
    /// Its JSON Schema, from which the tables of the documentation are made, too.
    fn schema(&self) -> Value;
    /// Whether null is a value of its own; otherwise it is an absent one.
    fn takes_null(&self) -> bool {
        false
    }
}

/// Reads a value by its form, unless it is a template where templates may be.
pub(crate) fn read<F: Form>(
    form: &F,
    at: &At<'_>,
    value: &mut Value,
    reading: &mut Reading<'_>,
) -> Option<F::Out> {
    match (reading.templates, &*value) {
        (Some(roots), Value::String(text)) if text.contains("{{") => {
            reading.template(at, text, roots);
            None
        }
        _ => form.read(at, value, reading),
    }
}

/// Any value.
pub(crate) struct Any;

impl Form for Any {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Value> {
        if reading.templates.is_none() {
            return Some(value.take());
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    read(self, &at.index(index), item, reading);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    read(self, &at.key(key), value, reading);
                }
            }
            _ => {}
        }
        None
    }

    fn schema(&self) -> Value {
        json!({})
    }

    fn takes_null(&self) -> bool {
        true
    }
}

/// A table of any values.
pub(crate) struct AnyTable;

impl Form for AnyTable {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Value> {
        if !value.is_object() {
            reading.refuse_kind(at, value, "a table");
            return None;
        }
        Some(value.clone())
    }

    fn schema(&self) -> Value {
        json!({"type": "object"})
    }
}

/// An array of so many values of one form at least. Bad ones are left out.
pub(crate) struct List<F>(pub(crate) usize, pub(crate) F);

impl<F: Form> Form for List<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out> {
        let Value::Array(items) = value else {
            reading.refuse_kind(at, value, "an array");
            return None;
        };
        if items.len() < self.0 {
            reading.refuse(at, format!("{} cannot be empty", at.subject()), "here");
        }
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter_mut().enumerate() {
            out.extend(read(&self.1, &at.index(index), item, reading));
        }
        Some(out)
    }

    fn schema(&self) -> Value {
        json!({"type": "array", "minItems": self.0, "items": self.1.schema()})
    }
}

/// A text, or an array of any values.
pub(crate) struct TextOrList;

impl Form for TextOrList {
    type Out = Vec<Value>;

    fn read(
        &self,
        at: &At<'_>,
        value: &mut Value,
        reading: &mut Reading<'_>,
    ) -> Option<Vec<Value>> {
        match value {
            Value::String(_) => Some(vec![value.clone()]),
            Value::Array(_) => List(1, Any).read(at, value, reading),
            _ => {
                reading.refuse_kind(at, value, "a string or an array");
                None
            }
        }
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "array"], "minItems": 1})
    }
}

/// Tables by the names of providers, ascending. Each finds its name in [`Table::name`].
pub(crate) struct ByName<F>(pub(crate) F);

impl<F: Form> Form for ByName<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out> {
        let Value::Object(map) = value else {
            reading.refuse_kind(at, value, "a table");
            return None;
        };
        let mut out = Vec::with_capacity(map.len());
        for (key, value) in map {
            let at = at.key(key);
            let reason = match ProviderName::parse(key) {
                Ok(_) if key.contains('[') => {
                    Some("only a matrix makes names with brackets".into())
                }
                Ok(_) => None,
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = reason {
                let message = format!("`{key}` is not a valid name here: {reason}");
                reading.refuse_key(&at, message, "this name");
            }
            out.extend(read(&self.0, &at, value, reading));
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
}

/// Numbers above zero by the names of metrics.
pub(crate) struct ByMetric;

const BUDGET_NUMBER: Number = Number(Budgets::LEAST, f64::MAX);

impl Form for ByMetric {
    type Out = Vec<(String, f64)>;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out> {
        let Value::Object(map) = value else {
            reading.refuse_kind(at, value, "a table such as { tokens = 2_000_000 }");
            return None;
        };
        if map.is_empty() {
            reading.refuse(at, format!("{} cannot be empty", at.subject()), "here");
        }
        let read = map.iter_mut().filter_map(|(metric, most)| {
            let most = read(&BUDGET_NUMBER, &at.key(metric), most, reading)?;
            Some((metric.clone(), most))
        });
        Some(read.collect())
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": BUDGET_NUMBER.schema(),
        })
    }
}

/// A table of known keys: its title in the documentation, and the function that reads it.
pub(crate) struct Sub<T>(
    pub(crate) &'static str,
    pub(crate) fn(&mut Table<'_, '_>) -> Option<T>,
);

impl<T> Form for Sub<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<T> {
        let Value::Object(map) = value else {
            reading.refuse_kind(at, value, "a table");
            return None;
        };
        let mut table = Table::Read {
            title: self.0,
            map,
            at,
            reading,
            known: Vec::with_capacity(16),
        };
        let out = self.1(&mut table);
        table.report_unknown();
        out
    }

    fn schema(&self) -> Value {
        let mut keys = Keys::default();
        self.1(&mut Table::Describe(&mut keys));
        keys.schema(self.0)
    }
}

/// A text with templates that begin with one of these.
pub(crate) struct Templated(pub(crate) Roots);

impl Form for Templated {
    type Out = Template;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Template> {
        let Value::String(text) = value else {
            reading.refuse_kind(at, value, "a string");
            return None;
        };
        reading.template(at, text, self.0)
    }

    fn schema(&self) -> Value {
        json!({"type": "string"})
    }
}

/// A value in which every string may be a template; what is no template must be of the form.
pub(crate) struct Templates<F>(pub(crate) F, pub(crate) Roots);

impl<F: Form> Form for Templates<F> {
    type Out = TemplateValue;

    fn read(
        &self,
        at: &At<'_>,
        value: &mut Value,
        reading: &mut Reading<'_>,
    ) -> Option<TemplateValue> {
        reading.templates = Some(self.1);
        read(&self.0, at, value, reading);
        reading.templates = None;
        TemplateValue::parse(value).ok()
    }

    fn schema(&self) -> Value {
        let mut schema = self.0.schema();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for property in properties.into_iter().flat_map(|map| map.values_mut()) {
            let about = property["description"].take();
            let template = json!({"type": "string", "pattern": r"\{\{"});
            *property = json!({"anyOf": [property.take(), template], "description": about});
        }
        schema
    }
}
