//! Tools: calls inside of a call.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use runner_model::provider::{OutputForm, Protocol};
use runner_model::row::{Metric, Usage};
use runner_model::workspace::{EntryKind, TreeEntry};
use runner_model::{ErrorClass, Limits, Micros, Time, digest};
use serde_json::{Value, json};

use super::support::{Bench, guests, output, wait_for_removal};
use crate::{
    Access, Activity, Base, Call, CallWorkspace, CommandCall, Ended, Ending, Inside, Interrupt,
    ListedTool, Overlay, Plugin, RunningTool, Toolbox, failure,
};

/// Tools that are provided by plugins with the given limits.
#[derive(Debug)]
pub(super) struct Tools {
    listed: Vec<ListedTool>,
    plugins: Vec<(Plugin, Limits)>,
    access: Access,
}

impl Tools {
    pub(super) fn new(bench: &Bench, plugins: Vec<(&str, Plugin, Limits)>) -> Arc<Self> {
        let names = plugins.iter().map(|(name, ..)| ListedTool {
            name: (*name).to_owned(),
            description: format!("about {name}"),
            input_schema: None,
        });
        let listed = names.collect();
        let plugins = plugins.into_iter().map(|(_, plugin, limits)| (plugin, limits)).collect();
        Arc::new(Self { listed, plugins, access: bench.access.clone() })
    }
}

impl Toolbox for Tools {
    fn list(&self) -> &[ListedTool] {
        &self.listed
    }

    fn run<'a>(&'a self, tool: usize, input: &'a str, inside: Inside) -> RunningTool<'a> {
        Box::pin(async move {
            let (plugin, limits) = &self.plugins[tool];
            let args = serde_json::from_str::<Value>(input).unwrap();
            let args = args.as_array().into_iter().flatten();
            let args = args.filter_map(|arg| Some(arg.as_str()?.to_owned())).collect();
            let call = Call {
                trial: "test@provider#1",
                test: "test",
                provider: "provider",
                repeat: 1,
                attempt: 1,
                seed: 0,
                random: None,
                input,
                config: "{}",
                tags: &[],
                files: &[],
                env: &[],
                access: &self.access,
                activity: &Activity::default(),
                command: Some(CommandCall {
                    program: "tool.wasm".to_owned(),
                    args,
                    stdin: None,
                    protocol: Protocol::Plain,
                    output: OutputForm::Text,
                }),
                limits,
                timeout: inside.rest,
                deterministic: None,
                workspace: None,
                journal: None,
                records: None,
                tools: None,
                inside: Some(inside),
            };
            plugin.run(&mut None, call).await
        })
    }
}

pub(super) fn caller(bench: &Bench) -> Plugin {
    bench.guest(&guests::component("contract-0-1-1-everything"))
}

fn run(bench: &Bench, plugin: &Plugin, tools: &Arc<Tools>, steps: &Value) -> Ended {
    let steps = steps.to_string();
    let tools: Arc<dyn Toolbox> = tools.clone();
    let call = Call { tools: Some(tools), ..bench.call(&steps) };
    bench.runtime.block_on(plugin.run(&mut None, call))
}

pub(super) fn answers(ended: &Ended) -> Value {
    serde_json::from_str(output(ended)).unwrap()
}

#[test]
fn guest_calls_programs_and_providers() {
    let bench = Bench::new();
    let tools = Tools::new(
        &bench,
        vec![
            ("command", bench.guest(&guests::command()), Limits::default()),
            ("echo", bench.bundled("echo"), Limits::default()),
        ],
    );
    let ended = run(
        &bench,
        &caller(&bench),
        &tools,
        &json!([
            {"list": true},
            {"call": "command", "input": ["say", "h\u{e9}llo"]},
            {"call": "command", "input": ["fail", "no"]},
            {"call": "echo", "input": {"a": [1, 2.50]}},
            {"call": "other", "input": 1},
        ]),
    );
    assert_eq!(
        answers(&ended),
        json!([
            [["command", "about command", null], ["echo", "about echo", null]],
            {"ok": {"exit_code": 0, "stdout": "h\u{e9}llo", "stderr": ""}},
            {"ok": {"exit_code": 1, "stdout": "", "stderr": "no\n"}},
            {"ok": {"a": [1, 2.5]}},
            {"error": "denied", "message": "the tool `other` is not granted", "details": null},
        ])
    );
    let denied = &ended.denied[0];
    assert_eq!(
        (&*denied.what, &denied.grant),
        ("the tool `other`, which is not in `[tools]`", &None)
    );
    let steps: Vec<Value> =
        ended.transcript.iter().map(|step| serde_json::from_str(step.get()).unwrap()).collect();
    assert_eq!(steps.len(), 4);
    assert_eq!(steps[2]["tool_calls"][0]["arguments"], json!({"a": [1, 2.5]}));
    assert_eq!(steps[2]["observation"]["results"][0]["content"], "{\"a\":[1,2.5]}");
    let extra = json!({ "by": "runner", "error": "denied", "refused": true });
    assert_eq!(steps[3]["extra"], extra);
}

