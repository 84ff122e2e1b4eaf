//! [`Question`]: the input of a grader about a stored row. [`grade`] reads the answer.
//!
//! An answer may be the text of a model, and a hostile output may contain instructions for the model. It is read strictly:
//! anything else is an error, and never a pass.

use runner_model::provider::{Arguments, Grading};
use runner_model::row::{Check, CheckKind, Grade, Raw, RowError};
use runner_model::template::{Template, TemplatePiece, fill};
use runner_model::workspace::WorkspaceResult;
use runner_model::{
    ErrorClass, Fingerprint, Outcome, Row, RowRef, digest, log::Said, outcome::Verdict,
    protocol::Task, test::Test,
};
use runner_sandbox::{cut, failure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, value::RawValue, value::to_raw_value};

use crate::judge::{max_tree_bytes, tree_bytes, without_fence};
use crate::provider::{Filled, LoadedProvider};

/// Bytes of a grade's explanation, log and error message. The row has to hold those of all graders of a test.
const MAX_TEXT: usize = 4 << 10;
/// Bytes of an answer that cannot be read, in the error.
const MAX_QUOTED: usize = 200;
/// Metrics of a grade.
const MAX_METRICS: usize = 40;

/// The input of a grader.
pub struct Question {
    pub input: Box<RawValue>,
    /// The hash of the grader's settings and the input.
    pub asked: Fingerprint,
}

impl Question {
    /// Fills the `input` of a grader with the values of a test and of its stored row.
    ///
    /// # Errors
    ///
    /// A value that is missing or too large.
    pub fn new(
        grader: &LoadedProvider,
        grading: &Grading,
        test: &Test<'_>,
        row: &RowRef<'_>,
    ) -> Result<Self, RowError<'static>> {
        let most = max_tree_bytes(grader.settings.limits.input);
        let output = row.output.as_ref().map_or("null", Raw::get);
        if row.output_artifact().is_some() || tree_bytes(output) > most {
            let message = "the output is too large for a grader; `limits.input` bounds it";
            return Err(failure(ErrorClass::Limit, "output", message));
        }
        let parse = |json: &str| {
            serde_json::from_str::<Value>(json).map_err(|error| {
                failure(ErrorClass::Internal, "row", format!("cannot read the row: {error}"))
            })
        };
        let metrics = row.metrics.iter().map(|one| (one.name.to_string(), one.value.into()));
        let values = [
            ("input", parse(test.input.get())?),
            ("output", parse(output)?),
            ("reference", parse(test.reference.map_or("null", RawValue::get))?),
            ("metrics", Value::Object(metrics.collect())),
            ("test", row.trial.test.as_str().into()),
            ("provider", row.trial.provider.as_str().into()),
        ];
        let roots: Vec<_> = values.iter().map(|(root, value)| (*root, value)).collect();
        let input = match &grading.input {
            Some(template) => fill(template, &roots).map_err(|missing| {
                let message = format!("{missing}, which the grader's `input` needs");
                failure(ErrorClass::InvalidInput, "template", message)
            })?,
            None => {
                let each = values.into_iter().map(|(root, value)| (root.to_owned(), value));
                Value::Object(each.collect::<Map<_, _>>())
            }
        };
        let input = to_raw_value(&input)
            .map_err(|error| failure(ErrorClass::Internal, "input", error.to_string()))?;
        let settings = grading.fingerprint.map(|one| one.to_string()).unwrap_or_default();
        let mut asked = format!("{settings}\0{}", input.get());
        if grading.workspace.is_some() {
            let Some(left @ WorkspaceResult { base, changes, .. }) = row.workspace else {
                let message = "the attempt had no workspace, which the grader reads";
                return Err(failure(ErrorClass::InvalidInput, "workspace", message));
            };
            if !left.is_kept() {
                let message = "the changes in the workspace are not kept: its `keep` is \"none\"";
                return Err(failure(ErrorClass::InvalidInput, "workspace", message));
            }
            let files = test.grader_files.get(&*grader.settings.name);
            for digest in [base.as_ref(), changes.as_ref(), files] {
                asked += &format!("\0{}", digest.map(ToString::to_string).unwrap_or_default());
            }
        }
        Ok(Self { input, asked: digest(asked.as_bytes()).fingerprint() })
    }
}

