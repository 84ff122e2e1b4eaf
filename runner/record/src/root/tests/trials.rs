//! The table of results gives the same results as the rows, in any state of the database.

use std::{fs, path::Path, thread};

use runner_model::row::RowHead;
use runner_model::{Outcome, Tail, TrialId};
use rusqlite::Connection;

use super::{RowRest, RunResults, TrialResult};
use crate::{
    End, Owned, PrunePolicy, ReadLine, ResultsRoot, RunDir,
    disk::fault::now,
    tests::{begin, folder, row, session, tail, writer},
};

const TRIALS: u64 = 40;

/// Writes a final row of this outcome for each repeat.
fn write(owned: &Owned, session: u32, outcomes: impl IntoIterator<Item = (u32, Outcome)>) {
    let (mut writer, _acks) = writer(owned);
    for (repeat, outcome) in outcomes {
        let tail = Tail { session, ..tail(true) };
        writer.row(row(repeat, 1, outcome), tail, None, Vec::new());
    }
    writer.close().unwrap();
}

fn finish(owned: Owned) -> RunDir {
    let run = owned.dir().clone();
    let fold = crate::tests::fold(&owned, TRIALS);
    let end = End { reason: None, signal: None, message: None, at: now() };
    owned.finish(end, &fold).unwrap();
    run
}

/// Creates a run that has ended, whose first trial failed.
fn ended(path: &Path) -> (ResultsRoot, RunDir) {
    let (root, owned) = begin(path, TRIALS);
    let outcome = |repeat| if repeat == 1 { Outcome::Failed } else { Outcome::Passed };
    write(&owned, 1, (1..=TRIALS as u32).map(|repeat| (repeat, outcome(repeat))));
    (root, finish(owned))
}

fn find(path: &Path, run: &RunDir) -> RunResults<Vec<TrialResult>> {
    let mut trials = ResultsRoot::existing(path).unwrap().trials().unwrap();
    let mut found = trials.of_run(run, &Vec::new, &mut Vec::push).unwrap();
    for result in &found.results {
        assert_eq!(trials.of_trial(run, &result.trial).unwrap().results.as_ref(), Some(result));
    }
    let other = TrialId::parse("t@other#1").unwrap();
    assert_eq!(trials.of_trial(run, &other).unwrap().results, None);
    found.results.sort_by_key(|result| result.trial.repeat);
    found
}

/// Returns the results by a search through the rows.
fn expected(run: &RunDir) -> Vec<TrialResult> {
    let mut newest: Vec<Option<(RowHead, RowRest)>> = vec![None; TRIALS as usize];
    run.rows(&mut |_, line| {
        let ReadLine::Row(head, bytes) = line else { return };
        let place = &mut newest[head.trial.repeat as usize - 1];
        let is_newer = place.as_ref().is_none_or(|(old, _)| old.seq < head.seq);
        if head.r#final && head.outcome.can_be_final() && is_newer {
            *place = Some((head, RowRest::read(bytes)));
        }
    })
    .unwrap();
    newest.into_iter().flatten().map(|(head, rest)| TrialResult::new(&head, rest)).collect()
}

/// Returns a number of the table.
fn number(path: &Path, query: &str) -> i64 {
    let database = Connection::open(path.join("runner.db")).unwrap();
    database.query_one(query, [], |row| row.get(0)).unwrap()
}

const COUNT: &str = "SELECT count(*) FROM trials";

#[test]
fn results_are_the_newest_final_rows() {
    let folder = folder();
    let (_, owned) = begin(folder.path(), TRIALS);
    let (mut writer, _acks) = writer(&owned);
    let mut add = |repeat, attempt, outcome, tail| {
        writer.row(row(repeat, attempt, outcome), tail, None, Vec::new());
    };
    add(1, 1, Outcome::Failed, tail(false));
    add(1, 2, Outcome::Passed, Tail { flaky: true, ..tail(true) });
    add(2, 1, Outcome::Failed, tail(true));
    add(2, 1, Outcome::Passed, Tail { judged: Some(3), ..tail(true) });
    add(3, 1, Outcome::Stopped, tail(false));
    add(4, 1, Outcome::Ungraded, tail(true));
    writer.close().unwrap();
    let run = owned.dir().clone();
    for _ in 0..2 {
        let found = find(folder.path(), &run);
        assert!(!found.is_damaged);
        assert_eq!(found.results, expected(&run));
        let outcomes: Vec<_> = found.results.iter().map(|one| (one.flaky, one.outcome)).collect();
        assert_eq!(outcomes, [(true, Outcome::Passed), (false, Outcome::Passed)]);
    }
    // A run is not filled in while a process may write into it.
    assert_eq!(number(folder.path(), COUNT), 0);
    drop(owned);
    assert_eq!(find(folder.path(), &run).results.len(), 2);
    assert_eq!(number(folder.path(), COUNT), 0);
}

#[test]
fn unchanged_rows_are_read_once() {
    let folder = folder();
    let (_, run) = ended(folder.path());
    let expected = expected(&run);
    assert_eq!(find(folder.path(), &run).results, expected);
    // Rows of other bytes with the same stamp.
    let file = fs::File::options().write(true).open(run.dir.path().join("index.jsonl")).unwrap();
    let about = file.metadata().unwrap();
    file.set_len(0).unwrap();
    file.set_len(about.len()).unwrap();
    file.set_modified(about.modified().unwrap()).unwrap();
    assert_eq!(find(folder.path(), &run).results, expected);
    let view = "SELECT count(*) FROM results WHERE scenario = 'basic' AND path = '/scenarios/basic.toml' AND test = 't'
        AND provider = 'p' AND duration_ms = 0.5 AND started_at = '2026-11-20T09:18:04Z'";
    assert_eq!(number(folder.path(), view), TRIALS.cast_signed());
}

