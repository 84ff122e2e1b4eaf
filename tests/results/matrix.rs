//! `show --matrix`: tests and providers.

use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::{
    around::terminal::Terminal,
    support::runner::{Runner, tests},
};

/// Creates a run of two providers, one of which fails some tests.
fn compared() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.small]
        plugin = "hostile.wasm"
        [providers.taller-model-with-a-long-name]
        plugin = "hostile.wasm"
        [[tests]]
        id = "z-first"
        input = { do = "echo", value = 1 }
        expect = { equals = 1 }
        [[tests]]
        id = "repeated"
        repeat = 3
        input = { do = "fail-at", repeat = 2 }
        [[tests]]
        id = "wrong"
        providers = ["small"]
        input = { do = "echo", value = 1 }
        expect = { equals = 2 }
        [[tests]]
        id = "scored"
        input = { do = "measure", score = 0.5, tokens = 1 }
        "#,
    );
    runner.exec(&[]).expect(1);
    runner
}

#[test]
fn matrix_has_tests_in_plan_order() {
    let runner = compared();
    let shown = runner.run(&["show", "--matrix"]).expect(0).stdout;
    let lines: Vec<_> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert_eq!(lines[0], ["test", "small", "taller-model-with-a-long-name"]);
    assert_eq!(lines[1], ["z-first", "✓", "passed", "✓", "passed"]);
    assert_eq!(lines[2], ["repeated", "~", "2/3", "~", "2/3"]);
    assert_eq!(lines[3], ["wrong", "✗", "failed", "·"]);
    assert_eq!(lines[4], ["scored", "✓", "passed", "0.5", "✓", "passed", "0.5"]);
    assert!(lines[5].starts_with(&["✗", "failed:"]), "{shown}");
}

#[test]
fn matrix_shows_selected_tests_in_full() {
    let runner = compared();
    let names = |flags: &[&str]| {
        let matrix =
            runner.run(&[&["show", "--matrix", "--json"], flags].concat()).expect(0).document();
        let tests = matrix["tests"].as_array().unwrap().iter();
        tests.map(|test| test["test"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["z-first", "repeated", "wrong", "scored"]);
    assert_eq!(names(&["--failed"]), ["repeated", "wrong"]);
    assert_eq!(
        names(&["-E", "provider(small) & test(*r*) & outcome(passed)"]),
        ["z-first", "repeated", "scored"]
    );
    let matrix = runner.run(&["show", "--matrix", "--json"]).expect(0).document();
    assert_eq!(matrix["providers"], json!(["small", "taller-model-with-a-long-name"]));
    let cells = &matrix["tests"][2]["cells"];
    assert_eq!([&cells[0]["failed"], &cells[1]], [&json!(1), &Value::Null]);
    assert_eq!(matrix["tests"][1]["cells"][1]["error"], 1);
    assert_eq!(matrix["tests"][3]["cells"][0]["score"], 0.5);
    snapshot(&runner.run(&["show", "latest", "wrong", "--matrix"]).expect(2));
}

#[test]
fn wide_matrix_is_distributed_over_blocks() {
    let runner = Runner::new(&["hostile"]);
    let providers = (10..40).map(|number| {
        format!("[providers.model-{number}-of-a-vendor]\nplugin = \"hostile.wasm\"\n")
    });
    runner.scenario(&format!(
        "{}{}",
        providers.collect::<String>(),
        tests("a | { do = \"echo\" } |")
    ));
    runner.exec(&[]).expect(0);
    let script = "exec \"$runner\" show --matrix --color never";
    let (_, shown) = Terminal::run_script(&runner, 80, "UTC", script).end();
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines.iter().filter(|line| line.starts_with("a ")).count() > 1, "{shown}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(shown.matches('✓').count(), 32, "{shown}");
}

#[test]
fn topics_have_a_column_for_each_provider() {
    let runner = Runner::new(&[]);
    let write = |count: u8| {
        let provider = |at| format!("[providers.p{at}]\nplugin = \"bundled:echo\"\n");
        let test = |(id, topic, value): (&str, &str, u8)| {
            format!(
                "[[tests]]\nid = \"{id}\"\ninput = 1\nexpect.equals = {value}\nmeta = {{ topic = \"{topic}\" }}\n"
            )
        };
        let tests = [("a", "math", 1), ("b", "math", 2), ("c", "law", 1)].map(test).concat();
        let only = "[[tests]]\nid = \"d\"\nproviders = [\"p0\"]\ninput = 1\nexpect.equals = 2\nmeta = { topic = \"law\" }\n";
        runner.scenario(&format!("{}{tests}{only}", (0..count).map(provider).collect::<String>()));
        runner.run(&["exec", "scenario.toml"]).expect(1);
    };
    write(2);
    let shown = runner.run(&["show"]).expect(0);
    snapshot(&shown);
    let document = runner.run(&["show", "--json"]).expect(0).document();
    let law = &document["meta"][0]["values"][0];
    let [all, first, second] = [law, &law["providers"][0], &law["providers"][1]];
    assert_eq!(
        [&all["failed"], &first["failed"], &second["failed"], &second["passed"]],
        [&json!(1), &json!(1), &json!(0), &json!(1)]
    );
    write(1);
    let shown = runner.run(&["show"]).expect(0);
    snapshot(&shown);
    write(25);
    for columns in [60, 80, 200] {
        let (code, shown) =
            Terminal::run_script(&runner, columns, "UTC", "exec \"$runner\" show").end();
        assert_eq!(code, 0);
        let from = shown.find("meta").unwrap();
        let table = &shown[from..shown.find("… and 5 more providers: `--json` has all").unwrap()];
        assert!(table.contains("p19") && !table.contains("p20"), "{table}");
        assert!(table.lines().all(|line| line.trim_end().chars().count() <= columns.into()));
        assert_eq!(table.matches("topic = law").count(), table.matches("meta").count());
    }
}
