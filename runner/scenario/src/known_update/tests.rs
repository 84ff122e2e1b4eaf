//! Lists before and after an update.

use std::collections::HashMap;
use std::env;

use proptest::prelude::*;
use runner_model::known::{Judged, Known, KnownEntry, KnownList};
use runner_model::{Digest, Fingerprint, Outcome, Time, digest, row::FailureKinds};
use serde_json::{Map, Value, json};

use super::decisions::{Decisions, EntryChange, compared};
use super::text::judged_text;
use super::{KnownResults, KnownSource, KnownUpdate, PairResults, update_known};
use crate::keys::KNOWN_LIST;
use crate::reading::{At, Document, Form as _, Reader};

const NOW: &str = "2027-01-01T00:00:00.000Z";

/// Reads `test@provider`, then the outcomes of its repeats, such as `failed:equals`, or `-` for none.
fn pair(text: &str) -> PairResults {
    let (test, rest) = text.split_once('@').unwrap();
    let (provider, outcomes) = rest.split_once(' ').unwrap();
    let outcomes = outcomes.split(' ').filter(|word| *word != "-");
    let ends = outcomes.map(|word| {
        let (outcome, kind) = word.split_once(':').unwrap_or((word, ""));
        let kinds = if kind.is_empty() { FailureKinds::default() } else { FailureKinds::one(kind) };
        (*Outcome::ALL.iter().find(|one| one.as_str() == outcome).unwrap(), kinds)
    });
    PairResults { test: test.into(), provider: provider.into(), ends: ends.collect() }
}

fn fingerprint(test: &str) -> Fingerprint {
    Digest::fingerprint(&digest(test.as_bytes()))
}

/// Returns `judged` of an entry for these tests.
fn members(tests: &[&str]) -> String {
    judged_text(&Judged::of(tests.iter().map(|test| (*test, fingerprint(test)))))
}

/// Returns the entries of a source, and all of its other values.
fn parts_of(source: &KnownSource) -> (Vec<KnownEntry>, Value) {
    let document = Document::parse("", &source.text).map_err(drop).unwrap();
    let mut root = document.value(&mut Vec::new());
    let table = if source.file.is_some() { Some(&mut root) } else { root.get_mut("known") };
    let entries = table.and_then(Value::as_object_mut).and_then(|table| table.remove("failures"));
    // `[[known.failures]]` alone makes the table.
    if root.get("known").and_then(Value::as_object).is_some_and(Map::is_empty) {
        root.as_object_mut().unwrap().remove("known");
    }
    let mut reader = Reader::new(&document);
    let mut list = json!({ "failures": entries.unwrap_or_else(|| json!([])) });
    let entries = KNOWN_LIST.read(&At::ROOT, &mut list, &mut reader);
    assert!(reader.problems.is_empty(), "{}", source.text);
    (entries.unwrap(), root)
}

/// Returns the lines of a source outside of the entries that change and of the comments directly above them, without blank lines.
fn kept_lines<'t>(source: &'t KnownSource, changes: &[&EntryChange]) -> Vec<&'t str> {
    let header = if source.file.is_some() { "[[failures]]" } else { "[[known.failures]]" };
    let is_changed = |entry: usize| !matches!(changes[entry], EntryChange::Keep);
    let (mut next, mut inside) = (0, None);
    let mut kept = Vec::new();
    for line in source.text.lines() {
        let is_header = line.starts_with(header);
        if line.is_empty() || line.starts_with(['#', '[']) {
            inside = is_header.then_some(next);
            next += usize::from(is_header);
        }
        let entry = if line.starts_with("# Comment ") { Some(next) } else { inside };
        if !line.is_empty() && !entry.is_some_and(is_changed) {
            kept.push(line);
        }
    }
    kept
}

/// Sources with a strict list, and their results.
struct Case {
    strict: bool,
    sources: Vec<KnownSource>,
    pairs: Vec<PairResults>,
    judged: HashMap<String, Fingerprint>,
}

