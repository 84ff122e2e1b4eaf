//! Suites of scenarios and lists.

use std::{fs, io::Write, path::Path};

use proptest::prelude::*;
use runner_model::{Places, ScenarioOverrides, Selected, TrialId};
use runner_model::{prepare::RefusedPart, provider::InFlight, test::Test};
use tempfile::TempDir;

use crate::{
    PlannedTrial, Problems, ProviderProblem, Scenario, Selection, Suite, load, parse_stored,
    resolve,
};

/// Creates a folder with a scenario `s.toml`, which has the providers `p`, `q` and `r`, and with `files`.
pub(crate) fn folder(scenario: &str, files: &[(&str, &str)]) -> TempDir {
    let providers = ["p", "q", "r"].map(|name| format!("providers.{name}.plugin = 'x.wasm'\n"));
    let scenario = format!("{}{scenario}", providers.concat());
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("x.wasm", ""), ("s.toml", &scenario)].iter().chain(files) {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub(crate) fn try_resolve(
    folder: &Path,
    selection: &Selection,
) -> Result<(Scenario, Suite), Problems> {
    let scenario = load(&folder.join("s.toml"), &Default::default())?;
    let mut file = tempfile::tempfile().unwrap();
    let suite = resolve(&scenario, selection, &mut file)?;
    Ok((scenario, suite))
}

pub(crate) fn select(folder: &TempDir, selection: &Selection) -> Suite {
    let resolved = try_resolve(folder.path(), selection);
    resolved.unwrap_or_else(|problems| panic!("{}", problems.render(false, 100))).1
}

pub(crate) fn refused(folder: &TempDir, selection: &Selection) -> String {
    let problems = try_resolve(folder.path(), selection).unwrap_err();
    problems.render(false, 100)
}

pub(crate) fn lines(suite: &Suite) -> Vec<String> {
    let mut line = Vec::new();
    let lines = (0..suite.tests()).map(|test| {
        suite.line(test, &mut line).unwrap();
        String::from_utf8(line.clone()).unwrap()
    });
    lines.collect()
}

pub(crate) fn ids(suite: &Suite) -> String {
    let id = |line: &String| serde_json::from_str::<Test<'_>>(line).unwrap().id.to_string();
    lines(suite).iter().map(id).collect::<Vec<_>>().join(" ")
}

const LISTS: &str = "
    tests = [{ id = 'z', tags = ['one'], providers = ['q'], repeat = 2 }]
    [defaults]
    timeout = '5s'
    tags = ['all']
    [[test_lists]]
    files = ['lists/*.jsonl', 'lists/a.jsonl']
    tags = ['two']
    retries = { max = 3 }
    [[test_lists]]
    files = ['rows.jsonl']
    id = '{{file.stem}}/{{row.n}}'
    input = { number = '{{row_number}}', same = '{{row.v}}', text = 'n {{row.n}}', path = '{{file.path}}' }
    expect = { json = { v = '{{row.v}}' } }
    exclude = ['*/2']
    select = ['rows/*', 'none']
";

fn lists() -> TempDir {
    folder(
        LISTS,
        &[
            ("lists/b.jsonl", "{\"id\": \"b\", \"timeout\": \"1s\"}\n"),
            (
                "lists/a.jsonl",
                "{\"id\": \"a\", \"tags\": [\"one\", \"all\"], \"input\": {\"y\": 1.0, \"x\": 2}}",
            ),
            (
                "rows.jsonl",
                "{\"n\": 1, \"v\": [true]}\n\n{\"n\": 2, \"v\": null}\n{\"n\": 3, \"v\": null, \"id\": \"x\", \"other\": 1}\n",
            ),
        ],
    )
}

#[test]
fn suite_has_tests_before_lists() {
    let suite = select(&lists(), &Selection::default());
    assert_eq!(ids(&suite), "z a b rows/1 rows/3");
    assert_eq!(suite.trials(), 2 + 4 * 3);
    let retries = r#""retries":{"max":3,"on":["unavailable","rate-limited"]}"#;
    assert_eq!(
        lines(&suite),
        [
            r#"{"id":"z","input":null,"providers":[1],"repeat":2,"tags":["all","one"],"timeout":5000000}"#.to_owned(),
            format!(r#"{{"id":"a","input":{{"x":2,"y":1.0}},"providers":[0,1,2],"tags":["all","one","two"],"timeout":5000000,{retries}}}"#),
            format!(r#"{{"id":"b","input":null,"providers":[0,1,2],"tags":["all","two"],"timeout":1000000,{retries}}}"#),
            r#"{"id":"rows/1","input":{"number":1,"path":"rows.jsonl","same":[true],"text":"n 1"},"providers":[0,1,2],"tags":["all"],"timeout":5000000,"expect":{"json":{"v":[true]}}}"#.to_owned(),
            r#"{"id":"rows/3","input":{"number":3,"path":"rows.jsonl","same":null,"text":"n 3"},"providers":[0,1,2],"tags":["all"],"timeout":5000000,"expect":{"json":{"v":null}}}"#.to_owned(),
        ]
    );
}

#[test]
fn command_line_selects_tests_providers_and_tags() {
    let lists = lists();
    let select = |tests: &[&str], providers: &[&str], tags: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let selection = Selected {
            tests: owned(tests),
            providers: owned(providers),
            tags: owned(tags),
            ..Selected::default()
        }
        .into();
        let suite = select(&lists, &selection);
        format!("{} {}", ids(&suite), suite.trials())
    };
    assert_eq!(select(&["r*", "z"], &[], &[]), "z rows/1 rows/3 8");
    assert_eq!(select(&[], &["[pr]"], &[]), "a b rows/1 rows/3 8");
    assert_eq!(select(&[], &[], &["one", "none"]), "z a 5");
    assert_eq!(select(&["a", "b"], &["q"], &["two"]), "a b 2");
    assert_eq!(select(&["none"], &[], &[]), " 0");
    assert_eq!(select(&[], &["none"], &[]), " 0");
    assert_eq!(select(&[], &[], &["none"]), " 0");
}

#[test]
fn first_tests_are_those_of_the_plan() {
    let folder = lists();
    let first = |first, tests: &[&str]| {
        let tests = tests.iter().map(|glob| (*glob).to_owned()).collect();
        select(&folder, &Selected { first: Some(first), tests, ..Selected::default() }.into())
    };
    assert_eq!(ids(&first(3, &[])), "z a b");
    // All repeats on all providers.
    assert_eq!(first(2, &[]).trials(), 2 + 3);
    assert_eq!(ids(&first(1, &["b", "rows/*"])), "b");
    assert_eq!(ids(&first(9, &["b", "rows/*"])), "b rows/1 rows/3");
}

#[test]
fn sample_depends_on_seed_and_ids_alone() {
    let record = |n: &usize| format!("{{\"id\": \"t{n}\", \"input\": {n}}}\n");
    let list = |numbers: &[usize]| numbers.iter().map(record).collect::<String>();
    let numbers: Vec<_> = (0..3_000).collect();
    let sample = |numbers: &[usize], seed: u32, count| {
        let scenario = format!("run.seed = {seed}\ntest_lists = [{{ files = ['l.jsonl'] }}]\n");
        let folder = folder(&scenario, &[("l.jsonl", &list(numbers))]);
        let suite =
            select(&folder, &Selected { sample: Some(count), ..Selected::default() }.into());
        let opened = try_resolve(
            folder.path(),
            &Selected { sample: Some(count), ..Selected::default() }.into(),
        );
        assert_eq!(opened.unwrap().1.digest(), suite.digest());
        ids(&suite).split(' ').map(|id| id[1..].parse().unwrap()).collect::<Vec<usize>>()
    };
    let chosen = sample(&numbers, 0, 50);
    assert_eq!(chosen.len(), 50);
    assert!(chosen.is_sorted(), "{chosen:?}");
    assert!(chosen[0] < 500 && chosen[49] > 2_500, "{chosen:?}");
    assert_ne!(sample(&numbers, 1, 50), chosen);
    // A smaller sample is a part of a larger one, and the order of the tests has no effect.
    assert!(sample(&numbers, 0, 10).iter().all(|number| chosen.contains(number)));
    let reversed: Vec<_> = numbers.iter().rev().copied().collect();
    let backwards: Vec<_> = chosen.iter().rev().copied().collect();
    assert_eq!(sample(&reversed, 0, 50), backwards);
    assert_eq!(sample(&chosen, 0, 100), chosen);
}

#[test]
fn sampled_lines_are_those_of_the_plan() {
    let folder = lists();
    let all = lines(&select(&folder, &Selection::default()));
    for count in 1..=6 {
        let selection = Selected { sample: Some(count), ..Selected::default() }.into();
        let mut file = tempfile::tempfile().unwrap();
        let scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
        let suite = resolve(&scenario, &selection, &mut file).unwrap();
        let sampled = lines(&suite);
        assert_eq!(sampled.len(), all.len().min(count as usize));
        assert!(sampled.iter().all(|line| all.contains(line)), "{sampled:?}");
        let stored = Suite::open(file, &scenario.providers).unwrap();
        assert_eq!((stored.digest(), stored.trials()), (suite.digest(), suite.trials()));
    }
}

#[test]
fn invalid_glob_of_command_line_is_refused() {
    let selection =
        Selected { tests: vec!["fine".to_owned(), "[".to_owned()], ..Selected::default() }.into();
    let message = refused(&lists(), &selection);
    assert!(message.contains("`[`") && message.contains("unclosed"), "{message}");
}

#[test]
fn byte_order_marks_and_crlf_are_accepted() {
    let folder = folder(
        "test_lists = [{ files = ['l.jsonl'] }]\r\n",
        &[("l.jsonl", "\u{feff}{\"id\": \"a\"}\r\n  \r\n{\"id\": \"b\"} \r\n")],
    );
    let path = folder.path().join("s.toml");
    let text = fs::read_to_string(&path).unwrap().replace("wasm'\n", "wasm'\r\n");
    fs::write(&path, format!("\u{feff}{text}")).unwrap();
    assert_eq!(ids(&select(&folder, &Selection::default())), "a b");
}

#[test]
fn unreadable_lines_are_named() {
    let scenario = "test_lists = [{ files = ['l.jsonl'] }]\n";
    let long = format!("{{\"id\": \"a\"}}\n{}\nbehind\n", "ä".repeat(9 << 20));
    let message = refused(&folder(scenario, &[("l.jsonl", &long)]), &Selection::default());
    assert!(message.contains("l.jsonl:2:1") && message.contains("16 MiB"), "{message}");
    assert!(!message.contains("behind") && message.len() < 1000, "{message}");

    let folder = folder(scenario, &[("l.jsonl", "")]);
    fs::write(folder.path().join("l.jsonl"), b"{\"id\": \"a\"}\n{\"id\": \"\xff\"}\n").unwrap();
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("l.jsonl:2:9") && message.contains("UTF-8"), "{message}");
}

#[test]
fn long_line_is_not_shown() {
    let record = format!("{{\"id\": \"a\", \"input\": \"{}\", \"x\": 1}}", "ä".repeat(4000));
    let folder = folder("test_lists = [{ files = ['l.jsonl'] }]\n", &[("l.jsonl", &record)]);
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("unknown key `x`") && message.contains("l.jsonl:1:4027"), "{message}");
    assert!(message.len() < 1000, "{message}");
}

