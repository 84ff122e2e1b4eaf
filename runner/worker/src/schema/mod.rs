//! [`Schema`]: a compiled JSON Schema that checks values in bounded time and memory.
//!
//! Plugins provide the schemas of configurations and inputs, and guests the checked outputs, so both can be hostile. A
//! schema of a few lines can take exponential time, and a validator that collects all errors can fill the memory. `boon`
//! has no bounds. So each subschema gets a `format` whose function counts steps and unwinds when there are too many.
//! References are never fetched, and patterns match in linear time.

#[cfg(any(test, fuzzing))]
#[path = "../tests/fuzzing.rs"]
pub(crate) mod fuzzing;
mod numbers;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::{error::Error, fmt, ptr, sync::Arc};

use boon::{
    CompileError, Compiler, Draft, ErrorKind, Format, InstanceToken, SchemaIndex, Schemas, Type,
    UrlLoader, ValidationError,
};
use regex::RegexBuilder;
use runner_model::prepare::{PathStep, RefusedPart};
use runner_sandbox::cut;
use serde_json::{Map, Value, json};

use numbers::{NumberRule, with_integers};

macro_rules! number_formats {
    ($($index:literal)*) => {
        [$(Format { name: concat!("runner:number-", $index), func: check_number::<$index> }),*]
    };
}

/// Address of the schema, for references within it.
const ADDRESS: &str = "http://runner.invalid/schema";
/// Address of `{"not": schema}`. For a negated schema `boon` collects no errors and stops at the first.
const NEGATED: &str = "http://runner.invalid/negated";
/// The `format` that counts steps.
const STEP: &str = "runner:step";
/// The `format` of each [`NumberRule`] of a schema. `boon` calls functions without data, so each has its index.
const NUMBERS: [Format; 16] = number_formats!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
/// Steps to decide whether a value is valid. `boon` keeps up to 1 KiB for each failed subschema.
const MAX_STEPS: usize = 80_000;
/// Steps to find the places where a value is invalid.
const MAX_EXPLAIN_STEPS: usize = 20_000;
/// Items of an array, or entries of an object, that count as one more step. An item of a wrong type causes no call of
/// [`step`], but costs less memory than a failed subschema.
const ITEMS: usize = 6;
/// Bytes of stack for a check. Threads of tests have 2 MiB.
const MAX_STACK: usize = 1 << 20;
/// Subschemas of one schema. The time to compile them is quadratic.
const MAX_PARTS: usize = 10_000;
/// Bytes of all compiled patterns of one schema.
const MAX_PATTERNS: usize = 32 << 20;
/// Invalid places in a message.
const MAX_NAMED: usize = 5;
/// Bytes of each reason in a message.
const MAX_REASON: usize = 500;
/// Bytes of a key in a [`RefusedPart`].
const MAX_KEY: usize = 200;
/// Known keys in a [`RefusedPart`].
const MAX_KNOWN: usize = 100;

pub struct Schema {
    /// The source.
    pub value: Value,
    schemas: Schemas,
    index: SchemaIndex,
    negated: SchemaIndex,
    numbers: Arc<[NumberRule]>,
}

/// Where and why a value is invalid.
pub struct Refusal {
    pub reasons: String,
    /// The part that one of the reasons is about: an unknown key, else the innermost.
    pub part: RefusedPart,
    /// Whether the part is the whole value, an unknown key, or a table without a key.
    pub is_of_keys: bool,
}

impl Refusal {
    /// Creates the refusal of a whole value.
    pub fn new(reasons: String) -> Self {
        Self { reasons, part: RefusedPart::default(), is_of_keys: true }
    }
}

/// A part of a path in JSON, such as `.b` and `[0]` of `$.a.b[0]`.
#[derive(Clone, Copy)]
pub(crate) enum PathPart<'a> {
    Key(&'a str),
    Item(usize),
}

impl fmt::Display for PathPart<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(index) => write!(formatter, "[{index}]"),
            Self::Key(key)
                if !key.is_empty()
                    && key.chars().all(|character| {
                        character.is_alphanumeric() || "_-".contains(character)
                    }) =>
            {
                write!(formatter, ".{key}")
            }
            Self::Key(key) => write!(formatter, "[{}]", Value::from(*key)),
        }
    }
}

/// A loader of references that refuses all.
struct NoLoader;

