//! Several scenarios as the runs of one group.

use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use serde_json::{Value, json};

use super::{ENDLESS, SHORT, Worked, listed, sleeping};
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    run::Run,
    runner::Runner,
    running::Running,
    truth::{assert_consistent, results},
    wait::wait_until,
};

/// Writes three scenarios whose trials sleep for these times.
fn three(times: [Duration; 3]) -> Runner {
    let runner = Runner::new(&["hostile"]);
    std::fs::create_dir(runner.path("set")).unwrap();
    for (name, time) in ["a", "b", "c"].into_iter().zip(times) {
        let text = sleeping(name, 3, time).replace("hostile.wasm", "../hostile.wasm");
        runner.write(&format!("set/{name}.toml"), text);
    }
    runner
}

/// Returns the runs in the order of their scenarios' names.
#[track_caller]
fn runs(runner: &Runner) -> [Run; 3] {
    let mut runs = runner.runs();
    runs.sort_by_key(|run| run.manifest()["scenario"].to_string());
    runs.try_into().unwrap_or_else(|runs| panic!("not three: {runs:?}"))
}

/// Returns status, reason and stage.
fn standing(run: &Run) -> [String; 3] {
    let manifest = run.manifest();
    ["status", "reason", "stage"].map(|key| manifest[key].as_str().unwrap_or_default().to_owned())
}

/// Returns the id of the only group.
#[track_caller]
fn group(runner: &Runner) -> String {
    let id = |run: &Run| run.manifest()["group"]["id"].as_str().unwrap().to_owned();
    let [a, b, c] = runs(runner);
    assert_eq!((id(&a), id(&b)), (id(&c), id(&c)));
    id(&a)
}

#[test]
fn runs_of_a_group_follow_each_other() {
    let mut transcript = Transcript::default();
    let runner = three([SHORT; 3]);
    let ran = runner.run(&["exec", "set", "--json", "-j", "2"]).expect(0);
    let events = ran.events();
    let started: Vec<_> = events.iter().filter(|event| event["event"] == "started").collect();
    let scenarios: Vec<_> = started.iter().map(|event| &event["scenario"]).collect();
    assert_eq!(scenarios, ["a", "b", "c"]);
    // Each run's events are numbered from 1, and follow those of the run before.
    let mut expected = 1;
    for event in &events {
        assert_eq!(event["n"], expected, "{event}");
        expected = if event["event"] == "finished" { 1 } else { expected + 1 };
    }
    for (run, place) in runs(&runner).iter().zip(1..) {
        let manifest = run.manifest();
        assert_eq!(
            (&manifest["group"]["place"], &manifest["group"]["of"]),
            (&json!(place), &json!(3))
        );
        assert_eq!(standing(run), ["completed", "", "finish"]);
        assert_eq!(results(run).len(), 3);
    }
    assert_consistent(&runner);
    let group = group(&runner);
    let listed = &runner.list()[0]["group"];
    assert_eq!(listed["id"], group);
    let shown = runner.run(&["show", runs(&runner)[1].id()]).expect(0);
    snapshot(&shown);
    shown.says(&[&group]);
    // A part of a group's name is enough for `wait` and `resume`. Nothing is left to do.
    let part = group.rsplit('-').next().unwrap();
    transcript.run(&runner, &["show", part]).expect(0);
    let document = runner.run(&["show", part, "--json"]).expect(0).document();
    assert_eq!(document["runs"].as_array().unwrap().len(), 3);
    transcript.run(&runner, &["show", part, "--failed"]).expect(0);
    runner.run(&["wait", part]).expect(0).says(&["a: ", "c: "]);
    snapshot(&runner.run(&["resume", part]).expect(0));
    let accepted = runner.run(&["resume", part, "--accept-changes"]).expect(0);
    assert_eq!(accepted.stdout.matches("none run now").count(), 4, "{}", accepted.stdout);
    assert_eq!(runner.runs().len(), 3);
    transcript.check("runs_of_a_group_follow_each_other");
}

