//! `runner rescore` with graders: stored outputs are graded again, and no provider runs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{
    random::{Random, seed},
    runner::{CommandExt as _, Run, Runner},
    server::{Response, Server},
    wait::wait_until,
};

fn lines_of(run: &Run, is_judgement: bool) -> Vec<Value> {
    let index = run.read("index.jsonl");
    let lines = index
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .filter(|line| line.get("kind").is_some() == is_judgement)
        .collect()
}

/// A server with a model and two judges, which counts what each was asked. A judge that is to wait answers nobody.
struct Judges {
    server: Server,
    waits: Arc<AtomicBool>,
}

impl Judges {
    fn new() -> Self {
        let waits = Arc::new(AtomicBool::new(false));
        let waiting = Arc::clone(&waits);
        let server = Server::start(move |request| {
            if request.path.starts_with("/model") {
                return completion("hello");
            }
            while waiting.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            completion(r#"{"score": 0.6, "explanation": "it greets"}"#)
        });
        Self { server, waits }
    }

    fn asked(&self, path: &str) -> usize {
        let requests = self.server.requests();
        let of = requests
            .iter()
            .filter(|request| request.path.starts_with(path));
        of.count()
    }

    /// A model whose outputs are judged as `expect` says.
    fn scenario(&self, judge: &str, tests: u32, expect: &str) -> String {
        let origin = self.server.origin();
        let plugin = |path: &str| {
            format!(
                "plugin = \"chat_provider.wasm\"\nconfig = {{ base_url = \"{origin}/{path}\", model = \"m\", api_key_secret = \"\" }}\n\
                 grants = {{ net = [\"{origin}\"] }}\n"
            )
        };
        let tests: String = (0..tests)
            .map(|test| {
                format!("[[tests]]\nid = \"t{test}\"\ninput = \"hi {test}\"\nexpect = {expect}\n")
            })
            .collect();
        format!(
            "[providers.model]\n{}[graders.judge]\n{judge}\n{}input = \"{{{{output}}}}\"\n\
             [graders.second]\n{}input = \"{{{{output}}}} {{{{test}}}}\"\nmin_score = 0.5\n{tests}",
            plugin("model"),
            plugin("judge"),
            plugin("second"),
        )
    }
}

fn completion(text: &str) -> Response {
    let message = json!({"role": "assistant", "content": text});
    let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
    let body =
        json!({"object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 10}});
    Response::ok(body.to_string()).header("content-type", "application/json")
}

const ONE: &str = "{ graders = [\"judge\"] }";
const BOTH: &str = "{ graders = [\"judge\", \"second\"] }";

#[test]
fn graders_are_asked_of_stored_outputs_and_what_they_have_answered_is_not_asked_again() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    let half = "min_score = 0.5";
    runner.scenario(&judges.scenario(half, 3, ONE));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!((judges.asked("/model"), judges.asked("/judge")), (3, 3));

    // Nothing has changed.
    let again = runner.run(&["rescore", "--json"]).expect(0).document();
    assert_eq!(again["rescored"]["unchanged"], 3, "{again:#}");
    // Another least score is another judgement, by the same answers.
    runner.scenario(&judges.scenario("min_score = 0.9", 3, ONE));
    let strict = runner.run(&["rescore", "--json"]).expect(1).document();
    assert_eq!(strict["rescored"]["regressed"], 3, "{strict:#}");
    assert_eq!(judges.asked("/judge"), 3);
    let grade = &lines_of(&run, true)[3]["grades"][0];
    assert_eq!(
        (&grade["kept"], &grade["verdict"], &grade["least"]),
        (&json!(true), &json!("fail"), &json!(0.9))
    );

    // One more grader is asked alone.
    runner.scenario(&judges.scenario(half, 3, BOTH));
    let before = run.read("index.jsonl");
    let dry = runner.run(&["rescore", "--dry-run", "--json"]).expect(0);
    let dry = dry.document();
    runner.assert_valid("rescore", std::slice::from_ref(&dry));
    assert_eq!(dry["rescored"]["ungraded"], 3, "{dry:#}");
    assert_eq!(dry["ungraded"][1]["graders"], json!(["second"]));
    let none = runner
        .run(&["rescore", "--no-graders", "--json"])
        .expect(1)
        .document();
    assert_eq!(none["rescored"]["kept"], 3, "{none:#}");
    assert_eq!(judges.asked("/second"), 0);
    assert_eq!(run.read("index.jsonl"), before);
    let done = runner
        .run(&["rescore", "--json", "-E", "test(t1)"])
        .expect(1)
        .document();
    assert_eq!(done["rescored"]["fixed"], 1, "{done:#}");
    let done = runner.run(&["rescore", "--json"]).expect(0).document();
    runner.assert_valid("rescore", std::slice::from_ref(&done));
    assert_eq!(
        (&done["rescored"]["fixed"], &done["rescored"]["unchanged"]),
        (&json!(2), &json!(1)),
        "{done:#}"
    );
    assert_eq!(done["after"]["passed"], 3);
    assert_eq!(
        (judges.asked("/model"), judges.asked("/judge")),
        (3, 3),
        "no provider runs, and who has answered is not asked again"
    );
    assert_eq!(judges.asked("/second"), 3);
    assert!(run.read("index.jsonl").starts_with(&before));
    assert_eq!(lines_of(&run, false).len(), 3);
    runner.assert_valid("row", &run.lines());
    runner.assert_valid("benchmark", &[run.manifest()]);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    runner.run(&["verify"]).expect(0);

    let history = runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(history.contains("then failed"), "{history}");
    let page = runner.run(&["show", "latest", "t1"]).expect(0);
    page.says(&[]);
    for text in [
        "judge: pass, score 0.6 of at least 0.5",
        "kept from an earlier judgement",
        "it greets",
    ] {
        assert!(page.stdout.contains(text), "{text}\n{}", page.stdout);
    }
}

#[test]
fn a_rescore_that_is_killed_or_stopped_goes_on_where_it_was() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    let slow = "concurrency = 1\nmin_score = 0.5";
    runner.scenario(&judges.scenario(slow, 5, "{ contains = \"hello\" }"));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.scenario(&judges.scenario(slow, 5, ONE));
    judges.waits.store(true, Ordering::SeqCst);
    let rescore = ["rescore", "--json"];

    let killed = runner.command(&rescore).start();
    wait_until("the judge is asked", || judges.asked("/judge") == 1);
    killed.kill();
    assert_eq!(lines_of(&run, true).len(), 0);

    let stopped = runner.command(&rescore).start();
    wait_until("the judge is asked again", || judges.asked("/judge") == 2);
    runner.run(&["stop", "latest"]).expect(0);
    let ran = stopped.finish().expect(4);
    let report = ran.document();
    assert_eq!(report["rescored"]["ungraded"], 5, "{report:#}");
    assert_eq!(run.ending(), ["incomplete", "stopped", "", "none"]);

    judges.waits.store(false, Ordering::SeqCst);
    let done = runner.run(&rescore).expect(0).document();
    assert_eq!(done["rescored"]["same"], 5, "{done:#}");
    assert_eq!(
        (judges.asked("/model"), lines_of(&run, false).len()),
        (5, 5)
    );
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    let again = runner.run(&rescore).expect(0).document();
    assert_eq!(again["rescored"]["unchanged"], 5, "{again:#}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn what_a_stopped_run_has_left_ungraded_is_graded_and_what_it_has_not_run_is_left() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    runner.scenario(&judges.scenario("min_score = 0.5", 2, ONE));
    judges.waits.store(true, Ordering::SeqCst);
    let live = runner.start(&[]);
    wait_until("the judge is asked", || judges.asked("/judge") == 2);
    live.kill();
    judges.waits.store(false, Ordering::SeqCst);
    let run = runner.only_run();
    run.keep_rows(1);
    let done = runner.run(&["rescore", "--json"]).expect(4).document();
    assert_eq!(done["rescored"]["other"], 1, "{done:#}");
    assert_eq!(run.ending()[..2], ["incomplete", "crashed"]);
    assert_eq!(judges.asked("/model"), 2);
    runner.run(&["resume"]).expect(0);
    assert_eq!((judges.asked("/model"), judges.asked("/judge")), (3, 4));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn a_grader_that_gave_no_answer_is_asked_again_and_one_that_cannot_be_planned_is_an_error() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let server = Server::start(|request| match request.path.starts_with("/model") {
        true => completion("hello"),
        false if ASKED.fetch_add(1, Ordering::SeqCst) == 0 => completion("I do not know"),
        false => completion(r#"{"verdict": "pass"}"#),
    });
    let judges = Judges {
        server,
        waits: Arc::default(),
    };
    let runner = Runner::new(&["chat_provider"]);
    let text = judges.scenario("", 1, ONE);
    runner.scenario(&text);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    assert_eq!(run.manifest()["counts"]["error"], 1);
    let other = text.replacen(
        "[graders.judge]",
        "[graders.judge]\nbudget = { metrics = { total_tokens = 5 } }",
        1,
    );
    runner.scenario(&other);
    let refused = runner.run(&["rescore"]).expect(2);
    refused.says(&["the budget of `total_tokens` of grader `judge` is used up"]);
    runner.scenario(&text);
    let done = runner.run(&["rescore", "--json"]).expect(0).document();
    assert_eq!(done["rescored"]["fixed"], 1, "{done:#}");
    assert_eq!(judges.asked("/model"), 1);

    let gone = text.replacen(
        "[graders.judge]\n\nplugin = \"chat_provider.wasm\"",
        "[graders.judge]\nplugin = \"gone.wasm\"",
        1,
    );
    assert_ne!(gone, text);
    runner.scenario(&gone);
    runner.run(&["rescore"]).expect(2).says(&["gone.wasm"]);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn adopted_graders_judge_what_is_stored_and_only_what_is_executed_otherwise_runs() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    let text = judges.scenario("min_score = 0.5", 3, ONE);
    runner.scenario(&text);
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let changed = judges.scenario("min_score = 0.5", 3, BOTH);
    runner.scenario(&changed.replace("hi 2", "hello 2"));
    let resume = ["resume", "--from", "latest", "--accept-changes"];
    runner.run(&resume).expect(0).says(&[
        "of 2 trials only what is expected has changed",
        "1 trial changed, 0 added",
        "passed: 3 of 3",
    ]);
    assert_eq!(
        (
            judges.asked("/model"),
            judges.asked("/judge"),
            judges.asked("/second")
        ),
        (4, 4, 3),
        "one trial runs again, and of the others only the new grader is asked"
    );
    let index = run.read("index.jsonl");
    runner.run(&resume).expect(0).says(&["nothing has changed"]);
    assert_eq!(run.read("index.jsonl"), index);
    runner.run(&["verify"]).expect(0);
}

#[test]
fn what_is_executed_otherwise_runs_again_although_it_was_yet_to_be_graded() {
    let judges = Judges::new();
    judges.waits.store(true, Ordering::SeqCst);
    let runner = Runner::new(&["chat_provider"]);
    let text = judges.scenario("min_score = 0.5", 2, ONE);
    runner.scenario(&text);
    let live = runner.start(&[]);
    wait_until("the judge is asked of both", || judges.asked("/judge") == 2);
    live.kill();
    judges.waits.store(false, Ordering::SeqCst);
    runner.scenario(&text.replace("hi 1", "hello 1"));
    let resume = ["resume", "--from", "latest", "--accept-changes"];
    let foreseen = runner.run(&[&resume[..], &["--dry-run"]].concat());
    assert!(foreseen.expect(0).stdout.contains("t1@model#1"));
    runner.run(&resume).expect(0);
    assert_eq!((judges.asked("/model"), judges.asked("/judge")), (3, 4));
    let run = runner.only_run();
    let attempts = lines_of(&run, false);
    let again: Vec<_> = attempts.iter().map(|line| &line["trial"]).collect();
    assert_eq!(again[2], "t1@model#1", "{attempts:#?}");
    let judged = lines_of(&run, true);
    let of: Vec<_> = judged.iter().map(|line| &line["of"]).collect();
    assert_eq!(of.len(), 2);
    assert!(of.contains(&&attempts[2]["seq"]), "{judged:#?}");
    runner.run(&["verify"]).expect(0);
}

#[test]
fn whoever_is_stopped_is_told_what_was_executed_and_not_yet_graded() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    runner.scenario(&judges.scenario("min_score = 0.5", 2, ONE));
    judges.waits.store(true, Ordering::SeqCst);
    let live = runner.command(&["exec", "scenario.toml"]).start();
    wait_until("the judge is asked", || judges.asked("/judge") == 2);
    runner.run(&["stop", "latest"]).expect(0);
    let told = live.finish().expect(4);
    told.says(&["0 of 2 done, executed and not yet graded: 2"]);
}

#[test]
fn who_only_asks_what_would_be_judged_changes_no_file_of_the_run() {
    let judges = Judges::new();
    let runner = Runner::new(&["chat_provider"]);
    runner.scenario(&judges.scenario("min_score = 0.5", 2, ONE));
    runner.exec(&[]).expect(0);
    let dir = runner.only_run().dir;
    let files = || {
        let entries = walkdir::WalkDir::new(&dir).sort_by_file_name();
        let entries = entries.into_iter().map(Result::unwrap);
        let told = entries.map(|entry| {
            let meta = entry.metadata().unwrap();
            (
                entry.path().to_owned(),
                meta.len(),
                meta.modified().unwrap(),
            )
        });
        told.collect::<Vec<_>>()
    };
    let before = files();
    runner.scenario(&judges.scenario("min_score = 0.5", 2, BOTH));
    let told = runner.run(&["rescore", "--dry-run"]).expect(0);
    assert!(told.stdout.contains("to be graded 2"), "{told:?}");
    assert!(
        told.stdout.contains("  t1@model#1  passed  second"),
        "{told:?}"
    );
    assert_eq!(files(), before);
    assert_eq!(judges.asked("/second"), 0);
}

/// How often the model was asked for a test.
fn executed(judges: &Judges, test: u32) -> usize {
    let message = format!("hi {test}\"");
    let requests = judges.server.requests();
    let of = requests.iter().filter(|request| {
        let body = String::from_utf8_lossy(&request.body);
        request.path.starts_with("/model") && body.contains(&message)
    });
    of.count()
}

/// Whatever dies when: an execution that is on disk is the last one of its trial.
#[test]
fn a_resume_never_runs_a_provider_whose_execution_is_on_disk() {
    const TESTS: u32 = 6;
    let mut random = Random(seed());
    for round in 0..3 {
        let judges = Judges::new();
        let runner = Runner::new(&["chat_provider"]);
        let bounds = "concurrency = 2\nmin_score = 0.5";
        runner.scenario(&judges.scenario(bounds, TESTS, BOTH));
        let begun = ["exec", "scenario.toml", "--json", "-j2"];
        let resume = ["resume", "--from", "latest", "--json"];
        let mut live = runner.command(&begun).start();
        live.wait_for(|event| event["event"] == "row");
        for _ in 0..4 {
            std::thread::sleep(random.up_to(Duration::from_millis(150)));
            live.kill();
            // The last line may be torn.
            let index = runner.only_run().read("index.jsonl");
            let lines = index
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            let rows: Vec<Value> = lines
                .filter(|line: &Value| line.get("kind").is_none())
                .collect();
            let is_executed = |test: &u32| {
                let trial = format!("t{test}@model#1");
                let mut of = rows.iter().filter(|row| row["trial"] == *trial);
                of.any(|row| row["outcome"] == "ungraded")
            };
            let on_disk = (0..TESTS).filter(is_executed);
            let on_disk: Vec<_> = on_disk
                .map(|test| (test, executed(&judges, test)))
                .collect();
            assert!(!on_disk.is_empty());
            // As far as it comes: the next one dies, too.
            live = runner.command(&resume).start();
            std::thread::sleep(random.up_to(Duration::from_millis(400)));
            for (test, before) in on_disk {
                assert_eq!(
                    executed(&judges, test),
                    before,
                    "round {round}, test {test}"
                );
            }
        }
        live.kill();
        runner.run(&resume).expect(0);
        let run = runner.only_run();
        assert_eq!(run.manifest()["counts"]["passed"], TESTS);
        let executions: Vec<_> = lines_of(&run, false)
            .into_iter()
            .filter(|row| row["outcome"] == "ungraded")
            .map(|row| row["trial"].clone())
            .collect();
        assert_eq!(executions.len(), TESTS as usize, "{executions:?}");
        runner.run(&["verify"]).expect(0);
    }
}
