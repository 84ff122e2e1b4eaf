//! Transcripts of attempts: on terminals, as JSON, and over HTTP.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use unicode_width::UnicodeWidthStr as _;

use crate::around::terminal::Terminal;
use crate::messages::outputs::snapshot;
use crate::results::schemas::Published;
use crate::support::{guests, http::Site, run::Run, run::sealed, runner::Runner, web::toml};

const SHOW: [&str; 4] = ["show", "latest", "a", "--transcript"];

/// Runs an agent that follows `steps`, and fails by `expect`.
fn agent(steps: &Value, expect: &str) -> Runner {
    let runner = Runner::new(&["contract-0-1-1-everything"]);
    runner.link(&guests::component("contract-0-1-1-everything"), "agent.wasm");
    runner.link(&guests::command(), "command.wasm");
    let tool = |name: &str, time: &str| {
        format!(
            "[tools.{name}]\nplugin = \"command.wasm\"\ndescription = \"x\"\nargs = \"{{{{input.args}}}}\"\nlimits.time = \"{time}\"\n"
        )
    };
    runner.scenario(&format!(
        "{}{}[providers.agent]\nplugin = \"agent.wasm\"\ngrants.tools = [\"lookup\", \"refund\"]\n\
         [[tests]]\nid = \"a\"\ninput = {}\n[tests.expect.transcript]\n{expect}\n",
        tool("lookup", "1m"),
        // A loop of this tool lasts as long.
        tool("refund", "1s"),
        toml(steps)
    ));
    runner.exec(&[]).expect(1);
    runner
}

fn call(tool: &str, args: &[&str]) -> Value {
    json!({ "call": tool, "input": { "args": args } })
}

/// A conversation with each kind of step, hostile texts and a large result.
fn conversation() -> Value {
    json!([
        { "append": { "source": "system", "message": "Be careful." } },
        { "append": { "source": "user", "message": "x".repeat(5000) } },
        { "append": {
            "source": "agent", "model_name": "gpt", "message": "I look\nit up.", "reasoning_content": "The order first.",
            "metrics": { "prompt_tokens": 1200, "completion_tokens": 34 },
        } },
        call("lookup", &["say", &"long ".repeat(1000)]),
        call("refund", &["say", "done"]),
        call("refund", &["loop"]),
        { "append": {
            "source": "agent", "message": "I\u{1b}[31m did\u{202e}\r it</pre><script>", "extra": { "by": "runner" },
            "tool_calls": [{ "tool_call_id": "x", "function_name": "drop\nall", "arguments": { "order": 17 } }],
            "observation": { "results": [{ "source_call_id": "x", "content": [{ "type": "text", "text": "gone" }, { "type": "image" }] }] },
        } },
        { "append": { "source": "user", "message": "ok", "is_copied_context": true, "observation": 7 } },
    ])
}

const EXPECT: &str = "calls = [\"lookup\", \"refund\", \"close\"]\nnever = [\"drop*\"]\nmax_calls = 2\n\
    call = [{ tool = \"lookup\" }, { tool = \"refund\", arguments = { order = 17 } }]";

