//! Tables of random rows have the answers of a plain reading of them, however the rows were read.

mod exact;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use runner_model::known::KnownState;
use runner_model::row::{Row, close_line};
use runner_model::{
    Budgets, Counts, FailFast, Fingerprint, Grants, Limits, Outcome, SessionSettings, Tail, Time,
    TrialId, digest, provider::PluginKind,
};
use runner_record::{
    ManifestProvider, Metadata, NewRun, NewSession, ResultsRoot, RunDir, Selected,
};
use runner_scenario::Filter;

use crate::cache::VERSION;
use crate::table::{Basis, RunTable};
use crate::{
    PlannedTable, RowSelection, Scope, Side, TableRow, TrialOrder, TrialQuery, keep_selected, pairs,
};

/// A row of a random file.
#[derive(Clone, Debug)]
struct Made {
    trial: TrialId,
    outcome: Outcome,
    is_final: bool,
    flaky: bool,
    judged: bool,
}

fn made() -> impl Strategy<Value = Made> {
    let outcome = proptest::sample::select(Outcome::ALL);
    let trial = (0..4_u32, proptest::sample::select(vec!["p", "q", "gone"]), 1..3_u32);
    (trial, outcome, any::<[bool; 3]>()).prop_map(|((test, provider, repeat), outcome, flags)| {
        Made {
            trial: TrialId::parse(&format!("tést {test}@{provider}#{repeat}")).unwrap(),
            outcome,
            is_final: flags[0] && outcome.can_be_final(),
            flaky: flags[1] && outcome == Outcome::Passed,
            judged: flags[2],
        }
    })
}

/// Returns the line of a row. The number is also the duration, in milliseconds.
fn line(made: &Made, seq: u64) -> Vec<u8> {
    let started_at = Time::parse("2026-11-20T09:18:04.015Z").unwrap();
    let duration = Duration::from_millis(seq);
    let row = Row::new(&made.trial, 1, started_at, duration, Duration::ZERO);
    let mut line = serde_json::to_vec(&Row { outcome: made.outcome, ..row }).unwrap();
    let tail = Tail {
        fingerprint: Fingerprint([seq as u8; 16]),
        judgement_fingerprint: Fingerprint([2; 16]),
        judged: made.judged.then_some(1),
        worker: (made.outcome == Outcome::Error).then(|| "gpu/1".to_owned()),
        stopped_by: None,
        logs: None,
        flaky: made.flaky,
        r#final: made.is_final,
        session: 1,
        seq,
    };
    tail.finish(&mut line);
    line
}

/// Returns a final row.
fn result(trial: &str, outcome: Outcome) -> Made {
    let trial = TrialId::parse(trial).unwrap();
    Made { trial, outcome, is_final: true, flaky: false, judged: false }
}

/// Returns the line of a row that has further keys.
fn line_with(made: &Made, seq: u64, keys: &str) -> Vec<u8> {
    let mut line = line(made, seq);
    line.truncate(line.windows(7).rposition(|part| part == b",\"crc\":").unwrap());
    line.extend(keys.bytes());
    close_line(&mut line);
    line
}

/// A run without rows.
struct Run {
    dir: RunDir,
    _folder: tempfile::TempDir,
}

/// The known failures of each run.
const KNOWN: &str = r#"{"strict":true,"entries":[
    {"tests":["tést 1"],"reason":"r","outcomes":["failed"],"line":1},
    {"tests":["kinds"],"reason":"r","outcomes":["failed","error"],"kinds":["equals","http-503"],"line":2}
]}"#;

