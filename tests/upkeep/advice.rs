//! Commands that messages advise, which must work as they stand.

use std::os::unix::ffi::OsStrExt as _;
use std::{ffi::OsStr, fs};

use rustix::process::Signal;
use serde_json::Value;

use super::{ended, going_on, naps, short};
use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    guests::root,
    run::Run,
    runner::Runner,
    running::{Running, finished},
};

/// Returns the commands that an output advises.
fn advised(ran: &str) -> Vec<String> {
    let command = |line: &str| line[line.find("runner ")?..].split("` ").next().map(str::to_owned);
    ran.lines().filter_map(command).collect()
}

#[test]
fn advice_names_a_root_that_is_not_the_default() {
    let runner = naps(400, 100);
    let root = ["--results", "my runs"];
    let flag = " --results 'my runs'";
    let mut running = runner.start(&[&["-j", "2"], &root[..]].concat());
    running.wait_for_rows(1);
    running.end_by(Signal::INT).0.expect(130);
    let [run] = Run::all(&runner.path("my runs")).try_into().unwrap();
    let id = run.id();
    let says = |args: &[&str], advice: &[&str]| {
        let ran = runner.run(&[args, &root].concat());
        let advised = advised(&format!("{}{}", ran.stdout, ran.stderr));
        let expected: Vec<_> = advice.iter().map(|words| format!("runner {words}{flag}")).collect();
        assert_eq!(advised, expected, "{args:?}: {ran:?}");
    };
    let resume = format!("resume {}", short(&run));
    says(&["list"], &[&resume]);
    says(&["show"], &[&resume]);
    says(&["list", "--status", "failed"], &["list"]);
    says(&["stop"], &["list"]);
    // The root of a run that was named by its path counts.
    let shown = runner.run(&["show", run.dir.to_str().unwrap()]).expect(0);
    let real = runner.path("my runs").canonicalize().unwrap();
    shown.says(&[&format!("runner {resume} --results '{}'", real.display())]);
    let mut chosen = runner.command(&["list"]);
    let chosen = Running::start(chosen.env("RUNNER_RESULTS", "my runs")).finish().expect(0);
    assert_eq!(advised(&chosen.stderr), [format!("runner {resume}")]);

    let pinned = format!("unpin {id}");
    says(&["pin", id], &[]);
    says(&["prune", id, "--yes"], &[&pinned]);
    let rows = run.text("index.jsonl");
    run.write("index.jsonl", rows.replacen("passed", "pissed", 1));
    let again = format!("resume {id}");
    says(&["verify"], &[&again]);
    run.write("index.jsonl", rows);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("400", "300"));
    let accept = format!("resume {id} --accept-changes");
    says(&["resume", "--dry-run"], &[&accept]);
    fs::remove_dir_all(runner.path("my runs/store")).unwrap();
    says(&["resume", "--dry-run"], &[&accept]);
    says(&["cancel", id], &[]);
    let force = format!("resume {id} --force");
    says(&["resume", id], &[&force]);
    says(&["resume"], &["resume RUN --rerun failed"]);
    let dry = format!("resume {id} --dry-run");
    let into = runner.path("my runs").join(id);
    let into = ["exec", "scenario.toml", "--dry-run", "--into", into.to_str().unwrap()];
    let real = format!("runner {dry} --results '{}'", runner.path("my runs").display());
    runner.run(&into).expect(2).says(&[&real]);
}

