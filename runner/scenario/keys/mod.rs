//! Every key of a scenario, once: what is checked, what is suggested and the published JSON Schema all come from here.
//!
//! Scenarios are checked against this table and not deserialised into types: one table gives errors with places, suggestions,
//! defaults, the schema and the reference in `docs/scenarios.md`.

mod plugins;
mod retries;
mod sandbox;

use plugins::{ANY_NUMBER, GRADER, PROVIDER};
use retries::RETRIES;

pub(super) use plugins::{GRADER_ROOTS, MATRIX_ROOTS};
pub(super) use retries::ERROR_WORDS;

use super::{
    form::{Form, Key, Name, optional, required, with_default},
    meta::META,
    notify::SCENARIO_NOTIFY,
    reports::REPORT,
    run_options::{OptionTable, RunOptions},
    settings::DEFAULT_TIMEOUT_JSON,
};

/// What templates of a test list may begin with.
pub(super) const LIST_ROOTS: &[&str] = &["row", "file", "row_number"];

/// What `file` has in templates of a test list.
pub(super) const FILE_KEYS: &[&str] = &["name", "path", "stem"];

/// The whole file.
pub(super) static SCENARIO: Form = Form::Table(&[TOP, TOP_OPTIONS, PARTS]);

/// A record of a test list that is written as a test.
pub(super) static TEST: Form = Form::Table(&[TEST_KEYS, DEFAULTS, META]);

/// A test list in TOML.
pub(super) static TOML_LIST: Form = Form::Table(&[TOML_LIST_KEYS]);

/// The matrix of a provider.
pub(super) static MATRIX: Form = Form::Map(&Form::SomeOf(&Form::Scalar), Name::MatrixKey);

/// How the providers of a matrix are named.
pub(super) static MATRIX_NAME: Form = Form::Template(MATRIX_ROOTS);

/// The keys of `expect`.
pub(super) static EXPECT: Form = Form::Table(&[EXPECT_KEYS]);

const COUNT: i64 = 1_000_000;

const TOP: &[Key] = &[
    optional(
        "name",
        Form::Text,
        "The scenario's name. Default: the file's name without its extension.",
    ),
    optional("description", Form::Text, "What the scenario is for."),
];

/// The options of a run that stand at the top.
const TOP_OPTIONS: &[Key] = &options::<{ count(OptionTable::Top) }>(OptionTable::Top);

const PARTS: &[Key] = &[
    optional(
        "defaults",
        Form::Table(&[DEFAULTS, META]),
        "What holds for every test that does not say otherwise.",
    ),
    optional("run", Form::Table(&[RUN]), "How trials are run."),
    optional(
        "dimensions",
        Form::List(&Form::Text),
        "The keys of tests' `meta` by which results are told. Default: all.",
    ),
    optional(
        "report",
        Form::Table(&[REPORT]),
        "Reports that every session writes into the directory of its run when it ends.",
    ),
    optional(
        "notify",
        Form::Table(&[SCENARIO_NOTIFY]),
        "Who is told when a run ends, beside those of its results root.",
    ),
    optional(
        "providers",
        Form::Map(&Form::Table(PROVIDER), Name::Provider),
        "The providers that tests run on, by name. At least one.",
    ),
    optional(
        "graders",
        Form::Map(&Form::Table(GRADER), Name::Provider),
        "What judges outputs, by name: plugins as a provider uses them, which tests name in `expect.graders`.",
    ),
    optional(
        "tests",
        Form::List(&TEST),
        "Tests. At least one, or a test list.",
    ),
    optional(
        "test_lists",
        Form::List(&Form::Table(&[LIST, DEFAULTS])),
        "Data files that hold tests.",
    ),
];

const DEFAULTS: &[Key] = &[
    with_default(
        "timeout",
        Form::Duration { zero: false },
        DEFAULT_TIMEOUT_JSON,
        "How long one attempt may take.",
    ),
    optional(
        "trial_timeout",
        Form::Duration { zero: false },
        "How long all attempts of a trial may take together, waiting included. Default: no limit.",
    ),
    optional(
        "retries",
        Form::Table(&[RETRIES]),
        "Which attempts are made again. Default: none.",
    ),
    with_default(
        "repeat",
        Form::Integer { min: 1, max: COUNT },
        "1",
        "Trials per test and provider.",
    ),
    with_default(
        "tags",
        Form::List(&Form::Text),
        "[]",
        "Words to select tests by. Those of the defaults, the list and the test add up.",
    ),
];