#[test]
fn transcript_has_turns_calls_and_steps_of_failed_checks() {
    let runner = agent(&conversation(), EXPECT);
    let page = runner.run(&["show", "latest", "a"]).expect(0);
    page.says(&["transcript: 8 steps, 4 calls of tools; to see it: runner show ", "--transcript"]);

    let shown = runner.run(&SHOW).expect(0);
    snapshot(&shown);
    assert!(!shown.stdout.contains(['\u{1b}', '\u{202e}', '\r']), "{}", shown.stdout);
    assert_eq!(shown.stdout.matches("own word").count(), 1, "{}", shown.stdout);
    assert!(shown.stdout.len() < 8 << 10, "{}", shown.stdout.len());
    let whole = runner.run(&[&SHOW[..], &["--full"]].concat()).expect(0);
    assert!(whole.stdout.contains(&"x".repeat(5000)) && !whole.stderr.contains("folded"));

    let document = runner.run(&[&SHOW[..], &["--json"]].concat()).expect(0).document();
    assert_eq!(Published::read().problem("show-transcript", &document), None);
    assert_eq!((&document["total"], &document["calls"]), (&json!(8), &json!(4)));
    let failed = document["failed"].as_array().unwrap().iter();
    let failed: Vec<_> = failed.map(|one| (one["step"].as_u64(), one["kind"].as_str())).collect();
    let kinds = [(5, "calls"), (6, "max_calls"), (6, "call"), (7, "never")];
    let kinds = kinds.map(|(step, kind)| (step, format!("transcript.{kind}")));
    assert_eq!(failed, kinds.each_ref().map(|(step, kind)| (Some(*step), Some(&**kind))));
    assert_eq!(document["steps"][1]["message"]["bytes"], 5000);
    assert_eq!(document["steps"][1]["message"]["text"].as_str().unwrap().len(), 5000);
    let second = runner.run(&[&SHOW[..], &["--attempt", "2"]].concat());
    snapshot(&second.expect(2));

    let escapes = regex::Regex::new(r"\x1b\[[0-9;]*m").unwrap();
    for columns in [60, 80, 200] {
        let script =
            "\"$runner\" show latest a --transcript; \"$runner\" show latest a --transcript --full";
        let (_, output) = Terminal::run_script(&runner, columns, "UTC", script).end();
        for line in escapes.replace_all(&output, "").split(['\r', '\n']) {
            assert!(line.width() <= usize::from(columns), "{columns}: {line}");
            assert!(!line.contains(['\u{1b}', '\u{202e}']), "{line:?}");
        }
    }
}

