//! [`check_transcript`]: the checks of `expect.transcript`.

use std::{borrow::Cow, collections::BTreeMap};

use runner_model::row::{Check, CheckKind, Raw};
use runner_model::test::{Expect, ExpectedCall};
use runner_model::transcript::{CallStanding, StepCall, Transcript};
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
    dropped: u64,
    evidence: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let Some(expected) = &expect.transcript else { return Vec::new() };
    let text = match evidence.transcript {
        Some(Ok(text)) => text,
        // An attempt without calls and reported steps has no transcript.
        None => "{\"agent\":{},\"steps\":[]}",
        Some(Err(reason)) => {
            let message = format!("the transcript cannot be read: {reason}");
            return vec![failed(CheckKind::TranscriptCalls, message, expected, None)];
        }
    };
    let transcript: Transcript<'_> = match serde_json::from_str(text) {
        Ok(transcript) => transcript,
        Err(error) => {
            let message = format!("the transcript cannot be read: {error}");
            return vec![failed(CheckKind::TranscriptCalls, message, expected, None)];
        }
    };
    // A missing step can be a call.
    let is_missing = |kind| {
        let steps = plural(dropped, "step is", "steps are");
        let message = format!("{steps} missing, which did not fit `limits.transcript`");
        failed(kind, message, expected, None)
    };
    let made = transcript.calls().filter(|(standing, _)| *standing == CallStanding::Made);
    let calls: Vec<_> = made.map(|(_, call)| call).collect();
    let names: Vec<&str> = calls.iter().map(|call| &*call.function_name).collect();
    let shown = &names[..names.len().min(MAX_NAMES)];
    let mut checks = Vec::new();
    if !expected.calls.is_empty() {
        let kind = CheckKind::TranscriptCalls;
        let mut rest = names.iter();
        let missing = expected.calls.iter().position(|glob| !rest.any(|name| is_match(glob, name)));
        checks.push(match missing {
            None => passed(kind),
            Some(index) => {
                let after = match index {
                    0 => String::new(),
                    _ => format!(" after `{}`", expected.calls[index - 1]),
                };
                let message = format!(
                    "expected a call of `{}`{after}, got {}",
                    expected.calls[index],
                    listed(&names)
                );
                failed(kind, message, &expected.calls, raw(&shown))
            }
        });
    }
    if !expected.never.is_empty() {
        let check = check_never(&expected.never, &transcript);
        let is_unsure = check.verdict == Verdict::Pass && dropped > 0;
        checks.push(if is_unsure { is_missing(CheckKind::TranscriptNever) } else { check });
    }
    if let Some(most) = expected.max_calls {
        let kind = CheckKind::TranscriptMaxCalls;
        let counted = transcript.calls().filter(|(standing, _)| *standing != CallStanding::Claimed);
        let count = counted.count() as u64;
        checks.push(if count <= most && dropped > 0 {
            is_missing(kind)
        } else if count <= most {
            passed(kind)
        } else {
            let message =
                format!("expected at most {}, got {count}", plural(most, "call", "calls"));
            failed(kind, message, &most, raw(&count))
        });
    }
    for wanted in &expected.call {
        checks.push(check_call(cache, wanted, &calls, evidence));
    }
    checks
}

/// Checks that a tool was called with some arguments. A failure has the differences to the last call of the tool.
fn check_call(
    cache: &CompiledCache,
    wanted: &ExpectedCall,
    calls: &[&StepCall<'_>],
    evidence: &Evidence<'_>,
) -> Check<'static> {
    let kind = CheckKind::TranscriptCall;
    let of_tool = calls.iter().filter(|call| is_match(&wanted.tool, &call.function_name));
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
    for call in of_tool {
        count += 1;
        let arguments = Raw(Cow::Owned(call.arguments.to_owned()));
        let mut made = check_values(cache, &expect, &arguments, &of_call);
        match made.pop() {
            Some(check) if check.verdict == runner_model::outcome::Verdict::Fail => {
                differing = Some(check);
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

/// Names each tool once: an agent may call one in a loop.
fn check_never(never: &[String], transcript: &Transcript<'_>) -> Check<'static> {
    let mut wrong = BTreeMap::<_, u64>::new();
    for (_, call) in transcript.calls() {
        if never.iter().any(|glob| is_match(glob, &call.function_name)) {
            *wrong.entry(&*call.function_name).or_default() += 1;
        }
    }
    if wrong.is_empty() {
        return passed(CheckKind::TranscriptNever);
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
    failed(CheckKind::TranscriptNever, message, &never, raw(&names))
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