#[test]
fn failed_write_of_suite_is_reported() {
    let lists = lists();
    let scenario = load(&lists.path().join("s.toml"), &Default::default()).unwrap();
    let mut full = fs::File::options().write(true).open("/dev/full").unwrap();
    let problems = resolve(&scenario, &Selection::default(), &mut full).unwrap_err();
    let message = problems.render(false, 100);
    assert!(message.contains(": No space left"), "{message}");
}

#[test]
fn suite_has_bounds() {
    let many = "tests = [{ id = 'a', repeat = 1000000 }, { id = 'b', repeat = 1000000 }]\n";
    let more = "[[test_lists]]\nfiles = ['l.jsonl']\nrepeat = 1000000\n";
    let records: String = (0..32).map(|id| format!("{{\"id\": \"{id}\"}}\n")).collect();
    let folder = folder(&format!("{many}{more}"), &[("l.jsonl", &records)]);
    let message = refused(&folder, &Selection::default());
    assert!(message.contains("at most 100,000,000 trials"), "{message}");
    let selection = Selected { providers: vec!["p".to_owned()], ..Selected::default() }.into();
    assert_eq!(select(&folder, &selection).trials(), 34_000_000);
}

#[test]
fn too_deep_values_are_refused_early() {
    let deep = |levels| format!("{{\"v\": {}{}}}\n", "[".repeat(levels), "]".repeat(levels));
    let scenario = "[[test_lists]]\nfiles = ['l.jsonl']\nid = 'a'\ninput = [['{{row.v}}']]\n";
    let message = refused(&folder(scenario, &[("l.jsonl", &deep(99))]), &Selection::default());
    assert!(message.contains("more than 100 levels"), "{message}");
    let suite = select(&folder(scenario, &[("l.jsonl", &deep(98))]), &Selection::default());
    assert_eq!(suite.tests(), 1);
}

