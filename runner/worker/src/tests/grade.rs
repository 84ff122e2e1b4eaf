//! Answers of graders in every form, and arguments that outputs would turn into flags.

use std::time::Duration;

use runner_model::log::Said;
use runner_model::outcome::Verdict;
use runner_model::provider::{Arguments, OutputForm, Protocol};
use runner_model::row::{Check, CheckKind, Raw};
use runner_model::template::Template;
use runner_model::{Outcome, Row, Time, TrialId};
use runner_sandbox::CommandCall;

use super::{AnswerForm, GraderAnswer, MAX_TEXT, ScoreBounds, answer, check_flags, decide, log_of};
use crate::provider::Filled;

fn row(output: &str) -> Row<'static> {
    let trial = TrialId::parse("a@p#1").unwrap();
    Row {
        outcome: Outcome::Passed,
        output: Raw::from_string(output.to_owned()).ok(),
        ..Row::new(&trial, 1, Time::from_millis(0), Duration::ZERO, Duration::ZERO)
    }
}

fn text(text: &str) -> Row<'static> {
    row(&serde_json::to_string(text).unwrap())
}

fn read(form: AnswerForm, row: &Row<'static>) -> Result<GraderAnswer, String> {
    let said = Said { stderr: "why not\n".into(), ..Said::default() };
    answer(form, row, &said).map_err(|error| error.message.to_string())
}

fn answered(
    verdict: Option<Verdict>,
    score: Option<f64>,
    explanation: Option<&str>,
) -> GraderAnswer {
    GraderAnswer { verdict, score, explanation: explanation.map(str::to_owned) }
}

