//! [`differences`]: what is different about how the two sides came about.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{fairness::machine, pair::ProviderPair, side::Side};
use crate::{model::Digest, record::ManifestProvider, view::ComparedPart};

/// Digits of a digest that are shown.
const DIGITS: usize = 12;

pub(super) fn differences(base: &Side, new: &Side, pairs: &[ProviderPair]) -> Vec<ComparedPart> {
    let mut parts = Parts(Vec::new());
    if base.run.dir != new.run.dir {
        runs(base, new, &mut parts);
    }
    for pair in pairs {
        let named = |side: &Side, name: &Option<String>| -> Option<ManifestProvider> {
            let mut providers = side.manifest.providers.iter();
            providers
                .find(|provider| Some(&provider.name) == name.as_ref())
                .cloned()
        };
        if let (Some(before), Some(now)) = (named(base, &pair.base), named(new, &pair.new)) {
            providers(&before, &now, &mut parts);
        }
    }
    parts.0
}

fn runs(base: &Side, new: &Side, parts: &mut Parts) {
    let (before, now) = (&base.manifest, &new.manifest);
    parts.texts("runner", &before.runner_version, &now.runner_version);
    parts.texts("scenario", &before.scenario.name, &now.scenario.name);
    parts.texts(
        "path of the scenario",
        &before.scenario.path,
        &now.scenario.path,
    );
    parts.digests(
        "text of the scenario",
        before.scenario.sha256,
        now.scenario.sha256,
    );
    parts.digests("tests", before.metadata.suite, now.metadata.suite);
    parts.texts(
        "planned trials",
        &before.metadata.planned_test_count.to_string(),
        &now.metadata.planned_test_count.to_string(),
    );
    parts.optional("machine", machine(base), machine(new));
    parts.keys("selection", &before.selection, &now.selection);
    parts.keys("option", &before.options, &now.options);
}

fn providers(before: &ManifestProvider, now: &ManifestProvider, parts: &mut Parts) {
    let what = |part: &str| format!("{part} of `{}`", now.name);
    parts.digests(&what("plugin"), before.plugin_sha256, now.plugin_sha256);
    parts.texts(&what("kind"), &before.kind, &now.kind);
    parts.optional(
        &what("contract"),
        before.contract.clone(),
        now.contract.clone(),
    );
    parts.optional(&what("reuse"), before.reuse.clone(), now.reuse.clone());
    parts.keys(&what("limit"), &before.limits, &now.limits);
    parts.keys(&what("grant"), &before.grants, &now.grants);
}

/// The parts that are different.
struct Parts(Vec<ComparedPart>);

impl Parts {
    fn optional(&mut self, what: &str, base: Option<String>, new: Option<String>) {
        if base != new {
            self.0.push(ComparedPart {
                what: what.to_owned(),
                base,
                new,
            });
        }
    }

    fn texts(&mut self, what: &str, base: &str, new: &str) {
        self.optional(what, Some(base.to_owned()), Some(new.to_owned()));
    }

    fn digests(&mut self, what: &str, base: Digest, new: Digest) {
        let short = |digest: Digest| digest.to_string()[..DIGITS].to_owned();
        if base != new {
            self.texts(what, &short(base), &short(new));
        }
    }

    /// Each key that is different, or the whole if it has none.
    fn keys(&mut self, what: &str, base: &impl Serialize, new: &impl Serialize) {
        let value = |part: serde_json::Result<Value>| part.unwrap_or(Value::Null);
        let base = value(serde_json::to_value(base));
        let new = value(serde_json::to_value(new));
        let nothing = Map::new();
        let (Some(before), Some(now)) = (keys(&base, &nothing), keys(&new, &nothing)) else {
            return self.texts(what, &base.to_string(), &new.to_string());
        };
        let names: BTreeSet<_> = before.keys().chain(now.keys()).collect();
        for name in names {
            let text = |keys: &Map<String, Value>| keys.get(name).map(plain);
            self.optional(&format!("{what}: {name}"), text(before), text(now));
        }
    }
}

/// The keys of an object, of which `null` has none.
fn keys<'a>(value: &'a Value, nothing: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
    match value {
        Value::Null => Some(nothing),
        value => value.as_object(),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
