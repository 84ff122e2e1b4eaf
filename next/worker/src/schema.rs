//! [`Schema`]: a JSON Schema that is ready to check values, in bounded time and memory whatever is in either.
//!
//! Plugins write the schemas of their configurations and inputs, and guests the outputs that are checked. A schema of a few
//! lines can take exponential time, and a validator that keeps every mistake can take any memory. The validator has no
//! bounds of its own, so every part of a schema gets a format whose function counts, and which unwinds when there is too
//! much. Nothing is fetched, and patterns match in linear time.

use std::{
    cell::Cell,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr,
};

use boon::{
    CompileError, Compiler, Draft, Format, SchemaIndex, Schemas, UrlLoader, ValidationError,
};
use regex::RegexBuilder;
use runner_sandbox::cut;
use serde_json::{Value, json};

/// Where the schema is, for references within it.
const PLACE: &str = "http://runner.invalid/schema";
/// Where the schema is of all values that are not valid: for that one the validator keeps no places and stops early.
const OPPOSITE: &str = "http://runner.invalid/opposite";
/// The format that counts.
const STEP: &str = "runner:step";
/// Steps in which a value is found to be valid or not. Of a part that does not hold the validator keeps up to 1 KiB.
const MAX_STEPS: usize = 80_000;
/// Steps in which the places are found where a value is not valid.
const MAX_EXPLAINED: usize = 20_000;
/// Items that count as a step beside their own: of an item of a wrong type less is kept.
const ITEMS: usize = 6;
/// Bytes of stack that a check may take; the threads of tests have 2 MiB.
const MAX_STACK: usize = 1 << 20;
/// Parts of one schema; to compile it takes time by the square of them.
const MAX_PARTS: usize = 10_000;
/// Bytes that the patterns of one schema may have when they are compiled.
const MAX_PATTERNS: usize = 32 << 20;
/// How many of the places where a value is not valid are named, and how many bytes there are of each reason.
const MAX_NAMED: usize = 5;
const MAX_REASON: usize = 500;

/// A schema that was compiled.
pub struct Schema {
    /// As it was written.
    pub value: Value,
    schemas: Schemas,
    index: SchemaIndex,
    opposite: SchemaIndex,
}

/// Refuses everything that a schema wants to have fetched.
struct Nothing;

/// What is unwound with when a check takes too much.
struct TooMuch;

thread_local! {
    /// How many steps the check of this thread has left, and the address that its stack must not reach.
    static LEFT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    ///
    /// Why it is none, as the rest of a sentence that begins with it.
    pub fn new(value: Value) -> Result<Self, String> {
        let invalid = |error: CompileError| {
            let reason = match &error {
                CompileError::ValidationError { src, .. } => reasons(src),
                // A pattern that is too large when it is compiled.
                CompileError::Bug(reason) => reason.to_string(),
                error => format!("{error:#}"),
            };
            let reason = cut(MAX_REASON, reason);
            format!("is not a valid JSON Schema: {reason}")
        };
        let mut parts = Parts {
            // Later drafts take formats for annotations.
            asserts_formats: value["$schema"]
                .as_str()
                .and_then(Draft::from_url)
                .is_some_and(|draft| draft < Draft::V2019_09),
            parts: MAX_PARTS,
            patterns: MAX_PATTERNS,
        };
        let mut counted = value.clone();
        parts.count(&mut counted)?;
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nothing));
        compiler.enable_format_assertions();
        compiler.register_format(Format { name: STEP, func: step });
        let mut schemas = Schemas::new();
        let mut compile = |place: &str, schema| {
            compiler.add_resource(place, schema).map_err(invalid)?;
            compiler.compile(place, &mut schemas).map_err(invalid)
        };
        let index = compile(PLACE, counted)?;
        let opposite = compile(OPPOSITE, json!({"not": {"$ref": PLACE}}))?;
        Ok(Self { value, schemas, index, opposite })
    }

    /// Says where a value is not valid, and why; none if it is valid.
    pub fn mismatch(&self, value: &Value) -> Option<String> {
        let is_valid = || self.schemas.validate(value, self.opposite).is_err();
        match within(MAX_STEPS, is_valid) {
            Some(true) => return None,
            Some(false) => {}
            None => return Some("it takes too much to find out whether it is valid".into()),
        }
        let explain = || {
            let error = self.schemas.validate(value, self.index).err()?;
            Some(reasons(&error))
        };
        let unknown = || "it is not valid, and too large to look for where".to_owned();
        Some(within(MAX_EXPLAINED, explain).flatten().unwrap_or_else(unknown))
    }
}

