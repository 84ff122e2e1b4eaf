//! The page of a trial: its earlier results, other providers, attempts, and parts for other programs.

use std::{fs, os::unix::fs::symlink};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    run::sealed,
    runner::{Runner, tests},
};

#[test]
fn page_has_results_of_earlier_runs() {
    let runner = Runner::hostile("");
    let with = |value: u32| {
        let tests = tests(&format!("a | {{ do = \"echo\", value = {value} }} | equals = 1"));
        runner.scenario(&format!("[providers.hostile]\nplugin = \"hostile.wasm\"\n{tests}"));
    };
    with(1);
    runner.exec(&[]).expect(0);
    let first = runner.run(&["show", "latest", "a"]).expect(0);
    assert!(!first.stdout.contains("history"), "{}", first.stdout);
    runner.exec(&[]).expect(0);
    with(2);
    runner.exec(&[]).expect(1);
    runner.exec(&[]).expect(1);
    let changed = &runner.runs()[2];
    let (_, short) = changed.id().rsplit_once('-').unwrap();
    let ran = runner.run(&["show", "latest", "a"]).expect(0);
    snapshot(&ran);
    ran.says(&[&format!("failed since run {short}, 20")]);
    let page = runner.run(&["show", "latest", "a", "--json"]).expect(0).document();
    let history = page["history"].as_array().unwrap();
    let outcomes: Vec<_> = history.iter().map(|one| one["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["passed", "passed", "failed", "failed"]);
    assert_eq!(history[2]["run"], changed.id());
    // A row that this runner cannot read may be the newest one.
    let other = sealed("{\"v\":3,\"trial\":\"a@hostile#1\",\"crc\":");
    changed.write("index.jsonl", changed.text("index.jsonl") + &other + "\n");
    let page = runner.run(&["show", "latest", "a", "--json"]).expect(0).document();
    assert_eq!(page["history"].as_array().unwrap().len(), 3);
}

#[test]
fn page_has_the_newest_judgement_of_sorted_rows() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 2"));
    runner.exec(&[]).expect(1);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["rescore"]).expect(0);
    let (run, page) = (runner.only_run(), ["show", "latest", "a", "--attempt", "1"]);
    let before = runner.run(&page).expect(0);
    let text = run.text("index.jsonl");
    run.write(
        "index.jsonl",
        text.lines().rev().map(|line| format!("{line}\n")).collect::<String>(),
    );
    assert_eq!(runner.run(&page).expect(0).stdout, before.stdout);
}

#[test]
fn page_hides_no_failure_before_a_pass() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"fail-until\" }\n");
    runner.exec(&["--retries", "1"]).expect(0);
    runner.exec(&["--retries", "0"]).expect(1);
    runner.run(&["resume", "latest", "--rerun", "failed"]).expect(0);
    snapshot(&runner.run(&["show", "latest", "a"]).expect(0));
}

#[test]
fn page_leaves_running_runs_out() {
    let runner = Runner::endless(1, "wait-for-stop", "");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}{}", tests("z | { do = \"echo\", value = 1 } |")));
    for _ in 0..2 {
        let mut running = runner.start(&["-j", "2"]);
        running.wait_for_rows(1);
        let page = runner.run(&["show", runner.runs()[0].id(), "z", "--json"]).expect(0).document();
        assert_eq!(page["history"].as_array().unwrap().len(), 1);
        running.end_by(Signal::INT);
    }
}

#[test]
fn page_has_outputs_of_other_providers() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&format!(
        "[providers.one]\nplugin = \"hostile.wasm\"\n[providers.two]\nplugin = \"hostile.wasm\"\n{}",
        tests("a | { do = \"echo\", value = \"first\\nsecond \\u001b[31m\" } |\nb | { do = \"trap\" } |")
    ));
    runner.exec(&[]).expect(1);
    let ran = runner.run(&["show", "latest", "a@one"]).expect(0);
    snapshot(&ran);
    snapshot(&runner.run(&["show", "latest", "b@two"]).expect(0));
    let page = runner.run(&["show", "latest", "a@one", "--json"]).expect(0).document();
    assert_eq!(page["others"][0]["trial"], "a@two#1");
    let short = runner.list()[0]["short"].as_str().unwrap().to_owned();
    assert_eq!(page["reproduce"], format!("runner plugin run --from {short} --trial a@one#1"));
}