/// The payload of the unwinding that ends a check with too many steps.
struct TooManySteps;

thread_local! {
    /// Steps left of this thread's check, and the address that its stack must not reach.
    static LEFT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// The rules of the schema that this thread checks.
    static RULES: RefCell<Arc<[NumberRule]>> = RefCell::default();
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// Reason why it is invalid. Completes a sentence that starts with "the schema".
    pub fn new(value: Value) -> Result<Self, String> {
        let mut parts = Parts {
            // Since 2019-09, `format` is only an annotation.
            asserts_formats: value["$schema"]
                .as_str()
                .and_then(Draft::from_url)
                .is_some_and(|draft| draft < Draft::V2019_09),
            parts: MAX_PARTS,
            patterns: MAX_PATTERNS,
            numbers: Vec::new(),
        };
        let mut counted = value.clone();
        with_integers(&mut counted);
        parts.insert_steps(&mut counted)?;
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(NoLoader));
        compiler.enable_format_assertions();
        compiler.register_format(Format { name: STEP, func: step });
        NUMBERS.into_iter().for_each(|format| compiler.register_format(format));
        let mut schemas = Schemas::new();
        let mut compile = |address: &str, schema| {
            compiler.add_resource(address, schema).map_err(|error| invalid(&error))?;
            compiler.compile(address, &mut schemas).map_err(|error| invalid(&error))
        };
        let index = compile(ADDRESS, counted)?;
        let negated = compile(NEGATED, json!({"not": {"$ref": ADDRESS}}))?;
        Ok(Self { value, schemas, index, negated, numbers: parts.numbers.into() })
    }

    /// Describes where and why a value is invalid. `None` if it is valid.
    pub fn mismatch(&self, value: Value) -> Option<String> {
        Some(self.refusal(value)?.reasons)
    }

    /// Returns where and why a value is invalid. `None` if it is valid.
    pub fn refusal(&self, mut value: Value) -> Option<Refusal> {
        with_integers(&mut value);
        RULES.set(Arc::clone(&self.numbers));
        match with_steps(MAX_STEPS, || self.schemas.validate(&value, self.negated).is_err()) {
            Some(true) => return None,
            Some(false) => {}
            None => {
                let reason = "checking it against the schema takes too many steps";
                return Some(Refusal::new(reason.to_owned()));
            }
        }
        let explained = with_steps(MAX_EXPLAIN_STEPS, || {
            let error = self.schemas.validate(&value, self.index).err()?;
            Some(refusal(&error, &self.value))
        });
        let too_large = "it is not valid, but too large to find out where";
        Some(explained.flatten().unwrap_or_else(|| Refusal::new(too_large.to_owned())))
    }
}

/// Formats the innermost causes of an error. `schema` has the known keys of tables.
fn refusal(error: &ValidationError<'_, '_>, schema: &Value) -> Refusal {
    let mut found = Vec::new();
    collect_reasons(error, schema, &mut found);
    let reasons: Vec<_> = found.iter().map(|refusal| refusal.reasons.as_str()).collect();
    let reasons = reasons.join("; ");
    let of_parts = found
        .into_iter()
        .max_by_key(|Refusal { part, .. }| (!part.known.is_empty(), part.path.len()));
    match of_parts {
        Some(refusal) => Refusal { reasons, ..refusal },
        None => Refusal::new(reasons),
    }
}

