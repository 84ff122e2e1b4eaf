//! Everything that can be read, by the contract that describes it.

use serde_json::json;

use super::client::Served;
use crate::support::runner::Runner;

/// Everything that trials can come to, and what guests say to harm whoever reads it.
const SCENARIO: &str = r#"
name = "all <b>of</b> it"
[defaults]
timeout = "800ms"
[[tests]]
id = "passes"
tags = ["quick"]
input = { do = "echo", value = "<script>alert(1)</script>" }
expect = { equals = "<script>alert(1)</script>" }
[[tests]]
id = "fails"
input = { do = "echo", value = 1 }
expect = { equals = 2 }
[[tests]]
id = "traps"
input = { do = "trap" }
[[tests]]
id = "late"
input = { do = "sleep" }
[[tests]]
id = "files"
input = { do = "artifact", name = "page.html" }
[[tests]]
id = "logs"
input = { do = "log" }
"#;

fn served(runner: &Runner) -> Served {
    runner.exec(&["--fail-fast=100"]).expect(1);
    Served::start(runner, &["--scenarios", "."])
}

#[test]
fn every_call_answers_as_the_contract_says() {
    let runner = Runner::hostile(SCENARIO);
    let served = served(&runner);
    let run = runner.only_run().id().to_owned();
    let contract = served.get("/openapi.json").expect(200).json();
    assert_eq!(contract, *super::contract::contract());
    let mut asked = Vec::new();
    let trial = format!("/runs/{run}/trials/fails@hostile%231");
    for (path, route, status) in [
        ("/server", "/server", 200),
        ("/scenarios", "/scenarios", 200),
        ("/runs", "/runs", 200),
        (
            "/runs?status=completed,running&verdict=failed&q=all&sort=longest&limit=1",
            "/runs",
            200,
        ),
        ("/runs?verdict=perhaps", "/runs", 400),
        ("/runs?after=nothing", "/runs", 400),
        ("/runs?sort=best", "/runs", 400),
        ("/runs?since=yesterday", "/runs", 400),
        (&format!("/runs/{run}"), "/runs/{run}", 200),
        ("/runs/nothing", "/runs/{run}", 404),
        ("/runs/latest/summary", "/runs/{run}/summary", 200),
        ("/runs/latest/waiting", "/runs/{run}/waiting", 200),
        ("/queue", "/queue", 200),
        ("/retention", "/retention", 200),
        ("/runs/latest/trials", "/runs/{run}/trials", 200),
        (
            "/runs/latest/trials?filter=outcome(",
            "/runs/{run}/trials",
            400,
        ),
        (
            "/runs/latest/trials?filter=in(nothing,flaky())",
            "/runs/{run}/trials",
            422,
        ),
        ("/runs/latest/trials?sort=size", "/runs/{run}/trials", 400),
        (&trial, "/runs/{run}/trials/{trial}", 200),
        (
            "/runs/latest/trials/nothing",
            "/runs/{run}/trials/{trial}",
            404,
        ),
        ("/runs/latest/matrix?limit=2", "/runs/{run}/matrix", 200),
        ("/runs/latest/series", "/runs/{run}/series", 200),
        ("/runs/latest/metrics", "/runs/{run}/metrics", 200),
        ("/compare?base=latest&providers=a,b", "/compare", 422),
        ("/compare?base=nothing", "/compare", 404),
        ("/compare", "/compare", 400),
        ("/history?scenario=*it", "/history", 200),
        ("/history?test=[", "/history", 400),
    ] {
        served.get(path).expect(status);
        asked.push(route);
    }
    for (path, route) in [
        ("/runs/latest/rows", "/runs/{run}/rows"),
        ("/runs/latest/log", "/runs/{run}/log"),
        ("/runs/latest/report?format=junit", "/runs/{run}/report"),
        ("/runs/latest/events", "/runs/{run}/events"),
        (
            &format!("{trial}/attempts/1/files/output"),
            "/runs/{run}/trials/{trial}/attempts/{attempt}/files/{file}",
        ),
    ] {
        served.get(path).expect(200);
        asked.push(route);
    }
    let reads = contract["paths"].as_object().unwrap().iter();
    let reads = reads.filter(|(_, item)| item.get("get").is_some());
    for (path, _) in reads.filter(|(path, _)| *path != "/api/v1/events") {
        let route = path.strip_prefix("/api/v1").unwrap();
        assert!(asked.contains(&route), "{route} was not asked");
    }
}

#[test]
fn what_was_measured_is_told_by_provider() {
    let measures = |id: &str, tokens: &str| {
        format!("[[tests]]\nid = \"{id}\"\ninput = {{ do = \"measure\", tokens = {tokens} }}\n")
    };
    let runner = Runner::hostile(&format!(
        "{}{}{}",
        measures("a", "1"),
        measures("b", "2"),
        measures("c", "30")
    ));
    runner.exec(&[]).expect(0);
    let served = Served::start(&runner, &[]);
    let told = served.get("/runs/latest/metrics").expect(200).json();
    assert_eq!(
        told["metrics"],
        json!([{
            "name": "tokens",
            "unit": "1",
            "providers": [{
                "provider": "hostile",
                "values": 3,
                "mean": 11.0,
                "quantiles": [1.0, 1.0, 1.0, 2.0, 30.0, 30.0, 30.0],
            }],
        }])
    );
    assert_eq!(
        (&told["looked_at"], &told["trials"]),
        (&json!(3), &json!(3))
    );
}

