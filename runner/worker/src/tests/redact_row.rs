use std::{collections::BTreeMap, time::Duration};

use runner_model::{
    ErrorClass,
    log::Said,
    outcome::Verdict,
    row::{Check, Metric, Raw, RowError, Usage},
};
use runner_sandbox::{Ended, Ending, LeftContent, LeftFile, Redactor, Reply};

use super::redact;

const SECRET: &str = "hunter2-42";

fn ended(ending: Ending) -> Ended {
    Ended {
        ending,
        had_sandbox: true,
        duration: Duration::ZERO,
        suspended: Duration::ZERO,
        usage: Usage::default(),
        denied: Vec::new(),
        said: Said { stdout: SECRET.into(), stderr: SECRET.into(), ..Said::default() },
        artifacts: [
            format!("{SECRET}.txt"),
            format!("{SECRET}.txt"),
            "a".into(),
            "x".repeat(100) + SECRET,
        ]
        .map(|name| LeftFile {
            name,
            media_type: format!("text/{SECRET}"),
            bytes: 0,
            content: LeftContent::Memory(Vec::new()),
        })
        .into(),
        workspace: None,
        fixed_limit: None,
        lost: Some(RowError { details: None, ..error(SECRET) }),
        host_fault: None,
        transcript: Vec::new(),
        dropped_steps: 0,
        agent_end: None,
        reported: Vec::new(),
        reported_by_tools: Vec::new(),
        calls: None,
        service_failed: None,
    }
}

fn error(text: &str) -> RowError<'static> {
    RowError {
        class: Some(ErrorClass::Other),
        code: text.to_owned().into(),
        message: text.to_owned().into(),
        excerpt: Some(text.to_owned().into()),
        stderr: Some(text.to_owned().into()),
        retry_after_ms: Some(31_337),
        details: Raw::from_string(format!("{{\"a\":\"{text}\"}}")).ok(),
    }
}

fn reply(output: &str) -> Ending {
    let raw = |text: &str| Raw::from_string(text.to_owned()).unwrap();
    let metric = |name: &str, value| Metric {
        name: name.to_owned().into(),
        value,
        unit: Some(SECRET.into()),
    };
    Ending::Reply(Box::new(Reply {
        score: Some(31_337.0),
        summary: Some(SECRET.into()),
        checks: vec![Check {
            score: Some(raw("31337.5")),
            message: Some(SECRET.into()),
            details: Some(raw(&format!("[\"{SECRET}\"]"))),
            ..Check::own(SECRET, Verdict::Pass)
        }],
        metrics: vec![metric(SECRET, 1.0), metric("m", 31_337.0)],
        ..Reply::new(raw(output))
    }))
}

/// Redacts the result of a call, and asserts that no secret is left.
fn redacted(ending: Ending) -> Ended {
    let values = [("KEY", SECRET), ("NUMBER", "31337")];
    let values: BTreeMap<_, _> =
        values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let mut ended = ended(ending);
    redact(&Redactor::new(&values).unwrap(), &mut ended, 100_000);
    let left = format!("{ended:?}");
    assert!(!left.contains(SECRET) && !left.contains("31337"), "{left}");
    ended
}

#[test]
fn no_field_of_a_row_keeps_a_secret() {
    let ended =
        redacted(reply(r#"{"\u0068unter2-42":1,"HUNTER2-42":[31337,"Bearer hunter2-42"]}"#));
    let Ending::Reply(reply) = &ended.ending else { panic!("{ended:?}") };
    let output = reply.output.get();
    assert_eq!(
        output,
        r#"{"[secret KEY]":["[secret NUMBER]","Bearer [secret KEY]"],"[secret KEY]-2":1}"#
    );
    assert_eq!((reply.score, reply.metrics.len()), (None, 1));
    let names: Vec<_> = ended.artifacts.iter().map(|file| &*file.name).collect();
    let long = "x".repeat(100) + "_secret_KEY_";
    assert_eq!(names, ["_secret_KEY_.txt", "_secret_KEY_.txt-2", "a", &long]);
    assert_eq!(ended.said.stderr, "[secret KEY]".into());

    let ended = redacted(Ending::Error(error(SECRET)));
    let Ending::Error(error) = ended.ending else { panic!() };
    assert_eq!(error.details.unwrap().get(), r#"{"a":"[secret KEY]"}"#);
    assert_eq!(error.retry_after_ms, None);
    redacted(Ending::Timeout);
}

#[test]
fn a_reply_that_cannot_be_searched_is_an_error() {
    let large = format!("[{}]", vec!["{}"; 1000].join(","));
    let Ending::Error(error) = redacted(reply(&large)).ending else { panic!() };
    assert_eq!((error.class, &*error.code), (Some(ErrorClass::Limit), "reply"));
}
