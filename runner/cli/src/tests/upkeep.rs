//! Snapshots of the answers of `cleanup`, `prune` and `verify`.

use insta::assert_snapshot;
use runner_model::{Reason, RunStatus, Time, status::RunState};
use runner_record::{DiskFault, Pruned, Pruning, Verified};

use super::{DeadRun, VerifyDocument, dead_table, fault_lines, pruned_table, totals};
use crate::text::{style::plain, tests::at_widths};

const ID: &str = "20261120T091804.015Z-6ba42b73";
const HOUR: i64 = 3_600_000;

fn time(hours: i64) -> Time {
    Time::from_millis(1_795_000_000_000 + hours * HOUR)
}

#[test]
fn dead_runs_have_their_new_status() {
    let runs = [DeadRun {
        run: ID.to_owned(),
        scenario: "checkout".to_owned(),
        started_at: time(0),
        done: 150,
        planned: 400,
        providers: vec!["model-small".to_owned(), "model-large".to_owned()],
        status: RunStatus::Incomplete,
        reason: Some(Reason::Crashed),
    }];
    assert_snapshot!(at_widths(|screen| dead_table(&runs, time(30), screen)), @r"
    == 60
    run       started   progress  becomes
    6ba42b73  30 h ago   150/400  incomplete (crashed)
    == 80
    run       started   progress  providers                 becomes
    6ba42b73  30 h ago   150/400  model-small, model-large  incomplete (crashed)
    == 200
    run       scenario  started   progress  providers                 becomes
    6ba42b73  checkout  30 h ago   150/400  model-small, model-large  incomplete (crashed)
    ");
    assert_snapshot!(plain(&dead_table(&runs, time(30), None)), @r"
    run                            scenario  started (UTC)        progress  providers                 becomes
    20261120T091804.015Z-6ba42b73  checkout  2026-11-18 11:06:40   150/400  model-small, model-large  incomplete (crashed)
    ");
}

#[test]
fn prunes_end_with_totals() {
    let pruned = |status, state, bytes: u64| Pruned {
        run: ID.to_owned(),
        scenario: "checkout".to_owned(),
        status,
        state,
        started_at: time(0),
        bytes,
    };
    let pruning = Pruning {
        runs: vec![
            pruned(RunStatus::Completed, RunState::Failed, 5_000_000),
            pruned(RunStatus::Incomplete, RunState::Incomplete, 20_000),
        ],
        leftovers: vec![".new-1".to_owned()],
        contents: 3,
        content_bytes: 70_000_000,
        ..Pruning::default()
    };
    let text = |is_dry_run| totals(&pruning, is_dry_run);
    assert_snapshot!(at_widths(|screen| {
        format!("{}\n{}", pruned_table(&pruning, time(800), screen), text(true))
    }), @r"
    == 60
    run       status        scenario  started       size
    6ba42b73  ✗ failed      checkout  33 d ago   4.8 MiB
    6ba42b73  ◐ incomplete  checkout  33 d ago  19.5 KiB
    would delete 2 runs, 4.8 MiB; 1 run could still be resumed;
      1 unfinished folder; 3 stored files that no run needs,
      66.8 MiB
    == 80
    run       status        scenario  started       size
    6ba42b73  ✗ failed      checkout  33 d ago   4.8 MiB
    6ba42b73  ◐ incomplete  checkout  33 d ago  19.5 KiB
    would delete 2 runs, 4.8 MiB; 1 run could still be resumed; 1 unfinished folder;
      3 stored files that no run needs, 66.8 MiB
    == 200
    run       status        scenario  started       size
    6ba42b73  ✗ failed      checkout  33 d ago   4.8 MiB
    6ba42b73  ◐ incomplete  checkout  33 d ago  19.5 KiB
    would delete 2 runs, 4.8 MiB; 1 run could still be resumed; 1 unfinished folder; 3 stored files that no run needs, 66.8 MiB
    ");
    assert_snapshot!(text(false), @r"
    deleted 2 runs, 4.8 MiB; 1 run could still be resumed; 1 unfinished folder; 3 stored files that no run needs, 66.8 MiB
    ");
    assert_snapshot!(totals(&Pruning::default(), true), @r"
    would delete 0 runs, 0 B
    ");
}

#[test]
fn verify_lists_faults_with_their_places() {
    let document = |faults: Vec<DiskFault>, left_out: u64| VerifyDocument {
        v: 1,
        run: ID.to_owned(),
        run_dir: format!("results/{ID}"),
        verified: Verified {
            rows: 40,
            artifacts: 1,
            contents: 2,
            faults,
            left_out,
            harmless: Vec::new(),
        },
    };
    let index = || format!("results/{ID}/index.jsonl").into();
    let faults = vec![
        DiskFault {
            path: index(),
            line: Some(7),
            problem: "the checksum does not match".to_owned(),
            remedy: Some("runner resume 6ba42b73".to_owned()),
        },
        DiskFault {
            path: index(),
            line: None,
            problem: "3 results are missing".to_owned(),
            remedy: Some("runner resume 6ba42b73".to_owned()),
        },
    ];
    let texts =
        [document(Vec::new(), 0), document(faults, 5)].map(|one| fault_lines(&one).join("\n"));
    assert_snapshot!(at_widths(|_| texts.join("\n")), @r"
    == 60
    ✓ results/20261120T091804.015Z-6ba42b73: nothing is damaged;
      checked 40 rows, 1 artifact, 2 stored files
    results/20261120T091804.015Z-6ba42b73/index.jsonl:7: the
      checksum does not match; to repair it: runner resume 6ba42b73
    results/20261120T091804.015Z-6ba42b73/index.jsonl: 3 results
      are missing
    … and 5 more
    ✗ results/20261120T091804.015Z-6ba42b73: 7 faults; checked
      40 rows, 1 artifact, 2 stored files
    == 80
    ✓ results/20261120T091804.015Z-6ba42b73: nothing is damaged; checked 40 rows,
      1 artifact, 2 stored files
    results/20261120T091804.015Z-6ba42b73/index.jsonl:7: the checksum does not
      match; to repair it: runner resume 6ba42b73
    results/20261120T091804.015Z-6ba42b73/index.jsonl: 3 results are missing
    … and 5 more
    ✗ results/20261120T091804.015Z-6ba42b73: 7 faults; checked 40 rows, 1 artifact,
      2 stored files
    == 200
    ✓ results/20261120T091804.015Z-6ba42b73: nothing is damaged; checked 40 rows, 1 artifact, 2 stored files
    results/20261120T091804.015Z-6ba42b73/index.jsonl:7: the checksum does not match; to repair it: runner resume 6ba42b73
    results/20261120T091804.015Z-6ba42b73/index.jsonl: 3 results are missing
    … and 5 more
    ✗ results/20261120T091804.015Z-6ba42b73: 7 faults; checked 40 rows, 1 artifact, 2 stored files
    ");
}
