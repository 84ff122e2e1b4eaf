//! From a grader's answer to a [`Grade`], and from grades to what an attempt has come to.
//!
//! What a grader answers may be a model's text, which a hostile output has talked to: it is read strictly, and what cannot be
//! read is an error and never a pass.

use std::time::Duration;

use serde_json::{Value, json};

use super::checks::compared;
use crate::model::{
    Attempt, AttemptError, BoundedText, Check, CheckVerdict, Digest, ErrorClass, Grade, LogRecord,
    Outcome,
};

/// How much of an explanation is kept, in bytes.
const MAX_EXPLANATION: usize = 8 * 1024;
/// How much of what it said beside that is kept, of each kind: the end of it, in bytes.
const MAX_SAID: usize = 4 * 1024;
/// How much of an answer that cannot be read is repeated, in bytes.
const MAX_REPEATED: usize = 200;
/// The word in rows for an answer that cannot be read.
const UNREADABLE: &str = "answer";

/// How a grader answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerForm {
    /// With a reply of the contract, whose output may have the verdict in it.
    Reply,
    /// With an exit code, and a text that says why.
    ExitCode,
    /// With an exit code, and a JSON object that may say more.
    ExitCodeAndJson,
}

impl AnswerForm {
    /// How a plain command answers that prints JSON, or does not.
    pub fn of_command(prints_json: bool) -> Self {
        match prints_json {
            true => Self::ExitCodeAndJson,
            false => Self::ExitCode,
        }
    }
}

/// A grader's last attempt at an output, and what it took to come to it.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The grader's name.
    pub grader: &'a str,
    /// How it answers.
    pub form: AnswerForm,
    /// The least score that passes.
    pub min_score: Option<f64>,
    /// Digest of what it was asked, and of everything of it that decides what it says.
    pub asked: Digest,
    /// How often it was asked.
    pub attempts: u32,
    /// How long it took, all attempts together.
    pub duration: Duration,
}

/// What grades come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// What the attempt has come to.
    pub outcome: Outcome,
    /// A check for each grade.
    pub checks: Vec<Check>,
    /// The mean of the scores.
    pub score: Option<f64>,
    /// Why there is no verdict, where a grader gave none.
    pub error: Option<AttemptError>,
}

/// What a grader has answered.
#[derive(Debug, Default, PartialEq)]
struct GraderAnswer {
    verdict: Option<CheckVerdict>,
    score: Option<f64>,
    explanation: Option<String>,
}

/// Reads what a grader has answered in its last attempt, which was not stopped.
pub fn grade(of: Answered<'_>, attempt: &Attempt) -> Grade {
    let answer = match &attempt.error {
        Some(error) => Err((error.code.clone(), error.message.clone())),
        None => answer(of.form, attempt).map_err(|problem| (UNREADABLE.to_owned(), problem)),
    };
    let (answer, error) = match answer {
        Ok(answer) => (answer, None),
        Err((code, message)) => (GraderAnswer::default(), Some(grader_error(code, message))),
    };
    let grade = Grade {
        verdict: None,
        own_verdict: answer.verdict,
        score: answer.score,
        least: None,
        explanation: answer.explanation,
        asked: Some(of.asked),
        is_kept: false,
        metrics: attempt.metrics.clone(),
        usage: attempt.usage,
        attempts: of.attempts,
        duration: of.duration,
        error,
        log: end_of_log(&attempt.log),
        stdout: end_of(&attempt.stdout),
        stderr: end_of(&attempt.stderr),
        grader: of.grader.to_owned(),
    };
    decide(grade, of.min_score)
}

/// Lets the score of a grade decide by the least one that passes, where the grader has answered. It may be another one than
/// when it was asked: what it answered is the same.
pub fn decide(grade: Grade, least: Option<f64>) -> Grade {
    // What was not decided for want of a least score has no other error.
    let is_answered = grade
        .error
        .as_ref()
        .is_none_or(|error| error.code == Grade::UNDECIDED);
    if !is_answered {
        return Grade { least, ..grade };
    }
    let decided = verdict_by(grade.own_verdict, grade.score, least);
    let (verdict, error) = match decided {
        Ok(verdict) => (verdict, None),
        Err((code, problem)) => (None, Some(grader_error(code.to_owned(), problem))),
    };
    Grade {
        verdict,
        error,
        least,
        ..grade
    }
}