fn collect_reasons(error: &ValidationError<'_, '_>, schema: &Value, found: &mut Vec<Refusal>) {
    let missing = any_key(error);
    let causes = error.causes.iter().filter(|_| missing.is_none());
    causes.for_each(|cause| collect_reasons(cause, schema, found));
    if (missing.is_some() || error.causes.is_empty()) && found.len() < MAX_NAMED {
        let mut part = RefusedPart::default();
        part.path.extend(error.instance_location.tokens.iter().map(|token| match token {
            InstanceToken::Prop(key) => PathStep::Key(cut(MAX_KEY, key)),
            InstanceToken::Item(index) => PathStep::Item(*index),
        }));
        let reason = match &error.kind {
            ErrorKind::Format { want, err, .. } if want.starts_with("runner:") => err.to_string(),
            ErrorKind::Type { got, want } => {
                let want: Vec<_> = want.iter().map(noun).collect();
                format!("value must be {}, not {}", want.join(" or "), noun(*got))
            }
            _ if let Some(names) = &missing => keys("missing one of the", names),
            ErrorKind::Required { want } => keys("missing", want),
            ErrorKind::AdditionalProperties { got } => {
                let table = error.schema_url.split_once('#').map_or("", |(_, table)| table);
                let table = schema.pointer(table).unwrap_or(schema);
                let known = table["properties"].as_object().into_iter().flat_map(Map::keys);
                part.path.extend(got.first().map(|key| PathStep::Key(cut(MAX_KEY, key))));
                part.known = known.clone().take(MAX_KNOWN).map(|key| cut(MAX_KEY, key)).collect();
                match known.map(|key| format!("`{key}`")).collect::<Vec<_>>().as_slice() {
                    [] => keys("unknown", got),
                    known => {
                        format!("{} (choose from: {})", keys("unknown", got), known.join(", "))
                    }
                }
            }
            // The pattern of `base_url` in bundled plugins: the regular expression alone would not help users.
            ErrorKind::Pattern { got, want } if *want == "^https?://" => {
                format!("value must be a URL: write `http://{got}` or `https://{got}`")
            }
            kind => kind.to_string(),
        };
        let steps = error.instance_location.tokens.iter().map(|token| match token {
            InstanceToken::Prop(key) => PathPart::Key(key).to_string(),
            InstanceToken::Item(index) => PathPart::Item(*index).to_string(),
        });
        let reason = match (steps.collect::<String>(), reason.strip_prefix("value ")) {
            (path, None) if path.is_empty() => reason,
            (path, Some(reason)) if path.is_empty() => format!("the value {reason}"),
            (path, Some(reason)) => format!("`${path}` {reason}"),
            (path, None) => format!("at ${path}: {reason}"),
        };
        let is_missing = missing.is_some() || matches!(error.kind, ErrorKind::Required { .. });
        let is_of_keys = is_missing || part.path.is_empty() || !part.known.is_empty();
        found.push(Refusal { reasons: cut(MAX_REASON, reason), part, is_of_keys });
    }
}

/// Returns the keys of an error of alternatives that each need one key.
fn any_key<'e>(error: &'e ValidationError<'_, '_>) -> Option<Vec<&'e str>> {
    let name = |cause: &'e ValidationError<'_, '_>| match &cause.kind {
        ErrorKind::Required { want } if let [name] = want.as_slice() => Some(*name),
        _ => None,
    };
    if !matches!(error.kind, ErrorKind::AnyOf) {
        return None;
    }
    error.causes.iter().map(name).collect()
}

/// Returns `missing key `a`` or `missing keys `a`, `b``.
fn keys<K: AsRef<str>>(adjective: &str, names: &[K]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    let noun = if names.len() == 1 { "key" } else { "keys" };
    format!("{adjective} {noun} {}", quoted.join(", "))
}

fn noun(kind: Type) -> &'static str {
    match kind {
        Type::Null => "null",
        Type::Boolean => "a boolean",
        Type::Number => "a number",
        Type::Integer => "an integer",
        Type::String => "a string",
        Type::Array => "an array",
        Type::Object => "an object",
    }
}