#[test]
fn objects_and_fenced_texts_are_answers() {
    let whole = r#"{"verdict": "pass", "score": 0.9, "explanation": "good"}"#;
    let expected = answered(Some(Verdict::Pass), Some(0.9), Some("good"));
    for row in [
        row(whole),
        text(whole),
        text(&format!("\n  {whole}\n")),
        text(&format!("```json\n{whole}\n```")),
        text(&format!("```\n{whole}\n```\n")),
        text(&format!("\u{feff}```JSON\r\n{whole}\r\n```")),
        text(&format!("````json\n{whole}\n````")),
    ] {
        assert_eq!(read(AnswerForm::Object, &row), Ok(expected.clone()));
    }
    for (output, verdict, score, explanation) in [
        (r#"{"verdict":"skip"}"#, Some(Verdict::Skip), None, None),
        (r#"{"score":-3}"#, None, Some(-3.0), None),
        (r#"{"verdict":"fail","score":null}"#, Some(Verdict::Fail), None, None),
        (r#"{"pass":true}"#, Some(Verdict::Pass), None, None),
        (r#"{"pass":false,"score":0.9}"#, Some(Verdict::Fail), Some(0.9), None),
        (r#"{"pass":false,"verdict":"fail"}"#, Some(Verdict::Fail), None, None),
        (r#"{"pass":null,"score":1,"reason":"why"}"#, None, Some(1.0), Some("why")),
        (r#"{"score":1,"reasoning":"long","reason":"why"}"#, None, Some(1.0), Some("why")),
        (r#"{"reasoning":"long","explanation":"e","score":1}"#, None, Some(1.0), Some("e")),
        (r#"{"score":1,"explanation":["a"]}"#, None, Some(1.0), Some(r#"["a"]"#)),
        ("{}", None, None, None),
    ] {
        let expected = answered(verdict, score, explanation);
        assert_eq!(read(AnswerForm::Object, &row(output)), Ok(expected), "{output}");
    }
}

#[test]
fn end_of_an_agent_explains_its_failed_grade() {
    let end = "expected the agent to end as `done`, got `turns`";
    let ended = |output: &str| {
        let check = Check {
            message: Some(end.into()),
            ..Check::new(CheckKind::TranscriptEnded, Verdict::Fail)
        };
        Row { outcome: Outcome::Failed, checks: vec![check], ..row(output) }
    };
    let fail = |explanation: &str| answered(Some(Verdict::Fail), None, Some(explanation));
    let read = |output: &str| read(AnswerForm::Object, &ended(output)).unwrap();
    assert_eq!(read(r#"{"verdict":"pass"}"#), fail(end));
    assert_eq!(read(r#"{"verdict":"pass","reason":"good"}"#), fail(&format!("{end}\ngood")));
}

#[test]
fn other_texts_are_no_answers() {
    let whole = r#"{"verdict": "pass"}"#;
    for (row, reason) in [
        (text("pass"), "its answer is not a JSON object"),
        (text(""), "its answer is not a JSON object"),
        (row("null"), "its answer is not a JSON object"),
        (row("true"), "its answer is not a JSON object"),
        (row("[1]"), "its answer is not a JSON object"),
        (text(&format!("I think so: {whole}")), "its answer is not a JSON object"),
        (text(&format!("{whole}\n{whole}")), "its answer is not a JSON object"),
        (text(&format!("```json\n{whole}\n``` or not")), "its answer is not a JSON object"),
        (text(&format!("```python\n{whole}\n```")), "its answer is not a JSON object"),
        (text(&format!("````json\n{whole}\n```")), "its answer is not a JSON object"),
        (text(&format!("``json\n{whole}\n``")), "its answer is not a JSON object"),
        (text("```"), "its answer is not a JSON object"),
        (text(&"[".repeat(100_000)), "its answer is not a JSON object"),
        (row(r#"{"verdict":"PASS"}"#), "its `verdict` must be `pass`, `fail` or `skip`"),
        (row(r#"{"verdict":true}"#), "its `verdict` must be `pass`, `fail` or `skip`"),
        (row(r#"{"score":"0.9"}"#), "its `score` must be a number"),
        (text(r#"{"verdict":"fail","verdict":"pass"}"#), "duplicate field `verdict`"),
        (
            row(r#"{"pass":"false","score":1}"#),
            "its `pass` must be `true` or `false`, not \"false\"",
        ),
        (row(r#"{"pass":0,"score":1}"#), "its `pass` must be `true` or `false`, not 0"),
        (row(r#"{"pass":false,"verdict":"pass"}"#), "its `pass` contradicts its `verdict`"),
        (row(r#"{"pass":true,"verdict":"skip"}"#), "its `pass` contradicts its `verdict`"),
    ] {
        let error = read(AnswerForm::Object, &row).unwrap_err();
        assert!(error.contains(reason), "{error}");
        assert!(error.len() < 700, "{error}");
    }
}

#[test]
fn unknown_keys_of_an_answer_are_errors() {
    for key in ["passed", "error", "result", "Pass", "grade", "scores", "VERDICT", "confidence", ""]
    {
        for value in ["false", "true", "null", "\"why\"", "0"] {
            let whole = format!("{{\"score\":0.9,\"{key}\":{value},\"verdict\":\"pass\"}}");
            for form in [AnswerForm::Object, AnswerForm::ExitCodeAndObject] {
                let fenced = text(&format!("```json\n{whole}\n```"));
                for row in [row(&whole), text(&whole), fenced] {
                    let error = read(form, &row).unwrap_err();
                    let known = "`verdict`, `pass`, `score`, `explanation`, `reason`, `reasoning`";
                    assert!(error.contains(&format!("unknown field `{key}`")), "{error}");
                    assert!(error.contains(known), "{error}");
                }
            }
        }
    }
}

#[test]
fn parts_of_a_reply_go_before_its_output() {
    let of = |change: fn(&mut Row<'static>)| {
        let mut row = row(r#"{"verdict":"fail","explanation":"in the output"}"#);
        change(&mut row);
        read(AnswerForm::Object, &row).unwrap()
    };
    let verdict = of(|row| row.verdict = Some(Verdict::Pass));
    assert_eq!(verdict, answered(Some(Verdict::Pass), None, Some("in the output")));
    let score = of(|row| (row.score, row.summary) = (Some(2.0), Some("short".into())));
    assert_eq!(score, answered(None, Some(2.0), Some("short")));
    let own = |verdict| Check::own("style", verdict);
    let mut checked = row("1");
    checked.checks = vec![own(Verdict::Pass)];
    assert_eq!(read(AnswerForm::Object, &checked), Ok(answered(Some(Verdict::Pass), None, None)));
    // A failed check is a fail, whatever the verdict.
    (checked.outcome, checked.checks) = (Outcome::Failed, vec![own(Verdict::Fail)]);
    checked.verdict = Some(Verdict::Pass);
    assert_eq!(read(AnswerForm::Object, &checked).unwrap().verdict, Some(Verdict::Fail));
}

#[test]
fn exit_code_of_a_plain_command_is_the_verdict() {
    use AnswerForm::{ExitCode, ExitCodeAndObject};
    let failed = |row: Row<'static>| Row { outcome: Outcome::Failed, ..row };
    let pass = Some(Verdict::Pass);
    let fail = Some(Verdict::Fail);
    for (form, row, verdict, score, explanation) in [
        (ExitCode, text(" fine \n"), pass, None, Some("fine")),
        (ExitCode, text(""), pass, None, Some("why not")),
        (ExitCode, failed(text("")), fail, None, Some("why not")),
        // The printed text of a plain command is not an answer.
        (
            ExitCode,
            failed(text(r#"{"verdict":"pass"}"#)),
            fail,
            None,
            Some(r#"{"verdict":"pass"}"#),
        ),
        (ExitCodeAndObject, row(r#"{"score":0.5}"#), pass, Some(0.5), None),
        (ExitCodeAndObject, row(r#"{"verdict":"fail"}"#), fail, None, None),
        (ExitCodeAndObject, failed(row(r#"{"verdict":"pass"}"#)), fail, None, None),
    ] {
        assert_eq!(read(form, &row), Ok(answered(verdict, score, explanation)));
    }
    assert!(read(ExitCodeAndObject, &text("fine")).is_err());
}

#[test]
fn lowest_score_goes_before_the_verdict() {
    let (pass, fail, skip) = (Some(Verdict::Pass), Some(Verdict::Fail), Some(Verdict::Skip));
    for (own, score, min_score, verdict) in [
        (pass, None, None, pass),
        (skip, None, Some(0.5), skip),
        (None, Some(0.5), Some(0.5), pass),
        (None, Some(0.4), Some(0.5), fail),
        (pass, Some(0.4), Some(0.5), fail),
        (fail, Some(0.9), Some(0.5), fail),
        (pass, Some(0.0), None, pass),
        (None, Some(0.9), None, None),
        (None, None, Some(0.5), None),
    ] {
        let decided = decide(own, score, ScoreBounds { min: min_score, max: None }).ok();
        assert_eq!(decided, verdict, "{own:?} {score:?} {min_score:?}");
    }
}

#[test]
fn scores_outside_of_the_bounds_are_errors() {
    let decided = |own, score| {
        let bounds = ScoreBounds { min: Some(0.7), max: Some(1.0) };
        decide(own, Some(score), bounds).map_err(|error| error.message.to_string())
    };
    assert_eq!(decided(None, 1.0), Ok(Verdict::Pass));
    assert_eq!(decided(None, 0.0), Ok(Verdict::Fail));
    for own in [None, Some(Verdict::Pass), Some(Verdict::Fail)] {
        for score in [1.01, 9.0, 1e300, -0.1, -1e300] {
            let error = decided(own, score).unwrap_err();
            assert!(error.contains(&format!("its score {score} is not from 0 to 1")), "{error}");
        }
    }
}

#[test]
fn outputs_never_become_flags() {
    let template = |text: &str| Template::parse(text).unwrap();
    let check = |templates: &[&str], args: &[&str]| {
        let command = CommandCall {
            program: "grader".into(),
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            stdin: None,
            protocol: Protocol::Plain,
            output: OutputForm::Text,
        };
        let filled = Filled { command: Some(command), env: Vec::new() };
        let templates = match templates {
            [""] => Arguments::List(template("{{input.args}}")),
            each => Arguments::Each(each.iter().map(|text| template(text)).collect()),
        };
        check_flags(&templates, &filled).map_err(|error| error.message.to_string())
    };
    let (output, other) = ("{{input.output}}", "{{input.reference}}");
    for (templates, args) in [
        (&[output][..], &["text"][..]),
        (&[output], &[""]),
        (&["-q", output], &["-q", "text"]),
        (&["--", output], &["--", "--help"]),
        (&["--text={{input.output}}"], &["--text=--help"]),
        (&["-{{input.output}}"], &["-x"]),
        (&[""], &["text", "--", "--help"]),
        (&["{{config.flag}}", output], &["--strict", "text"]),
    ] {
        assert_eq!(check(templates, args), Ok(()), "{args:?}");
    }
    for (templates, args, flag) in [
        (&[output][..], &["--help"][..], "--help"),
        (&["text", output], &["text", "-"], "-"),
        (&[output, other], &["--", "text"], "--"),
        (&[output, "--", other], &["-5", "--", "-5"], "-5"),
        (&[""], &["--help"], "--help"),
        (&["{{config.empty}}{{input.output}}"], &["--help"], "--help"),
    ] {
        let message = check(templates, args).unwrap_err();
        assert!(message.starts_with(&format!("the argument `{flag}` would be a flag")));
    }
}

#[test]
fn end_of_a_long_log_is_kept() {
    let said =
        Said { stderr: format!("start{}end", "ü".repeat(MAX_TEXT)).into(), ..Said::default() };
    let log = log_of(&said).unwrap();
    assert!(log.len() <= MAX_TEXT && log.ends_with("end") && !log.contains("start"));
    assert_eq!(log_of(&Said { stderr: " \n".into(), ..Said::default() }), None);
}
