//! Mistakes in a scenario that only plugins can find, before any trial.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    guests::command,
    runner::Runner,
    running::{Running, finished},
    wait::wait_until,
};

const UNITS: &str = "[providers.units]\nplugin = \"bundled:units\"\n";

#[test]
fn valid_scenarios_pass_validation() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "{UNITS}[[tests]]\nid = \"a\"\nrepeat = 3\ninput = {{ from = \"km\", to = \"m\", value = 1 }}\n"
    ));
    let ran = runner.run(&["validate", "scenario.toml"]).expect(0);
    assert_eq!(ran.stdout, "✓ scenario.toml: 1 test on 1 provider, 3 trials\n");
    assert!(!runner.path("results").exists());
}

#[test]
fn configurations_are_checked_with_their_places() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "{UNITS}config = {{ decimals = \"two\" }}\n\
         [providers.other]\nplugin = \"bundled:units\"\nconfig = {{ places = 2 }}\n\
         [providers.fine]\nplugin = \"bundled:echo\"\n[providers.fine.grants]\nsecrets = [\"KEY\"]\n\
         [[tests]]\nid = \"a\"\n"
    ));
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    runner.write("key.env", "KEY=value\n");
    let ran = runner.run(&["validate", "scenario.toml", "--secret-file", "key.env"]);
    assert!(!ran.expect(2).stderr.contains("secret `KEY`"));
    assert!(!runner.path("results").exists());
    transcript.check("configurations_are_checked_with_their_places");
}

#[test]
fn refused_configs_have_place_and_near_key() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    for (plugin, config) in [
        ("units", "{ decimal = 2 }"),
        ("units", "{ decimals = \"2\" }"),
        ("http", "{ base_url = \"example.com\" }"),
        ("chat", "{}"),
    ] {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"bundled:{plugin}\"\nconfig = {config}\n[[tests]]\nid = \"a\"\n"
        ));
        transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    }
    transcript.check("refused_configs_have_place_and_near_key");
}

#[test]
fn inputs_are_checked_with_their_places() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.write(
        "more.jsonl",
        "{\"id\": \"b\", \"input\": {\"from\": \"km\", \"to\": \"m\", \"value\": 1}}\n\
         {\"id\": \"c\", \"input\": {\"from\": \"km\", \"to\": \"m\"}}\n",
    );
    runner.scenario(&format!(
        "{UNITS}[[tests]]\nid = \"a\"\ninput = {{ from = 1, to = \"m\", value = 1 }}\n\
         [[test_lists]]\nfiles = [\"more.jsonl\"]\n"
    ));
    let ran = transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    assert!(!ran.stderr.contains("test `b`"), "{}", ran.stderr);

    // Trials without a fault are not held back.
    runner.exec(&["--test", "b"]).expect(0);
    transcript.check("inputs_are_checked_with_their_places");
}

#[test]
fn servers_of_bundled_plugins_need_a_scheme_and_a_grant() {
    let runner = Runner::new(&[]);
    let scenario = |keys: &str| {
        runner.scenario(&format!(
            "[providers.api]\nplugin = \"bundled:http\"\n{keys}\n[[tests]]\nid = \"a\"\ninput = {{ path = \"/\" }}\nexpect = {{ equals = 1 }}\n"
        ));
        runner.run(&["validate", "scenario.toml"])
    };
    let ran = scenario("config = { base_url = \"example.com\" }").expect(2);
    snapshot(&ran);
    let url = "config = { base_url = \"https://a.example.com/v1\" }";
    let warning = "add to the scenario: [providers.api.grants] net = [\"https://a.example.com\"]";
    let ran = scenario(url).expect(0);
    snapshot(&ran);
    ran.says(&[warning]);
    snapshot(&scenario("").expect(0));
    for net in ["https://a.example.com", "https://*.example.com"] {
        let ran = scenario(&format!("{url}\ngrants.net = [\"{net}\"]")).expect(0);
        assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    }
}

