//! The use cases as a program calls them that embeds the runner: no command line, no screen, no signals.

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use runner::{
    Begin, Conclusion, Event, ExitStatus, Host, NothingLeft, Notice, Observe, Reason, Resume,
    RunStatus, Start, Stop, StopAnswer, StopMode, Stopping, Store, Verdict, Wait, Waiting as _,
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

    fn event(&mut self, event: &Event<'_>) {
        if let Event::Rows { entries, .. } = event {
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
    let program = env!("CARGO_BIN_EXE_runner");
    Host {
        cache: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")),
        ..Host::new(program, runner.path("scratch"))
    }
}

fn request(runner: &Runner) -> Start {
    fs_err::create_dir_all(runner.path("scratch")).unwrap();
    Start::new(runner.path("scenario.toml"), results(runner))
}

fn results(runner: &Runner) -> PathBuf {
    runner.path("results")
}

/// A program that is the runner, but for its workers, which end at once.
fn without_workers(runner: &Runner) -> PathBuf {
    let program = env!("CARGO_BIN_EXE_runner");
    let script = format!("#!/bin/sh\n[ \"$1\" = __worker ] && exit 3\nexec '{program}' \"$@\"\n");
    runner.write("no-workers.sh", script);
    let path = runner.path("no-workers.sh");
    fs_err::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn where_no_worker_can_be_started_the_runner_makes_the_attempts() {
    let runner = Runner::hostile(TWO);
    let mut request = request(&runner);
    request.overrides.workers = Some(2);
    for program in [without_workers(&runner), runner.path("no such program")] {
        let host = Host {
            program,
            ..host(&runner)
        };
        let mut seen = Seen::default();
        let conclusion = runner::start(&request, &host, &mut seen).unwrap();
        assert_eq!(conclusion.status, RunStatus::Completed);
        assert_eq!((conclusion.counts.passed, conclusion.counts.failed), (1, 1));
    }
}

#[test]
fn a_program_runs_a_scenario_sees_it_happen_and_has_its_conclusion() {
    let runner = Runner::hostile(TWO);
    let (host, request) = (host(&runner), request(&runner));
    let preview = runner::preview_start(&request, &host, &mut Seen::default()).unwrap();
    let mut previewed = Vec::new();
    let count = preview.each_trial(|trial| previewed.push(trial.id.to_string()));
    assert_eq!(count.unwrap(), 2);
    assert!(!results(&runner).exists(), "something was created");

    let mut seen = Seen::default();
    let conclusion = runner::start(&request, &host, &mut seen).unwrap();
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
    let again = runner::resume(&Resume::new(run), &host, &mut seen).unwrap();
    assert_eq!(seen.0, ["nothing left, 0 unjudged"]);
    assert_eq!(again, conclusion);
}

#[test]
fn a_program_stops_a_run_by_looks_that_do_not_block_and_finds_what_is_left() {
    let runner = Runner::hostile(MANY);
    let (host, request) = (host(&runner), request(&runner));
    let (stopper, results) = (host.clone(), results(&runner));
    let session = thread::spawn(move || {
        let conclusion = runner::start(&request, &host, &mut Seen::default());
        conclusion.unwrap()
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    let begun = || {
        let store = Store::existing(&results).ok()?;
        let run = runner::only_running(&store).ok()?;
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

    let preview = runner::preview_resume(&Resume::new(stopped.run), &stopper, &mut seen).unwrap();
    let left = preview.each_trial(|_| ()).unwrap();
    assert_eq!(left, conclusion.counts.planned - conclusion.counts.done());
    assert!(left > 0);
}