/// The options of a run that stand in `[run]`.
const RUN: &[Key] = &options::<{ count(OptionTable::Run) }>(OptionTable::Run);

/// The options of a run that stand in a table, of which there are `N`.
const fn options<const N: usize>(table: OptionTable) -> [Key; N] {
    let mut keys = [const { optional("", Form::Any, "") }; N];
    // A `const fn` has neither iterators nor `for`.
    let (mut place, mut found) = (0, 0);
    while place < RunOptions::TABLE.len() {
        let option = &RunOptions::TABLE[place];
        if let Some(key) = &option.key
            && key.table as u8 == table as u8
        {
            keys[found] = match option.default {
                Some(default) => with_default(key.name, key.form, default, option.meaning()),
                None => optional(key.name, key.form, option.meaning()),
            };
            found += 1;
        }
        place += 1;
    }
    keys
}

/// How many options of a run stand in a table.
const fn count(table: OptionTable) -> usize {
    let (mut place, mut count) = (0, 0);
    while place < RunOptions::TABLE.len() {
        if let Some(key) = &RunOptions::TABLE[place].key
            && key.table as u8 == table as u8
        {
            count += 1;
        }
        place += 1;
    }
    count
}

const TEST_KEYS: &[Key] = &[
    required(
        "id",
        Form::TestId,
        "The test's id: unique; letters, digits, `_`, `.` and `-`, in segments joined by `/`.",
    ),
    with_default(
        "input",
        Form::Any,
        "null",
        "What the provider gets. Any value; it reaches the provider as JSON.",
    ),
    optional(
        "reference",
        Form::Any,
        "What a good output is like, for graders. Any value; no provider gets it.",
    ),
    with_default(
        "providers",
        Form::SomeOf(&Form::Glob),
        r#"["*"]"#,
        "On which providers the test runs: globs over their names.",
    ),
    optional(
        "expect",
        Form::Table(&[EXPECT_KEYS]),
        "What must come. Every key is a check of its own.",
    ),
    optional(
        "files",
        Form::Map(&Form::File, Name::Attachment),
        "Attachments: files that are handed to the provider, by name.",
    ),
];

const LIST: &[Key] = &[
    required(
        "files",
        Form::SomeOf(&Form::FileGlob),
        "The data files: globs relative to the scenario. `.jsonl`, `.json`, `.csv` or `.toml`.",
    ),
    optional(
        "id",
        Form::Template(LIST_ROOTS),
        "The id of a record's test, such as `{{file.stem}}/{{row.name}}`.",
    ),
    optional(
        "input",
        Form::Templates(LIST_ROOTS),
        "The input of a record's test. A string that is one `{{row.x}}` and nothing else keeps the value's type.",
    ),
    optional(
        "reference",
        Form::Templates(LIST_ROOTS),
        "What a good output of a record's test is like, for graders.",
    ),
    optional(
        "expect",
        Form::Templated(&EXPECT, LIST_ROOTS),
        "What must come, as in a test. Strings in it may be templates.",
    ),
    optional(
        "meta",
        Form::Map(&Form::Templates(LIST_ROOTS), Name::Meta),
        "What the tests say of themselves, as in a test. Strings in it may be templates, such as `{{row.topic}}`.",
    ),
    with_default(
        "providers",
        Form::SomeOf(&Form::Glob),
        r#"["*"]"#,
        "On which providers the tests run: globs over their names.",
    ),
    optional(
        "select",
        Form::SomeOf(&Form::Glob),
        "Globs over test ids, of which one must match.",
    ),
    optional(
        "exclude",
        Form::List(&Form::Glob),
        "Globs over test ids, of which none may match.",
    ),
];

const TOML_LIST_KEYS: &[Key] = &[required(
    "tests",
    Form::List(&Form::AnyTable),
    "The records.",
)];