#[test]
fn list_advises_a_budget_where_resume_needs_one() {
    let runner = Runner::hostile(
        "[run.budget]\nmetrics = { tokens = 1 }\n[[tests]]\nid = \"a\"\nrepeat = 9\ninput = { do = \"measure\", tokens = 1 }\n",
    );
    runner.exec(&["-j", "1"]).expect(4);
    for args in [["list"], ["show"]] {
        runner.run(&args).expect(0).says(&["--budget tokens=2"]);
    }
    let runner = Runner::hostile(
        "[graders.judge]\nplugin = \"hostile.wasm\"\nmin_score = 0.5\ninput = { do = \"measure\", score = 1, tokens = 2 }\n\
         budget = { metrics = { tokens = 1 } }\n\
         [[tests]]\nid = \"a\"\nrepeat = 9\ninput = { do = \"echo\" }\nexpect = { graders = [\"judge\"] }\n",
    );
    runner.exec(&["-j", "1"]).expect(4).says(&["--budget judge:tokens=3"]);
    runner.run(&["list"]).expect(0).says(&["--budget judge:tokens=3"]);
}

#[test]
fn shown_times_stand_still_in_a_pause() {
    let runner = naps(2, 3_000_000);
    let mut running = runner.start(&["-j", "1"]);
    running.wait_until_running(&runner, 1);
    runner.run(&["pause"]).expect(0);
    let now = || {
        let shown = runner.run(&["show"]).expect(0).stdout;
        let (_, now) = shown.split_once("1 attempt in flight\n").unwrap();
        now.lines().next().unwrap().to_owned()
    };
    let first = now();
    assert!(first.contains(" for "), "{first}");
    for _ in 0..3 {
        assert_eq!(now(), first);
    }
    running.kill();
}

#[test]
fn dead_run_advises_cleanup_of_its_root() {
    let runner = naps(400, 100);
    going_on(&runner).kill();
    let run = runner.only_run();
    fs::rename(runner.path("results"), runner.path("kept")).unwrap();
    snapshot(&runner.run(&["prune", run.id(), "--yes", "--results", "kept"]).expect(2));
}

#[test]
fn page_lists_all_states_of_runs() {
    let help = Runner::new(&[]).run(&["list", "--help"]).expect(0).stdout;
    let help: Vec<_> = help.split_whitespace().collect();
    let help = help.join(" ");
    let (_, words) = help.split_once("[possible values: ").unwrap();
    let page = fs::read_to_string(root().join("docs/outcomes.md")).unwrap();
    let (_, table) = page.split_once("## States of a run").unwrap();
    for word in words.split(']').next().unwrap().split(", ") {
        assert!(table.contains(&format!("`{word}`")), "{word}");
    }
}

#[test]
fn every_document_has_its_version() {
    let runner = naps(2, 1);
    for args in [
        &["exec", "scenario.toml", "--dry-run"][..],
        &["exec", "scenario.toml"],
        &["list"],
        &["show"],
        &["show", "latest", "nap@hostile#1"],
        &["wait"],
        &["verify"],
        &["cleanup"],
        &["prune"],
        &["stop", "latest"],
        &["resume", "--rerun", "all", "--dry-run"],
        &["resume", "--rerun", "all", "--explain"],
        &["plugin", "inspect", "bundled:echo"],
        &["plugin", "run", "bundled:echo"],
        &["plugin", "doctor"],
    ] {
        let ran = runner.run(&[args, &["--json"]].concat()).expect(0);
        let documents = serde_json::Deserializer::from_str(&ran.stdout).into_iter::<Value>();
        let versions: Vec<_> = documents.map(|document| document.unwrap()["v"].clone()).collect();
        assert!(!versions.is_empty() && versions.iter().all(|v| *v == 1), "{args:?}: {ran:?}");
    }
}

#[test]
fn missing_files_are_named_without_numbers() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    for args in [
        &["exec", "none.toml"][..],
        &["validate", "none.toml"],
        &["resume", "--secret-file", "none"],
        &["init", "file"],
    ] {
        runner.write("file", "");
        let ran = transcript.run(&runner, args).expect(2);
        assert!(!ran.stderr.contains("os error"), "{ran:?}");
    }
    transcript.check("missing_files_are_named_without_numbers");
}