#[test]
fn logs_of_a_group_are_printed_by_run() {
    let runner = Runner::new(&["hostile"]);
    for name in ["a", "b"] {
        let text = format!(
            "[providers.hostile]\nplugin = \"../hostile.wasm\"\n[[tests]]\nid = \"t\"\ninput = {{ do = \"say\", text = \"of-{name}\" }}\n"
        );
        std::fs::create_dir_all(runner.path("set")).unwrap();
        runner.write(&format!("set/{name}.toml"), text);
    }
    runner.run(&["exec", "set"]).expect(0);
    let id = runner.runs()[0].manifest()["group"]["id"].as_str().unwrap().to_owned();
    let logs = runner.run(&["logs", &id]).expect(0).stdout;
    let at = |text: &str| logs.find(text).unwrap_or_else(|| panic!("{text}: {logs}"));
    assert!(at("a:\n") < at("of-a") && at("of-a") < at("b:\n") && at("b:\n") < at("of-b"));
    snapshot(&runner.run(&["logs", &id, "t"]).expect(2));
}

#[test]
fn group_ends_as_its_worst_run() {
    let runner = three([SHORT; 3]);
    let bad = sleeping("b", 3, SHORT).replace("hostile.wasm", "../hostile.wasm");
    runner.write("set/b.toml", format!("{bad}expect = {{ equals = 1 }}\n"));
    let ran = runner.run(&["exec", "set/a.toml", "set/b.toml", "set/c.toml"]).expect(1);
    ran.says(&["b (2/3): 3 trials", "see why: runner show ", "run them again: runner resume "]);
    let plugin = "(module (import \"env\" \"x\" (func)) (func (export \"_start\")))";
    runner.wat("set/strange.wasm", plugin);
    let strange = "name = \"b\"\n[providers.p]\nplugin = \"strange.wasm\"\n[[tests]]\nid = \"t\"\n";
    runner.write("set/b.toml", strange);
    let ran = runner.run(&["exec", "set"]);
    // The other runs start although one cannot.
    assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
    let newest: Vec<_> = runner.list().iter().take(3).map(|run| run["status"].clone()).collect();
    if ran.code == Some(3) {
        assert_eq!(newest, ["completed", "failed", "completed"]);
    }
}

#[test]
fn problems_of_all_scenarios_are_listed() {
    let mut transcript = Transcript::default();
    let runner = three([SHORT; 3]);
    runner.write("set/a.toml", "nonsense = 1\n");
    runner.write("set/c.toml", "name = 3\n");
    let ran = transcript.run(&runner, &["exec", "set", "missing.toml"]).expect(2);
    assert_eq!(ran.stdout, "");
    assert!(!runner.path("results").exists());
    std::fs::create_dir(runner.path("empty")).unwrap();
    transcript.run(&runner, &["exec", "empty"]).expect(2);
    transcript.check("problems_of_all_scenarios_are_listed");
}

