//! A results root with runs of every kind, for all tests of pages.

use std::{env, fmt::Write as _, fs};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    run::Run,
    runner::{Runner, tests},
    running::Running,
};

/// Markup, control characters and characters that turn or hide text. Where markup is not text, a dialog opens or a request is
/// sent, and the test fails.
const HOSTILE: &str = "</pre></script><script>alert(1)</script><img src=x onerror=\"alert(2)\"><svg onload=alert(3)><style>*{display:none}</style><a href=\"javascript:alert(4)\">x</a><base href=//example.com>&lt;b&gt;\\u001B[31m a\\u202Eb c\\u200Bd\\u2066";

/// Trials of every outcome, with files, logs, metrics, flaky ones and several providers.
const EVERY: &str = r#"
    passes   | { do = "echo", value = 1 } | equals = 1
    fails    | { do = "echo", value = "one\ntwo\nthree" } | equals = "one\n2\nthree"
    differs  | { do = "echo", value = { a = 1.0, b = [1, 2], c = "more" } } | json = { a = 1.05, b = [1, 3] }, tolerance = 0.1
    breaks   | { do = "error", kind = "internal", code = "E1", message = "it broke" } |
    skips    | { do = "verdict", verdict = "skip" } |
    recovers | { do = "fail-until", attempt = 2 } | equals = 2
    writes   | { do = "artifact", name = "a.txt" } | equals = 0
    draws    | { do = "picture", name = "dot.png" } | equals = true
    logs     | { do = "log" } |
    measures | { do = "measure", score = 0.5, tokens = 10 } |
    large    | { do = "echo", value = 12345678901234567890 } | equals = 12345678901234567891
"#;

/// A second provider, and retries that make a trial flaky.
const TWO_PROVIDERS: &str = r#"
    retries = { max = 1, on = ["internal", "unavailable"] }
    [providers.other]
    plugin = "../hostile.wasm"
"#;

