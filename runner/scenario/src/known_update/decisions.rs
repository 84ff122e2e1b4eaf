//! [`Decisions`]: the changes that make a list of known failures expect results.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runner_model::known::{Judged, Known, KnownEntry, KnownList, MAX_MEMBERS, Stale, literal};
use runner_model::known_plan::KnownPlan;
use runner_model::{Fingerprint, Outcome, Time, globs::over_ids, id_glob, row::FailureKinds};

use super::text::{ListText, NewEntry, array_of, judged_text};

/// Tests that a glob stands for at least.
const MIN_GROUP: usize = 3;

/// A test on a provider.
#[derive(Clone, Debug)]
pub struct PairResults {
    pub test: String,
    pub provider: String,
    /// The outcomes of its repeats with the kinds of failures, once each. Empty if the run has no results or skipped all.
    pub ends: Vec<(Outcome, FailureKinds)>,
}

/// The results that lists have to expect.
#[derive(Clone, Copy, Debug)]
pub struct KnownResults<'a> {
    /// All pairs of the plan, in its order.
    pub pairs: &'a [PairResults],
    /// Fingerprints of tests and expectations, by the ids of tests.
    pub judged: &'a HashMap<String, Fingerprint>,
    /// Entries that have expired by this time do not apply.
    pub now: Time,
    /// The reason of new entries.
    pub reason: &'a str,
    /// Entries whose pairs all pass are removed, and nothing else changes.
    pub only_fixed: bool,
}

/// The change of an entry.
pub(super) enum Change {
    Keep,
    Remove,
    /// It is split into parts, the first of which replaces it.
    Split(Vec<EntryPart>),
}

/// A part of the pairs of an entry.
#[derive(Clone)]
pub(super) struct EntryPart {
    /// `None` for all providers of the entry.
    providers: Option<Vec<String>>,
    flaky: bool,
    /// Globs for these tests. Of the first part, some may be the entry's.
    globs: Vec<String>,
    judged: Option<Judged>,
}

impl Change {
    /// Edits the entry in its file.
    pub(super) fn apply(&self, text: &mut ListText<'_>, index: usize, entry: &KnownEntry) {
        let parts = match self {
            Self::Keep => return,
            Self::Remove => return text.remove(index),
            Self::Split(parts) => parts,
        };
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                text.add_entry_after(
                    index,
                    &NewEntry {
                        tests: part.globs.clone(),
                        providers: part
                            .providers
                            .clone()
                            .unwrap_or_else(|| entry.providers.clone()),
                        reason: entry.reason.clone(),
                        until: entry.until.clone(),
                        outcomes: entry.outcomes.iter().map(|outcome| outcome.as_str()).collect(),
                        kinds: entry.kinds.clone(),
                        flaky: part.flaky,
                        judged: part.judged.clone(),
                    },
                );
                continue;
            }
            if part.globs != entry.tests {
                text.set(index, "tests", &array_of(&part.globs, "tests"));
            }
            if let Some(providers) = &part.providers {
                text.set(index, "providers", &array_of(providers, "providers"));
            }
            if part.flaky && !entry.flaky {
                text.set(index, "flaky", "true");
            }
            if let Some(judged) = part.judged.as_ref().filter(|_| part.judged != entry.judged) {
                text.set(index, "judged", &judged_text(judged));
            }
        }
    }
}

impl EntryPart {
    /// Splits a part for more tests than a list has.
    fn chunks(self) -> Vec<Self> {
        let Some(Judged::Tests(members)) = &self.judged else { return vec![self] };
        if members.len() <= MAX_MEMBERS {
            return vec![self];
        }
        let chunks = members.chunks(MAX_MEMBERS).map(|members| Judged::Tests(members.to_vec()));
        chunks.map(|judged| Self { judged: Some(judged), ..self.clone() }).collect()
    }
}

