//! Tools of real runs: limits, grants, secrets, stops and what is kept of their calls.

use std::fs;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::guests;
use crate::support::run::Run;
use crate::support::runner::Runner;
use crate::support::running::{Running, finished};
use crate::support::server::{Response, Server};
use crate::support::wait::STOP_WITHIN;
use crate::support::web::toml;

/// Creates a scenario whose agent follows `steps`. `keys` are lines before the providers, and `agent` lines of the agent.
fn scenario(keys: &str, agent: &str, steps: &Value) -> Runner {
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    runner.link(&guests::component("contract-0-1-1-everything"), "agent.wasm");
    runner.link(&guests::command(), "command.wasm");
    runner.scenario(&format!(
        "{keys}\n[providers.agent]\nplugin = \"agent.wasm\"\n{agent}\n[[tests]]\nid = \"a\"\ninput = {}\n",
        toml(steps)
    ));
    runner
}

/// Returns the output of the only row of the newest run.
fn output(runner: &Runner) -> Value {
    runner.runs().last().unwrap().row("a")["output"].clone()
}

fn transcript(runner: &Runner) -> Value {
    let _ = fs::remove_dir_all(runner.path("saved"));
    runner.run(&["show", "latest", "a", "--save", "saved"]).expect(0);
    let file = runner.path("saved/artifacts/transcript.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

const COMMAND: &str = "[tools.command]\nplugin = \"command.wasm\"\ndescription = \"Does what it is told\"\nargs = \"{{input.args}}\"\n";

#[test]
fn each_failure_of_a_tool_is_data_with_its_bounds() {
    let keys = format!(
        "{COMMAND}limits.reply = \"8KiB\"\n\
         {}limits.time = \"300ms\"\n\
         [tools.poor]\nplugin = \"agent.wasm\"\nlimits.memory = \"4MiB\"\n\
         [tools.picky]\nplugin = \"agent.wasm\"\ninput_schema = {{ type = \"object\", required = [\"fail\"] }}\n",
        COMMAND.replace("[tools.command]", "[tools.short]")
    );
    let command = |args: &[&str]| json!({ "call": "command", "input": { "args": args } });
    let steps = json!([
        { "call": "short", "input": { "args": ["loop"] } },
        command(&["panic"]),
        command(&["flood", "8"]),
        { "call": "command", "input": {} },
        { "call": "poor", "input": { "grow": 64 << 20 } },
        { "call": "picky", "input": { "list": true } },
        { "call": "picky", "input": { "fail": "no" } },
        { "call": "poor", "input": { "call": "command", "input": {} } },
        command(&["recurse"]),
        command(&["say", "still well"]),
        { "call": "poor", "input": [{ "write": "/work/half", "text": "x" }, { "grow": 64 << 20 }] },
        { "write": "/work/base", "text": "y" },
    ]);
    let grants =
        "grants.tools = [\"command\", \"short\", \"poor\", \"picky\"]\nworkspace.from = \"start\"";
    let runner = scenario(&keys, grants, &steps);
    fs::create_dir(runner.path("start")).unwrap();
    runner.write("start/base", "x");
    runner.exec(&[]).expect(0);
    let output = output(&runner);
    let kinds: Vec<_> = output.as_array().unwrap().iter().map(|one| &one["error"]).collect();
    assert_eq!(kinds[..2], ["timeout", "trap"], "{output:#}");
    assert!(output[2]["ok"]["stdout"].as_str().unwrap().len() < 9_000);
    assert_eq!(kinds[3..7], ["invalidinput", "limit", "invalidinput", "failed"], "{output:#}");
    assert_eq!(output[7]["ok"]["error"], "denied");
    assert_eq!(output[8]["error"], "trap", "{output:#}");
    assert_eq!(output[9]["ok"]["stdout"], "still well");
    assert_eq!(fs::read(runner.path("start/base")).unwrap(), b"x");
    let diff = runner.run(&["show", "latest", "a", "--diff"]).expect(0);
    for line in ["-x", "+y", "+++ b/half", "+x"] {
        assert!(diff.stdout.lines().any(|shown| shown == line), "{}", diff.stdout);
    }
    let transcript = transcript(&runner);
    let errors = transcript["steps"].as_array().unwrap().iter().map(|step| &step["extra"]["error"]);
    let errors: Vec<_> = errors.filter_map(Value::as_str).collect();
    let kinds =
        ["timeout", "trap", "invalid-input", "limit", "invalid-input", "failed", "trap", "limit"];
    assert_eq!(errors, kinds);
}

#[test]
fn stop_and_deadline_end_a_tool() {
    let loops = json!([{ "call": "command", "input": { "args": ["loop"] } }]);
    let runner = scenario(COMMAND, "grants.tools = [\"command\"]", &loops);
    let mut running = runner.started(&["exec", "scenario.toml"]);
    running.wait_until_running(&runner, 1);
    let stopped = Instant::now();
    let (ended, _) = running.end_by(Signal::INT);
    ended.expect(130);
    assert!(stopped.elapsed() < STOP_WITHIN, "{:?}", stopped.elapsed());

    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("id = \"a\"", "id = \"a\"\ntimeout = \"200ms\""));
    runner.exec(&["--into", "results/timed"]).expect(1);
    let timed = runner.runs().into_iter().find(|run| run.id() == "timed").unwrap();
    assert_eq!(timed.row("a")["outcome"], "timeout");
}

#[test]
fn tool_has_its_own_grants_and_its_caller_not() {
    let server = Server::start(|request| {
        let key = request.header("x-key").unwrap_or_default();
        Response::ok(format!("{} with {key}", request.path))
    });
    let (origin, url) = (server.origin(), server.url("/data"));
    let own = Server::start(|_| Response::ok("sent"));
    let keys = format!(
        "[tools.fetch]\nplugin = \"agent.wasm\"\ngrants = {{ net = [\"{origin}\"], secrets = [\n\
         \"TOOL_KEY\", {{ name = \"BOUND_KEY\", host = \"{origin}\", header = \"x-key\" }}] }}\n\
         [tools.closed]\nplugin = \"agent.wasm\"\n"
    );
    let sends =
        |name: &str| json!({ "get": own.url("/"), "x-key": format!("{{{{secret.{name}}}}}") });
    let steps = json!([
        { "call": "fetch", "input": [{ "get": url }, { "secret": "TOOL_KEY" }] },
        { "get": url },
        { "secret": "TOOL_KEY" },
        { "call": "closed", "input": { "get": url } },
        sends("TOOL_KEY"),
        sends("BOUND_KEY"),
        { "call": "fetch", "input": { "get": url, "x-key": "{{secret.BOUND_KEY}}" } },
    ]);
    let grants =
        format!("grants = {{ net = [\"{}\"], tools = [\"fetch\", \"closed\"] }}\n", own.origin());
    let agent = format!(
        "{grants}[graders.judge]\nplugin = \"agent.wasm\"\ninput = {}\n{grants}",
        toml(&json!([sends("TOOL_KEY"), sends("BOUND_KEY")])).replace("{{", "{{{{")
    );
    let runner = scenario(&keys, &agent, &steps);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}expect.graders = [\"judge\"]\n"));
    let mut exec = runner.command(&["exec", "scenario.toml"]);
    exec.env("TOOL_KEY", "0123456789-secret").env("BOUND_KEY", "0123456789-bound");
    // An array is no answer of a grader.
    finished(&mut exec).expect(1);
    let output = output(&runner);
    // The tool knows its secret, and its caller does not.
    assert_eq!(output[0]["ok"], json!(["/data with ", "[secret TOOL_KEY]"]));
    assert!(output[1].as_str().unwrap().contains("enied"), "{output:#}");
    assert_eq!(output[2], "denied");
    for (sent, name) in [(4, "TOOL_KEY"), (5, "BOUND_KEY")] {
        let denied = format!("the secret `{name}` is not granted");
        assert!(output[sent].as_str().unwrap().contains(&denied), "{output:#}");
    }
    // What servers repeat of it is removed for the tool and for its caller.
    assert_eq!(output[6]["ok"], "/data with [secret BOUND_KEY]");
    assert_eq!(server.requests().len(), 2);
    assert_eq!(own.requests().len(), 0);
    let run = runner.only_run();
    let denied = run.row("a")["denied"].to_string();
    let line =
        format!("tool `closed`: GET {origin} (add `net = [\\\"{origin}\\\"]` to its grants)");
    assert!(denied.contains(&line), "{denied}");
    for file in ["index.jsonl", "logs.jsonl"] {
        let path = run.dir.join(file);
        assert!(!fs::read_to_string(path).unwrap_or_default().contains("0123456789-"));
    }
    assert!(!transcript(&runner).to_string().contains("0123456789-"));
}

