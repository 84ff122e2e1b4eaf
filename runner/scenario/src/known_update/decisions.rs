//! [`Decisions`]: the changes that make a list of known failures expect results.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use runner_model::known::plan::KnownPlan;
use runner_model::known::{Judged, Known, KnownEntry, KnownList, MAX_MEMBERS, Stale, literal};
use runner_model::{Fingerprint, Outcome, Time, globs::over_ids, id_glob, row::FailureKinds};

use super::text::ListText;

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
pub(super) enum EntryChange {
    Keep,
    Remove,
    /// It is split into parts, the first of which replaces it.
    Split(Vec<KnownEntry>),
}

impl EntryChange {
    /// Edits the entry in its file.
    pub(super) fn apply(&self, text: &mut ListText<'_>, index: usize, entry: &KnownEntry) {
        match self {
            Self::Keep => {}
            Self::Remove => text.remove(index),
            Self::Split(parts) => {
                for (number, part) in parts.iter().enumerate() {
                    match number {
                        0 => text.change(index, entry, part),
                        _ => text.add_entry_after(index, part),
                    }
                }
            }
        }
    }

    /// Returns the number of entries after the change.
    pub(super) fn entries(&self) -> usize {
        match self {
            Self::Keep => 1,
            Self::Remove => 0,
            Self::Split(parts) => parts.len(),
        }
    }
}

/// Splits an entry for more tests than `judged` may have.
fn chunks(entry: KnownEntry) -> Vec<KnownEntry> {
    let Some(Judged::Tests(members)) = &entry.judged else { return vec![entry] };
    if members.len() <= MAX_MEMBERS {
        return vec![entry];
    }
    let chunks = members.chunks(MAX_MEMBERS).map(|members| Judged::Tests(members.to_vec()));
    chunks.map(|judged| KnownEntry { judged: Some(judged), ..entry.clone() }).collect()
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

/// Compiles a list with the entries that are stale by the results and their time.
pub(super) fn compared(list: KnownList, results: KnownResults<'_>) -> Result<Known, String> {
    let mut providers = BTreeMap::<_, Vec<_>>::new();
    for pair in results.pairs {
        providers.entry(&*pair.test).or_default().push(&*pair.provider);
    }
    let mut plan = KnownPlan::new(list, results.now)?;
    for (test, providers) in providers {
        let has_provider = |known: &Known, number| {
            providers.iter().any(|provider| known.has_provider(number, provider))
        };
        let judged = results.judged.get(test).copied();
        plan.add(test, has_provider, || judged.ok_or_else(|| format!("`{test}` is unknown")))?;
    }
    Ok(plan.finish(false))
}

/// The changes that make a list expect its results.
pub(super) struct Decisions {
    pub(super) changes: Vec<EntryChange>,
    pub(super) added: Vec<KnownEntry>,
    /// Expired entries, with the number of pairs that only they would expect.
    pub(super) expired: Vec<(KnownEntry, usize)>,
    /// Entries without a pair.
    pub(super) unmatched: Vec<KnownEntry>,
    /// Pairs of the added entries, as `test@provider`.
    pub(super) newly_failing: Vec<String>,
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

    fn has_results(&self) -> bool {
        !self.ends.is_empty()
    }

    fn has_passed(&self) -> bool {
        self.ends.iter().any(|(outcome, _)| *outcome == Outcome::Passed)
    }

    fn is_pass(&self) -> bool {
        self.has_passed() && self.bad().next().is_none()
    }
}

/// A list beside the results that it has to expect.
struct Entries<'a> {
    results: KnownResults<'a>,
    plan: PlannedTests<'a>,
    known: Known,
    /// Pairs of each entry.
    pairs: Vec<Vec<usize>>,
    /// Whether an entry expects all results of a pair, by pair.
    is_expected: Vec<bool>,
}

impl<'a> Entries<'a> {
    fn new(list: &KnownList, results: KnownResults<'a>) -> Result<Self, String> {
        let known = compared(list.clone(), results)?;
        let mut pairs = vec![Vec::new(); list.entries.len()];
        for (number, pair) in results.pairs.iter().enumerate() {
            for entry in known.matching(&pair.test, &pair.provider) {
                if known.list().entries[entry as usize].has_member(&pair.test) {
                    pairs[entry as usize].push(number);
                }
            }
        }
        let plan = PlannedTests::new(results.pairs);
        Ok(Self { results, plan, known, pairs, is_expected: vec![false; results.pairs.len()] })
    }