#[test]
fn stored_scenario_needs_no_other_file() {
    let text = "timeout_minutes = 0.5\n[run]\nseed = 7\n[providers.q]\nplugin = 'gone.wasm'\n[providers.p]\nplugin = 'gone.wasm'\n[[test_lists]]\nfiles = ['gone/*.jsonl']\n";
    let scenario = parse_stored(text, "stored", &Default::default()).unwrap();
    assert_eq!((&*scenario.name, scenario.text.as_str()), ("stored", text));
    assert_eq!(scenario.timeout.as_millis(), 30_000);
    assert_eq!((scenario.run.seed, scenario.run.concurrency), (7, None));
    let names: Vec<_> = scenario.providers.iter().map(|provider| &*provider.name).collect();
    assert_eq!(names, ["q", "p"]);
}

#[test]
fn stored_scenario_may_have_old_keys() {
    let now = "[providers.p]\nplugin = 'p.wasm'\nworkspace = {}\n[graders.g]\nplugin = 'g.wasm'\nworkspace = 'read'\nhidden = { '/work/a' = '{{input}}' }\n[[test_lists]]\nplugin = 'l.wasm'\nattachments = { l = 'l.txt' }\n[[test_lists]]\nfiles = ['*.csv']\n[stored.attached]\n'l.txt' = ['e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 0]\n";
    let old = now.replace("hidden", "files").replace("attachments", "files");
    let [now, old] = [now, &old].map(|text| {
        let scenario = parse_stored(text, "stored", &Default::default());
        let Scenario { providers, lists, .. } =
            scenario.map_err(|all| all.render(false, 100)).unwrap();
        format!("{providers:?} {lists:?}")
    });
    assert_eq!(old, now);
    for part in ["hidden: {\"/work/a\"", "ProviderFile"] {
        assert!(now.contains(part), "{now}");
    }
}