#[test]
fn errors_of_tools_are_data_for_the_caller() {
    let bench = Bench::new();
    let limited = |change: fn(&mut Limits)| {
        let mut limits = Limits::default();
        change(&mut limits);
        limits
    };
    let command = || bench.guest(&guests::command());
    let tools = Tools::new(
        &bench,
        vec![
            ("slow", command(), limited(|limits| limits.time = Some(Micros(50_000)))),
            // Long enough to write something, also on a busy machine.
            ("writing", command(), limited(|limits| limits.time = Some(Micros(1_000_000)))),
            ("small", command(), limited(|limits| limits.reply = 4096)),
            ("poor", caller(&bench), limited(|limits| limits.memory = 4 << 20)),
            ("one", caller(&bench), Limits::default()),
        ],
    );
    let ended = run(
        &bench,
        &caller(&bench),
        &tools,
        &json!([
            {"call": "writing", "input": ["flood-forever"]},
            {"call": "slow", "input": ["sleep"]},
            {"call": "small", "input": ["panic"]},
            {"call": "small", "input": ["flood", "1"]},
            {"call": "poor", "input": {"grow": 64 << 20}},
            {"call": "one", "input": {"fail": "its own words"}},
            {"call": "one", "input": {"call": "one", "input": 1}},
        ]),
    );
    let answers = answers(&ended);
    let kinds: Vec<_> = answers.as_array().unwrap().iter().map(|one| &one["error"]).collect();
    assert_eq!(kinds[..3], ["timeout", "timeout", "trap"], "{answers:#}");
    let details = |call: usize, stream: &str| answers[call]["details"][stream].as_str().unwrap();
    assert!(details(0, "stdout").starts_with("xxxx"), "{answers:#}");
    assert_eq!((details(0, "stderr"), &answers[1]["details"]), ("", &Value::Null));
    assert!(details(2, "stderr").contains("the command's own words"), "{answers:#}");
    assert!(answers[3]["ok"]["stdout"].as_str().unwrap().len() < 5000);
    assert_eq!(kinds[4..6], ["limit", "failed"], "{answers:#}");
    assert_eq!(answers[5]["message"], "its own words");
    // A tool has no tools.
    assert_eq!(answers[6]["ok"]["error"], "denied");
    assert!(
        ended.denied.iter().any(|denied| denied.what.starts_with("tool `one`: the tool `one`"))
    );
}

#[test]
fn caller_ends_with_its_tool() {
    let bench = Bench { timeout: std::time::Duration::from_secs(1), ..Bench::new() };
    let command = || bench.guest(&guests::command());
    let tools = Tools::new(&bench, vec![("command", command(), Limits::default())]);
    let caller = caller(&bench);
    for step in ["loop", "sleep"] {
        let ended = run(&bench, &caller, &tools, &json!([{"call": "command", "input": [step]}]));
        assert!(matches!(ended.ending, Ending::Timeout), "{step}: {:?}", ended.ending);
        assert_eq!(ended.transcript.len(), 1, "{step}");
    }
    let calls = json!([{"call": "command", "input": ["say", "a"]}]);
    let calls = json!([calls[0], calls[0], calls[0]]);
    let bench = Bench { limits: Limits { tool_calls: 2, ..Limits::default() }, ..Bench::new() };
    let ended = run(&bench, &self::caller(&bench), &tools, &calls);
    assert_eq!(answers(&ended)[2]["error"], "limit");
}

/// Calls that end in this way, with a name each.
#[derive(Debug)]
struct Ends(Vec<ListedTool>, fn(usize) -> Ending);

impl Toolbox for Ends {
    fn list(&self) -> &[ListedTool] {
        &self.0
    }

    fn run<'a>(&'a self, tool: usize, _: &'a str, _: Inside) -> RunningTool<'a> {
        Box::pin(async move { Ended::without_sandbox(self.1(tool)) })
    }
}

