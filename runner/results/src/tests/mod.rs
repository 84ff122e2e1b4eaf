//! Tables of random rows have the answers of a plain reading of them, however the rows were read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, Write as _};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use runner_model::row::{Row, close_line};
use runner_model::{
    Budgets, Counts, FailFast, Fingerprint, Grants, Limits, Outcome, SessionSettings, Tail, Time,
    TrialId, digest, provider::PluginKind,
};
use runner_record::{
    ManifestProvider, Metadata, NewRun, NewSession, ResultsRoot, RunDir, Selected,
};
use runner_scenario::Filter;

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

/// A run without rows.
struct Run {
    dir: RunDir,
    _folder: tempfile::TempDir,
}

fn run() -> Run {
    let folder = tempfile::tempdir().unwrap();
    let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
    let provider = |name: &str| ManifestProvider {
        name: name.into(),
        is_grader: false,
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
        },
        providers: vec![provider("p"), provider("q")],
        session: NewSession {
            writer: "exec",
            command: Vec::new(),
            request: None,
            settings,
            suite: None,
            graders: Vec::new(),
            last_seq: 0,
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
    (names, table.rows.clone(), unplanned, table.fold_sums(), table.totals.clone())
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
        whole.settling().for_each(|row| counts.add(row.outcome, row.is_flaky()));
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

#[test]
fn rows_of_another_version_are_refused() {
    let run = run();
    let made = Made {
        trial: TrialId::parse("t@p#1").unwrap(),
        outcome: Outcome::Passed,
        is_final: true,
        flaky: false,
        judged: false,
    };
    run.write(&line(&made, 1));
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
            let trial = TrialId::parse(trial).unwrap();
            let made =
                Made { trial, outcome: *outcome, is_final: true, flaky: false, judged: false };
            run.write(&line(&made, seq));
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
        let trial = TrialId::parse(&format!("t{seq}@p#1")).unwrap();
        let outcome = Outcome::Passed;
        let made = Made { trial, outcome, is_final: true, flaky: false, judged: false };
        let mut line = line(&made, seq);
        line.truncate(line.windows(7).rposition(|part| part == b",\"crc\":").unwrap());
        line.extend(format!(r#","metrics":[{{"name":"m","value":{seq}}}]"#).bytes());
        close_line(&mut line);
        line
    };
    run.write(&[3, 1, 2].map(with_metric).concat());
    let side = Side::new(run.table(), Scope { has_metrics: true, ..Scope::default() }).unwrap();
    let metric = |trial| side.metric(0, &side.table.newest(trial).unwrap());
    assert_eq!([0, 1, 2].map(metric), [Some(1.0), Some(2.0), Some(3.0)]);
}

#[test]
fn snapshots_stay_while_trials_are_added() {
    let run = run();
    let write = |seq: u64| {
        let provider = if seq == 2 { "gone" } else { "p" };
        let trial = TrialId::parse(&format!("t{seq}@{provider}#1")).unwrap();
        let outcome = Outcome::Passed;
        run.write(&line(
            &Made { trial, outcome, is_final: true, flaky: false, judged: false },
            seq,
        ));
    };
    (1..=3).for_each(write);
    let mut planned = PlannedTable::read(&run.dir).unwrap();
    for (seq, order) in [(4, TrialOrder::Plan), (5, TrialOrder::Worst)] {
        let (filter, text) = (None, String::new());
        let query = TrialQuery { filter, text, order, until: Instant::now() };
        let page = planned.page(&query, 2, |_| 0, 10).unwrap();
        let rows = page.trials.into_iter().filter_map(|(_, row)| Some(row?.number));
        assert_eq!(rows.collect::<Vec<_>>(), [0]);
        write(seq);
        planned.follow(&run.dir).unwrap();
    }
}

#[test]
fn changed_rows_of_an_ended_run_are_read_again() {
    let run = run();
    let row = |outcome| {
        let trial = TrialId::parse("t@p#1").unwrap();
        line(&Made { trial, outcome, is_final: true, flaky: false, judged: false }, 1)
    };
    run.write(&row(Outcome::Failed));
    let mut table = run.table();
    let manifest = run.dir.path().join("benchmark.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(manifest, text.replacen("\"running\"", "\"completed\"", 1)).unwrap();
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
fn unknown_providers_are_bounded() {
    let run = run();
    let row = |seq: u64| {
        let provider = if seq == 1 { "p".to_owned() } else { format!("unknown-{seq}") };
        let trial = TrialId::parse(&format!("t@{provider}#1")).unwrap();
        let outcome = Outcome::Passed;
        line(&Made { trial, outcome, is_final: true, flaky: false, judged: false }, seq)
    };
    run.write(&(1..1000).flat_map(row).collect::<Vec<_>>());
    let table = run.table();
    assert!(table.providers().len() < 500, "{}", table.providers().len());
    assert_eq!(table.counting().map(|row| row.number).collect::<Vec<_>>(), [0]);
}
