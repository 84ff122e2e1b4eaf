//! [`Form`]: what a value must be. One description reads values, names itself in messages, and makes the schema.

use runner_model::template::{Template, TemplateValue};
use serde_json::{Value, json};

use crate::{
    reading::{At, Reading, Roots},
    table::Table,
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
        // A number that was refused before, or what a wrong matrix would fill.
        (_, Value::Null) if reading.refused_nulls && !form.takes_null() => None,
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
            return reading.refuse_kind(at, value, "a table");
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
            return reading.refuse_kind(at, value, "an array");
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
            _ => reading.refuse_kind(at, value, "a string or an array"),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "array"], "minItems": 1})
    }
}

/// A table of values of one form, by names of one kind. Read ascending by name.
pub(crate) struct Named<F> {
    pub(crate) form: F,
    /// How it is called in "must be …".
    pub(crate) words: &'static str,
    /// Why a text cannot be a name.
    pub(crate) refuse: fn(&str) -> Option<String>,
    /// The names as a regular expression, for the schema.
    pub(crate) pattern: &'static str,
    /// The least and the most entries.
    pub(crate) count: (usize, usize),
}

impl<F: Form> Form for Named<F> {
    type Out = Vec<(String, F::Out)>;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out> {
        let Value::Object(map) = value else {
            return reading.refuse_kind(at, value, self.words);
        };
        let (least, most) = self.count;
        if map.len() < least {
            reading.refuse(at, format!("{} cannot be empty", at.subject()), "here");
        } else if map.len() > most {
            let message =
                format!("{} has {} keys, and {most} is the most", at.subject(), map.len());
            reading.refuse(at, message, "too many");
        }
        let mut out = Vec::with_capacity(map.len());
        for (key, value) in map {
            // In a record it is absent.
            if value.is_null() {
                continue;
            }
            let at = at.key(key);
            if let Some(reason) = (self.refuse)(key) {
                let message = format!("`{key}` is not a valid name here: {reason}");
                reading.refuse_key(&at, message, "this name");
            }
            out.extend(read(&self.form, &at, value, reading).map(|value| (key.clone(), value)));
        }
        Some(out)
    }

    fn schema(&self) -> Value {
        let mut schema = json!({"type": "object", "additionalProperties": self.form.schema()});
        if !self.pattern.is_empty() {
            schema["propertyNames"] = json!({"pattern": self.pattern});
        }
        let (least, most) = self.count;
        if least > 0 {
            schema["minProperties"] = json!(least);
        }
        if most < usize::MAX {
            schema["maxProperties"] = json!(most);
        }
        schema
    }
}

/// A string of one form, or a table of another one.
pub(crate) struct StringOr<S, T> {
    pub(crate) string: S,
    pub(crate) table: T,
    /// As in "must be a string or a table".
    pub(crate) words: &'static str,
}

/// What [`StringOr`] is read as.
pub(crate) enum Either<S, T> {
    String(S),
    Table(T),
}

impl<S: Form, T: Form> Form for StringOr<S, T> {
    type Out = Either<S::Out, T::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Self::Out> {
        match value {
            Value::String(_) => self.string.read(at, value, reading).map(Either::String),
            Value::Object(_) => self.table.read(at, value, reading).map(Either::Table),
            _ => reading.refuse_kind(at, value, self.words),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [self.string.schema(), self.table.schema()]})
    }
}

/// A table of known keys: its title in the documentation, and the function that reads it.
pub(crate) struct Sub<T>(pub(crate) &'static str, pub(crate) fn(&mut Table<'_, '_>) -> Option<T>);

impl<T> Form for Sub<T> {
    type Out = T;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<T> {
        let Value::Object(map) = value else {
            return reading.refuse_kind(at, value, "a table");
        };
        let mut table = Table::new(self.0, map, at, reading);
        let out = self.1(&mut table);
        table.report_unknown();
        out
    }

    fn schema(&self) -> Value {
        Table::describe(self.0, self.1)
    }
}

/// A text with templates that begin with one of these.
pub(crate) struct Templated(pub(crate) Roots);

impl Form for Templated {
    type Out = Template;

    fn read(&self, at: &At<'_>, value: &mut Value, reading: &mut Reading<'_>) -> Option<Template> {
        let Value::String(text) = value else {
            return reading.refuse_kind(at, value, "a string");
        };
        reading.template(at, text, self.0)
    }

    fn schema(&self) -> Value {
        json!({"type": "string"})
    }
}

/// What a string that is a template has, as a regular expression.
pub(crate) const TEMPLATE: &str = r"\{\{";

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
            let about = property.as_object_mut().and_then(|map| map.remove("description"));
            let template = json!({"type": "string", "pattern": TEMPLATE});
            *property = json!({"anyOf": [property.take(), template], "description": about});
        }
        schema
    }
}