/// A tool that still has to end when its caller has to.
#[derive(Debug)]
struct Late([ListedTool; 1], Interrupt);

impl Toolbox for Late {
    fn list(&self) -> &[ListedTool] {
        &self.0
    }

    fn run<'a>(&'a self, _: usize, _: &'a str, _: Inside) -> RunningTool<'a> {
        Box::pin(async move {
            self.1.now();
            tokio::task::yield_now().await;
            Ended {
                had_sandbox: true,
                usage: Usage { http_requests: 3, ..Usage::default() },
                reported: vec![Metric { name: "total_tokens".into(), value: 9.0, unit: None }],
                ..Ended::without_sandbox(Ending::Stopped)
            }
        })
    }
}

#[test]
fn call_counts_that_is_in_flight_when_its_caller_ends() {
    let bench = Bench::new();
    let caller = caller(&bench);
    let late =
        ListedTool { name: "late".to_owned(), description: String::new(), input_schema: None };
    let tools: Arc<dyn Toolbox> = Arc::new(Late([late], caller.interrupt.clone()));
    let call = Call { tools: Some(tools), ..bench.call(r#"[{"call": "late"}]"#) };
    let ended = bench.runtime.block_on(caller.run(&mut None, call));
    assert!(matches!(ended.ending, Ending::Stopped), "{:?}", ended.ending);
    assert_eq!((ended.usage.http_requests, ended.reported_by_tools[0].value), (3, 9.0));
    let step: Value = serde_json::from_str(ended.transcript[0].get()).unwrap();
    assert_eq!(step["extra"]["error"], "stopped");
}

/// The caller of a stopped tool sees the error only if the run continues.
#[test]
fn stopped_tool_and_one_without_a_sandbox_are_errors() {
    let bench = Bench::new();
    let names = ["stopped", "diverged", "refused"].map(|name| ListedTool {
        name: name.to_owned(),
        description: String::new(),
        input_schema: None,
    });
    let end = |tool| match tool {
        0 => Ending::Stopped,
        1 => Ending::Diverged("it differs".to_owned()),
        _ => Ending::Error(failure(ErrorClass::InvalidInput, "input", "no")),
    };
    let tools: Arc<dyn Toolbox> = Arc::new(Ends(names.to_vec(), end));
    let steps = json!([{"call": "stopped"}, {"call": "diverged"}, {"call": "refused"}]).to_string();
    let call = Call { tools: Some(tools), ..bench.call(&steps) };
    let ended = bench.runtime.block_on(caller(&bench).run(&mut None, call));
    let stopped = json!({"error": "stopped", "message": "the run was stopped", "details": null});
    let refused = json!({"error": "invalidinput", "message": "no", "details": null});
    assert_eq!(answers(&ended), json!([stopped, stopped, refused]));
    for (step, error) in ended.transcript.iter().zip(["stopped", "stopped", "invalid-input"]) {
        let step: Value = serde_json::from_str(step.get()).unwrap();
        assert_eq!(step["extra"], json!({"by": "runner", "error": error, "refused": true}));
    }
    assert_eq!(ended.transcript.len(), 3);
}

#[test]
fn input_of_a_tool_is_json_within_its_limit() {
    let bench = Bench::new();
    let limits = Limits { input: 10, ..Limits::default() };
    let tools = Tools::new(&bench, vec![("echo", bench.bundled("echo"), limits)]);
    let steps = json!([
        {"call_text": "echo", "text": "{"},
        {"call": "echo", "input": "0123456789"},
        {"call": "echo", "input": "01234567"},
    ]);
    let answers = answers(&run(&bench, &caller(&bench), &tools, &steps));
    assert_eq!(answers[0]["error"], "invalidinput", "{answers:#}");
    assert_eq!(answers[1]["error"], "limit", "{answers:#}");
    assert_eq!(answers[2]["ok"], "01234567", "{answers:#}");
}

/// A file of the caller that a tool replaces stays open, and after any end of a tool the caller writes to files of its own.
#[test]
fn base_stays_and_open_files_follow_a_tool() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("scratch")).unwrap();
    let names = ["a", "b", "c", "d", "e", "f"];
    let entries = names.map(|name| {
        let content = format!("base {name}");
        let sha256 = digest(content.as_bytes());
        fs::write(path(&sha256.to_string()), &content).unwrap();
        TreeEntry {
            path: name.into(),
            kind: EntryKind::File,
            mode: 0o644,
            bytes: content.len() as u64,
            sha256: Some(sha256),
            target: None,
        }
    });
    let base = Base::copy(&entries, &path("base"), |sha256| path(&sha256.to_string())).unwrap();
    let access = Access { scratch: path("scratch"), ..Access::default() };
    let limits = Limits { scratch: 1 << 20, ..Limits::default() };
    let bench = Bench { access, limits, ..Bench::new() };
    let short = Limits { time: Some(Micros(50_000)), ..Limits::default() };
    let poor = Limits { memory: 4 << 20, ..Limits::default() };
    let command = || bench.guest(&guests::command());
    let tools: Arc<dyn Toolbox> = Tools::new(
        &bench,
        vec![
            ("one", caller(&bench), Limits::default()),
            ("short", caller(&bench), short.clone()),
            ("poor", caller(&bench), poor),
            ("short-command", command(), short),
            ("command", command(), Limits::default()),
        ],
    );
    let write =
        |name: &str| json!({"write": format!("/work/{name}"), "text": format!("new {name}")});
    let steps = json!([
        {"open": "/work/a"},
        {"call": "one", "input": write("a")},
        {"read_open": true},
        {"open": "/work/b"},
        {"call": "poor", "input": [write("b"), {"grow": 64 << 20}]},
        {"read_open": true},
        write("c"),
        {"call": "short", "input": {"loop": true}},
        write("d"),
        {"call": "short-command", "input": ["loop"]},
        write("e"),
        {"call": "command", "input": ["panic"]},
        write("f"),
    ]);
    let steps = steps.to_string();
    let workspace = CallWorkspace {
        base: Some(Arc::new(base)),
        mount: "/work",
        overlay: None,
        is_read_only: false,
        keeps: true,
    };
    let call = Call { tools: Some(tools), workspace: Some(workspace), ..bench.call(&steps) };
    let ended = bench.runtime.block_on(caller(&bench).run(&mut None, call));
    let answers = answers(&ended);
    assert_eq!([&answers[2], &answers[5]], ["new a", "new b"], "{answers:#}");
    let errors = [4, 7, 9, 11].map(|call| answers[call]["error"].as_str().unwrap());
    assert_eq!(errors, ["limit", "timeout", "timeout", "trap"]);
    let left = ended.workspace.unwrap();
    assert_eq!((left.added, left.changed, left.removed), (0, 6, 0));
    let files = fs::read_dir(path("base")).unwrap();
    let mut texts: Vec<_> =
        files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    texts.sort();
    assert_eq!(texts, names.map(|name| format!("base {name}")));
}