#[test]
fn calls_are_judged_again_without_running_anything() {
    let call = |args: &[&str]| json!({ "call": "command", "input": { "args": args } });
    let claim = json!({ "append": {
        "source": "agent", "message": "I did it",
        "tool_calls": [{ "tool_call_id": "x", "function_name": "command", "arguments": { "args": ["refund"] } }],
        "extra": { "by": "runner" },
    } });
    let steps = json!([call(&["say", "lookup"]), claim, call(&["say", "refund"])]);
    let runner = scenario(COMMAND, "grants.tools = [\"command\"]", &steps);
    runner.exec(&[]).expect(0);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let rescored = |expect: &str, code: i32| {
        runner.scenario(&format!("{text}[tests.expect.transcript]\n{expect}\n"));
        runner.run(&["rescore", "latest"]).expect(code)
    };
    rescored("calls = [\"comm*\", \"command\"]\nmax_calls = 2", 0);
    rescored("call = [{ tool = \"command\", arguments = { args = [\"say\", \"refund\"] } }]", 0);
    // The agent only claims this one, although it says that the runner saw it.
    rescored("call = [{ tool = \"command\", arguments = { args = [\"refund\"] } }]", 1)
        .says(&["transcript.call"]);
    snapshot(&rescored("max_calls = 1", 1));
    snapshot(&rescored("never = [\"c*\"]", 1));
    snapshot(&rescored("calls = [\"command\", \"other\"]", 1));
    assert_eq!(runner.only_run().rows().iter().filter(|row| row["judged"].is_null()).count(), 1);
}

