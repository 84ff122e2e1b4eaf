//! What providers are granted: what is asked for, shown and denied.

use serde_json::{Value, json};

use super::secrets::{assert_clean, leaky, scenario, with_secret};
use crate::support::runner::{Runner, tests};

#[test]
fn a_variable_that_cannot_be_filled_in_is_found_before_anything_runs() {
    let runner = Runner::new(&["command"]);
    runner.scenario(
        "[providers.command]\nplugin = \"command.wasm\"\nargs = [\"env\", \"X\"]\n\
         [providers.command.grants]\nenv = { X = \"{{input.x}}\" }\n\
         [[tests]]\nid = \"number\"\ninput.x = 1\nexpect = { equals = \"1\" }\n\
         [[tests]]\nid = \"missing\"\ninput.y = 1\n\
         [[tests]]\nid = \"nul\"\ninput.x = \"a\\u0000b\"\n",
    );
    let whose = "`grants.env.X` of provider `command` (scenario.toml:5)";
    runner.refused(
        &[],
        &[
            &format!("scenario.toml:10: test `missing` has no `input.x`, which {whose} needs"),
            &format!(
                "scenario.toml:13: test `nul` has a NUL in `input.x`, which {whose} cannot have"
            ),
        ],
    );
    runner.exec(&["--test", "number"]).expect(0);
}

#[test]
fn changed_grants_are_a_change() {
    let scenario = |grants: &str| {
        format!(
            "{}\n[providers.hostile]\nplugin = \"hostile.wasm\"\n[providers.hostile.grants]\n{grants}\n",
            tests("a | { do = \"echo\", value = 1 } | equals = 0")
        )
    };
    let runner = Runner::new(&["hostile"]);
    runner.scenario(&scenario("net = [\"https://example.com\"]"));
    runner.exec(&[]).expect(1);
    runner.scenario(&scenario("net = [\"https://example.org\"]"));
    let changed = "the grants of provider `hostile` have changed";
    let resume = ["resume", "--from", "latest"];
    runner
        .run(&[&resume[..], &["--rerun", "failed"]].concat())
        .expect(1)
        .says(&[changed]);
    runner
        .run(&[&resume[..], &["--accept-changes"]].concat())
        .expect(1)
        .says(&[changed, "1 trial changed"]);
    let grants = &runner.only_run().manifest()["providers"][0]["grants"];
    assert_eq!(*grants, json!({"net": ["https://example.org"]}));
}

