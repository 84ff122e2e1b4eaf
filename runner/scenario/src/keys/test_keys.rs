//! The keys of tests and test lists, and those they share with `[defaults]`.

use std::{collections::BTreeMap, fs::Metadata};

use runner_model::test::{
    Expect, ExpectedCall, ExpectedFile, ExpectedMetric, ExpectedText, ExpectedTranscript,
    ExpectedWorkspace, MetaValue, RepeatUntil, Retries, Unwanted,
};
use runner_model::transcript::AgentEnd;
use runner_model::{MAX_REPEAT, MAX_RETRIES, MAX_WEIGHT, Micros, TestId, Text, row::is_file_name};
use serde_json::{Value, json};

use crate::keys::{FilePlace, NamedFile};
use crate::reading::{
    Any, At, Boolean, DURATION, EXPECTED_ERROR, Form, GLOB, Globs, Integer, List, Named, NotNull,
    Number, OneOrList, Pattern, Reader, SIZE, Scalar, TEST_ID, TEXT, TIMEOUT, Table, TableForm,
    TextOrList, WORKSPACE_GLOB, WholeText, Word,
};

/// The timeout of an attempt if no key sets one.
pub(crate) const DEFAULT_TIMEOUT: Micros = Micros(60_000_000);

/// A test of a scenario or a record, before defaults apply.
#[derive(Clone, Debug)]
pub(crate) struct WrittenTest {
    pub(crate) id: TestId,
    pub(crate) input: Value,
    /// Globs over providers. `None` selects all.
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) expect: WrittenExpect,
    /// Description of a good output, for graders.
    pub(crate) reference: Option<Value>,
    /// Names and paths of attachments, relative to the scenario or the list.
    pub(crate) files: Vec<(String, String)>,
    pub(crate) settings: TestSettings,
}

/// The expectations of a test, with the path of a schema instead of its digest.
#[derive(Clone, Debug, Default)]
pub(crate) struct WrittenExpect {
    pub(crate) expect: Expect,
    /// Relative to the scenario.
    pub(crate) schema: Option<String>,
}

/// Number of trials of a test on a provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Repeat {
    pub(crate) max: u32,
    /// The rule that ends them earlier.
    pub(crate) until: Option<RepeatUntil>,
}

/// The keys shared by `[defaults]`, test lists and tests.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestSettings {
    pub(crate) timeout: Option<Micros>,
    pub(crate) trial_timeout: Option<Micros>,
    pub(crate) retries: Option<Retries>,
    pub(crate) repeat: Option<Repeat>,
    pub(crate) weight: Option<f64>,
    pub(crate) judge_partial: Option<bool>,
    pub(crate) tags: Vec<String>,
    /// Empty for a test list, whose `meta` is in `TestList::fields`.
    pub(crate) meta: Meta,
}

pub(crate) type Meta = BTreeMap<Text<'static>, MetaValue<'static>>;

impl TestSettings {
    /// Adds the settings of `base`. These win; tags and keys of `meta` add up.
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
            weight: self.weight.or(base.weight),
            judge_partial: self.judge_partial.or(base.judge_partial),
            tags,
            meta,
        }
    }
}

/// The greatest number of adaptive repeats. Each result looks at all earlier ones.
const MAX_ADAPTIVE: u32 = 10_000;
/// The greatest number of expected metrics. A row that is too long keeps as many of its own.
const MAX_METRICS: usize = 40;
/// The greatest number of keys of a test's `meta`.
pub(crate) const MAX_META: usize = 32;
pub(crate) const DEFAULTS: TableForm<TestSettings> = TableForm("`[defaults]`", |table| {
    let meta = meta(table);
    Some(settings(table, meta))
});
pub(crate) const TEST: TableForm<WrittenTest> = TableForm("`[[tests]]`", test);
pub(crate) const RETRIES: TableForm<Retries> = TableForm("`retries`", retries);
const REPEAT: RepeatForm = RepeatForm(TableForm("`repeat`", adaptive_repeat));
pub(super) const EXPECT: TableForm<WrittenExpect> = TableForm("`expect`", expect);
const STDERR: TableForm<ExpectedText> =
    TableForm("`stderr` of `expect`", |table| Some(expected_text(table)));