    /// Decides about an entry after all entries that follow it.
    fn change(&mut self, number: usize) -> Result<EntryChange, String> {
        let results = self.results;
        let entry = &self.known.list().entries[number];
        let is_changed = entry.stale == Some(Stale::Changed);
        let of_entry: Vec<_> =
            self.pairs[number].iter().map(|pair| (*pair, &results.pairs[*pair])).collect();
        let pairs = || of_entry.iter().map(|(_, pair)| *pair);
        if !of_entry.is_empty() && pairs().all(PairResults::is_pass) && !entry.flaky {
            return Ok(EntryChange::Remove);
        }
        if results.only_fixed || entry.is_expired(results.now) {
            return Ok(EntryChange::Keep);
        }
        // If all tests have changed, the entry is confirmed for as many as it had. Of more or fewer, some may be new.
        let tests: BTreeSet<_> = pairs().map(|pair| &*pair.test).collect();
        if is_changed && !has_as_many(entry, tests.len()) {
            let is_gone = !of_entry.is_empty() && pairs().all(PairResults::has_results);
            return Ok(if is_gone { EntryChange::Remove } else { EntryChange::Keep });
        }
        let fates = of_entry.iter().map(|(pair, _)| self.fate(number as u32, *pair, is_changed));
        let mut fates: Vec<_> = fates.collect();
        let confirms = is_changed && pairs().any(PairResults::has_results);
        let is_kept = !confirms && fates.iter().all(|fate| *fate == Fate::Kept);
        for ((number, pair), fate) in of_entry.iter().zip(&mut fates) {
            // A part with passes only would be removed by the next update.
            if !is_kept && pair.is_pass() && !entry.flaky {
                *fate = Fate::Dropped;
            }
            self.is_expected[*number] |= pair.has_results() && *fate != Fate::Dropped;
        }
        if is_kept {
            return Ok(EntryChange::Keep);
        }
        if fates.iter().all(|fate| *fate == Fate::Dropped) {
            return Ok(EntryChange::Remove);
        }
        let fates: Vec<_> = pairs().zip(fates).collect();
        let parts = split(entry, is_changed, &fates, &self.plan, results)?;
        Ok(if parts.is_empty() { EntryChange::Keep } else { EntryChange::Split(parts) })
    }

    fn fate(&self, entry: u32, pair: usize, is_changed: bool) -> Fate {
        let is_expected = self.is_expected[pair];
        let pair = &self.results.pairs[pair];
        let KnownList { strict, entries, .. } = self.known.list();
        let expects = |(outcome, kinds): &(Outcome, FailureKinds)| {
            self.known.expects(entry, *outcome, || kinds.clone())
        };
        match () {
            () if !pair.has_results() => Fate::Kept,
            // An entry is confirmed only for the tests about which it decides.
            () if is_expected && is_changed => Fate::Dropped,
            () if is_expected => Fate::Kept,
            () if !pair.bad().all(expects) => Fate::Dropped,
            () if !pair.has_passed() || entries[entry as usize].flaky || !strict => Fate::Kept,
            () if pair.is_pass() => Fate::Dropped,
            () => Fate::Flaky,
        }
    }
}

