//! What graders have answered is kept while others have still to be asked of the same trial.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use crate::support::{
    runner::{CommandExt as _, Run, Runner},
    server::{Response, Server},
    wait::wait_until,
};

/// Two judges, of whom the second may be slow, and a provider that gives back its input.
struct TwoJudges {
    server: Server,
    is_slow: Arc<AtomicBool>,
    runner: Runner,
}

impl TwoJudges {
    fn new() -> Self {
        let is_slow = Arc::new(AtomicBool::new(true));
        let slow = Arc::clone(&is_slow);
        let server = Server::start(move |request| {
            while request.path.starts_with("/second") && slow.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            let message = json!({"role": "assistant", "content": "{\"score\": 0.75}"});
            let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
            let usage = json!({"total_tokens": 10});
            let body = json!({"object": "chat.completion", "choices": [choice], "usage": usage});
            Response::ok(body.to_string()).header("content-type", "application/json")
        });
        Self {
            server,
            is_slow,
            runner: Runner::new(&["echo", "chat_provider"]),
        }
    }

    fn asked(&self, judge: &str) -> usize {
        let requests = self.server.requests();
        let path = format!("/{judge}");
        let of = requests
            .iter()
            .filter(|request| request.path.starts_with(&path));
        of.count()
    }

    fn let_second_answer(&self) {
        self.is_slow.store(false, Ordering::SeqCst);
    }

    fn write_scenario(&self, tests: usize, model: &str, graders: &str) {
        let origin = self.server.origin();
        let judge = |name: &str| {
            format!(
                "[graders.{name}]\nplugin = \"chat_provider.wasm\"\nmin_score = 0.5\ninput = \"{{{{output}}}}\"\n\
                 config = {{ base_url = \"{origin}/{name}\", model = \"{model}\", api_key_secret = \"\" }}\n\
                 grants = {{ net = [\"{origin}\"] }}\n"
            )
        };
        let tests: String = (0..tests)
            .map(|test| {
                format!("[[tests]]\nid = \"t{test}\"\ninput = \"hi {test}\"\nexpect = {{ graders = {graders} }}\n")
            })
            .collect();
        self.runner.scenario(&format!(
            "[providers.echo]\nplugin = \"echo.wasm\"\n{}{}{tests}",
            judge("first"),
            judge("second")
        ));
    }

    /// How many tokens are used up, as the runner counts them when it goes on with one test more.
    fn spent(&self, tests: usize, model: &str) -> String {
        self.write_scenario(tests + 1, model, BOTH);
        let resume = [
            "resume",
            "--from",
            "latest",
            "--accept-changes",
            "--dry-run",
        ];
        let budgets = ["--budget", "total_tokens=1"];
        let refused = self.runner.run(&[&resume[..], &budgets].concat()).expect(2);
        let (_, spent) = refused.stderr.split_once("is used up: ").unwrap();
        spent.split_whitespace().next().unwrap().to_owned()
    }
}

const BOTH: &str = "[\"first\", \"second\"]";

fn judgements(run: &Run) -> Vec<Value> {
    let index = run.read("index.jsonl");
    let lines = index
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line.get("kind").is_some()).collect()
}