const WORKSPACE: TableForm<ExpectedWorkspace> = TableForm("`workspace` of `expect`", |table| {
    Some(ExpectedWorkspace {
        changed: table.optional("changed", &List(0, WORKSPACE_GLOB)),
        unchanged: table.optional("unchanged", &List(1, WORKSPACE_GLOB)).unwrap_or_default(),
        files: table.optional("files", &EXPECTED_FILES).unwrap_or_default().into_iter().collect(),
    })
});
const TRANSCRIPT: TableForm<ExpectedTranscript> = TableForm("`transcript` of `expect`", |table| {
    let expected = ExpectedTranscript {
        calls: table.optional("calls", &List(1, GLOB)).unwrap_or_default(),
        never: table.optional("never", &List(1, GLOB)).unwrap_or_default(),
        max_calls: table.optional("max_calls", &Integer(0, u64::from(u32::MAX))),
        call: table.optional("call", &List(1, EXPECTED_CALL)).unwrap_or_default(),
        ended: table.optional("ended", &OneOrList(List(1, AGENT_END))),
    };
    Some(expected)
});
const AGENT_END: Word<AgentEnd> =
    Word(|| AgentEnd::ALL.iter().map(|end| end.as_str()).collect(), AgentEnd::parse);
const METRICS: Named<TableForm<ExpectedMetric>> = Named {
    form: TableForm("a metric of `metrics` of `expect`", |table| {
        let min = table.optional("min", &Number(f64::MIN, f64::MAX));
        let max = table.optional("max", &Number(min.unwrap_or(f64::MIN), f64::MAX));
        Some(ExpectedMetric { min, max })
    }),
    words: "a table of metrics by name, such as `{ total_tokens = { max = 50_000 } }`",
    refuse: |name| name.is_empty().then(|| "it is empty".to_owned()),
    pattern: "",
    count: (1, MAX_METRICS),
};
const EXPECTED_CALL: TableForm<ExpectedCall> = TableForm("a `call` of `transcript`", |table| {
    let tool = table.required("tool", &GLOB);
    Some(ExpectedCall { arguments: table.optional("arguments", &Any), tool: tool? })
});
const EXPECTED_FILES: Named<TableForm<ExpectedFile>> = Named {
    form: TableForm("a file of `workspace` of `expect`", |table| {
        let expected = ExpectedFile {
            absent: table.optional("absent", &Boolean).unwrap_or_default(),
            json: table.optional("json", &Any),
            text: expected_text(table),
        };
        if expected.absent && expected != (ExpectedFile { absent: true, ..ExpectedFile::default() })
        {
            table.refuse_key("absent", "a file that is absent has no text");
        }
        Some(expected)
    }),
    words: "a table",
    refuse: |path| {
        let is_name = |name| !matches!(name, "" | "." | "..");
        (!path.split('/').all(is_name))
            .then(|| "use a path relative to the workspace, such as `src/main.py`".to_owned())
    },
    pattern: "",
    count: (0, usize::MAX),
};
const NOT: TableForm<Unwanted> = TableForm("`not` of `expect`", |table| {
    Some(Unwanted {
        equals: table.optional("equals", &Any),
        contains: table.optional("contains", &TextOrList).unwrap_or_default(),
        matches: table.optional("matches", &Pattern),
    })
});
pub(super) const META: Named<Scalar> = Named {
    form: Scalar(256),
    words: "a table",
    refuse: meta_key_error,
    pattern: "",
    count: (0, MAX_META),
};
/// Attachments of a test or a provider: paths by name.
pub(crate) const FILES: Named<NamedFile> = Named {
    form: NamedFile("attachment", Metadata::is_file, FilePlace::Readable),
    words: "a table",
    refuse: attachment_name_error,
    pattern: "^[^/]{1,200}$",
    count: (0, usize::MAX),
};

fn attachment_name_error(name: &str) -> Option<String> {
    let what = match name {
        ".source" => "a plugin in development reads its program by this name",
        _ if is_file_name(name) => return None,
        _ => "attachments have names of files, without folders",
    };
    Some(what.to_owned())
}