#[test]
fn attempts_are_shown_by_number() {
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 1 }\n[[tests]]\nid = \"a\"\ninput = { do = \"fail-until\" }\n",
    );
    runner.exec(&[]).expect(0);
    let page = |attempt: &[&str]| runner.run(&[&["show", "latest", "a"], attempt].concat());
    snapshot(&page(&[]).expect(0));
    let first = page(&["--attempt", "1"]).expect(0);
    assert!(first.stdout.starts_with("✗ error a@hostile#1"), "{}", first.stdout);
    let seq =
        |attempt| page(&["--json", "--attempt", attempt]).expect(0).document()["shown"].clone();
    assert_eq!([seq("1"), seq("2")], [json!(1), json!(2)]);
    snapshot(&page(&["--attempt", "3"]).expect(2));
    snapshot(&page(&["--attempt", "0"]).expect(2));
}

/// Creates a run of trials that leave texts, a file, and an output that is too large for a row.
fn with_parts() -> Runner {
    let runner = Runner::hostile(&tests(
        r#"
        file  | { do = "artifact", name = "output" }                   | contains = "x"
        text  | { do = "echo", value = "a\u001b[2J\n" }                |
        log   | { do = "log" }                                         |
        large | { do = "flood-artifacts", count = 20_000, bytes = 1 }  |
        "#,
    ));
    runner.exec(&[]).expect(1);
    runner
}

#[test]
fn parts_are_printed_as_they_are() {
    let runner = with_parts();
    let open = |test, name| runner.run(&["show", "latest", test, "--open", name]);
    let input: Value = serde_json::from_str(&open("file", "input").expect(0).stdout).unwrap();
    assert_eq!(input["do"], "artifact");
    let expected = open("file", "expected").expect(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&expected).unwrap(), json!({"contains": ["x"]}));
    // A file cannot pass for another part.
    assert_ne!(open("file", "output").expect(0).stdout, "one two");
    assert_eq!(open("file", "artifacts/output").expect(0).stdout, "one two");
    assert_eq!(open("text", "output").expect(0).stdout, "a\u{1b}[2J\n");
    snapshot(&open("log", "log").expect(0));
    let large = open("large", "output").expect(0).stdout;
    assert_eq!(serde_json::from_str::<Vec<Value>>(&large).unwrap().len(), 20_000);
    let missing = open("text", "nothing").expect(2);
    snapshot(&missing);
    snapshot(&runner.run(&["show", "latest", "o", "--open", "input"]).expect(2));
}

#[test]
fn damaged_file_is_found_by_verify() {
    let runner = with_parts();
    let run = runner.only_run();
    let digest = run.row("file")["artifacts"][0]["sha256"].as_str().unwrap().to_owned();
    run.write(&format!("artifacts/{}/{digest}", &digest[..2]), "other");
    let opened = runner.run(&["show", "latest", "file", "--open", "artifacts/output"]);
    let verify = format!("to find the trials to run again: runner verify {}", run.id());
    snapshot(&opened);
    opened.says(&[&verify]);
    let again = format!("runner resume {} --rerun file@hostile#1", run.id());
    let problem = "its artifact `output` is lost: its bytes do not match its name; to repair it: ";
    runner.run(&["verify"]).expect(1).says(&[problem, &again]);
}

