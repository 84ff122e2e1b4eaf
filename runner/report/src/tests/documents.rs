//! Documents about a small run, as JSON.

use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs, io, time::Duration};

use runner_model::{
    Budgets, Counts, FailFast, Fingerprint, Grants, Limits, Reason, SessionSettings, StopSignal,
    Tail, TrialId, digest, log, provider::PluginKind,
};
use runner_record::{
    Answer, End, Fold, Manifest, ManifestProvider, Metadata, NewRun, NewSession, PrunePolicy,
    ReadLine, ResultsRoot, RunDir, Selected, now,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::snapshot;
use crate::{
    Form, FormError, FormOptions, PruneDocument, RequestResult, RowSelection, RunDocument, RunList,
    RunTable, TrialDocument, VERSION, json::write_document, write_report,
};

/// Values that differ from run to run.
const VOLATILE: [&str; 14] = [
    "at",
    "completed_at",
    "crc",
    "ended_at",
    "host",
    "inode",
    "signature",
    "length",
    "limits",
    "modified",
    "pid",
    "started_at",
    "user",
    "worked_ms",
];

/// An interrupted run: of four trials one passed, one failed and one trapped.
pub(crate) struct Results {
    folder: tempfile::TempDir,
    root: ResultsRoot,
    pub(crate) run: RunDir,
    manifest: Manifest,
}

impl Results {
    fn new() -> Self {
        let failed = json!({
            "output": 4, "checks": [{"kind": "equals", "verdict": "fail", "expected": 3, "actual": 4}],
        });
        let denied = json!([{"what": "the secret `KEY`", "grant": "secrets = [\"KEY\"]"}]);
        let error = json!({"class": "trap", "code": "unreachable", "message": "no key"});
        Self::of_rows(&[
            ("sum@p#1", "passed", json!({"output": 3})),
            ("sum@p#2", "failed", failed),
            ("sum@q#1", "error", json!({"error": error, "denied": denied})),
        ])
    }

    /// Creates an interrupted run with these rows: a trial, an outcome, and further keys of each.
    pub(crate) fn of_rows(rows: &[(&str, &str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = ResultsRoot::open(&folder.path().join("results")).unwrap();
        let suite =
            root.keep_bytes(b"{\"id\":\"sum\",\"input\":[1,2],\"expect\":{\"equals\":3}}\n");
        let owned = root.create(new_run(suite.unwrap())).unwrap();
        let mut writer = owned.writer(Box::new(|_| {})).unwrap();
        for (trial, outcome, keys) in rows {
            let trial = TrialId::parse(trial).unwrap();
            let mut row = json!({
                "v": runner_model::row::VERSION, "trial": trial, "test": trial.test, "provider": trial.provider,
                "repeat": trial.repeat, "attempt": 1, "outcome": outcome,
                "started_at": "2026-11-20T09:18:04.015Z", "duration_ms": 2.5, "usage": {},
            });
            row.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
            let log = log::line(br#"{"stdout":"out\n"}"#, &trial, 1, 1).unwrap();
            let worker = (*outcome == "error").then(|| "gpu/3".to_owned());
            let tail = Tail { worker, ..tail() };
            writer.row(row.to_string().into_bytes(), tail, Some(log), Vec::new());
        }
        writer.close().unwrap();
        let mut fold = Fold::new(rows.len().max(4) as u64);
        let run = owned.dir().clone();
        let mut index = 0;
        run.read_lines(&mut |_, line| {
            if let ReadLine::Row(row, _) = line {
                fold.add(index, (&row).into());
                index += 1;
            }
        })
        .unwrap();
        let (reason, signal) = (Some(Reason::Interrupted), Some(StopSignal::Interrupt));
        let message = Some("stopped by Ctrl-C".into());
        let end = End { reason, signal, message, at: now(), ..End::default() };
        let (manifest, _) = owned.finish(end, &fold).unwrap();
        Self { folder, root, run, manifest }
    }

    /// Compares a document with a snapshot, without volatile values.
    fn check(&self, name: &str, document: &impl Serialize) {
        let mut bytes = Vec::new();
        write_document(&mut bytes, document).unwrap();
        let mut value = serde_json::from_slice(&bytes).unwrap();
        hide_volatile(&mut value);
        snapshot(name, &self.without_folder(&serde_json::to_string_pretty(&value).unwrap()));
    }

    fn without_folder(&self, text: &str) -> String {
        let real = self.folder.path().canonicalize().unwrap();
        let hide = |text: String, path: &Path| text.replace(path.to_str().unwrap(), "");
        hide(hide(text.to_owned(), self.folder.path()), &real)
    }
}

fn new_run(suite: runner_model::Digest) -> NewRun {
    let text = "name = \"basic\"\n".to_owned();
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
    NewRun {
        id: "basic-1".into(),
        scenario: "basic".into(),
        scenario_path: "/basic.toml".into(),
        labels: BTreeMap::from([("team".into(), "night".into())]),
        group: None,
        metadata: Metadata {
            planned_test_count: 1,
            planned_trial_count: 4,
            suite,
            blobs: None,
            scenario_sha256: digest(text.as_bytes()),
            runner_version: "0.1.0".into(),
            selection: Selected::default(),
            vars: BTreeMap::new(),
            has_gate: false,
            has_adaptive_repeats: false,
            random_recipe: 2,
        },
        providers: vec![provider("p"), provider("q")],
        session: NewSession {
            writer: "exec",
            command: vec!["runner".into(), "exec".into(), "basic.toml".into()],
            request: None,
            settings: SessionSettings {
                jobs: 2,
                timeout: Duration::from_secs(60),
                grace: Duration::ZERO,
                fail_fast: FailFast::default(),
                budgets: Budgets::default(),
            },
            suite: None,
            known: None,
            graders: Vec::new(),
            last_seq: 0,
            replays: None,
            rerun: None,
            pending: None,
            removed: Counts::default(),
            waits: false,
        },
        text,
    }
}

fn tail() -> Tail {
    Tail {
        fingerprint: Fingerprint([0; 16]),
        judgement_fingerprint: Fingerprint([0; 16]),
        judged: None,
        worker: None,
        stopped_by: None,
        logs: None,
        flaky: false,
        r#final: true,
        session: 1,
        seq: 0,
    }
}

fn hide_volatile(value: &mut Value) {
    match value {
        Value::Object(keys) => {
            for (key, value) in keys {
                // The key of a session is a random number.
                let is_random = key == "key" && value.is_number();
                if is_random || VOLATILE.contains(&key.as_str()) && !value.is_null() {
                    *value = "…".into();
                }
                hide_volatile(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide_volatile),
        _ => {}
    }
}

#[test]
fn run_and_list_have_these_keys() {
    let results = Results::new();
    let (root, run) = (&results.root, &results.run);
    results.check("run", &RunDocument::read(root, run, &RowSelection::Failed).unwrap());
    results.check("list", &RunList::read(root).unwrap());
    results.check("request", &RequestResult::read(root, run, Answer::Stopped).unwrap());
}

#[test]
fn facts_name_the_first_workers() {
    let results = Results::new();
    let mut document = RunDocument::read(&results.root, &results.run, &RowSelection::All).unwrap();
    let facts = |document: &RunDocument| {
        let mut facts = document.facts(now()).into_iter();
        facts.find(|(name, _)| *name == "workers").unwrap().1
    };
    assert_eq!(facts(&document), "gpu: 1 attempt, 1 error");
    document.tables.workers = vec![document.tables.workers[0].clone(); 1_200];
    assert_eq!(facts(&document).lines().count(), 11);
    assert!(facts(&document).ends_with("\n1,190 more"));
}

#[test]
fn trial_has_rows_logs_and_plan() {
    let results = Results::new();
    let trial = TrialId::parse("sum@p#2").unwrap();
    let document =
        TrialDocument::read(&results.root, &RunTable::open(&results.run).unwrap(), trial, None)
            .unwrap();
    results.check("trial", &document);
    let sections = document.sections(&document.row().unwrap());
    let page: Vec<_> =
        sections.iter().map(|section| format!("{}:\n{}", section.title, section.text)).collect();
    snapshot("trial_page", &results.without_folder(&page.join("\n\n")));
}

/// A writer that removes a file while trials are written.
struct Removing(PathBuf);

impl io::Write for Removing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.starts_with(b"[\"sum@") {
            let _ = fs::remove_file(&self.0);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn report_needs_rows_and_no_manifest_for_each_trial() {
    let results = Results::new();
    let document = RunDocument::read(&results.root, &results.run, &RowSelection::All).unwrap();
    let write_without = |name: &str| {
        let mut writer = Removing(results.run.path().join(name));
        write_report(Form::Html, &document, FormOptions::default(), &mut writer)
    };
    write_without("benchmark.json").unwrap();
    let manifest = serde_json::to_vec(&results.manifest).unwrap();
    fs::write(results.run.path().join("benchmark.json"), manifest).unwrap();
    // The report itself can be written.
    assert!(matches!(write_without("index.jsonl"), Err(FormError::Record(_))));
}

#[test]
fn failures_are_grouped_by_reason() {
    let results = Results::new();
    let document = RunDocument::read(&results.root, &results.run, &RowSelection::Failed).unwrap();
    let failures = document.rows.failures().unwrap();
    let group = |group: crate::FailureGroup| format!("{}: {}", group.name(), group.reason);
    let groups: Vec<_> = failures.sorted().into_iter().map(group).collect();
    snapshot("failures", &groups.join("\n"));
}

#[test]
fn prune_has_these_keys() {
    let results = Results::new();
    let policy = PrunePolicy { keep_last: Some(0), ..PrunePolicy::default() };
    let mut pruning = results.root.prune(&policy, true, now()).unwrap();
    // The size depends on the file system and the lengths of names.
    pruning.runs.iter_mut().for_each(|run| run.bytes = 1);
    results.check("prune", &PruneDocument { v: VERSION, dry_run: true, pruning });
}