impl Decisions {
    pub(super) fn new(list: &KnownList, results: KnownResults<'_>) -> Result<Self, String> {
        let mut entries = Entries::new(list, results)?;
        // The last entry that matches decides, so the pairs that it drops are left to those before it.
        let changes = (0..list.entries.len()).rev().map(|number| entries.change(number));
        let mut changes = changes.collect::<Result<Vec<_>, _>>()?;
        changes.reverse();
        let Entries { plan, pairs: pairs_of, is_expected, .. } = entries;
        let entries = || list.entries.iter().zip(&pairs_of);
        let unmatched = entries().filter(|(_, pairs)| pairs.is_empty());
        let unmatched = unmatched.map(|(entry, _)| entry.clone()).collect();
        // A failure with an expired entry gets no other one, and with `only_fixed`, no failure does.
        let mut is_held = vec![results.only_fixed; results.pairs.len()];
        let mut expired = Vec::new();
        let is_new = |pair: usize| !is_expected[pair] && results.pairs[pair].bad().next().is_some();
        for (entry, pairs) in entries() {
            if entry.is_expired(results.now) {
                let failing: Vec<_> = pairs.iter().copied().filter(|pair| is_new(*pair)).collect();
                failing.iter().for_each(|pair| is_held[*pair] = true);
                expired.extend((!failing.is_empty()).then(|| (entry.clone(), failing.len())));
            }
        }
        let new = (0..results.pairs.len()).filter(|pair| is_new(*pair) && !is_held[*pair]);
        let new: Vec<_> = new.map(|pair| &results.pairs[pair]).collect();
        let newly_failing =
            new.iter().map(|pair| format!("{}@{}", pair.test, pair.provider)).collect();
        // In place of an entry for some kinds, another one must not excuse all.
        let with_kinds: BTreeSet<_> = entries()
            .filter(|(entry, _)| !entry.kinds.is_empty())
            .flat_map(|(_, pairs)| pairs.iter().map(|pair| &*results.pairs[*pair].test))
            .collect();
        let added = plan.new_entries(&new, &with_kinds, results);
        Ok(Self { changes, added, expired, unmatched, newly_failing })
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
) -> Result<Vec<KnownEntry>, String> {
    let confirmed = pairs.iter().filter(|(pair, _)| !is_changed || pair.has_results());
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
            Ok(KnownEntry {
                tests: globs,
                providers: providers.unwrap_or_else(|| entry.providers.clone()),
                flaky: flaky || entry.flaky,
                judged,
                ..entry.clone()
            })
        })
        .collect::<Result<Vec<_>, String>>()?;
    Ok(parts.into_iter().flat_map(chunks).collect())
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

    /// Returns entries for pairs that no entry expects, in the order of the plan. Those for tests in `with_kinds` are for the kinds of
    /// their failures alone.
    fn new_entries(
        &self,
        new: &[&PairResults],
        with_kinds: &BTreeSet<&str>,
        results: KnownResults<'_>,
    ) -> Vec<KnownEntry> {
        type Kind<'r> = (BTreeSet<&'static str>, bool, BTreeSet<&'r str>);
        let mut by_test = BTreeMap::<(&str, Kind<'_>), BTreeSet<&str>>::new();
        for pair in new {
            let outcomes = pair.bad().map(|(outcome, _)| outcome.as_str()).collect();
            let kinds = pair.bad().filter(|_| with_kinds.contains(&*pair.test));
            let kinds: Option<Vec<_>> = kinds.map(|(_, kinds)| kinds.names()).collect();
            let kinds = kinds.into_iter().flatten().flatten().collect();
            let key = (pair.test.as_str(), (outcomes, pair.has_passed(), kinds));
            by_test.entry(key).or_default().insert(&pair.provider);
        }
        let mut groups = BTreeMap::<(Kind<'_>, BTreeSet<&str>), BTreeSet<String>>::new();
        for ((test, kind), providers) in by_test {
            groups.entry((kind, providers)).or_default().insert(test.to_owned());
        }
        let mut entries = Vec::new();
        for (((outcomes, flaky, kinds), providers), tests) in groups {
            let is_all = providers == self.providers;
            let planned = self.tests_of(&tests, |provider| providers.contains(provider));
            for (glob, tests) in grouped(&tests, &planned) {
                let globs = vec![glob];
                let names = providers.iter().map(|name| provider_glob(name));
                let entry = KnownEntry {
                    judged: Some(judged_of(&globs, &tests, results)),
                    tests: globs,
                    providers: if is_all { Vec::new() } else { names.collect() },
                    reason: results.reason.to_owned(),
                    outcomes: outcomes.iter().filter_map(|word| Outcome::parse(word)).collect(),
                    kinds: kinds.iter().map(|kind| id_glob(kind)).collect(),
                    flaky,
                    ..KnownEntry::default()
                };
                let place = self.places.get(tests[0]).copied();
                entries.extend(chunks(entry).into_iter().map(|entry| (place, entry)));
            }
        }
        entries.sort_by_key(|(place, _)| *place);
        entries.into_iter().map(|(_, entry)| entry).collect()
    }
}