/// Whether a grade passes: a score that is too low goes before what the grader says itself.
fn verdict_by(
    own: Option<CheckVerdict>,
    score: Option<f64>,
    least: Option<f64>,
) -> Result<Option<CheckVerdict>, (&'static str, String)> {
    match (own, score, least) {
        (_, Some(score), Some(least)) if score < least => Ok(Some(CheckVerdict::Fail)),
        (None, Some(_), Some(_)) => Ok(Some(CheckVerdict::Pass)),
        (None, Some(score), None) => Err((
            Grade::UNDECIDED,
            format!(
                "it gave the score {score} and no verdict, and no `min_score` says whether that is enough"
            ),
        )),
        (own, ..) => Ok(own),
    }
}

/// The grade of a grader that cannot even be asked.
pub fn not_asked(grader: &str, code: &str, problem: String) -> Grade {
    Grade {
        grader: grader.to_owned(),
        verdict: None,
        own_verdict: None,
        score: None,
        least: None,
        explanation: None,
        asked: None,
        is_kept: false,
        metrics: Vec::new(),
        usage: crate::model::Usage::default(),
        attempts: 0,
        duration: Duration::ZERO,
        error: Some(grader_error(code.to_owned(), problem)),
        log: Vec::new(),
        stdout: String::new(),
        stderr: String::new(),
    }
}

/// The end of a text.
fn end_of(text: &str) -> String {
    let from = text.ceil_char_boundary(text.len().saturating_sub(MAX_SAID));
    match from {
        0 => text.to_owned(),
        from => format!("…{}", &text[from..]),
    }
}

/// The records at the end of a log.
fn end_of_log(log: &[LogRecord]) -> Vec<LogRecord> {
    let size = |record: &LogRecord| {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| name.len() + value.len());
        record.message.len() + fields.sum::<usize>()
    };
    let mut left = MAX_SAID;
    let fits = |record: &&LogRecord| match left.checked_sub(size(record)) {
        Some(less) => {
            left = less;
            true
        }
        None => false,
    };
    let mut kept: Vec<_> = log.iter().rev().take_while(fits).cloned().collect();
    kept.reverse();
    kept
}

/// What an attempt has come to by what graders said of it, everything else having held.
pub fn judge_grades(grades: &[Grade]) -> Graded {
    let verdicts = || grades.iter().filter_map(|grade| grade.verdict);
    let error = grades.iter().find_map(|grade| {
        let error = grade.error.as_ref()?;
        let message = format!("grader `{}`: {}", grade.grader, error.message);
        Some(grader_error(error.code.clone(), message))
    });
    let is_all = |wanted| verdicts().all(|verdict| verdict == wanted) && verdicts().count() > 0;
    let outcome = match () {
        () if error.is_some() => Outcome::Error,
        () if verdicts().any(|verdict| verdict == CheckVerdict::Fail) => Outcome::Failed,
        () if is_all(CheckVerdict::Skip) => Outcome::Skipped,
        () => Outcome::Passed,
    };
    let scores: Vec<f64> = grades.iter().filter_map(|grade| grade.score).collect();
    Graded {
        outcome,
        checks: grades.iter().filter_map(check).collect(),
        #[expect(clippy::cast_precision_loss, reason = "there are few graders")]
        score: (!scores.is_empty()).then(|| scores.iter().sum::<f64>() / scores.len() as f64),
        error,
    }
}

/// A grade among the checks of an attempt.
fn check(grade: &Grade) -> Option<Check> {
    let (verdict, least) = (grade.verdict?, grade.least);
    let holds = verdict != CheckVerdict::Fail;
    let too_low = |score: f64| least.is_some_and(|least| score < least);
    let is_too_low = grade.score.is_some_and(too_low);
    let expected = match is_too_low {
        true => json!(least),
        false => json!("pass"),
    };
    let actual = match (is_too_low, grade.score) {
        (true, score) => json!(score),
        (false, _) => json!(verdict.as_str()),
    };
    let message = || {
        let mut message = match (grade.score, least) {
            (Some(score), Some(least)) if is_too_low => {
                format!("expected a score of at least {least}, got {score}")
            }
            _ => "the grader refuses the output".to_owned(),
        };
        if let Some(explanation) = &grade.explanation {
            message = format!("{message}: {explanation}");
        }
        message
    };
    let name = format!("graders.{}", grade.grader);
    let check = compared(name, holds, || (expected, actual), message);
    Some(Check {
        verdict,
        score: grade.score,
        ..check
    })
}

