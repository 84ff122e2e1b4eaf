//! [`Form`]: describes a value. The one description reads it, appears in messages, and makes the schema.

use runner_model::template::Template;
use serde_json::{Value, json};

use crate::reading::{At, Reader, reader::Roots, templates::TemplateValue};

/// A description of values.
pub(crate) trait Form {
    type Out;
    /// Reads a value, and may take it. Reports problems to `reader`; most wrong values have no output.
    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out>;
    /// Returns the JSON Schema, which also makes the tables in `docs/`.
    fn schema(&self) -> Value;
    /// Whether `null` is a value. If not, it is a mistake, like any other value of the wrong kind.
    fn takes_null(&self) -> bool {
        false
    }
}

/// Reads a value by its form. Where templates are allowed, only parses them.
pub(crate) fn read<F: Form>(
    form: &F,
    at: &At<'_>,
    value: &mut Value,
    reader: &mut Reader<'_>,
) -> Option<F::Out> {
    match (reader.templates, &*value) {
        // A number that was reported before, or a placeholder of an invalid matrix.
        (_, Value::Null) if reader.refused_nulls && !form.takes_null() => None,
        (Some(roots), Value::String(text)) if text.contains("{{") => {
            reader.template(at, text, roots);
            None
        }
        _ => form.read(at, value, reader),
    }
}

/// Any value.
pub(crate) struct Any;

impl Form for Any {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Value> {
        if reader.templates.is_none() {
            return Some(value.take());
        }
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    read(self, &at.index(index), item, reader);
                }
            }
            Value::Object(map) => {
                for (key, value) in map {
                    read(self, &at.key(key), value, reader);
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

/// Any value but null, which would remove the key without a word.
pub(crate) struct NotNull;

impl Form for NotNull {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Value> {
        if value.is_null() {
            return reader.refuse_kind(at, value, "a value");
        }
        Any.read(at, value, reader)
    }

    fn schema(&self) -> Value {
        Any.schema()
    }
}

/// A table of any values.
pub(crate) struct AnyTable;

impl Form for AnyTable {
    type Out = Value;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Value> {
        if !value.is_object() {
            return reader.refuse_kind(at, value, "a table");
        }
        Some(value.clone())
    }

    fn schema(&self) -> Value {
        json!({"type": "object"})
    }
}

/// An array of values of one form, with its least length. Invalid ones are left out.
pub(crate) struct List<F>(pub(crate) usize, pub(crate) F);

impl<F: Form> Form for List<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let Value::Array(items) = value else {
            return reader.refuse_kind(at, value, "an array");
        };
        if items.len() < self.0 {
            reader.refuse(at, format!("{} must not be empty", at.subject()), "here");
        }
        let mut out = Vec::with_capacity(items.len());
        for (index, item) in items.iter_mut().enumerate() {
            out.extend(read(&self.1, &at.index(index), item, reader));
        }
        Some(out)
    }

    fn schema(&self) -> Value {
        json!({"type": "array", "minItems": self.0, "items": self.1.schema()})
    }
}

/// A string in place of a list with only this string.
pub(crate) struct OneOrList<F>(pub(crate) List<F>);

impl<F: Form> Form for OneOrList<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        match value {
            Value::String(_) => Some(vec![self.0.1.read(at, value, reader)?]),
            Value::Array(_) => self.0.read(at, value, reader),
            _ => reader.refuse_kind(at, value, "a string or an array"),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [self.0.1.schema(), self.0.schema()]})
    }
}

/// A list of at most [`MAX_GLOBS`] globs.
pub(crate) struct Globs<F>(pub(crate) List<F>);

/// Globs of one key. Each is compiled alone, too, and compared with all providers.
pub(crate) const MAX_GLOBS: usize = 10_000;

impl<F: Form> Form for Globs<F> {
    type Out = Vec<F::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let count = value.as_array().map_or(0, Vec::len);
        if count > MAX_GLOBS {
            let message =
                format!("{} has {count} globs; at most {MAX_GLOBS} are allowed", at.subject());
            reader.refuse(at, message, "too many");
            return None;
        }
        self.0.read(at, value, reader)
    }

    fn schema(&self) -> Value {
        let mut schema = self.0.schema();
        schema["maxItems"] = json!(MAX_GLOBS);
        schema
    }
}

/// A text, or an array of any values.
pub(crate) struct TextOrList;

