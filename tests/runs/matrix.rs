//! `[providers.NAME.matrix]`: one table, many providers.

use serde_json::json;

use crate::support::runner::Runner;

fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.plain]
        plugin = "hostile.wasm"
        [providers.gpt]
        plugin = "hostile.wasm"
        config = { temp = "{{matrix.temp}}", text = "{{matrix.size}} at {{matrix.temp}}", other = "{{row.x}}" }
        matrix = { temp = [0, 0.5], size = ["small", "x/large"] }
        [providers.named]
        plugin = "hostile.wasm"
        name = "by-{{matrix.way}}"
        grants.env = { WAY = "{{matrix.way}}" }
        [providers.named.matrix]
        way = ["air", "sea"]
        [[tests]]
        id = "t"
        input = { do = "test" }
        [[tests]]
        id = "u"
        providers = ["gpt[*size=small]", "by-air"]
        input = { do = "test" }
        "#,
    );
    runner
}

#[track_caller]
fn dry(runner: &Runner, args: &[&str]) -> Vec<String> {
    let ran = runner.exec(&[&["--dry-run"], args].concat()).expect(0);
    let lines = ran.stdout.lines();
    lines.map(|line| line.replace("#1", "")).collect()
}

#[test]
fn every_combination_is_a_provider_with_its_own_values() {
    let runner = runner();
    assert_eq!(
        dry(&runner, &[]),
        [
            "t@plain",
            "t@gpt[temp=0,size=small]",
            "t@gpt[temp=0,size=x-large]",
            "t@gpt[temp=0.5,size=small]",
            "t@gpt[temp=0.5,size=x-large]",
            "t@by-air",
            "t@by-sea",
            "u@gpt[temp=0,size=small]",
            "u@gpt[temp=0.5,size=small]",
            "u@by-air",
        ]
    );
    runner.exec(&["--test", "t"]).expect(0);
    let run = runner.only_run();
    let rows = run.rows();
    let config = |provider: &str| {
        let row = rows.iter().find(|row| row["provider"] == provider);
        let config = &row.unwrap()["output"]["config"];
        // As the guest was given it: a text.
        config.as_str().map_or_else(
            || config.clone(),
            |text| serde_json::from_str(text).unwrap(),
        )
    };
    assert_eq!(
        config("gpt[temp=0.5,size=x-large]"),
        json!({"temp": 0.5, "text": "x/large at 0.5", "other": "{{row.x}}"})
    );
    assert_eq!(config("gpt[temp=0,size=small]")["temp"], 0);
    let providers = run.manifest()["providers"].clone();
    let sea = providers.as_array().unwrap().iter();
    let sea = sea
        .clone()
        .find(|provider| provider["name"] == "by-sea")
        .unwrap();
    assert_eq!(sea["grants"]["env"], json!({"WAY": "sea"}));
}

#[test]
fn names_with_brackets_are_selected_as_they_are_written() {
    let runner = runner();
    for (args, selected) in [
        (
            &["--provider", "gpt[temp=0,size=small]", "--test", "t"][..],
            &["t@gpt[temp=0,size=small]"][..],
        ),
        (
            &["--provider", "gpt[temp=0.5,*]", "--test", "t"],
            &["t@gpt[temp=0.5,size=small]", "t@gpt[temp=0.5,size=x-large]"],
        ),
        (
            &["-E", "provider(gpt[*=small]) & test(u)"],
            &["u@gpt[temp=0,size=small]", "u@gpt[temp=0.5,size=small]"],
        ),
        (
            &["--provider", "[bg]*[-[]*a*r", "--test", "t"],
            &["t@by-air"],
        ),
    ] {
        assert_eq!(dry(&runner, args), selected, "{args:?}");
    }
    runner.exec(&["--test", "t"]).expect(0);
    let trial = "t@gpt[temp=0,size=small]#1";
    let shown = runner.run(&["show", "--trial", trial, "--json"]).expect(0);
    assert_eq!(shown.document()["rows"].as_array().unwrap().len(), 1);
    runner
        .run(&["logs", "latest", "t@gpt[*size=small]#1"])
        .expect(0);
    let again = runner
        .run(&["resume", "--rerun", trial, "--dry-run"])
        .expect(0);
    assert_eq!(again.stdout.trim(), trial);
    runner.run(&["resume", "--rerun", trial]).expect(0);
    assert_eq!(runner.only_run().rows().len(), 8);
    runner.run(&["verify"]).expect(0);
    for form in ["--html", "--junit", "--markdown", "--csv", "--jsonl"] {
        let report = runner.run(&["report", form]).expect(0).stdout;
        assert!(report.contains("temp=0"), "{form}");
    }
}

#[test]
fn a_matrix_makes_a_thousand_providers_at_most() {
    let runner = Runner::new(&["hostile"]);
    let scenario = |count: usize| {
        let values: Vec<_> = (0..count).map(|value| value.to_string()).collect();
        let values = values.join(", ");
        runner.scenario(&format!(
            r#"
            [providers.p]
            plugin = "hostile.wasm"
            matrix = {{ n = [{values}] }}
            [[tests]]
            id = "t"
            input = {{ do = "test" }}
            "#
        ));
    };
    scenario(1_000);
    assert_eq!(dry(&runner, &[]).len(), 1_000);
    runner.exec(&["--provider", "p[n=999]"]).expect(0);
    fs_err::remove_dir_all(runner.path("results")).unwrap();
    scenario(1_001);
    runner.refused(
        &[],
        &["the matrix makes 1001 providers, and 1000 is the most"],
    );
}

#[test]
fn a_key_that_no_template_takes_is_told() {
    let runner = Runner::new(&["hostile"]);
    let scenario = |config: &str, name: &str| {
        runner.scenario(&format!(
            "[providers.p]\nplugin = \"hostile.wasm\"\n{name}\nmatrix = {{ size = [1, 2], temp = [0, 1] }}\nconfig = {config}\n\
             [[tests]]\nid = \"a\"\ninput = {{ do = \"echo\", value = 1 }}\n"
        ));
    };
    let told = "provider `p`: nothing uses `{{matrix.temp}}`";
    scenario("{ size = \"{{matrix.size}}\" }", "");
    for args in [
        &["exec", "scenario.toml"][..],
        &["validate", "scenario.toml"],
    ] {
        let ran = runner.run(args).expect(0);
        ran.says(&[told]);
        assert!(!ran.stderr.contains("matrix.size"), "{}", ran.stderr);
    }
    for (config, name) in [
        (
            "{ size = \"{{matrix.size}}\", deep = [{ t = \"t{{matrix.temp}}\" }] }",
            "",
        ),
        (
            "{ size = \"{{matrix.size}}\" }",
            "name = \"p-{{matrix.size}}-{{matrix.temp}}\"",
        ),
    ] {
        scenario(config, name);
        let ran = runner.run(&["validate", "scenario.toml"]).expect(0);
        assert_eq!(ran.stderr, "");
    }
}