/// Returns `judged` of an entry with these globs for these tests.
fn judged_of<T: AsRef<str>>(
    globs: &[String],
    tests: impl IntoIterator<Item = T>,
    results: KnownResults<'_>,
) -> Judged {
    let tests: BTreeMap<_, _> = tests
        .into_iter()
        .filter_map(|test| results.judged.get_key_value(test.as_ref()))
        .map(|(test, judged)| (test.as_str(), *judged))
        .collect();
    let only = if let [glob] = globs { literal(glob) } else { None };
    match only.and_then(|test| tests.get(&*test)) {
        Some(judged) => Judged::Test(*judged),
        None => Judged::of(tests),
    }
}

/// Returns a list with the entries that are stale by the results and their time.
pub(super) fn compared(
    mut list: KnownList,
    results: KnownResults<'_>,
) -> Result<KnownList, String> {
    for entry in &mut list.entries {
        entry.stale = entry.is_expired(results.now).then_some(Stale::Expired);
    }
    let known = Known::new(list)?;
    let mut providers = BTreeMap::<_, Vec<_>>::new();
    for pair in results.pairs {
        providers.entry(&*pair.test).or_default().push(&*pair.provider);
    }
    let mut plan = KnownPlan::new(&known);
    for (test, providers) in providers {
        let has_provider =
            |number| providers.iter().any(|provider| known.has_provider(number, provider));
        let judged = results.judged.get(test).copied();
        plan.add(test, has_provider, || judged.ok_or_else(|| format!("`{test}` is unknown")))?;
    }
    Ok(plan.finish(false))
}

/// The changes that make a list expect its results.
pub(super) struct Decisions {
    pub(super) changes: Vec<Change>,
    pub(super) added: Vec<NewEntry>,
    /// Whether a pair may fail unexpectedly, by pair: with an expired entry only, or with [`KnownResults::only_fixed`].
    pub(super) held: Vec<bool>,
    pub(super) expired: Vec<(usize, usize)>,
    /// Entries without a pair.
    pub(super) unmatched: Vec<usize>,
    /// Pairs of the added entries.
    pub(super) newly_failing: Vec<usize>,
}

/// Why a pair stays in an entry, or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Kept,
    Flaky,
    Dropped,
}

impl PairResults {
    fn bad(&self) -> impl Iterator<Item = &(Outcome, FailureKinds)> + '_ {
        self.ends.iter().filter(|(outcome, _)| outcome.is_bad())
    }

    fn has_passed(&self) -> bool {
        self.ends.iter().any(|(outcome, _)| *outcome == Outcome::Passed)
    }

    fn is_pass(&self) -> bool {
        self.has_passed() && self.bad().next().is_none()
    }
}