#[test]
fn floods_of_calls_steps_and_records_are_bounded() {
    let runner = Runner::new(&["hostile"]);
    let tests = [
        ("calls", json!({ "do": "flood-tools", "count": 20_000, "bytes": 1_000 })),
        ("steps", json!({ "do": "flood-transcript", "count": 100, "bytes": 10_000 })),
        ("records", json!({ "do": "flood-records", "count": 20_000 })),
    ];
    let tests =
        tests.map(|(id, input)| format!("[[tests]]\nid = \"{id}\"\ninput = {}\n", toml(&input)));
    runner.scenario(&format!(
        "[providers.p]\nplugin = \"hostile.wasm\"\nlimits.transcript = \"64KiB\"\n{}",
        tests.concat()
    ));
    runner.exec(&[]).expect(0);
    let run = runner.only_run();
    assert_eq!(run.row("calls")["output"], json!([0, 20_000]));
    assert!(run.row("calls").to_string().len() < 10_000, "{}", run.row("calls"));
    assert_eq!(run.row("records")["output"], 20_000);
    // A step has its time and its source, too.
    assert_eq!(run.row("steps")["output"], 94);
    assert_eq!(run.row("steps")["artifacts"][0]["name"], "transcript.json");
    assert!(run.row("steps")["artifacts"][0]["bytes"].as_u64().unwrap() < 66 << 10);
    assert!(run.row("records")["artifacts"].is_null());
}

#[test]
fn grader_with_a_tool_is_called_again_and_names_what_fails() {
    let keys = format!(
        "{COMMAND}[graders.cases]\nplugin = \"bundled:cases\"\nconfig.tool = \"command\"\n\
         grants.tools = [\"command\"]\ninput = {}\n",
        toml(&json!({ "cases": [
            { "name": "one", "input": { "args": ["say", "1"] }, "output": "1" },
            { "name": "two", "input": { "args": ["say", "2"] }, "output": "4" },
            { "name": "three", "input": { "args": ["fail", "no"] }, "output": "" },
        ] }))
    );
    let runner = scenario(&keys, "", &json!(1));
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}expect.graders = [\"cases\"]\n"));
    let reasons = "1 of 3 cases; two: expected \"4\", got \"2\"; three: exit code 1: no";
    runner.exec(&[]).expect(1).says(&[reasons]);
    let again = ["plugin", "run", "--from", "latest", "--trial", "a", "--grader", "cases"];
    snapshot(&runner.run(&again).expect(1));
}

