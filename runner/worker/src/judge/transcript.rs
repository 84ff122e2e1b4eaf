//! [`check_transcript`]: the checks of `expect.transcript`.

use std::{borrow::Cow, collections::BTreeMap};

use runner_model::row::{Check, CheckKind, Raw};
use runner_model::test::{Expect, ExpectedCall};
use runner_model::transcript::{AgentEnd, CallStanding, PlacedCall, Transcript, TranscriptResult};
use runner_model::units::{grouped, plural};
use runner_model::{globs, outcome::Verdict};

use super::checks::{Evidence, check_values, failed, passed, raw};
use super::compiled::CompiledCache;

/// Maximum number of names of tools in a message and in a check's `actual`.
const MAX_NAMES: usize = 40;

/// Returns the checks of `expect.transcript`.
pub(super) fn check_transcript(
    cache: &CompiledCache,
    expect: &Expect,
    transcript: Option<TranscriptResult>,
    evidence: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let ended = transcript.and_then(|transcript| transcript.ended);
    let Some(expected) = &expect.transcript else {
        return check_end(None, ended).into_iter().collect();
    };
    if !expected.needs_steps() {
        return check_end(expected.ended.as_deref(), ended).into_iter().collect();
    }
    let dropped = transcript.map_or(0, |transcript| transcript.dropped);
    let all = match evidence.transcript {
        // An attempt without calls and reported steps has no transcript.
        None => Ok(Vec::new()),
        Some(Ok(text)) => {
            let transcript = serde_json::from_str::<Transcript<'_>>(text);
            transcript.and_then(|transcript| transcript.calls()).map_err(|error| error.to_string())
        }
        Some(Err(reason)) => Err(reason.clone()),
    };
    let all = match all {
        Ok(all) => all,
        Err(reason) => {
            let message = format!("the transcript cannot be read: {reason}");
            return vec![failed(CheckKind::TranscriptCalls, message, expected, None)];
        }
    };
    // A missing step can be a call.
    let missing = (dropped > 0).then(|| {
        let steps = plural(dropped, "step is", "steps are");
        format!("{steps} missing, which did not fit `limits.transcript`")
    });
    let unless_missing = |kind| match &missing {
        None => passed(kind),
        Some(missing) => failed(kind, missing.clone(), expected, None),
    };
    let with_missing = |check: Check<'static>| match (&missing, &check.message) {
        (Some(missing), Some(message)) if check.verdict == Verdict::Fail => {
            Check { message: Some(format!("{message}; {missing}").into()), ..check }
        }
        _ => check,
    };
    let made: Vec<_> = all.iter().filter(|call| call.standing == CallStanding::Made).collect();
    let mut checks = Vec::new();
    if !expected.calls.is_empty() {
        checks.push(with_missing(check_order(&expected.calls, &made)));
    }
    if !expected.never.is_empty() {
        let wrong = check_never(&expected.never, &all);
        checks.push(wrong.unwrap_or_else(|| unless_missing(CheckKind::TranscriptNever)));
    }
    if let Some(most) = expected.max_calls {
        let kind = CheckKind::TranscriptMaxCalls;
        let counted = all.iter().filter(|call| call.standing != CallStanding::Claimed);
        let counted: Vec<_> = counted.collect();
        let count = counted.len() as u64;
        checks.push(if count <= most {
            unless_missing(kind)
        } else {
            let message =
                format!("expected at most {}, got {count}", plural(most, "call", "calls"));
            let step = Some(counted[most as usize].step);
            Check { step, ..failed(kind, message, &most, raw(&count)) }
        });
    }
    for wanted in &expected.call {
        checks.push(with_missing(check_call(cache, wanted, &made, evidence)));
    }
    checks.extend(check_end(expected.ended.as_deref(), ended));
    checks
}

/// Checks how the agent ended, by its own word. Without expected ends, an agent without a word passes, and so does one that is done,
/// which has no check.
fn check_end(expected: Option<&[AgentEnd]>, ended: Option<AgentEnd>) -> Option<Check<'static>> {
    let kind = CheckKind::TranscriptEnded;
    let got = match (expected, ended) {
        (None, None | Some(AgentEnd::Done)) => return None,
        (Some(expected), Some(ended)) if expected.contains(&ended) => return Some(passed(kind)),
        (_, Some(ended)) => format!("got `{ended}`"),
        (Some(_), None) => "but it has not reported how it ended".to_owned(),
    };
    let expected = expected.unwrap_or(&[AgentEnd::Done]);
    let words: Vec<_> = expected.iter().map(|end| format!("`{end}`")).collect();
    let message = format!("expected the agent to end as {}, {got}", words.join(" or "));
    Some(failed(kind, message, &expected, raw(&ended)))
}

