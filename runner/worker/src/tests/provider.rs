use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use runner_model::{
    Grants, Limits, NetGrant, ProviderName,
    grants::BoundSecret,
    prepare::SecretValues,
    provider::{Arguments, OutputForm, Protocol, Stdin},
    template::Template,
};
use runner_sandbox::AttachedFile;
use serde_json::{Value, json};

use crate::schema::Schema;

use super::{Provider, check_config, check_graded_input, command_call, compile, secrets};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn guest_knows_only_granted_secrets() {
    let bound = |name: &str| BoundSecret {
        name: name.into(),
        host: NetGrant::parse("https://a.example").unwrap(),
        header: "x-key".into(),
    };
    let grants = Grants {
        secrets: vec!["ASKED".into(), "BOTH".into()],
        bound_secrets: vec![bound("BOUND"), bound("BOTH")],
        env: vec![("T".into(), template("{{secret.VARIABLE}}"))],
        ..Grants::default()
    };
    let names = ["ASKED", "BOTH", "BOUND", "VARIABLE", "TOOL", "OTHER"];
    let values = names.map(|name| (name.to_owned(), format!("value of {name}")));
    let values = SecretValues(BTreeMap::from(values));
    for (is_command, known) in [(false, &["ASKED", "BOTH", "VARIABLE"][..]), (true, &["VARIABLE"])]
    {
        let secrets = secrets(&grants, BTreeSet::from(["TOOL".to_owned()]), is_command, &values);
        for name in names {
            assert_eq!(secrets.get(name).is_some(), known.contains(&name), "{name}");
        }
        let redactor = secrets.redactor().unwrap();
        for name in names {
            let is_in = redactor.is_in(format!("value of {name}").as_bytes());
            assert_eq!(is_in, name != "OTHER", "{name}");
        }
    }
}

#[test]
fn command_receives_rendered_templates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blob");
    std::fs::write(&path, "content").unwrap();
    let attached =
        |name: &str, bytes| AttachedFile { name: name.into(), bytes, path: path.clone() };
    let files = [attached("in.txt", 7), attached("large.txt", 11)];
    let fill = |argument: &str, stdin: Option<Stdin>, input| {
        let settings = Provider {
            grading: None,
            tool: None,
            name: ProviderName::parse("p").unwrap(),
            plugin: "p.wasm".into(),
            config: json!({}),
            args: Arguments::Each(vec![template(argument)]),
            stdin,
            output: OutputForm::Text,
            protocol: Protocol::Plain,
            sha256: None,
            reuse: None,
            grants: Grants::default(),
            limits: Limits { input: 10, ..Limits::default() },
            concurrency: None,
            rate: None,
            budget: Default::default(),
            prices: Default::default(),
            records: None,
            deterministic: None,
            workspace: None,
            files: Vec::new(),
        };
        let roots = [("input", &input), ("config", &json!({"lang": "en"}))];
        let filled = command_call(&settings, &roots, &files, |path| fs::read(path));
        filled.map_err(|error| (error.code.to_string(), error.message.to_string()))
    };
    let input = json!({"n": 1, "text": "a\0b"});
    let file = |file: &str| Some(Stdin::File { file: file.into() });
    let filled = fill("-{{input.n}}{{config.lang}}", file("in.txt"), input.clone()).unwrap();
    assert_eq!((filled.args, filled.stdin), (vec!["-1en".into()], Some(b"content".to_vec())));
    let text = Some(Stdin::Text(template("{{input.text}}")));
    assert_eq!(fill("x", text, input.clone()).unwrap().stdin, Some(b"a\0b".to_vec()));
    for (argument, stdin, code, message) in [
        ("{{input.text}}", None, "template", "an argument contains a NUL character"),
        ("{{input.x}}", None, "template", "there is no `input.x`, which an argument needs"),
        (
            "",
            file("out.txt"),
            "attachment",
            "the test has no attachment `out.txt` for standard input",
        ),
        ("", file("large.txt"), "input", "the standard input has 11 B, and `limits.input` is 10 B"),
        (
            "",
            Some(Stdin::Text(template("{{input.y}}"))),
            "template",
            "there is no `input.y`, which `stdin` needs",
        ),
    ] {
        let refusal = fill(argument, stdin, input.clone()).unwrap_err();
        assert_eq!(refusal, (code.into(), message.into()));
    }
}

#[test]
fn configuration_must_match_its_schema() {
    let schema = json!({"properties": {"n": {"type": "integer"}}});
    let check = |schema, config| check_config(schema, &config).map_err(|problem| problem.message);
    assert_eq!(check(None, json!({"n": "x"})), Ok(()));
    assert_eq!(check(Some(&schema), json!({"n": 1})), Ok(()));
    assert_eq!(
        check(Some(&schema), json!({"n": "x"})),
        Err("refuses its `config`: `$.n` must be an integer, not a string".into())
    );
    let broken = compile("input", Some(&json!({"type": 1}))).err().unwrap();
    let message = broken.message;
    assert!(
        message.starts_with("describes a schema of its input that is not a valid JSON Schema"),
        "{message}"
    );
}

#[test]
fn input_of_a_grader_is_refused_by_keys_and_constant_values() {
    let check = |schema: Value, input: Option<Value>| {
        let schema = Schema::new(schema).unwrap();
        check_graded_input(&schema, input.as_ref(), "judge").map_err(|problem| problem.message)
    };
    let closed = json!({
        "type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": false
    });
    let object = json!({"type": "object", "required": ["answer"]});
    let item = json!({"required": ["a"], "properties": {"a": {"type": "string"}}});
    let list = json!({"properties": {"list": {"items": item}}});
    for (schema, input) in [
        (json!(true), None),
        (json!({"type": "object", "required": ["output"]}), None),
        (json!({"properties": {"output": object}}), None),
        (json!({"properties": {"output": {"enum": [1]}}}), None),
        (json!({"anyOf": [{"type": "string"}, {"properties": {"output": object}}]}), None),
        (closed.clone(), Some(json!("{{output}}"))),
        (closed.clone(), Some(json!({"text": "{{output}}"}))),
        (closed.clone(), Some(json!({"text": "{{output.a.b}}"}))),
        (json!({"type": "integer"}), Some(json!("{{output}}"))),
        (list.clone(), Some(json!({"list": ["{{output}}"]}))),
        (list.clone(), Some(json!({"list": [{"a": "{{output}}"}, {"a": "text"}]}))),
    ] {
        assert_eq!(check(schema.clone(), input), Ok(()), "{schema}");
    }
    for (schema, input, words) in [
        (closed.clone(), None, "write `input = { KEY = \"{{output}}\" }` in `[graders.judge]`"),
        (json!({"type": "string"}), None, "write `input = \"…{{output}}…\"` in `[graders.judge]`"),
        (json!({"required": ["prompt"]}), None, "missing key `prompt`"),
        (closed, Some(json!({"test": "{{output}}"})), "refuses its `input`: unknown key `test`"),
        (json!({"required": ["a"]}), Some(json!({"b": "{{output}}"})), "missing key `a`"),
        (
            list.clone(),
            Some(json!({"list": [{"b": "{{output}}"}]})),
            "refuses its `input`: at $.list[0]: missing key `a`",
        ),
        (list, Some(json!({"list": [{"a": 1}]})), "`$.list[0].a` must be a string"),
    ] {
        let message = check(schema, input).unwrap_err();
        assert!(message.contains(words), "{message}");
    }
}
