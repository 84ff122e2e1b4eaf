//! `[providers.NAME.matrix]`: one table, many providers.

use serde_json::json;

use crate::messages::outputs::snapshot;
use crate::support::{
    runner::Runner,
    truth::{assert_whole, results},
};

fn runner() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.plain]
        plugin = "hostile.wasm"
        [providers.gpt]
        plugin = "hostile.wasm"
        config = { temp = "{{matrix.temp}}", text = "{{matrix.size}} at {{matrix.temp}}", other = "{{{{row.x}} {{ messages | join }}" }
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

#[test]
fn each_combination_is_a_provider() {
    let runner = runner();
    let ran = runner.exec(&[]).expect(0);
    snapshot(&ran);
    assert_eq!(ran.stderr.matches("request access").count(), 1, "{}", ran.stderr);
    let run = assert_whole(&runner, 10);
    let trials: Vec<_> = results(&run).into_keys().collect();
    assert_eq!(
        trials,
        [
            "t@by-air#1",
            "t@by-sea#1",
            "t@gpt[temp=0,size=small]#1",
            "t@gpt[temp=0,size=x-large]#1",
            "t@gpt[temp=0.5,size=small]#1",
            "t@gpt[temp=0.5,size=x-large]#1",
            "t@plain#1",
            "u@by-air#1",
            "u@gpt[temp=0,size=small]#1",
            "u@gpt[temp=0.5,size=small]#1",
        ]
    );
    let rows = run.rows();
    let config = |provider: &str| {
        let row = rows.iter().find(|row| row["provider"] == provider).unwrap();
        let config = &row["output"]["config"];
        // The guest received a text.
        config.as_str().map_or_else(|| config.clone(), |text| serde_json::from_str(text).unwrap())
    };
    assert_eq!(
        config("gpt[temp=0.5,size=x-large]"),
        json!({"temp": 0.5, "text": "x/large at 0.5", "other": "{{row.x}} {{ messages | join }}"})
    );
    assert_eq!(config("gpt[temp=0,size=small]")["temp"], 0);
}

#[test]
fn names_with_brackets_are_selected_literally() {
    let runner = runner();
    for (provider, trials) in [
        ("gpt[temp=0,size=small]", &["t@gpt[temp=0,size=small]#1"][..]),
        ("gpt[temp=0.5,*]", &["t@gpt[temp=0.5,size=small]#1", "t@gpt[temp=0.5,size=x-large]#1"]),
        ("[bg]*[-[]*a*r", &["t@by-air#1"]),
    ] {
        runner.exec(&["--test", "t", "--provider", provider]).expect(0);
        let run = runner.runs().pop().unwrap();
        assert!(results(&run).keys().eq(trials), "{provider}");
    }
    // The table has no row of a provider without results.
    let ran = runner.exec(&["--test", "u"]).expect(0);
    assert!(ran.stdout.contains("size=small") && !ran.stdout.contains("x-large"), "{ran:?}");
    let trial = "t@gpt[temp=0.5,size=small]#1";
    runner.exec(&["--test", "t"]).expect(0);
    runner.run(&["resume", "latest", "--rerun", trial]).expect(0);
    let run = runner.runs().pop().unwrap();
    assert_eq!(run.rows().len(), 8);
    assert_eq!(run.rows()[7]["trial"], trial);
    runner.run(&["verify", "latest"]).expect(0);
}
