//! Documents and files over HTTP.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    process::Command,
    time::{Duration, SystemTime},
};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::sandbox::workspaces::agent;
use crate::support::{
    http::Site,
    run::{Run, sealed},
    runner::{Runner, tests},
    running::finished,
    wait::wait_until,
};

/// A run of one test that passes, two that fail for the same reason, and one that traps.
const MIXED: &str = "
    a/pass  | { do = \"echo\", value = \"Four\" } | equals = \"Four\"
    b/fail  | { do = \"echo\", value = \"One\" }  | equals = \"Two\"
    b/other | { do = \"echo\", value = \"One\" }  | equals = \"Two\"
    c/trap  | { do = \"trap\" }                   |";

fn mixed() -> (Runner, Site, Run) {
    let runner = Runner::hostile(&tests(MIXED));
    runner.exec(&[]).expect(1);
    let (site, run) = (Site::start(&runner, &[]), runner.only_run());
    (runner, site, run)
}

/// Returns a key of each item of a list.
fn keys<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let items = list.as_array().unwrap().iter();
    items.map(|item| item[key].as_str().unwrap_or("null")).collect()
}

/// Returns the ids of the trials that a query selects.
#[track_caller]
fn selected(site: &Site, query: &str) -> Vec<String> {
    let page = site.get(&format!("/runs/latest/trials?{query}"));
    keys(&page["trials"], "trial").into_iter().map(str::to_owned).collect()
}

#[test]
fn root_that_was_created_again_needs_a_restart() {
    let runner = Runner::new(&[]);
    let (root, old) = (runner.path("results"), runner.path("old"));
    let site = Site::start(&runner, &[]);
    fs::rename(&root, &old).unwrap();
    fs::create_dir(&root).unwrap();
    let says = ["results was created again", "restart `runner serve`"];
    site.ask("GET", "/runs", None).refuses(507, &says);
    fs::remove_dir(&root).unwrap();
    fs::rename(&old, &root).unwrap();
    site.get("/runs");
}

#[test]
fn runs_are_filtered_counted_and_paged() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } | equals = 1"));
    for (args, code) in [(&["--label", "team=red"][..], 0), (&[], 0), (&["--set", "x=1"], 2)] {
        runner.exec(args).expect(code);
    }
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 1", "equals = 2"));
    runner.exec(&[]).expect(1);
    fs::create_dir(runner.path("results/broken")).unwrap();
    runner.write("results/broken/index.jsonl", "x\n");
    runner.write("results/broken/benchmark.json", "{");
    let site = Site::start(&runner, &[]);
    let page = site.get("/runs");
    let ids: Vec<_> = runner.runs().iter().rev().map(|run| run.id().to_owned()).collect();
    assert_eq!(keys(&page["runs"], "run"), ids[1..].iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(page["unreadable"][0]["run"], "broken");
    assert_eq!(page["counts"], json!({"passed": 2, "failed": 1}));
    assert_eq!((&page["total"], &page["next"]), (&json!(3), &Value::Null));
    assert_eq!(page["runs"][0]["actions"]["rerun_failed"], json!({"allowed": true}));
    for (query, states) in [
        ("status=failed", &["failed"][..]),
        ("status=passed,failed&verdict=passed", &["passed", "passed"]),
        ("label=team%3Dred", &["passed"]),
        ("label=team", &["passed"]),
        ("label=team%3Dblue", &[]),
        ("q=RED", &["passed"]),
        ("scenario=scenario&status=completed", &["failed", "passed", "passed"]),
        ("reason=crashed&status=", &[]),
        ("since=1h&status=failed", &["failed"]),
        ("since=9998-01-01T00:00:00Z", &[]),
    ] {
        assert_eq!(keys(&site.get(&format!("/runs?{query}"))["runs"], "state"), states, "{query}");
    }
    assert_eq!(site.get("/runs?status=failed")["counts"]["passed"], 2);
    let first = site.get("/runs?limit=2");
    let next = first["next"].as_str().unwrap();
    assert_eq!((next, &first["total"]), (&*ids[2], &json!(3)));
    let last = site.get(&format!("/runs?limit=2&before={next}"));
    assert_eq!((keys(&last["runs"], "run"), &last["next"]), (vec![&*ids[3]], &Value::Null));
}

#[test]
fn runs_are_filtered_by_group() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    fs::copy(runner.path("scenario.toml"), runner.path("other.toml")).unwrap();
    for _ in 0..2 {
        runner.run(&["exec", "-q", "scenario.toml", "other.toml"]).expect(0);
    }
    let site = Site::start(&runner, &[]);
    let group = site.get("/runs")["runs"][0]["group"]["id"].as_str().unwrap().to_owned();
    let end = &group[group.len() - 8..];
    for query in [format!("group={group}"), format!("group={end}"), format!("q={end}")] {
        let page = site.get(&format!("/runs?{query}"));
        assert_eq!(keys(&page["runs"], "scenario"), ["other", "scenario"], "{query}");
        assert_eq!(page["runs"][0]["group"]["id"], *group);
    }
    assert_eq!(site.get("/runs?group=none")["total"], 0);
    let listed = runner.run(&["list", "--group", end, "--json"]).expect(0).document();
    assert_eq!(keys(&listed["runs"], "scenario"), ["other", "scenario"]);
}

#[test]
fn misspelt_queries_are_refused() {
    let (_runner, site, _) = mixed();
    for (path, says) in [
        ("/runs?stat=failed", &["stat"][..]),
        ("/runs?status=falied", &["`status` has no value `falied`", "failed"]),
        ("/runs?since=soon", &["`since` has no value `soon`", "7d"]),
        ("/runs?limit=0", &["`limit` must be a whole number from 1 to 1000"]),
        ("/runs/latest?x=1", &["x"]),
        ("/runs/latest/trials?sort=size", &["`sort` has no value `size`", "-duration"]),
        ("/runs/latest/trials?filter=outcome(fialed)", &["fialed", "failed"]),
        ("/runs/latest/trials?rev=99", &["fewer rows"]),
        ("/runs/latest/trials?near=b/other", &["`near`", "b/other"]),
        ("/runs/latest/summary?bins=1001", &["`bins` must be a whole number from 1 to 1000"]),
        ("/runs/latest/trials?rev=x", &["`rev` must be a whole number from 0"]),
        ("/runs/latest/report?form=pdf", &["`form` has no value `pdf`", "junit"]),
        ("/compare?base=latest&providers=a", &["two names"]),
        ("/history?since=soon", &["`since`"]),
    ] {
        site.ask("GET", path, None).refuses(400, says);
    }
    for path in ["/runs/nothing", "/runs/latest/trials/9", "/runs/latest/trials/none@p%231", "/x"] {
        site.ask("GET", path, None).refuses(404, &[]);
    }
}

#[test]
fn page_of_a_run_agrees_with_show() {
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"one\"\nrepeat = 2\nmeta = {{ topic = \"dates\" }}\ninput = {{ do = \"measure\", score = 0.5, tokens = 12 }}\n{}",
        tests("net | { do = \"http\" } |")
    ));
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    let (page, shown) = (site.get("/runs/latest"), runner.show(&runner.only_run()));
    for key in ["run", "manifest", "providers", "meta", "damaged_lines", "denials", "lost_results"]
    {
        assert_eq!(page[key], shown[key], "{key}");
    }
    assert_eq!(page["actions"]["stop"]["reason"], "the run has ended");
    assert!(page.get("rows").is_none() && page["rev"] == 3);
}