#[test]
fn run_named_by_path_is_used_in_its_root() {
    let mut transcript = Transcript::default();
    let runner = naps(1, 1);
    runner.exec(&["--results", "kept"]).expect(0);
    let [run] = Run::all(&runner.path("kept")).try_into().unwrap();
    let path = run.dir.to_str().unwrap();
    transcript.run(&runner, &["show", path, "nap@hostile#1"]).expect(0);
    runner.run(&["pin", path]).expect(0);
    runner.run(&["unpin", path]).expect(0);
    runner.run(&["stop", path]).expect(0);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("repeat = 1", "repeat = 2"));
    runner.run(&["resume", path, "--rerun", "all", "--dry-run"]).expect(0);
    runner.run(&["resume", path, "--accept-changes"]).expect(0);
    assert_eq!(run.rows().len(), 2);
    transcript.run(&runner, &["verify", path]).expect(0);
    assert!(!runner.path("results").exists());
    runner.run(&["exec", "scenario.toml"]).expect(0);
    transcript.run(&runner, &["prune", path, "--yes"]).expect(2);
    transcript.check("run_named_by_path_is_used_in_its_root");
}

#[test]
fn advised_roots_work_with_any_bytes() {
    let runner = naps(1, 5);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    for (root, shown) in [(&b"-t"[..], "./-t"), (b"t\xff'", "$'t\\xff\\''")] {
        let flag = [b"--results=", root].concat();
        let flag = OsStr::from_bytes(&flag);
        let mut command = runner.command(&["exec", "scenario.toml"]);
        Running::start(command.arg(flag)).finish();
        let mut command = runner.command(&["list", "--status", "failed"]);
        let ran = Running::start(command.arg(flag)).finish().expect(0);
        ran.says(&[&format!("runner list --results {shown}")]);
        let mut command = runner.command(&["exec", "scenario.toml", "--timeout", "1ms"]);
        let ran = Running::start(command.arg(flag)).finish().expect(4);
        ran.says(&["results: ", &format!("--results {shown}")]);
        let ran = Running::start(runner.command(&["list"]).arg(flag)).finish().expect(0);
        snapshot(&ran);
        ran.says(&[&format!("--results {shown}")]);
    }
    // The manifest has the scenario's path as text.
    let name = OsStr::from_bytes(b"p\xff.toml");
    fs::write(runner.path("").join(name), text).unwrap();
    let ran = Running::start(runner.command(&["exec"]).arg(name)).finish().expect(2);
    snapshot(&ran);
}

#[test]
fn names_of_other_things_get_advice() {
    let mut transcript = Transcript::default();
    let runner = naps(1, 1);
    let [run] = ended(&runner, 1).try_into().unwrap();
    transcript.run(&runner, &["show", "nap@hostile"]).expect(2);
    transcript.run(&runner, &["logs", "results/"]).expect(2);
    for command in ["show", "resume", "list"] {
        let ran = runner.run(&[command, "--results", "nope"]).expect(2);
        snapshot(&ran);
    }
    for into in ["scenario.toml", "scenario.toml/run/x"] {
        transcript.exec(&runner, &["--into", into]).expect(2);
    }
    for words in [&["exec", "scenario.toml"][..], &["list"], &["show"], &["verify"], &["resume"]] {
        let ran = runner.run(&[words, &["--results", "scenario.toml/x"]].concat()).expect(2);
        snapshot(&ran);
    }
    transcript.run(&runner, &["exec", "scenario.toml", "nap"]).expect(2);
    let ran = runner.exec(&["--exclude", "*"]).expect(5);
    snapshot(&ran);
    assert!(!ran.stderr.contains("--provider"), "{}", ran.stderr);
    // Rows are lost, and the run is not incomplete.
    run.write("index.jsonl", "");
    let resume = format!("runner resume {}", short(&run));
    runner.run(&["resume"]).expect(2).says(&["is incomplete", &resume]);
    transcript.run(&runner, &["verify"]).expect(1);
    transcript.check("names_of_other_things_get_advice");
}