/// Refuses an argument that an output has turned into a flag: a template that starts with its input, and a value that starts
/// with `-`. After an argument `--`, programs take no flags.
pub fn check_flags(templates: &Arguments, filled: &Filled) -> Result<(), RowError<'static>> {
    let Some(command) = &filled.command else { return Ok(()) };
    let (is_list, is_filled): (bool, &dyn Fn(usize) -> bool) = match templates {
        Arguments::List(list) => (true, &|_| starts_with_input(list)),
        Arguments::Each(each) => (false, &|index| each.get(index).is_some_and(starts_with_input)),
    };
    // Only a `--` of the scenario ends the flags: with one of the output, a later argument would be in its place.
    let ends_flags =
        |index: usize, argument: &str| argument == "--" && (is_list || !is_filled(index));
    let arguments = command.args.iter().enumerate();
    let mut before_dashes = arguments.take_while(|(index, argument)| !ends_flags(*index, argument));
    match before_dashes.find(|(index, argument)| argument.starts_with('-') && is_filled(*index)) {
        None => Ok(()),
        Some((_, argument)) => {
            let argument = cut(MAX_QUOTED, argument);
            let message = format!(
                "the argument `{argument}` would be a flag of the grader: put `\"--\"` before it in `args`, or pass the output by `stdin`"
            );
            Err(failure(ErrorClass::InvalidInput, "argument", message))
        }
    }
}

/// Returns whether the start of a text is of the input. The configuration is of the scenario.
fn starts_with_input(template: &Template) -> bool {
    let mut paths = template.pieces().iter().map_while(TemplatePiece::path);
    paths.any(|path| path[0] == "input")
}

/// Reads the answer of a grader from the row of its call, which was not interrupted.
pub fn grade(
    task: &Task,
    grader: &LoadedProvider,
    bounds: ScoreBounds,
    asked: Option<Fingerprint>,
    row: Row<'static>,
    said: &Said<'_>,
) -> Grade<'static> {
    let form = AnswerForm::of(grader);
    let answered = match row.error {
        Some(error) => Err(error),
        None => answer(form, &row, said).map_err(|error| match end_of_agent(&row.checks) {
            Some(end) => RowError { message: format!("{end}; {}", error.message).into(), ..error },
            None => error,
        }),
    };
    let (answer, verdict) = match answered {
        Ok(mut answer) => {
            // Escapes in a text that is JSON have hidden a secret from the redaction of the row.
            let redactor = grader.access.secrets.redactor();
            if let (Some(redactor), Some(text)) = (redactor, &mut answer.explanation) {
                redactor.text(text);
            }
            let verdict = decide(answer.verdict, answer.score, bounds);
            (answer, verdict)
        }
        Err(error) => (GraderAnswer::default(), Err(error)),
    };
    let (verdict, error) = match verdict {
        Ok(verdict) => (Some(verdict), None),
        Err(error) => {
            let message = cut(MAX_TEXT, &*error.message).into();
            (None, Some(RowError { message, details: None, ..error }))
        }
    };
    let mut metrics = row.metrics;
    metrics.truncate(MAX_METRICS);
    Grade {
        grader: grader.settings.name.to_string().into(),
        attempt: task.attempt,
        verdict,
        own_verdict: answer.verdict,
        score: answer.score,
        min_score: bounds.min,
        weight: grader.settings.grading.as_ref().map_or(1.0, |grading| grading.weight),
        printed: form == AnswerForm::ExitCode && answer.explanation.is_some(),
        explanation: answer.explanation.map(|text| cut(MAX_TEXT, &text).into()),
        error,
        log: log_of(said).map(Into::into),
        duration_ms: row.duration_ms,
        usage: row.usage,
        metrics,
        denied: row.denied,
        calls: row.calls,
        asked,
        partial: false,
        session: 0,
    }
}

/// The bounds of a grader's scores.
#[derive(Clone, Copy, Debug, Default)]
pub struct ScoreBounds {
    /// The lowest score that passes.
    min: Option<f64>,
    /// The highest possible score. The lowest one is then 0.
    max: Option<f64>,
}