/// Checks that tools were called in an order. A failure has the step of the last call that was in its place.
fn check_order(expected: &[String], made: &[&PlacedCall<'_>]) -> Check<'static> {
    let kind = CheckKind::TranscriptCalls;
    let mut rest = made.iter();
    let mut step = None;
    let missing = expected.iter().position(|glob| {
        let next = rest.find(|made| is_match(glob, &made.call.function_name));
        step = next.map(|made| made.step).or(step);
        next.is_none()
    });
    let Some(index) = missing else { return passed(kind) };
    let after = match index {
        0 => String::new(),
        _ => format!(" after `{}`", expected[index - 1]),
    };
    let names: Vec<&str> = made.iter().map(|made| &*made.call.function_name).collect();
    let message =
        format!("expected a call of `{}`{after}, got {}", expected[index], listed(&names));
    let shown = &names[..names.len().min(MAX_NAMES)];
    Check { step, ..failed(kind, message, &expected, raw(&shown)) }
}

/// Checks that a tool was called with some arguments. A failure has the differences to the last call of the tool.
fn check_call(
    cache: &CompiledCache,
    wanted: &ExpectedCall,
    made: &[&PlacedCall<'_>],
    evidence: &Evidence<'_>,
) -> Check<'static> {
    let kind = CheckKind::TranscriptCall;
    let of_tool = made.iter().filter(|made| is_match(&wanted.tool, &made.call.function_name));
    let Some(arguments) = &wanted.arguments else {
        return match of_tool.count() {
            0 => failed(kind, format!("`{}` was not called", wanted.tool), wanted, None),
            _ => passed(kind),
        };
    };
    let expect = Expect { json: Some(arguments.clone()), ..Expect::default() };
    let of_call =
        Evidence { schema: None, exit_code: None, json_key: None, stderr: "", ..*evidence };
    let mut differing = None;
    let mut count = 0;
    for PlacedCall { step, call, .. } in of_tool {
        count += 1;
        let arguments = Raw(Cow::Owned(call.arguments.to_owned()));
        match check_values(cache, &expect, &arguments, &of_call).pop() {
            Some(check) if check.verdict == Verdict::Fail => {
                differing = Some(Check { step: Some(*step), ..check });
            }
            _ => return passed(kind),
        }
    }
    let Some(check) = differing else {
        return failed(kind, format!("`{}` was not called", wanted.tool), wanted, None);
    };
    let message = match count {
        1 => format!("`{}` was called with other arguments", wanted.tool),
        _ => format!(
            "none of {} of `{}` has these arguments; the last one differs",
            plural(count, "call", "calls"),
            wanted.tool
        ),
    };
    Check { kind: Some(kind), message: Some(message.into()), ..check }
}

fn is_match(glob: &str, name: &str) -> bool {
    // An invalid glob is refused when the scenario is read.
    globs::over_ids(&[glob]).is_ok_and(|set| set.is_match(name))
}

/// Names each tool once: an agent may call one in a loop. `None` if none was called.
fn check_never(never: &[String], all: &[PlacedCall<'_>]) -> Option<Check<'static>> {
    let mut wrong = BTreeMap::<_, u64>::new();
    let mut first = None;
    for PlacedCall { step, call, .. } in all {
        if never.iter().any(|glob| is_match(glob, &call.function_name)) {
            *wrong.entry(&*call.function_name).or_default() += 1;
            first = first.or(Some(*step));
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let named = wrong.iter().take(MAX_NAMES).map(|(name, count)| match count {
        1 => format!("`{name}`"),
        count => format!("`{name}` {} times", grouped(*count)),
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match wrong.len().saturating_sub(MAX_NAMES) as u64 {
        0 => String::new(),
        more => format!(" and {}", plural(more, "other tool", "other tools")),
    };
    let message = format!("these may not be called, but were: {named}{more}");
    let names: Vec<_> = wrong.into_keys().take(MAX_NAMES).collect();
    Some(Check { step: first, ..failed(CheckKind::TranscriptNever, message, &never, raw(&names)) })
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() {
        return "no calls".to_owned();
    }
    let shown: Vec<_> = names.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
    let more = match names.len().saturating_sub(MAX_NAMES) as u64 {
        0 => String::new(),
        more => format!(" and {}", plural(more, "other call", "other calls")),
    };
    format!("{}{more}", shown.join(", "))
}
