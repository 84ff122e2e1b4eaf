//! `bundled:agent` with tools of a scenario.

use std::fs;

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::guests;
use crate::support::runner::Runner;
use crate::support::server::{Request, Response, Server};

/// Starts a model. `answer` gets the contents of the tools' messages.
fn model(answer: impl Fn(&[String]) -> Value + Send + Sync + 'static) -> Server {
    Server::start(move |request| answered(&answer(&results(request)), 100))
}

fn answered(message: &Value, prompt_tokens: usize) -> Response {
    let usage = json!({"prompt_tokens": prompt_tokens, "completion_tokens": 10});
    Response::ok(json!({"choices": [{"message": message}], "usage": usage}).to_string())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn results(request: &Request) -> Vec<String> {
    let body = body(request);
    let messages = body["messages"].as_array().unwrap().iter();
    let results = messages.filter(|message| message["role"] == "tool");
    results.map(|message| message["content"].as_str().unwrap().to_owned()).collect()
}

/// Returns a message with calls, each a tool and the arguments of its program.
fn calling(calls: &[(&str, &[&str])]) -> Value {
    let calls = calls.iter().enumerate().map(|(index, (name, args))| {
        let arguments = json!({"args": args}).to_string();
        let function = json!({"name": name, "arguments": arguments});
        json!({"id": format!("c{index}"), "type": "function", "function": function})
    });
    json!({"role": "assistant", "content": null, "tool_calls": calls.collect::<Value>()})
}

/// Creates a scenario with a task for an agent, whose tool is a program.
fn scenario(server: &Server, config: &str, expect: &str) -> Runner {
    let runner = Runner::new(&[]);
    runner.link(&guests::command(), "command.wasm");
    let origin = server.origin();
    runner.scenario(&format!(
        "[providers.agent]\nplugin = \"bundled:agent\"\n\
         config = {{ base_url = \"{origin}\", model = \"m\", api_key_secret = \"\"{config} }}\n\
         grants = {{ net = [\"{origin}\"], tools = [\"shell\"] }}\n\
         [tools.shell]\nplugin = \"command.wasm\"\nargs = \"{{{{input.args}}}}\"\n\
         description = \"Does what it is told\"\n\
         input_schema = {{ type = \"object\", required = [\"args\"] }}\n\
         [[tests]]\nid = \"a\"\ninput = \"greet\"\n{expect}\n"
    ));
    runner
}

#[test]
fn agent_solves_a_task_with_a_tool() {
    let server = model(|results| match results {
        [] => calling(&[("shell", &["say", "hello"]), ("fly", &[])]),
        [said, _] => {
            let said: Value = serde_json::from_str(said).unwrap();
            json!({"role": "assistant", "content": said["stdout"]})
        }
        _ => unreachable!("{results:?}"),
    });
    let price = ", price = { input = 1, output = 10 }";
    let expect = "expect = { equals = \"hello\", transcript = { calls = [\"shell\"] } }";
    let runner = scenario(&server, price, expect);
    runner.exec(&[]).expect(0);
    let row = runner.only_run().row("a");
    let metric = |name: &str| metric(&row, name);
    assert_eq!((metric("turns"), metric("tool_calls")), (2.0, 2.0));
    assert_eq!((metric("total_tokens"), metric("cost_usd")), (220.0, 4e-4));

    let sent: Vec<_> = server.requests().iter().map(body).collect();
    let parameters = json!({"type": "object", "required": ["args"], "properties": {}});
    assert_eq!(sent[0]["tools"][0]["function"]["parameters"], parameters);
    assert!(results(&server.requests()[1])[1].contains("there is no tool `fly`"));

    let transcript = transcript(&runner);
    let steps = transcript["steps"].as_array().unwrap().iter();
    let steps: Vec<_> = steps
        .map(|step| {
            let tool = step["tool_calls"][0]["function_name"].as_str().unwrap_or_default();
            (step["source"].as_str().unwrap(), step["extra"]["by"].as_str().unwrap(), tool)
        })
        .collect();
    assert_eq!(
        steps,
        [
            ("user", "guest", ""),
            ("agent", "guest", ""),
            ("agent", "runner", "shell"),
            ("agent", "guest", "fly"),
            ("agent", "guest", ""),
        ]
    );
    assert_eq!(transcript["steps"][1]["metrics"]["prompt_tokens"], 100);
    assert_eq!(transcript["steps"][4]["extra"]["ended"], "done");
}

fn metric(row: &Value, name: &str) -> f64 {
    let mut metrics = row["metrics"].as_array().unwrap().iter();
    metrics.find(|metric| metric["name"] == name).unwrap()["value"].as_f64().unwrap()
}

fn transcript(runner: &Runner) -> Value {
    runner.run(&["show", "latest", "a", "--save", "saved"]).expect(0);
    let file = runner.path("saved/artifacts/transcript.json");
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The tool prints megabytes. In the second run, the bounds of the agent are those of the host.
#[test]
fn flooding_tools_and_answers_end_no_attempt() {
    let server = Server::start(|request| {
        let message = match &results(request)[..] {
            [] => calling(&[("shell", &["flood", "9"])]),
            [_] => calling(&[("shell", &["say", "hello"])]),
            [flood, _] => {
                assert!(flood.contains(" bytes left out\\n"), "{}", &flood[..200]);
                json!({"role": "assistant", "content": "done"})
            }
            _ => unreachable!(),
        };
        // A token is about four bytes.
        answered(&message, request.body.len() / 4)
    });
    let runner = scenario(&server, "", "expect = { equals = \"done\" }");
    runner.exec(&[]).expect(0);
    let tokens = metric(&runner.only_run().row("a"), "total_tokens");
    assert!((8_000.0..30_000.0).contains(&tokens), "{tokens}");
    // The transcript has the start and the end of the result.
    let length = transcript(&runner).to_string().len();
    assert!((256 << 10..1 << 20).contains(&length), "{length}");

    let server = model(|results| match results.len() {
        6 => json!({"role": "assistant", "content": "\n".repeat(3 << 20)}),
        _ => calling(&[("shell", &["flood", "3"])]),
    });
    let runner = scenario(&server, ", max_result = \"4MiB\", context = \"4MiB\"", "");
    runner.exec(&[]).expect(0);
    let sizes = server.requests().into_iter().map(|request| request.body.len());
    let sizes: Vec<_> = sizes.collect();
    assert!(sizes.len() == 7 && sizes.iter().all(|size| *size <= 4 << 20), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > 3 << 20), "{sizes:?}");
}

#[test]
fn full_context_is_an_answer_and_other_refusals_are_errors() {
    for (code, ended) in [("context_length_exceeded", json!("context")), ("bad_tool", json!(null))]
    {
        let server = Server::start(move |request| match results(request).len() {
            0 => answered(&calling(&[("shell", &["say", "hello"])]), 100),
            _ => {
                let error = json!({"error": {"message": "no", "code": code}});
                Response::new(400).body(error.to_string().into_bytes())
            }
        });
        let runner = scenario(&server, "", "expect = { transcript = { calls = [\"shell\"] } }");
        runner.exec(&[]);
        let row = runner.only_run().row("a");
        assert_eq!(row["outcome"] == "error", ended.is_null(), "{row}");
        let transcript = transcript(&runner);
        let last = transcript["steps"].as_array().unwrap().last().unwrap();
        assert_eq!(last["extra"]["ended"], ended, "{last}");
    }
}

#[test]
fn agent_without_an_answer_fails_with_its_costs() {
    let server = model(|_| calling(&[("shell", &["fail", "no"])]));
    let runner = scenario(&server, ", max_turns = 3", "expect = { equals = \"done\" }");
    snapshot(&runner.exec(&[]).expect(1));
    let row = runner.only_run().row("a");
    assert_eq!((&row["outcome"], &row["output"]), (&json!("failed"), &json!("")));
    assert_eq!(metric(&row, "total_tokens"), 330.0);
    let transcript = transcript(&runner);
    let last = transcript["steps"].as_array().unwrap().last().unwrap();
    assert_eq!(last["extra"]["ended"], "turns");
    assert_eq!(results(&server.requests()[2]).len(), 2);
}

#[test]
fn hints_for_models_are_for_agents_too() {
    let server = model(|_| json!({"role": "assistant", "content": "{\"a\": 1}"}));
    let runner = scenario(&server, "", "expect = { equals = { a = 1 } }");
    snapshot(&runner.exec(&[]).expect(1));
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    let closed = text.replace(&format!("net = [\"{}\"], ", server.origin()), "");
    runner.scenario(&closed);
    let ran = runner.run(&["exec", "scenario.toml", "--dry-run"]).expect(0);
    snapshot(&ran);
    ran.says(&[&server.origin()]);
    // The proposal keeps the tools.

    let anthropic = closed.replace("config = {", "config = { api = \"anthropic\",");
    let anthropic = anthropic.replace(&format!(" base_url = \"{}\",", server.origin()), "");
    runner.scenario(&anthropic.replace(", api_key_secret = \"\"", ""));
    let ran = runner.run(&["exec", "scenario.toml", "--dry-run"]).expect(0);
    ran.says(&["https://api.anthropic.com", "ANTHROPIC_API_KEY"]);
}