/// The reasons that have no further ones.
fn reasons(error: &ValidationError<'_, '_>) -> String {
    let mut reasons = Vec::new();
    collect(error, &mut reasons);
    reasons.join("; ")
}

/// Collects the reasons that have no further ones.
fn collect(error: &ValidationError<'_, '_>, reasons: &mut Vec<String>) {
    for cause in &error.causes {
        collect(cause, reasons);
    }
    if error.causes.is_empty() && reasons.len() < MAX_NAMED {
        let reason = match error.instance_location.to_string() {
            place if place.is_empty() => error.kind.to_string(),
            place => format!("at `{place}`: {}", error.kind),
        };
        reasons.push(cut(MAX_REASON, reason));
    }
}

/// Lets a check take so many steps; none if it takes more.
fn within<T>(steps: usize, check: impl FnOnce() -> T) -> Option<T> {
    let here = 0_u8;
    LEFT.set((steps, ptr::from_ref(&here).addr().saturating_sub(MAX_STACK)));
    match catch_unwind(AssertUnwindSafe(check)) {
        Ok(checked) => Some(checked),
        Err(payload) if payload.is::<TooMuch>() => None,
        Err(payload) => resume_unwind(payload),
    }
}

/// Is called for each value and each part of a schema that it is checked against, but for parts that a type or a constant
/// decides.
fn step(value: &Value) -> Result<(), Box<dyn Error>> {
    let here = 0_u8;
    let (left, end) = LEFT.get();
    // Items are not all looked at one by one: those of a wrong type are not, and those that must be unique.
    let cost = 1 + match value {
        Value::Array(items) => items.len() / ITEMS,
        Value::Object(entries) => entries.len() / ITEMS,
        Value::String(text) => text.len() / 1024,
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    };
    if cost > left || ptr::from_ref(&here).addr() < end {
        resume_unwind(Box::new(TooMuch));
    }
    LEFT.set((left - cost, end));
    Ok(())
}

/// What is found in the parts of a schema.
struct Parts {
    asserts_formats: bool,
    /// Those that are left of [`MAX_PARTS`].
    parts: usize,
    /// Bytes that are left of [`MAX_PATTERNS`].
    patterns: usize,
}

impl Parts {
    /// Puts the format that counts into every part. What may be a part is taken for one, since anything can be referred to.
    fn count(&mut self, schema: &mut Value) -> Result<(), String> {
        let entries = match schema {
            Value::Object(entries) => entries,
            Value::Array(items) => return items.iter_mut().try_for_each(|item| self.count(item)),
            _ => return Ok(()),
        };
        self.parts = self.parts.checked_sub(1).ok_or("has too many parts")?;
        for (key, value) in &mut *entries {
            match (key.as_str(), value) {
                ("const" | "enum", value) if has_reference(value) => {
                    return Err("has a reference inside of a constant".into());
                }
                ("const" | "enum", _) => {}
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas" | "dependencies",
                    Value::Object(named),
                ) => {
                    for (name, part) in named {
                        if key == "patternProperties" {
                            self.pattern(name)?;
                        }
                        if part.is_string() {
                            return Err(format!("has a text in its `{key}`"));
                        }
                        self.count(part)?;
                    }
                }
                ("pattern", Value::String(pattern)) => self.pattern(pattern)?,
                (_, value) => self.count(value)?,
            }
        }
        let format = entries.insert("format".into(), STEP.into());
        if let Some(format) = format.filter(|_| self.asserts_formats)
            && let Value::Array(all) = entries.entry("allOf").or_insert_with(|| json!([]))
        {
            all.push(json!({"format": format}));
        }
        Ok(())
    }

    /// Counts how large a pattern is about.
    fn pattern(&mut self, pattern: &str) -> Result<(), String> {
        let fits = |size: &usize| RegexBuilder::new(pattern).size_limit(*size).build().is_ok();
        let size = [16 << 10, 256 << 10, 4 << 20].into_iter().find(fits);
        // More than this is refused for one pattern.
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

impl UrlLoader for Nothing {
    fn load(&self, url: &str) -> Result<Value, Box<dyn Error>> {
        Err(format!("`{url}` is not in the schema, and nothing is fetched").into())
    }
}

#[cfg(test)]
#[path = "tests/schema.rs"]
mod tests;