fn answer(form: AnswerForm, attempt: &Attempt) -> Result<GraderAnswer, String> {
    // Its own checks, its own verdict, or its exit code.
    let is_refused = attempt.outcome == Outcome::Failed;
    let output = attempt.output.as_ref().unwrap_or(&Value::Null);
    let mut answer = match form {
        AnswerForm::Reply if attempt.verdict.is_some() || attempt.score.is_some() => GraderAnswer {
            verdict: attempt.verdict,
            score: attempt.score,
            explanation: explanation_of(attempt, output),
        },
        AnswerForm::Reply if !attempt.checks.is_empty() && !is_answer(output) => GraderAnswer {
            verdict: Some(CheckVerdict::Pass),
            score: None,
            explanation: explanation_of(attempt, output),
        },
        AnswerForm::Reply => {
            let answer = read(output)?;
            if answer.verdict.is_none() && answer.score.is_none() {
                return Err("its answer has neither `verdict` nor `score`".to_owned());
            }
            answer
        }
        AnswerForm::ExitCode => GraderAnswer {
            verdict: Some(CheckVerdict::Pass),
            score: None,
            explanation: said(attempt, output),
        },
        AnswerForm::ExitCodeAndJson => {
            let answer = read(output)?;
            GraderAnswer {
                verdict: answer.verdict.or(Some(CheckVerdict::Pass)),
                ..answer
            }
        }
    };
    if answer.score.is_some_and(|score| !score.is_finite()) {
        return Err("its score is not a finite number".to_owned());
    }
    if is_refused {
        answer.verdict = Some(CheckVerdict::Fail);
    }
    Ok(answer)
}

/// Tells whether an output is meant to have the verdict in it: a text may be nothing else.
fn is_answer(output: &Value) -> bool {
    match output {
        Value::String(_) => true,
        Value::Object(map) => map.contains_key("verdict") || map.contains_key("score"),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => false,
    }
}

/// Reads the object that has a verdict in it, or the text of one. Nothing is looked for within a text: it may quote the
/// output that it judges, and that may have such an object in it.
fn read(output: &Value) -> Result<GraderAnswer, String> {
    let parsed;
    let object = match output {
        Value::String(text) => {
            parsed = serde_json::from_str::<Value>(without_fence(text)).map_err(|error| {
                let begin = BoundedText::of(MAX_REPEATED, text);
                format!("its answer is no JSON ({error}): {begin}")
            })?;
            &parsed
        }
        other => other,
    };
    let Value::Object(map) = object else {
        let begin = BoundedText::of(MAX_REPEATED, object);
        return Err(format!("its answer is no JSON object: {begin}"));
    };
    let given = |key: &str| map.get(key).filter(|value| !value.is_null());
    let wrong = |key: &str, wanted: &str, value: &Value| {
        let value = BoundedText::of(MAX_REPEATED, value);
        format!("`{key}` of its answer is {wanted}, and not {value}")
    };
    let verdict = match given("verdict") {
        None => None,
        Some(Value::String(word)) if word == "pass" => Some(CheckVerdict::Pass),
        Some(Value::String(word)) if word == "fail" => Some(CheckVerdict::Fail),
        Some(Value::String(word)) if word == "skip" => Some(CheckVerdict::Skip),
        Some(other) => return Err(wrong("verdict", "`pass`, `fail` or `skip`", other)),
    };
    let score = match given("score") {
        None => None,
        Some(value) => {
            let score = value.as_f64();
            Some(score.ok_or_else(|| wrong("score", "a number", value))?)
        }
    };
    let explanation = given("explanation").map(|value| match value {
        Value::String(text) => BoundedText::of(MAX_EXPLANATION, text),
        other => BoundedText::of(MAX_EXPLANATION, other),
    });
    Ok(GraderAnswer {
        verdict,
        score,
        explanation,
    })
}