impl Decisions {
    pub(super) fn new(list: &KnownList, results: KnownResults<'_>) -> Result<Self, String> {
        let mut plain = compared(list.clone(), results)?;
        let is_changed: Vec<_> =
            plain.entries.iter().map(|entry| entry.stale == Some(Stale::Changed)).collect();
        plain.entries.iter_mut().for_each(|entry| entry.stale = None);
        let known = Known::new(plain)?;
        let mut pairs_of = vec![Vec::new(); list.entries.len()];
        for (number, pair) in results.pairs.iter().enumerate() {
            for entry in known.matching(&pair.test, &pair.provider) {
                if known.list().entries[entry as usize].stale_for(&pair.test).is_none() {
                    pairs_of[entry as usize].push(number);
                }
            }
        }
        let plan = PlannedTests::new(results.pairs);
        let mut is_expected = vec![false; results.pairs.len()];
        let mut changes = Vec::new();
        // The last entry that matches decides, so the pairs that it drops are left to those before it.
        for (number, entry) in list.entries.iter().enumerate().rev() {
            let pairs = &pairs_of[number];
            let tests: BTreeSet<_> = pairs.iter().map(|pair| &*results.pairs[*pair].test).collect();
            // If all tests have changed, the entry is confirmed for as many as it had. Of more or fewer, some may be new.
            let is_other = is_changed[number] && !has_as_many(entry, tests.len());
            let all_pass = pairs.iter().all(|pair| results.pairs[*pair].is_pass());
            if !pairs.is_empty() && all_pass && !entry.flaky {
                changes.push(Change::Remove);
                continue;
            }
            if results.only_fixed || entry.is_expired(results.now) {
                changes.push(Change::Keep);
                continue;
            }
            let has_results = |pair: &usize| !results.pairs[*pair].ends.is_empty();
            if is_other {
                let is_gone = !pairs.is_empty() && pairs.iter().all(has_results);
                changes.push(if is_gone { Change::Remove } else { Change::Keep });
                continue;
            }
            let mut fates = Vec::new();
            for pair in pairs {
                let of_pair = &results.pairs[*pair];
                let fate = match () {
                    () if !has_results(pair) => Fate::Kept,
                    // An entry is confirmed only for the tests about which it decides.
                    () if is_expected[*pair] && is_changed[number] => Fate::Dropped,
                    () if is_expected[*pair] => Fate::Kept,
                    () if !of_pair.bad().all(|(outcome, kinds)| {
                        known.expects(number as u32, *outcome, || kinds.clone())
                    }) =>
                    {
                        Fate::Dropped
                    }
                    () if !of_pair.has_passed() || entry.flaky || !list.strict => Fate::Kept,
                    () if of_pair.is_pass() => Fate::Dropped,
                    () => Fate::Flaky,
                };
                fates.push(fate);
            }
            let confirms = is_changed[number] && pairs.iter().any(has_results);
            let is_kept = fates.iter().all(|fate| *fate == Fate::Kept) && !confirms;
            for (pair, fate) in pairs.iter().zip(&mut fates) {
                // A part with passes only would be removed by the next update.
                if !is_kept && results.pairs[*pair].is_pass() && !entry.flaky {
                    *fate = Fate::Dropped;
                }
                is_expected[*pair] |= has_results(pair) && *fate != Fate::Dropped;
            }
            if is_kept {
                changes.push(Change::Keep);
                continue;
            }
            changes.push(if fates.iter().all(|fate| *fate == Fate::Dropped) {
                Change::Remove
            } else {
                let fates = pairs.iter().map(|pair| &results.pairs[*pair]).zip(fates);
                let fates = fates.collect::<Vec<_>>();
                let parts = split(entry, is_changed[number], &fates, &plan, results)?;
                if parts.is_empty() { Change::Keep } else { Change::Split(parts) }
            });
        }
        changes.reverse();
        let unmatched = (0..pairs_of.len()).filter(|entry| pairs_of[*entry].is_empty()).collect();
        // Failures without an entry are held, too, if none may be added.
        let mut held = vec![results.only_fixed; results.pairs.len()];
        let mut expired = Vec::new();
        let is_new = |pair: usize| !is_expected[pair] && results.pairs[pair].bad().next().is_some();
        for (number, (entry, pairs)) in list.entries.iter().zip(&pairs_of).enumerate() {
            if entry.is_expired(results.now) {
                let failing: Vec<_> = pairs.iter().copied().filter(|pair| is_new(*pair)).collect();
                failing.iter().for_each(|pair| held[*pair] = true);
                expired.extend((!failing.is_empty()).then_some((number, failing.len())));
            }
        }
        let new = (0..results.pairs.len()).filter(|pair| is_new(*pair) && !held[*pair]);
        let newly_failing: Vec<_> = new.collect();
        let new = newly_failing.iter().map(|pair| &results.pairs[*pair]);
        let added = plan.new_entries(new, results);
        Ok(Self { changes, added, held, expired, unmatched, newly_failing })
    }
}

/// Returns whether an entry, none of whose members is in the plan, may have been written for this number of tests.
fn has_as_many(entry: &KnownEntry, tests: usize) -> bool {
    match &entry.judged {
        Some(Judged::Tests(members)) if !members.is_empty() => members.len() == tests,
        _ => true,
    }
}

