//! Ids of tests that shells, globs, filters, paths and report forms would read as something else.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{http::Site, runner::Runner, running::finished};

/// The even ones fail.
const IDS: [&str; 38] = [
    "n_number_1.0e+",
    "n_structure_<.>",
    "a b",
    "a  b",
    "ä/ö",
    "日本語",
    "x=y,z",
    "it's",
    "\"q\"",
    "(p)",
    "f(x)",
    "not",
    "[a]",
    "a",
    "*",
    "a*",
    "a?",
    "-x",
    "--help",
    "-",
    "a//b",
    "https://e.org/?q=1&r=2",
    "CON",
    "con",
    "=1+2",
    "::error::x",
    "|",
    "`b`",
    "$(touch PWNED)",
    "\\",
    "a\\",
    "%2e%2e",
    "a{b,c}",
    "~",
    "👩\u{200d}💻",
    "}\",\"usage\":{",
    "1",
    "...",
];

/// Ids whose commands for another run are executed. The commands of all are read by a shell.
const RUN_AGAIN: [&str; 6] = ["--help", "it's", "\"q\"", "a\\", "$(touch PWNED)", "*"];
/// Parts of the ids that are selected at once.
const PARTS: usize = 7;

/// Writes a list with all ids and one of 200 bytes. Returns them.
fn listed(runner: &Runner) -> Vec<String> {
    let ids: Vec<_> = IDS.map(str::to_owned).into_iter().chain(["x".repeat(200)]).collect();
    let line = |(index, id): (usize, &String)| {
        let output = if index % 2 == 0 { json!(0) } else { json!(id) };
        let record = json!({"name": id, "input": id, "expect": {"equals": output}});
        format!("{record}\n")
    };
    runner.write("list.jsonl", ids.iter().enumerate().map(line).collect::<String>());
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"list.jsonl\"]\nid = \"{{row.name}}\"\n",
    );
    ids
}