#[test]
fn page_of_a_graded_run_agrees_with_show() {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        r#"
        [providers.a]
        plugin = "hostile.wasm"
        [graders.judge]
        plugin = "hostile.wasm"
        input = { do = "judge", text = "{\"verdict\":\"pass\",\"score\":0.5}" }
        [[tests]]
        id = "one"
        input = { do = "echo", value = 1 }
        expect = { graders = ["judge"] }
        "#,
    );
    runner.exec(&[]);
    let site = Site::start(&runner, &[]);
    let (page, shown) = (site.get("/runs/latest"), runner.show(&runner.only_run()));
    assert_eq!((&page["graders"], &page["providers"]), (&shown["graders"], &shown["providers"]));
    assert_eq!(site.get("/runs/latest/summary")["scores"][0]["grader"], "judge");
}

#[test]
fn trials_are_selected_and_sorted() {
    let (runner, site, _) = mixed();
    let trial = |test: &str| format!("{test}@hostile#1");
    let [pass, fail, other, trap] = ["a/pass", "b/fail", "b/other", "c/trap"].map(trial);
    for (query, trials) in [
        ("", vec![&trap, &fail, &other, &pass]),
        ("sort=plan", vec![&pass, &fail, &other, &trap]),
        ("sort=plan&offset=1&limit=2", vec![&fail, &other]),
        ("filter=outcome(failed)", vec![&fail, &other]),
        ("filter=!outcome(failed)%20test(a/*)", vec![&pass]),
        ("filter=output(four)", vec![&pass]),
        ("filter=in(latest,outcome(error))", vec![&trap]),
        ("q=Four&sort=plan", vec![&pass]),
        ("q=B/OTHER", vec![&other]),
        ("q=expected%20%22Two%22", vec![]),
        ("q=outcome", vec![]),
        ("q=o&filter=outcome(failed)", vec![&fail, &other]),
        ("sort=plan&near=b/other@hostile%231&limit=3", vec![&fail, &other, &trap]),
        ("near=c/trap@hostile%231&limit=2", vec![&trap, &fail]),
        ("filter=outcome(failed)&near=a/pass@hostile%231", vec![]),
    ] {
        assert_eq!(selected(&site, query).iter().collect::<Vec<_>>(), trials, "{query}");
    }
    let durations = |sort: &str| {
        let page = site.get(&format!("/runs/latest/trials?sort={sort}"));
        let trials = page["trials"].as_array().unwrap().iter();
        trials.map(|trial| trial["duration_ms"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert!(durations("duration").is_sorted());
    assert!(durations("-duration").iter().rev().is_sorted());
    let page = site.get("/runs/latest/trials");
    assert_eq!([&page["total"], &page["of"], &page["rev"]], [4, 4, 4]);
    let failed = &page["trials"][1];
    assert_eq!(failed["headline"], "equals: expected \"Two\", got \"One\"");
    assert_eq!((&failed["outcome"], &failed["attempt"]), (&json!("failed"), &json!(1)));
    let shown = runner.run(&["show", "latest", &fail, "--json"]).expect(0).document();
    assert_eq!(failed["seq"], shown["shown"]);
}

#[test]
fn searches_find_texts_and_no_json() {
    let runner = Runner::hostile(&tests(
        "lines  | { do = \"echo\", value = \"one\\ntwo\" }        |
        control | { do = \"echo\", value = \"\\u0001abcdefgh\" } |
        object  | { do = \"echo\", value = { key = \"seven\" } } |",
    ));
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    for (text, found) in [
        ("TWO", &["lines"][..]),
        ("ntwo", &[]),
        ("ab", &["control"]),
        ("efgh", &["control"]),
        ("1ab", &[]),
        ("Seven", &["object"]),
        ("key", &["object"]),
        // Keys and values of rows.
        ("output", &[]),
        ("fingerprint", &[]),
        ("final", &[]),
        ("bytes_in", &[]),
    ] {
        let ids: Vec<_> = found.iter().map(|test| format!("{test}@hostile#1")).collect();
        assert_eq!(selected(&site, &format!("q={text}")), ids, "{text}");
    }
}

#[test]
fn large_run_is_shown_before_its_rows_are_read() {
    const TRIALS: usize = 50_001;
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"t\"\nrepeat = {TRIALS}\ninput = {{ do = \"echo\", value = 1 }}\nexpect = {{ equals = 2 }}\n"
    ));
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let run = runner.only_run();
    let rows = String::from_utf8(run.bytes("index.jsonl")).unwrap();
    let first = rows.lines().next().unwrap();
    let row = |number: usize| {
        let row = first.replacen("#1\"", &format!("#{number}\""), 1);
        let row = row.replacen("\"repeat\":1,", &format!("\"repeat\":{number},"), 1);
        sealed(&row.replacen("\"seq\":1,", &format!("\"seq\":{number},"), 1)) + "\n"
    };
    let rows: String = (1..=TRIALS).map(row).collect();
    run.write("index.jsonl", &rows);
    // Rows that have just changed are read at each request.
    let file = fs::File::options().write(true).open(run.dir.join("index.jsonl")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    let site = Site::start(&runner, &[]);
    let page = site.get("/runs/latest/trials");
    assert_eq!((&page["is_partial"], &page["of"]), (&json!(true), &json!(TRIALS)));
    let trials = page["trials"].as_array().unwrap();
    assert_eq!((trials.len(), &trials[9]["trial"]), (200, &json!("t@hostile#10")));
    wait_until("the rows are read", || {
        site.get("/runs/latest/trials?limit=1")["is_partial"] == false
    });
    let read = || site.running.process().read_bytes();
    let before = read();
    let page = site.get("/runs/latest/trials/50000");
    let own: Vec<_> = page["rows"].as_array().unwrap().iter().map(|row| &row["trial"]).collect();
    assert_eq!(own, ["t@hostile#50001"]);
    assert_eq!(page["planned"]["id"], "t");
    assert!(read() - before < rows.len() as u64 / 10, "the page of a trial has read all rows");
}

#[test]
fn filters_read_runs_of_the_root_only() {
    let (runner, site, run) = mixed();
    let (results, foreign) = (runner.path("results"), runner.path("foreign"));
    finished(Command::new("cp").arg("-r").args([results, foreign])).expect(0);
    let path = runner.path("foreign").join(run.id());
    let there = path.to_str().unwrap();
    for name in [there, "foreign", &format!("./foreign/{}", run.id())] {
        let filter = format!("in({name},outcome(failed))").replace('/', "%2F");
        for call in ["runs/latest/trials?", "runs/latest/report?", "compare?base=latest&"] {
            let path = format!("/{call}filter={filter}");
            site.ask("GET", &path, None).refuses(404, &[]);
        }
        site.ask("GET", &format!("/runs/{}", name.replace('/', "%2F")), None).refuses(404, &[]);
    }
    site.ask("GET", &format!("/runs/{}", "a".repeat(256)), None).refuses(404, &["no run"]);
    // A folder of a run in the server's working directory has no name here.
    symlink(&path, runner.path("beside")).unwrap();
    runner.run(&["show", "beside"]).expect(0);
    site.ask("GET", "/runs/beside", None).refuses(404, &[]);
}

#[test]
fn files_of_the_root_are_no_runs() {
    let (runner, site, _) = mixed();
    runner.write("results/.number", "");
    runner.write("results/notes", "");
    let entries = fs::read_dir(runner.path("results")).unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let files: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
    let known = [".lock", ".number", "notes", "runner.db"];
    assert!(known.iter().all(|name| files.iter().any(|file| file == name)), "{files:?}");
    for name in files.iter().map(|file| &**file).chain(["queue", "store", "lost+found", ".."]) {
        for call in ["", "/trials", "/events", "/log"] {
            let path = format!("/runs/{name}{call}");
            site.ask("GET", &path, None).refuses(404, &[]);
        }
        if name != ".." {
            site.post(&format!("/runs/{name}/stop"), &json!({})).refuses(404, &["no run"]);
            let deleted = site.ask("DELETE", &format!("/runs/{name}"), Some(&json!({})));
            deleted.refuses(404, &["no run"]);
        }
    }
}

#[test]
fn pages_of_a_snapshot_stay_the_same() {
    let runner = Runner::endless(2, "wait-for-stop", "");
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&format!("{text}{}", tests("z | { do = \"echo\", value = 1 } |")));
    let mut running = runner.start(&["-j", "3"]);
    running.wait_for_rows(1);
    let site = Site::start(&runner, &[]);
    let page = site.get("/runs/latest/trials?sort=plan");
    assert_eq!(
        ([&page["rev"], &page["of"]], page["trials"].as_array().unwrap().len()),
        ([&json!(1), &json!(3)], 3)
    );
    wait_until("two attempts are shown as running", || {
        let page = site.get("/runs/latest/trials?sort=plan");
        page["trials"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|trial| trial["is_running"] == true)
            .count()
            == 2
    });
    assert_eq!(selected(&site, "filter=outcome(passed)"), ["z@hostile#1"]);
    assert_eq!(selected(&site, "q=GUEST&sort=plan"), ["guest@hostile#1", "guest@hostile#2"]);
    wait_until("the counts have the passed trial", || {
        let counts = &site.get("/runs/latest/live")["counts"];
        (&counts["planned"], &counts["passed"]) == (&json!(3), &json!(1))
    });
    assert_eq!(site.get("/runs/latest")["actions"]["stop"], json!({"allowed": true}));
    running.end_by(Signal::INT);
    let ended = site.get("/runs/latest");
    assert_eq!((&ended["run"]["state"], &ended["live"]), (&json!("incomplete"), &Value::Null));
    assert_eq!(ended["actions"]["resume"], json!({"allowed": true}));
    let again = site.get("/runs/latest/trials?sort=plan&rev=1");
    for (old, new) in
        page["trials"].as_array().unwrap().iter().zip(again["trials"].as_array().unwrap())
    {
        assert_eq!(
            (&old["trial"], &old["seq"], &old["outcome"]),
            (&new["trial"], &new["seq"], &new["outcome"])
        );
    }
}

#[test]
fn resumed_trials_replace_their_results() {
    let (runner, site, _) = mixed();
    let before = site.get("/runs/latest/trials?filter=outcome(failed)");
    assert_eq!(before["total"], 2);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = \"Two\"", "equals = \"One\""));
    runner.run(&["resume", "latest", "--rerun", "failed", "--accept-changes"]).expect(1);
    let after = site.get("/runs/latest/trials?filter=outcome(passed)");
    assert_eq!((&after["total"], after["rev"].as_u64() > Some(4)), (&json!(3), true));
    assert_eq!(site.get("/runs/latest")["providers"][0]["passed"], 3);
}

#[test]
fn trial_page_keeps_numbers_as_written() {
    let runner = Runner::hostile(&tests(
        "a | { do = \"echo\", value = { n = 9007199254740993, x = 1.0 } } | json = { n = 9007199254740993, x = 2.0 }",
    ));
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &[]);
    for name in ["0", "a@hostile%231", "a"] {
        let page = site.get(&format!("/runs/latest/trials/{name}"));
        assert_eq!(page["trial"], "a@hostile#1");
        let text = |key: &str| page[key].as_str().unwrap().to_owned();
        assert_eq!(text("output"), r#"{"n":9007199254740993,"x":1.0}"#);
        assert!(text("input").contains("9007199254740993"), "{page}");
        assert!(text("expected").contains("\"json\""), "{page}");
        assert_eq!(page["reasons"][0]["tone"], "reason");
        assert_eq!(page["rows"].as_array().unwrap().len(), 1);
    }
    snapshot(site.ask("GET", "/runs/latest/trials/0?attempt=2", None).refuses(404, &[]));
}

#[test]
fn files_of_guests_are_downloads() {
    let runner = Runner::hostile(&tests(
        "page | { do = \"artifact\", name = \"page.html\" } |
        said | { do = \"say\", text = \"loud\" }           |
        dot  | { do = \"picture\", name = \"dot.png\" }    |
        lots | { do = \"flood-artifacts\", count = 1, bytes = 600_000 } |",
    ));
    runner.exec(&[]).expect(0);
    let (site, run) = (Site::start(&runner, &[]), runner.only_run());
    let file = "/runs/latest/trials/0/attempts/1/files/page.html";
    let download = |query: &str| {
        let answer = site.ask("GET", &format!("{file}{query}"), None).expect(200);
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        assert_eq!(header("content-type"), "application/octet-stream");
        assert_eq!(header("content-disposition"), "attachment; filename*=UTF-8''page.html");
        assert_eq!(header("content-security-policy"), "sandbox; default-src 'none'");
        assert_eq!(header("x-content-type-options"), "nosniff");
        answer.text()
    };
    assert_eq!(download(""), download("?inline=1"));
    for missing in ["a.html", "..%2F..%2Fbenchmark.json", "page.html%00"] {
        let path = format!("/runs/latest/trials/0/attempts/1/files/{missing}");
        site.ask("GET", &path, None).refuses(404, &[]);
    }
    let dot = |query: &str| {
        let path = format!("/runs/latest/trials/dot/attempts/1/files/dot.png{query}");
        let answer = site.ask("GET", &path, None).expect(200);
        ["content-type", "content-disposition"].map(|name| answer.header(name).unwrap().to_owned())
    };
    assert_eq!(dot("?inline=1"), ["image/png", "inline"]);
    assert_eq!(dot("")[0], "application/octet-stream");
    let large = runner.only_run().row("lots")["artifacts"][0]["name"].as_str().unwrap().to_owned();
    let path = format!("/runs/latest/trials/lots/attempts/1/files/{large}");
    assert_eq!(site.ask("GET", &path, None).expect(200).body, vec![0; 600_000]);
    let said = site.ask("GET", "/runs/latest/trials/said/log", None).expect(200);
    let said = said.text();
    let (log, output) = said.split_once("── standard output ──\n").unwrap();
    assert!(log.ends_with(" warn  loud loud=loud\n"), "{log}");
    assert_eq!(output, "loud\n── standard error ──\nloud\n");
    assert_eq!(
        site.ask("GET", "/runs/latest/rows", None).expect(200).body,
        run.bytes("index.jsonl")
    );
}

#[test]
fn damaged_files_are_not_sent_whole() {
    let runner = Runner::hostile(&tests(
        "small | { do = \"flood-artifacts\", count = 1, bytes = 600 } |
        large  | { do = \"flood-artifacts\", count = 1, bytes = 2_000_000 } |",
    ));
    runner.exec(&[]).expect(0);
    let (site, run) = (Site::start(&runner, &[]), runner.only_run());
    let token = format!("Authorization: Bearer {}", site.token);
    for test in ["small", "large"] {
        let artifact = &run.row(test)["artifacts"][0];
        let text = |key: &str| artifact[key].as_str().unwrap();
        let (digest, name) = (text("sha256"), text("name"));
        let call = format!("/runs/latest/trials/{test}/attempts/1/files/{name}");
        let path = format!("artifacts/{}/{digest}", &digest[..2]);
        let mut bytes = run.bytes(&path);
        let length = bytes.len() / 4;
        let part = || {
            let range = format!("Range: bytes=0-{}", length - 1);
            site.send("GET", &format!("/api/v1{call}"), &[&token, &range], "")
        };
        assert_eq!(part().expect(206).body, vec![0; length]);
        bytes[500] = 1;
        run.write(&path, &bytes);
        let whole = site.ask("GET", &call, None);
        if test == "small" {
            snapshot(whole.refuses(507, &[]));
            part().refuses(507, &[]);
        } else {
            assert_eq!(whole.expect(200).header("content-length"), Some("2000000"));
            assert!(site.ask("GET", &call, None).body.len() < 2_000_000);
            assert!(part().body.len() < length);
        }
        run.write(&path, &bytes[1..]);
        let shorter = format!("it has {} bytes instead of {}", bytes.len() - 1, bytes.len());
        site.ask("GET", &call, None).refuses(507, &[&shorter, "runner verify"]);
    }
}

#[test]
fn ranges_of_files_are_served() {
    let (_runner, site, run) = mixed();
    let rows = run.bytes("index.jsonl");
    let token = format!("Authorization: Bearer {}", site.token);
    let range = |range: &str| {
        let range = format!("Range: bytes={range}");
        site.send("GET", "/api/v1/runs/latest/rows", &[&token, &range], "")
    };
    let part = range("10-19").expect(206);
    assert_eq!(part.body, rows[10..20]);
    assert_eq!(part.header("content-range"), Some(&*format!("bytes 10-19/{}", rows.len())));
    assert_eq!(range("-5").expect(206).body, rows[rows.len() - 5..]);
    let beyond = range(&format!("{}-", rows.len()));
    beyond.refuses(416, &[]);
    assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{}", rows.len())));
    assert_eq!(range("0-1,3-4").expect(200).body, rows);
}

#[test]
fn changes_of_a_workspace_are_listed_and_served_as_diffs() {
    let acts = json!([
        ["append", "/work/src/app.py", "v = 2\n"],
        ["mkdir", "/work/made"],
        ["remove", "/work/README"],
        ["write", "/work/zero", ""]
    ]);
    let runner = agent("", &[("a", acts)]);
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    let path = "/runs/latest/trials/a@agent%231";
    let list = site.get(&format!("{path}/changes"));
    let printed = runner.run(&["show", "latest", "a@agent#1", "--diff", "--json"]).expect(0);
    assert_eq!(list, printed.document());
    assert_eq!(keys(&list["changes"], "path"), ["README", "made", "src/app.py", "zero"]);
    let token = format!("Authorization: Bearer {}", site.token);
    let diff = |number: usize, headers: &[&str]| {
        let path = format!("/api/v1{path}/attempts/1/changes/{number}");
        site.send("GET", &path, &[&[&*token], headers].concat(), "")
    };
    let all: String = (0..4).map(|number| diff(number, &[]).expect(200).text()).collect();
    let printed = runner.run(&["show", "latest", "a@agent#1", "--diff"]).expect(0);
    assert_eq!(all, printed.stdout);
    assert!(all.contains("\n+v = 2\n"), "{all}");
    let part = diff(2, &["Range: bytes=0-9"]).expect(206);
    assert_eq!(part.text(), "diff --git");
    assert_eq!(diff(1, &["Range: bytes=0-9"]).expect(206).text(), "only named");
    snapshot(diff(4, &[]).refuses(404, &[]));
    let other = format!("{path}/attempts/2/changes/0");
    site.ask("GET", &other, None).refuses(404, &[]);
}

#[test]
fn links_and_pipes_in_runs_are_not_read() {
    let (runner, site, run) = mixed();
    runner.write("secret", "{\"secret\":1}\n");
    let replaced = |name: &str| {
        fs::remove_file(run.dir.join(name)).unwrap();
        symlink(runner.path("secret"), run.dir.join(name)).unwrap();
    };
    replaced("runner.log");
    let log = site.ask("GET", "/runs/latest/log", None);
    assert!(log.status >= 400 && !log.text().contains("{\\\"secret"), "{}", log.text());
    fs::remove_file(run.dir.join("runner.log")).unwrap();
    finished(Command::new("mkfifo").arg(run.dir.join("runner.log"))).expect(0);
    assert!(site.ask("GET", "/runs/latest/log", None).status >= 400);
    replaced("index.jsonl");
    for call in ["rows", "trials", "failures", "summary", "matrix"] {
        let answer = site.ask("GET", &format!("/runs/latest/{call}"), None);
        assert!(answer.status >= 400, "{call}: {}", answer.text());
    }
}

#[test]
fn huge_sparse_files_are_not_read() {
    let (_runner, site, run) = mixed();
    let scenario = fs::File::create(run.dir.join("scenario.toml")).unwrap();
    scenario.set_len(3 << 30).unwrap();
    site.get("/runs/latest");
    site.get("/runs/latest/trials/0");
    let manifest = fs::File::create(run.dir.join("benchmark.json")).unwrap();
    manifest.set_len(3 << 30).unwrap();
    let page = site.get("/runs");
    assert_eq!(
        (keys(&page["unreadable"], "run"), keys(&page["runs"], "run")),
        (vec![run.id()], vec![])
    );
    site.ask("GET", &format!("/runs/{}", run.id()), None).refuses(507, &["benchmark.json"]);
    let peak = site.running.process().peak_memory();
    assert!(peak < 64 << 20, "{peak}");
}

#[test]
fn failures_charts_and_matrix_sum_a_run_up() {
    let (runner, site, _) = mixed();
    runner.exec(&[]).expect(1);
    let failures = site.get("/runs/latest/failures");
    assert_eq!(
        (&failures["trials"], keys(&failures["kinds"], "kind")),
        (&json!(3), vec!["trap", "equals"])
    );
    let group = &failures["kinds"][1]["groups"][0];
    assert_eq!((&group["trials"], &group["change"]), (&json!(2), &json!("still")));
    assert_eq!(group["first"], json!(["b/fail@hostile#1", "b/other@hostile#1"]));
    assert_eq!(
        keys(&site.get("/runs/latest/trials?limit=1")["trials"], "change"),
        ["still-failing"]
    );
    let charts = site.get("/runs/latest/summary?bins=5");
    let sum = |list: &Value| {
        list.as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(
        (charts["edges_ms"].as_array().unwrap().len(), sum(&charts["durations"][0]["counts"])),
        (6, 4)
    );
    let bins = charts["bins"].as_array().unwrap();
    let failed: u64 = bins.iter().map(|bin| bin["failed"].as_u64().unwrap()).sum();
    assert!(bins.len() <= 5 && failed == 2, "{charts}");
    let matrix = site.get("/runs/latest/matrix?offset=1&limit=2");
    assert_eq!(
        (&matrix["total"], keys(&matrix["tests"], "test")),
        (&json!(4), vec!["b/fail", "b/other"])
    );
    assert_eq!(matrix["tests"][0]["cells"][0]["failed"], 1);
}

#[test]
fn joined_attempts_of_a_timeline_are_counted() {
    let mut table = String::new();
    for number in 0..100 {
        // Each wait has a lane, so that the spans of an attempt's lane have to be long.
        table += &format!("b-{number} | {{ do = \"error\", kind = \"internal\" }} |\n");
        if number < 40 {
            let value = number % 4;
            table += &format!("a-{number} | {{ do = \"echo\", value = {value} }} | equals = 0\n");
        }
    }
    let retries = "[defaults]\nretries = { max = 1, backoff = \"1500ms\", on = [\"internal\"] }\n";
    let runner = Runner::hostile(&(retries.to_owned() + &tests(&table)));
    runner.exec(&["-j", "2"]).expect(1);
    let site = Site::start(&runner, &[]);
    let timeline = site.get("/runs/latest/timeline");
    let spans = timeline["spans"].as_array().unwrap().iter().filter(|span| span["wait"].is_null());
    let spans: Vec<_> = spans.collect();
    let of = |span: &Value, outcome: &str| match &span["counts"] {
        Value::Null => u64::from(span["outcome"] == outcome),
        counts => counts[outcome].as_u64().unwrap(),
    };
    let sums = ["passed", "failed", "error", "timeout"]
        .map(|outcome| spans.iter().map(|span| of(span, outcome)).sum::<u64>());
    assert_eq!(sums, [10, 30, 200, 0], "{timeline}");
    assert!(spans.iter().all(|span| span["counts"].is_null() == (span["attempts"] == 1)));
    assert!(spans.iter().any(|span| !span["counts"].is_null()), "{timeline}");
    let failed = site.get("/runs/latest/timeline?filter=outcome(failed)");
    let attempts = failed["spans"].as_array().unwrap().iter();
    assert_eq!(attempts.map(|span| of(span, "failed")).sum::<u64>(), 30);
    assert!(failed["spans"].as_array().unwrap().iter().all(|span| span["outcome"] == "failed"));
    assert_eq!(failed["lanes"], timeline["lanes"]);
}

#[test]
fn scenarios_have_the_last_run_of_their_file() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    for file in ["scenario.toml", "other.toml"] {
        runner.write(file, format!("name = \"a\"\n{text}"));
    }
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &["--scenarios", "."]);
    let scenarios = &site.get("/scenarios")["scenarios"];
    assert_eq!([&scenarios[0]["path"], &scenarios[1]["path"]], ["other.toml", "scenario.toml"]);
    assert_eq!(scenarios[0]["name"], scenarios[1]["name"]);
    assert_eq!(scenarios[0]["last_run"], Value::Null);
    assert_eq!(scenarios[1]["last_run"]["run"], site.get("/runs")["runs"][0]["run"]);
}

/// Returns the trials of a kind or a group of failures.
#[track_caller]
fn of_group(site: &Site, of: &Value, more: &str) -> Vec<String> {
    let path =
        format!("/runs/latest/trials?limit=1000&group={}{more}", of["key"].as_str().unwrap());
    let page = site.get(&path);
    let reason = of.get("reason").unwrap_or(&of["kind"]);
    assert_eq!((&page["reason"], &page["of"]), (reason, &site.get("/runs/latest/trials")["of"]));
    let trials = keys(&page["trials"], "trial").into_iter().map(str::to_owned);
    trials.take(page["total"].as_u64().unwrap() as usize).collect()
}

/// Compares the list of each kind and group of failures with their numbers, and returns these: kind, trials, groups.
#[track_caller]
fn check_groups(site: &Site) -> Vec<(String, u64, Vec<u64>)> {
    let failures = site.get("/runs/latest/failures");
    let trials = |of: &Value| of["trials"].as_u64().unwrap();
    let kinds = failures["kinds"].as_array().unwrap().iter().map(|kind| {
        let all = of_group(site, kind, "");
        assert_eq!(all.len() as u64, trials(kind).min(1000), "{kind}");
        if let Some(filter) = kind["filter"].as_str() {
            let filter = filter.replace(' ', "%20").replace('&', "%26");
            let listed = site.get(&format!("/runs/latest/trials?limit=1000&filter={filter}"));
            assert_eq!(keys(&listed["trials"], "trial"), all, "{kind}");
        }
        let mut left: BTreeSet<_> = all.into_iter().collect();
        let groups = kind["groups"].as_array().unwrap().iter().map(|group| {
            let list = of_group(site, group, "&sort=plan");
            let first = group["first"].as_array().unwrap();
            assert_eq!(list.len() as u64, trials(group), "{group}");
            assert_eq!(json!(list[..first.len()]), json!(first), "{group}");
            // No trial is in two groups.
            assert!(trials(kind) > 1000 || list.iter().all(|trial| left.remove(trial)), "{group}");
            trials(group)
        });
        let groups: Vec<_> = groups.collect();
        let left_out = kind["left_out"].as_u64().unwrap();
        assert_eq!(groups.iter().sum::<u64>() + left_out, trials(kind));
        assert!(trials(kind) > 1000 || left.len() as u64 == left_out, "{left:?}");
        (kind["kind"].as_str().unwrap().to_owned(), trials(kind), groups)
    });
    kinds.collect()
}

#[test]
fn list_of_a_group_has_its_trials() {
    let mut list = String::new();
    for number in 0..12 {
        let value = |value: i32| format!("{{ do = \"echo\", value = {value} }}");
        list += &format!("values-{number} | {} | equals = \"city {number}\"\n", value(number));
        list += &format!("same-{number} | {} | equals = \"city {number}\"\n", value(-1));
        list += &format!("lacks-{number} | {} | contains = \"x{}\"\n", value(1), number % 3);
        let error = format!("do = \"error\", kind = \"internal\", message = \"case {number}\"");
        list += &format!("error-{number} | {{ {error} }} |\n");
    }
    let list = tests(&format!("{list}good | {{ do = \"echo\", value = 1 }} | equals = 1"));
    let repeats = r#"
        [[tests]]
        id = "again"
        repeat = 17
        input = { do = "echo", value = 1 }
        expect = { json = [2] }
        [[tests]]
        id = "judged"
        repeat = 3
        input = { do = "echo", value = 1 }
        expect = { graders = ["judge", "strict"] }
        [[tests]]
        id = "several"
        repeat = 2
        input = { do = "echo", value = 1 }
        expect = { equals = 2, contains = "x0", json = [2] }
        [graders.strict]
        plugin = "bundled:echo"
        input = { verdict = "fail" }
        [graders.judge]
        plugin = "hostile.wasm"
        min_score = 0.7
        input = { do = "judge", text = "{\"score\":0.5,\"explanation\":\"no\"}" }
    "#;
    let runner = Runner::hostile(&format!("{list}{repeats}"));
    runner.exec(&[]).expect(1);
    let site = Site::start(&runner, &[]);
    let kinds = check_groups(&site);
    let kinds: Vec<_> =
        kinds.iter().map(|(kind, all, groups)| (&**kind, *all, &**groups)).collect();
    assert_eq!(
        kinds,
        [
            ("internal", 12, &[12][..]),
            ("equals", 26, &[14, 12]),
            ("json", 19, &[19]),
            ("contains", 14, &[6, 4, 4]),
            ("grader judge below 0.7", 3, &[3]),
            ("grader strict: fail", 3, &[3]),
        ]
    );
    let failures = site.get("/runs/latest/failures");
    assert_eq!([&failures["trials"], &failures["checks"]], [70, 65]);
    let filters = failures["kinds"].as_array().unwrap().iter().map(|kind| kind["filter"].as_str());
    assert_eq!(filters.flatten().next(), Some("check(equals) & outcome(failed)"));
    let group = &failures["kinds"][1]["groups"][0];
    let chosen = of_group(&site, group, "&filter=test(*-1)%20or%20outcome(passed)");
    assert!(matches!(&chosen[..], [only] if only.ends_with("-1@hostile#1")), "{chosen:?}");
    assert_eq!(of_group(&site, group, "&q=-11@").len(), 1);
    assert_eq!(of_group(&site, group, "&q=good"), [""; 0]);
    let path = "/runs/latest/trials?group=nothing";
    site.ask("GET", path, None).refuses(400, &["`nothing`", "/runs/{run}/failures"]);
}

#[test]
fn kind_lists_trials_of_groups_that_are_not_kept() {
    const TRIALS: usize = 4000;
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"t\"\nrepeat = {TRIALS}\ninput = {{ do = \"error\", kind = \"internal\", message = \"WORD\" }}\n"
    ));
    runner.exec(&["-j", "1", "--fail-fast"]).expect(4);
    let run = runner.only_run();
    let rows = String::from_utf8(run.bytes("index.jsonl")).unwrap();
    let first = rows.lines().next().unwrap();
    let row = |number: usize| {
        // Words without values, each of which is a group of its own.
        let word: String = number.to_string().bytes().map(|digit| char::from(digit + 50)).collect();
        let row = first.replacen("#1\"", &format!("#{number}\""), 1).replace("WORD", &word);
        let row = row.replacen("\"repeat\":1,", &format!("\"repeat\":{number},"), 1);
        sealed(&row.replacen("\"seq\":1,", &format!("\"seq\":{number},"), 1)) + "\n"
    };
    run.write("index.jsonl", (1..=TRIALS).map(row).collect::<String>());
    let site = Site::start(&runner, &[]);
    let kinds = check_groups(&site);
    assert_eq!(kinds, [("internal".to_owned(), TRIALS as u64, vec![1; 10])]);
    let failures = site.get("/runs/latest/failures");
    let key = failures["kinds"][0]["key"].as_str().unwrap();
    let page = site.get(&format!("/runs/latest/trials?sort=plan&group={key}&offset=3999"));
    assert_eq!(
        (&page["total"], keys(&page["trials"], "trial")),
        (&json!(TRIALS), vec!["t@hostile#4000"])
    );
}

#[test]
fn matrix_has_no_columns_for_graders_and_tools() {
    let runner = Runner::hostile(
        &(tests("a | { do = \"echo\", value = 1 } | graders = [\"g\"]")
            + "\n[graders.g]\nplugin = \"hostile.wasm\"\ninput = { do = \"echo\", value = { verdict = \"pass\" } }\n\
               grants = { tools = [\"t\"] }\n[tools.t]\nplugin = \"bundled:echo\"\n"),
    );
    runner.exec(&[]).expect(0);
    let site = Site::start(&runner, &[]);
    assert_eq!(site.get("/runs/latest/matrix")["providers"], json!(["hostile"]));
    let document = site.get("/runs/latest");
    assert_eq!(document["providers"].as_array().unwrap().len(), 1);
    assert_eq!(document["graders"].as_array().unwrap().len(), 1);
}

#[test]
fn comparisons_histories_and_reports_are_those_of_commands() {
    let (runner, site, run) = mixed();
    runner.exec(&[]).expect(1);
    let printed = |args: &[&str]| runner.run(args).expect(0).document();
    assert_eq!(site.get("/compare"), printed(&["compare", "--json"]));
    assert_eq!(
        site.get(&format!("/compare?base={}&new=latest&filter=test(b/*)", run.id())),
        printed(&["compare", "--json", "-E", "test(b/*)"])
    );
    assert_eq!(site.get("/history?test=b/*"), printed(&["history", "--test", "b/*", "--json"]));
    assert_eq!(
        site.get("/history?scenario=scenario&by=day"),
        printed(&["history", "--by", "day", "--json"])
    );
    for (form, kind) in [
        ("html", "text/html"),
        ("junit", "application/xml"),
        ("csv", "text/csv"),
        ("markdown", "text/markdown"),
        ("trace", "application/octet-stream"),
    ] {
        let report = site.ask("GET", &format!("/runs/latest/report?form={form}"), None).expect(200);
        assert_eq!(
            report.text(),
            runner.run(&["report", &format!("--{form}")]).expect(0).stdout,
            "{form}"
        );
        assert!(report.header("content-type").unwrap().starts_with(kind));
        assert!(report.header("content-disposition").unwrap().starts_with("attachment"));
        assert_eq!(report.header("cache-control"), Some("no-store"));
    }
}

#[test]
fn scenarios_below_the_folders_are_listed() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    fs::create_dir_all(runner.path("all/deep")).unwrap();
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.write("all/deep/broken.toml", text.replace("[[tests]]", "[[test]]"));
    runner.write("all/Cargo.toml", "[package]\nname = \"x\"\n");
    runner.write("outside.toml", &text);
    symlink(runner.path("outside.toml"), runner.path("all/link.toml")).unwrap();
    // If links were followed, four circles in two folders would make endless paths.
    for circle in ["all/circle", "all/up", "all/deep/circle", "all/deep/up"] {
        symlink(runner.path("all"), runner.path(circle)).unwrap();
    }
    let site = Site::start(&runner, &["--scenarios", "all"]);
    let page = site.get("/scenarios");
    assert_eq!(keys(&page["scenarios"], "path"), ["deep/broken.toml"]);
    assert_eq!(page["is_cut"], false);
    let problem = &page["scenarios"][0]["problems"][0];
    assert!(problem["line"].is_u64(), "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("test"), "{problem}");
    assert_eq!(site.get("/server")["scenarios"], true);
}

#[test]
fn stored_scenarios_of_runs_are_not_listed() {
    let runner = Runner::hostile(&tests("a | { do = \"echo\", value = 1 } |"));
    runner.exec(&["--into", "mine/moved"]).expect(0);
    runner.exec(&[]).expect(0);
    fs::create_dir(runner.path("kept")).unwrap();
    fs::rename(runner.path("mine/moved"), runner.path("kept/moved")).unwrap();
    fs::remove_file(runner.path("results/runner.db")).unwrap();
    let site = Site::start(&runner, &["--scenarios", "."]);
    assert_eq!(keys(&site.get("/scenarios")["scenarios"], "path"), ["scenario.toml"]);
}

#[test]
fn rescored_run_has_its_new_graders_in_each_form() {
    let grader = |name: &str, score: f64| {
        format!(
            "[graders.{name}]\nplugin = \"hostile.wasm\"\ninput = {{ do = \"measure\", score = {score}, tokens = 5 }}\nmin_score = 0.5\n"
        )
    };
    let write = |runner: &Runner, names: &str, graders: &[String]| {
        let test = format!("a | {{ do = \"echo\", value = 1 }} | graders = [{names}]");
        let prices =
            "[prices.\"*\"]\ntokens = 2_000_000\n[providers.hostile]\nplugin = \"hostile.wasm\"\n";
        runner.scenario(&format!("{prices}{}{}", graders.concat(), tests(&test)));
    };
    let runner = Runner::new(&["hostile"]);
    write(&runner, "\"mercury\"", &[grader("mercury", 1.0)]);
    runner.exec(&[]).expect(0);
    // The server has read the run before.
    let site = Site::start(&runner, &[]);
    let graders = || {
        let document = site.get("/runs/latest");
        let tables = document["graders"].as_array().into_iter().flatten();
        let cell = |one: &Value| json!([one["grader"], one["score"], one["passed"], one["failed"]]);
        json!(tables.map(cell).collect::<Vec<_>>())
    };
    let before = json!([["mercury", 1.0, 1, 0]]);
    wait_until("the page has the grader", || graders() == before);
    write(&runner, "\"venus\", \"saturn\"", &[grader("venus", 1.0), grader("saturn", 0.25)]);
    runner.run(&["rescore"]).expect(1);
    let expected = json!([["venus", 1.0, 1, 0], ["saturn", 0.25, 0, 1]]);
    let shown = runner.run(&["show", "--json"]).expect(0).document();
    assert_eq!(keys(&shown["graders"], "grader"), ["venus", "saturn"]);
    wait_until("the page has the graders", || graders() == expected);
    for args in [&["show"][..], &["report", "--html"]] {
        let text = runner.run(args).expect(0).stdout;
        // Details of a trial have all its rows.
        let text = text.split("<script").next().unwrap();
        let has = |name: &str| text.contains(name);
        assert!(has("venus") && has("saturn") && !has("mercury"), "{args:?}: {text}");
    }
    snapshot(&runner.run(&["show", "--matrix"]).expect(0));
    runner.run(&["history"]).expect(0).says(&["$20"]);
}