/// Splits an entry into parts with the pairs that stay in it. If it `is_changed`, only results confirm its tests, and globs of the
/// others stay without being confirmed.
fn split(
    entry: &KnownEntry,
    is_changed: bool,
    pairs: &[(&PairResults, Fate)],
    plan: &PlannedTests<'_>,
    results: KnownResults<'_>,
) -> Result<Vec<EntryPart>, String> {
    let confirmed = pairs.iter().filter(|(pair, _)| !is_changed || !pair.ends.is_empty());
    let confirmed: BTreeSet<_> = confirmed.map(|(pair, _)| &*pair.test).collect();
    let mut by_test = BTreeMap::<&str, BTreeMap<Fate, Vec<&str>>>::new();
    for (pair, fate) in pairs {
        by_test.entry(&pair.test).or_default().entry(*fate).or_default().push(&pair.provider);
    }
    let mut parts = BTreeMap::<(bool, Option<Vec<String>>), BTreeSet<String>>::new();
    let (confirmed, others): (Vec<_>, Vec<_>) =
        by_test.iter().partition(|(test, _)| confirmed.contains(**test));
    for (test, fates) in confirmed {
        for (fate, providers) in fates.iter().filter(|(fate, _)| **fate != Fate::Dropped) {
            let names = providers.iter().map(|name| provider_glob(name));
            let providers = (fates.len() > 1).then(|| names.collect());
            let key = (*fate == Fate::Flaky, providers);
            parts.entry(key).or_default().insert((*test).to_owned());
        }
    }
    let all = &entry.providers;
    let all = (!all.is_empty()).then(|| over_ids(all)).transpose()?;
    let parts = parts.into_iter().enumerate();
    let parts = parts
        .map(|(number, ((flaky, providers), tests))| {
            let of_part = |provider: &str| match &providers {
                Some(names) => names.iter().any(|name| *name == provider_glob(provider)),
                None => all.as_ref().is_none_or(|all| all.is_match(provider)),
            };
            let planned = plan.tests_of(&tests, of_part);
            let globs = match number {
                0 => {
                    let others = others.iter().map(|(test, _)| (**test).to_owned());
                    let kept = tests.iter().cloned().chain(others).collect();
                    globs_of(entry, &by_test, &kept, &planned)?
                }
                _ => grouped(&tests, &planned).into_iter().map(|(glob, _)| glob).collect(),
            };
            // A glob of an update expects no failure that the update has not seen.
            let is_new = |glob: &String| literal(glob).is_none() && !entry.tests.contains(glob);
            let judged = (entry.judged.is_some() || globs.iter().any(is_new))
                .then(|| judged_of(&globs, &tests, results));
            Ok(EntryPart { providers, flaky: flaky || entry.flaky, globs, judged })
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(parts.into_iter().flat_map(EntryPart::chunks).collect())
}

/// Returns globs that match only `kept` among the tests of an entry: its own ones, except those that also match others. With
/// `judged`, a glob stays as long as it matches any.
fn globs_of(
    entry: &KnownEntry,
    all: &BTreeMap<&str, BTreeMap<Fate, Vec<&str>>>,
    kept: &BTreeSet<String>,
    planned: &[&str],
) -> Result<Vec<String>, String> {
    let mut globs = Vec::new();
    for glob in &entry.tests {
        let set = over_ids(&[glob])?;
        let (stay, gone): (BTreeSet<_>, BTreeSet<_>) = all
            .keys()
            .filter(|test| set.is_match(*test))
            .map(|test| (*test).to_owned())
            .partition(|test| kept.contains(test));
        let is_judged = entry.judged.is_some() && literal(glob).is_none();
        if gone.is_empty() || is_judged && !stay.is_empty() {
            globs.push(glob.clone());
        } else {
            globs.extend(grouped(&stay, planned).into_iter().map(|(glob, _)| glob));
        }
    }
    globs.dedup();
    Ok(globs)
}

/// Returns globs that match exactly these tests among the planned ones, which are sorted: a prefix up to a `/` if all planned
/// tests with it are among them, and they are at least [`MIN_GROUP`]. Each with its tests.
fn grouped<'t>(tests: &'t BTreeSet<String>, planned: &[&str]) -> Vec<(String, Vec<&'t str>)> {
    let sorted: Vec<_> = tests.iter().map(String::as_str).collect();
    let with_prefix = |sorted: &[&str], prefix: &str| {
        let start = sorted.partition_point(|test| *test < prefix);
        start + sorted[start..].partition_point(|test| test.starts_with(prefix)) - start
    };
    let mut globs = Vec::new();
    let mut number = 0;
    while let Some(test) = sorted.get(number) {
        let prefixes = test.match_indices('/').map(|(at, _)| &test[..=at]);
        let group = prefixes
            .map(|prefix| (prefix, with_prefix(&sorted, prefix)))
            .find(|(prefix, count)| *count >= MIN_GROUP && with_prefix(planned, prefix) == *count);
        let (glob, count) = match group {
            Some((prefix, count)) => (format!("{}*", id_glob(prefix)), count),
            None => (id_glob(test), 1),
        };
        globs.push((glob, sorted[number..number + count].to_vec()));
        number += count;
    }
    globs
}

/// Returns a glob that matches one provider. Brackets of a matrix stay as they are.
fn provider_glob(name: &str) -> String {
    if name.contains(['*', '?', '{', '\\']) { id_glob(name) } else { name.to_owned() }
}

/// The tests of a plan.
struct PlannedTests<'a> {
    pairs: &'a [PairResults],
    /// Names of all providers.
    providers: BTreeSet<&'a str>,
    /// Places of tests in the plan.
    places: HashMap<&'a str, usize>,
}

