//! Scenarios and test lists with mistakes.

use std::fs;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::runner::{Runner, tests};

#[test]
fn unreadable_scenario_is_named() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    transcript.refused(&runner, &[]);
    fs::create_dir(runner.path("scenario.toml")).unwrap();
    transcript.refused(&runner, &[]);
    fs::remove_dir(runner.path("scenario.toml")).unwrap();
    runner.write("scenario.toml", b"name = \"\xff\"\n");
    transcript.refused(&runner, &[]);
    runner.scenario("name = \"\\ud83d\\udc69\"\n");
    snapshot(&runner.refused(&[], &[]));
    runner.scenario("name = \"x\"\n[providers\nplugin = = 1\n");
    transcript.refused(&runner, &[]);
    transcript.check("unreadable_scenario_is_named");
}

#[test]
fn missing_scenario_names_existing_files() {
    let runner = Runner::new(&[]);
    runner.write("basic.toml", "");
    runner.write("semi.toml", "");
    runner.write("tests.csv", "id,input\na,b\n");
    for name in ["bsic.toml", "nope.toml", "basic.tml", "tests.csv"] {
        snapshot(&runner.run(&["exec", name]).expect(2));
    }
}

#[test]
fn missing_files_name_the_near_ones() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("lists")).unwrap();
    runner.write("lists/basic.csv", "id,input\na,b\n");
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"lists/bsic.csv\"]\n",
    );
    transcript.refused(&runner, &[]);
    runner.write("guest.wasm", "");
    runner.scenario("[providers.p]\nplugin = \"guest.wsm\"\n[[tests]]\nid = \"a\"\n");
    transcript.refused(&runner, &[]);
    let run = ["plugin", "run", "gest.wasm", "--input", "1"];
    transcript.run(&runner, &run).expect(2);
    runner.write("lists/basic.json", " {\"id\": \"a\"}");
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[[test_lists]]\nfiles = [\"lists/*.json\"]\n",
    );
    transcript.refused(&runner, &[]);
    runner.write("lists/basic.json", "");
    transcript.refused(&runner, &[]);
    transcript.check("missing_files_name_the_near_ones");
}

#[test]
fn selections_of_nothing_name_the_mistake() {
    let runner =
        Runner::hostile(&tests("cart/a | { do = \"echo\" } |\ncart/b | { do = \"echo\" } |"));
    runner.exec(&["--test", "cart"]).expect(5).says(&["--test 'cart/*'"]);
    runner.exec(&["--test", "cart/*"]).expect(0);
    let runner = Runner::hostile(&tests("a | { do = \"echo\" } |"));
    for glob in ["", "["] {
        let ran = runner.refused(&["--test", glob], &[]);
        snapshot(&ran);
        let is_plain = ran.stderr.contains("\nhelp: ") && !ran.stderr.contains('|');
        assert!(is_plain, "{}", ran.stderr);
    }
    for args in [
        ["--limit", "memory"],
        ["--limit", "mem=1"],
        ["--limit", "memry=1"],
        ["--budget", "tokens=0"],
    ] {
        snapshot(&runner.refused(&args, &[]));
    }
}

#[test]
fn init_needs_a_folder_for_its_schema() {
    let runner = Runner::new(&[]);
    runner.write(".runner", "");
    snapshot(&runner.run(&["init"]).expect(2));
    assert!(!runner.path("first.toml").exists());
}

#[test]
fn init_replaces_a_scenario_only_by_force() {
    let runner = Runner::new(&[]);
    runner.write("first.toml", "mine");
    snapshot(&runner.run(&["init"]).expect(2));
    assert_eq!(fs::read_to_string(runner.path("first.toml")).unwrap(), "mine");
    runner.run(&["init", "--force"]).expect(0);
    runner.run(&["exec", "first.toml"]);
    assert_eq!(runner.runs().len(), 1);
}

#[test]
fn scenarios_cannot_start_programs_at_the_end() {
    let mut transcript = Transcript::default();
    let command = "[[notify.commands]]\ncommand = [\"true\"]\n";
    let runner = Runner::hostile(&format!("{command}[[tests]]\nid = \"a\"\n"));
    transcript.refused(&runner, &[]);
    transcript.check("scenarios_cannot_start_programs_at_the_end");
}

#[test]
fn usage_errors_create_nothing() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    for args in [
        &["--frobnicate"][..],
        &["-j", "0"],
        &["-j", "many"],
        &["-j", "18446744073709551615"],
        &["--timeout-minutes", "-1"],
        &["--timeout-minutes", "nan"],
        &["--test", "["],
        &["-q", "-v"],
    ] {
        let ran = runner.refused(args, &[]);
        assert!(!ran.stderr.is_empty(), "{args:?}");
        assert!(!runner.path("results").exists(), "{args:?}");
    }
    assert_eq!(runner.run(&["frobnicate"]).code, Some(2));
    assert_eq!(runner.run(&[]).code, Some(2));
}

#[test]
fn unknown_runs_name_the_newest() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo" } |"#));
    runner.run(&["show"]).expect(2);
    runner.exec(&[]).expect(0);
    let id = runner.only_run().id().to_owned();
    let unique = id.rsplit('-').next().unwrap();
    runner.run(&["show", "nothing"]).expect(2).says(&["nothing", unique]);
    runner.exec(&[]).expect(0);
    runner.run(&["show", &id[..4]]).expect(2).says(&[unique]);
    for name in [id.as_str(), unique, runner.runs()[0].dir.to_str().unwrap()] {
        let shown = runner.run(&["show", name, "--json"]).expect(0).document();
        assert_eq!(shown["run"]["run"], id);
    }
}