fn run() -> Run {
    let folder = tempfile::tempdir().unwrap();
    let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
    let known = Some(root.keep_bytes(KNOWN.as_bytes()).unwrap());
    let provider = |name: &str| ManifestProvider {
        name: name.into(),
        is_grader: false,
        is_tool: false,
        is_development: false,
        plugin: "plugin.wasm".into(),
        digest: digest(b"plugin"),
        kind: PluginKind::Component,
        limits: Limits::default(),
        grants: Grants::default(),
        mounts: Vec::new(),
        description: None,
    };
    let settings = SessionSettings {
        jobs: 1,
        timeout: Duration::from_secs(1),
        grace: Duration::ZERO,
        fail_fast: FailFast::default(),
        budgets: Budgets::default(),
    };
    let owned = root.create(NewRun {
        id: "basic-1".into(),
        scenario: "basic".into(),
        scenario_path: "/basic.toml".into(),
        labels: BTreeMap::new(),
        group: None,
        metadata: Metadata {
            planned_test_count: 4,
            planned_trial_count: 16,
            suite: digest(b"suite"),
            blobs: None,
            scenario_sha256: digest(b"name = \"basic\"\n"),
            runner_version: "0.1.0".into(),
            selection: Selected::default(),
            vars: BTreeMap::new(),
            has_gate: false,
            has_adaptive_repeats: false,
            random_recipe: 2,
        },
        providers: vec![provider("p"), provider("q"), provider("r")],
        session: NewSession {
            writer: "exec",
            command: Vec::new(),
            request: None,
            settings,
            suite: None,
            known,
            graders: Vec::new(),
            last_seq: 0,
            replays: None,
            rerun: None,
            pending: None,
            removed: Counts::default(),
            waits: false,
        },
        text: "name = \"basic\"\n".into(),
    });
    Run { dir: owned.unwrap().dir().clone(), _folder: folder }
}

impl Run {
    fn write(&self, rows: &[u8]) {
        let mut file = fs::OpenOptions::new();
        let mut file =
            file.create(true).append(true).open(self.dir.path().join("index.jsonl")).unwrap();
        file.write_all(rows).unwrap();
    }

    /// Replaces a text of the manifest.
    fn set(&self, key: &str, value: &str) {
        let path = self.dir.path().join("benchmark.json");
        let text = fs::read_to_string(&path).unwrap();
        let key = format!("\"{key}\": \"");
        let (before, after) = text.split_once(&key).unwrap();
        let (_, after) = after.split_once('"').unwrap();
        fs::write(path, format!("{before}{key}{value}\"{after}")).unwrap();
    }

    fn table(&self) -> RunTable {
        RunTable::open(&self.dir).unwrap()
    }
}

/// The newest row of each planned trial: whether it settles the trial, its outcome, its flag and its number.
type Newest = BTreeMap<String, (bool, Outcome, bool, u64)>;

/// Returns the newest rows by the words of the rule: the last row that gives a result, or else the last one.
fn expected(rows: &[Made]) -> Newest {
    let mut newest = Newest::new();
    for (seq, made) in (1..).zip(rows).filter(|(_, made)| &*made.trial.provider != "gone") {
        let known = newest.get(&made.trial.to_string()).copied();
        if made.is_final || known.is_none_or(|(settles, ..)| !settles) {
            let row = (made.is_final, made.outcome, made.flaky, seq);
            newest.insert(made.trial.to_string(), row);
        }
    }
    newest
}

fn newest(table: &RunTable) -> Newest {
    let rows = (0..table.trials()).filter_map(|trial| {
        let row = table.newest(trial)?;
        let id = table.trial_id(trial).unwrap().to_string();
        assert_eq!(table.find(&table.trial_id(trial).unwrap()), Some(trial));
        Some((id, (row.settles(), row.outcome, row.is_flaky(), row.ms() as u64)))
    });
    rows.collect()
}