fn expected_text(table: &mut Table<'_, '_>) -> ExpectedText {
    let expected = ExpectedText {
        equals: table.optional("equals", &WholeText),
        contains: table.optional("contains", &TextOrList).unwrap_or_default(),
        contains_any: table.optional("contains_any", &TextOrList).unwrap_or_default(),
        matches: table.optional("matches", &Pattern),
        not: table.optional("not", &NOT).unwrap_or_default(),
        ignore_case: table.optional("ignore_case", &Boolean).unwrap_or_default(),
    };
    check_ignored_case(table);
    expected
}

pub(super) fn settings(table: &mut Table<'_, '_>, meta: Meta) -> TestSettings {
    TestSettings {
        timeout: table.with_default("timeout", &TIMEOUT, r#""60s""#),
        trial_timeout: table.optional("trial_timeout", &TIMEOUT),
        retries: table.optional("retries", &RETRIES),
        repeat: table.with_default("repeat", &REPEAT, "1"),
        weight: table.with_default("weight", &Number(0.0, MAX_WEIGHT), "1"),
        judge_partial: table.with_default("judge_partial", &Boolean, "false"),
        tags: table.with_default("tags", &List(0, TEXT), "[]").unwrap_or_default(),
        meta,
    }
}

fn meta(table: &mut Table<'_, '_>) -> Meta {
    let meta = table.optional("meta", &META).into_iter().flatten().filter_map(|(key, value)| {
        let value = match value {
            Value::Bool(boolean) => MetaValue::Bool(boolean),
            Value::Number(number) => MetaValue::Number(number),
            Value::String(text) => MetaValue::Text(text.into()),
            // `Scalar` refuses these.
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((key.into(), value))
    });
    meta.collect()
}

/// Returns the reason if a text is not a valid key of `meta`.
fn meta_key_error(name: &str) -> Option<String> {
    const MAX_BYTES: usize = 64;
    if name.is_empty() || name.len() > MAX_BYTES {
        return Some(format!("it must have 1 to {MAX_BYTES} bytes"));
    }
    (!name.chars().all(|character| character.is_alphanumeric() || "_.-".contains(character)))
        .then(|| "use letters, digits, `_`, `.` and `-`".to_owned())
}

fn retries(table: &mut Table<'_, '_>) -> Option<Retries> {
    let max = table.required("max", &Integer(0u32, MAX_RETRIES));
    let backoff = table.or("backoff", &DURATION, r#""0s""#);
    let on = table.or("on", &List(1, EXPECTED_ERROR), r#"["unavailable","rate-limited"]"#);
    Some(Retries { max: max?, backoff, on })
}

/// A number of repeats, or the rule of adaptive ones.
struct RepeatForm(TableForm<Repeat>);

impl Form for RepeatForm {
    type Out = Repeat;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<Repeat> {
        match value {
            Value::Object(_) => self.0.read(at, value, reader),
            Value::Number(_) => {
                let max = Integer(1u32, MAX_REPEAT).read(at, value, reader)?;
                Some(Repeat { max, until: None })
            }
            _ => reader.refuse_kind(at, value, "an integer or a table"),
        }
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [Integer(1u32, MAX_REPEAT).schema(), self.0.schema()]})
    }
}

/// The width of an interval of a rate, which no number of repeats makes 0.
struct Width;

impl Form for Width {
    type Out = f64;

    fn read(&self, at: &At<'_>, value: &mut Value, reader: &mut Reader<'_>) -> Option<f64> {
        const WORDS: &str = "a number above 0 and below 1";
        match value.as_f64() {
            Some(width) if 0.0 < width && width < 1.0 => Some(width),
            Some(_) => reader.refuse_value(at, WORDS, &format!("{value} is out of range")),
            None => reader.refuse_kind(at, value, WORDS),
        }
    }

    fn schema(&self) -> Value {
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})
    }
}

fn adaptive_repeat(table: &mut Table<'_, '_>) -> Option<Repeat> {
    let min = table.required("min", &Integer(1u32, MAX_ADAPTIVE));
    let max = table.required("max", &Integer(min.unwrap_or(1), MAX_ADAPTIVE));
    let width = table.required("width", &Width);
    let until = RepeatUntil { min: min?, width: width? };
    Some(Repeat { max: max?, until: Some(until) })
}