impl Case {
    fn new(text: &str, pairs: &[&str]) -> Self {
        let pairs: Vec<_> = pairs.iter().map(|text| pair(text)).collect();
        let sources = vec![KnownSource {
            file: Some("known.toml".into()),
            path: "known.toml".into(),
            text: text.into(),
        }];
        Self { strict: true, sources, judged: judged(&pairs), pairs }
    }

    fn list(&self) -> KnownList {
        let entries = self.sources.iter().flat_map(|source| {
            let entries = parts_of(source).0;
            entries.into_iter().map(|entry| KnownEntry {
                file: source.file.clone(),
                line: 7,
                ..entry
            })
        });
        KnownList { strict: self.strict, entries: entries.collect(), ..KnownList::default() }
    }

    fn results(&self) -> KnownResults<'_> {
        let now = Time::parse(NOW).unwrap();
        let Self { pairs, judged, .. } = self;
        KnownResults { pairs, judged, now, reason: "new", only_fixed: false }
    }

    fn update(&mut self) -> Result<KnownUpdate, String> {
        let update = update_known(&self.list(), &self.sources, self.results())?;
        for source in &mut self.sources {
            if let Some(edit) = update.files.get(&source.path) {
                assert_eq!(edit.old.as_deref(), Some(source.text.as_bytes()));
                source.text.clone_from(&edit.new);
            }
        }
        Ok(update)
    }

    /// Updates the lists twice. Returns the text of the first one.
    #[track_caller]
    fn updated(mut self) -> String {
        self.update().unwrap();
        let again = self.update().unwrap();
        assert!(again.files.is_empty(), "{:?}", again.files);
        self.sources.swap_remove(0).text
    }

    /// Returns the pairs that would make a run with the same results red.
    fn unexpected(&self) -> Vec<String> {
        let known = compared(self.list(), self.results()).unwrap();
        let is_bad = |pair: &PairResults, (outcome, kinds): &(Outcome, FailureKinds)| {
            let state = known.state(&pair.test, &pair.provider, *outcome, || kinds.clone());
            state.is_unexpected(*outcome)
        };
        let pairs = self.pairs.iter();
        let pairs = pairs.filter(|pair| pair.ends.iter().any(|end| is_bad(pair, end)));
        pairs.map(|pair| format!("{}@{}", pair.test, pair.provider)).collect()
    }
}

fn judged(pairs: &[PairResults]) -> HashMap<String, Fingerprint> {
    pairs.iter().map(|pair| (pair.test.clone(), fingerprint(&pair.test))).collect()
}

#[test]
fn new_failures_become_entries() {
    let case = Case::new(
        "# The suite's failures.\n",
        &[
            "a/1@p failed",
            "a/2@p failed",
            "a/3@p failed",
            "b/1@p error",
            "b/2@p passed failed",
            "c@p passed",
        ],
    );
    let (error, flaky) = (fingerprint("b/1"), fingerprint("b/2"));
    let group = members(&["a/1", "a/2", "a/3"]);
    assert_eq!(
        case.updated(),
        format!(
            "# The suite's failures.\n\n[[failures]]\ntests = [\"a/*\"]\nreason = \"new\"\njudged = {group}\n\n[[failures]]\ntests = [\"b/1\"]\nreason = \"new\"\noutcomes = [\"error\"]\njudged = \"{error}\"\n\n[[failures]]\ntests = [\"b/2\"]\nreason = \"new\"\nflaky = true\njudged = \"{flaky}\"\n"
        )
    );
}

#[test]
fn a_group_has_only_failures() {
    let mut texts = vec!["a/1@p failed", "a/2@p failed", "a/3@p failed"];
    for (other, groups) in [
        ("a/4@p passed", false),
        // It was not selected.
        ("a/4@p -", false),
        ("a/4@p error", false),
        // The entries of the others name their provider.
        ("a/4@q failed", true),
        ("ab/4@p passed", true),
        ("a/4@p failed", true),
    ] {
        texts.push(other);
        let new = Case::new("", &texts).updated();
        assert_eq!(new.contains("\"a/*\""), groups, "{other}:\n{new}");
        texts.pop();
    }
}

