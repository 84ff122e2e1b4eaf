//! `plugin run` and `plugin inspect`.

use std::fs;

use serde_json::{Value, json};

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::server::{Response, Server};
use crate::support::{guests::printing, runner::Runner, running::Running, web};

#[test]
fn one_call_shows_its_reply() {
    let runner = Runner::new(&[]);
    let ran = runner.run(&["plugin", "run", "bundled:echo", "--input", r#"{"a": [1, null]}"#]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let output: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(output, json!({"a": [1, null]}));
    ran.says(&["passed"]);
    assert!(!runner.path("results").exists());

    let ran = runner.run(&["plugin", "run", "bundled:echo", "--input", "@in.json", "--json"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    runner.write("in.json", "\"from a file\"");
    let ran = runner.run(&["plugin", "run", "bundled:echo", "--input", "@in.json", "--json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["output"], "from a file");
    assert_eq!(document["row"]["outcome"], "passed");
}

#[test]
fn bad_ends_of_a_call_are_reported() {
    let runner = Runner::new(&[]);
    let from = r#"{"from": "km", "to": "mi", "value": 42}"#;
    let run = |more: &[&str]| runner.run(&[&["plugin", "run", "bundled:units"], more].concat());
    run(&["--input", from]).expect(0);
    let ran = run(&["--input", r#"{"from": "km", "to": "apple", "value": 42}"#]);
    ran.expect(1).says(&["invalid-input"]);
    snapshot(&run(&[]).expect(2));
    for (more, says) in [
        (["--input", "{"], "not valid JSON"),
        (["--config", "3"], "object"),
        (["--limit", "speed=3"], "no limit `speed`"),
        (["--limit", "memory=lots"], "`lots` is not a size"),
        (["--grant", "root=/"], "unknown grant `root`"),
        (["--file", "../x=y"], "name of a file"),
        (["--file", "x=/dev/zero"], "not a regular file"),
        (["--input", "@/dev/zero"], "more than 4 MiB, which is `limits.input`"),
        (["--grant", "secret=NOT_THERE"], "NOT_THERE"),
    ] {
        let ran = run(&more);
        ran.expect(2).says(&[says]);
    }
}

#[test]
fn denied_call_advises_an_argument() {
    let runner = Runner::new(&[]);
    let site = r#"{"base_url": "http://127.0.0.1:1"}"#;
    let args = ["plugin", "run", "bundled:http", "-i", r#"{"path": "/x"}"#, "-c", site];
    let denied = runner.run(&args).expect(1);
    denied.says(&["denied: GET http://127.0.0.1:1", "to allow it: --grant net=http://127.0.0.1:1"]);
    let granted = runner.run(&[&args[..], &["--grant", "net=http://127.0.0.1:1"]].concat());
    assert!(!granted.expect(1).stderr.contains("denied"));
}

#[test]
fn denied_trial_advises_a_grant_of_the_scenario() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:http\"\nconfig = { base_url = \"http://127.0.0.1:1\" }\n\
         [[tests]]\nid = \"a\"\ninput = { path = \"/x\" }\n",
    );
    runner.run(&["exec", "scenario.toml"]).expect(1);
    let ran = runner.run(&["plugin", "run", "--from", "latest", "--trial", "a"]).expect(1);
    snapshot(&ran);
    ran.says(&["add \"http://127.0.0.1:1\" to `net` of [providers.p.grants]"]);
    assert!(!ran.stderr.contains("--grant"), "{}", ran.stderr);
}

#[test]
fn broken_json_plugin_is_not_called_plainly() {
    let runner = Runner::new(&[]);
    let run = |more: &[&str]| runner.run(&[&["plugin", "run", "p.wasm"], more].concat());
    for answer in ["debug\n{\"ok\": {\"output\": 1}}", "{ \"err\": {} }"] {
        runner.wat("p.wasm", &printing(answer));
        snapshot(&run(&[]).expect(2));
        run(&["--protocol", "plain"]).expect(0);
    }
    let object = json!({"type": "object", "additionalProperties": false});
    let schemas = json!({"name": "p", "version": "1", "summary": "", "config_schema": object, "input_schema": object});
    runner.wat("p.wasm", &printing(&json!({"ok": schemas}).to_string()));
    let ran = run(&["-i", "{}", "-c", r#"{"key": 1}"#]).expect(2);
    snapshot(&ran);
    let ran = run(&["-i", r#"{"txt": 1}"#]).expect(2);
    snapshot(&ran);
    // The fault of the reply is named by its field.
    snapshot(&run(&["-i", "{}"]).expect(1));
}

#[test]
fn replayed_trial_sends_nothing() {
    let server = Server::start(|request| Response::ok(format!("answer to {}", request.path)));
    let agent = json!({ "by": "agent", "url": server.url(""), "size": 12 });
    let runner = web::scenario("", &web::net(&[&server.origin()]), &[vec![agent]]);
    runner.exec(&["--journal"]).expect(0);
    let row = runner.only_run().row("t0");
    let args = ["plugin", "run", "--from", "latest", "--trial", "t0", "--replay"];
    let ran = runner.run(&[&args[..], &["--json"]].concat()).expect(0);
    ran.says(&["replaying attempt 1: 12 calls are in the journal, and nothing is sent"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&document["output"], &document["row"]["calls"]), (&row["output"], &row["calls"]));
    assert_eq!(server.requests().len(), 12);
    // Without it, the requests are sent again.
    runner.run(&args[..6]).expect(0);
    assert_eq!(server.requests().len(), 24);
    assert_eq!(runner.only_run().text("calls.jsonl").lines().count(), 13);

    runner.exec(&[]).expect(0);
    snapshot(&runner.run(&args).expect(2));
}

#[test]
fn only_single_calls_run_unoptimized_code() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario("[providers.p]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let cache = runner.path("cache");
    let compiled = |args: &[&str]| {
        let ran = Running::start(runner.command(args).env("RUNNER_CACHE", &cache)).finish();
        let entries = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name());
        let entries = entries.filter_map(|entry| entry.into_string().ok());
        let entries: Vec<_> = entries.filter(|entry| !entry.ends_with(".json")).collect();
        let quick = entries.iter().filter(|entry| entry.ends_with("-quick")).count();
        (quick, entries.len() - quick, ran.expect(0).stderr.contains("compiling"))
    };
    let call = ["plugin", "run", "hostile.wasm", "-i", r#"{"do": "echo", "value": 1}"#];
    assert_eq!(compiled(&call), (1, 0, true));
    assert_eq!(compiled(&call), (1, 0, false));
    assert_eq!(compiled(&["exec", "scenario.toml"]), (1, 1, true));
    fs::remove_dir_all(&cache).unwrap();
    assert_eq!(compiled(&["exec", "scenario.toml"]), (0, 1, true));
    // A call takes optimized code if there is any.
    assert_eq!(compiled(&call), (0, 1, false));
}

#[test]
fn unoptimized_code_has_stack_for_the_same_depth() {
    let runner = Runner::new(&[]);
    // Each of 6,000 frames keeps four values. Optimized code fits the stack of a run.
    runner.wat(
        "deep.wasm",
        r#"(module (memory (export "memory") 1)
          (func $down (param i32) (result i32) (local i32 i32 i32 i32)
            (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
            (local.set 1 (i32.rotl (i32.load offset=0 (i32.const 0)) (local.get 0)))
            (local.set 2 (i32.rotl (i32.load offset=4 (i32.const 0)) (local.get 0)))
            (local.set 3 (i32.rotl (i32.load offset=8 (i32.const 0)) (local.get 0)))
            (local.set 4 (i32.rotl (i32.load offset=12 (i32.const 0)) (local.get 0)))
            (call $down (i32.sub (local.get 0) (i32.const 1)))
            (i32.add (local.get 1)) (i32.add (local.get 2)) (i32.add (local.get 3)) (i32.add (local.get 4)))
          (func (export "_start") (drop (call $down (i32.const 6000)))))"#,
    );
    runner.scenario("[providers.p]\nplugin = \"deep.wasm\"\n[[tests]]\nid = \"a\"\n");
    let cache = runner.path("cache");
    for args in
        [&["plugin", "run", "deep.wasm", "--protocol", "plain"][..], &["exec", "scenario.toml"]]
    {
        Running::start(runner.command(args).env("RUNNER_CACHE", &cache)).finish().expect(0);
    }
}

#[test]
fn timeout_of_a_call_names_flag_and_function() {
    let runner = Runner::new(&[]);
    let text = r#"(module (memory (export "memory") 1) (func $spin (loop br 0))
        (func (export "_start") call $spin))"#;
    runner.wat("spin.wasm", text);
    let args = ["plugin", "run", "spin.wasm", "--protocol", "plain", "--timeout", "1s"];
    let ran = runner.run(&args).expect(1);
    snapshot(&ran);
}

#[test]
fn call_has_the_name_of_the_plugin() {
    let runner = Runner::new(&["hostile"]);
    fs::create_dir_all(runner.path("plugin/dist")).unwrap();
    fs::copy(runner.path("hostile.wasm"), runner.path("plugin/dist/plugin.wasm")).unwrap();
    runner.write(
        "plugin/plugin.toml",
        "name = \"filter\"\nkind = \"component\"\nbuild = \"test -e dist/plugin.wasm\"\n",
    );
    runner.run(&["plugin", "build", "plugin"]).expect(0);
    let args = ["plugin", "run", "plugin", "-i", r#"{"do": "echo", "value": 1}"#];
    runner.run(&args).expect(0).says(&["call@filter#1"]);
}

#[test]
fn trial_of_a_run_is_repeated() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        "[providers.p]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"a\"\n\
         input = { do = \"echo\", value = 7 }\nexpect = { equals = 8 }\n",
    );
    runner.run(&["exec", "scenario.toml"]).expect(1);
    // Everything is stored with the run.
    fs::remove_file(runner.path("hostile.wasm")).unwrap();
    fs::remove_file(runner.path("scenario.toml")).unwrap();
    let shown = runner.run(&["show", "latest", "a"]).expect(0);
    let command = shown.stdout.lines().last().unwrap().strip_prefix("reproduce: runner ").unwrap();
    let words: Vec<_> = command.split(' ').collect();
    let ran = runner.run(&words).expect(1);
    assert_eq!(ran.stdout.trim(), "7");
    snapshot(&ran);
    runner.run(&["plugin", "run", "--from", "latest"]).expect(2);
    let ran = runner.run(&["plugin", "run", "--from", "latest", "--trial", "b"]).expect(2);
    snapshot(&ran);
}

#[test]
fn programs_are_called_plainly() {
    let runner = Runner::new(&[]);
    runner.wat(
        "cat.wasm",
            r#"(module
              (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (func (export "_start")
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 1000))
                (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (i32.store (i32.const 4) (i32.load (i32.const 8)))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let run = |more: &[&str]| runner.run(&[&["plugin", "run", "cat.wasm"], more].concat());
    let ran = run(&["--stdin", "{{input.x}}!", "--input", r#"{"x": "hi"}"#]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "\"hi!\""), "{}", ran.stderr);
    runner.write("in.txt", "bytes");
    let ran = run(&["--stdin", "@in.txt"]);
    assert_eq!(ran.stdout.trim(), "\"bytes\"", "{}", ran.stderr);
    // The program does not speak the JSON protocol, so it is called plainly.
    let ran = run(&[]);
    assert_eq!((ran.code, ran.stdout.trim()), (Some(0), "\"\""), "{}", ran.stderr);
    snapshot(&ran);
}

#[test]
fn single_graders_answer_as_in_runs() {
    let mut transcript = Transcript::default();
    let runner = Runner::new(&[]);
    runner.wat("plain.wasm", &printing("looks good"));
    let call = |plugin: &str, more: &[&str]| {
        runner.run(&[&["plugin", "run", plugin, "--grade"], more].concat())
    };
    let answer = r#"{"verdict": "pass", "score": 0.7, "explanation": "{{output}} is\nfine"}"#;
    let echo = |more: &[&str]| call("bundled:echo", more);
    let lines =
        "verdict      pass\nscore        0.7\nexplanation  {{output}} is\n             fine\n";
    assert_eq!(echo(&["-i", answer]).expect(0).stdout, lines);
    let failed = echo(&["-i", answer, "--min-score", "0.8"]).expect(1);
    snapshot(&failed);
    let grade = &echo(&["-i", answer, "--json"]).document()["grade"];
    assert_eq!((&grade["grader"], &grade["own_verdict"]), (&json!("echo"), &json!("pass")));
    let unreadable = echo(&["-i", "\"I say pass\""]).expect(1);
    snapshot(&unreadable);
    snapshot(&echo(&["-i", r#"{"score": 1}"#]).expect(1));
    echo(&["-i", r#"{"verdict": "skip"}"#]).expect(0).says(&["verdict skip"]);
    let denied = call(
        "bundled:http",
        &["-i", r#"{"path": "/"}"#, "-c", r#"{"base_url": "http://127.0.0.1:1"}"#],
    )
    .expect(1);
    snapshot(&denied);
    denied.says(&["error denied: `GET http://127.0.0.1:1` is not granted"]);
    snapshot(&call("plain.wasm", &[]).expect(0));
    let flag = ["-i", "\"--help\"", "--", "{{input}}"];
    snapshot(&call("plain.wasm", &flag).expect(1));
    transcript.add(
        "call plain.wasm --stdin @in.txt",
        &call("plain.wasm", &["--stdin", "@in.txt"]).expect(2),
    );
    runner.write("in.txt", "text");
    transcript.add(
        "call plain.wasm --stdin @in.txt",
        &call("plain.wasm", &["--stdin", "@in.txt"]).expect(2),
    );
    transcript.add(
        "call plain.wasm --min-score NaN",
        &call("plain.wasm", &["--min-score", "NaN"]).expect(2),
    );
    transcript.run(&runner, &["plugin", "run", "plain.wasm", "--min-score", "1"]).expect(2);
    transcript.check("single_graders_answer_as_in_runs");
}

#[test]
fn grader_of_a_run_is_asked_again() {
    let runner = Runner::new(&[]);
    runner.scenario(
        "[providers.p]\nplugin = \"bundled:echo\"\n\
         [graders.judge]\nplugin = \"bundled:echo\"\nmin_score = 0.5\n\
         input = { score = \"{{output.s}}\", explanation = \"of {{test}}\" }\n\
         [[tests]]\nid = \"a\"\ninput = { s = 0.4 }\nexpect = { graders = [\"judge\"] }\n\
         [[tests]]\nid = \"b\"\nexpect = { error = \"trap\" }\n",
    );
    runner.run(&["exec", "scenario.toml"]).expect(1);
    let rows = runner.only_run().rows().len();
    fs::remove_file(runner.path("scenario.toml")).unwrap();
    let call = |trial: &str, grader: &str| {
        runner.run(&["plugin", "run", "--from", "latest", "--trial", trial, "--grader", grader])
    };
    let says = ["verdict fail", "score 0.4 (at least 0.5 passes)", "explanation of a"];
    call("a@p#1", "judge").expect(1).says(&says);
    snapshot(&call("a@p#1", "p").expect(2));
    runner.run(&["plugin", "run", "p.wasm", "--grader", "judge"]).expect(2).says(&["--from"]);
    assert_eq!(runner.only_run().rows().len(), rows);
}

#[test]
fn plugins_with_required_configuration_are_inspected() {
    let runner = Runner::new(&[]);
    let schema = json!({"type": "object", "required": ["key"]});
    let about =
        json!({"name": "p", "version": "1", "summary": "needs a key", "config_schema": schema});
    runner.wat("p.wasm", &printing(&json!({"ok": about}).to_string()));
    let ran = runner.run(&["plugin", "inspect", "p.wasm"]).expect(0);
    snapshot(&ran);
}

#[test]
fn inspection_shows_what_a_file_is() {
    let runner = Runner::new(&[]);
    let ran = runner.run(&["plugin", "inspect", "bundled:units", "--json"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["kind"], "component");
    assert_eq!(document["description"]["name"], "units");
    assert!(!document["imports"].as_array().unwrap().is_empty());
    let ran = runner.run(&["plugin", "inspect", "bundled:units"]);
    snapshot(&ran);
    assert!(ran.stdout.contains("\ninput     {\n            \""), "{}", ran.stdout);

    let mut transcript = Transcript::default();
    fs::write(runner.path("text.wasm"), "text").unwrap();
    transcript.run(&runner, &["plugin", "inspect", "text.wasm"]).expect(2);

    // The reason is shown, since the author may expect the protocol to work.
    runner.wat("plain.wasm", r#"(module (memory (export "memory") 1) (func (export "_start")))"#);
    transcript.run(&runner, &["plugin", "inspect", "plain.wasm"]).expect(0);
    runner.wat(
        "loud.wasm",
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\08\00\00\00\05\00\00\00usage")
          (func (export "_start")
            (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))))"#,
    );
    let ran = transcript.run(&runner, &["plugin", "inspect", "loud.wasm"]).expect(0);
    assert!(!ran.stderr.contains("usage"), "{}", ran.stderr);

    // The plugin cannot be called. The document has the reason without terminal colours.
    let component = r#"(component (instance $none) (export "runner:provider/provider@0.1.0" (instance $none)))"#;
    runner.wat("none.wasm", component);
    let ran = runner.run(&["plugin", "inspect", "none.wasm", "--json", "--color", "always"]);
    let document: Value = serde_json::from_str(&ran.expect(2).stdout).unwrap();
    let problem = document["problem"].as_str().unwrap();
    assert!(problem.starts_with("provider `none`"), "{problem}");
    transcript.check("inspection_shows_what_a_file_is");
}

#[test]
fn limit_of_time_shortens_the_timeout() {
    let runner = Runner::new(&[]);
    let text = r#"(module (memory (export "memory") 1) (func (export "_start") (loop br 0)))"#;
    runner.wat("spin.wasm", text);
    let args = ["plugin", "run", "spin.wasm", "--protocol", "plain", "--limit"];
    let ran = runner.run(&[&args[..], &["time=100ms"]].concat()).expect(1);
    snapshot(&ran);
    snapshot(&runner.run(&[&args[..], &["time=0s"]].concat()).expect(2));
}

#[test]
fn chat_answer_with_an_error_is_an_error() {
    let server = Server::start(|request| {
        let is_json = String::from_utf8_lossy(&request.body).contains("as JSON");
        let choice = if is_json {
            json!({"finish_reason": "stop", "message": {"content": "{\"a\": 2}"}})
        } else {
            let error = json!({"message": "the upstream model is gone"});
            json!({"finish_reason": "error", "error": error, "message": {"content": "42"}})
        };
        Response::ok(json!({"choices": [choice]}).to_string())
    });
    let runner = Runner::new(&[]);
    let origin = server.origin();
    runner.scenario(&format!(
        "[providers.chat]\nplugin = \"bundled:chat\"\n\
         config = {{ base_url = \"{origin}\", model = \"m\", api_key_secret = \"\" }}\n\
         grants = {{ net = [\"{origin}\"] }}\n\
         [[tests]]\nid = \"error\"\ninput = \"6 times 7\"\nretries = {{ max = 0 }}\nexpect = {{ equals = \"42\" }}\n\
         [[tests]]\nid = \"json\"\ninput = \"as JSON\"\nexpect = {{ json = {{ a = 1 }} }}\n"
    ));
    runner.exec(&[]).expect(1).says(&[
        "the server ended its answer with an error: the upstream model is gone",
        "set the provider's `config.output = \"json\"` to read it as JSON",
    ]);
    let row = runner.only_run().row("error");
    assert_eq!([&row["outcome"], &row["error"]["class"]], ["error", "unavailable"]);
}