#[test]
fn parts_are_saved_over_no_file() {
    let mut transcript = Transcript::default();
    let runner = with_parts();
    let save = |test, folder| runner.run(&["show", "latest", test, "--save", folder]);
    snapshot(&save("file", "parts").expect(0));
    assert_eq!(fs::read(runner.path("parts/artifacts/output")).unwrap(), b"one two");
    fs::write(runner.path("parts/input"), "own").unwrap();
    transcript.add("save text parts", &save("text", "parts").expect(2));
    assert_eq!(fs::read(runner.path("parts/input")).unwrap(), b"own");
    transcript.add("save text parts/input", &save("text", "parts/input").expect(2));
    fs::create_dir(runner.path("other")).unwrap();
    fs::write(runner.path("other/artifacts"), "own").unwrap();
    transcript.add("save file other", &save("file", "other").expect(2));
    symlink("nowhere", runner.path("link")).unwrap();
    transcript.add("save file link", &save("file", "link").expect(2));
    transcript.check("parts_are_saved_over_no_file");
}

#[test]
fn forged_names_of_files_stay_in_the_folder() {
    let runner = with_parts();
    let run = runner.only_run();
    let rows = run.text("index.jsonl");
    for name in ["../up", "/tmp/up", "..", "a/b"] {
        let own = r#""name":"output""#;
        let forged = rows.lines().map(|line| match line.contains(own) {
            true => sealed(&line.replace(own, &format!(r#""name":"{name}""#))) + "\n",
            false => format!("{line}\n"),
        });
        run.write("index.jsonl", forged.collect::<String>());
        let folder = format!("saved/{}", name.len());
        let page = runner.run(&["show", run.id(), "file", "--json"]).expect(0).document();
        assert_eq!(page["artifacts"][0]["name"], name);
        snapshot(&runner.run(&["show", run.id(), "file", "--save", &folder]).expect(0));
    }
    assert!(!runner.path("saved/up").exists() && !runner.path("up").exists());
}

#[test]
fn page_has_the_expectations_that_judged_the_row() {
    let mut transcript = Transcript::default();
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = "new" } | equals = "old""#));
    runner.exec(&[]).expect(1);
    let scenario = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    fs::write(runner.path("scenario.toml"), scenario.replace("\"old\"", "\"new\"")).unwrap();
    runner.run(&["rescore"]).expect(0);
    let page = transcript.run(&runner, &["show", "latest", "a"]).expect(0);
    let (_, texts) = page.stdout.split_once("\ninput\n").unwrap();
    assert!(!texts.contains("old"), "{texts}");
    let expected = |run: &str| {
        let ran = runner.run(&["show", run, "a", "--open", "expected"]).expect(0);
        serde_json::from_str::<Value>(&ran.stdout).unwrap()["equals"].clone()
    };
    assert_eq!(expected("latest"), "new");
    // The tests are as safe as those of the plan, also in a merged run.
    runner.exec(&["--shard", "1/1", "--into", "shards/one"]).expect(0);
    fs::write(runner.path("scenario.toml"), scenario.replace("\"old\"", "\"newer\"")).unwrap();
    runner.run(&["rescore", "shards/one"]).expect(1);
    runner.run(&["merge", "shards/one", "--into", "other/whole"]).expect(1);
    runner.run(&["prune", "--results", "other", "--keep-last", "9", "--yes"]).expect(0);
    assert_eq!(expected("other/whole"), "newer");
    transcript.run(&runner, &["verify", "other/whole"]).expect(0);
    transcript.check("page_has_the_expectations_that_judged_the_row");
}

#[test]
fn waiting_trial_names_its_next_attempt() {
    let runner = Runner::hostile(
        "[defaults]\nretries = { max = 1 }\n[[tests]]\nid = \"a\"\ninput = { do = \"fail-until\" }\n",
    );
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    let first = run.text("index.jsonl").lines().next().unwrap().to_owned() + "\n";
    run.write("index.jsonl", first);
    let page = runner.run(&["show", run.id(), "a"]).expect(0);
    snapshot(&page);
}
