//! The use cases as a program calls them that embeds the runner: no command line, no screen, no signals.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use runner::{
    error::ExitStatus,
    model::{Reason, RunStatus, StopMode, Verdict},
    record::{RunEntry, Store},
    run,
    session::{
        self, Begin, Build, Conclusion, Exclusivity, Host, NothingLeft, Notice, Observe, Resume,
        SessionLog, Start, Stop, StopAnswer, Stopping, Wait, Waiting as _,
    },
};

use crate::support::runner::Runner;

const TWO: &str = r#"
name = "two"
[[tests]]
id = "good"
input = { do = "echo", value = "a" }
expect = { equals = "a" }
[[tests]]
id = "bad"
input = { do = "echo", value = "a" }
expect = { equals = "b" }
"#;

/// More than run while a test looks twice.
const MANY: &str = r#"
name = "many"
[[tests]]
id = "good"
repeat = 200000
input = { do = "echo", value = "a" }
expect = { equals = "a" }
"#;

/// What an observer has seen, in order.
#[derive(Default)]
struct Seen(Vec<String>);

impl Observe for Seen {
    fn notice(&mut self, _: &Notice<'_>) {
        self.0.push("notice".to_owned());
    }

    fn begin(&mut self, begin: &Begin<'_>) {
        self.0.push(format!("begin {}", begin.planned));
    }

    fn event(&mut self, event: &run::Event<'_>) {
        if let run::Event::Rows { entries, .. } = event {
            for entry in *entries {
                self.0.push(entry.attempt.trial.to_string());
            }
        }
    }

    fn nothing_left(&mut self, left: &NothingLeft<'_>) {
        self.0
            .push(format!("nothing left, {} unjudged", left.unjudged));
    }

    fn conclude(&mut self, conclusion: &Conclusion) {
        self.0.push(format!("conclude {}", conclusion.status));
    }
}

fn host(runner: &Runner) -> Host {
    Host {
        program: env!("CARGO_BIN_EXE_runner").into(),
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        scratch_root: runner.path("scratch"),
        search_path: "".into(),
        variable: |_| None,
        signals: None,
        log: SessionLog::default(),
        arguments: Vec::new(),
        now: run::wall_clock,
        pause: thread::sleep,
    }
}

fn request(runner: &Runner) -> Start {
    fs_err::create_dir_all(runner.path("scratch")).unwrap();
    Start {
        scenario: runner.path("scenario.toml"),
        selection: Default::default(),
        overrides: Default::default(),
        build: Build::Ask,
        secret_files: Vec::new(),
        results: results(runner),
        into: None,
        exclusivity: Exclusivity::Shared,
    }
}

fn results(runner: &Runner) -> PathBuf {
    runner.path("results")
}

fn resume_of(run: RunEntry) -> Resume {
    Resume {
        run,
        overrides: Default::default(),
        secret_files: Vec::new(),
        rerun: None,
        accept_changes: false,
        force: false,
    }
}

#[test]
fn a_program_runs_a_scenario_sees_it_happen_and_has_its_conclusion() {
    let runner = Runner::hostile(TWO);
    let (host, request) = (host(&runner), request(&runner));
    let preview = session::preview_start(&request, &host, &mut Seen::default()).unwrap();
    let mut previewed = Vec::new();
    let count = preview.each_trial(|trial| previewed.push(trial.id.to_string()));
    assert_eq!(count.unwrap(), 2);
    assert!(!results(&runner).exists(), "something was created");

    let mut seen = Seen::default();
    let conclusion = session::start(&request, &host, &mut seen).unwrap();
    assert_eq!(seen.0.first().unwrap(), "begin 2");
    assert_eq!(seen.0.last().unwrap(), "conclude completed");
    let mut rows = seen.0[1..3].to_vec();
    rows.sort();
    previewed.sort();
    assert_eq!(rows, previewed);
    assert_eq!(conclusion.verdict, Verdict::Failed);
    assert_eq!((conclusion.counts.passed, conclusion.counts.failed), (1, 1));
    assert_eq!(ExitStatus::of(&conclusion), ExitStatus::NotPassed);

    let store = Store::existing(&results(&runner)).unwrap();
    let run = store.find(conclusion.run.as_str()).unwrap();
    let waited = Wait::new(run.clone()).poll(&mut Seen::default()).unwrap();
    assert_eq!(waited.as_ref(), Some(&conclusion));

    let mut seen = Seen::default();
    let again = session::resume(&resume_of(run), &host, &mut seen).unwrap();
    assert_eq!(seen.0, ["nothing left, 0 unjudged"]);
    assert_eq!(again, conclusion);
}

#[test]
fn a_program_stops_a_run_by_looks_that_do_not_block_and_finds_what_is_left() {
    let runner = Runner::hostile(MANY);
    let (host, request) = (host(&runner), request(&runner));
    let (stopper, results) = (host.clone(), results(&runner));
    let session = thread::spawn(move || {
        let conclusion = session::start(&request, &host, &mut Seen::default());
        conclusion.unwrap()
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let begun = || {
        let store = Store::existing(&results).ok()?;
        let run = session::only_running(&store).ok()?;
        Some((store, run))
    };
    let (store, run) = loop {
        if let Some(begun) = begun() {
            break begun;
        }
        assert!(Instant::now() < deadline, "no run has begun");
        thread::sleep(Duration::from_millis(10));
    };

    let stop = Stop {
        run,
        // Nothing but the trials' own deadlines bounds it, so that a slow machine changes nothing.
        mode: StopMode::Drain,
        actor: stopper.actor(Some("enough seen")),
    };
    let mut stopping = Stopping::new(&store, stop, &stopper).unwrap();
    let mut seen = Seen::default();
    let stopped = loop {
        if let Some(stopped) = stopping.poll(&mut seen).unwrap() {
            break stopped;
        }
        thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(stopped.answer, StopAnswer::Stopped);
    assert_eq!(seen.0, ["notice"]);
    let conclusion = session.join().unwrap();
    assert_eq!(conclusion.status, RunStatus::Incomplete);
    assert_eq!(conclusion.reason, Some(Reason::Stopped));
    assert_eq!(ExitStatus::of(&conclusion), ExitStatus::Incomplete);

    let preview = session::preview_resume(&resume_of(stopped.run), &stopper, &mut seen).unwrap();
    let left = preview.each_trial(|_| ()).unwrap();
    assert_eq!(left, conclusion.counts.planned - conclusion.counts.done());
    assert!(left > 0);
}