#[test]
fn entries_are_of_their_failing_providers() {
    let new =
        Case::new("", &["a@p failed", "a@q[size=1] passed", "b@p failed", "b@q[size=1] failed"]);
    let (a, b) = (fingerprint("a"), fingerprint("b"));
    assert_eq!(
        new.updated(),
        format!(
            "[[failures]]\ntests = [\"a\"]\nproviders = [\"p\"]\nreason = \"new\"\njudged = \"{a}\"\n\n[[failures]]\ntests = [\"b\"]\nreason = \"new\"\njudged = \"{b}\"\n"
        )
    );
}

#[test]
fn entries_of_passes_are_removed_with_their_comments() {
    let text = "# All of it.\n\n# A.\n[[failures]] # first\ntests = ['a']\nreason = 'r'\n\n# B.\n[[failures]]\n  tests = ['b'] # why\n  reason = '''\nlong'''\n\n# C.\n# More.\n[[failures]]\ntests = ['c']\nreason = 'r'";
    let kept =
        "# All of it.\n\n# B.\n[[failures]]\n  tests = ['b'] # why\n  reason = '''\nlong'''\n";
    assert_eq!(Case::new(text, &["a@p passed", "b@p failed", "c@p passed"]).updated(), kept);
    assert_eq!(Case::new(text, &["a@p failed", "b@p failed", "c@p failed"]).updated(), text);
    // Trials that were skipped or left out decide nothing.
    assert_eq!(Case::new(text, &["a@p -", "b@p -", "c@p -"]).updated(), text);
    let text = "# Its first line.\n[[failures]]\ntests = ['a']\nreason = 'r'\nflaky = true\n[[failures]]\ntests = ['b']\nreason = 'r'\n";
    let kept = "# Its first line.\n[[failures]]\ntests = ['a']\nreason = 'r'\nflaky = true\n";
    assert_eq!(Case::new(text, &["a@p passed", "b@p passed"]).updated(), kept);
    let text = "# Its first line.\n[[failures]]\ntests = ['a']\nreason = 'r'\n";
    assert_eq!(Case::new(text, &["a@p passed"]).updated(), "# Its first line.\n");
}

#[test]
fn entries_of_passes_and_failures_are_narrowed() {
    let text = "[[failures]]\r\ntests = [\r\n  'a', # one\r\n  'b', # two\r\n  'c/*' # all\r\n]\r\nreason = 'r'\r\n";
    let case = Case::new(text, &["a@p failed", "b@p passed", "c/1@p failed", "c/2@p passed"]);
    assert_eq!(case.updated(), "[[failures]]\r\ntests = [\"a\", \"c/1\"]\r\nreason = 'r'\r\n");
    let text = "[[failures]]\ntests = ['*']\nreason = 'r'\nuntil = 2027-03-01\n";
    let pairs = [
        "a@p failed",
        "a@q passed",
        "b@p failed",
        "b@q failed",
        "c@p passed failed",
        "c@q failed passed",
    ];
    assert_eq!(
        Case::new(text, &pairs).updated(),
        "[[failures]]\ntests = [\"b\"]\nreason = 'r'\nuntil = 2027-03-01\n\n[[failures]]\ntests = [\"a\"]\nproviders = [\"p\"]\nreason = \"r\"\nuntil = 2027-03-01\n\n[[failures]]\ntests = [\"c\"]\nreason = \"r\"\nuntil = 2027-03-01\nflaky = true\n"
    );
}