#[test]
fn unreachable_limits_are_warned_of() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!(
        "[defaults]\ntimeout = \"2h\"\ntrial_timeout = \"1m\"\n{UNITS}limits.memory = \"100TiB\"\n[[tests]]\nid = \"a\"\ninput = {{ from = \"km\", to = \"m\", value = 1 }}\n"
    ));
    runner.run(&["validate", "scenario.toml"]).expect(0).says(&[
        "a `timeout` of 2 h 0 min has no effect where `trial_timeout` is 60 s",
        "`limits.memory` of provider `units` is 100 TiB, but all attempts of a run have",
    ]);
}

#[test]
fn dry_run_shows_problems_of_all_scenarios() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("set")).unwrap();
    let test = "[[tests]]\nid = \"a\"\ninput = \"x\"\n";
    let echo = "[providers.echo]\nplugin = \"bundled:echo\"\n";
    runner.write("set/a.toml", format!("{echo}tmeout = 1\n{test}"));
    runner.write("set/b.toml", format!("{echo}{test}"));
    runner.write("set/c.toml", format!("{echo}{test}repeat = 0\n"));
    transcript.run(&runner, &["exec", "set", "--dry-run"]).expect(2);
    fs::remove_file(runner.path("set/a.toml")).unwrap();
    runner.write("set/c.toml", format!("{echo}{}", test.replace("\"a\"", "\"c\"")));
    transcript.run(&runner, &["exec", "set", "--test", "c", "--dry-run"]).expect(0);
    runner.run(&["exec", "set", "--test", "z", "--dry-run"]).expect(5);
    transcript.run(&runner, &["validate", "set"]).expect(0);
    transcript.check("dry_run_shows_problems_of_all_scenarios");
}

#[test]
fn refused_scenarios_leave_no_run() {
    let runner = Runner::new(&[]);
    let tests = "[[tests]]\nid = \"a\"\ninput = { from = \"km\", to = \"m\", value = 1 }\n";
    let expect = "expect = { min_score = 0 }\n";
    runner.write("good.toml", format!("{UNITS}{tests}"));
    for text in [
        format!("{UNITS}config = {{ decimals = 20 }}\n{tests}{expect}"),
        format!("{UNITS}[[tests]]\nid = \"a\"\ninput = {{ from = \"km\" }}\n{expect}"),
    ] {
        runner.scenario(&text);
        let expected = runner.run(&["validate", "scenario.toml"]).expect(2).stderr;
        for more in [
            &["--json"][..],
            &["--detach"],
            &["--into", "results/named"],
            &["--exclusive"],
            &["--dry-run"],
        ] {
            let ran = runner.refused(more, &[]);
            assert_eq!(ran.stderr, expected, "{more:?}");
        }
        let ran = runner.refused(&["good.toml"], &[]);
        assert_eq!(ran.stderr, expected, "in a group");
    }
    assert_eq!(runner.list(), Vec::<serde_json::Value>::new());
    assert!(!runner.path("results/named").exists());
    // A folder of the user stays.
    fs::create_dir(runner.path("results/named")).unwrap();
    runner.refused(&["--into", "results/named"], &[]);
    assert_eq!(runner.path("results/named").read_dir().unwrap().count(), 0);
    let left = runner.path("results").read_dir().unwrap();
    let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(left.into_iter().all(|name| !name.starts_with("20") && !name.starts_with(".gone")));
    // The folder can be used.
    runner.run(&["exec", "good.toml", "--into", "results/named"]).expect(0);
}

#[test]
fn refused_run_is_removed_after_compilation() {
    let runner = Runner::new(&[]);
    runner.scenario(&format!("{UNITS}config = {{ decimals = 20 }}\n[[tests]]\nid = \"a\"\n"));
    let mut command = runner.command(&["exec", "scenario.toml", "--detach"]);
    // Other tests must not have compiled the plugin.
    command.env("RUNNER_CACHE", runner.path("cache"));
    let ran = Running::start(&mut command).finish().expect(2);
    ran.says(&["compiling bundled:units", "at $.decimals"]);
    assert!(runner.runs().is_empty());
}

