//! What is stored of a plan when its run begins, and the digest by which it is known again.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    fingerprint, first_recipe,
    planned::{Plan, PlannedProvider},
};
use crate::{
    model::Digest,
    plugin::{Kind, PluginContent},
    record::{Blob, BlobSource, ManifestShard, NewRun, NewRunProvider, NewRunScenario},
};

impl Plan {
    /// SHA-256 over everything that decides the plan's results: no path of the host, no concurrency, no time.
    pub fn digest(&self) -> Digest {
        self.digest_with(self.suite.digest())
    }

    /// The digest of this plan with other tests.
    fn digest_with(&self, suite: Digest) -> Digest {
        let providers = self.providers.iter().flatten();
        let graders = self.graders.iter().flatten();
        fingerprint::of_plan(suite, providers, graders, &self.options)
    }

    /// The part of a larger plan that this one is, as its run stores it; known of a plan of live files alone.
    pub fn shard(&self) -> Option<ManifestShard> {
        let (shard, whole) = (self.selection.shard?, self.whole.as_ref()?);
        let digest = self.digest_with(whole.digest());
        Some(ManifestShard::new(
            shard,
            digest,
            whole.trial_count(),
            whole.digest(),
        ))
    }

    /// Tells whether a run whose manifest has this digest is one of this plan, whichever version began it.
    pub fn has_digest(&self, digest: Digest) -> bool {
        let providers = self.providers.iter().flatten();
        let seed = self.options.seed();
        digest == self.digest()
            || digest == first_recipe::of_plan(self.suite.digest(), providers, seed)
    }

    /// Everything that is stored when a run begins.
    pub fn new_run(&self, now: Timestamp) -> NewRun {
        let providers = || self.providers.iter().flatten();
        let graders = self.graders.iter().flatten().map(|grader| &grader.plugin);
        let plugins = self.plugins().map(|provider| Blob {
            digest: provider.file.sha256,
            source: match &provider.file.content {
                PluginContent::Memory(bytes) => BlobSource::Bytes(bytes.clone()),
                PluginContent::File(path) => BlobSource::File(path.clone()),
            },
        });
        let files = self.suite.attachments().map(|(digest, path)| Blob {
            digest,
            source: BlobSource::File(path.into()),
        });
        let suites = [Some(&self.suite), self.whole.as_ref()]
            .into_iter()
            .flatten();
        let suites = suites.filter(|suite| suite.is_new()).map(|suite| Blob {
            digest: suite.digest(),
            source: BlobSource::Open(Arc::clone(suite.file())),
        });
        NewRun {
            scenario: NewRunScenario {
                name: self.scenario.name().into(),
                path_as_given: self.path.display().to_string(),
                text: self.scenario.text().clone(),
            },
            plan_digest: self.digest(),
            planned: self.trial_count(),
            providers: providers().map(new_run_provider).collect(),
            graders: graders.map(new_run_provider).collect(),
            suite: self.suite.digest(),
            shard: self.shard(),
            blobs: plugins.chain(files).chain(suites).collect(),
            selection: self.selection.to_stored(),
            options: self.overrides.to_stored(),
            has_secrets: self.secrets().any(|(_, names)| !names.is_empty()),
            request: None,
            now,
        }
    }
}

fn new_run_provider(provider: &PlannedProvider) -> NewRunProvider {
    NewRunProvider {
        name: provider.definition.id.to_string(),
        plugin_sha256: provider.file.sha256,
        kind: provider.file.kind.as_str().into(),
        contract: match &provider.file.kind {
            Kind::Component { contract } => Some(contract.to_string()),
            Kind::Command(_) => None,
        },
        reuse: provider.definition.reuse.map(|reuse| reuse.as_str().into()),
        limits: provider.limits,
        grants: provider.definition.grants.clone(),
        // Resolved: `resume` may be called from anywhere.
        folders: provider
            .mounts
            .iter()
            .map(|mount| mount.host.clone())
            .collect(),
    }
}