#[test]
fn another_outcome_needs_another_reason() {
    let text = "[[failures]]\ntests = ['a', 'b']\nreason = 'r'\n";
    let new = fingerprint("a");
    assert_eq!(
        Case::new(text, &["a@p error", "b@p failed"]).updated(),
        format!(
            "[[failures]]\ntests = [\"b\"]\nreason = 'r'\n\n[[failures]]\ntests = [\"a\"]\nreason = \"new\"\noutcomes = [\"error\"]\njudged = \"{new}\"\n"
        )
    );
}

#[test]
fn another_kind_of_failure_needs_another_reason() {
    let text = "[[failures]]\ntests = ['a', 'b']\nproviders = ['p', 'q']\nreason = 'r'\nkinds = ['equals', 'http-5*']\noutcomes = ['failed', 'error']\n";
    let pairs = ["a@p failed:equals", "a@q failed:json", "b@p error:http-503", "b@q failed:equals"];
    let case = Case::new(text, &pairs);
    assert_eq!(case.unexpected(), ["a@q"]);
    let updated = case.updated();
    let [kept, rest] = updated.split_once("\n\n").map(<[_; 2]>::from).unwrap();
    assert!(kept.contains("kinds = ['equals', 'http-5*']"), "{updated}");
    // The part of the entry for the other test keeps its kinds, and the new entry is for its own kind.
    assert_eq!(updated.matches("kinds = [").count(), 3, "{updated}");
    let new = rest.split("\n\n").last().unwrap();
    let own = "providers = [\"q\"]\nreason = \"new\"\nkinds = [\"json\"]\njudged";
    assert!(new.contains(own), "{updated}");
    // Nothing that is expected is an open question.
    assert_eq!(Case::new(&updated, &pairs).unexpected(), [""; 0]);
}

#[test]
fn stale_entries_get_the_present_fingerprint() {
    let text = "[[failures]]\ntests = ['a']\nreason = 'r'\njudged = '00000000000000000000000000000000' # old\n";
    let new = fingerprint("a").to_string();
    let updated = text.replace("'00000000000000000000000000000000'", &format!("\"{new}\""));
    assert_eq!(Case::new(text, &["a@p failed"]).updated(), updated);
    assert_eq!(Case::new(text, &["a@p -"]).updated(), text);
    assert_eq!(Case::new(text, &["a@p passed"]).updated(), "");
    // Entries for several tests get a list, also those that were written by hand.
    let ab = members(&["a1", "a2"]);
    for globs in ["['a*']", "['a1', 'a2']"] {
        for judged in ["'00000000000000000000000000000000'", "[]", "['00000000', \"00000001\"]"] {
            let text = format!("[[failures]]\ntests = {globs}\nreason = 'r'\njudged = {judged}\n");
            let updated = text.replace(judged, &ab);
            assert_eq!(Case::new(&text, &["a1@p failed", "a2@p failed"]).updated(), updated);
            assert_eq!(Case::new(&text, &["a1@p -", "a2@p -"]).updated(), text);
            let new = Case::new(&text, &["a1@p failed", "a2@p -"]).updated();
            assert_eq!(new, text.replace(judged, &members(&["a1"])));
        }
    }
}