const EXPECT_KEYS: &[Key] = &[
    // `tolerance` is not for this one, which is exact.
    optional("equals", Form::Any, "The output is exactly this."),
    optional(
        "contains",
        Form::TextOrList,
        "The output contains this text, or each element of this list.",
    ),
    optional(
        "matches",
        Form::Regex,
        "The output is a text in which this regular expression matches.",
    ),
    optional("json", Form::Any, "The output has at least what this has."),
    optional(
        "tolerance",
        Form::Number {
            min: 0.0,
            max: f64::MAX,
        },
        "How far numbers of `json` may be off.",
    ),
    optional(
        "schema",
        Form::File,
        "The output is valid by the JSON Schema in this file. Relative to the scenario.",
    ),
    optional(
        "error",
        Form::Word(ERROR_WORDS),
        "The attempt ends in an error of this class, or in a `timeout`.",
    ),
    optional(
        "exit_code",
        Form::Integer {
            min: i32::MIN as i64,
            max: i32::MAX as i64,
        },
        "The command exits with this code.",
    ),
    optional(
        "graders",
        Form::SomeOf(&Form::Text),
        "The graders that judge the output, by name, once everything else has held.",
    ),
    optional(
        "min_score",
        ANY_NUMBER,
        "The provider's score is at least this; with `graders`, each score that these give.",
    ),
    optional(
        "max_duration",
        Form::Duration { zero: false },
        "The attempt takes at most this long.",
    ),
    optional(
        "max_memory",
        Form::Size,
        "The guest's memories have at most this many bytes.",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Map, Value};

    use super::{
        plugins::STDIN,
        sandbox::{BOUND_SECRET, FS_GRANT, GRANTS, LIMITS},
        *,
    };
    use crate::{
        model::{ErrorClass, Limits},
        scenario::{
            budgets::BUDGET,
            form::Presence,
            notify::{VARIABLE, WEBHOOK},
            provider::read_limits,
            raw::Document,
            settings::{DEFAULT_TIMEOUT, Settings},
        },
    };

    #[test]
    fn every_error_class_but_the_runners_own_can_be_expected() {
        let mut words: Vec<_> = ErrorClass::ALL
            .iter()
            .filter(|class| !matches!(class, ErrorClass::Poison | ErrorClass::Grader))
            .map(|class| class.as_str())
            .collect();
        words.push("timeout");
        assert_eq!(words, ERROR_WORDS);
    }

    #[test]
    fn the_written_defaults_of_limits_are_the_real_ones() {
        let defaults = LIMITS.iter().filter_map(|key| match key.presence {
            Presence::Default(json) => {
                Some((key.name.to_owned(), serde_json::from_str(json).unwrap()))
            }
            Presence::Required | Presence::Optional => None,
        });
        assert_eq!(read_limits(&defaults.collect()), Limits::default());
    }

    #[test]
    fn the_written_defaults_of_tests_are_the_real_ones() {
        let defaults = |keys: &[Key]| -> Map<String, Value> {
            let defaults = keys.iter().filter_map(|key| match key.presence {
                Presence::Default(json) => {
                    Some((key.name.to_owned(), serde_json::from_str(json).unwrap()))
                }
                Presence::Required | Presence::Optional => None,
            });
            defaults.collect()
        };
        let mut written = defaults(DEFAULTS);
        written.insert("retries".to_owned(), Value::Object(defaults(RETRIES)));
        let written = Settings::read(&written);
        assert_eq!(written.timeout, Some(DEFAULT_TIMEOUT));
        assert_eq!(written.repeat, Some(1));
        let none = Map::from_iter([("retries".to_owned(), Value::Object(Map::new()))]);
        assert_eq!(written.retries, Settings::read(&none).retries);
    }

    #[test]
    fn the_tour_uses_every_key() {
        let text = fs_err::read_to_string("tests/scenarios/valid/tour.toml").unwrap();
        let document = Document::parse(&text).ok().unwrap();
        let mut used = HashSet::new();
        collect(&document.value(&mut Vec::new()), &mut used);

        let tables = [
            TOP,
            TOP_OPTIONS,
            PARTS,
            DEFAULTS,
            RETRIES,
            RUN,
            BUDGET,
            REPORT,
            &[SCENARIO_NOTIFY[0], SCENARIO_NOTIFY[1]],
            WEBHOOK,
            VARIABLE,
            STDIN,
            LIMITS,
            GRANTS,
            BOUND_SECRET,
            FS_GRANT,
            TEST_KEYS,
            LIST,
            EXPECT_KEYS,
        ];
        let tables = tables.iter().chain(PROVIDER).chain(GRADER).copied();
        let unused = tables.flatten().filter(|key| !used.contains(key.name));
        assert_eq!(unused.map(|key| key.name).collect::<Vec<_>>(), [""; 0]);
    }

    fn collect(value: &Value, used: &mut HashSet<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| {
                used.insert(key.clone());
                collect(value, used);
            }),
            Value::Array(items) => items.iter().for_each(|item| collect(item, used)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}