impl ScoreBounds {
    /// Returns the bounds for a test, whose own lowest score takes precedence.
    pub fn new(grading: &Grading, test: &Test<'_>) -> Self {
        Self { min: test.expect.min_score.or(grading.min_score), max: grading.max_score }
    }

    pub fn min(self) -> Option<f64> {
        self.min
    }
}

/// Decides by the lowest score that passes, or by the grader's own verdict.
///
/// # Errors
///
/// A score that the grader cannot give, or a score alone without the lowest one that passes.
pub fn decide(
    own: Option<Verdict>,
    score: Option<f64>,
    bounds: ScoreBounds,
) -> Result<Verdict, RowError<'static>> {
    if let (Some(score), Some(max)) = (score, bounds.max)
        && !(0.0..=max).contains(&score)
    {
        let message = format!("its score {score} is not from 0 to {max}, its `max_score`");
        return Err(unreadable(&message));
    }
    match (own, score, bounds.min) {
        (_, Some(score), Some(least)) if score < least => Ok(Verdict::Fail),
        (Some(own), ..) => Ok(own),
        (None, Some(_), Some(_)) => Ok(Verdict::Pass),
        (None, Some(score), None) => Err(unreadable(&format!(
            "it answered with the score {score} and no verdict: set the grader's `min_score`"
        ))),
        (None, None, _) => Err(unreadable("its answer has neither `verdict` nor `score`")),
    }
}

/// The parts of a grader's answer, each `None` if it is missing.
#[derive(Clone, Debug, Default, PartialEq)]
struct GraderAnswer {
    verdict: Option<Verdict>,
    score: Option<f64>,
    explanation: Option<String>,
}

/// The form in which a grader answers if its reply has no verdict, score or checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerForm {
    /// An object with a verdict or a score.
    Object,
    /// The exit code is the verdict, and the output explains it.
    ExitCode,
    /// The exit code is the verdict, and the output is an object.
    ExitCodeAndObject,
}

impl AnswerForm {
    fn of(grader: &LoadedProvider) -> Self {
        match (grader.is_plain(), grader.prints_text()) {
            (false, _) => Self::Object,
            (true, true) => Self::ExitCode,
            (true, false) => Self::ExitCodeAndObject,
        }
    }
}

fn answer(
    form: AnswerForm,
    row: &Row<'static>,
    said: &Said<'_>,
) -> Result<GraderAnswer, RowError<'static>> {
    // The grader's own checks and verdict, or its exit code.
    let is_refused = row.outcome == Outcome::Failed;
    let output = row.output.as_ref().map_or("null", Raw::get);
    let text = || serde_json::from_str::<String>(output).ok();
    let summary = || row.summary.as_ref().map(ToString::to_string);
    let mut answer = if row.verdict.is_some() || row.score.is_some() {
        GraderAnswer {
            verdict: row.verdict,
            score: row.score,
            explanation: summary().or_else(|| explanation(output)),
        }
    } else if row.checks.iter().any(|check| check.kind.is_none()) {
        GraderAnswer { verdict: Some(Verdict::Pass), score: None, explanation: summary() }
    } else if form == AnswerForm::ExitCode {
        let printed = text().filter(|text| !text.trim().is_empty());
        let printed = printed.unwrap_or_else(|| said.stderr.to_string());
        GraderAnswer { verdict: Some(Verdict::Pass), score: None, explanation: end_of(&printed) }
    } else {
        let mut answer = read(text().as_deref().unwrap_or(output))?;
        if form == AnswerForm::ExitCodeAndObject {
            answer.verdict = answer.verdict.or(Some(Verdict::Pass));
        }
        answer
    };
    if is_refused {
        answer.verdict = Some(Verdict::Fail);
        let end = end_of_agent(&row.checks).map(str::to_owned);
        let reasons: Vec<_> = end.into_iter().chain(answer.explanation.take()).collect();
        answer.explanation = (!reasons.is_empty()).then(|| reasons.join("\n"));
    }
    Ok(answer)
}

