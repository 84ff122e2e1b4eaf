//! What `--json` prints is what the published schemas say, key for key.

use serde_json::{Value, json};

use crate::support::runner::{Runner, Running, tests};

/// A trial that says much, and one that nobody waits for.
const SCENARIO: &str = r#"
says | { do = "log" } |
fails | { do = "echo", value = "x" } | equals = "y"
denied | { do = "error", kind = "denied", code = "E1", message = "may not" } |
"#;

fn finished() -> Runner {
    let runner = Runner::hostile(&tests(SCENARIO));
    runner.exec(&[]).expect(1);
    runner
}

/// A run that is going on, and has one row.
fn going_on() -> (Runner, Running) {
    let runner = Runner::hostile(&tests(
        r#"
        a | { do = "echo", value = 1 } |
        b | { do = "sleep" } |
        "#,
    ));
    let mut running = runner.start(&["-j", "1"]);
    running.wait_for(|event| event["event"] == "row");
    running.wait_until_running(1);
    (runner, running)
}

/// Runs a command that prints one document, which the schema of this name must describe with every key.
#[track_caller]
fn document(runner: &Runner, schema: &str, args: &[&str], code: i32) -> Value {
    let ran = runner.run(&[args, &["--json"]].concat()).expect(code);
    let document = ran.document();
    runner.assert_valid(schema, std::slice::from_ref(&document));
    assert_described(runner, schema, &document);
    document
}

/// Fails if the document has a key that the schema does not name.
#[track_caller]
fn assert_described(runner: &Runner, schema: &str, document: &Value) {
    let text = runner.run(&["schema", schema]).expect(0).stdout;
    let mut closed: Value = serde_json::from_str(&text).unwrap();
    close(&mut closed);
    let validator = jsonschema::validator_for(&closed).unwrap();
    let errors = validator.iter_errors(document);
    let errors: Vec<_> = errors.map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{document:#}");

    let mut more = document.clone();
    more["surprise"] = json!(1);
    assert!(!validator.is_valid(&more), "any key is described");
}

/// Lets no object have a key that its schema does not name.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(keys) => {
            keys.values_mut().for_each(close);
            if keys.contains_key("properties") && !keys.contains_key("additionalProperties") {
                keys.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn runs_are_listed_and_shown_as_their_schemas_say() {
    let runner = finished();
    let id = runner.only_run().id().to_owned();
    runner.run(&["pin", &id, "--reason", "release"]).expect(0);
    let list = document(&runner, "list", &["list"], 0);
    assert_eq!(list["runs"][0]["pinned"]["reason"], "release");
    let show = document(&runner, "show", &["show"], 0);
    assert_eq!(show["rows"].as_array().unwrap().len(), 3);
    assert_eq!(show["run"], list["runs"][0]);
    let failed = document(&runner, "show", &["show", "--failed"], 0);
    assert_eq!(failed["rows"].as_array().unwrap().len(), 2);
    assert_eq!(failed["live"], Value::Null);

    let said = document(&runner, "logs", &["logs", &id, "says"], 0);
    let attempt = &said["attempts"][0];
    assert_eq!(attempt["log"][0]["message"], "careful", "{attempt:#}");
}

#[test]
fn a_run_that_goes_on_is_listed_shown_and_stopped_as_the_schemas_say() {
    let (runner, running) = going_on();
    let list = document(&runner, "list", &["list"], 0);
    let run = &list["runs"][0];
    assert_eq!(
        (&run["exit_code"], &run["stage"]),
        (&Value::Null, &json!("run"))
    );
    let show = document(&runner, "show", &["show"], 0);
    assert_eq!(show["live"]["done"], 1, "{show:#}");
    assert_eq!(show["run"]["stage"], "run");
    assert_eq!(show["live"]["in_flight"][0]["trial"], "b@hostile#1");

    let stop = document(&runner, "stop", &["stop"], 0);
    assert_eq!(stop["result"], "stopped");
    running.finish().expect(4);
    let cancel = document(&runner, "stop", &["cancel", "latest"], 0);
    assert_eq!(cancel["result"], "cancelled");
}

#[test]
fn damage_is_told_as_the_schema_of_verify_says() {
    let runner = finished();
    let report = document(&runner, "verify", &["verify"], 0);
    assert_eq!(report["is_intact"], true);
    let run = runner.only_run();
    let rows = run.read("index.jsonl").replacen("\"v\":2", "\"v\":3", 1);
    run.write("index.jsonl", rows);
    let report = document(&runner, "verify", &["verify"], 1);
    assert_eq!(report["damages"][0]["line"], 1, "{report:#}");
}

#[test]
fn what_is_swept_and_pruned_is_told_as_the_schemas_say() {
    let (runner, running) = going_on();
    let crashed = runner.only_run().id().to_owned();
    running.kill();
    let report = document(&runner, "cleanup", &["cleanup"], 0);
    assert_eq!(report["runs"][0]["providers"], json!(["hostile"]));
    let spared = document(&runner, "prune", &["prune", &crashed], 2);
    assert_eq!(spared["spared"][0]["because"], "not yet swept");
    let report = document(&runner, "cleanup", &["cleanup", "--no-dry-run"], 0);
    assert_eq!(
        (&report["is_dry_run"], &report["runs"][0]["status"]),
        (&json!(false), &json!("incomplete"))
    );
    let pruned = document(&runner, "prune", &["prune", &crashed], 0);
    assert_eq!(pruned["runs"][0]["because_of"], json!(["named"]));
    assert_eq!(pruned["is_dry_run"], true);
    let pruned = document(&runner, "prune", &["prune", &crashed, "--no-dry-run"], 0);
    assert_eq!(pruned["left"]["count"], 0, "{pruned:#}");
}

#[test]
fn plugins_are_looked_into_and_called_as_the_schemas_say() {
    let runner = Runner::new(&["hostile", "command"]);
    let inspected = document(
        &runner,
        "plugin-inspect",
        &["plugin", "inspect", "hostile.wasm"],
        0,
    );
    assert_eq!(inspected["kind"], "component");
    let command = ["plugin", "inspect", "command.wasm"];
    let inspected = document(&runner, "plugin-inspect", &command, 0);
    assert_eq!(inspected["kind"], "command");
    runner.write("no.wasm", "no plugin");
    let none = document(
        &runner,
        "plugin-inspect",
        &["plugin", "inspect", "no.wasm"],
        2,
    );
    assert_eq!(
        (&none["kind"], &none["imports"]),
        (&Value::Null, &Value::Null)
    );

    for (input, code, key) in [
        (r#"{"do": "log"}"#, 0, "/log/0/fields/0"),
        (
            r#"{"do": "artifact", "name": "a.txt"}"#,
            0,
            "/artifacts/0/bytes",
        ),
        (
            r#"{"do": "error", "kind": "denied", "code": "E1", "message": "no"}"#,
            1,
            "/error/code",
        ),
    ] {
        let call = [
            "plugin",
            "run",
            "hostile.wasm",
            "--input",
            input,
            "--repeat",
            "2",
        ];
        let called = document(&runner, "plugin-run", &call, code);
        assert!(!called.pointer(key).unwrap().is_null(), "{called:#}");
    }
}

#[test]
fn tools_are_listed_as_their_schema_says() {
    let runner = Runner::new(&[]);
    let tools = document(&runner, "plugin-doctor", &["plugin", "doctor"], 0);
    assert!(tools["tools"].as_array().unwrap().len() > 3, "{tools:#}");
}