/// Returns all that a table has.
fn content(table: &RunTable) -> impl PartialEq + std::fmt::Debug {
    let unplanned = table.unplanned.iter().copied().collect::<std::collections::BTreeSet<_>>();
    let names = (table.tests.clone(), table.providers.clone(), table.trials.clone());
    let rows = (table.rows.clone(), table.scores.clone(), table.states.clone());
    let sums = (table.tokens.clone(), table.costs.clone());
    (names, rows, sums, unplanned, table.fold_sums(), table.totals.clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn tables_have_the_newest_results(
        rows in proptest::collection::vec(made(), 0..40), cuts in any::<[prop::sample::Index; 3]>(), seed in any::<u64>(),
    ) {
        let run = run();
        let mut lines: Vec<_> = (1..).zip(&rows).map(|(seq, made)| line(made, seq)).collect();
        let damaged = b"{\"v\":4,\"trial\":\n".to_vec();
        lines.insert(cuts[2].index(lines.len() + 1), damaged);
        let bytes = lines.concat();
        // The file grows while a table follows it, also within a line.
        let mut cuts = [cuts[0].index(bytes.len()), cuts[1].index(bytes.len()), bytes.len()];
        cuts.sort_unstable();
        let (mut table, mut start) = (run.table(), 0);
        for end in cuts {
            run.write(&bytes[start..end]);
            start = end;
            table.follow(&run.dir).unwrap();
        }
        prop_assert_eq!(newest(&table), expected(&rows));
        prop_assert_eq!(table.totals().damaged_lines, 1);
        let whole = run.table();
        prop_assert!(content(&table) == content(&whole), "{:?}\n{:?}", content(&table), content(&whole));
        let mut counts = Counts::default();
        whole.settling().for_each(|row| row.count(&mut counts));
        let ungraded = whole.counting().filter(|row| !row.settles()).count() as u64;
        let planned = Counts { ungraded, ..counts };
        let mut manifest = run.dir.manifest().unwrap();
        whole.judge(&mut manifest, true);
        prop_assert_eq!(manifest.counts, planned);
        // Rows are read back by their numbers.
        let mut read = Vec::new();
        whole.each_row(0..whole.rows(), |indexed, row, _| read.push((indexed.ms(), row.duration_ms))).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        prop_assert!(read.iter().all(|(indexed, row)| indexed == row));
        // As another program may sort the file.
        let mut sorted: Vec<_> = lines.iter().map(|line| (crc32fast::hash(&[line, seed.to_le_bytes().as_slice()].concat()), line)).collect();
        sorted.sort();
        let path = run.dir.path().join("index.jsonl");
        fs::write(path, sorted.into_iter().flat_map(|(_, line)| line.clone()).collect::<Vec<_>>()).unwrap();
        prop_assert_eq!(newest(&run.table()), expected(&rows));
        table.follow(&run.dir).unwrap();
        prop_assert_eq!(newest(&table), expected(&rows));
    }

    #[test]
    fn kept_tables_are_equal_or_refused(
        rows in proptest::collection::vec(made(), 1..40), place in any::<prop::sample::Index>(), bit in 0..8_u8,
    ) {
        let run = run();
        run.write(&(1..).zip(&rows).flat_map(|(seq, made)| line(made, seq)).collect::<Vec<_>>());
        let mut table = run.table();
        let mut kept = tempfile::tempfile().unwrap();
        table.encode(&kept).unwrap();
        let mut bytes = Vec::new();
        kept.rewind().unwrap();
        kept.read_to_end(&mut bytes).unwrap();
        let (basis, file) = (Basis::of(&run.dir.manifest().unwrap()), table.file.unwrap());
        let decode = |bytes: &[u8]| {
            let mut kept = tempfile::tempfile().unwrap();
            kept.write_all(bytes).unwrap();
            kept.rewind().unwrap();
            RunTable::decode(&run.dir, &basis, file, kept)
        };
        let decoded = decode(&bytes).unwrap();
        prop_assert!(content(&decoded) == content(&table), "{:?}", content(&decoded));
        let place = place.index(bytes.len());
        prop_assert!(decode(&bytes[..place]).is_err());
        bytes[place] ^= 1 << bit;
        prop_assert!(decode(&bytes).is_err(), "byte {}", place);
    }
}

/// The entry of a table whose rows have each kind of value. It differs from the one of [`VERSION`] if its layout has changed, or a
/// value is computed in another way: then `VERSION` rises, and this is the new digest.
const ENTRY: (u32, &str) = (8, "f70d9711f78d01b87d98ab0252daf8618400800b7221223b21446108761c4093");

#[test]
fn entries_change_with_the_version() {
    let run = run();
    run.set("started_at", "2026-11-20T09:18:00.000Z");
    let ungraded = result("ungraded@q#2", Outcome::Ungraded);
    run.write(&line(&Made { is_final: false, ..ungraded }, 1));
    let retried = Made { is_final: false, ..result("flaky@p#1", Outcome::Error) };
    run.write(&line(&retried, 2));
    run.write(&line(&Made { flaky: true, ..result("flaky@p#1", Outcome::Passed) }, 3));
    let keys = r#","score":0.5,"metrics":[{"name":"tokens_in","value":7},{"name":"cost_usd","value":0.25}],"denied":[{"kind":"net","target":"x"}]"#;
    run.write(&line_with(&result("rich@p#1", Outcome::Failed), 4, keys));
    let keys = r#","grades":[{"grader":"g","attempt":1,"verdict":"pass","score":1,"weight":2,"duration_ms":1}]"#;
    run.write(&line_with(&result("graded@p#1", Outcome::Passed), 5, keys));
    run.write(&line(&result("late@gone#1", Outcome::Timeout), 6));
    run.write(b"damaged\n");
    let equals = r#"{"kind":"equals","verdict":"fail"}"#;
    let passes = r#"{"kind":"contains","verdict":"pass"},"#.repeat(39);
    let error = r#"{"class":"unavailable","code":"http-503","message":"m"}"#;
    let failures = [
        (Outcome::Failed, format!(r#","checks":[{equals}]"#), KnownState::Known),
        (
            Outcome::Failed,
            format!(r#","checks":[{equals}],"verdict":"fail""#),
            KnownState::Unlisted,
        ),
        (
            Outcome::Failed,
            format!(r#","checks":[{passes}{equals}],"truncated":true"#),
            KnownState::Unlisted,
        ),
        (Outcome::Error, format!(r#","error":{error}"#), KnownState::Known),
        (Outcome::Passed, String::new(), KnownState::UnexpectedPass),
    ];
    for (seq, (outcome, keys, _)) in (7..).zip(&failures) {
        run.write(&line_with(&result(&format!("kinds@p#{seq}"), *outcome), seq, keys));
    }
    let mut table = run.table();
    assert_eq!(table.states[6..], failures.map(|(.., state)| state as u8));
    let mut kept = tempfile::tempfile().unwrap();
    table.encode(&kept).unwrap();
    let mut bytes = Vec::new();
    kept.rewind().unwrap();
    kept.read_to_end(&mut bytes).unwrap();
    let columns = bytes.split_off(8 + usize::from(bytes[0]) + usize::from(bytes[1]) * 256);
    let mut head: serde_json::Value = serde_json::from_slice(&bytes[8..]).unwrap();
    // These depend on the machine.
    (head["file"], head["changed"]) = Default::default();
    let entry = format!("{head} {:?}", &columns[..columns.len() - 4]);
    let advice = "raise VERSION in cache.rs, and set ENTRY";
    assert_eq!((VERSION, &*digest(entry.as_bytes()).to_string()), ENTRY, "{advice}");
}

#[test]
fn rows_of_another_version_are_refused() {
    let run = run();
    run.write(&line(&result("t@p#1", Outcome::Passed), 1));
    assert!(run.table().check_version().is_ok());
    let mut other = br#"{"v":3,"trial":"t@p#1""#.to_vec();
    close_line(&mut other);
    run.write(&other);
    let problem = run.table().check_version().unwrap_err().to_string();
    assert!(problem.contains("line 2: a row of version 3"), "{problem}");
}

#[test]
fn joined_tables_have_each_test_once() {
    let side = |outcomes: &[(&str, Outcome)]| {
        let run = run();
        for (seq, (trial, outcome)) in (1..).zip(outcomes) {
            run.write(&line(&result(trial, *outcome), seq));
        }
        (Side::new(run.table(), Scope::default()).unwrap(), run)
    };
    use Outcome::{Error, Failed, Passed};
    let (mut base, _base) = side(&[("a@p#1", Passed), ("b@p#2", Failed), ("b@p#1", Error)]);
    let (mut new, _new) = side(&[("c@q#1", Passed), ("b@p#1", Passed), ("a@p#1", Failed)]);
    let names = |side: &Side, rows: &[TableRow]| {
        let of_row = |row: &TableRow| side.table.trial_id(row.trial).unwrap().to_string();
        rows.iter().map(of_row).collect::<Vec<_>>().join(" ")
    };
    let mut joined: Vec<_> =
        pairs(&base, &new).map(|[left, right]| (names(&base, left), names(&new, right))).collect();
    joined.sort();
    let joined: Vec<_> = joined.iter().map(|(left, right)| (&**left, &**right)).collect();
    assert_eq!(joined, [("", "c@q#1"), ("a@p#1", "a@p#1"), ("b@p#1 b@p#2", "b@p#1")]);
    keep_selected([&mut base, &mut new]);
    assert_eq!(pairs(&base, &new).count(), 0, "no filter has matched");
}

#[test]
fn metrics_do_not_depend_on_the_order_of_lines() {
    let run = run();
    let with_metric = |seq| {
        let metrics = format!(r#","metrics":[{{"name":"m","value":{seq}}}]"#);
        line_with(&result(&format!("t{seq}@p#1"), Outcome::Passed), seq, &metrics)
    };
    run.write(&[3, 1, 2].map(with_metric).concat());
    let side = Side::new(run.table(), Scope { has_metrics: true, ..Scope::default() }).unwrap();
    let metric = |trial| side.metric(0, &side.table.newest(trial).unwrap());
    assert_eq!([0, 1, 2].map(metric), [Some(1.0), Some(2.0), Some(3.0)]);
}

#[test]
fn metrics_take_memory_by_trials_and_not_by_rows() {
    let run = run();
    let retried = Made { is_final: false, ..result("t@p#1", Outcome::Error) };
    run.write(&(1..100).flat_map(|seq| line(&retried, seq)).collect::<Vec<_>>());
    let metrics = r#","metrics":[{"name":"m","value":1}]"#;
    run.write(&line_with(&result("t@p#1", Outcome::Passed), 100, metrics));
    let side = Side::new(run.table(), Scope { has_metrics: true, ..Scope::default() }).unwrap();
    assert_eq!(side.values(), [1]);
}

#[test]
fn filter_of_a_comparison_ignores_other_providers() {
    let run = run();
    use Outcome::{Failed, Passed};
    let rows = [("a@p#1", Passed), ("a@q#1", Failed), ("b@p#1", Passed), ("b@r#1", Failed)];
    for (seq, (trial, outcome)) in (1..).zip(rows) {
        run.write(&line(&result(trial, outcome), seq));
    }
    let filter = Filter::parse("outcome(failed)").unwrap();
    let side = |provider| {
        let scope = Scope { provider: Some(provider), filter: Some(&filter), has_metrics: false };
        Side::new(run.table(), scope).unwrap()
    };
    let (mut base, mut new) = (side("p"), side("q"));
    keep_selected([&mut base, &mut new]);
    let tests = pairs(&base, &new).map(|[left, _]| base.table.names(left[0].trial).0.to_owned());
    assert_eq!(tests.collect::<Vec<_>>(), ["a"]);
}

#[test]
fn row_that_only_its_head_fits_is_refused() {
    let run = run();
    run.write(&line_with(&result("t@p#1", Outcome::Failed), 1, r#","unknown":true"#));
    let table = run.table();
    assert_eq!(table.settling().count(), 1);
    let problem = table.each_row(0..1, |_, _, _| panic!()).unwrap_err().to_string();
    assert!(problem.contains("a line of `t@p`") && problem.contains("`unknown`"), "{problem}");
}

/// Returns a search for a text that has a minute.
fn query(text: &str) -> TrialQuery {
    let until = Instant::now() + Duration::from_mins(1);
    let order = TrialOrder::parse("plan").unwrap();
    TrialQuery { filter: None, text: text.to_owned(), rows: None, order, until }
}

#[test]
fn text_of_any_length_is_searched() {
    let run = run();
    run.write(&line(&result("t@p#1", Outcome::Passed), 1));
    let mut planned = PlannedTable::read(&run.dir).unwrap();
    let mut total = |text: &str| planned.page(&query(text), 1, |_| 0, 10).unwrap().total;
    assert_eq!([total("T@"), total(&"x".repeat(100 << 10))], [1, 0]);
}

#[test]
fn search_that_ended_early_is_kept_for_a_while() {
    let run = run();
    run.write(&line(&result("t@p#1", Outcome::Passed), 1));
    let mut planned = PlannedTable::read(&run.dir).unwrap();
    let now = Instant::now();
    let mut found = |until| {
        let page = planned.page(&TrialQuery { until, ..query("t") }, 1, |_| 0, 10).unwrap();
        (page.is_cut, page.total)
    };
    assert_eq!(found(now), (true, 0));
    assert_eq!(found(now + Duration::from_secs(50)), (true, 0), "the list of another page");
    assert_eq!(found(now + Duration::from_secs(70)), (false, 1));
}

#[test]
fn snapshots_stay_while_trials_are_added() {
    let run = run();
    let write = |seq: u64| {
        let provider = if seq == 2 { "gone" } else { "p" };
        run.write(&line(&result(&format!("t{seq}@{provider}#1"), Outcome::Passed), seq));
    };
    (1..=3).for_each(write);
    let mut planned = PlannedTable::read(&run.dir).unwrap();
    for (seq, order) in [(4, "plan"), (5, "worst")] {
        let order = TrialOrder::parse(order).unwrap();
        let page = planned.page(&TrialQuery { order, ..query("") }, 2, |_| 0, 10).unwrap();
        let rows = page.trials.into_iter().filter_map(|(_, row)| Some(row?.number));
        assert_eq!(rows.collect::<Vec<_>>(), [0]);
        write(seq);
        planned.follow(&run.dir).unwrap();
    }
}

#[test]
fn changed_rows_of_an_ended_run_are_read_again() {
    let run = run();
    let row = |outcome| line(&result("t@p#1", outcome), 1);
    run.write(&row(Outcome::Failed));
    let mut table = run.table();
    run.set("status", "completed");
    assert!(!table.follow(&run.dir).unwrap());
    fs::write(run.dir.path().join("index.jsonl"), row(Outcome::Skipped)).unwrap();
    assert!(table.follow(&run.dir).unwrap());
    assert_eq!(table.newest(0).unwrap().outcome, Outcome::Skipped);
}

#[test]
fn run_without_rows_has_no_match() {
    let (run, filter) = (run(), Filter::parse("slower(1s)").unwrap());
    let rows = run.table().select(&RowSelection::Matching(filter)).unwrap();
    assert_eq!(rows, Vec::<u32>::new());
}

#[test]
fn slower_trials_do_not_depend_on_texts() {
    let run = run();
    // 1.001 s and 20,000.001 s. A column of the table cannot hold the second one.
    for seq in [1001, 20_000_001] {
        run.write(&line(&result(&format!("t{seq}@p#1"), Outcome::Passed), seq));
    }
    let slower = |filter: &str| {
        let filter = Filter::parse(filter).unwrap();
        run.table().select(&RowSelection::Matching(filter)).unwrap()
    };
    for (filter, rows) in
        [("slower(1s)", vec![0, 1]), ("slower(1001ms)", vec![1]), ("slower(20000s)", vec![])]
    {
        assert_eq!(slower(filter), rows, "{filter}");
        assert_eq!(slower(&format!("{filter} & !output(x)")), rows, "{filter} of rows on disk");
    }
}

#[test]
fn unknown_providers_are_bounded() {
    let run = run();
    let row = |seq: u64| {
        let provider = if seq == 1 { "p".to_owned() } else { format!("unknown-{seq}") };
        line(&result(&format!("t@{provider}#1"), Outcome::Passed), seq)
    };
    run.write(&(1..1000).flat_map(row).collect::<Vec<_>>());
    let table = run.table();
    assert!(table.providers().len() < 500, "{}", table.providers().len());
    assert_eq!(table.counting().map(|row| row.number).collect::<Vec<_>>(), [0]);
}