impl Form for TextOrList {
    type Out = Vec<Value>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Vec<Value>> {
        let texts = match value {
            Value::String(_) => Some(vec![value.clone()]),
            Value::Array(_) => List(1, Any).read(at, value, reader),
            _ => reader.refuse_kind(at, value, "a string or an array"),
        };
        let mut texts_alone = texts.iter().flatten().filter_map(Value::as_str);
        if texts_alone.clone().any(str::is_empty) {
            reader.refuse(at, "every text contains the empty text".to_owned(), "an empty text");
        } else if reader.is_of_record && texts_alone.any(|text| text.trim().is_empty()) {
            reader.refuse(at, "most texts contain this blank text".to_owned(), "a blank text");
        }
        texts
    }

    fn schema(&self) -> Value {
        json!({"type": ["string", "array"], "minItems": 1})
    }
}

/// A table of values of one form by name, read ascending by name.
pub(crate) struct Named<F> {
    pub(crate) form: F,
    /// Ends a message with "must be …".
    pub(crate) words: &'static str,
    /// Returns the reason if a text is not a valid name.
    pub(crate) refuse: fn(&str) -> Option<String>,
    /// A regular expression for the schema, or empty.
    pub(crate) pattern: &'static str,
    /// The least and the greatest number of entries.
    pub(crate) count: (usize, usize),
}

impl<F: Form> Form for Named<F> {
    type Out = Vec<(String, F::Out)>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        let Value::Object(map) = value else {
            return reader.refuse_kind(at, value, self.words);
        };
        let (least, most) = self.count;
        if map.len() < least {
            reader.refuse(at, format!("{} must not be empty", at.subject()), "here");
        } else if map.len() > most {
            let message =
                format!("{} has {} keys; at most {most} are allowed", at.subject(), map.len());
            reader.refuse(at, message, "too many");
            return None;
        }
        let mut out = Vec::with_capacity(map.len());
        for (key, value) in map {
            let at = at.key(key);
            if let Some(reason) = (self.refuse)(key) {
                let message = format!("`{key}` is not a valid name here: {reason}");
                reader.refuse_key(&at, message, "this name");
            }
            out.extend(read(&self.form, &at, value, reader).map(|value| (key.clone(), value)));
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

/// A string of one form, or a table of another.
pub(crate) struct StringOr<S, T> {
    pub(crate) string: S,
    pub(crate) table: T,
    /// Ends a message with "must be …".
    pub(crate) words: &'static str,
}

/// The output of [`StringOr`].
pub(crate) enum Either<S, T> {
    String(S),
    Table(T),
}

impl<S: Form, T: Form> Form for StringOr<S, T> {
    type Out = Either<S::Out, T::Out>;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        match value {
            Value::String(_) => self.string.read(at, value, reader).map(Either::String),
            Value::Object(_) => self.table.read(at, value, reader).map(Either::Table),
            _ => reader.refuse_kind(at, value, self.words),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [self.string.schema(), self.table.schema()]})
    }
}

/// A text with templates of these roots.
pub(crate) struct Templated(pub(crate) Roots);

impl Form for Templated {
    type Out = Template;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Template> {
        let Value::String(text) = value else {
            return reader.refuse_kind(at, value, "a string");
        };
        reader.template(at, text, self.0)
    }

    fn schema(&self) -> Value {
        json!({"type": "string"})
    }
}

/// Returns the JSON Schema of a file, in the draft that editors support.
pub(crate) fn file_schema(form: &impl Form, title: &str) -> Value {
    let mut schema = form.schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!(title);
    schema
}

/// A regular expression that matches templates.
const TEMPLATE: &str = r"\{\{";

/// A value of a form in which every string may be a template.
pub(crate) struct Templates<F>(pub(crate) F, pub(crate) Roots);

impl<F: Form> Form for Templates<F> {
    type Out = TemplateValue;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Self::Out> {
        reader.templates = Some(self.1);
        read(&self.0, at, value, reader);
        reader.templates = None;
        TemplateValue::parse(value).ok()
    }

    fn schema(&self) -> Value {
        let mut schema = self.0.schema();
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        for property in properties.into_iter().flat_map(|map| map.values_mut()) {
            let description = property.as_object_mut().and_then(|map| map.remove("description"));
            let template = json!({"type": "string", "pattern": TEMPLATE});
            *property = json!({"anyOf": [property.take(), template], "description": description});
        }
        schema
    }
}