#[test]
fn after_a_death_between_two_graders_only_the_second_is_asked_and_the_first_has_cost_once() {
    let judges = TwoJudges::new();
    judges.write_scenario(3, "m", BOTH);
    let live = judges.runner.start(&["-j", "4"]);
    wait_until("the second judge is asked", || judges.asked("second") == 3);
    live.kill();

    // All that the first one said is there, and settles nothing.
    let run = judges.runner.only_run();
    let kept = judgements(&run);
    assert_eq!(kept.len(), 3, "{kept:#?}");
    for line in &kept {
        assert_eq!(
            (&line["outcome"], &line["final"]),
            (&json!("ungraded"), &json!(false))
        );
        let grades = line["grades"].as_array().unwrap();
        assert_eq!((grades.len(), &grades[0]["score"]), (1, &json!(0.75)));
    }
    let shown = judges.runner.run(&["show", "latest", "t0@echo"]).expect(0);
    shown.prints("first");
    let shown = judges.runner.run(&["show"]).expect(0).stdout;
    assert!(shown.contains("(graded by second)"), "{shown}");
    let rows = judges.runner.run(&["show", "--json"]).expect(0);
    let rows = rows.document()["rows"].clone();
    judges.runner.assert_valid("row", &run.lines());
    assert_eq!(rows.as_array().unwrap().len(), 3, "{rows:#}");
    assert_eq!(rows[0]["outcome"], "ungraded");

    judges.let_second_answer();
    judges.runner.run(&["resume"]).expect(0);
    assert_eq!((judges.asked("first"), judges.asked("second")), (3, 6));
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    let all = judgements(&run);
    assert_eq!(all.len(), 6, "{all:#?}");
    for line in &all[3..] {
        assert_eq!(line["outcome"], "passed");
        // It reads as if nobody had died.
        assert_eq!(
            (&line["grades"][0]["kept"], &line["grades"][1]["kept"]),
            (&Value::Null, &Value::Null)
        );
    }
    judges.runner.run(&["verify"]).expect(0);
    let history = judges.runner.run(&["show", "--history"]).expect(0).stdout;
    assert!(!history.contains("ungraded → ungraded"), "{history}");
    // Three answers of each: those of the second that the death cut off were never heard.
    assert_eq!(judges.spent(3, "m"), "60");
}

#[test]
fn what_two_graders_cost_counts_once_although_it_is_written_down_twice() {
    let judges = TwoJudges::new();
    judges.let_second_answer();
    judges.write_scenario(2, "m", BOTH);
    let ran = judges.runner.exec(&["--json"]).expect(0);
    let run = judges.runner.only_run();
    let parts = judgements(&run);
    let outcomes: Vec<_> = parts.iter().map(|line| line["outcome"].clone()).collect();
    let count = |word: &str| outcomes.iter().filter(|outcome| **outcome == word).count();
    assert_eq!((count("ungraded"), count("passed")), (2, 2), "{parts:#?}");
    assert!(parts.iter().all(|line| line["grades"][0]["kept"].is_null()));
    // Nobody who follows hears of a part.
    let events = ran.events();
    judges.runner.assert_valid("events", &events);
    let rows = events.iter().filter(|event| event["row"].is_object());
    assert_eq!(rows.count(), 4);
    judges.runner.run(&["verify"]).expect(0);
    assert_eq!(judges.spent(2, "m"), "40");
}

#[test]
fn a_rescore_that_dies_between_two_graders_asks_only_the_second_again() {
    let judges = TwoJudges::new();
    judges.let_second_answer();
    judges.write_scenario(2, "m", BOTH);
    judges.runner.exec(&[]).expect(0);
    let run = judges.runner.only_run();

    judges.is_slow.store(true, Ordering::SeqCst);
    judges.write_scenario(2, "another", BOTH);
    let told = judges.runner.run(&["rescore", "--dry-run"]).expect(0);
    let first = "graders would be asked of 2 trials by scenario.toml\n";
    assert!(told.stdout.starts_with(first), "{}", told.stdout);
    let live = judges.runner.command(&["rescore"]).start();
    wait_until("the second judge is asked", || judges.asked("second") == 4);
    live.kill();
    // What has settled the trials still does.
    let rows = judges.runner.run(&["show", "--json"]).expect(0);
    assert_eq!(rows.document()["rows"][0]["outcome"], "passed");

    judges.let_second_answer();
    judges.runner.run(&["rescore"]).expect(0);
    assert_eq!((judges.asked("first"), judges.asked("second")), (4, 6));
    let kept = judgements(&run);
    assert_eq!(kept.last().unwrap()["outcome"], "passed");
    judges.runner.run(&["verify"]).expect(0);
    let again = judges
        .runner
        .run(&["rescore", "--json"])
        .expect(0)
        .document();
    assert_eq!(again["rescored"]["unchanged"], 2, "{again:#}");
    assert_eq!(judges.spent(2, "another"), "80");
}