#[test]
fn interrupted_run_that_cannot_be_removed_is_closed() {
    let runner = Runner::new(&["stuck"]);
    let mount = finished(&mut runner.shell("unshare -Urm mount -t tmpfs tmpfs /mnt"));
    if mount.code != Some(0) {
        return;
    }
    // This plugin never answers `describe`.
    runner.scenario("[providers.p]\nplugin = \"stuck.wasm\"\n[[tests]]\nid = \"a\"\n");
    let script = r#"exec unshare -Urm sh -c '"$runner" exec scenario.toml & pid=$!
        until [ -s results/2*/benchmark.json ]; do sleep 0.01; done
        mount --bind results/2* results/2*; kill -TERM $pid; wait $pid; code=$?
        "$runner" list; exit $code'"#;
    let ran = Running::start(&mut runner.shell(script)).finish().expect(143);
    ran.says(&["the run could not be removed", "stopped by SIGTERM", "incomplete (SIGTERM)"]);
}

#[test]
fn many_refused_inputs_are_counted() {
    let runner = Runner::new(&[]);
    let lines = (0..3_000).map(|n| format!("{{\"id\": \"t{n}\", \"input\": {n}}}\n"));
    runner.write("many.jsonl", lines.collect::<String>());
    runner.scenario(&format!("{UNITS}[[test_lists]]\nfiles = [\"many.jsonl\"]\n"));
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    ran.says(&["test `t0`", "many.jsonl:1:", "3000 problems"]);
    runner.refused(&[], &["test `t0`", "many.jsonl:1:", "3000 problems"]);
}

#[test]
fn plugin_and_test_problems_come_together() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.write("text.wasm", "#!/bin/sh\n");
    runner.scenario(
        "[providers.p]\nplugin = \"text.wasm\"\n\
         [providers.q]\nplugin = \"bundled:echo\"\nsha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n\
         [[test_lists]]\nfiles = [\"twice.jsonl\"]\n",
    );
    runner.write("twice.jsonl", "{\"id\": \"a\"}\n{\"id\": \"a\"}\n");
    transcript.refused(&runner, &[]);
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(2);
    transcript.check("plugin_and_test_problems_come_together");
}

#[test]
fn missing_secrets_are_reported_once() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n[providers.p.grants]\nenv = { TOKEN = \"{{secret.KEY}}\" }\n\
         [[tests]]\nid = \"a\"\n[[tests]]\nid = \"b\"\n",
    );
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    snapshot(&ran);
    assert!(!ran.stderr.contains("test `a`"), "{}", ran.stderr);
}

#[test]
fn signals_end_validation_with_their_code() {
    let runner = Runner::new(&["stuck"]);
    // This plugin never answers `describe`.
    runner.scenario("[providers.p]\nplugin = \"stuck.wasm\"\n[[tests]]\nid = \"a\"\n");
    let mut running = runner.started(&["validate", "scenario.toml"]);
    wait_until("the guest computes", || {
        assert!(running.is_alive());
        let mut workers = running.workers().into_iter();
        workers.any(|worker| worker.busiest_thread(20).is_some())
    });
    let (ran, _) = running.end_by(Signal::INT);
    ran.expect(130);
}

