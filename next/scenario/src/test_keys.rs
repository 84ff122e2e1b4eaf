//! The keys of tests, of test lists, and of what they share with `[defaults]`.

use std::{collections::BTreeMap, fs::Metadata};

use runner_model::{
    Micros, TestId, Text,
    row::is_file_name,
    template::TemplateValue,
    test::{Expect, MetaValue, Retries},
};
use serde_json::Value;

use crate::{
    files::{ListFiles, NamedFile},
    form::{Any, List, Named, Sub, Templated, Templates, TextOrList},
    reading::LIST_ROOTS,
    scalar::{
        DURATION, EXPECTED_ERROR, GLOB, Integer, Number, Pattern, SIZE, Scalar, TEST_ID, TEXT,
        TIMEOUT,
    },
    table::Table,
};

/// The timeout of an attempt that no key sets.
pub(crate) const DEFAULT_TIMEOUT: Micros = Micros(60_000_000);

/// A test as it is written, in a scenario or in a record of a list.
#[derive(Clone, Debug)]
pub(crate) struct WrittenTest {
    pub(crate) id: TestId,
    pub(crate) input: Value,
    /// Globs over providers; none means all.
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) expect: WrittenExpect,
    /// Attachments by name: their paths, relative to the scenario or to the list.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) settings: TestSettings,
}

/// What a test expects, with the path of a schema instead of its digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct WrittenExpect {
    pub(crate) expect: Expect,
    /// Relative to the scenario.
    pub(crate) schema: Option<String>,
}

/// A test list.
#[derive(Debug)]
pub(crate) struct TestList {
    /// What it says of each record's test: the `id`, `input`, `expect` and `meta` that are there.
    pub(crate) given: Vec<(&'static str, TemplateValue)>,
    /// Globs over providers; none means all.
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) settings: TestSettings,
    /// Globs over test ids, one of which must match; none means all.
    pub(crate) select: Option<Vec<String>>,
    pub(crate) exclude: Vec<String>,
    /// The files that its globs match, relative to the scenario. A stored scenario has none.
    pub(crate) files: Vec<String>,
}

/// What may stand in `[defaults]`, on a test list and on a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestSettings {
    pub(crate) timeout: Option<Micros>,
    pub(crate) trial_timeout: Option<Micros>,
    pub(crate) retries: Option<Retries>,
    pub(crate) repeat: Option<u32>,
    pub(crate) tags: Vec<String>,
    /// Of a test list nothing: each of its records has its own.
    pub(crate) meta: Meta,
}

/// What tests say of themselves.
pub(crate) type Meta = BTreeMap<Text<'static>, MetaValue<'static>>;