#[test]
fn entries_with_members_expect_no_other_test() {
    let pairs = ["h/1@p failed", "h/2@p failed", "h/3@p failed", "h/4@p failed"];
    let mut case = Case::new("", &pairs[..3]);
    case.update().unwrap();
    let text = case.sources[0].text.clone();
    assert!(text.contains("tests = [\"h/*\"]") && case.unexpected().is_empty(), "{text}");

    let mut case = Case::new(&text, &pairs);
    assert_eq!(case.unexpected(), ["h/4@p"]);
    // Also if all members have changed: which of the four they are is unknown.
    for text in [text.clone(), text.replace("\"h/*\"", "\"h/1\", \"h/[2-4]\"")] {
        let mut case = Case::new(&text, &pairs);
        for judged in case.judged.values_mut() {
            *judged = fingerprint(&judged.to_string());
        }
        let mut part = Case { judged: case.judged.clone(), ..Case::new(&text, &pairs) };
        part.pairs[3].ends.clear();
        let update = case.update().unwrap();
        assert_eq!((update.added, update.changed, update.removed), (1, 0, 1));
        assert!(case.unexpected().is_empty() && !case.sources[0].text.contains("h/[2-4]"));
        assert_eq!(update.newly_failing.len(), 4);
        // Without a result of each test, the entry stays.
        let update = part.update().unwrap();
        assert_eq!((update.removed, update.newly_failing.len()), (0, 3));
        assert!(part.sources[0].text.starts_with(&text) && part.unexpected().is_empty());
    }
    let update = case.update().unwrap();
    assert_eq!((update.added, update.changed, update.newly_failing), (1, 0, vec!["h/4@p".into()]));
    assert!(case.unexpected().is_empty() && case.sources[0].text.starts_with(&text));
    // A test whose expectations have changed is another test.
    case.judged.insert("h/2".to_owned(), fingerprint("other"));
    assert_eq!(case.unexpected(), ["h/2@p"]);

    // The entry keeps its glob and loses the test.
    let case = Case::new(&text, &["h/1@p failed", "h/2@p passed", "h/3@p failed"]);
    let [old, new] = [&["h/1", "h/2", "h/3"][..], &["h/1", "h/3"]].map(members);
    assert_eq!(case.updated(), text.replace(&old, &new));
}