#[test]
fn schemas_of_outputs_are_checked_first() {
    let runner = Runner::new(&[]);
    runner.write("bad.json", "{\"type\": \"strin\"}");
    runner.write("good.json", "{\"type\": \"string\"}");
    let test = |id: &str, schema: &str| {
        format!("[[tests]]\nid = \"{id}\"\ninput = \"x\"\nexpect = {{ schema = \"{schema}\" }}\n")
    };
    let tests = [("a", "good.json"), ("b", "bad.json"), ("c", "bad.json")];
    let tests: String = tests.iter().map(|(id, schema)| test(id, schema)).collect();
    runner.scenario(&format!("[providers.p]\nplugin = \"bundled:echo\"\n{tests}"));
    let says = ["test `b`", "the schema of `expect` is not a valid JSON Schema"];
    let ran = runner.run(&["validate", "scenario.toml"]).expect(2);
    ran.says(&says);
    ran.says(&["scenario.toml:10:"]);
    // Each schema is reported once.
    assert!(!ran.stderr.contains("test `c`"), "{}", ran.stderr);
    runner.refused(&[], &says);
    runner.exec(&["--test", "a"]).expect(0);
}

#[test]
fn keys_of_the_other_kind_are_reported() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.wat("h.wasm", "(module (memory (export \"memory\") 1) (func (export \"_start\")))");
    runner.scenario(
        "[providers.c]\nplugin = \"bundled:echo\"\nargs = [\"x\"]\noutput = \"json\"\n\
         [providers.h]\nplugin = \"h.wasm\"\nreuse = \"instance\"\n[[tests]]\nid = \"a\"\n",
    );
    transcript.run(&runner, &["validate", "scenario.toml"]).expect(0);
    transcript.check("keys_of_the_other_kind_are_reported");
}

#[test]
fn ineffective_grants_are_reported() {
    let runner = Runner::new(&[]);
    runner.link(&command(), "command.wasm");
    runner.scenario(
        "[providers.p]\nplugin = \"command.wasm\"\nargs = [\"say\", \"x\"]\n[providers.p.grants]\n\
         net = [\"https://api.example.com\"]\n[[tests]]\nid = \"a\"\n",
    );
    let says = ["provider `p`", "`net` does nothing for a module"];
    runner.exec(&["--dry-run"]).expect(0).says(&says);
    runner.run(&["validate", "scenario.toml"]).expect(0).says(&says);
    runner.exec(&[]).expect(0).says(&says);
    assert!(runner.only_run().text("runner.log").contains(says[1]));
}

#[test]
fn linked_scenario_is_read_in_its_project_only() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    fs::create_dir(runner.path("clone")).unwrap();
    runner.write("key.toml", "token = a secret\n");
    runner.link(&runner.path("key.toml"), "clone/far.toml");
    runner.write(
        "clone/near.toml",
        "[providers.a]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"a\"\ninput = 1\n",
    );
    runner.link(Path::new("near.toml"), "clone/link.toml");
    for command in ["validate", "exec"] {
        let ran = transcript.run(&runner, &[command, "clone/far.toml"]).expect(2);
        assert!(!ran.stderr.contains("a secret"), "{}", ran.stderr);
        runner.run(&[command, "clone/link.toml"]).expect(0);
    }
    transcript.check("linked_scenario_is_read_in_its_project_only");
}

#[test]
fn named_pipes_and_devices_are_no_scenarios() {
    let runner = Runner::new(&[]);
    runner.pipe("pipe.toml");
    runner.link(&runner.path("pipe.toml"), "link.toml");
    for file in ["pipe.toml", "link.toml", "/dev/zero", "/dev/null"] {
        for command in ["validate", "exec"] {
            let says = [file, "cannot read the scenario: it is not a regular file"];
            runner.run(&[command, file]).expect(2).says(&says);
        }
    }
    // A pipe of the shell has a writer.
    let test = "input = { from = \"km\", to = \"m\", value = 1 }";
    runner.scenario(&format!("{UNITS}[[tests]]\nid = \"a\"\n{test}\n"));
    for line in [
        "cat scenario.toml | $runner validate /dev/stdin",
        "$runner validate /dev/fd/0 < scenario.toml",
    ] {
        finished(&mut runner.shell(line)).expect(0);
    }
}