#[test]
fn next_steps_fit_the_state_of_the_run() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"verdict\", verdict = \"fail\" }\n\
         [[tests]]\nid = \"b\"\ninput = { do = \"wait-for-stop\" }\n",
    );
    let mut running = runner.start(&["-j", "2"]);
    running.wait_for_rows(1);
    let run = runner.only_run();
    let shown = runner.run(&["show"]).expect(0);
    assert!(!shown.stderr.contains("runner resume"), "{}", shown.stderr);
    runner.run(&["cancel"]).expect(0);
    running.finish().expect(4);
    let short = short(&run);
    runner.run(&["show"]).expect(0).says(&[
        &format!("runner resume {short} --rerun failed --force"),
        &format!("runner resume {short} --accept-changes --force"),
    ]);
    let ran = runner.exec(&["--test", "a"]).expect(1);
    let run = runner.runs().pop().unwrap();
    let edited = format!("runner resume {} --accept-changes", self::short(&run));
    ran.says(&[&edited]);
    assert!(run.text("runner.log").contains("verdict: failed"), "{}", run.text("runner.log"));
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replacen("verdict = \"fail\"", "verdict = \"pass\"", 1));
    runner.run(&["resume", run.id(), "--accept-changes"]).expect(0);
    snapshot(&runner.run(&["resume", run.id(), "--rerun", "failed"]).expect(5));
}

#[test]
fn first_run_of_init_stays_in_its_folder() {
    let runner = Runner::new(&[]);
    let ran = runner.run(&["init", "sub"]).expect(0);
    let command = ran.stderr.lines().find_map(|line| line.strip_prefix("run it: ")).unwrap();
    let script = format!("runner() {{ \"$runner\" \"$@\"; }}; {command}");
    finished(&mut runner.shell(&script)).expect(0);
    assert!(runner.path("sub/results").is_dir() && !runner.path("results").exists());
}

#[test]
fn proposed_grants_are_valid_as_pasted() {
    let runner = Runner::new(&[]);
    runner.write("keys.env", "OPENAI_API_KEY=of-openai-only\nTENANT=of-the-tenant\n");
    let chat = "plugin = \"bundled:chat\"\nconfig = { model = \"m\", headers = { x = \"{{secret.TENANT}}\" } }\n";
    let http = "plugin = \"bundled:http\"\nconfig = { base_url = \"http://127.0.0.1:9/api\" }\n";
    let tests = "[[tests]]\nid = \"t\"\nproviders = [\"m*\"]\ninput = \"hello\"\nexpect.contains = \"hi\"\n\
                 [[tests]]\nid = \"u\"\nproviders = [\"s.1\"]\ninput = { path = \"/\" }\nexpect.json = 1\n";
    // A table for each provider of a matrix would be no table of the scenario.
    let matrix = "matrix = { size = [1, 2] }\n";
    let mut scenario = format!("[providers.m]\n{matrix}{chat}[providers.\"s.1\"]\n{http}{tests}");
    runner.scenario(&scenario);
    let validate = |args: &[&str]| {
        let ran = runner.run(&[&["validate", "scenario.toml"], args].concat()).expect(0);
        ran.stderr.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let lines = validate(&[]);
    assert!(
        lines.contains(&"  secrets = [\"OPENAI_API_KEY\", \"TENANT\"]".to_owned()),
        "{lines:?}"
    );
    for line in lines.iter().filter(|line| line.starts_with("  ")) {
        scenario += &format!("{line}\n");
    }
    runner.scenario(&scenario);
    let lines = validate(&["--secret-file", "keys.env"]);
    assert!(!lines.iter().any(|line| line.contains("not granted")), "{lines:?}");
    for table in ["providers.m.grants", "providers.\"s.1\".grants"] {
        assert_eq!(scenario.matches(table).count(), 1, "{scenario}");
    }
}
