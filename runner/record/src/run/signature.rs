//! The signature of a manifest: of the parts that decide what is executed, by the key of the user who made the run.

use runner_model::Digest;
use serde_json::{Map, Value};

use crate::Manifest;
use crate::disk::user_key::{Signed, UserKey};

/// The parts of a manifest that decide what is executed. Keys that later versions add to them are signed, too.
const SIGNED: [&str; 5] = ["scenario", "scenario_path", "metadata", "providers", "planned_graders"];

/// The parts of a session that decide what later sessions execute, and at what cost.
const OF_SESSIONS: [&str; 7] =
    ["suite", "rerun", "jobs", "timeout_ms", "grace_ms", "fail_fast", "budgets"];

/// Signs a manifest. Without a key it has no signature.
pub(super) fn sign(manifest: &mut Manifest) {
    manifest.signature = UserKey::get().ok().and_then(|key| {
        // A number that was read from text can differ in its last bit, so the text is signed.
        Some(key.sign(Signed::Run, &parts(manifest)?))
    });
}

/// Returns the bytes of a manifest that are signed. `None` if it cannot be written as JSON.
fn parts(manifest: &Manifest) -> Option<Vec<u8>> {
    Some(signed_parts(&serde_json::from_slice(&manifest.to_bytes().ok()?).ok()?))
}

/// Returns the digest of the parts of a manifest that are signed.
pub(crate) fn digest_of(manifest: &Manifest) -> Option<Digest> {
    Some(runner_model::digest(&parts(manifest)?))
}

/// Returns the reason why a manifest does not count as this user's, as the rest of a sentence.
pub(super) fn problem(text: &str) -> Option<String> {
    let key = match UserKey::get() {
        Ok(key) => key,
        Err(problem) => return Some(format!("may be another user's: {problem}")),
    };
    let manifest = serde_json::from_str::<Value>(text).unwrap_or_default();
    match manifest["signature"].as_str().and_then(Digest::parse) {
        None => Some("was not made with your key: it has no signature".into()),
        Some(signature) if key.has_signed(Signed::Run, &signed_parts(&manifest), signature) => None,
        Some(_) => Some("was not made with your key, or changed since".into()),
    }
}

/// Returns the bytes of a manifest that are signed.
fn signed_parts(manifest: &Value) -> Vec<u8> {
    let mut parts: Map<_, _> = SIGNED
        .iter()
        .filter_map(|name| Some(((*name).to_owned(), manifest.get(name)?.clone())))
        .collect();
    // The plugins describe themselves, which executes them already.
    for list in ["providers", "planned_graders"] {
        for provider in parts.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            provider.as_object_mut().map(|provider| provider.remove("description"));
        }
    }
    let sessions = manifest["sessions"].as_array().into_iter().flatten();
    let sessions = sessions.map(|session| -> Value {
        let parts =
            OF_SESSIONS.iter().filter_map(|name| Some((*name, session.get(*name)?.clone())));
        parts.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    });
    parts.insert("sessions".into(), sessions.collect());
    Value::from(parts).to_string().into_bytes()
}
