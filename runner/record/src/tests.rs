//! Helpers of tests.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use crate::disk::fault::{
    Place,
    injected::{Action, Fault},
};

thread_local! {
    static FAULT: RefCell<Option<Arc<Fault>>> = const { RefCell::new(None) };
}

/// Injects a fault into this thread and the writers that it starts. An empty text removes it.
pub(crate) fn inject(text: &str) {
    let fault = (!text.is_empty()).then(|| Arc::new(Fault::parse(text).unwrap()));
    adopt(fault);
}

pub(crate) fn fault_at(place: Place) -> Option<Action> {
    FAULT.with_borrow(|fault| fault.as_ref()?.passed(place))
}

pub(crate) fn inherit() -> Option<Arc<Fault>> {
    FAULT.with_borrow(Clone::clone)
}

pub(crate) fn adopt(fault: Option<Arc<Fault>>) {
    FAULT.set(fault);
}

use std::{path::Path, sync::mpsc, time::Duration};

use runner_model::{
    Budgets, Counts, FailFast, Fingerprint, Outcome, Places, ProviderName, Row, SessionSettings,
    Tail, TestId, Time, TrialId, row::RowError,
};

use crate::{
    Ack, Fold, Metadata, NewRun, NewSession, Owned, ResultsRoot, RunDir, Selected, Writer, new_id,
    now,
};

/// A plan of one test with this number of repeats.
pub(crate) struct Plan(pub(crate) u64);

impl Places for Plan {
    fn index(&self, trial: &TrialId) -> Option<u64> {
        let index = u64::from(trial.repeat) - 1;
        (&*trial.test == "t" && index < self.0).then_some(index)
    }

    fn trials(&self) -> u64 {
        self.0
    }
}

/// Creates a folder in memory if possible, because tests sync often.
pub(crate) fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    match tempfile::tempdir_in(memory) {
        Ok(folder) => folder,
        Err(_) => tempfile::tempdir().unwrap(),
    }
}

pub(crate) fn fold(owned: &Owned, trials: u64) -> Fold {
    Fold::of(owned.dir(), owned.manifest(), &Plan(trials), &Arc::default(), &|_, _| false).unwrap()
}

pub(crate) fn settings() -> SessionSettings {
    SessionSettings {
        jobs: 2,
        timeout: Duration::from_secs(60),
        grace: Duration::ZERO,
        fail_fast: FailFast::default(),
        budgets: Budgets::default(),
    }
}

pub(crate) fn session(writer: &'static str) -> NewSession {
    NewSession {
        writer,
        command: vec!["runner".into(), writer.into(), "a scenario.toml".into()],
        request: None,
        settings: settings(),
        suite: None,
        known: None,
        graders: Vec::new(),
        last_seq: 0,
        replays: None,
        rerun: None,
        pending: None,
        removed: Counts::default(),
        waits: false,
    }
}

pub(crate) fn new_run(trials: u64) -> NewRun {
    NewRun {
        id: new_id("basic", now()),
        scenario: "basic".into(),
        scenario_path: "/scenarios/basic.toml".into(),
        text: "name = \"basic\"\n".into(),
        labels: BTreeMap::new(),
        group: None,
        metadata: Metadata {
            planned_test_count: 1,
            planned_trial_count: trials,
            suite: runner_model::digest(b"suite"),
            blobs: None,
            scenario_sha256: runner_model::digest(b"name = \"basic\"\n"),
            runner_version: "0.1.0".into(),
            selection: Selected::default(),
            vars: BTreeMap::new(),
            has_gate: false,
            has_adaptive_repeats: false,
            random_recipe: 2,
        },
        providers: Vec::new(),
        session: session("exec"),
    }
}

/// Returns a worker's row.
pub(crate) fn row(repeat: u32, attempt: u32, outcome: Outcome) -> Vec<u8> {
    let trial = TrialId {
        test: TestId::parse("t").unwrap(),
        provider: ProviderName::parse("p").unwrap(),
        repeat,
    };
    let error =
        RowError { code: "code".into(), message: "zwölf ✓".into(), ..RowError::default() };
    let started_at = Time::parse("2026-11-20T09:18:04.015Z").unwrap();
    let row = Row {
        outcome,
        error: Some(error),
        ..Row::new(&trial, attempt, started_at, Duration::from_micros(500), Duration::ZERO)
    };
    serde_json::to_vec(&row).unwrap()
}

pub(crate) fn tail(is_final: bool) -> Tail {
    Tail {
        fingerprint: Fingerprint([1; 16]),
        judgement_fingerprint: Fingerprint([2; 16]),
        judged: None,
        worker: None,
        stopped_by: None,
        logs: None,
        flaky: false,
        r#final: is_final,
        session: 1,
        seq: 0,
    }
}

/// Creates a root with a run of `trials` trials, and holds it.
pub(crate) fn begin(path: &Path, trials: u64) -> (ResultsRoot, Owned) {
    let root = ResultsRoot::open(path).unwrap();
    let owned = root.create(new_run(trials)).unwrap();
    (root, owned)
}

/// Starts a writer, and returns its acknowledgements.
pub(crate) fn writer(owned: &Owned) -> (Writer, mpsc::Receiver<Ack>) {
    let (sender, acks) = mpsc::channel();
    let send = move |ack| {
        let _ = sender.send(ack);
    };
    (owned.writer(Box::new(send)).unwrap(), acks)
}

/// Writes final rows of these repeats.
pub(crate) fn write_rows(owned: &Owned, repeats: impl IntoIterator<Item = u32>) {
    let (mut writer, _acks) = writer(owned);
    for repeat in repeats {
        writer.row(row(repeat, 1, Outcome::Passed), tail(true), None, Vec::new());
    }
    writer.close().unwrap();
}

/// Creates a run whose process died after rows of the first `rows` trials.
pub(crate) fn dead_run(path: &Path, trials: u64, rows: u32) -> (ResultsRoot, RunDir) {
    let (root, owned) = begin(path, trials);
    write_rows(&owned, 1..=rows);
    let run = owned.dir().clone();
    // A drop without `finish` leaves the same as a death.
    drop(owned);
    (root, run)
}
