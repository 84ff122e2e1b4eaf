//! [`check_workspace`]: the checks of `expect.workspace`.

use std::borrow::Cow;

use runner_model::row::{Check, CheckKind, Difference, Raw};
use runner_model::test::{Expect, ExpectedFile};
use runner_model::{globs, outcome::Verdict, units::plural, visible::cut, without_mark};
use serde_json::{Value, json, value::RawValue};

use super::checks::{Evidence, check_values, failed, passed, raw};
use super::compiled::CompiledCache;
use super::left::{ChangedPath, JudgedFiles, LeftFile};

/// Paths in a message and in a check's `actual`.
const MAX_PATHS: usize = 20;
/// Characters of a file's expectations in a message.
const MAX_EXPECTED: usize = 300;

/// Returns the checks of `expect.workspace`.
pub(super) fn check_workspace(
    cache: &CompiledCache,
    expect: &Expect,
    evidence: &Evidence<'_>,
) -> Vec<Check<'static>> {
    let Some(expected) = &expect.workspace else { return Vec::new() };
    let left = match evidence.workspace {
        Some(Ok(left)) => left,
        problem => {
            let reason = match problem {
                Some(Err(reason)) => format!("the workspace cannot be read: {reason}"),
                _ => "the attempt has left no workspace".to_owned(),
            };
            let mut written = json!(expected);
            let files = written["files"].as_object_mut().into_iter().flatten();
            files.for_each(|(_, file)| flatten_text(file));
            return vec![failed(CheckKind::WorkspaceFiles, reason, &written, None)];
        }
    };
    let mut checks = Vec::new();
    if let Some(globs) = &expected.changed {
        let words = match globs.is_empty() {
            true => "nothing may change, but these did".to_owned(),
            false => format!("outside of {}, these changed", listed(globs)),
        };
        let kind = CheckKind::WorkspaceChanged;
        checks.push(check_changes(left, kind, globs, &words));
    }
    if !expected.unchanged.is_empty() {
        let kind = CheckKind::WorkspaceUnchanged;
        let words = "these may not change, but did";
        checks.push(check_changes(left, kind, &expected.unchanged, words));
    }
    for (path, file) in &expected.files {
        checks.push(match left.files.get(path) {
            None | Some(LeftFile::Nothing) if file.absent => passed(CheckKind::WorkspaceFiles),
            None | Some(LeftFile::Nothing) => failure(path, "does not exist", file),
            Some(_) if file.absent => failed_file(format!("`{path}` exists, and must be absent")),
            Some(LeftFile::Other(reason)) => failure(path, reason, file),
            Some(LeftFile::Text(text)) => check_text(cache, path, file, text, evidence),
        });
    }
    checks
}

/// Checks the paths of changes. `words` start the message about those that are wrong.
fn check_changes(
    left: &JudgedFiles,
    kind: CheckKind,
    globs: &[String],
    words: &str,
) -> Check<'static> {
    let is_unchanged = kind == CheckKind::WorkspaceUnchanged;
    let sets: Vec<_> =
        globs.iter().filter_map(|glob| globs::over_workspace(&[glob]).ok()).collect();
    let is_wrong = |change: &&ChangedPath| {
        let bare = change.path.trim_end_matches('/');
        let is_match = sets.iter().any(|set| set.is_match(&change.path) || set.is_match(bare));
        is_match == is_unchanged && (is_unchanged || !change.is_holder)
    };
    let wrong: Vec<_> = left.changed.iter().filter(is_wrong).map(|change| &change.path).collect();
    if wrong.is_empty() {
        return passed(kind);
    }
    let shown: Vec<_> = wrong.iter().take(MAX_PATHS).map(|path| format!("`{path}`")).collect();
    let more = match wrong.len().saturating_sub(MAX_PATHS) as u64 {
        0 => String::new(),
        more => format!(" and {}", plural(more, "other path", "other paths")),
    };
    let message = format!("{words}: {}{more}", shown.join(", "));
    failed(kind, message, &globs, raw(&&wrong[..wrong.len().min(MAX_PATHS)]))
}

/// Checks the text of a file as the output of a provider is checked. Returns the first failure.
fn check_text(
    cache: &CompiledCache,
    path: &str,
    file: &ExpectedFile,
    text: &str,
    evidence: &Evidence<'_>,
) -> Check<'static> {
    let ExpectedFile { absent: _, text: expected, json } = file;
    let of_file =
        Evidence { schema: None, exit_code: None, json_key: None, stderr: "", ..*evidence };
    let mut made = Vec::new();
    let whole = Expect {
        equals: expected.equals.clone().map(Value::String),
        contains: expected.contains.clone(),
        contains_any: expected.contains_any.clone(),
        matches: expected.matches.clone(),
        not: expected.not.clone(),
        ignore_case: expected.ignore_case,
        ..Expect::default()
    };
    if let Some(output) = raw(&text) {
        made.extend(check_values(cache, &whole, &output, &of_file));
    }
    if let Some(json) = json {
        let Ok(value) = serde_json::from_str::<Box<RawValue>>(without_mark(text).trim()) else {
            return failure(path, "is not JSON", file);
        };
        let expect = Expect { json: Some(json.clone()), ..Expect::default() };
        made.extend(check_values(cache, &expect, &Raw(Cow::Owned(value)), &of_file));
    }
    let failed =
        made.into_iter().find(|check| check.kind.is_some() && check.verdict == Verdict::Fail);
    let Some(mut check) = failed else { return passed(CheckKind::WorkspaceFiles) };
    let message = check.message.take().map(|message| {
        format!("`{path}`: {}", message.replacen("the output", "the file", 1)).into()
    });
    check.differences = check
        .differences
        .into_iter()
        .map(|one| Difference { path: format!("{path} {}", &*one.path).into(), ..one })
        .collect();
    Check { kind: Some(CheckKind::WorkspaceFiles), message, ..check }
}

fn failure(path: &str, reason: &str, file: &ExpectedFile) -> Check<'static> {
    let mut written = json!(file);
    flatten_text(&mut written);
    let keys = written.as_object().into_iter().flatten();
    let keys: Vec<_> = keys.map(|(key, value)| format!("{key} = {value}")).collect();
    let expected = match keys.as_slice() {
        [] => String::new(),
        keys => format!(", and must have {}", cut(&keys.join(", "), MAX_EXPECTED)),
    };
    failed_file(format!("`{path}` {reason}{expected}"))
}

/// Fails a file as a whole. The message has the expectations.
fn failed_file(message: String) -> Check<'static> {
    Check { expected: None, ..failed(CheckKind::WorkspaceFiles, message, &(), None) }
}

/// Moves the expectations of a file's text to its other keys, as a scenario has them.
fn flatten_text(file: &mut Value) {
    let Some(keys) = file.as_object_mut() else { return };
    if let Some(Value::Object(text)) = keys.remove("text") {
        keys.extend(text);
    }
}

fn listed(globs: &[String]) -> String {
    let globs: Vec<_> = globs.iter().map(|glob| format!("`{glob}`")).collect();
    globs.join(", ")
}