#[test]
fn a_manifest_with_a_plan_that_nobody_can_hold_ends_no_server() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\" }\n");
    runner.exec(&[]).expect(0);
    let served = Served::start(&runner, &[]);
    let run = runner.only_run();
    // It is read at least once before.
    served.get("/runs/latest/summary").expect(200);
    run.change_manifest(|manifest| {
        manifest["metadata"]["planned_test_count"] = 1_000_000_000_000_u64.into();
    });
    let id = run.id();
    for path in [
        "",
        "/summary",
        "/trials",
        "/waiting",
        "/report.html",
        "/events",
    ] {
        let answered = served.get(&format!("/runs/{id}{path}"));
        assert!(answered.status >= 400, "{path}: {answered:?}");
    }
    served.get("/runs").expect(200);
    served.get("/server").expect(200);
}

#[test]
fn trials_are_listed_by_what_they_came_to_in_any_order() {
    let runner = Runner::hostile(SCENARIO);
    let served = served(&runner);
    let tests = |query: &str| -> Vec<String> {
        let page = served
            .get(&format!("/runs/latest/trials?{query}"))
            .expect(200)
            .json();
        let trials = page["trials"].as_array().unwrap().iter();
        trials
            .map(|trial| trial["test"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        tests(""),
        ["passes", "fails", "traps", "late", "files", "logs"]
    );
    assert_eq!(tests("offset=1&limit=2"), ["fails", "traps"]);
    assert_eq!(tests("filter=tag(quick)"), ["passes"]);
    assert_eq!(
        tests("filter=!outcome(passed)&sort=outcome"),
        ["fails", "traps", "late"]
    );
    assert_eq!(
        tests("filter=error(trap)|outcome(timeout)"),
        ["traps", "late"]
    );
    assert_eq!(tests("sort=-plan&limit=1"), ["logs"]);
    assert_eq!(tests("sort=-duration&limit=1"), ["late"]);
    assert_eq!(tests("offset=100"), [""; 0]);
    let page = served.get("/runs/latest/trials?rev=1").json();
    assert_eq!((&page["rev"], &page["count"]), (&json!(1), &json!(1)));
    // What a run was stays, whatever comes.
    served.post("/runs/latest/resume", "{\"rerun\":\"all\"}", 202);
    crate::support::wait::wait_until("it has run again", || {
        runner.only_run().rows().len() == 12 && runner.only_run().ending()[0] == "completed"
    });
    assert_eq!(
        served.get("/runs/latest/trials?rev=1").json()["trials"],
        page["trials"]
    );
    let now = served.get("/runs/latest/trials").json();
    assert_eq!((&now["rev"], &now["count"]), (&json!(12), &json!(6)));
    assert_eq!(now["trials"][0]["attempts"], 2);
}

#[test]
fn what_a_guest_has_left_is_a_download_and_runs_nowhere() {
    let runner = Runner::hostile(SCENARIO);
    let served = served(&runner);
    let file = "/runs/latest/trials/files@hostile%231/attempts/1/files/page.html";
    let answered = served.get(file).expect(200);
    assert_eq!(
        answered.header("content-type"),
        Some("application/octet-stream")
    );
    assert_eq!(
        answered.header("content-disposition"),
        Some("attachment; filename=\"page.html\"")
    );
    assert_eq!(
        answered.header("content-security-policy"),
        Some("sandbox; default-src 'none'")
    );
    let trial = "/runs/latest/trials/files@hostile%231/attempts/1/files";
    for name in [
        "nothing",
        "..%2f..%2fbenchmark.json",
        "%2fetc%2fpasswd",
        "..",
    ] {
        served.get(&format!("{trial}/{name}")).expect(404);
    }
    let said = served.get("/runs/latest/trials/passes@hostile%231/attempts/1/files/output");
    assert_eq!(said.json(), "<script>alert(1)</script>");
    assert_eq!(
        said.header("content-type"),
        Some("application/octet-stream")
    );

    let rows = runner.only_run().read("index.jsonl");
    let all = served.get("/runs/latest/rows");
    assert_eq!(String::from_utf8_lossy(&all.body), rows);
    let bearer = format!("Bearer {}", super::client::TOKEN);
    let part = |range: &str| {
        let headers = [("Authorization", &*bearer), ("Range", range)];
        served.ask("GET", "/api/v1/runs/latest/rows", &headers, "")
    };
    let length = rows.len();
    assert_eq!(part("bytes=2-5").expect(206).body, rows.as_bytes()[2..6]);
    assert_eq!(
        part("bytes=-4").expect(206).body,
        rows.as_bytes()[length - 4..]
    );
    assert_eq!(
        part(&format!("bytes={}-", length - 1)).expect(206).body,
        b"\n"
    );
    part(&format!("bytes={length}-")).expect(416);
    assert_eq!(part("lines=1-2").expect(200).body.len(), length);

    for format in ["html", "junit", "markdown", "csv", "jsonl"] {
        let report = served
            .get(&format!("/runs/latest/report?format={format}"))
            .expect(200);
        assert!(
            report
                .header("content-disposition")
                .unwrap()
                .starts_with("attachment; ")
        );
        let printed = runner.run(&["report", &format!("--{format}")]).stdout;
        assert_eq!(String::from_utf8_lossy(&report.body), printed, "{format}");
    }
    served.get("/runs/latest/report?format=pdf").expect(400);
}

#[test]
fn a_run_says_what_can_be_done_with_it_and_why_not() {
    let runner = Runner::hostile(SCENARIO);
    let served = served(&runner);
    let possible = || -> Vec<String> {
        let page = served.get("/runs/latest").json();
        let actions = page["actions"].as_array().unwrap().clone();
        for action in &actions {
            assert_eq!(
                action["is_possible"] == true,
                action["why_not"].is_null(),
                "{action}"
            );
        }
        let actions = actions
            .iter()
            .filter(|action| action["is_possible"] == true);
        actions
            .map(|action| action["action"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(possible(), ["rerun_failed", "rescore", "pin", "delete"]);
    served.post(
        "/runs/latest/pin",
        "{\"reason\":\"kept\",\"by\":\"me\"}",
        200,
    );
    assert_eq!(possible(), ["rerun_failed", "rescore", "unpin"]);
    served.send("DELETE", "/runs/latest", "").expect(409);
    assert_eq!(
        runner.only_run().manifest()["pinned"]["reason"],
        "kept (by me)"
    );
    served.post("/runs/latest/unpin", "", 200);
    served
        .send("DELETE", "/runs/latest", "{\"dry_run\":true}")
        .expect(200);
    assert_eq!(runner.runs().len(), 1);
    served.send("DELETE", "/runs/latest", "").expect(200);
    assert_eq!(runner.runs().len(), 0);
    served.get("/runs/latest").expect(404);
}

#[test]
fn browsers_keep_the_files_of_the_dashboard_for_as_long_as_they_are_the_same() {
    let runner = Runner::hostile(SCENARIO);
    let served = Served::start(&runner, &[]);
    let ask = |path: &str, headers: &[(&str, &str)]| served.ask("GET", path, headers, "");
    let shell = ask("/runs", &[]).expect(200);
    let tag = shell.header("etag").unwrap().to_owned();
    assert_eq!(shell.header("cache-control"), Some("no-cache"));
    ask("/runs", &[("If-None-Match", &tag)]).expect(304);
    let text = String::from_utf8(shell.body).unwrap();
    let (before, _) = text.split_once("/main.js\"").unwrap();
    let (_, version) = before.rsplit_once("\"/web/").unwrap();
    assert_eq!(version.len(), 16);
    let kept = |version: &str| {
        let file = ask(&format!("/web/{version}main.js"), &[]).expect(200);
        assert!(file.body.starts_with(b"// @ts-check"));
        file.header("cache-control").unwrap().to_owned()
    };
    let forever = "private, max-age=31536000, immutable";
    assert_eq!(kept(&format!("{version}/")), forever);
    // A page that was opened before another version of the runner was there.
    assert_eq!(kept("0123456789abcdef/"), "no-cache");
    assert_eq!(kept(""), "no-cache");
    ask(&format!("/web/{version}/nothing.js"), &[]).expect(404);
}

#[test]
fn what_is_asked_for_by_a_wrong_name_or_number_is_a_problem_document() {
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\nrepeat = 2\ninput = { do = \"echo\", value = 1 }\n",
    );
    runner.exec(&[]).expect(0);
    let served = Served::start(&runner, &[]);
    let problem = |path: &str, status: u16| {
        let answered = served.get(path).expect(status);
        let media_type = answered.header("content-type");
        assert_eq!(media_type, Some("application/problem+json"), "{path}");
        answered.json()["detail"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        problem("/runs/latest/trials/%ff", 400),
        "`trial` in the path is not valid UTF-8"
    );
    assert_eq!(
        problem("/runs/latest/trials/a/attempts/abc/files/output", 400),
        "`attempt` in the path is a number, and not `abc`"
    );
    assert_eq!(problem("/runs/latest/trials/a", 409), "`a` means 2 trials");
    assert_eq!(problem("/history?last=0", 400), "`last` is at least 1");
    served.post("/runs/latest/pin", "{\"by\":\"\",\"reason\":\" \"}", 200);
    let pinned = runner.list(&[])[0]["pinned"].clone();
    assert_eq!(pinned["reason"], serde_json::Value::Null, "{pinned}");
}
