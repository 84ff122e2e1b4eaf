//! The keys of tests, of test lists, and of what they share with `[defaults]`.

use runner_model::{
    Micros, TestId,
    template::{Template, TemplateValue},
    test::{Expect, Retries},
};
use serde_json::Value;

use crate::{
    form::{Any, List, Sub, Templated, Templates, TextOrList},
    reading::LIST_ROOTS,
    scalar::{
        DURATION, EXPECTED_ERROR, FILE_GLOB, GLOB, Integer, Number, Pattern, TEST_ID, TEXT, TIMEOUT,
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
    pub(crate) expect: Expect,
    pub(crate) settings: Settings,
}

/// A test list.
#[derive(Debug)]
pub(crate) struct TestList {
    pub(crate) id: Option<Template>,
    pub(crate) input: Option<TemplateValue>,
    pub(crate) expect: Option<TemplateValue>,
    /// Globs over providers; none means all.
    pub(crate) providers: Option<Vec<String>>,
    pub(crate) settings: Settings,
    /// Globs over test ids, one of which must match; none means all.
    pub(crate) select: Option<Vec<String>>,
    pub(crate) exclude: Vec<String>,
    /// The files that its globs match, relative to the scenario. A stored scenario has none.
    pub(crate) files: Vec<String>,
}

/// What may stand in `[defaults]`, on a test list and on a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) timeout: Option<Micros>,
    pub(crate) trial_timeout: Option<Micros>,
    pub(crate) retries: Option<Retries>,
    pub(crate) repeat: Option<u32>,
    pub(crate) tags: Vec<String>,
}

impl Settings {
    /// Puts these in front of `base`: the nearer one wins, and tags add up.
    pub(crate) fn over(self, base: &Self) -> Self {
        let mut tags = self.tags;
        tags.extend_from_slice(&base.tags);
        tags.sort_unstable();
        tags.dedup();
        Self {
            timeout: self.timeout.or(base.timeout),
            trial_timeout: self.trial_timeout.or(base.trial_timeout),
            retries: self.retries.or_else(|| base.retries.clone()),
            repeat: self.repeat.or(base.repeat),
            tags,
        }
    }
}

impl TestList {
    /// Tells whether records are data from which templates make tests, and no tests themselves.
    pub(crate) fn has_templates(&self) -> bool {
        let values = [&self.input, &self.expect];
        let mut values = values.into_iter().flatten();
        self.id.is_some() || values.any(TemplateValue::is_template)
    }
}

pub(crate) const DEFAULTS: Sub<Settings> = Sub("`[defaults]`", |table| Some(settings(table)));
pub(crate) const TEST: Sub<WrittenTest> = Sub("`[[tests]]`", test);
pub(crate) const LIST: Sub<TestList> = Sub("`[[test_lists]]`", list);
const RETRIES: Sub<Retries> = Sub("`retries`", retries);
const EXPECT: Sub<Expect> = Sub("`expect`", expect);
const MAX_COUNT: u32 = 1_000_000;

fn settings(table: &mut Table<'_, '_>) -> Settings {
    Settings {
        timeout: table.with_default(
            "timeout",
            &TIMEOUT,
            r#""60s""#,
            "How long one attempt may take.",
        ),
        trial_timeout: table.optional(
            "trial_timeout",
            &TIMEOUT,
            "How long all attempts of a trial may take together, waiting included. Default: no limit.",
        ),
        retries: table.optional(
            "retries",
            &RETRIES,
            "Which attempts are made again. Default: none.",
        ),
        repeat: table.with_default(
            "repeat",
            &Integer(1u32, MAX_COUNT),
            "1",
            "Trials per test and provider.",
        ),
        tags: table
            .with_default(
                "tags",
                &List(0, TEXT),
                "[]",
                "Words to select tests by. Those of the defaults, the list and the test add up.",
            )
            .unwrap_or_default(),
    }
}