/// Runs a check that may take `steps` steps. `None` if it needs more.
fn with_steps<T>(steps: usize, check: impl FnOnce() -> T) -> Option<T> {
    let here = 0_u8;
    LEFT.set((steps, ptr::from_ref(&here).addr().saturating_sub(MAX_STACK)));
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(checked) => Some(checked),
        Err(payload) if payload.is::<TooManySteps>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// Counts a step. `boon` calls it for each pair of a value and a subschema, unless a type or constant decides before.
fn step(value: &Value) -> Result<(), Box<dyn Error>> {
    let here = 0_u8;
    let (left, end) = LEFT.get();
    // `boon` does not call this for items of a wrong type, or while it compares items that must be unique.
    let cost = 1 + match value {
        Value::Array(items) => items.len() / ITEMS,
        Value::Object(entries) => entries.len() / ITEMS,
        Value::String(text) => text.len() / 1024,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    if cost > left || ptr::from_ref(&here).addr() < end {
        resume_unwind(Box::new(TooManySteps));
    }
    LEFT.set((left - cost, end));
    Ok(())
}

/// Counts a step, and checks a number by a rule of the schema.
fn check_number<const INDEX: usize>(value: &Value) -> Result<(), Box<dyn Error>> {
    step(value)?;
    let Value::Number(number) = value else { return Ok(()) };
    RULES.with_borrow(|rules| Ok(rules.get(INDEX).map_or(Ok(()), |rule| rule.check(number))?))
}

/// A walk through the parts of a schema.
struct Parts {
    /// Whether the schema's draft checks formats.
    asserts_formats: bool,
    /// Parts left of [`MAX_PARTS`].
    parts: usize,
    /// Bytes left of [`MAX_PATTERNS`].
    patterns: usize,
    /// The different rules so far.
    numbers: Vec<NumberRule>,
}

impl Parts {
    /// Inserts [`STEP`] into each object that may be a subschema. A reference can make one of any object.
    fn insert_steps(&mut self, schema: &mut Value) -> Result<(), String> {
        let entries = match schema {
            Value::Object(entries) => entries,
            Value::Array(items) => {
                return items.iter_mut().try_for_each(|item| self.insert_steps(item));
            }
            _ => return Ok(()),
        };
        self.parts = self.parts.checked_sub(1).ok_or("has too many parts")?;
        for (key, value) in &mut *entries {
            match (key.as_str(), value) {
                ("const" | "enum", value) if has_reference(value) => {
                    return Err("has a reference inside a constant".into());
                }
                ("const" | "enum", _) => {}
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas" | "dependencies",
                    Value::Object(named),
                ) => {
                    for (name, part) in named {
                        if key == "patternProperties" {
                            self.add_pattern(name)?;
                        }
                        if part.is_string() {
                            return Err(format!("has a text in its `{key}`"));
                        }
                        self.insert_steps(part)?;
                    }
                }
                ("pattern", Value::String(pattern)) => self.add_pattern(pattern)?,
                (_, value) => self.insert_steps(value)?,
            }
        }
        let mut formats = Vec::new();
        for rule in NumberRule::take(entries) {
            formats.push(json!({"format": self.add_number(rule)?}));
        }
        let format = entries.insert("format".into(), STEP.into());
        formats.extend(
            format.filter(|_| self.asserts_formats).map(|format| json!({"format": format})),
        );
        if !formats.is_empty()
            && let Value::Array(all) = entries.entry("allOf").or_insert_with(|| json!([]))
        {
            all.extend(formats);
        }
        Ok(())
    }

    /// Returns the `format` of a rule.
    fn add_number(&mut self, rule: NumberRule) -> Result<&'static str, String> {
        let known = self.numbers.iter().position(|known| *known == rule);
        let index = known.unwrap_or(self.numbers.len());
        let format = NUMBERS.get(index).ok_or_else(|| {
            format!("has more than {} different `multipleOf` and large bounds", NUMBERS.len())
        })?;
        if known.is_none() {
            self.numbers.push(rule);
        }
        Ok(format.name)
    }

    /// Subtracts the approximate compiled size of a pattern.
    fn add_pattern(&mut self, pattern: &str) -> Result<(), String> {
        let mut sizes = [16 << 10, 256 << 10, 4 << 20].into_iter();
        let size = sizes.find(|size| RegexBuilder::new(pattern).size_limit(*size).build().is_ok());
        // The default limit of `regex`, with which `boon` refuses a pattern.
        let left = self.patterns.checked_sub(size.unwrap_or(10 << 20));
        self.patterns = left.ok_or("has patterns that are too large")?;
        Ok(())
    }
}

fn has_reference(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_reference),
        Value::Object(entries) => {
            entries.iter().any(|(key, value)| key.starts_with('$') || has_reference(value))
        }
        _ => false,
    }
}

impl UrlLoader for NoLoader {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("`{url}` is not in the schema, and nothing is fetched").into())
    }
}

#[cfg(test)]
#[path = "../tests/schema.rs"]
mod tests;

fn invalid(error: &CompileError) -> String {
    let reason = match error {
        CompileError::ValidationError { src, .. } => refusal(src, &Value::Null).reasons,
        // `boon` reports a pattern that is too large or has an unknown property as a bug.
        CompileError::Bug(reason) => reason.to_string(),
        error => format!("{error:#}"),
    };
    format!("is not a valid JSON Schema: {}", cut(MAX_REASON, reason))
}