#[test]
fn failed_check_has_its_step_in_the_row() {
    let runner = agent(&conversation(), EXPECT);
    let run = runner.only_run();
    let row = run.row("a");
    let steps = row["checks"].as_array().unwrap().iter().map(|check| check["step"].as_u64());
    assert_eq!(steps.collect::<Vec<_>>(), [Some(5), Some(7), Some(6), None, Some(6)]);

    // A row of an older version links no step, and its checks are shown as before.
    let step = regex::Regex::new(r#","step":[0-9]+"#).unwrap();
    let line = step.replace_all(run.text("index.jsonl").trim_end(), "").into_owned();
    run.write("index.jsonl", sealed(&line) + "\n");
    let document = runner.run(&[&SHOW[..], &["--json"]].concat()).expect(0).document();
    assert_eq!((&document["failed"], &document["calls"]), (&json!([]), &json!(4)));
    let steps = document["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["failed"] == json!([])), "{document}");
    let page = runner.run(&["show", "latest", "a"]).expect(0);
    page.says(&["transcript.never: these may not be called"]);
}

#[test]
fn reports_have_the_arguments_of_a_failed_call() {
    let runner = agent(
        &json!([call("refund", &["say", "no"])]),
        "call = [{ tool = \"refund\", arguments = { order = 17 } }]",
    );
    let lines = "transcript.call: at $.order: missing, expected 17; `refund` was called with other arguments got {\"args\":[\"say\",\"no\"]}";
    runner.run(&["report", "--markdown"]).expect(0).says(&[lines]);
    let html = runner.run(&["report", "--html"]).expect(0).stdout;
    assert!(
        html.contains(r#"got      {\"args\":[\"say\",\"no\"]}"#)
            || html.contains(r#"got      {\\\"args\\\""#),
        "no arguments"
    );
}

/// Replaces the transcript of the only row by another one, as a program that can write the run would.
fn replace(run: &Run, text: &[u8], steps: u64) {
    let row = run.row("a");
    let old = row["transcript"]["sha256"].as_str().unwrap();
    let new: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(run.dir.join("artifacts").join(&new[..2])).unwrap();
    run.write(&format!("artifacts/{}/{new}", &new[..2]), text);
    let bytes = row["artifacts"][0]["bytes"].as_u64().unwrap();
    let count = row["transcript"]["steps"].as_u64().unwrap();
    let line = run.text("index.jsonl").trim_end().replace(old, &new);
    let line =
        line.replace(&format!("\"bytes\":{bytes}}}]"), &format!("\"bytes\":{}}}]", text.len()));
    let line = line.replace(&format!("\"steps\":{count}}}"), &format!("\"steps\":{steps}}}"));
    run.write("index.jsonl", sealed(&line) + "\n");
}

#[test]
fn damaged_and_hostile_transcripts_are_refused_with_their_place() {
    let runner = agent(&json!([call("lookup", &["say", "x"])]), "never = [\"lookup\"]");
    let run = runner.only_run();
    let row = run.row("a");
    let digest = row["transcript"]["sha256"].as_str().unwrap();
    let path = format!("artifacts/{}/{digest}", &digest[..2]);
    let good = run.text(&path);
    let show = || runner.run(&SHOW);

    run.write(&path, good.replace("lookup", "lookuq"));
    show().expect(7).says(&[digest, "do not match", "runner verify"]);
    runner.run(&["verify", run.id()]).expect(1).says(&["its artifact `transcript.json` is lost"]);
    runner.run(&["show", "latest", "a"]).expect(0).says(&["transcript: 1 step; to see it: "]);
    fs::remove_file(run.dir.join(&path)).unwrap();
    show().expect(7).says(&[digest]);

    let head = "{\"schema_version\":\"ATIF-v1.7\",\"session_id\":\"x\",\"agent\":{},\"steps\":[\n";
    let step = "{\"step_id\":1,\"source\":\"user\",\"message\":\"a\"}";
    let deep = "[".repeat(1 << 20);
    let big = "x".repeat(33 << 20);
    for (text, problem) in [
        (String::new(), "line 1 is not whole"),
        (format!("{{\"steps\":[\n{step}\n]}}\n"), "line 1 missing field `agent`"),
        ("[]\n".to_owned(), "line 1 does not start a transcript"),
        (format!("{head}{step}\n"), "line 3 is not whole"),
        (format!("{head}{step}"), "line 2 is not whole"),
        (format!("{head}{step},\n]}}\n{step}\n"), "line 4 comes after its end"),
        (format!("{head}]}}\n"), "line 2 ends a transcript of 0 steps, and its row is of 1 step"),
        (
            format!("{head}{}\n]}}\n", step.replace(":1", ":2")),
            "line 2 has step 2 in place of step 1",
        ),
        (format!("{head}7\n]}}\n"), "line 2 is not a step: invalid type: integer"),
        (format!("{head}{{\"step_id\":1}}\n]}}\n"), "line 2 is not a step: missing field"),
        (format!("{head}{deep}\n]}}\n"), "line 2 is not a step"),
        (format!("{head}{}\n]}}\n", step.replace('a', "\u{1}")), "line 2 is not a step"),
        (format!("{head}{}\n]}}\n", step.replace('a', &big)), "line 2 is longer than 32 MiB"),
    ] {
        replace(&run, text.as_bytes(), 1);
        let start = &text[..text.len().min(200)];
        let shown = show();
        assert_eq!(shown.code, Some(2), "{start}: {shown:?}");
        shown.says(&["artifacts/", problem, "use `--open transcript.json`"]);
    }
    // Values of any form and depth are shown as they are written.
    let nested = format!("{}{}", "[".repeat(1 << 16), "]".repeat(1 << 16));
    let strange = format!(
        "{{\"step_id\":1,\"source\":\"agent\",\"message\":\"\\ud800\",\"extra\":[],\"metrics\":7,\"timestamp\":{{}},\"tool_calls\":[{{\"function_name\":\"f\",\"arguments\":{nested}}},7]}}"
    );
    replace(&run, format!("{head}{strange}\n]}}\n").as_bytes(), 1);
    show()
        .expect(0)
        .says(&["1 agent \\ud800 → f([[[", "its `tool_calls` cannot be read: invalid type"]);
}

#[test]
fn huge_transcripts_are_read_in_little_memory() {
    let runner = agent(&json!([call("lookup", &["say", "x"])]), "never = [\"lookup\"]");
    let run = runner.only_run();
    let head = "{\"schema_version\":\"ATIF-v1.7\",\"session_id\":\"x\",\"agent\":{},\"steps\":[";
    let many = 1_000_000;
    let mut text = head.to_owned();
    for step in 1..=many {
        let comma = if step > 1 { "," } else { "" };
        let _ =
            write!(text, "{comma}\n{{\"step_id\":{step},\"source\":\"user\",\"message\":\"\"}}");
    }
    replace(&run, (text + "\n]}\n").as_bytes(), many);
    let site = Site::start(&runner, &[]);
    let path = "/runs/latest/trials/a@agent%231";
    let page = site.get(&format!("{path}/transcript?near=999999"));
    let steps: Vec<_> =
        page["steps"].as_array().unwrap().iter().map(|one| one["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (999_994..=many).collect::<Vec<_>>());
    assert_eq!((&page["total"], &page["offset"]), (&json!(many), &json!(999_993)));

    let large = "y".repeat(16 << 20);
    let calls = "{\"function_name\":\"f\",\"arguments\":{}},".repeat(100_000);
    let text = format!(
        "{head}\n{{\"step_id\":1,\"source\":\"user\",\"message\":\"{large}\",\"tool_calls\":[{}]}}\n]}}\n",
        calls.trim_end_matches(',')
    );
    replace(&run, text.as_bytes(), 1);
    let page = site.get(&format!("{path}/transcript"));
    assert_eq!((&page["calls"], &page["steps"][0]["left_out"]), (&json!(100_000), &json!(99_980)));
    assert_eq!(page["steps"][0]["message"]["bytes"], 16 << 20);
    assert!(page.to_string().len() < 64 << 10);
    let peak = site.running.process().peak_memory();
    assert!(peak < 160 << 20, "{peak}");
    runner.run(&SHOW).expect(0).says(&["100,000 calls", "99,980 more"]);
}

#[test]
fn steps_are_served_by_place_and_by_tool() {
    let runner = agent(&conversation(), EXPECT);
    let site = Site::start(&runner, &[]);
    let path = "/runs/latest/trials/a@agent%231";
    let numbers = |keys: &str| {
        let page = site.get(&format!("{path}/transcript{keys}"));
        let steps = page["steps"].as_array().unwrap().iter();
        let steps: Vec<_> = steps.map(|one| one["step"].as_u64().unwrap()).collect();
        (page["total"].as_u64().unwrap(), page["offset"].as_u64().unwrap(), steps)
    };
    assert_eq!(numbers(""), (8, 0, (1..=8).collect()));
    assert_eq!(numbers("?attempt=1&offset=2&limit=2"), (8, 2, vec![3, 4]));
    assert_eq!(numbers("?near=8&limit=3"), (8, 2, vec![3, 4, 5]));
    assert_eq!(numbers("?tool=refund"), (2, 0, vec![5, 6]));
    assert_eq!(numbers("?tool=refund&offset=1"), (2, 1, vec![6]));
    assert_eq!(numbers("?tool=drop%0Aall"), (1, 0, vec![7]));
    assert_eq!(numbers("?tool=none&near=3"), (0, 0, vec![]));
    let page = site.get(&format!("{path}/transcript"));
    let tools: Vec<_> =
        page["tools"].as_array().unwrap().iter().map(|one| (&one["tool"], &one["calls"])).collect();
    assert_eq!(
        tools,
        [
            (&json!("drop\nall"), &json!(1)),
            (&json!("lookup"), &json!(1)),
            (&json!("refund"), &json!(2))
        ]
    );
    assert!(page["steps"][1]["message"]["text"].as_str().unwrap().len() <= 2000);
    site.ask("GET", &format!("{path}/transcript?limit=101"), None).refuses(400, &["limit"]);
    snapshot(site.ask("GET", &format!("{path}/transcript?attempt=2"), None).refuses(404, &[]));

    let whole = site.ask("GET", &format!("{path}/attempts/1/steps/2"), None).expect(200);
    assert_eq!(whole.text(), format!("── step ──\nuser\n── message ──\n{}\n", "x".repeat(5000)));
    let failed = site.ask("GET", &format!("{path}/attempts/1/steps/6"), None).expect(200).text();
    assert!(
        failed.contains("── call ──\nrefund({\"args\":[\"loop\"]})\n── error ──\ntimeout: "),
        "{failed}"
    );
    snapshot(site.ask("GET", &format!("{path}/attempts/1/steps/9"), None).refuses(404, &[]));
    snapshot(site.ask("GET", &format!("{path}/attempts/1/steps/0"), None).refuses(404, &[]));

    let plain = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    plain.exec(&[]).expect(0);
    snapshot(&plain.run(&SHOW).expect(2));
    let site = Site::start(&plain, &[]);
    site.ask("GET", "/runs/latest/trials/a@hostile%231/transcript", None)
        .refuses(404, &["no transcript"]);
}