#[test]
fn large_groups_have_several_lists() {
    let pairs: Vec<_> = (0..10_001).map(|number| format!("h/{number}@p failed")).collect();
    let mut case = Case::new("", &pairs.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(case.update().unwrap().added, 2);
    assert!(case.unexpected().is_empty());
    // Ten of a list are on a line.
    assert_eq!(case.sources[0].text.lines().count(), 1010);
    let text = case.sources[0].text.replace("h/", "g/");
    let pairs: Vec<_> = pairs.iter().map(|pair| pair.replace("h/", "g/")).collect();
    let text = text[..text.rfind("\n[[").unwrap()].to_owned();
    let case = Case::new(&text, &pairs.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(case.updated().matches("g/*").count(), 2);
}

#[test]
fn expired_entries_stay_and_are_named() {
    let text = "[[failures]]\ntests = ['*']\nreason = 'r'\nuntil = 2026-12-31\n";
    let mut case = Case::new(text, &["a@p failed", "b@p passed"]);
    let update = case.update().unwrap();
    assert!(update.files.is_empty());
    assert_eq!(update.expired, [(case.list().entries.swap_remove(0), 1)]);
    assert_eq!(case.unexpected(), ["a@p"]);
    assert_eq!(Case::new(text, &["a@p passed"]).updated(), "");
    // On its last day, it applies.
    let text = text.replace("2026-12-31", "2027-01-01");
    assert_eq!(Case::new(&text, &["a@p failed"]).updated(), text);
}

#[test]
fn entries_of_scenarios_are_edited_in_place() {
    let scenario = "name = 's'\n[known]\nfiles = ['known.toml']\n[[known.failures]]\ntests = ['a', 'b']\nreason = 'r'\n[providers.p]\nplugin = 'bundled:echo'\n";
    let mut case = Case::new("", &["a@p failed", "b@p passed", "c@p failed"]);
    case.sources.push(KnownSource { file: None, path: "s.toml".into(), text: scenario.into() });
    case.update().unwrap();
    assert_eq!(case.sources[1].text, scenario.replace("['a', 'b']", "[\"a\"]"));
    assert!(case.sources[0].text.contains("tests = [\"c\"]"));
    case.sources.remove(0);
    let problem = case.update().unwrap_err();
    assert!(problem.contains("names no list"), "{problem}");
}

#[test]
fn entries_in_other_forms_are_refused_with_their_place() {
    let text = "failures = [{ tests = ['a'], reason = 'r' }]\n";
    let problem = Case::new(text, &["a@p passed"]).update().unwrap_err();
    assert!(problem.starts_with("the entry at `known.toml`:7 must change"), "{problem}");
    assert_eq!(Case::new(text, &["a@p failed"]).updated(), text);
}

#[test]
fn ids_and_names_become_globs_of_them_alone() {
    let new =
        Case::new("", &["a[1]@p failed", "a1@p passed", "-*@p failed", "b@p failed"]).updated();
    assert!(new.contains(r#""a\\[1\\]""#) && new.contains(r#""\\-\\*""#), "{new}");
}

/// A random number below `below`.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

fn pick<'t>(seed: &mut u64, from: &[&'t str]) -> &'t str {
    from[draw(seed, from.len() as u64) as usize]
}

fn random_entry(seed: &mut u64, header: &str, number: usize) -> String {
    let globs = ["a/*", "a/b/*", "*", "a/b/1", "a/1", "a/2", "c", "d[1]", "{a,c}*", "*1", "gone"];
    let mut draw_globs = |all: &[&str], quote: &str| {
        let count = 1 + draw(seed, 3);
        let globs: Vec<_> =
            (0..count).map(|_| format!("{quote}{}{quote}", pick(seed, all))).collect();
        if draw(seed, 2) == 0 {
            format!("[{}]", globs.join(", "))
        } else {
            format!("[\n  {}, # of {number}\n]", globs.join(",\n  "))
        }
    };
    let tests = draw_globs(&globs, "'");
    let providers = draw_globs(&["p", "q*", "q[size=1]", "*"], "\"");
    let is_single = draw(seed, 3) == 0;
    let tests =
        if is_single { format!("['{}']", pick(seed, &["a/1", "a/b/2", "c"])) } else { tests };
    let mut text = format!("# Comment {number}.\n{header} # header {number}\ntests = {tests}\n");
    let mut add = |chance: u64, line: &str| {
        if draw(seed, chance) == 0 {
            text += line;
        }
    };
    add(3, &format!("providers = {providers}\n"));
    add(1, &format!("reason = '''reason {number}''' # kept\n"));
    add(6, "until = 2026-12-31 # past\n");
    add(4, "outcomes = ['error', \"failed\"]\n");
    add(5, "flaky = true\n");
    let list = format!("judged = {} # tests\n", members(&["a/1", "a/b/1", "a/b/2", "c"]));
    match draw(seed, 4) {
        0 => text += "judged = '00000000000000000000000000000000'\n",
        1 => text += &list,
        _ => {}
    }
    text + pick(seed, &["", "\n", "# After.\n\n", "\n\n"])
}

fn random_case(seed: &mut u64) -> Case {
    let tests =
        ["a/1", "a/2", "a/3", "a/b/1", "a/b/2", "a/b/3", "c", "d[1]", "d1", "e/1", "e/2", "e/3"];
    let providers = ["p", "q[size=1]", "q[size=2]"];
    let providers = &providers[..1 + draw(seed, 3) as usize];
    let weight = 1 + draw(seed, 6);
    let mut pairs = Vec::new();
    for test in tests {
        for provider in providers {
            let kind = draw(seed, 9 + weight);
            let outcomes = match kind {
                0 => "-",
                1 => "error",
                2 => "passed failed",
                3 => "failed timeout",
                4 | 5 => "passed",
                _ if weight > 3 => "passed",
                _ => "failed",
            };
            if draw(seed, 12) > 0 {
                pairs.push(pair(&format!("{test}@{provider} {outcomes}")));
            }
        }
    }
    let mut number = 0;
    let mut text = |seed: &mut u64, header: &str, head: &str| {
        let count = draw(seed, 5);
        let entries: String = (0..count)
            .map(|_| {
                number += 1;
                random_entry(seed, header, number)
            })
            .collect();
        format!("{head}{entries}")
    };
    let head = pick(seed, &["", "# A header.\n", "# A header.\n\n"]);
    let first = text(seed, "[[failures]]", head);
    let second = text(seed, "[[failures]]", "");
    let head = "\u{feff}name = 's'\na.b = 1 # one\nc = { d = [ # of c\n  1,\n] }\na.e = 2\n";
    let mut own = text(seed, "[[known.failures]]", head);
    own += pick(seed, &["", "[x]\ny.z = 1 # last\nv = 1\ny.w = 1\n"]);
    let sources = [(Some("a.toml"), first), (Some("b.toml"), second), (None, own)];
    let sources = sources.map(|(file, mut text)| {
        if draw(seed, 4) == 0 {
            text = text.trim_end().to_owned();
        }
        (file, if draw(seed, 3) == 0 { text.replace('\n', "\r\n") } else { text })
    });
    let sources = sources.map(|(file, text)| KnownSource {
        file: file.map(str::to_owned),
        path: file.unwrap_or("s.toml").to_owned(),
        text,
    });
    let strict = draw(seed, 4) > 0;
    Case { strict, sources: sources.into(), judged: judged(&pairs), pairs }
}

fn cases() -> u32 {
    if env::var("RUNNER_TESTS").is_ok_and(|tests| tests == "full") { 10_000 } else { 100 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn updated_lists_expect_all_results(mut seed in any::<u64>()) {
        let mut case = random_case(&mut seed);
        let old = case.sources.clone();
        let before = case.list();
        let decided = Decisions::new(&before, case.results()).unwrap();
        let update = case.update().unwrap_or_else(|why| panic!("{why}\n{:#?}\n{}\n---\n{}\n---\n{}", case.pairs, old[0].text, old[1].text, old[2].text));
        let sources = || old.iter().zip(&case.sources).map(|(old, new)| format!("{}\n=>\n{}", old.text, new.text)).collect::<Vec<_>>().join("\n---\n");
        // Only tests of expired entries may still fail.
        let expired = before.entries.iter().filter(|entry| entry.until.is_some()).cloned();
        let expired = Known::new(KnownList { strict: true, entries: expired.collect(), ..KnownList::default() }).unwrap();
        for pair in case.unexpected() {
            let (test, provider) = pair.split_once('@').unwrap();
            prop_assert!(!expired.matching(test, provider).is_empty(), "{pair}\n{}", sources());
            prop_assert!(!update.expired.is_empty());
        }
        // A first comment and all of entries that stay survive, and all else.
        for (old, new) in old.iter().zip(&case.sources) {
            prop_assert_eq!(parts_of(old).1, parts_of(new).1, "{}", sources());
            let of_source = before.entries.iter().zip(&decided.changes);
            let of_source = of_source.filter(|(entry, _)| entry.file == old.file);
            let changes: Vec<_> = of_source.map(|(_, change)| change).collect();
            let mut new_lines = new.text.lines();
            for line in kept_lines(old, &changes) {
                prop_assert!(new_lines.any(|new| new == line), "{line}\n{}", sources());
            }
            let is_windows = old.text.contains("\r\n");
            prop_assert!(!is_windows || new.text.matches('\n').count() == new.text.matches("\r\n").count());
            prop_assert!(!old.text.starts_with("# A header.") || new.text.starts_with("# A header."));
            for number in 1..20 {
                let reason = format!("reason = '''reason {number}''' # kept");
                let comment = format!("# Comment {number}.");
                let header = format!(" # header {number}");
                for text in [comment, header] {
                    let is_kept = new.text.contains(&reason);
                    prop_assert!(!is_kept || new.text.contains(&text), "{text}\n{}", sources());
                }
            }
            prop_assert_eq!(new.text.contains("\n\n\n"), old.text.contains("\n\n\n") && new.text.contains("\n\n\n"));
        }
        let texts = sources();
        let again = case.update().unwrap();
        prop_assert!(again.files.is_empty(), "{:#?}\n{texts}", again.files);
    }
}