#[test]
fn links_out_of_the_folder_are_left_out() {
    let runner = three([SHORT; 3]);
    runner.write("secret", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    runner.link(&runner.path("secret"), "set/x.toml");
    runner.link("../secret".as_ref(), "set/y.toml");
    runner.link("a.toml".as_ref(), "set/z.toml");
    // The folder itself may be a link.
    runner.link(&runner.path("set"), "linked");
    for (command, folder) in [("validate", "set"), ("validate", "linked"), ("exec", "set")] {
        let ran = runner.run(&[command, folder]).expect(0);
        for name in ["x", "y"] {
            ran.says(&[&format!(
                "{folder}/{name}.toml is left out: it is a link out of the folder"
            )]);
        }
        assert!(!ran.stderr.contains("OPENSSH"), "{}", ran.stderr);
    }
    assert_eq!(runner.runs().len(), 4);
    for name in ["a", "b", "c", "z"] {
        std::fs::remove_file(runner.path(&format!("set/{name}.toml"))).unwrap();
    }
    let ran = runner.run(&["exec", "set"]).expect(2);
    snapshot(&ran);
}

#[test]
fn scenarios_without_tests_are_left_out() {
    let runner = three([SHORT; 3]);
    let other = sleeping("b", 3, SHORT).replace("hostile.wasm", "../hostile.wasm");
    runner.write("set/b.toml", other.replace("\"nap\"", "\"other\""));
    let ran = runner.run(&["exec", "set", "--test", "nap"]).expect(0);
    snapshot(&ran);
    assert_eq!(runner.runs().len(), 2);
    runner.run(&["exec", "set", "--test", "none"]).expect(5);
    assert_eq!(runner.runs().len(), 2);
}

/// Times of trials that end by themselves, though not before a test has done something to their run. The longer ones are for
/// slow machines.
fn naps() -> impl Iterator<Item = Duration> {
    [1, 2, 4, 8, 16].into_iter().map(Duration::from_secs)
}

/// Writes three scenarios. The second has trials that wait for a stop of their first attempts, and then end immediately.
fn second_waits() -> Runner {
    let runner = three([SHORT, ENDLESS, SHORT]);
    let path = runner.path("set/b.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let (before, _) = text.split_once("input = ").unwrap();
    let input = "input = { do = \"wait-for-stop\", until_attempt = 2 }\n";
    runner.write("set/b.toml", format!("{before}{input}"));
    runner
}

/// Starts a group with its own temporary folder, and acts while all trials of the first run are in flight.
#[track_caller]
fn in_the_first(act: impl Fn(&Runner, &Running)) -> (Runner, Running) {
    let found = naps().find_map(|nap| {
        let runner = three([nap, SHORT, SHORT]);
        let temporary = runner.path("temporary");
        std::fs::create_dir(&temporary).unwrap();
        let mut command = runner.command(&["exec", "set", "--json", "-j", "3"]);
        let mut running = Running::start(command.env("TMPDIR", &temporary));
        running.wait_for_event(|event| event["event"] == "started");
        let [a, ..] = runs(&runner);
        wait_until("all trials are in flight, or one has ended", || {
            let attempts = a.in_flight(std::time::SystemTime::UNIX_EPOCH).len();
            attempts == 3 || !a.rows().is_empty()
        });
        act(&runner, &running);
        a.rows().is_empty().then_some((runner, running))
    });
    found.expect("16 s are enough")
}

/// Kills a group in its second run, whose trials take at least this time when they are resumed.
#[track_caller]
fn killed_in_the_second(least: Duration) -> Runner {
    let found = naps().filter(|nap| *nap >= least).find_map(|nap| {
        let runner = three([SHORT, nap, SHORT]);
        let mut running = runner.started(&["exec", "set", "--json", "-j", "2"]);
        running.wait_for_event(|event| event["event"] == "started" && event["scenario"] == "b");
        let [_, b, _] = runs(&runner);
        wait_until("the second run works, or a trial has ended", || {
            let attempts = b.in_flight(std::time::SystemTime::UNIX_EPOCH);
            !attempts.is_empty() || !b.rows().is_empty()
        });
        running.kill();
        b.rows().is_empty().then_some(runner)
    });
    found.expect("16 s are enough")
}

/// Starts the group, and waits until the second run executes all its trials.
#[track_caller]
fn in_the_second(runner: &Runner) -> Running {
    let mut running = runner.started(&["exec", "set", "--json", "-j", "3"]);
    running.wait_for_event(|event| event["event"] == "started" && event["scenario"] == "b");
    let [a, b, c] = runs(runner);
    wait_until("the second run works", || {
        b.in_flight(std::time::SystemTime::UNIX_EPOCH).len() == 3
    });
    assert_eq!(standing(&a), ["completed", "", "finish"]);
    assert_eq!(standing(&b), ["running", "", "plan"]);
    assert_eq!(standing(&c), ["running", "", "waiting"]);
    running
}

/// Resumes the group and all its runs.
#[track_caller]
fn assert_resumes(runner: &Runner) {
    let ran = runner.run(&["resume", &group(runner), "--json", "-j", "3"]).expect(0);
    let finished = |event: &&Value| event["event"] == "finished";
    assert_eq!(ran.events().iter().filter(finished).count(), 2);
    for run in runs(runner) {
        assert_eq!(standing(&run), ["completed", "", "finish"]);
        assert_eq!(results(&run).len(), 3);
    }
    let sessions = runs(runner).map(|run| run.manifest()["sessions"].as_array().unwrap().len());
    assert_eq!(sessions, [1, 2, 2]);
    assert_consistent(runner);
}

#[test]
fn runs_of_a_group_that_cannot_start_end() {
    let (runner, running) = in_the_first(|_, running| {
        // Each session checks this limit when it starts.
        let little = Rlimit { current: Some(500 << 20), maximum: Some(500 << 20) };
        let process = Pid::from_raw(running.process().0.cast_signed());
        // It may have ended on a slow machine.
        let _ = prlimit(process, Resource::Data, little);
    });
    let events = running.finish().expect(3).events();
    let finished = events.iter().filter(|event| event["event"] == "finished");
    let messages: Vec<_> = finished.map(|event| event["message"].to_string()).collect();
    assert!(messages.len() == 3 && messages[2].contains("ulimit -d"), "{messages:?}");
    let [a, b, c] = runs(&runner);
    assert_eq!(a.ending()[0], "completed");
    for run in [b, c] {
        assert_eq!(run.ending()[..2], ["failed", "machine"]);
    }
    assert_resumes(&runner);
}

#[test]
fn run_of_a_group_whose_session_cannot_start_has_the_reason() {
    let (runner, running) = in_the_first(|runner, _| {
        // Each session creates its temporary folder when it starts.
        std::fs::rename(runner.path("temporary"), runner.path("elsewhere")).unwrap();
    });
    running.finish().expect(3);
    let [a, b, c] = runs(&runner);
    assert_eq!(a.ending()[0], "completed");
    for run in [b, c] {
        assert_eq!(run.ending()[..2], ["failed", "machine"]);
        assert!(run.manifest()["message"].as_str().unwrap().contains("temporary"));
    }
}

#[test]
fn stop_in_the_second_run_ends_the_group() {
    for (signal, name, code) in [(Signal::INT, "SIGINT", 130), (Signal::TERM, "SIGTERM", 143)] {
        let runner = second_waits();
        let running = in_the_second(&runner);
        let (ran, _) = running.end_by(signal);
        let events = ran.expect(code).events();
        let finished: Vec<_> = events.iter().filter(|event| event["event"] == "finished").collect();
        assert_eq!(finished.len(), 3);
        let [_, b, c] = runs(&runner);
        assert_eq!(b.ending(), ["incomplete", "interrupted", name, "none"]);
        assert_eq!(c.ending(), ["incomplete", "interrupted", name, "none"]);
        assert_eq!(standing(&c), ["incomplete", "interrupted", "waiting"]);
        assert!(c.manifest()["completed_at"].is_string());
        assert_eq!(runner.show(&c)["run"]["worked_ms"], 0.0);
        assert_eq!(finished[2]["run_dir"].as_str().unwrap().rsplit('/').next(), Some(c.id()));
        assert_consistent(&runner);
        if code == 130 {
            assert_resumes(&runner);
        }
    }
}

#[test]
fn request_in_the_second_run_ends_the_group() {
    let mut transcript = Transcript::default();
    for (command, status, reason) in
        [("stop", "incomplete", "stopped"), ("cancel", "cancelled", "cancelled")]
    {
        let runner = three([SHORT, ENDLESS, SHORT]);
        let running = in_the_second(&runner);
        let [_, b, c] = runs(&runner);
        // The group's name means the run whose turn it is, and so does the id of a waiting run.
        let name = if command == "stop" { group(&runner) } else { c.id().to_owned() };
        let asked = runner.run(&[command, &name, "--json"]).expect(0).document();
        assert_eq!(asked["run"], b.id());
        running.finish().expect(4);
        for run in [b, c] {
            assert_eq!(run.ending(), [status, reason, "", "none"]);
        }
        transcript.run(&runner, &["stop", &group(&runner)]).expect(2);
        transcript.run(&runner, &["list", "--group", &group(&runner)]).expect(0);
    }
    transcript.check("request_in_the_second_run_ends_the_group");
}

#[test]
fn drained_run_may_complete_but_ends_its_group() {
    let found = naps().find_map(|nap| {
        let runner = three([nap, SHORT, SHORT]);
        let mut running = runner.started(&["exec", "set", "--json", "-j", "3"]);
        running.wait_for_event(|event| event["event"] == "started");
        let [a, ..] = runs(&runner);
        wait_until("all trials are in flight, or one has ended", || {
            let attempts = a.in_flight(std::time::SystemTime::UNIX_EPOCH).len();
            attempts == 3 || !a.rows().is_empty()
        });
        let drained = runner.run(&["stop", "--drain", &group(&runner)]);
        let ran = running.finish();
        // On a slow machine, the request may come too late for the first run.
        let is_in_time = ran.code != Some(0) && standing(&runs(&runner)[1])[2] == "waiting";
        is_in_time.then_some((runner, drained, ran))
    });
    let (runner, drained, ran) = found.expect("16 s are enough");
    drained.expect(0);
    ran.expect(4);
    let [a, b, c] = runs(&runner);
    assert_eq!(a.ending()[0], "completed");
    for run in [b, c] {
        assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);
    }
}

#[test]
fn killed_group_is_incomplete_and_resumable() {
    let runner = killed_in_the_second(Duration::ZERO);
    let [a, b, c] = runs(&runner);
    assert_eq!(listed(&runner, a.id()), "completed");
    assert_eq!(listed(&runner, b.id()), "incomplete");
    assert_eq!(listed(&runner, c.id()), "incomplete");
    let shown = runner.show(&c);
    assert_eq!(
        (&shown["run"]["reason"], &shown["run"]["stage"]),
        (&json!("crashed"), &json!("waiting"))
    );
    runner.run(&["wait", &group(&runner)]).expect(4);
    assert_resumes(&runner);
}

#[test]
fn detached_group_is_followed_by_its_id() {
    let runner = three([SHORT; 3]);
    let ran = runner.run(&["exec", "set", "--detach"]).expect(0);
    let id = ran.stdout.trim_end().to_owned();
    let ran = runner.run(&["wait", &id, "--json"]).expect(0);
    let events = ran.events();
    let finished = events.iter().filter(|event| event["event"] == "finished").count();
    assert_eq!(finished, 3);
    assert_eq!(group(&runner), id);
    for run in runs(&runner) {
        assert!(run.text("runner.log").contains("the run is completed"));
    }
    // A group can be resumed in the background and waited for as a whole.
    let found = naps().skip(1).find_map(|nap| {
        let runner = killed_in_the_second(nap);
        let id = group(&runner);
        let begun = runner.run(&["resume", &id, "--detach", "-j", "3"]).expect(0);
        assert_eq!(begun.stdout.trim_end(), id);
        let other = runner.run(&["resume", &id]);
        // On a slow machine, the group may have ended before.
        (other.code != Some(0)).then_some((runner, id, other))
    });
    let (runner, id, other) = found.expect("16 s are enough");
    other.expect(6).says(&["is held by process"]);
    runner.run(&["wait", &id]).expect(0);
    assert!(runs(&runner).iter().all(|run| standing(run)[0] == "completed"));
    // A killed group is crashed as a whole.
    let runner = three([SHORT, ENDLESS, SHORT]);
    let id = runner.run(&["exec", "set", "--detach"]).expect(0).stdout;
    let id = id.trim_end();
    let [a, _, c] = runs(&runner);
    runner.run(&["wait", a.id()]).expect(0);
    Worked::on(&c).0.signal(Signal::KILL);
    runner.run(&["wait", id]).expect(4);
    assert_consistent(&runner);
}

#[test]
fn only_stopped_group_is_resumed_and_cancelled() {
    let mut transcript = Transcript::default();
    let runner = second_waits();
    in_the_second(&runner).end_by(Signal::INT).0.expect(130);
    let id = group(&runner);
    // Without a name, `resume` takes the group, and prints so.
    let planned = runner.run(&["resume", "--dry-run"]).expect(0);
    snapshot(&planned);
    planned.says(&[&id]);
    let ran = runner.run(&["resume", "-j", "3"]).expect(0);
    snapshot(&ran);
    ran.says(&[&id]);
    for run in runs(&runner) {
        assert_eq!(standing(&run), ["completed", "", "finish"]);
    }
    transcript.run(&runner, &["resume"]).expect(2);
    transcript.run(&runner, &["cancel", &id]).expect(2);

    // An incomplete group is cancelled as a whole, with its runs that had ended incomplete.
    let runner = three([SHORT, ENDLESS, SHORT]);
    in_the_second(&runner).kill();
    let (id, [a, b, c]) = (group(&runner), runs(&runner));
    runner.run(&["cancel", &id, "--reason", "no use"]).expect(0);
    assert_eq!(standing(&a)[0], "completed");
    for run in [&b, &c] {
        assert_eq!(run.ending(), ["cancelled", "cancelled", "", "none"]);
    }
    assert!(b.text("benchmark.json").contains("no use"));
    runner.run(&["resume"]).expect(2);
    transcript.run(&runner, &["resume", &id]).expect(2);
    // Cancelling twice is allowed. Without a name, `resume` takes a run outside of the group.
    runner.run(&["cancel", &id]).expect(0);
    let mut single = runner.started(&["exec", "set/b.toml", "--json"]);
    single.wait_for_event(|event| event["event"] == "started");
    single.end_by(Signal::INT).0.expect(130);
    transcript.run(&runner, &["resume", "--dry-run"]).expect(0);
    transcript.check("only_stopped_group_is_resumed_and_cancelled");
}

#[test]
fn cancelled_group_leaves_no_run_waiting() {
    let runner = three([SHORT, ENDLESS, SHORT]);
    let running = in_the_second(&runner);
    let id = group(&runner);
    runner.run(&["cancel", &id]).expect(0);
    let [a, b, c] = runs(&runner);
    // Both files exist once the command has ended.
    assert_eq!(standing(&a)[0], "completed");
    assert_eq!([standing(&b)[0].as_str(), standing(&c)[0].as_str()], ["cancelled"; 2]);
    running.finish().expect(4);
}

#[test]
fn rerun_of_a_group_means_some_run() {
    let runner = three([SHORT; 3]);
    let other = sleeping("b", 3, SHORT).replace("hostile.wasm", "../hostile.wasm");
    runner.write("set/b.toml", other.replace("\"nap\"", "\"other\""));
    runner.run(&["exec", "set"]).expect(0);
    let id = group(&runner);
    let preview = ["resume", &id, "--rerun", "other*", "--dry-run"];
    snapshot(&runner.run(&preview).expect(0));
    let again = runner.run(&["resume", &id, "--rerun", "other*"]).expect(0);
    assert!(!again.stderr.contains("matches no trial"), "{again:?}");
    let sessions = runs(&runner).map(|run| run.manifest()["sessions"].as_array().unwrap().len());
    assert_eq!(sessions, [1, 2, 1]);
    for (which, code) in [("nothing", 5), ("failed", 5), ("faild", 2)] {
        snapshot(&runner.run(&["resume", &id, "--rerun", which]).expect(code));
    }
}

#[test]
fn failures_of_a_group_are_shown_together() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&["hostile"]);
    std::fs::create_dir(runner.path("set")).unwrap();
    for name in ["a", "b"] {
        let text = format!(
            r#"
            name = "{name}"
            [providers.hostile]
            plugin = "../hostile.wasm"
            [[tests]]
            id = "breaks-{name}"
            input = {{ do = "trap" }}
            "#
        );
        runner.write(&format!("set/{name}.toml"), text);
    }
    let ran = runner.run(&["exec", "set"]).expect(1);
    let id = runner.list()[0]["group"]["id"].as_str().unwrap().to_owned();
    let short = &id[id.len() - 8..];
    let end = [
        "failed: ✗ error a: breaks-a@hostile#1, b: breaks-b@hostile#1 the guest trapped".to_owned(),
        "✗ failed: 2 of 2 (2 errors) in".to_owned(),
        format!("see why: runner show {short} --failed"),
        format!("run them again: runner resume {short} --rerun failed"),
    ];
    let end = end.each_ref().map(String::as_str);
    ran.says(&end);
    assert_eq!(ran.stdout.matches("failed:\n").count(), 1, "{}", ran.stdout);
    runner.run(&["show", &id]).expect(0).says(&end);
    transcript.run(&runner, &["show", &id, "--failed"]).expect(0);
    transcript.run(&runner, &["logs", &id, "--json"]).expect(2);
    transcript.check("failures_of_a_group_are_shown_together");
}

#[test]
fn runs_of_a_group_have_their_own_start() {
    let runner = three([SHORT, ENDLESS, SHORT]);
    let running = in_the_second(&runner);
    let [a, b, c] = runs(&runner);
    let id = group(&runner);
    let listed = runner.run(&["list", "--json"]).expect(0).document();
    let started = |run: &Run| {
        let mut listed = listed["runs"].as_array().unwrap().iter();
        let listed = listed.find(|listed| listed["run"] == run.id()).unwrap();
        listed["started_at"].as_str().unwrap().to_owned()
    };
    assert!(started(&a) < started(&b), "{listed}");
    for args in [&["list"][..], &["show", &id]] {
        let shown = runner.run(args).expect(0).stdout;
        let waiting = shown.lines().find(|line| line.contains(c.id())).unwrap();
        let (_, cells) = waiting.split_once(c.id()).unwrap();
        // The id of a group may start with any digits.
        let month = &c.id()[..8];
        assert_eq!((cells.matches('–').count(), cells.contains(month)), (3, false), "{shown}");
    }
    running.end_by(Signal::INT).0.expect(130);
}