#[test]
fn journal_makes_providers_and_graders_deterministic() {
    let journals = |run: &str, overrides: &ScenarioOverrides| {
        let text = format!(
            "[run]\n{run}\n[providers.p]\nplugin = 'p.wasm'\n[graders.g]\nplugin = 'g.wasm'\n[[tests]]\nid = 'a'\n"
        );
        let scenario = parse_stored(&text, "stored", overrides).unwrap();
        let kept = scenario.providers.iter().map(|one| one.deterministic.map(|run| run.journal));
        kept.collect::<Vec<_>>()
    };
    let [none, flag] =
        [false, true].map(|journal| ScenarioOverrides { journal, ..ScenarioOverrides::default() });
    let of = |journal| [Some(Some(journal)); 2];
    assert_eq!(journals("", &none), [None, None]);
    assert_eq!(journals("deterministic = true", &none), [Some(None), Some(None)]);
    assert_eq!(journals("journal = true", &none), of(InFlight::SendAgain));
    assert_eq!(journals("journal = true\nin_flight = 'stop'", &none), of(InFlight::Stop));
    assert_eq!(journals("in_flight = 'stop'", &flag), of(InFlight::Stop));
    assert_eq!(journals("journal = false", &flag), of(InFlight::SendAgain));
}

#[test]
fn problems_of_plugins_have_their_place() {
    let folder = folder("tests = [{ id = 'a' }]\n", &[]);
    let scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
    let problems = scenario.provider_problems(&[ProviderProblem {
        provider: 1,
        key: "plugin",
        message: "no WASM".to_owned(),
        help: None,
        refused: RefusedPart::default(),
    }]);
    let message = problems.render(false, 100);
    assert!(message.contains("error: no WASM") && message.contains("s.toml:2:"), "{message}");
    assert!(message.contains("of provider `q`"), "{message}");
}

#[test]
fn damaged_suite_is_refused() {
    let (scenario, _) = try_resolve(lists().path(), &Selection::default()).unwrap();
    let open = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Suite::open(file, &scenario.providers).map(|suite| suite.trials())
    };
    let good = "{\"id\":\"a\",\"input\":1,\"providers\":[0,2],\"timeout\":1}\n";
    assert_eq!(open(good).unwrap(), 2);
    assert_eq!(open("").unwrap(), 0);
    for bad in [
        &good[..good.len() - 1],
        "\n",
        "{\"id\":\"a\",\"input\":1,\"providers\":[2,0],\"timeout\":1}\n",
        "{\"id\":\"a\",\"input\":1,\"providers\":[3],\"timeout\":1}\n",
        "{\"id\":\"a\",\"input\":1,\"providers\":[],\"timeout\":1}\n",
        "{\"id\":\"a\",\"input\":1,\"providers\":[0],\"repeat\":0,\"timeout\":1}\n",
        "{\"input\":1,\"id\":\"a\",\"providers\":[0],\"timeout\":1}\n",
    ] {
        let error = open(&format!("{good}{bad}")).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{bad}: {error}");
    }
}

