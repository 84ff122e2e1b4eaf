//! A text is a filter, or its mistake is shown with its place. A filter and its negation disagree about every trial.
#![no_main]

mod problems;
mod still;

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use problems::assert_shown;
use runner_model::RowRef;
use runner_scenario::{Facts, Filter};

const ROW: &str = r#"{"v":4,"trial":"units/km@gpt[size=small]#2","test":"units/km","provider":"gpt[size=small]","repeat":2,"attempt":1,"outcome":"error","started_at":"2026-11-20T09:18:04.015Z","duration_ms":2500.5,"usage":{"peak_memory":1114112,"bytes_in":36,"bytes_out":28},"output":"Not Found","error":{"class":"unavailable","code":"connect","message":"no connection to 127.0.0.1"},"checks":[{"name":"json","verdict":"fail","message":"expected 1, got 2"}]}"#;

/// A test on a provider, with its row or before it has run.
struct Trial<'a>(Option<&'a RowRef<'a>>);

impl Facts for Trial<'_> {
    fn test(&self) -> Option<&str> {
        Some("units/km")
    }

    fn provider(&self) -> Option<&str> {
        Some("gpt[size=small]")
    }

    fn has_tag(&self, tag: &str) -> Option<bool> {
        Some(tag == "slow")
    }

    fn meta(&self, key: &str, matches: &dyn Fn(&str) -> bool) -> Option<bool> {
        Some(key == "topic" && matches("dates"))
    }

    fn row(&self) -> Option<&RowRef<'_>> {
        self.0
    }

    fn log(&self) -> Option<Cow<'_, str>> {
        self.0.map(|_| "retrying".into())
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(problems) => return assert_shown(&problems, text),
    };
    assert_eq!(filter.text(), text);
    if let Err(problems) = filter.check_for_tests() {
        assert_shown(&problems, text);
    }
    let twice = Filter::all(vec![filter.clone(), filter.clone()]).expect("there are two");
    // The negation may be refused, because it has more levels and bytes.
    let negated = Filter::parse(&format!("!({text})")).ok();
    let row: RowRef<'_> = serde_json::from_str(ROW).expect("it is a row");
    for trial in [Trial(None), Trial(Some(&row))] {
        let answer = filter.matches(&trial);
        assert_eq!(twice.matches(&trial), answer);
        if let Some(negated) = &negated {
            assert_eq!(negated.matches(&trial), answer.map(|matches| !matches));
        }
    }
});