impl<'a> PlannedTests<'a> {
    fn new(pairs: &'a [PairResults]) -> Self {
        let mut places = HashMap::new();
        for (place, pair) in pairs.iter().enumerate() {
            places.entry(pair.test.as_str()).or_insert(place);
        }
        Self { pairs, providers: pairs.iter().map(|pair| pair.provider.as_str()).collect(), places }
    }

    /// Returns the tests with one of these providers, sorted. Empty for fewer `tests` than [`grouped`] groups.
    fn tests_of(&self, tests: &BTreeSet<String>, is_of: impl Fn(&str) -> bool) -> Vec<&'a str> {
        if tests.len() < MIN_GROUP {
            return Vec::new();
        }
        let providers: BTreeSet<_> =
            self.providers.iter().copied().filter(|provider| is_of(provider)).collect();
        let pairs = self.pairs.iter().filter(|pair| providers.contains(pair.provider.as_str()));
        let tests: BTreeSet<_> = pairs.map(|pair| pair.test.as_str()).collect();
        tests.into_iter().collect()
    }

    /// Returns entries for pairs that no entry expects, in the order of the plan.
    fn new_entries<'p>(
        &self,
        new: impl Iterator<Item = &'p PairResults>,
        results: KnownResults<'_>,
    ) -> Vec<NewEntry> {
        type Kind = (BTreeSet<&'static str>, bool);
        let mut by_test = BTreeMap::<(&str, Kind), BTreeSet<&str>>::new();
        for pair in new {
            let outcomes = pair.bad().map(|(outcome, _)| outcome.as_str()).collect();
            let key = (pair.test.as_str(), (outcomes, pair.has_passed()));
            by_test.entry(key).or_default().insert(&pair.provider);
        }
        let mut groups = BTreeMap::<(Kind, BTreeSet<&str>), BTreeSet<String>>::new();
        for ((test, kind), providers) in by_test {
            groups.entry((kind, providers)).or_default().insert(test.to_owned());
        }
        let mut entries = Vec::new();
        for (((outcomes, flaky), providers), tests) in groups {
            let is_all = providers == self.providers;
            let planned = self.tests_of(&tests, |provider| providers.contains(provider));
            for (glob, tests) in grouped(&tests, &planned) {
                let globs = vec![glob];
                for tests in tests.chunks(MAX_MEMBERS) {
                    let names = providers.iter().map(|name| provider_glob(name));
                    let entry = NewEntry {
                        judged: Some(judged_of(&globs, tests, results)),
                        tests: globs.clone(),
                        providers: if is_all { Vec::new() } else { names.collect() },
                        reason: results.reason.to_owned(),
                        until: None,
                        outcomes: outcomes.iter().copied().collect(),
                        kinds: Vec::new(),
                        flaky,
                    };
                    entries.push((self.places.get(tests[0]).copied(), entry));
                }
            }
        }
        entries.sort_by_key(|(place, _)| *place);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}