#[test]
fn cases_expect_exit_codes_and_standard_errors() {
    let scenario_of = |case: Value| {
        let keys = format!(
            "{COMMAND}[graders.cases]\nplugin = \"bundled:cases\"\nconfig.tool = \"command\"\n\
             grants.tools = [\"command\"]\ninput = {}\n",
            toml(&json!({ "cases": [case] }))
        );
        let runner = scenario(&keys, "", &json!(1));
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        runner.scenario(&format!("{text}expect.graders = [\"cases\"]\n"));
        runner
    };
    let input = json!({ "args": ["fail", "no such town"] });
    let case = json!({ "input": input, "exit_code": 1, "stderr": "such", "output": "" });
    scenario_of(case).exec(&[]).expect(0);
    let runner = scenario_of(json!({ "input": input, "exit_code": 1, "stderr": { "equals": "" } }));
    runner.exec(&[]).expect(1).says(&["stderr: expected"]);
    let runner = scenario_of(json!({ "name": "one", "input": input }));
    let reason = "refuses its `input`: at $.cases[0]: missing one of the keys `output`, `exit_code`, `stderr`";
    runner.run(&["validate", "scenario.toml"]).expect(2).says(&[reason, "--> scenario.toml:"]);
}

/// Returns the random numbers that the tool of the agent and that of its judge have drawn in the newest attempt.
fn drawn(run: &Run) -> [String; 2] {
    let mut rows = run.rows_of("a");
    rows.retain(|row| row["final"] == true);
    let row = rows.pop().unwrap();
    let judge = row["grades"][0]["explanation"].as_str().unwrap();
    let (_, judge) = judge.split_once("got \"").unwrap();
    let agent = row["output"]["ok"]["stdout"].as_str().unwrap();
    [agent.to_owned(), judge.trim_end_matches('"').to_owned()]
}

/// The numbers of a tool follow from those of its caller.
#[test]
fn judge_has_random_numbers_that_its_agent_lacks() {
    let keys = |run: &str| {
        let case =
            json!({ "cases": [{ "name": "one", "input": { "args": ["random"] }, "output": "-" }] });
        format!(
            "[run]\ndeterministic = true\n{run}\n{COMMAND}[graders.cases]\nplugin = \"bundled:cases\"\n\
             config.tool = \"command\"\ngrants.tools = [\"command\"]\ninput = {}\n",
            toml(&case)
        )
    };
    let draw = json!({ "call": "command", "input": { "args": ["random"] } });
    let runner = scenario(&keys(""), "grants.tools = [\"command\"]", &draw);
    let plain = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let plain = format!("{plain}expect.graders = [\"cases\"]\n");
    let exec = |text: &str, seed: &str| {
        runner.scenario(text);
        let mut exec = runner.command(&["exec", "scenario.toml"]);
        let ran = Running::start(exec.env("JUDGE_SEED", seed)).finish().expect(1);
        assert!(!ran.stderr.contains("secret-"), "{}", ran.stderr);
        drawn(runner.runs().last().unwrap())
    };
    let [agent, judge] = exec(&plain, "");
    assert_ne!(agent, judge);
    assert_eq!(exec(&plain, ""), [agent.clone(), judge.clone()]);
    // What hides the judge's files from the agent hides its numbers.
    let [same, other] = exec(&format!("{plain}expect.json = {{}}\n"), "");
    assert_eq!(same, agent);
    assert_ne!(other, judge);

    let secret = plain.replace("[run]\n", "[run]\njudge_seed = { secret = \"JUDGE_SEED\" }\n");
    let first = exec(&secret, "secret-one");
    let run = runner.runs().pop().unwrap();
    assert!(!run.text("benchmark.json").contains("secret-one"));
    assert_eq!(run.manifest()["metadata"]["random_recipe"], 2);
    assert_eq!(exec(&secret, "secret-one"), first);
    let [same, second] = exec(&secret, "secret-two");
    assert_eq!((&same, &first[0]), (&agent, &agent));
    assert!(second != first[1] && second != judge && first[1] != judge);
    // The run's own numbers, in a later session and in a single call.
    let resume = ["resume", run.id(), "--rerun", "a"];
    let again = |args: &[&str]| {
        let mut command = runner.command(args);
        Running::start(command.env("JUDGE_SEED", "secret-one")).finish()
    };
    again(&resume).expect(1);
    let run = runner.runs().into_iter().find(|one| one.id() == run.id()).unwrap();
    assert_eq!(drawn(&run), first);
    let call = ["plugin", "run", "--from", run.id(), "--trial", "a", "--grader", "cases"];
    again(&call).expect(1).says(&[&first[1]]);
    snapshot(&runner.run(&call).expect(2));

    // An earlier version gave the judge the numbers of its agent.
    exec(&plain, "");
    let run = runner.runs().pop().unwrap();
    let mut manifest = run.manifest();
    manifest["metadata"].as_object_mut().unwrap().remove("random_recipe");
    run.write("benchmark.json", manifest.to_string());
    runner.run(&["trust", run.id(), "--yes"]).expect(0);
    runner.run(&["resume", run.id(), "--rerun", "a"]).expect(1);
    let [agent, judge] = drawn(&runner.runs().pop().unwrap());
    assert_eq!(agent, judge);
}

