//! The stored tests of a run: its plan, and [`MetaResults`], results by the keys of tests' `meta`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};

use runner_model::{Counts, Places as _, Text, TrialId};
use runner_record::{Manifest, RunDir};
use runner_scenario::{Suite, parse_stored};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::results::Final;

/// Results of trials by the values of one key of `meta`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MetaResults {
    /// The key of `meta`.
    pub key: String,
    /// Texts, then numbers, then truth values, ascending.
    pub values: Vec<MetaCounts>,
}

/// Results of the trials whose tests have one value.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MetaCounts {
    /// A text, a number or a Boolean.
    pub value: Value,
    #[serde(flatten)]
    pub counts: Counts,
}

/// The `meta` of the tests of a run.
#[derive(Default)]
pub(crate) struct TestMeta {
    /// Indexes in `metas`, by test.
    tests: HashMap<String, u32>,
    /// Different `meta` tables. The first one is empty.
    metas: Vec<BTreeMap<String, Value>>,
}

impl TestMeta {
    /// Reads the stored tests and the keys that the scenario selects. Without them there are no results by `meta`.
    pub(crate) fn read(run: &RunDir, manifest: &Manifest) -> Self {
        Self::try_read(run, manifest).unwrap_or_default()
    }

    fn try_read(run: &RunDir, manifest: &Manifest) -> Option<Self> {
        #[derive(Deserialize)]
        struct Test<'a> {
            #[serde(borrow)]
            id: Text<'a>,
            #[serde(default)]
            meta: BTreeMap<String, Value>,
        }
        let suite = run.content(&manifest.metadata.suite).ok()?;
        let (mut found, mut places) = (Self::default(), HashMap::new());
        found.metas.push(BTreeMap::new());
        for line in BufReader::new(suite).lines() {
            let line = line.ok()?;
            // Most suites have no `meta`, and parsing takes longer than this search.
            if !line.contains("\"meta\":") {
                continue;
            }
            let Test { id, meta } = serde_json::from_str(&line).ok()?;
            if !meta.is_empty() {
                let place = *places.entry(meta.clone()).or_insert(found.metas.len() as u32);
                if place as usize == found.metas.len() {
                    found.metas.push(meta);
                }
                found.tests.insert(id.to_string(), place);
            }
        }
        if found.metas.len() > 1 {
            let scenario = parse_stored(
                &run.scenario(manifest).ok()?,
                &manifest.scenario,
                &manifest.metadata.selection.overrides.vars,
            )
            .ok()?;
            if let Some(keys) = scenario.dimensions {
                found.metas.iter_mut().for_each(|meta| meta.retain(|key, _| keys.contains(key)));
            }
        }
        Some(found)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Returns the number of a test's `meta`, or 0.
    pub(crate) fn of(&self, test: &str) -> u32 {
        self.tests.get(test).copied().unwrap_or(0)
    }

    /// Counts trials by the values of each key.
    pub(crate) fn results(&self, finals: impl Iterator<Item = Final>) -> Vec<MetaResults> {
        let mut results: BTreeMap<&str, HashMap<&Value, Counts>> = BTreeMap::new();
        let mut by_meta = vec![Counts::default(); self.metas.len()];
        for row in finals {
            if let Some(counts) = by_meta.get_mut(row.meta as usize) {
                counts.add(row.outcome, row.flaky);
            }
        }
        for (meta, counts) in self.metas.iter().zip(&by_meta) {
            for (key, value) in meta {
                let sum = results.entry(key).or_default().entry(value).or_default();
                *sum = sum.plus(*counts);
            }
        }
        let results = results.into_iter().map(|(key, values)| {
            let values = values.into_iter();
            let mut values: Vec<_> =
                values.map(|(value, counts)| MetaCounts { value: value.clone(), counts }).collect();
            values.sort_by(|left, right| match (left.value.as_f64(), right.value.as_f64()) {
                (Some(left), Some(right)) => left.total_cmp(&right),
                _ => left.value.to_string().cmp(&right.value.to_string()),
            });
            MetaResults { key: key.to_owned(), values }
        });
        results.collect()
    }
}

/// Returns whether trials with rows are planned. Only a run that took over another plan has rows of other trials. All count if its
/// plan cannot be read.
pub(crate) fn is_planned(run: &RunDir, manifest: &Manifest) -> impl Fn(&TrialId) -> bool + use<> {
    let has_changed = manifest.sessions.iter().any(|session| session.adopted.is_some());
    let suite = has_changed.then(|| plan(run)).flatten();
    move |trial| suite.as_ref().is_none_or(|suite| suite.index(trial).is_some())
}

/// Reads the tests of a run. `None` if they or the scenario cannot be read.
pub(crate) fn plan(run: &RunDir) -> Option<Suite> {
    read_plan(run).ok().flatten()
}

/// Reads the tests of a run. `None` if the scenario or the suite is damaged, which `record` reports.
///
/// # Errors
///
/// The reason why this runner cannot read an undamaged plan.
pub(crate) fn read_plan(run: &RunDir) -> Result<Option<Suite>, String> {
    let Ok(manifest) = run.manifest() else {
        return Ok(None);
    };
    let (Ok(text), Ok(content)) = (run.scenario(&manifest), run.content(&manifest.metadata.suite))
    else {
        return Ok(None);
    };
    let mut scenario =
        parse_stored(&text, &manifest.scenario, &manifest.metadata.selection.overrides.vars)
            .map_err(|_| {
                "its scenario has problems: this runner does not understand it".to_owned()
            })?;
    // The manifest lacks those that the run's selection left out.
    scenario
        .keep_providers(|provider| manifest.planned().any(|stored| *stored.name == *provider.name));
    let suite = Suite::open(content, &scenario.providers)
        .and_then(|suite| suite.of_shard(manifest.metadata.selection.shard))
        .map_err(|error| format!("its stored tests cannot be read: {error}"))?;
    let planned = manifest.metadata.planned_trial_count;
    if suite.trials() == planned {
        Ok(Some(suite))
    } else {
        let trials = suite.trials();
        Err(format!("the stored tests make {trials} trials, and the run plans {planned}"))
    }
}