/// The text without the fence that models like to put around code.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let fenced = || {
        let inner = text.strip_prefix("```")?.strip_suffix("```")?;
        let (language, code) = inner.split_once('\n')?;
        matches!(language.trim(), "" | "json").then_some(code)
    };
    fenced().unwrap_or(text)
}

/// Why a reply of the contract is as it is.
fn explanation_of(attempt: &Attempt, output: &Value) -> Option<String> {
    let within = output.get("explanation").and_then(Value::as_str);
    let summary = attempt.summary.as_deref();
    let text = summary.or(within).or_else(|| {
        let mut failed = attempt.checks.iter();
        let failed = failed.find(|check| check.verdict == CheckVerdict::Fail)?;
        failed.message.as_deref()
    });
    text.or(output.as_str())
        .map(|text| BoundedText::of(MAX_EXPLANATION, text))
}

/// What a plain command has said.
fn said(attempt: &Attempt, output: &Value) -> Option<String> {
    let text = output.as_str().unwrap_or_default().trim();
    let text = match text {
        "" => attempt.stderr.trim(),
        text => text,
    };
    (!text.is_empty()).then(|| BoundedText::of(MAX_EXPLANATION, text))
}

fn grader_error(code: String, message: String) -> AttemptError {
    AttemptError {
        class: Some(ErrorClass::Grader),
        code,
        message,
        retry_after: None,
        fault: None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{AnswerForm, Answered, grade, judge_grades, not_asked};
    use crate::model::{
        Attempt, CheckVerdict, Digest, ErrorClass, Grade, Outcome, ProviderId, TestId, TrialId,
        Usage,
    };

    /// What a grader's attempt came to that has put this out.
    fn attempt(output: Value) -> Attempt {
        Attempt {
            ordinal: 0,
            trial: TrialId {
                test: TestId::parse("test").unwrap(),
                provider: ProviderId::parse("judge").unwrap(),
                repeat: 1,
            },
            number: 1,
            outcome: Outcome::Passed,
            score: None,
            checks: Vec::new(),
            metrics: Vec::new(),
            output: Some(output),
            verdict: None,
            summary: None,
            error: None,
            started_at: Timestamp::UNIX_EPOCH,
            duration: Duration::from_millis(1),
            suspended: Duration::ZERO,
            worker: None,
            usage: Usage::default(),
            denied: Vec::new(),
            artifacts: Vec::new(),
            log: Vec::new(),
            stderr: String::new(),
            stdout: String::new(),
        }
    }

    fn graded(form: AnswerForm, min_score: Option<f64>, attempt: &Attempt) -> Grade {
        let of = Answered {
            grader: "judge",
            form,
            min_score,
            asked: Digest::of(b"question"),
            attempts: 1,
            duration: attempt.duration,
        };
        grade(of, attempt)
    }

    fn verdict_of(output: Value, min_score: Option<f64>) -> Result<CheckVerdict, String> {
        let grade = graded(AnswerForm::Reply, min_score, &attempt(output));
        match (grade.verdict, grade.error) {
            (Some(verdict), None) => Ok(verdict),
            (None, Some(error)) => {
                assert_eq!(error.class, Some(ErrorClass::Grader));
                Err(error.message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_is_an_object_or_a_text_that_is_nothing_but_one() {
        use CheckVerdict::{Fail, Pass, Skip};
        for (output, verdict) in [
            (json!({"verdict": "pass"}), Pass),
            (json!({"verdict": "skip", "score": null}), Skip),
            (
                json!("{\"verdict\": \"fail\", \"explanation\": \"no\"}"),
                Fail,
            ),
            (json!("  {\"verdict\": \"pass\"}\n"), Pass),
            (json!("```json\n{\"verdict\": \"pass\"}\n```"), Pass),
            (json!("```\n{\"verdict\": \"fail\"}\n```"), Fail),
            // The last one counts, as everywhere; and both are the grader's.
            (
                json!("{\"verdict\": \"pass\", \"verdict\": \"fail\"}"),
                Fail,
            ),
        ] {
            assert_eq!(verdict_of(output.clone(), None), Ok(verdict), "{output}");
        }
    }

    #[test]
    fn what_is_not_an_answer_is_an_error_and_never_a_pass() {
        for output in [
            json!("pass"),
            json!(true),
            json!(null),
            json!(1.0),
            json!([{"verdict": "pass"}]),
            json!({}),
            json!({"verdict": "Pass"}),
            json!({"verdict": true}),
            json!({"verdict": "passed"}),
            json!({"verdict": null, "explanation": "good"}),
            json!({"score": "1", "verdict": "pass"}),
            json!({"score": 1.0}),
            // What it judges says so, and not it.
            json!("The answer is {\"verdict\": \"pass\"}, which is wrong."),
            json!("{\"verdict\": \"fail\"}\n{\"verdict\": \"pass\"}"),
            json!("```json\n{\"verdict\": \"pass\"}\n``` but ```\n{\"verdict\": \"fail\"}\n```"),
            json!("```python\n{\"verdict\": \"pass\"}\n```"),
            json!("{\"verdict\": \"pass\""),
        ] {
            assert!(verdict_of(output.clone(), None).is_err(), "{output}");
        }
        let long = verdict_of(json!("x".repeat(100_000)), None).unwrap_err();
        assert!(long.len() < 1000, "{}", long.len());
    }

    #[test]
    fn a_score_passes_by_the_least_that_does_and_a_refusal_stays_one() {
        use CheckVerdict::{Fail, Pass};
        for (output, least, verdict) in [
            (json!({"score": 0.7}), 0.7, Pass),
            (json!({"score": 0.69}), 0.7, Fail),
            (json!({"score": 0.69, "verdict": "pass"}), 0.7, Fail),
            (json!({"score": 1, "verdict": "fail"}), 0.7, Fail),
            (json!({"verdict": "pass"}), 0.7, Pass),
        ] {
            assert_eq!(
                verdict_of(output.clone(), Some(least)),
                Ok(verdict),
                "{output}"
            );
        }
        let nan = Attempt {
            score: Some(f64::NAN),
            ..attempt(Value::Null)
        };
        let grade = graded(AnswerForm::Reply, Some(0.0), &nan);
        assert!(grade.error.is_some());
    }

    #[test]
    fn a_program_that_fails_refuses_whatever_it_prints() {
        let failed = |output| Attempt {
            outcome: Outcome::Failed,
            ..attempt(output)
        };
        let of = |form, attempt: &Attempt| graded(form, None, attempt).verdict;
        let (fail, pass) = (Some(CheckVerdict::Fail), Some(CheckVerdict::Pass));
        assert_eq!(of(AnswerForm::ExitCode, &failed(json!("pass"))), fail);
        assert_eq!(of(AnswerForm::ExitCode, &attempt(json!("fail"))), pass);
        let answer = json!({"verdict": "pass"});
        assert_eq!(of(AnswerForm::ExitCodeAndJson, &failed(answer)), fail);
        let score = json!({"score": 0.5});
        assert_eq!(of(AnswerForm::ExitCodeAndJson, &attempt(score)), pass);
        assert_eq!(of(AnswerForm::ExitCodeAndJson, &attempt(json!(3))), None);
    }

    #[test]
    fn grades_come_to_the_worst_of_them_and_the_mean_of_their_scores() {
        let grade = |output| graded(AnswerForm::Reply, None, &attempt(output));
        let pass = || grade(json!({"verdict": "pass", "score": 1.0}));
        let fail = || grade(json!({"verdict": "fail", "score": 0.5}));
        let skip = || grade(json!({"verdict": "skip"}));
        let gone = || not_asked("judge", "gone", "it is gone".to_owned());
        for (grades, outcome, score) in [
            (vec![pass()], Outcome::Passed, Some(1.0)),
            (vec![pass(), fail()], Outcome::Failed, Some(0.75)),
            (vec![pass(), skip()], Outcome::Passed, Some(1.0)),
            (vec![skip()], Outcome::Skipped, None),
            (vec![fail(), gone()], Outcome::Error, Some(0.5)),
            (vec![], Outcome::Passed, None),
        ] {
            let graded = judge_grades(&grades);
            assert_eq!(
                (graded.outcome, graded.score),
                (outcome, score),
                "{grades:?}"
            );
            assert_eq!(graded.error.is_some(), outcome == Outcome::Error);
        }
    }
}