#[test]
fn secrets_of_the_caller_are_in_no_transcript() {
    let steps = json!([
        { "append": { "source": "agent", "message": "it is 0123456789-caller" } },
        { "call": "command", "input": { "args": ["say", "0123456789-caller"] } },
    ]);
    let grants = "grants = { tools = [\"command\"], secrets = [\"CALLER_KEY\"] }";
    let runner = scenario(COMMAND, grants, &steps);
    let mut exec = runner.command(&["exec", "scenario.toml"]);
    exec.env("CALLER_KEY", "0123456789-caller");
    finished(&mut exec).expect(0);
    let transcript = transcript(&runner).to_string();
    assert!(!transcript.contains("0123456789-caller"), "{transcript}");
    assert_eq!(transcript.matches("[secret CALLER_KEY]").count(), 3, "{transcript}");
}

#[test]
fn flood_in_a_result_hides_no_call() {
    let secret = "0123456789-caller";
    // A cut between its copies goes through one of them.
    let long = "x".repeat((128 << 10) - 300) + &secret.repeat(30) + &"y".repeat(200 << 10);
    let call = |args: &[&str]| json!({ "call": "command", "input": { "args": args } });
    let flood = call(&["flood", "1"]);
    let steps = json!([flood, flood, flood, call(&["say", "end"])]);
    let keys = format!(
        "{COMMAND}[tools.long]\nplugin = \"command.wasm\"\ndescription = \"Prints much\"\nargs = [\"say\", \"{long}\"]\n"
    );
    let grants = "grants = { tools = [\"command\", \"long\"], secrets = [\"CALLER_KEY\"] }";
    let steps_of = |steps: &Value| {
        let runner = scenario(&keys, grants, steps);
        let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
        let calls = vec!["command"; 4];
        runner.scenario(&format!("{text}[tests.expect.transcript]\ncalls = {calls:?}\nnever = [\"other\"]\nmax_calls = 5\n"));
        runner
    };
    let exec = |runner: &Runner, code| {
        let mut exec = runner.command(&["exec", "scenario.toml"]);
        finished(exec.env("CALLER_KEY", secret)).expect(code)
    };
    let mut all = steps.as_array().unwrap().clone();
    all.push(json!({ "call": "long", "input": {} }));
    let runner = steps_of(&json!(all));
    exec(&runner, 0);
    // The agent itself gets all of it.
    let kept = runner.only_run().row("a")["artifacts"].clone();
    let kept = kept.as_array().unwrap().iter();
    assert!(kept.filter_map(|one| one["bytes"].as_u64()).any(|bytes| bytes > 3 << 20));
    let written = transcript(&runner).to_string();
    assert!(written.len() < 5 * (256 << 10) + (16 << 10), "{}", written.len());
    assert_eq!(written.matches(" left out\\n").count(), 4);
    assert!(!written.contains("0123"), "a part of a secret is left");
    // Steps without room keep the call.
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let small = |bytes: &str| {
        let limit = format!("limits.transcript = \"{bytes}\"\ngrants");
        runner.scenario(&text.replacen("grants = { tools", &format!("{limit} = {{ tools"), 1));
    };
    small("300KiB");
    exec(&runner, 0);
    let written = transcript(&runner).to_string();
    assert!(written.contains("\"content\":\"\\n… "), "{written}");
    small("1KiB");
    exec(&runner, 1).says(&["transcript.calls", "; 2 steps"]);
}