#[test]
fn what_a_plugin_asks_for_and_is_not_granted_is_told_before_the_run() {
    let runner = leaky("net = [\"http://localhost\"]", &["length"]);
    let ran = runner.exec(&[]).expect(1);
    ran.says(&[
        "provider `leaky` asks for more than it is granted: net:https://api.example.com, secret:API_KEY, \
         fs:ro:fixtures, gpu:1",
        "net = [\"http://localhost\", \"https://api.example.com\"]",
        "secrets = [\"API_KEY\"]",
        "fs = [{ path = \"fixtures\", mount = \"/fixtures\" }]",
    ]);
    let ran = runner.exec(&["--json"]).expect(1);
    assert_eq!(ran.stderr, "");
    let events = ran.events();
    runner.assert_valid("events", &events);
    let requests: Vec<_> = events
        .iter()
        .filter(|event| event["event"] == "requests")
        .collect();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["provider"], "leaky");
    assert_eq!(requests[0]["requests"][3], "gpu:1");
    let toml: toml::Table = requests[0]["toml"].as_str().unwrap().parse().unwrap();
    let granted = &toml["providers"]["leaky"]["grants"];
    assert_eq!(granted["net"].as_array().unwrap().len(), 2);

    // With what it says, nothing but what nobody understands is left.
    fs_err::create_dir(runner.path("fixtures")).unwrap();
    let grants = requests[0]["toml"].as_str().unwrap();
    let (_, grants) = grants.split_once('\n').unwrap();
    runner.scenario(&scenario(grants, &["length"]));
    let ran = with_secret(&runner, &["exec", "scenario.toml"]).expect(0);
    ran.says(&["provider `leaky` asks for more than it is granted: gpu:1"]);
    assert!(
        !ran.stderr.contains("the scenario grants it"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_dry_run_tells_what_is_granted() {
    let runner = leaky(
        "net = [\"https://example.com:443\"]\nsecrets = [\"API_KEY\"]\nenv = { \"A B\" = \"\\u0001{{secret.X}}\" }\n\
         fs = [{ path = \"out\", mount = \"/here\", mode = \"rw\" }]\n[providers.leaky.limits]\nscratch = \"1MiB\"\n\
         [providers.plain]\nplugin = \"leaky.wasm\"",
        &["length"],
    );
    fs_err::create_dir(runner.path("out")).unwrap();
    let ran = runner.exec(&["--dry-run"]).expect(0);
    assert_eq!(ran.stdout, "length@leaky#1\nlength@plain#1\n");
    assert!(ran.stderr.ends_with('\n'));
    insta::assert_snapshot!(ran.stderr, @r#"
    2 trials would run
    provider `leaky` is granted, and may write 1.0 MiB:
        net = ["https://example.com"]
        secrets = ["API_KEY"]
        fs = [{ path = "out", mount = "/here", mode = "rw" }]
        env = { "A B" = "\u0001{{secret.X}}" }
        # API_KEY (no value)
        # X (no value)
    provider `plain` is granted nothing
    "#);
}

#[test]
fn a_dry_run_tells_which_secrets_have_no_value_and_shows_none() {
    let runner = leaky("secrets = [\"API_KEY\", \"OTHER\"]", &["length"]);
    let ran = with_secret(&runner, &["exec", "scenario.toml", "--dry-run"]).expect(0);
    ran.says(&["# OTHER (no value)"]);
    assert!(!ran.stderr.contains("# API_KEY"), "{}", ran.stderr);
    assert_clean("standard error", ran.stderr.as_bytes());
    runner.write("other.env", "OTHER=12345\n");
    let args = ["--dry-run", "--secret-file", "other.env"];
    let ran = runner.exec(&args).expect(0);
    ran.says(&["# API_KEY (no value)"]);
    assert!(!ran.stderr.contains("# OTHER"), "{}", ran.stderr);
}

#[test]
fn a_grant_that_does_nothing_for_what_the_plugin_is_is_warned_of() {
    let runner = Runner::new(&["command", "leaky"]);
    runner.wat(
        "module.wasm",
        "(module (memory (export \"memory\") 1) (func (export \"_start\")))",
    );
    let provider = |name: &str, plugin: &str, grants: &str| {
        format!("[providers.{name}]\nplugin = \"{plugin}.wasm\"\ngrants = {{ {grants} }}\n")
    };
    let (net, secrets) = ("net = [\"http://localhost\"]", "secrets = [\"API_KEY\"]");
    let both = format!("{net}, {secrets}");
    let providers = [
        provider("module", "module", &both),
        provider("alone", "command", secrets),
        provider("right", "command", &both),
        provider("component", "leaky", &both),
        provider("env", "module", "env = { A = \"{{secret.API_KEY}}\" }"),
    ];
    let id = "[[tests]]\nid = \"a\"\nproviders = [\"module\"]\n[[tests]]\nid = \"b\"\ninput = \"length\"\n";
    runner.scenario(&format!("{id}{}", providers.concat()));
    for args in [&["--dry-run"][..], &["--test", "a"]] {
        let ran = with_secret(&runner, &[&["exec", "scenario.toml"], args].concat()).expect(0);
        ran.says(&[
            "warning: provider `module`: `net` does nothing for a module of WASI preview 1, which has no network",
            "warning: provider `module`: `secrets` does nothing for a module of WASI preview 1; it gets one by `env`",
        ]);
        if args == ["--dry-run"] {
            ran.says(&[
                "warning: provider `alone`: `secrets` without `net` does nothing for a command",
            ]);
            assert_eq!(
                ran.stderr.matches("does nothing").count(),
                3,
                "{}",
                ran.stderr
            );
        }
    }

    let many = (0..12).map(|number| provider(&format!("p{number}"), "module", net));
    runner.scenario(&format!(
        "[[tests]]\nid = \"a\"\n{}",
        many.collect::<String>()
    ));
    let ran = runner.exec(&["--dry-run"]).expect(0);
    assert_eq!(ran.stderr.matches("`net` does nothing").count(), 10);
    ran.says(&["warning: 2 more grants do nothing"]);
}

#[test]
fn what_was_denied_is_in_the_row_and_on_the_screen_with_the_grant_to_add() {
    let runner = leaky("", &["length", "output"]);
    let ran = runner.exec(&[]).expect(1);
    let denied = json!([{"what": "the secret `API_KEY`", "grant": "secrets = [\"API_KEY\"]"}]);
    let run = runner.only_run();
    assert_eq!(run.row("length")["denied"], denied);
    assert_eq!(run.row("length")["error"]["class"], "denied");
    runner.assert_valid("row", &run.lines());
    runner.assert_valid("benchmark", &[run.manifest()]);

    let line = "denied: the secret `API_KEY` – to allow it, add \"API_KEY\" to `secrets` of [providers.leaky.grants]";
    let shown = runner.run(&["show", "--failed"]).expect(0).stdout;
    assert_eq!(shown.matches(line).count(), 2, "{shown}");
    for text in [&ran.stderr, &shown] {
        assert!(
            text.contains("leaky: the secret `API_KEY`, 2 times"),
            "{text}"
        );
        assert!(
            text.contains(
                "    to allow it, the scenario grants\n      [providers.leaky.grants]\n      secrets = [\"API_KEY\"]\n"
            ),
            "{text}"
        );
    }
    let ran = runner.exec(&["--json"]).expect(1);
    let rows = ran.events().into_iter();
    let rows: Vec<Value> = rows.filter(|event| event["event"] == "row").collect();
    assert_eq!(rows[0]["row"]["denied"], denied);
}

#[test]
fn everything_that_was_denied_is_granted_by_one_table_with_what_is_granted_already() {
    let runner = Runner::new(&["web"]);
    let ask = |host: &str| {
        format!(
            "[[tests]]\nid = \"{host}\"\ninput.requests = [{{ by = \"send\", url = \"https://{host}.test/\" }}]\nexpect = {{ equals = 1 }}\n"
        )
    };
    let tests: String = ["a", "b", "c"].map(ask).concat();
    let with = |grants: &str| {
        let provider = "[providers.\"w\"]\nplugin = \"web.wasm\"\n";
        runner.scenario(&format!("{tests}{provider}{grants}"));
    };
    with(
        "[providers.w.grants]\nnet = [\"https://c.test:81\", \"http://localhost:1\"]\nenv = { A = \"1\" }\n",
    );
    let ran = runner.exec(&[]).expect(1);
    ran.says(&[
        "denied: GET https://a.test – to allow it, add \"https://a.test\" to `net` of [providers.w.grants]",
    ]);
    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in [&ran.stderr, &shown] {
        let (_, table) = text.split_once("the scenario grants\n").unwrap();
        let lines = table.lines().take_while(|line| line.starts_with("      "));
        let table: toml::Table = lines.collect::<Vec<_>>().join("\n").parse().unwrap();
        let grants = &table["providers"]["w"]["grants"];
        let net = grants["net"].as_array().unwrap();
        let mut net: Vec<_> = net.iter().map(|origin| origin.as_str().unwrap()).collect();
        net[2..].sort_unstable();
        let expected = [
            "https://c.test:81",
            "http://localhost:1",
            "https://a.test",
            "https://b.test",
            "https://c.test",
        ];
        assert_eq!(net, expected, "{text}");
        assert_eq!(grants["env"]["A"].as_str(), Some("1"));
    }
}

#[test]
fn a_denial_that_was_expected_is_in_the_row_and_nobody_is_told_to_grant_it() {
    let runner = Runner::new(&["leaky"]);
    runner.scenario(
        "[providers.leaky]\nplugin = \"leaky.wasm\"\n\
         [[tests]]\nid = \"length\"\ninput = \"length\"\nexpect = { error = \"denied\" }\n",
    );
    let ran = runner.exec(&[]).expect(0);
    let denied = &runner.only_run().row("length")["denied"];
    assert_eq!(denied[0]["what"], "the secret `API_KEY`");
    let shown = runner.run(&["show"]).expect(0).stdout;
    for text in [&ran.stderr, &shown] {
        assert!(!text.contains("to allow it"), "{text}");
        assert!(!text.contains("denied"), "{text}");
    }
}

#[test]
fn show_tells_what_was_granted() {
    let runner = leaky("secrets = [\"API_KEY\"]", &["length"]);
    with_secret(&runner, &["exec", "scenario.toml"]).expect(0);
    let shown = runner.run(&["show"]).expect(0).stdout;
    assert!(
        shown.contains("grants    [providers.leaky.grants]\n          secrets = [\"API_KEY\"]\n"),
        "{shown}"
    );
}
