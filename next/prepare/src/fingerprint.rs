//! Fingerprints: what decides a trial's result, as hashes.

use runner_model::{
    Digest, Fingerprint, Limits, Micros,
    provider::{PluginKind, PreparedProvider},
};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// Begins what an execution's fingerprint is made of; another number is another recipe.
const EXECUTION: &[u8] = b"runner-execution-3\0";
/// Begins what a judgement's fingerprint is made of.
const JUDGEMENT: &[u8] = b"runner-judgement-3\0";

/// The providers' part of a run's fingerprints: for each, the state of a hash that a trial's part is added to.
pub struct Fingerprints(Vec<Sha256>);

/// What a test's line says that decides results. Input and tags are JSON as the suite has it, which is canonical: compact,
/// with the keys of objects in order.
#[derive(Clone, Copy, Debug)]
pub struct TestParts<'a> {
    pub id: &'a str,
    pub input: &'a str,
    pub tags: &'a str,
    /// Names and digests of its attachments.
    pub files: &'a str,
    /// The timeout of an attempt, and of a trial.
    pub timeouts: [Option<Micros>; 2],
}

impl Fingerprints {
    pub fn new(providers: &[PreparedProvider], seed: u32) -> Self {
        let states = providers.iter().map(|provider| {
            let recipe = recipe(provider, seed).to_string();
            let mut state = Sha256::new_with_prefix(EXECUTION);
            add(&mut state, &recipe);
            state
        });
        Self(states.collect())
    }

    /// For tests alone: the part of every provider is empty. The index 0 stands for any of them.
    pub fn of_no_provider() -> Self {
        Self(vec![Sha256::new_with_prefix(EXECUTION)])
    }

    /// Of all that decides what a provider does in a test's trials.
    pub fn execution(&self, provider: u16, test: &TestParts<'_>) -> Fingerprint {
        let mut state = self.0[usize::from(provider)].clone();
        for part in [test.id, test.input, test.tags] {
            add(&mut state, part);
        }
        if !test.files.is_empty() {
            add(&mut state, test.files);
        }
        for timeout in test.timeouts {
            // No timeout is so long.
            let timeout = timeout.unwrap_or(Micros(u64::MAX));
            state.update(timeout.0.to_le_bytes());
        }
        finish(state)
    }
}

/// Of all that decides what an output means: the test's `expect` as JSON.
pub fn judgement(expect: &str) -> Fingerprint {
    let mut state = Sha256::new_with_prefix(JUDGEMENT);
    add(&mut state, expect);
    finish(state)
}

/// Each part has its length before it, so that no two lists of parts are the same bytes.
fn add(state: &mut Sha256, part: &str) {
    state.update((part.len() as u64).to_le_bytes());
    state.update(part);
}

fn finish(state: Sha256) -> Fingerprint {
    Digest(state.finalize().into()).fingerprint()
}

/// What of a provider decides results: no name, no path, no concurrency.
fn recipe(prepared: &PreparedProvider, seed: u32) -> Value {
    let provider = &prepared.provider;
    let call = match prepared.kind {
        PluginKind::Component => Value::Null,
        PluginKind::Command => json!({
            "args": provider.args,
            "stdin": provider.stdin,
            "output": provider.output.as_str(),
            "protocol": provider.protocol.as_str(),
        }),
    };
    let mut recipe = json!({
        "plugin": prepared.digest.to_string(),
        "config": provider.config,
        "call": call,
        "limits": limits(&provider.limits),
        "seed": seed,
    });
    if let Some(reuse) = provider.reuse {
        recipe["reuse"] = reuse.as_str().into();
    }
    if !provider.grants.is_empty() {
        recipe["grants"] = json!(provider.grants);
    }
    recipe
}

fn limits(limits: &Limits) -> Value {
    let deciding = Limits::TABLE.iter().filter(|limit| limit.decides_results);
    let mut table: Map<_, _> =
        deciding.map(|limit| (limit.key.to_owned(), (limit.get)(limits).into())).collect();
    if let Some(time) = limits.time {
        table.insert("time".to_owned(), time.0.into());
    }
    Value::Object(table)
}

#[cfg(test)]
#[path = "tests/fingerprint.rs"]
mod tests;