#[test]
fn tool_works_in_the_workspace_of_its_caller() {
    let scratch = tempfile::tempdir().unwrap();
    let access = Access { scratch: scratch.path().to_owned(), ..Access::default() };
    let limits = Limits { scratch: 1 << 20, ..Limits::default() };
    let bench = Bench { access, limits, ..Bench::new() };
    let small = Limits { scratch: 1 << 16, ..Limits::default() };
    let tools = Tools::new(&bench, vec![("one", caller(&bench), small)]);
    let run = |steps: Value| {
        let steps = steps.to_string();
        let workspace = CallWorkspace {
            base: None,
            mount: "/work",
            overlay: None,
            is_read_only: false,
            keeps: true,
        };
        let tools: Arc<dyn Toolbox> = tools.clone();
        let workspace = Some(workspace);
        let call = Call { tools: Some(tools), workspace, ..bench.call(&steps) };
        bench.runtime.block_on(caller(&bench).run(&mut None, call))
    };
    let ended = run(json!([
        {"write": "/work/a.txt", "text": "by the caller"},
        {"call": "one", "input": [
            {"read": "/work/a.txt"},
            {"write": "/work/b.txt", "text": "by the tool"},
            {"write": "/scratch/own", "text": "its own"},
        ]},
        {"read": "/work/b.txt"},
    ]));
    let answers = answers(&ended);
    assert_eq!(answers[1], json!({"ok": ["by the caller", null, null]}));
    assert_eq!(answers[2], "by the tool");
    let left = ended.workspace.unwrap();
    assert_eq!((left.added, left.changed, left.removed, left.is_partial), (2, 0, 0, false));
    wait_for_removal(scratch.path());

    let read = json!([{"call": "one", "input": {"read": "/scratch/own"}}]);
    assert_eq!(self::answers(&run(read))[0]["error"], "failed");
    // The tool writes what its caller may still write.
    let much = "x".repeat(1 << 20);
    let write = json!([{"call": "one", "input": {"write": "/work/c.txt", "text": much}}]);
    let refused = run(write);
    assert_eq!(self::answers(&refused)[0]["error"], "failed");
    assert!(refused.denied.iter().any(|denied| denied.what.contains("`limits.scratch` is 1 MiB")));
}

