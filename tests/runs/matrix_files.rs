//! Files as values of a matrix, and files of providers.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::messages::transcript::Transcript;
use crate::support::{
    guests::command,
    run::Run,
    runner::Runner,
    truth::{assert_whole, results},
};

const SCENARIO: &str = r#"
[providers.p]
plugin = "hostile.wasm"
matrix = { prompt = { files = "prompts/*.txt" } }
config = { system = "{{matrix.prompt.text}}", from = "{{matrix.prompt}} in {{matrix.prompt.path}}" }

[providers.entry]
plugin = "command.wasm"
matrix = { source = { files = ["subs/*.py"] } }
name = "{{matrix.source}}"
files = { "main.py" = "{{matrix.source.path}}" }
args = ["cat"]
stdin = { file = "main.py" }

[[tests]]
id = "prompt"
providers = ["p[*]"]
input = { do = "test" }

[[tests]]
id = "source"
providers = ["ada", "eve"]
expect = { not = { contains = "wrong" } }
"#;

fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.link(&command(), "command.wasm");
    for folder in ["prompts", "subs"] {
        fs::create_dir(runner.path(folder)).unwrap();
    }
    runner.write("prompts/short.txt", "Be short: {{row.x}}\n");
    runner.write("prompts/long.txt", "Explain \"all\".\r\n");
    runner.write("prompts/note.md", "no prompt");
    runner.write("subs/ada.py", "print(1)\n");
    runner.write("subs/eve.py", "print(2)\n");
    runner.scenario(SCENARIO);
    runner
}

/// Returns the trials with more than one row.
fn repeated(run: &Run) -> BTreeSet<String> {
    let rows = run.rows();
    let trials = rows.iter().map(|row| row["trial"].as_str().unwrap().to_owned());
    let mut seen = BTreeSet::new();
    trials.filter(|trial| !seen.insert(trial.clone())).collect()
}

fn config(run: &Run, provider: &str) -> Value {
    let row = run.rows().into_iter().rfind(|row| row["provider"] == provider).unwrap();
    row["output"]["config"].clone()
}

#[test]
fn each_matched_file_is_a_provider() {
    let runner = runner();
    runner.run(&["validate", "scenario.toml"]).expect(0);
    runner.exec(&[]).expect(0);
    let run = assert_whole(&runner, 4);
    assert!(results(&run).keys().eq([
        "prompt@p[prompt=long]#1",
        "prompt@p[prompt=short]#1",
        "source@ada#1",
        "source@eve#1",
    ]));
    let short = config(&run, "p[prompt=short]");
    assert_eq!(short["system"], "Be short: {{row.x}}\n");
    assert_eq!(short["from"], "short in prompts/short.txt");
    assert_eq!(config(&run, "p[prompt=long]")["system"], "Explain \"all\".\r\n");
    let row = run.rows().into_iter().find(|row| row["provider"] == "ada").unwrap();
    assert_eq!(row["output"], "print(1)\n");
    for selected in [["--provider", "p[prompt=short]"], ["-E", "provider(p[prompt=short])"]] {
        runner.exec(&selected).expect(0);
        let run = runner.runs().pop().unwrap();
        assert!(results(&run).keys().eq(["prompt@p[prompt=short]#1"]), "{selected:?}");
    }
    let words = ["__complete", "--", "exec", "scenario.toml", "--provider", ""];
    let offered = runner.run(&words).expect(0);
    for name in ["p[prompt=long]", "p[prompt=short]", "ada", "eve"] {
        assert!(offered.stdout.contains(name), "{}", offered.stdout);
    }
}

#[test]
fn edited_file_runs_trials_of_its_provider_again() {
    let runner = runner();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    for (file, trial) in
        [("prompts/short.txt", "prompt@p[prompt=short]#1"), ("subs/ada.py", "source@ada#1")]
    {
        runner.write(file, "better\n");
        let provider = trial.split(['@', '#']).nth(1).unwrap();
        let says = format!("providers changed: `{provider}`");
        runner.run(&["resume", run.id()]).says(&[&says, "--accept-changes"]);
        runner.exec(&["--last-failed"]).expect(0);
        let last = runner.runs().pop().unwrap();
        assert!(results(&last).keys().eq([trial]), "{file}");
        let before = repeated(&run);
        runner.run(&["resume", run.id(), "--accept-changes"]).expect(0);
        let after = repeated(&run);
        assert!(after.difference(&before).eq([trial]), "{file}: {after:?}");
    }
    assert_eq!(config(&run, "p[prompt=short]")["system"], "better\n");
    runner.run(&["verify", run.id()]).expect(0);
}

