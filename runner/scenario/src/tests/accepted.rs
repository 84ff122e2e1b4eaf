//! Files before and after their expectations are replaced.

use std::collections::BTreeMap;
use std::env;

use proptest::prelude::*;
use runner_model::without_mark;
use serde_json::{Value, json};

use super::{Edited, Place, Records, to_toml};
use crate::keys::ListFormat;
use crate::reading::escape;

/// Records in TOML: the text before an expectation, the expectation, its value as JSON, and the text after it.
const TOML: [[&str; 4]; 7] = [
    [
        "# A comment.\n[[tests]] # header\nid = 'a'\nexpect.equals = ",
        "'x'",
        r#""x""#,
        " # kept\ninput.b = 1\nexpect.status = 'ok'\n",
    ],
    ["[[tests]]\nexpect = { equals = ", "1_0", "10", ", x.y = [ # z\n  1,\n] }\r\n\n\n"],
    [
        "[[tests]]\r\n[tests.expect] # table\r\n\"equals\"\t=",
        "\"\"\"\nx\n\"\"\"",
        r#""x\n""#,
        "\r\n# end of it\r\n",
    ],
    [
        "[[tests]]\nexpect.x = 1\ninput = [\n  1, # one\n  2 # two\n]\nexpect.equals = ",
        "[\n  1, # one\n  {a = 2}\n]",
        r#"[1, {"a": 2}]"#,
        "\nexpect . y = 2\n",
    ],
    [
        "  [[ tests ]]\n  expect.equals=",
        "'''\nline\n'''",
        r#""line\n""#,
        "#x\n[tests.input]\na = {}\n[tests.meta]\nb = 1\n",
    ],
    [
        "[[tests]]\n[tests.expect]\nequals = ",
        "{ c = 1, b.a = true }",
        r#"{"c": 1, "b": {"a": true}}"#,
        "\nz = 'equals = 1'\n",
    ],
    [
        "[['tests']]\n'\u{fc}' = '\u{fc}'\nexpect.\"\\u0065quals\" = ",
        "false",
        "false",
        "\n\n# Last.\n\n",
    ],
];
/// The same in JSON.
const JSON: [[&str; 4]; 4] = [
    [r#"{"expect": {"equals" :"#, "1", "1", "}, \"x\": \"\u{fc}\"}"],
    [r#" {"expect":{ "x":[1,{}],"equals": "#, r#"[1,  {"a": 2}]"#, r#"[1, {"a": 2}]"#, " } } "],
    [
        r#"{"equals": 3, "expect": {"equals":"#,
        r#""\u00fc\"""#,
        "\"\u{fc}\\\"\"",
        r#", "y": {"equals": 1}}}"#,
    ],
    [r#"{"expect": {"\u0065quals": "#, "{}", "{}", "}}"],
];

fn cases() -> u32 {
    if env::var("RUNNER_TESTS").is_ok_and(|tests| tests == "full") { 10_000 } else { 100 }
}

/// Texts of a file before its first record, between records, and after the last one.
fn around(format: ListFormat) -> [&'static str; 3] {
    match format {
        ListFormat::Toml => [
            "name = 's'\na.b = 1\nc = { d = 1 }\na.e = 2\n",
            "",
            "[other]\nx.y = 1\nz = 1\nx.w = 1\n# The end.\n",
        ],
        ListFormat::Json => ["[\n  ", ",\r\n", "\n]\n"],
        _ => ["\n", "\r\n", "\n\n"],
    }
}

/// Reads a value that was written over an expectation.
fn written(new: &Value, format: ListFormat, old: &str) -> String {
    match format {
        ListFormat::Toml => to_toml(new, old.starts_with("'''") || old.starts_with("\"\"\"")),
        _ => Ok(new.to_string()),
    }
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn only_expectations_change(
        picks in prop::collection::vec((0..28usize, 0..6usize, any::<bool>()), 1..8),
        format in 0..3usize,
        has_mark in any::<bool>(),
        has_end in any::<bool>(),
        has_placeholders in any::<bool>(),
    ) {
        let values = [
            json!("{{x}}"),
            json!("a\nb\n"),
            json!([1.5, {"k y": [true]}]),
            json!({}),
            json!(-3),
            json!("\u{202e}\"'\\"),
        ];
        let format = [ListFormat::Toml, ListFormat::Json, ListFormat::Lines][format];
        let [start, between, end] = around(format);
        let mut old_text = if has_mark { "\u{feff}" } else { "" }.to_owned() + start;
        let mut new_text = old_text.clone();
        let mut edited = Edited { format, has_placeholders, places: Vec::new() };
        let mut expected = Vec::new();
        for (record, (template, value, is_edited)) in picks.into_iter().enumerate() {
            let [before, old, read, after] = match format {
                ListFormat::Toml => TOML[template % TOML.len()],
                _ => JSON[template % JSON.len()],
            };
            let before = if record > 0 { between } else { "" }.to_owned() + before;
            old_text += &format!("{before}{old}{after}");
            if !is_edited {
                new_text += &format!("{before}{old}{after}");
                continue;
            }
            let mut new = values[value].clone();
            let place = Place {
                record,
                test: String::new(),
                old: serde_json::from_str(read).unwrap(),
                new: new.clone(),
            };
            edited.places.push(place);
            if has_placeholders {
                escape(&mut new);
            }
            new_text += &format!("{before}{}{after}", written(&new, format, old));
            expected.push((record, new));
        }
        let end = if has_end { end } else { end.trim_end() };
        // The tests may be in another order than their records.
        edited.places.reverse();
        let mut refused = BTreeMap::new();
        let new = edited.apply("list", &format!("{old_text}{end}"), &mut refused).unwrap();
        prop_assert_eq!(refused, BTreeMap::new());
        prop_assert_eq!(&new, &format!("{new_text}{end}"));
        let values = Records::new(format, "list", without_mark(&new)).unwrap().value();
        let tests = if format == ListFormat::Toml { &values["tests"] } else { &values };
        for (record, expected) in expected {
            prop_assert_eq!(&tests[record]["expect"]["equals"], &expected, "{}", new);
        }
    }
}