/// Returns the text as a quoted argument of a filter.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// Returns the tests that `exec` with these flags would run.
#[track_caller]
fn planned(runner: &Runner, flags: &[&str]) -> Vec<String> {
    let text = runner.exec(&[flags, &["--dry-run"]].concat()).expect(0).stdout;
    let trials = text.lines().filter_map(|line| line.strip_suffix("@p#1"));
    trials.map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn awkward_ids_are_selected_as_printed() {
    let runner = Runner::new(&[]);
    let ids = listed(&runner);
    assert_eq!(planned(&runner, &[]), ids);
    let tests: String = ids.iter().map(|id| format!("[[tests]]\nid = {}\n", json!(id))).collect();
    runner.write("tests.toml", format!("{tests}[providers.p]\nplugin = \"bundled:echo\"\n"));
    let words = ["__complete", "--", "exec", "tests.toml", "--test", ""];
    let globs = runner.run(&words).expect(0).stdout;
    let globs: Vec<_> = globs.lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(globs.len(), ids.len());
    // Several at once: no glob selects a test outside of its part, and similar ids are in different parts.
    for part in 0..PARTS {
        let part: Vec<_> = ids.iter().zip(&globs).skip(part).step_by(PARTS).collect();
        let selected: Vec<_> = part.iter().map(|(id, _)| id.as_str()).collect();
        let flags: Vec<_> = part.iter().flat_map(|(_, glob)| ["--test", *glob]).collect();
        assert_eq!(planned(&runner, &flags), selected);
        let filters = part.iter().map(|(_, glob)| format!("test({})", quoted(glob)));
        let filter = filters.collect::<Vec<_>>().join(" or ");
        assert_eq!(planned(&runner, &["-E", &filter]), selected, "{filter}");
    }
    for id in &ids {
        let is_invalid = id.ends_with(['\\', '{']);
        if is_invalid {
            assert!(planned(&runner, &["-E", &quoted(id)]).contains(id), "{id}");
            runner.refused(&["--test", id], &["invalid glob"]);
            continue;
        }
        // As printed, each may select others, too. All of them must select the test.
        let flags =
            [&*format!("--test={id}"), "-E", &*format!("test({})", quoted(id)), "-E", &*quoted(id)];
        assert!(planned(&runner, &flags).contains(id), "{flags:?}");
    }
}

#[test]
fn awkward_ids_are_shown_and_run_again() {
    let runner = Runner::new(&[]);
    let ids = listed(&runner);
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let trials: BTreeSet<_> = ids.iter().map(|id| format!("{id}@p#1")).collect();
    let in_rows = |key: &str| -> BTreeSet<String> {
        run.rows().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(in_rows("trial"), trials);
    assert_eq!(in_rows("test"), ids.iter().cloned().collect());
    let words = ["__complete", "--", "show", "latest", ""];
    let offered = runner.run(&words).expect(0).stdout;
    let offered: Vec<_> = offered.lines().map(|line| line.split('\t').next().unwrap()).collect();
    let site = Site::start(&runner, &[]);
    let encoded =
        |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02x}")).collect() };
    for (trial, word) in trials.iter().zip(offered) {
        let shown = runner.run(&["show", "--json", "latest", "--", trial]).expect(0).document();
        assert_eq!(shown["trial"], **trial);
        if word != trial {
            let shown = runner.run(&["show", "--json", "latest", word]).expect(0).document();
            assert_eq!(shown["trial"], **trial, "{word}");
        }
        let page = site.get(&format!("/runs/latest/trials/{}", encoded(trial)));
        assert_eq!(page["trial"], **trial);
        // A shell passes on a word that was shown to select the trial.
        let reproduce = shown["reproduce"].as_str().unwrap();
        let script = format!("runner() {{ printf '<%s>' \"$@\"; }}\n{reproduce}");
        let words = finished(&mut runner.shell(&script)).stdout;
        let selecting = [trial, word].map(|word| format!("<--trial><{word}>"));
        assert!(selecting.iter().any(|end| words.ends_with(end)), "{reproduce}: {words}");
        let id = trial.strip_suffix("@p#1").unwrap();
        if RUN_AGAIN.contains(&id) {
            let script = format!("runner() {{ \"$runner\" \"$@\"; }}\n{reproduce}");
            let ran = finished(&mut runner.shell(&script));
            let text = &ran.stdout;
            let is_echo = text.contains(&json!(id).to_string()) || text.contains(id);
            assert!(is_echo, "{reproduce}: {ran:?}");
            runner.run(&["logs", "latest", "--", trial]).expect(0);
        }
    }
    // Words of a search are found in ids with braces and quotes.
    let found = |q: &str| {
        let page = site.get(&format!("/runs/latest/trials?q={}", encoded(q)));
        let trials = page["trials"].as_array().unwrap().iter();
        trials.map(|trial| trial["trial"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("usage"), ["}\",\"usage\":{@p#1"]);
    assert_eq!(found("\"q\""), ["\"q\"@p#1"]);
    drop(site);
    let failed: Vec<_> = ids.iter().step_by(2).cloned().collect();
    assert_eq!(planned(&runner, &["--last-failed"]), failed);
    for id in ["(p)@p#1", "(p)", r"\(p\)@p#1"] {
        runner.run(&["resume", "--rerun", id]).expect(1);
    }
    assert_eq!((run.rows_of("(p)").len(), run.rows().len()), (4, ids.len() + 3));
    assert!(!runner.path("PWNED").exists());
}

#[test]
fn awkward_ids_are_text_in_reports_and_merges() {
    let runner = Runner::new(&[]);
    let ids = listed(&runner);
    for shard in ["1/3", "2/3", "3/3"] {
        runner.exec(&["--shard", shard, "--into", "shards/{shard}", "--scheduler-exit"]).expect(0);
    }
    let shards = ["shards/1-of-3", "shards/2-of-3", "shards/3-of-3"];
    runner.run(&[&["merge", "--into", "results/whole"], &shards[..]].concat()).expect(1);
    let run = runner.only_run();
    let names: BTreeSet<_> = run
        .rows()
        .iter()
        .map(|row| row["test"].clone())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ids.iter().cloned().collect());
    assert_eq!(run.manifest()["status"], "completed");
    let report = |form: &str| runner.run(&["report", form]).expect(0).stdout;
    let junit = report("--junit");
    let escaped = |id: &str| {
        id.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&quot;")
            .replace('\'', "&apos;")
    };
    for id in ids.iter().filter(|id| !id.starts_with("::")) {
        let case = format!("<testcase name=\"{}@p#1\" classname=", escaped(id));
        assert!(junit.contains(&case), "{case} is not in\n{junit}");
    }
    let csv = report("--csv");
    assert_eq!(csv.lines().count(), ids.len() + 1);
    for cells in ["'=1+2@p#1,'=1+2,", "'-x@p#1,'-x,", "\"\"\"q\"\"@p#1\",\"\"\"q\"\"\","] {
        assert!(csv.lines().any(|line| line.starts_with(cells)), "{cells} is not in\n{csv}");
    }
    for form in ["--junit", "--csv", "--markdown", "--html"] {
        let text = report(form);
        assert!(
            !text.lines().any(|line| line.trim_start().starts_with("::error")),
            "{form}: {text}"
        );
        assert!(form == "--csv" || form == "--markdown" || !text.contains("<.>@"), "{form}");
    }
    let shown = runner.run(&["show", "--failed"]).expect(0).stdout;
    assert!(shown.contains("n_structure") || shown.contains("n_number_1.0e+@p"), "{shown}");
}

#[test]
fn refused_ids_name_the_reason() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    let write = |tests: &[&str]| {
        let tests: String =
            tests.iter().map(|id| format!("[[tests]]\nid = {}\n", json!(id))).collect();
        runner.scenario(&format!("{tests}[providers.p]\nplugin = \"bundled:echo\"\n"));
    };
    for id in ["", " a", "a@b", "a\nb", "a\u{202e}b", "a/../b", ".."] {
        write(&[id]);
        transcript.refused(&runner, &[]);
    }
    write(&["é", "b", "e\u{301}"]);
    snapshot(&runner.refused(&[], &[]));
    write(&["ab", "a\u{200d}b"]);
    transcript.refused(&runner, &[]);
    write(&["é", "e", "E", "É", "x²", "x2"]);
    let ids: Vec<Value> = planned(&runner, &[]).into_iter().map(Value::from).collect();
    assert_eq!(json!(ids), json!(["é", "e", "E", "É", "x²", "x2"]));
    transcript.check("refused_ids_name_the_reason");
}