/// Returns the reason why a grader that is an agent has failed by its end, whatever its answer says.
fn end_of_agent<'a>(checks: &'a [Check<'_>]) -> Option<&'a str> {
    let mut failed = checks.iter().filter(|check| check.verdict == Verdict::Fail);
    failed.find(|check| check.kind == Some(CheckKind::TranscriptEnded))?.message.as_deref()
}

/// The keys of an answer. None may be there twice, and no other: `{"passed": false, "score": 0.9}` must not pass by its score.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    verdict: Option<&'a RawValue>,
    #[serde(borrow)]
    pass: Option<&'a RawValue>,
    #[serde(borrow)]
    score: Option<&'a RawValue>,
    #[serde(borrow)]
    explanation: Option<&'a RawValue>,
    #[serde(borrow)]
    reason: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
}

/// Reads an answer: a JSON object with `verdict` or `pass`, `score` and `explanation`, also between fences as models write them.
/// Nothing is searched for within a text: it may quote the output, which may contain such an object.
fn read(text: &str) -> Result<GraderAnswer, RowError<'static>> {
    let text = without_fence(text);
    let fault = |fault: String| unreadable(&format!("{fault}: {}", cut(MAX_QUOTED, text)));
    // Of an array, serde would take the items as the fields.
    if !text.starts_with('{') {
        return Err(fault("its answer is not a JSON object".to_owned()));
    }
    let written: Written<'_> = serde_json::from_str(text).map_err(|error| {
        let words = if error.is_data() { "invalid" } else { "not a JSON object" };
        let error = error.to_string();
        let reason = error.split(" at line ").next().unwrap_or_default();
        // A key with escapes may have hidden a secret from the redaction of the row.
        let key = reason.split('`').nth(1).unwrap_or_default();
        let reason = if text.contains(key) { reason } else { "unknown field" };
        fault(format!("its answer is {words} ({})", cut(2 * MAX_QUOTED, reason)))
    })?;
    let verdict = read_key(written.verdict, "`verdict` must be `pass`, `fail` or `skip`")?;
    let pass = read_key(written.pass, "`pass` must be `true` or `false`")?;
    let pass = pass.map(|pass| if pass { Verdict::Pass } else { Verdict::Fail });
    if pass.is_some() && verdict.is_some() && pass != verdict {
        return Err(fault("its `pass` contradicts its `verdict`".to_owned()));
    }
    let score = read_key(written.score, "`score` must be a number")?;
    let explanation = written.explanation.or(written.reason).or(written.reasoning);
    let explanation = explanation
        .map(|json| serde_json::from_str(json.get()).unwrap_or_else(|_| json.get().to_owned()));
    Ok(GraderAnswer { verdict: verdict.or(pass), score, explanation })
}

/// Parses the value of a key. The error quotes it as it is written: redaction has not seen it without its escapes.
fn read_key<T: DeserializeOwned>(
    value: Option<&RawValue>,
    rule: &str,
) -> Result<Option<T>, RowError<'static>> {
    let Some(json) = value.map(RawValue::get) else { return Ok(None) };
    serde_json::from_str(json)
        .map(Some)
        .map_err(|_| unreadable(&format!("its {rule}, not {}", cut(MAX_QUOTED, json))))
}

/// Returns the explanation in the output of a reply whose parts are the answer. The output may be any value.
fn explanation(output: &str) -> Option<String> {
    match serde_json::from_str(output).ok()? {
        Value::String(text) => Some(text),
        Value::Object(map) => map.get("explanation")?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// Returns the end of what a grader logged and printed to its standard error.
fn log_of(said: &Said<'_>) -> Option<String> {
    let mut text = String::new();
    for record in &said.log {
        text += &format!("{} {}\n", record.level.as_str(), &*record.message);
    }
    text += &said.stderr;
    end_of(&text)
}

/// Returns the last [`MAX_TEXT`] bytes of a log, whose end explains the most. `None` if it is blank.
fn end_of(log: &str) -> Option<String> {
    let log = log.trim();
    let from = log.ceil_char_boundary(log.len().saturating_sub(MAX_TEXT));
    (!log.is_empty()).then(|| log[from..].to_owned())
}

fn unreadable(message: &str) -> RowError<'static> {
    failure(ErrorClass::Protocol, "answer", message.to_owned())
}

#[cfg(test)]
#[path = "tests/grade.rs"]
mod tests;