impl TestSettings {
    /// Puts these in front of `base`: the nearer one wins; tags and keys of `meta` add up.
    pub(crate) fn over(self, base: &Self) -> Self {
        let mut tags = self.tags;
        tags.extend_from_slice(&base.tags);
        tags.sort_unstable();
        tags.dedup();
        let mut meta = self.meta;
        for (key, value) in &base.meta {
            meta.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Self {
            timeout: self.timeout.or(base.timeout),
            trial_timeout: self.trial_timeout.or(base.trial_timeout),
            retries: self.retries.or_else(|| base.retries.clone()),
            repeat: self.repeat.or(base.repeat),
            tags,
            meta,
        }
    }
}

impl TestList {
    /// Tells whether records are data from which templates make tests, and no tests themselves.
    pub(crate) fn has_templates(&self) -> bool {
        let mut given = self.given.iter();
        given.any(|(key, value)| *key == "id" || value.is_template())
    }
}

/// How many keys of `meta` a test has at most.
pub(crate) const MAX_META: usize = 32;
pub(crate) const DEFAULTS: Sub<TestSettings> = Sub("`[defaults]`", |table| {
    let meta = meta(table);
    Some(settings(table, meta))
});
pub(crate) const TEST: Sub<WrittenTest> = Sub("`[[tests]]`", test);
pub(crate) const LIST: Sub<TestList> = Sub("`[[test_lists]]`", list);
const RETRIES: Sub<Retries> = Sub("`retries`", retries);
const EXPECT: Sub<WrittenExpect> = Sub("`expect`", expect);
const META: Named<Scalar> = Named {
    form: Scalar(256),
    words: "a table",
    refuse: meta_key_error,
    pattern: "",
    count: (0, MAX_META),
};
const FILES: Named<NamedFile> = Named {
    form: NamedFile("attachment", Metadata::is_file),
    words: "a table",
    refuse: |name| {
        let reason = "attachments have names of files, without folders";
        (!is_file_name(name)).then(|| reason.to_owned())
    },
    pattern: "^[^/]{1,200}$",
    count: (0, usize::MAX),
};
const MAX_COUNT: u32 = 1_000_000;

fn settings(table: &mut Table<'_, '_>, meta: Meta) -> TestSettings {
    TestSettings {
        timeout: table.with_default("timeout", &TIMEOUT, r#""60s""#),
        trial_timeout: table.optional("trial_timeout", &TIMEOUT),
        retries: table.optional("retries", &RETRIES),
        repeat: table.with_default("repeat", &Integer(1u32, MAX_COUNT), "1"),
        tags: table.with_default("tags", &List(0, TEXT), "[]").unwrap_or_default(),
        meta,
    }
}

fn meta(table: &mut Table<'_, '_>) -> Meta {
    let meta = table.optional("meta", &META);
    let meta = meta.into_iter().flatten().filter_map(|(key, value)| {
        let value = match value {
            Value::Bool(boolean) => MetaValue::Bool(boolean),
            Value::Number(number) => MetaValue::Number(number),
            Value::String(text) => MetaValue::Text(text.into()),
            // The form has no others.
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((key.into(), value))
    });
    meta.collect()
}

/// Why a text is no key of `meta`.
fn meta_key_error(name: &str) -> Option<String> {
    const MAX_BYTES: usize = 64;
    let is_plain = |character: char| character.is_alphanumeric() || "_.-".contains(character);
    if name.is_empty() || name.len() > MAX_BYTES {
        return Some(format!("it must have 1 to {MAX_BYTES} bytes"));
    }
    let reason = "letters, digits, `_`, `.` and `-` are allowed";
    (!name.chars().all(is_plain)).then(|| reason.to_owned())
}

fn retries(table: &mut Table<'_, '_>) -> Option<Retries> {
    let max = table.required("max", &Integer(0u32, 1000));
    let backoff = table.or("backoff", &DURATION, r#""0s""#);
    let on = table.or("on", &List(1, EXPECTED_ERROR), r#"["unavailable","rate-limited"]"#);
    let max = max?;
    Some(Retries { max, backoff, on })
}

fn test(table: &mut Table<'_, '_>) -> Option<WrittenTest> {
    let id = table.required("id", &TEST_ID);
    let input = table.with_default("input", &Any, "null");
    let providers = providers(table);
    let expect = table.optional("expect", &EXPECT).unwrap_or_default();
    let files = table.optional("files", &FILES).unwrap_or_default();
    let meta = meta(table);
    let settings = settings(table, meta);
    Some(WrittenTest {
        id: id?,
        input: input.unwrap_or_default(),
        providers,
        expect,
        files,
        settings,
    })
}

fn providers(table: &mut Table<'_, '_>) -> Option<Vec<String>> {
    table.with_default("providers", &List(1, GLOB), r#"["*"]"#)
}

fn list(table: &mut Table<'_, '_>) -> Option<TestList> {
    let mut files = Vec::new();
    let found = table.required("files", &List(1, ListFiles));
    for name in found.into_iter().flatten().flatten() {
        if !files.contains(&name) {
            files.push(name);
        }
    }
    let id = table.optional("id", &Templated(LIST_ROOTS));
    let (input, expect) = (Templates(Any, LIST_ROOTS), Templates(EXPECT, LIST_ROOTS));
    let given = [
        ("id", id.map(TemplateValue::Text)),
        ("input", table.optional("input", &input)),
        ("expect", table.optional("expect", &expect)),
        ("meta", table.optional("meta", &Templates(META, LIST_ROOTS))),
    ];
    let there = |(key, value): (_, Option<_>)| Some((key, value?));
    Some(TestList {
        given: given.into_iter().filter_map(there).collect(),
        providers: providers(table),
        settings: settings(table, Meta::new()),
        select: table.optional("select", &List(1, GLOB)),
        exclude: table.or("exclude", &List(0, GLOB), "[]"),
        files,
    })
}

fn expect(table: &mut Table<'_, '_>) -> Option<WrittenExpect> {
    let expect = Expect {
        equals: table.optional("equals", &Any),
        contains: table.optional("contains", &TextOrList).unwrap_or_default(),
        matches: table.optional("matches", &Pattern),
        json: table.optional("json", &Any),
        tolerance: table.optional("tolerance", &Number(0.0, f64::MAX)),
        schema: None,
        error: table.optional("error", &EXPECTED_ERROR),
        max_duration: table.optional("max_duration", &TIMEOUT),
        max_memory: table.optional("max_memory", &SIZE),
        min_score: table.optional("min_score", &Number(f64::MIN, f64::MAX)),
        exit_code: table.optional("exit_code", &Integer(i32::MIN, i32::MAX)),
    };
    let schema = table.optional("schema", &NamedFile("schema", Metadata::is_file));
    if expect.tolerance.is_some() && !table.has("json") {
        let message = "`tolerance` says how far numbers of `json` may be off, and there is none";
        table.refuse_key("tolerance", message);
    }
    Some(WrittenExpect { expect, schema })
}