#[test]
fn files_of_a_grader_are_hidden_from_its_tools() {
    let scratch = tempfile::tempdir().unwrap();
    let blobs = tempfile::tempdir().unwrap();
    let sha256 = digest(b"answer");
    fs::write(blobs.path().join(sha256.to_string()), "answer").unwrap();
    let access = Access { scratch: scratch.path().to_owned(), ..Access::default() };
    let limits = Limits { scratch: 1 << 20, ..Limits::default() };
    let bench = Bench { access, limits, ..Bench::new() };
    let tools = Tools::new(&bench, vec![("program", caller(&bench), bench.limits.clone())]);
    let file = json!({
        "path": "deep/tests/a", "kind": "file", "mode": 420, "bytes": 6, "sha256": sha256,
    });
    let folder = json!({ "path": "deep/tests", "kind": "folder" });
    let files = [folder, file].map(|line| format!("{line}\n"));
    let overlay = Overlay {
        changes: Vec::new(),
        contents: None,
        replaced: vec!["deep/tests".to_owned()],
        files: files.concat().into_bytes(),
        blobs: blobs.path().to_owned(),
    };
    let read = json!({ "read": "/work/deep/tests/a" });
    let call = |input: Value| json!({ "call": "program", "input": input });
    let steps = json!([
        read,
        call(read.clone()),
        read,
        // A file in the place of the hidden folder.
        call(json!([
            { "write": "/work/deep/tests", "text": "planted" },
            { "read": "/work/deep/tests" },
        ])),
        read,
        call(json!({ "write": "/work/by-the-tool", "text": "x" })),
        { "read": "/work/by-the-tool" },
    ])
    .to_string();
    let workspace = CallWorkspace {
        base: None,
        mount: "/work",
        overlay: Some(Arc::new(overlay)),
        is_read_only: false,
        keeps: false,
    };
    let tools: Arc<dyn Toolbox> = tools;
    let call = Call { tools: Some(tools), workspace: Some(workspace), ..bench.call(&steps) };
    let ended = bench.runtime.block_on(caller(&bench).run(&mut None, call));
    let answers = answers(&ended);
    assert_eq!(answers[1]["error"], "failed", "{answers:#}");
    assert_eq!(answers[3], json!({ "ok": [null, "planted"] }));
    for index in [0, 2, 4] {
        assert_eq!(answers[index], "answer", "{answers:#}");
    }
    assert_eq!(answers[6], "x");
}

#[test]
fn deterministic_tools_see_the_clock_of_their_caller() {
    let bench = Bench::new();
    let tools = Tools::new(&bench, vec![("one", caller(&bench), Limits::default())]);
    let steps = json!([
        {"call": "one", "input": {"random": true}},
        {"sleep": 10},
        {"call": "one", "input": [{"random": true}, {"sleep": 10}]},
        {"random": true},
    ]);
    let run = || {
        let steps = steps.to_string();
        let tools: Arc<dyn Toolbox> = tools.clone();
        let deterministic = Some(Time::from_millis(1_700_000_000_000));
        let call = Call { tools: Some(tools), deterministic, ..bench.call(&steps) };
        let ended = bench.runtime.block_on(caller(&bench).run(&mut None, call));
        answers(&ended)
    };
    let first = run();
    assert_eq!(first, run());
    let numbers = [&first[0]["ok"], &first[2]["ok"][0], &first[3]];
    assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2], "{first:#}");
}

/// A panic reads the unwind tables of all loaded code, and so pages of files that must stay whole.
#[test]
fn panics_are_harmless_while_a_plugin_is_loaded_again() {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                // Without the hook, which would print each.
                let panic = || std::panic::resume_unwind(Box::new(()));
                std::panic::catch_unwind(panic).unwrap_err();
            }
        });
        let bench = Bench::new();
        let _first = caller(&bench);
        for _ in 0..50 {
            caller(&bench);
        }
        ended.store(true, Ordering::Relaxed);
    });
}