#[test]
fn added_and_removed_files_add_and_remove_providers() {
    let runner = runner();
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    runner.write("prompts/new.txt", "new");
    fs::remove_file(runner.path("prompts/long.txt")).unwrap();
    let says = ["providers added: `p[prompt=new]`", "providers removed: `p[prompt=long]`"];
    runner.run(&["resume", run.id()]).says(&says);
    runner.run(&["resume", run.id(), "--accept-changes"]).expect(0);
    assert_eq!((run.planned(), run.rows().len()), (4, 5));
    assert!(repeated(&run).is_empty());
}

#[test]
fn runs_keep_the_files_of_their_providers() {
    let runner = runner();
    let more = |id| {
        format!("[[tests]]\nid = \"{id}\"\nproviders = [\"p[*]\"]\ninput = {{ do = \"test\" }}\n")
    };
    runner.scenario(&[SCENARIO, &more("a"), &more("b"), &more("c")].concat());
    runner.exec(&["--shard", "1/2", "--into", "one"]).expect(0);
    runner.exec(&["--shard", "2/2", "--into", "two"]).expect(0);
    for folder in ["prompts", "subs"] {
        fs::remove_dir_all(runner.path(folder)).unwrap();
    }
    runner.run(&["merge", "--into", "results/all", "one", "two"]).expect(0);
    runner.run(&["resume", "all", "--rerun", "all"]).expect(0);
    let run = runner.only_run();
    assert_eq!((run.rows().len(), repeated(&run).len()), (20, 10));
    assert_eq!(config(&run, "p[prompt=short]")["system"], "Be short: {{row.x}}\n");
    let call =
        runner.run(&["plugin", "run", "--from", run.id(), "--trial", "source@ada"]).expect(0);
    assert!(call.stdout.contains("print(1)"), "{}", call.stdout);
    runner.run(&["verify", run.id()]).expect(0);
}

#[test]
fn rescore_needs_no_call_for_edited_prompts() {
    let runner = runner();
    runner.exec(&[]).expect(0);
    runner.scenario(&SCENARIO.replace("\"wrong\"", "\"print\""));
    runner.run(&["rescore"]).expect(1);
    let run = runner.only_run();
    assert_eq!(["passed", "failed"].map(|outcome| run.count(outcome)), [2, 2]);
}

#[test]
fn texts_of_files_have_bounds() {
    let mut transcript = Transcript::default();
    let runner = runner();
    runner.write("prompts/short.txt", "x".repeat((1 << 20) + 1));
    transcript.refused(&runner, &[]);
    for number in 0..7 {
        runner.write(&format!("prompts/{number}.txt"), "\n".repeat(1 << 20));
    }
    fs::remove_file(runner.path("prompts/short.txt")).unwrap();
    transcript.refused(&runner, &[]);
    fs::remove_file(runner.path("prompts/6.txt")).unwrap();
    fs::remove_file(runner.path("prompts/long.txt")).unwrap();
    // The workers are prepared with all of them.
    runner.exec(&["--provider", "ada", "--provider", "p[prompt=5]"]).expect(0);
    transcript.check("texts_of_files_have_bounds");
}

#[test]
fn braces_of_texts_make_no_placeholder() {
    let runner = runner();
    runner.scenario(
        r#"
        [vars]
        open = "{"
        [providers.p]
        plugin = "command.wasm"
        matrix = { a = { files = "prompts/short.txt" }, b = { files = "prompts/long.txt" } }
        args = ["cat"]
        stdin = "{{matrix.a.text}}{{matrix.b.text}} {{matrix.a.text}}{input.x}} {{var.open}}{input.x}} {{input.x}}"
        [[tests]]
        id = "a"
        input = { x = "value" }
        expect = { equals = "{{{{input.x}} {{{{input.x}} {{{{input.x}} value" }
        "#,
    );
    runner.write("prompts/short.txt", "{");
    runner.write("prompts/long.txt", "{input.x}}");
    runner.exec(&[]).expect(0);
    runner.run(&["resume", "--rerun", "all"]).expect(0);
}

#[test]
fn refused_files_are_one_problem() {
    let runner = Runner::new(&[]);
    runner.write(&format!("{}.txt", "x".repeat(240)), "");
    fs::create_dir(runner.path("folder.txt")).unwrap();
    for (glob, says) in [
        ("x*.txt", "an id has at most 200 bytes"),
        ("folder.txt", "no file matches `folder.txt/**`"),
    ] {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:echo\"\nmatrix = {{ x = {{ files = \"{glob}\" }} }}\n[[tests]]\nid = \"a\"\nproviders = [\"p[*]\"]\n[prices.\"p[*]\"]\nx = 1\n"
        ));
        let refused = runner.exec(&[]).expect(2).stderr;
        assert!(refused.contains(says), "{refused}");
        for other in ["has no providers", "did you mean", "matches `p[*]`"] {
            assert!(!refused.contains(other), "{refused}");
        }
    }
}