#[test]
fn no_call_is_without_a_step() {
    let deep = "[".repeat(200) + &"]".repeat(200);
    let allowed = format!(
        "{{\"args\": [\"say\", \"x\"], \"deep\": {}1{}}}",
        "[".repeat(120),
        "]".repeat(120)
    );
    let call = |text: &str| json!({ "call_text": "command", "text": text });
    let steps = json!([
        call("{\"args\": [\"say\", \"a\"], \"args\": [\"say\", \"b\"]}"),
        call("{\"args\": [1e999]}"),
        call("{\"args\": [\"\\ud800\"]}"),
        call(&deep),
        call(&allowed),
    ]);
    let runner = scenario(COMMAND, "grants.tools = [\"command\"]", &steps);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let expect = |more: &str| runner.scenario(&format!("{text}expect.transcript = {{ {more} }}\n"));
    expect("never = [\"command\"]");
    snapshot(&runner.exec(&[]).expect(1));
    let output = output(&runner);
    assert!(
        output.as_array().unwrap()[..4].iter().all(|one| one["error"] == "invalidinput"),
        "{output}"
    );
    assert_eq!(output[4]["ok"]["stdout"], "x");
    let claims = [json!("no"), json!([{ "function_name": 1 }]), json!([{}])];
    let claims = claims.map(
        |calls| json!({ "append": { "source": "agent", "message": "", "tool_calls": calls } }),
    );
    let mut plain = runner.command(&["plugin", "run", "agent.wasm", "--input"]);
    let plain = finished(plain.arg(json!(claims).to_string())).stdout;
    assert_eq!(plain.matches("invalid").count(), 3, "{plain}");
    let lone =
        runner.run(&["plugin", "run", "agent.wasm", "--input", r#"{"call": "x", "input": 1}"#]);
    snapshot(&lone);
    // What does not fit cannot hide a call.
    let short = text.replace("grants.tools", "limits.transcript = 100\ngrants.tools");
    for more in ["never = [\"other\"]", "max_calls = 5"] {
        runner.scenario(&format!("{short}expect.transcript = {{ {more} }}\n"));
        snapshot(&runner.exec(&[]).expect(1));
    }
}

#[test]
fn refused_calls_count_against_the_agent_and_never_for_it() {
    let steps = json!([
        { "call": "spare", "input": 1 },
        { "call": "shell", "input": { "args": ["say", "x"] } },
        { "call_text": "command", "text": "{" },
        // Refused by the schema, and by the template of the arguments.
        { "call": "refund", "input": { "args": ["say", "refunded"] } },
        { "call": "refund", "input": { "order": 17 } },
        { "call": "command", "input": { "args": ["say", "y"] } },
        { "call": "command", "input": { "args": ["say", "z"] } },
    ]);
    let spare = COMMAND.replace("tools.command", "tools.spare");
    let refund = COMMAND.replace("tools.command", "tools.refund");
    let schema = "input_schema = { required = [\"order\"] }\n";
    let grants = "grants.tools = [\"command\", \"refund\"]\nlimits.tool_calls = 4";
    let runner = scenario(&format!("{COMMAND}{spare}{refund}{schema}"), grants, &steps);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let expecting = |more: &str| {
        runner.scenario(&format!("{text}expect.transcript = {{ {more} }}\n"));
        runner.exec(&[])
    };
    for (more, says) in [
        ("never = [\"shell\"]", "these may not be called, but were: `shell`"),
        ("max_calls = 6", "expected at most 6 calls, got 7"),
        ("never = [\"refund\"]", "these may not be called, but were: `refund`"),
        ("calls = [\"refund\"]", "expected a call of `refund`, got `command`"),
        ("call = [{ tool = \"refund\" }]", "`refund` was not called"),
        ("calls = [\"sh*\"]", "expected a call of `sh*`, got `command`"),
        ("call = [{ tool = \"sp*\" }]", "`sp*` was not called"),
    ] {
        expecting(more).expect(1).says(&[says]);
    }
    let ran = expecting("calls = [\"command\"], max_calls = 7").expect(0);
    // Only a tool of the scenario can be granted.
    snapshot(&ran);
    assert!(!ran.stderr.contains("\"shell\""), "{}", ran.stderr);
    let extras = transcript(&runner)["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let extra = &step["extra"];
            (extra["error"].as_str().unwrap_or_default().to_owned(), extra["refused"] == true)
        })
        .collect::<Vec<_>>();
    let invalid = ("invalid-input", true);
    let denied = ("denied", true);
    let expected = [denied, denied, invalid, invalid, invalid, ("", false), ("limit", true)];
    assert!(extras.iter().map(|(error, is)| (&**error, *is)).eq(expected), "{extras:?}");
}
