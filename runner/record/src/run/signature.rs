//! The signature of a manifest: of the parts that decide what is executed, by the key of the user who made the run.
//!
//! Earlier versions did not sign [`ADDED`] and [`ADDED_OF_SESSIONS`]. Their signatures stay valid, but with one of them, the status
//! `failed` is not believed.

use runner_model::{Digest, RunStatus};
use serde_json::{Map, Value};

use crate::Manifest;
use crate::disk::user_key::{Signed, UserKey};

/// The parts of a manifest that decide what is executed. Keys that later versions add to them are signed, too.
const SIGNED: [&str; 5] = ["scenario", "scenario_path", "metadata", "providers", "planned_graders"];

/// The parts of a session that decide what later sessions execute, and at what cost.
const OF_SESSIONS: [&str; 8] =
    ["suite", "rerun", "added", "jobs", "timeout_ms", "grace_ms", "fail_fast", "budgets"];

/// The parts that decide whether `resume` plans the run again, and whether all runs of a request were created.
const ADDED: [&str; 2] = ["status", "group"];

/// The parts of a session that decide which trials run again, and whether a request was started.
const ADDED_OF_SESSIONS: [&str; 2] = ["added", "request"];

/// The extent of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// That of earlier versions.
    Plan,
    /// Also [`ADDED`] and [`ADDED_OF_SESSIONS`].
    Whole,
}

impl Extent {
    /// Returns the extent for a status that no signature covered before: `failed` would be believed from then on.
    pub(crate) fn of_unsigned(status: RunStatus) -> Self {
        if status == RunStatus::Failed { Self::Plan } else { Self::Whole }
    }
}

/// Signs a manifest. Without a key it has no signature.
pub(super) fn sign(manifest: &mut Manifest, extent: Extent) {
    manifest.signature = UserKey::get().ok().and_then(|key| {
        // A number that was read from text can differ in its last bit, so the text is signed.
        Some(key.sign(Signed::Run, &parts(manifest, extent)?))
    });
}

/// Returns the bytes of a manifest that are signed. `None` if it cannot be written as JSON.
fn parts(manifest: &Manifest, extent: Extent) -> Option<Vec<u8>> {
    Some(signed_parts(&serde_json::from_slice(&manifest.to_bytes().ok()?).ok()?, extent))
}

/// Returns the digest of the parts of a manifest that decide what is executed. The end of a dead session does not change it.
pub(crate) fn digest_of(manifest: &Manifest) -> Option<Digest> {
    Some(runner_model::digest(&parts(manifest, Extent::Plan)?))
}

/// Returns the extent of the signature of a manifest.
///
/// # Errors
///
/// The reason why the manifest does not count as this user's, as the rest of a sentence.
pub(super) fn check(text: &str) -> Result<Extent, String> {
    let key = UserKey::get().map_err(|problem| format!("may be another user's: {problem}"))?;
    let manifest = serde_json::from_str::<Value>(text).unwrap_or_default();
    let Some(signature) = manifest["signature"].as_str().and_then(Digest::parse) else {
        return Err("was not made with your key: it has no signature".into());
    };
    [Extent::Whole, Extent::Plan]
        .into_iter()
        .find(|extent| key.has_signed(Signed::Run, &signed_parts(&manifest, *extent), signature))
        .ok_or_else(|| "was not made with your key, or changed since".into())
}

/// Returns the bytes of a manifest that are signed.
fn signed_parts(manifest: &Value, extent: Extent) -> Vec<u8> {
    let (added, added_of_sessions) = match extent {
        Extent::Plan => (&[][..], &[][..]),
        Extent::Whole => (&ADDED[..], &ADDED_OF_SESSIONS[..]),
    };
    let mut parts: Map<_, _> = SIGNED
        .iter()
        .chain(added)
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
        let parts = OF_SESSIONS.iter().chain(added_of_sessions);
        let parts = parts.filter_map(|name| Some((*name, session.get(*name)?.clone())));
        parts.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
    });
    parts.insert("sessions".into(), sessions.collect());
    Value::from(parts).to_string().into_bytes()
}

#[cfg(test)]
#[path = "tests/signature.rs"]
mod tests;
