//! Fingerprints: what decides a trial's result, as one hash.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::plan::PlannedProvider;
use crate::{
    model::{BoundSecret, Digest},
    scenario::{Reuse, Test},
};

/// Begins every fingerprint's preimage; another number, another recipe.
const VERSION: &[u8] = b"runner-fingerprint-1\0";

/// The providers' part of a run's fingerprints.
pub(super) struct Fingerprints(Vec<Option<Digest>>);

impl Fingerprints {
    pub(super) fn new(providers: &[Option<PlannedProvider>], seed: u32) -> Self {
        let of = |provider: &PlannedProvider| of_provider(provider, seed);
        Self(
            providers
                .iter()
                .map(|provider| provider.as_ref().map(of))
                .collect(),
        )
    }

    /// The fingerprint of a test's trials on a provider.
    pub(super) fn of(&self, provider: usize, test: &Test) -> Digest {
        let provider = self.0[provider].expect("a trial's provider is planned");
        let hasher = Sha256::new()
            .chain_update(VERSION)
            .chain_update(test.digest.as_bytes())
            .chain_update(provider.as_bytes());
        Digest::finish(hasher)
    }
}

/// Hashes everything of a provider that decides results: no concurrency, no path, no time.
fn of_provider(provider: &PlannedProvider, seed: u32) -> Digest {
    Digest::of(canonical(provider, seed).to_string().as_bytes())
}

/// The canonical form of a provider; JSON objects keep their keys sorted.
pub(super) fn canonical(provider: &PlannedProvider, seed: u32) -> serde_json::Value {
    let limits = &provider.limits;
    let grants = &provider.definition.grants;
    let fs = grants.fs.iter();
    let fs = fs.map(|grant| json!([grant.path, grant.mount, grant.mode.as_str()]));
    let mut canonical = json!({
        "plugin": provider.file.sha256.to_string(),
        "kind": provider.file.kind.as_str(),
        "config": provider.definition.config,
        "invocation": provider.invocation_text(),
        "reuse": provider.definition.reuse.map(Reuse::as_str),
        "limits": {
            "input": limits.input,
            "memory": limits.memory,
            "table_elements": limits.table_elements,
            "reply": limits.reply,
            "log": limits.log,
            "log_records": limits.log_records,
            "stdio": limits.stdio,
            "artifacts": limits.artifacts,
            "artifact_files": limits.artifact_files,
            "http_requests": limits.http_requests,
            "http_response": limits.http_response,
            "scratch": limits.scratch,
        },
        "grants": {
            "net": grants.net.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "secrets": grants.secrets,
            "fs": fs.collect::<Vec<_>>(),
            "env": grants.env,
        },
        "seed": seed,
    });
    // Absent where nothing is bound, so that scenarios without it keep their digests.
    if !grants.bound_secrets.is_empty() {
        let bound = grants.bound_secrets.iter().map(BoundSecret::element);
        canonical["grants"]["bound_secrets"] = bound.collect::<Vec<_>>().into();
    }
    canonical
}
