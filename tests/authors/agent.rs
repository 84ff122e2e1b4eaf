//! `bundled:agent` with tools of a scenario.

use std::fs;

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::guests;
use crate::support::runner::Runner;
use crate::support::server::{Request, Response, Server};

/// Starts a model. `answer` gets the contents of the tools' messages.
fn model(answer: impl Fn(&[String]) -> Value + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let message = answer(&results(request));
        let usage = json!({"prompt_tokens": 100, "completion_tokens": 10});
        Response::ok(json!({"choices": [{"message": message}], "usage": usage}).to_string())
    })
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
    let metric = |name: &str| {
        let metrics = row["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["name"] == name).map(|metric| metric["value"].clone())
    };
    assert_eq!((metric("turns"), metric("tool_calls")), (Some(json!(2.0)), Some(json!(2.0))));
    assert_eq!(
        (metric("total_tokens"), metric("cost_usd")),
        (Some(json!(220.0)), Some(json!(4e-4)))
    );

    let sent: Vec<_> = server.requests().iter().map(body).collect();
    let parameters = json!({"type": "object", "required": ["args"]});
    assert_eq!(sent[0]["tools"][0]["function"]["parameters"], parameters);
    assert!(results(&server.requests()[1])[1].contains("there is no tool `fly`"));

    runner.run(&["show", "latest", "a", "--save", "saved"]).expect(0);
    let file = runner.path("saved/artifacts/transcript.json");
    let transcript: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
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
}

#[test]
fn agent_without_an_answer_fails_with_its_costs() {
    let server = model(|_| calling(&[("shell", &["fail", "no"])]));
    let runner = scenario(&server, ", max_turns = 3", "");
    snapshot(&runner.exec(&[]).expect(1));
    let row = runner.only_run().row("a");
    assert_eq!(
        (&row["outcome"], &row["checks"][0]["name"]),
        (&json!("failed"), &json!("max_turns"))
    );
    let metrics = row["metrics"].as_array().unwrap();
    let tokens = metrics.iter().find(|metric| metric["name"] == "total_tokens").unwrap();
    assert_eq!(tokens["value"], 330.0);
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
}