fn test(table: &mut Table<'_, '_>) -> Option<WrittenTest> {
    let id = table.required("id", &TEST_ID);
    let input = table.with_default("input", &Any, "null");
    let providers = providers(table);
    let expect = table.optional("expect", &EXPECT).unwrap_or_default();
    let reference = table.optional("reference", &NotNull);
    let files = table.optional("files", &FILES).unwrap_or_default();
    let meta = meta(table);
    let settings = settings(table, meta);
    Some(WrittenTest {
        id: id?,
        input: input.unwrap_or_default(),
        providers,
        expect,
        reference,
        files,
        settings,
    })
}

pub(super) fn providers(table: &mut Table<'_, '_>) -> Option<Vec<String>> {
    table.with_default("providers", &Globs(List(1, GLOB)), r#"["*"]"#)
}

/// Checks of texts, to which `ignore_case` applies.
const OF_TEXTS: &[&str] =
    &["equals", "equals_any", "file", "contains", "contains_any", "matches", "not"];

/// Reports `ignore_case` without a check that it applies to.
fn check_ignored_case(table: &mut Table<'_, '_>) {
    if table.has("ignore_case") && !OF_TEXTS.iter().any(|key| table.has(key)) {
        let message = "`ignore_case` is for checks of texts, such as `contains`, which are missing";
        table.refuse_key("ignore_case", message);
    }
}

fn expect(table: &mut Table<'_, '_>) -> Option<WrittenExpect> {
    let expect = Expect {
        equals: table.optional("equals", &Any),
        equals_any: table.optional("equals_any", &List(1, Any)).unwrap_or_default(),
        file: table.optional("file", &TEXT),
        trim: table.optional("trim", &Boolean).unwrap_or_default(),
        contains: table.optional("contains", &TextOrList).unwrap_or_default(),
        contains_any: table.optional("contains_any", &TextOrList).unwrap_or_default(),
        matches: table.optional("matches", &Pattern),
        not: table.optional("not", &NOT).unwrap_or_default(),
        ignore_case: table.optional("ignore_case", &Boolean).unwrap_or_default(),
        json: table.optional("json", &Any),
        tolerance: table.optional("tolerance", &Number(0.0, f64::MAX)),
        schema: None,
        error: table.optional("error", &EXPECTED_ERROR),
        max_duration: table.optional("max_duration", &TIMEOUT),
        max_memory: table.optional("max_memory", &SIZE),
        min_score: table.optional("min_score", &Number(f64::MIN, f64::MAX)),
        exit_code: table.optional("exit_code", &Integer(i32::MIN, i32::MAX)),
        stderr: table.optional("stderr", &STDERR),
        metrics: table.optional("metrics", &METRICS).unwrap_or_default().into_iter().collect(),
        workspace: table.optional("workspace", &WORKSPACE),
        transcript: table.optional("transcript", &TRANSCRIPT),
        // A key of the test.
        judge_partial: false,
        graders: table.optional("graders", &List(1, TEXT)).unwrap_or_default(),
    };
    let schema =
        table.optional("schema", &NamedFile("schema", Metadata::is_file, FilePlace::Readable));
    if expect.tolerance.is_some() && !table.has("json") {
        table.refuse_key("tolerance", "`tolerance` is for numbers of `json`, which is missing");
    }
    if table.has("file") && table.has("equals") {
        table.refuse_key("file", "`file` and `equals` exclude each other: both are the output");
    }
    if table.has("trim") && !table.has("file") && !table.has("equals") {
        table.refuse_key("trim", "`trim` is for `file` and `equals`, which are missing");
    }
    check_ignored_case(table);
    let of_outputs = ["json", "schema", "min_score", "exit_code", "graders"];
    for key in OF_TEXTS.iter().chain(&of_outputs) {
        if table.has("error") && table.has(key) {
            let message =
                format!("`{key}` and `error` never hold together: an error has no output");
            table.refuse_key(key, &message);
        }
    }
    Some(WrittenExpect { expect, schema })
}