/// Returns the trials of tests, given as their providers and repeats.
fn expected_trials(tests: &[(Vec<bool>, u32)]) -> Vec<PlannedTrial> {
    let mut trials = Vec::new();
    let selected = tests.iter().filter(|(providers, _)| providers.contains(&true));
    for (test, (providers, repeats)) in selected.enumerate() {
        for provider in (0..3).filter(|provider| providers[usize::from(*provider)]) {
            trials.extend((1..=*repeats).map(|repeat| PlannedTrial {
                test: test as u64,
                provider,
                repeat,
            }));
        }
    }
    trials
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn trial_indexes_follow_plan_order(
        tests in prop::collection::vec((prop::collection::vec(any::<bool>(), 3), 1u32..4), 0..40),
        jumps in prop::collection::vec((0u16..3, any::<prop::sample::Index>()), 20),
    ) {
        let record = |(index, (providers, repeat)): (usize, &(Vec<bool>, u32))| {
            let names = ["p", "q", "r"].iter().zip(providers);
            let names: Vec<_> = names.filter(|(_, runs)| **runs).map(|(name, _)| name).collect();
            let line = format!("{{\"id\": \"t{index}\", \"repeat\": {repeat}, \"providers\": {names:?}}}\n");
            (!names.is_empty()).then_some(line)
        };
        let records: String = tests.iter().enumerate().filter_map(record).collect();
        let folder = folder(
            "test_lists = [{ files = ['l.jsonl'], optional = true }]\n",
            &[("l.jsonl", &records)],
        );
        let scenario = load(&folder.path().join("s.toml"), &Default::default()).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let written = resolve(&scenario, &Selection::default(), &mut file).unwrap();
        let opened = Suite::open(file, &scenario.providers).unwrap();
        prop_assert_eq!(written.digest(), opened.digest());

        let trials = expected_trials(&tests);
        for suite in [written, opened] {
            prop_assert_eq!(suite.trials(), trials.len() as u64);
            let ids: Vec<_> = ids(&suite).split_whitespace().map(str::to_owned).collect();
            for (index, trial) in trials.iter().enumerate() {
                prop_assert_eq!(suite.trial(index as u64), *trial);
                let name = ["p", "q", "r"][usize::from(trial.provider)];
                let id = &ids[trial.test as usize];
                let id = TrialId::parse(&format!("{id}@{name}#{}", trial.repeat)).unwrap();
                prop_assert_eq!(suite.index(&id), Some(index as u64));
            }
            for unknown in ["none@p#1", "t0@s#1", "t0@p#4", "t1@q#4294967295"] {
                prop_assert_eq!(suite.index(&TrialId::parse(unknown).unwrap()), None);
            }
            let next = |provider, from: usize| {
                let behind = trials.iter().enumerate().skip(from);
                let mut own = behind.filter(|(_, trial)| trial.provider == provider);
                own.next().map(|(index, _)| index as u64)
            };
            for provider in 0..3 {
                for from in 0..=trials.len() {
                    prop_assert_eq!(suite.next_trial(provider, from as u64), next(provider, from));
                }
            }
            for (provider, jump) in &jumps {
                let from = jump.index(trials.len() + 1);
                prop_assert_eq!(suite.next_trial(*provider, from as u64), next(*provider, from));
            }
        }
    }
}

#[test]
fn suite_can_move_to_another_thread() {
    let suite = select(&lists(), &Selection::default());
    let trials = std::thread::spawn(move || suite.trials()).join().unwrap();
    assert_eq!(trials, 14);
}

#[test]
fn lines_are_read_in_any_order_and_across_blocks() {
    let record = |index: usize| {
        let input = "x".repeat(index % 7 * 20_000);
        format!("{{\"id\": \"t{index}\", \"input\": \"{input}\"}}\n")
    };
    let records: String = (0..50).map(record).collect();
    let folder = folder("test_lists = [{ files = ['l.jsonl'] }]\n", &[("l.jsonl", &records)]);
    let suite = select(&folder, &Selection::default());
    let in_order = lines(&suite);
    let mut line = Vec::new();
    for step in [1, 7, 13, 49] {
        for index in (0..50).map(|index| index * step % 50) {
            suite.line(index as u64, &mut line).unwrap();
            assert_eq!(String::from_utf8_lossy(&line), in_order[index]);
        }
    }
}
