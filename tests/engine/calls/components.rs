//! What components get of a test, what comes back of them, and what they are not given.

use std::time::Duration;

use runner::model::{CheckVerdict, ErrorClass};
use serde_json::json;

use super::{COMMAND, HOSTILE, hostile};
use crate::support::engine::{
    Attempt, BENCH, CommandProtocol, Interrupt, LONG, MIB, Plugin, assert_error, error, output,
    reply,
};

#[test]
fn a_component_gets_the_whole_test_and_its_reply_comes_back() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let ended = attempt.run(&HOSTILE, &json!({"do": "test"}));
    assert!(ended.duration > Duration::ZERO);
    assert!(ended.usage.peak_memory >= MIB, "{:?}", ended.usage);
    assert_eq!(
        output(ended),
        json!({
            "trial": "a/b@guest#2", "test": "a/b", "provider": "guest", "repeat": 2, "attempt": 1, "seed": 42,
            "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );
}

#[test]
fn a_providers_own_judgement_comes_back() {
    let reply = reply(hostile(json!({"do": "judge"})));
    assert_eq!(reply.verdict, Some(CheckVerdict::Fail));
    assert_eq!(reply.score, Some(0.25));
    assert_eq!(reply.summary.as_deref(), Some("not good"));
    let check = &reply.checks[0];
    assert_eq!((&*check.name, check.score), ("style", Some(0.5)));
    assert_eq!(check.message.as_deref(), Some("too long"));
    assert_eq!(check.details, Some(json!({"lines": 3})));
    let metric = &reply.metrics[0];
    assert_eq!(
        (metric.name.as_str(), metric.value, metric.unit.as_deref()),
        ("length", 3.0, Some("lines"))
    );
}

#[test]
fn a_component_describes_itself() {
    let describe = |plugin: &Plugin, protocol| {
        BENCH
            .describe(plugin, protocol, LONG, &Interrupt::default())
            .unwrap()
    };

    let description = describe(&HOSTILE, CommandProtocol::Plain).unwrap();
    assert_eq!(description.name, "hostile");
    assert_eq!(description.config_schema, Some(json!({"type": "object"})));
    assert_eq!(description.requests, ["net:https://example.com"]);
    assert_eq!(
        describe(&COMMAND, CommandProtocol::Json).unwrap().name,
        "command"
    );
    assert_eq!(describe(&COMMAND, CommandProtocol::Plain), None);
}

#[test]
fn what_goes_in_and_out_is_counted() {
    let attempt = Attempt::new().config(r#"{"unit":"km"}"#);
    let ended = attempt.run(&HOSTILE, &json!({"do": "artifact", "name": "a"}));
    let usage = ended.usage;
    assert_eq!(usage.host_calls, 2);
    assert_eq!(
        usage.bytes_in,
        (r#"{"do":"artifact","name":"a"}"#.len() + r#"{"unit":"km"}"#.len()) as u64
    );
    assert_eq!(
        usage.bytes_out,
        ("one two".len() + "[null,null]".len()) as u64
    );
}

#[test]
fn an_exit_instead_of_a_reply_breaks_the_contract() {
    for (code, message) in [
        (0, "the guest exited with 0 instead of returning"),
        (1, "the guest exited with 1 instead of returning"),
    ] {
        let ended = hostile(json!({"do": "exit", "code": code}));
        assert_error(ended, ErrorClass::Protocol, "exit", message);
    }
}

#[test]
fn malformed_replies_break_the_contract() {
    assert_error(
        hostile(json!({"do": "invalid-json"})),
        ErrorClass::Protocol,
        "json",
        "the output is not JSON: EOF while parsing an object at line 1 column 1; it begins with \"{\"",
    );
    assert_error(
        hostile(json!({"do": "nan-score"})),
        ErrorClass::Protocol,
        "number",
        "the score is NaN, which is not a finite number",
    );
    assert_error(
        hostile(json!({"do": "infinite-metric"})),
        ErrorClass::Protocol,
        "number",
        "the value of a metric is inf, which is not a finite number",
    );
}

#[test]
fn errors_of_the_provider_keep_their_kind() {
    let kinds = [
        ("invalid-config", ErrorClass::InvalidConfig),
        ("invalid-input", ErrorClass::InvalidInput),
        ("denied", ErrorClass::Denied),
        ("unavailable", ErrorClass::Unavailable),
        ("rate-limited", ErrorClass::RateLimited),
        ("internal", ErrorClass::Internal),
        ("other", ErrorClass::Other),
    ];
    for (kind, class) in kinds {
        let input =
            json!({"do": "error", "kind": kind, "code": "c", "message": "m", "retry_after": 1500});
        let error = error(hostile(input));
        assert_eq!((error.class, error.code.as_str()), (Some(class), "c"));
        assert_eq!(error.message, "m");
        assert_eq!(error.retry_after, Some(Duration::from_millis(1500)));
    }
}

#[test]
fn a_provider_can_see_which_attempt_it_is() {
    let input = json!({"do": "fail-until", "attempt": 3});
    let attempt = |number| Attempt::new().number(number).run(&HOSTILE, &input);
    assert_eq!(error(attempt(2)).class, Some(ErrorClass::Unavailable));
    assert_eq!(output(attempt(3)), json!(3));
}

#[test]
fn log_records_arrive_with_their_fields() {
    let mut ended = hostile(json!({"do": "log"}));
    let record = ended.log.pop().unwrap();
    assert_eq!((record.level, record.message.as_str()), ("warn", "careful"));
    assert_eq!(record.fields, [("key".to_owned(), "value".to_owned())]);
    let remaining = output(ended).as_u64().unwrap();
    assert!((1..=120_000).contains(&remaining), "{remaining}");
}

#[test]
fn attachments_can_be_read_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let (stored, gone) = (folder.path().join("stored"), folder.path().join("gone"));
    fs_err::write(&stored, "0123456789").unwrap();
    fs_err::write(&gone, "").unwrap();
    let attempt = Attempt::new()
        .attachment("table.csv", "text/csv", &stored)
        .attachment("gone", "text/csv", &gone);
    fs_err::remove_file(gone).unwrap();
    let answer = |input| output(attempt.run(&HOSTILE, &input));
    let read = |name: &str, offset: u32, length: u32| {
        answer(json!({"do": "read-file", "name": name, "offset": offset, "length": length}))
    };

    assert_eq!(
        answer(json!({"do": "names"}))[0],
        json!(["table.csv", "text/csv", 10])
    );
    assert_eq!(read("table.csv", 0, u32::MAX), json!("0123456789"));
    assert_eq!(read("table.csv", 8, 1), json!("8"));
    assert_eq!(read("table.csv", 10, 1), json!(""));
    assert_eq!(read("table.csv", 11, 1), json!({"error": "out-of-range"}));
    assert_eq!(read("other.csv", 0, 1), json!({"error": "not-found"}));
    assert_eq!(read("gone", 0, 1), json!({"error": "unavailable"}));
}

#[test]
fn a_guest_has_nothing_that_it_was_not_granted() {
    assert_eq!(
        output(hostile(json!({"do": "http"}))),
        json!(
            "Err(HttpError::Denied(\"`GET https://example.com` is not granted; add \\\"https://example.com\\\" to \
             `net` of the provider's `grants`\"))"
        )
    );
    assert_eq!(
        output(hostile(json!({"do": "secret"}))),
        json!({"error": "denied"})
    );
    assert_eq!(output(hostile(json!({"do": "open-socket"}))), json!(true));
    assert_eq!(
        output(hostile(json!({"do": "environment"}))),
        json!({"variables": 0, "root": false})
    );
}
