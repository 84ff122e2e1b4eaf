//! [`MetaResults`]: results by the keys of tests' `meta`.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead as _, BufReader};
use std::iter;

use runner_model::{Counts, Text};
use runner_record::{Manifest, RunDir};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{RunTable, plan};

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
    /// Results of each provider that has any. Absent in a run with one provider, and of a key with over 1,000 values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<ProviderCounts>,
}

/// Results of a provider.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ProviderCounts {
    /// The provider's name.
    pub provider: String,
    #[serde(flatten)]
    pub counts: Counts,
}

/// Values of a key whose results are counted for each provider.
const MAX_VALUES: usize = 1000;

/// The `meta` of the tests of a run.
#[derive(Debug, Default)]
pub struct TestMeta {
    /// Indexes in `metas`, by test.
    tests: HashMap<String, u32>,
    /// Different `meta` tables. The first one is empty.
    metas: Vec<BTreeMap<String, Value>>,
}

impl TestMeta {
    /// Reads the stored tests and the keys that the scenario selects. Without them there are no results by `meta`.
    pub fn read(run: &RunDir, manifest: &Manifest) -> Self {
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
        let mut found = Self::default();
        let mut places = HashMap::new();
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
        if found.metas.len() > 1
            && let Some(keys) = plan::scenario(run, manifest)?.dimensions
        {
            found.metas.iter_mut().for_each(|meta| meta.retain(|key, _| keys.contains(key)));
        }
        Some(found)
    }

    /// Counts the newest results of a table by the values of each key, and each of several `providers`, which are the first ones
    /// of the table.
    pub fn results(&self, table: &RunTable, providers: &[&str]) -> Vec<MetaResults> {
        if self.tests.is_empty() {
            return Vec::new();
        }
        let of_tests: Vec<_> =
            table.test_ids().map(|id| self.tests.get(id).copied().unwrap_or(0)).collect();
        let mut keys: BTreeMap<&str, HashMap<&Value, usize>> = BTreeMap::new();
        let mut all = Vec::new();
        let mut of_metas = Vec::with_capacity(self.metas.len());
        for meta in &self.metas {
            let mut places = Vec::with_capacity(meta.len());
            for (key, value) in meta {
                let place = *keys.entry(key).or_default().entry(value).or_insert(all.len());
                all.resize(all.len().max(place + 1), Counts::default());
                places.push(place);
            }
            of_metas.push(places);
        }
        let mut of_providers = vec![Vec::new(); all.len()];
        let few = keys.values().filter(|values| providers.len() > 1 && values.len() <= MAX_VALUES);
        few.flat_map(HashMap::values)
            .for_each(|place| of_providers[*place] = vec![Counts::default(); providers.len()]);
        for row in table.counting() {
            let meta = of_tests[table.test(row.trial) as usize];
            for place in of_metas.get(meta as usize).into_iter().flatten() {
                row.count(&mut all[*place]);
                if let Some(counts) = of_providers[*place].get_mut(table.provider(row.trial)) {
                    row.count(counts);
                }
            }
        }
        let results = keys.into_iter().map(|(key, values)| {
            let counts = |(value, place): (&Value, usize)| MetaCounts {
                value: value.clone(),
                counts: all[place],
                providers: iter::zip(providers, &of_providers[place])
                    .filter(|(_, counts)| counts.done() > 0)
                    .map(|(provider, counts)| ProviderCounts {
                        provider: (*provider).to_owned(),
                        counts: *counts,
                    })
                    .collect(),
            };
            let mut values: Vec<_> = values.into_iter().map(counts).collect();
            values.sort_by(|left, right| {
                let by_text = || left.value.to_string().cmp(&right.value.to_string());
                match (left.value.as_f64(), right.value.as_f64()) {
                    // `1` and `1.0` are values of their own.
                    (Some(one), Some(other)) => one.total_cmp(&other).then_with(by_text),
                    _ => by_text(),
                }
            });
            MetaResults { key: key.to_owned(), values }
        });
        results.collect()
    }
}