#[test]
fn changed_runs_are_filled_in_again() {
    let folder = folder();
    let (root, run) = ended(folder.path());
    assert_eq!(find(folder.path(), &run).results, expected(&run));
    let mut owned = root.claim(&run).unwrap();
    owned.open_session(session("resume"), None).unwrap();
    assert_eq!(find(folder.path(), &run).results, expected(&run));
    write(&owned, 2, [(1, Outcome::Passed), (9, Outcome::Timeout)]);
    let changed = expected(&run);
    assert_eq!(find(folder.path(), &run).results, changed);
    let run = finish(owned);
    assert_eq!(find(folder.path(), &run).results, changed);
    let timeouts = "SELECT count(*) FROM trials WHERE outcome = 'timeout'";
    assert_eq!(number(folder.path(), timeouts), 1);
    assert_eq!(number(folder.path(), COUNT), TRIALS.cast_signed());
}

#[test]
fn sorted_rows_have_the_same_results() {
    let folder = folder();
    let (root, run) = ended(folder.path());
    let mut owned = root.claim(&run).unwrap();
    owned.open_session(session("resume"), None).unwrap();
    write(&owned, 2, [(1, Outcome::Passed), (9, Outcome::Timeout)]);
    let run = finish(owned);
    let expected = expected(&run);
    let path = run.dir.path().join("index.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.reverse();
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    let found = find(folder.path(), &run);
    assert_eq!((found.is_damaged, found.results), (false, expected));
}

#[test]
fn lost_and_foreign_rows_are_damage() {
    let folder = folder();
    let (_, run) = ended(folder.path());
    let path = run.dir.path().join("index.jsonl");
    let rows = fs::read_to_string(&path).unwrap();
    let lines: Vec<_> = rows.lines().collect();
    fs::write(&path, lines[1..].join("\n") + "\n").unwrap();
    let found = find(folder.path(), &run);
    assert_eq!((found.is_damaged, found.results.len() as u64), (true, TRIALS - 1));
    let mut foreign = row(1, 2, Outcome::Passed);
    Tail { session: 7, seq: 99, ..tail(false) }.finish(&mut foreign);
    fs::write(&path, [rows.as_bytes(), &foreign].concat()).unwrap();
    assert!(find(folder.path(), &run).is_damaged);
    fs::write(&path, rows).unwrap();
    assert!(!find(folder.path(), &run).is_damaged);
}

#[test]
fn bytes_of_the_database_change_no_result() {
    let folder = folder();
    let (_, run) = ended(folder.path());
    let expected = expected(&run);
    assert_eq!(find(folder.path(), &run).results, expected);
    let database = folder.path().join("runner.db");
    let bytes = fs::read(&database).unwrap();
    let is_full = std::env::var("RUNNER_TESTS").is_ok_and(|length| length == "full");
    for place in (0..bytes.len()).step_by(if is_full { 1 } else { 97 }) {
        let mut changed = bytes.clone();
        changed[place] ^= 0x41;
        for log in ["runner.db-wal", "runner.db-shm"] {
            let _ = fs::remove_file(folder.path().join(log));
        }
        fs::write(&database, changed).unwrap();
        assert_eq!(find(folder.path(), &run).results, expected, "byte {place}");
    }
    for other in ["", "this is no database"] {
        fs::write(&database, other).unwrap();
        assert_eq!(find(folder.path(), &run).results, expected);
    }
    fs::remove_file(&database).unwrap();
    fs::create_dir(&database).unwrap();
    assert_eq!(find(folder.path(), &run).results, expected);
}

#[test]
fn processes_fill_in_runs_at_once() {
    let folder = folder();
    let runs: Vec<_> = (0..3).map(|_| ended(folder.path()).1).collect();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for run in &runs {
                    assert_eq!(find(folder.path(), run).results, expected(run));
                }
            });
        }
    });
    for run in &runs {
        assert_eq!(find(folder.path(), run).results, expected(run));
    }
    assert_eq!(number(folder.path(), COUNT), 3 * TRIALS.cast_signed());
}

#[test]
fn log_is_written_once_for_many_runs() {
    let folder = folder();
    let runs: Vec<_> = (0..3).map(|_| ended(folder.path()).1).collect();
    let log = || fs::metadata(folder.path().join("runner.db-wal")).map_or(0, |log| log.len());
    let mut trials = ResultsRoot::existing(folder.path()).unwrap().trials().unwrap();
    let mut lengths = vec![log()];
    for run in &runs {
        trials.of_run(run, &Vec::new, &mut Vec::push).unwrap();
        lengths.push(log());
    }
    assert!(lengths.is_sorted_by(|before, after| before < after), "{lengths:?}");
    drop(trials);
    assert_eq!(log(), 0);
}

#[test]
fn locked_database_changes_no_result() {
    let folder = folder();
    let (_, run) = ended(folder.path());
    let database = Connection::open(folder.path().join("runner.db")).unwrap();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(find(folder.path(), &run).results, expected(&run));
    database.execute_batch("COMMIT").unwrap();
    assert_eq!(number(folder.path(), COUNT), 0);
}

#[test]
fn deleted_runs_leave_the_table() {
    let folder = folder();
    let (root, run) = ended(folder.path());
    let (_, other) = ended(folder.path());
    find(folder.path(), &run);
    find(folder.path(), &other);
    let policy = PrunePolicy { runs: vec![run.id], ..PrunePolicy::default() };
    assert_eq!(root.prune(&policy, false, now()).unwrap().runs.len(), 1);
    assert_eq!(number(folder.path(), COUNT), TRIALS.cast_signed());
    assert_eq!(find(folder.path(), &other).results, expected(&other));
}