/// Creates scenarios, and runs in each state and of each size.
pub(crate) fn many_kinds_of_runs() -> Runner {
    let runner = Runner::new(&["hostile", "leaky", "contract-0-1-1-everything"]);
    // Runs that tests of pages start themselves are in `live-WORKER`.
    for name in ["scenarios", "live-0", "live-1"] {
        fs::create_dir(runner.path(name)).unwrap();
    }
    // The second run has failures that are new, and one that is fixed.
    let earlier = EVERY.replace("value = \"one", "value = \"1");
    let earlier = earlier.replace("equals = 1\n", "equals = 2\n").replace("891", "890");
    for (day, table, args) in [(1, &*earlier, &[][..]), (2, EVERY, &["--repeat", "2"])] {
        scenario(&runner, "every", TWO_PROVIDERS, table);
        let id = format!("2026-01-0{day}_00-00-00-000-every-{day:08}");
        run(&runner, "every", &id, args, 1);
    }

    let hostile = format!(
        "fails | {{ do = \"echo\", value = '{HOSTILE}' }} | equals = \"y\"
        says | {{ do = \"say\", text = '{HOSTILE}' }} | equals = \"y\"
        breaks | {{ do = \"error\", kind = \"internal\", code = \"E1\", message = '{HOSTILE}' }} |
        writes | {{ do = \"artifact\", name = \"x.html\" }} | equals = \"y\""
    );
    // In basic strings, the escapes are characters.
    let hostile = hostile.replace('\'', "\"\"\"");
    scenario(&runner, "hostile", "", &hostile);
    let label = ["--label", "<b>=<img src=x onerror=alert(5)>"];
    run(&runner, "hostile", "2026-01-03_00-00-00-000-hostile-33333333", &label, 1);

    scenario(&runner, "good", "", "a | { do = \"echo\", value = 1 } | equals = 1");
    run(&runner, "good", "2026-01-04_00-00-00-000-good-44444444", &["--label", "team=night"], 0);

    for (name, id) in [("stopped", "55555555"), ("cancelled", "66666666")] {
        let table =
            "quick | { do = \"echo\", value = 1 } |\nslow | { do = \"sleep\", ms = 600000 } |";
        scenario(&runner, name, "timeout = \"20m\"\n", table);
        let id = format!("2026-01-05_00-00-00-000-{name}-{id}");
        let into = format!("results/{id}");
        let file = format!("scenarios/{name}.toml");
        let mut running = runner.started(&["exec", &file, "--into", &into, "--json", "-j", "2"]);
        running.wait_for_rows(1);
        running.end_by(Signal::TERM).0.expect(143);
        if name == "cancelled" {
            runner.run(&["cancel", &id]).expect(0);
        }
    }
    long_scenarios(&runner);
    reasons(&runner);
    files(&runner);
    agents(&runner);
    everything(&runner);
    long_texts(&runner);
    large(&runner);
    runner
}

/// Creates a run in `texts`, whose outputs differ from long texts in a line. One output is in a file.
fn long_texts(runner: &Runner) {
    let tests = [("long", 60), ("huge", 6000)].map(|(id, count)| {
        let lines: Vec<_> = (0..count).map(|line| format!("{line:05} of the answer")).collect();
        let expected = lines.join("\n");
        let line = count / 2;
        let output = expected.replace(&lines[line], &format!("{line:05} of a long answer"));
        json!({"id": id, "input": output, "expect": {"equals": expected}})
    });
    runner.write("scenarios/texts.json", json!(tests).to_string());
    let lists = "test_lists = [{ files = [\"texts.json\"] }]\n";
    let provider = "[providers.echo]\nplugin = \"bundled:echo\"\n";
    runner.write("scenarios/texts.toml", format!("{lists}{provider}"));
    let into = "texts/2026-01-06_00-00-00-000-texts-88888888";
    let args = ["exec", "-q", "scenarios/texts.toml", "--into", into];
    Running::start(&mut runner.command(&args)).finish().expect(1);
}

/// Creates a run in `texts` with four kinds of failures of five reasons each.
fn reasons(runner: &Runner) {
    let mut tests = Vec::new();
    for word in ["London", "Paris", "Rome", "Vienna", "Warsaw"] {
        for (kind, expect) in [
            ("equals", json!("Oslo")),
            ("contains", json!(word.to_uppercase())),
            ("json", json!([word])),
        ] {
            let input = json!({"do": "echo", "value": word});
            tests.push(json!({"id": format!("capitals/{kind}-of-{word}"), "input": input, "expect": {kind: expect}}));
        }
        let input = json!({"do": "error", "kind": "unavailable", "message": format!("no answer from {word}")});
        tests.push(json!({"id": format!("capitals/service-of-{word}"), "input": input}));
    }
    runner.write("scenarios/reasons.json", json!(tests).to_string());
    let lists = "test_lists = [{ files = [\"reasons.json\"] }]\n";
    let provider = "[providers.hostile]\nplugin = \"../hostile.wasm\"\n";
    runner.write("scenarios/reasons.toml", format!("{lists}{provider}"));
    let into = "texts/2026-01-04_00-00-00-000-reasons-12121212";
    let args = ["exec", "-q", "scenarios/reasons.toml", "--into", into];
    Running::start(&mut runner.command(&args)).finish().expect(1);
}

/// Creates a run in `texts`, whose attempts leave files. One is graded.
fn files(runner: &Runner) {
    let table = "name,score\n\"a, \"\"b\"\"\",1\n</td><script>alert(1)</script>,2\n";
    let names = [
        ("table.csv", table.to_owned()),
        ("data.json", r#"{"a":1.0,"b":[1,2]}"#.to_owned()),
        ("page.html", HOSTILE.to_owned()),
        ("long.log", "a line of the log\n".repeat(5000)),
    ];
    let mut tests: Vec<_> = names
        .iter()
        .map(|(name, text)| {
            json!({"id": name, "input": {"do": "artifact", "name": name, "text": text}})
        })
        .collect();
    let zeros = json!({"do": "flood-artifacts", "count": 1, "bytes": 100});
    tests.push(json!({"id": "zeros", "input": zeros}));
    let echo = json!({"do": "echo", "value": "What is the answer?"});
    tests.push(json!({"id": "graded", "input": echo, "expect": {"graders": ["judge"]}}));
    runner.write("scenarios/files.json", json!(tests).to_string());
    let lists = "test_lists = [{ files = [\"files.json\"] }]\n";
    let provider = "[providers.hostile]\nplugin = \"../hostile.wasm\"\n";
    let grader = "[graders.judge]\nplugin = \"bundled:echo\"\nmin_score = 0.5\n\
        input = { verdict = \"fail\", score = 0.4, explanation = \"It repeats the question.\" }\n";
    runner.write("scenarios/files.toml", format!("{lists}{provider}{grader}"));
    let into = "texts/2026-01-05_00-00-00-000-files-99999999";
    let args = ["exec", "-q", "scenarios/files.toml", "--into", into];
    Running::start(&mut runner.command(&args)).finish().expect(1);
}

/// Creates a run in `agents`, whose attempt changes a workspace, reports steps and calls a tool that its test forbids.
fn agents(runner: &Runner) {
    fs::create_dir(runner.path("scenarios/base")).unwrap();
    runner.write("scenarios/base/a.txt", "one\n");
    let write = |path: &str, text: &str| json!({ "write": format!("/work/{path}"), "text": text });
    let step = |number: u64| {
        let message = format!("{number} {HOSTILE}");
        json!({ "append": { "source": "agent", "message": message } })
    };
    let mut steps = vec![write("a.txt", "two\n"), write("<b>", &"x".repeat(300_000))];
    steps.extend((1..=120).map(step));
    steps.push(json!({ "call": "echo", "input": "called" }));
    steps.extend((122..=300).map(step));
    let expect = json!({ "workspace": { "changed": ["<*"] }, "transcript": { "never": ["echo"] } });
    let test = json!([{ "id": "task", "input": steps, "expect": expect }]);
    runner.write("scenarios/agents.json", test.to_string());
    let scenario = "test_lists = [{ files = [\"agents.json\"] }]\n\
        [tools.echo]\nplugin = \"bundled:echo\"\n\
        [providers.agent]\nplugin = \"../contract-0-1-1-everything.wasm\"\n\
        workspace.from = \"base\"\ngrants.tools = [\"echo\"]\n";
    runner.write("scenarios/agents.toml", scenario);
    let into = "agents/2026-01-07_00-00-00-000-agents-13131313";
    let args = ["exec", "-q", "scenarios/agents.toml", "--into", into];
    Running::start(&mut runner.command(&args)).finish().expect(1);
}

/// Creates two groups of runs in `everything`, of two scenarios that have all parts of a run: variables, labels, a gate that fails,
/// grades, metrics, retries and denials. A run is judged again.
fn everything(runner: &Runner) {
    let write = |name: &str, value: u32| {
        let retries = "retries = { max = 1, on = [\"internal\", \"unavailable\"] }";
        let head = format!(
            r#"
            name = "{name}"
            vars = {{ tone = "terse" }}
            [gate]
            pass_rate = 0.99
            [gate.tags.hard]
            min_score = 0.9
            [gate.providers."host*"]
            max_errors = 0
            [defaults]
            meta = {{ topic = "dates" }}
            {retries}
            [providers.hostile]
            plugin = "../hostile.wasm"
            [graders.judge]
            plugin = "bundled:echo"
            input = {{ verdict = "pass", score = 0.4375, explanation = "{{{{var.tone}}}}" }}
            [[tests]]
            id = "measured"
            tags = ["hard"]
            repeat = 12
            input = {{ do = "measure", score = 0.53125, tokens = 12 }}
            [[tests]]
            id = "graded"
            input = {{ do = "echo", value = 1 }}
            expect = {{ graders = ["judge"] }}
            "#
        );
        let table = format!(
            "net | {{ do = \"http\" }} |
            recovers | {{ do = \"fail-until\", attempt = 2 }} | equals = 2
            breaks | {{ do = \"error\", kind = \"internal\", message = \"it broke\" }} |
            skips | {{ do = \"verdict\", verdict = \"skip\" }} |
            changes | {{ do = \"echo\", value = 1 }} | equals = {value}"
        );
        runner.write(&format!("scenarios/{name}.toml"), head + &tests(&table));
    };
    let root = ["--results", "everything"];
    let finish = |args: &[&str]| {
        Running::start(&mut runner.command(&[args, &root].concat())).finish().expect(1);
    };
    for value in [1, 2] {
        ["everything", "alike"].iter().for_each(|name| write(name, value));
        finish(&[
            "exec",
            "-q",
            "scenarios/everything.toml",
            "scenarios/alike.toml",
            "--set",
            "tone=dry",
            "--label",
            "team=night",
            "--seed",
            "7",
        ]);
    }
    write("everything", 1);
    finish(&["rescore", "-q", "latest:everything"]);
}

/// Writes `scenarios/NAME.toml`, whose provider is the hostile guest. `defaults` are keys of `[defaults]`, and tables.
fn scenario(runner: &Runner, name: &str, defaults: &str, table: &str) {
    let provider = "[providers.hostile]\nplugin = \"../hostile.wasm\"\n";
    let text = format!("name = \"{name}\"\n[defaults]\n{defaults}\n{provider}{}", tests(table));
    runner.write(&format!("scenarios/{name}.toml"), text);
}

fn run(runner: &Runner, name: &str, id: &str, args: &[&str], code: i32) {
    let (file, into) = (format!("scenarios/{name}.toml"), format!("results/{id}"));
    let args = [&["exec", "-q", &file, "--into", &into], args].concat();
    Running::start(&mut runner.command(&args)).finish().expect(code);
}

/// Writes scenarios for runs that a test starts and stops itself.
fn long_scenarios(runner: &Runner) {
    let mut naps = String::new();
    for number in 0..60 {
        let expected = if number % 10 == 3 { "late" } else { "slept" };
        let _ = writeln!(
            naps,
            "nap-{number:02} | {{ do = \"sleep\", ms = 300 }} | equals = \"{expected}\""
        );
    }
    scenario(runner, "slow", "", &naps);
    let slow = fs::read_to_string(runner.path("scenarios/slow.toml")).unwrap();
    runner.write("scenarios/slow.toml", format!("description = \"Many short naps.\"\n{slow}"));
    let talks = "talks | { do = \"log\", ms = 600000 } |\nspins | { do = \"loop\" } |";
    let nap = "nap | { do = \"sleep\", ms = 300 } | equals = \"late\"";
    scenario(runner, "again", "", nap);
    let net = "[providers.hostile.grants]\nnet = [\"https://api.example.com\"]\n";
    scenario(runner, "paid", net, nap);
    let retries = "retries = { max = 1, backoff = \"50s\", on = [\"internal\"] }\n";
    let breaks = "breaks | { do = \"error\", kind = \"internal\", message = \"it broke\" } |";
    scenario(runner, "retries", retries, breaks);
    scenario(runner, "talks", "timeout = \"20m\"\n", talks);
    runner.write(
        "scenarios/leaky.toml",
        "[providers.it]\nplugin = \"../leaky.wasm\"\n[[tests]]\nid = \"a\"\ninput = \"output\"\n",
    );
    let keys = "language = [\"english\", \"german\", \"french\", \"japanese\"]\nq = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]";
    let provider = "[providers.gpt]\nplugin = \"bundled:echo\"\n[providers.gpt.matrix]\n";
    let list = (0..60).map(|number| json!({"id": format!("t-{number:02}"), "input": number, "expect": {"equals": number / 2 * 2}}));
    runner.write("scenarios/wide.json", json!(list.collect::<Vec<_>>()).to_string());
    let lists = "test_lists = [{ files = [\"wide.json\"] }]\n";
    runner.write("scenarios/wide.toml", format!("{lists}{provider}{keys}\n"));
    graded(runner);
    runner.write(
        "scenarios/broken.toml",
        "name = \"broken\"\nconcurency = 3\n[[tests]]\nid = \"a\"\ninput = 1\n",
    );
}

/// Writes a scenario with two graders, two providers and a tool. One of these is better at a topic.
fn graded(runner: &Runner) {
    let both = ["left", "right"];
    let tests = [("math", "x", &both[..]), ("law", "y", &both[..1]), ("law", "x", &both[1..])];
    let tests: Vec<_> = tests
        .iter()
        .map(|(topic, expected, providers)| {
            json!({"id": format!("{topic}-{expected}"), "meta": {"topic": topic}, "input": "x",
                "providers": providers, "expect": {"equals": expected, "graders": ["strict", "kind"]}})
        })
        .collect();
    runner.write("scenarios/graded.json", json!(tests).to_string());
    let grader = |name: &str, score: f64| {
        format!(
            "[graders.{name}]\nplugin = \"bundled:echo\"\ninput = {{ verdict = \"pass\", score = {score} }}\n"
        )
    };
    let tool = "grants = { tools = [\"lookup\"] }\n[tools.lookup]\nplugin = \"bundled:echo\"\n";
    let graders = grader("strict", 0.3) + &grader("kind", 0.9) + tool;
    let provider = |name: &str| format!("[providers.{name}]\nplugin = \"bundled:echo\"\n");
    let lists = "test_lists = [{ files = [\"graded.json\"] }]\n";
    let providers = provider("left") + &provider("right");
    runner.write("scenarios/graded.toml", format!("{lists}{providers}{graders}"));
}

/// Creates a large run, of which a tenth fails, and many small ones.
fn large(runner: &Runner) {
    let is_full = env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let (trials, runs) = if is_full { (1_000_000, 10_000) } else { (20_000, 300) };
    let mut lines = String::new();
    for number in 0..trials {
        let value = if number % 10 == 9 { "x" } else { "y" };
        let input = json!({"do": "echo", "value": value});
        let line =
            json!({"id": format!("echo-{number:07}"), "input": input, "expect": {"equals": "y"}});
        let _ = writeln!(lines, "{line}");
    }
    runner.write("scenarios/large.jsonl", lines);
    let lists = "test_lists = [{ files = [\"large.jsonl\"] }]\n";
    runner.write(
        "scenarios/large.toml",
        format!("name = \"large\"\n{lists}[providers.hostile]\nplugin = \"../hostile.wasm\"\n"),
    );
    run(runner, "large", "2025-12-31_00-00-00-000-large-77777777", &["-j", "2"], 1);

    let small = Run { dir: runner.path("results/2026-01-04_00-00-00-000-good-44444444") };
    for number in 0..runs {
        let copy = runner.path(&format!("many/2026-02-01_00-00-00-000-good-{number:08}"));
        fs::create_dir_all(&copy).unwrap();
        for name in
            ["benchmark.json", "index.jsonl", "logs.jsonl", "scenario.toml", "runner.log", "lock"]
        {
            fs::write(copy.join(name), small.bytes(name)).unwrap();
        }
    }
    // Except after a copy, a root has its runs in the database.
    let indexed = Running::start(&mut runner.command(&["reindex", "--results", "many"]));
    indexed.finish().expect(0);
}