fn retries(table: &mut Table<'_, '_>) -> Option<Retries> {
    let max = table.required(
        "max",
        &Integer(0u32, 1000),
        "How many retries at most; the first attempt does not count.",
    );
    let backoff = table.or(
        "backoff",
        &DURATION,
        r#""0s""#,
        "How long to wait before a retry; twice as long before each further one, up to a minute.",
    );
    let on = table.or(
        "on",
        &List(1, EXPECTED_ERROR),
        r#"["unavailable","rate-limited"]"#,
        "What is retried: error classes, or `timeout`.",
    );
    Some(Retries {
        max: max?,
        backoff,
        on,
    })
}

fn test(table: &mut Table<'_, '_>) -> Option<WrittenTest> {
    let id = table.required(
        "id",
        &TEST_ID,
        "The test's id: unique; letters, digits, `_`, `.` and `-`, in segments joined by `/`.",
    );
    let input = table.with_default(
        "input",
        &Any,
        "null",
        "What the provider gets. Any value; it reaches the provider as JSON.",
    );
    let providers = table.with_default(
        "providers",
        &List(1, GLOB),
        r#"["*"]"#,
        "On which providers the test runs: globs over their names.",
    );
    let expect = table.optional(
        "expect",
        &EXPECT,
        "What must come. Every key is a check of its own.",
    );
    let settings = settings(table);
    Some(WrittenTest {
        id: id?,
        input: input.unwrap_or_default(),
        providers,
        expect: expect.unwrap_or_default(),
        settings,
    })
}

fn list(table: &mut Table<'_, '_>) -> Option<TestList> {
    // The files are found by the globs in the scenario's value, because each glob has a place of its own.
    table.required(
        "files",
        &List(1, FILE_GLOB),
        "The data files: globs relative to the scenario. `.jsonl`.",
    );
    Some(TestList {
        id: table.optional(
            "id",
            &Templated(LIST_ROOTS),
            "The id of a record's test, such as `{{file.stem}}/{{row.name}}`.",
        ),
        input: table.optional(
            "input",
            &Templates(Any, LIST_ROOTS),
            "The input of a record's test. A string that is one `{{row.x}}` and nothing else keeps the value's type.",
        ),
        expect: table.optional(
            "expect",
            &Templates(EXPECT, LIST_ROOTS),
            "What must come, as in a test. Strings in it may be templates.",
        ),
        providers: table.with_default(
            "providers",
            &List(1, GLOB),
            r#"["*"]"#,
            "On which providers the tests run: globs over their names.",
        ),
        settings: settings(table),
        select: table.optional(
            "select",
            &List(1, GLOB),
            "Globs over test ids, of which one must match.",
        ),
        exclude: table.or(
            "exclude",
            &List(0, GLOB),
            "[]",
            "Globs over test ids, of which none may match.",
        ),
        files: Vec::new(),
    })
}

fn expect(table: &mut Table<'_, '_>) -> Option<Expect> {
    let expect = Expect {
        equals: table.optional("equals", &Any, "The output is exactly this."),
        contains: table
            .optional(
                "contains",
                &TextOrList,
                "The output contains this text, or each element of this list.",
            )
            .unwrap_or_default(),
        matches: table.optional(
            "matches",
            &Pattern,
            "The output is a text in which this regular expression matches.",
        ),
        json: table.optional("json", &Any, "The output has at least what this has."),
        tolerance: table.optional(
            "tolerance",
            &Number(0.0, f64::MAX),
            "How far numbers of `json` may be off.",
        ),
        error: table.optional(
            "error",
            &EXPECTED_ERROR,
            "The attempt ends in an error of this class, or in a `timeout`.",
        ),
        max_duration: table.optional(
            "max_duration",
            &TIMEOUT,
            "The attempt takes at most this long.",
        ),
        ..Expect::default()
    };
    if expect.tolerance.is_some() && !table.has("json") {
        let message = "`tolerance` says how far numbers of `json` may be off, and there is none";
        table.refuse_key("tolerance", message);
    }
    Some(expect)
}
