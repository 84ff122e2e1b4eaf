//! Guests of WASI 0.3: their functions, the grants and limits of 0.2, and the bounds of streams, futures and waits.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::messages::outputs::snapshot;
use crate::support::run::Run;
use crate::support::runner::Runner;
use crate::support::running::finished;
use crate::support::server::{Response, Server};
use crate::support::web::{hello, net, toml};

/// Creates a test for each list of steps, all on the guest with these keys.
fn scenario(keys: &str, tests: &[&[&str]]) -> Runner {
    within("10m", keys, tests)
}

/// Like [`scenario`], with a timeout for each attempt.
fn within(timeout: &str, keys: &str, tests: &[&[&str]]) -> Runner {
    let runner = Runner::new(&["async"]);
    let mut text = format!(
        "defaults.timeout = \"{timeout}\"\n[providers.p]\nplugin = \"async.wasm\"\nargs = \"{{{{input.args}}}}\"\n{keys}\n"
    );
    for (number, steps) in tests.iter().enumerate() {
        let input = toml(&json!({ "args": steps }));
        text += &format!("[[tests]]\nid = \"t{number}\"\ninput = {input}\n");
    }
    runner.scenario(&text);
    runner
}

/// Runs the tests. Returns their rows.
fn rows(keys: &str, tests: &[&[&str]]) -> Vec<Value> {
    rows_of(&scenario(keys, tests), tests.len())
}

fn rows_of(runner: &Runner, tests: usize) -> Vec<Value> {
    runner.exec(&[]);
    let run = runner.only_run();
    (0..tests).map(|number| run.row(&format!("t{number}"))).collect()
}

/// Runs one test, which must not fail. Returns its lines.
#[track_caller]
fn lines(keys: &str, steps: &[&str]) -> Vec<String> {
    let [row] = &rows(keys, &[steps])[..] else { panic!() };
    let output = row["output"].as_str().unwrap_or_else(|| panic!("{row:#}"));
    output.lines().map(str::to_owned).collect()
}

const SCRATCH: &str = "limits.scratch = \"1MiB\"";

#[test]
fn command_has_its_streams_arguments_and_exit_codes() {
    let keys = "stdin = \"typed in\"\ngrants.env = { WORD = \"blue\" }";
    let ended = rows(
        keys,
        &[
            &["cat"],
            &["args", "env", "clocks", "random", "64"],
            &["complain", "careful", "exit", "7"],
            &["fail"],
            &["trap"],
            // Ends early, with standard input unread.
            &[],
        ],
    );
    assert_eq!(ended[0]["output"], "typed in");
    let said = ended[1]["output"].as_str().unwrap();
    assert!(said.contains("\"async.wasm\", \"args\", \"env\""), "{said}");
    assert!(said.contains("[(\"WORD\", \"blue\")]\ntrue true\n64\n"), "{said}");
    for (row, says) in [(&ended[2], "got 7"), (&ended[2], "careful"), (&ended[3], "got 1")] {
        assert!(row["checks"].to_string().contains(says), "{says}: {row:#}");
    }
    assert_eq!(ended[4]["error"]["class"], "trap", "{:#}", ended[4]);
    assert_eq!([&ended[5]["outcome"], &ended[5]["output"]], ["passed", ""]);
}

#[test]
fn waits_pass_at_the_same_time() {
    assert_eq!(lines("", &["sleeps", "1000", "100", "500"]), ["[1, 2, 0]"]);
}

#[test]
fn every_call_on_files_works_inside_the_wall() {
    assert_eq!(lines(SCRATCH, &["every-call", "/scratch"]), ["failed: []"]);
    let workspace = "workspace = { mount = \"/work\" }\nlimits.scratch = \"1MiB\"";
    assert_eq!(lines(workspace, &["every-call", "/work"]), ["failed: []"]);
}

#[test]
fn files_are_streams_within_the_quota() {
    let steps = &[
        "write",
        "/scratch/a",
        "one",
        "append",
        "/scratch/a",
        " two",
        "read",
        "/scratch/a",
        "dir",
        "/scratch/d",
        "link",
        "../a",
        "/scratch/d/b",
        "read",
        "/scratch/d/b",
        "list",
        "/scratch",
        "stat",
        "/scratch/a",
        "fill",
        "/scratch/big",
        "2000000",
        "stat",
        "/scratch/big",
        "remove",
        "/scratch/big",
        "fill",
        "/scratch/big",
        "500000",
    ];
    let said = lines(SCRATCH, steps);
    assert_eq!(said[..2], ["Ok(())", "Ok(())"]);
    assert_eq!(said[2], "one two");
    assert_eq!(said[5], "one two");
    assert_eq!(said[6], "[\"a\", \"d\"]");
    assert_eq!(said[7], "Ok((DescriptorType::RegularFile, 7))");
    assert_eq!(said[8], "Err(ErrorCode::InsufficientSpace)");
    assert!(said[9].contains("RegularFile, 9"), "part of it is written: {}", said[9]);
    assert_eq!(
        said[10..],
        ["Ok(())", "Err(ErrorCode::InsufficientSpace)"],
        "all that is written counts"
    );
}

#[test]
fn streams_of_files_count_as_open_files() {
    let [row] = &rows(SCRATCH, &[&["write", "/scratch/a", "x", "hold", "/scratch/a", "200"]])[..]
    else {
        panic!()
    };
    let said = row["output"].as_str().unwrap();
    assert!(said.contains("128 streams, then Err(ErrorCode::InsufficientMemory)"), "{said}");
    let denied = row["denied"].to_string();
    assert!(denied.contains("more than 128 files"), "{denied}");
}

#[test]
fn folders_have_the_rights_of_their_grants() {
    let runner = scenario(
        "grants.fs = [{ path = \"given\", mount = \"/given\" }]",
        &[&[
            "read",
            "/given/a",
            "write",
            "/given/a",
            "changed",
            "dir",
            "/given/d",
            "remove",
            "/given/a",
            "read",
            "/given/../secret",
            "read",
            "/given/out",
        ]],
    );
    fs::create_dir(runner.path("given")).unwrap();
    runner.write("given/a", "content");
    runner.write("secret", "hidden");
    std::os::unix::fs::symlink("../secret", runner.path("given/out")).unwrap();
    runner.exec(&[]);
    let row = runner.only_run().row("t0");
    let said = row["output"].as_str().unwrap();
    assert!(said.starts_with("content\n") && !said.contains("hidden"), "{said}");
    assert_eq!(said.matches("NotPermitted").count(), 5, "{said}");
    assert_eq!(fs::read_to_string(runner.path("given/a")).unwrap(), "content");
    assert!(row["denied"].to_string().contains("read-only"), "{row:#}");
}

#[test]
fn changes_of_a_workspace_are_kept() {
    let runner = scenario(
        "workspace = { from = \"base\" }\nlimits.scratch = \"1MiB\"",
        &[&[
            "write", "/work/a", "new", "append", "/work/b", "!", "read", "/work/b", "list", "/work",
        ]],
    );
    fs::create_dir(runner.path("base")).unwrap();
    runner.write("base/a", "old");
    runner.write("base/b", "kept");
    runner.exec(&[]).expect(0);
    let diff = runner.run(&["show", "latest", "t0", "--diff"]).expect(0).stdout;
    assert!(
        diff.contains("-old\n") && diff.contains("+new\n") && diff.contains("+kept!"),
        "{diff}"
    );
    assert_eq!(fs::read_to_string(runner.path("base/b")).unwrap(), "kept");
}

#[test]
fn requests_have_the_grants_limits_and_counts_of_0_2() {
    let server = hello();
    let url = server.url("/x");
    let ended = rows(
        &format!("limits.http_requests = 1000\ngrants.{}", net(&[&server.origin()])),
        &[
            &[
                "get",
                &url,
                "get-all",
                &url,
                "20",
                "get-each",
                &url,
                "300",
                "post",
                &url,
                "200000",
                "long-path",
                "9000",
            ],
            &["get", "http://localhost:1/never"],
        ],
    );
    let said = ended[0]["output"].as_str().unwrap();
    assert!(said.starts_with("200 hello\n20 answered\n300 answered\n200\nErr(())\n"), "{said}");
    assert_eq!(ended[0]["usage"]["http_requests"], 322, "{:#}", ended[0]["usage"]);
    assert!(ended[0]["usage"]["bytes_out"].as_u64().unwrap() >= 200_000);
    let said = ended[1]["output"].as_str().unwrap();
    assert!(said.contains("HttpRequestDenied"), "{said}");
    assert!(ended[1]["denied"].to_string().contains("http://localhost:1"), "{:#}", ended[1]);
}

#[test]
fn granted_secrets_are_filled_in_and_redacted() {
    let server = Server::start(|request| {
        Response::ok(format!("got {}", request.header("authorization").unwrap_or("nothing")))
    });
    let keys = format!(
        "grants.{}\ngrants.secrets = [{{ name = \"API_KEY\", header = \"authorization\", host = \"{}\" }}]",
        net(&[&server.origin()]),
        server.origin()
    );
    let runner = scenario(
        &keys,
        &[&["get-with", "authorization", "Bearer {{secret.API_KEY}}", &server.url("/")]],
    );
    let mut command = runner.command(&["exec", "scenario.toml"]);
    finished(command.env("API_KEY", "very-secret-value")).expect(0);
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer very-secret-value"));
    let row = runner.only_run().row("t0").to_string();
    assert!(row.contains("got ") && !row.contains("very-secret-value"), "{row}");
}

#[test]
fn sockets_are_denied_and_recorded() {
    let [row] = &rows("", &[&["socket"]])[..] else { panic!() };
    let said = row["output"].as_str().unwrap();
    assert_eq!(said.matches("AccessDenied").count(), 3, "{said}");
    assert!(row["denied"].to_string().contains("a socket"), "{row:#}");
}

#[test]
fn floods_of_streams_futures_and_tasks_end_at_their_bound() {
    let ended = rows(
        "limits.memory = \"64MiB\"",
        &[&["streams", "300"], &["streams", "5000"], &["futures", "5000"], &["tasks", "5000"]],
    );
    assert_eq!(ended[0]["output"], "300 streams\n");
    for row in &ended[1..] {
        let error = &row["error"];
        assert_eq!(error["class"], "limit", "{error:#}");
        assert_eq!(error["code"], "resources", "{error:#}");
    }
}

#[test]
fn bytes_between_parts_of_a_guest_take_no_memory_of_the_host() {
    let said = lines("limits.memory = \"8MiB\"", &["own-stream", "100000000"]);
    assert_eq!(said, ["100000000 bytes"]);
}

#[test]
fn provider_imports_wasi_0_3_and_cannot_wait() {
    let runner = Runner::new(&["async-provider"]);
    runner.scenario(
        "[providers.p]\nplugin = \"async-provider.wasm\"\n[[tests]]\nid = \"t0\"\ninput = \"now\"\n[[tests]]\nid = \"t1\"\ninput = \"wait\"\n",
    );
    let ended = rows_of(&runner, 2);
    assert_eq!(ended[0]["output"], true, "{:#}", ended[0]);
    let error = &ended[1]["error"];
    assert_eq!([&error["class"], &error["code"]], ["trap", "cannot-block-sync-task"], "{error:#}");
    assert!(
        error["message"].as_str().unwrap().contains("only `wasi:cli/run` of WASI 0.3 can wait"),
        "{error:#}"
    );
}

#[test]
fn clocks_stand_still_in_a_pause() {
    // On a slow machine, the first sleep may end before the pause.
    let took = [1_000, 30_000].into_iter().find_map(|ms| {
        let runner = scenario("", &[&["sleep", &ms.to_string()]]);
        let mut running = runner.started(&["exec", "scenario.toml"]);
        running.wait_until_running(&runner, 1);
        if runner.run(&["pause"]).code != Some(0) {
            return None;
        }
        // By a clock of the machine, the sleep would end this much earlier. No condition: the time itself is tested.
        std::thread::sleep(Duration::from_millis(500));
        if runner.run(&["unpause"]).code != Some(0) {
            return None;
        }
        running.finish().expect(0);
        let took = runner.only_run().row("t0")["duration_ms"].as_f64().unwrap();
        Some((took, f64::from(ms)))
    });
    let (took, slept) = took.expect("no sleep was paused");
    assert!(took >= slept, "{took} of {slept} ms");
}

#[test]
fn tasks_that_wait_at_the_end_are_dropped() {
    let row = &rows_of(&within("2m", "", &[&["leave"]]), 1)[0];
    assert_eq!((&row["outcome"], &row["output"]), (&json!("passed"), &json!("left\n")), "{row:#}");
}

#[test]
fn timeouts_end_every_kind_of_wait() {
    let waits: &[&[&str]] =
        &[&["sleep", "100000"], &["tasks", "10"], &["spin"], &["wait"], &["starve"]];
    for row in rows_of(&within("300ms", "", waits), waits.len()) {
        assert_eq!(row["outcome"], "timeout", "{row:#}");
        assert!(row["duration_ms"].as_f64().unwrap() < 10_000.0, "{row:#}");
    }
}

/// A file that goes straight to standard output: no code of the guest runs meanwhile.
#[test]
fn file_without_end_is_interrupted_and_delays_no_other_guest() {
    let pipes: &[&[&str]] =
        &[&["pipe", "/given/long"], &["sleep", "10"], &["sleep", "20"], &["chase", "/scratch/a"]];
    let grant = "limits.scratch = \"1GiB\"\ngrants.fs = [{ path = \"given\", mount = \"/given\" }]";
    let run_for = |timeout: &str| {
        let runner = within(timeout, grant, pipes);
        fs::create_dir(runner.path("given")).unwrap();
        fs::File::create(runner.path("given/long")).unwrap().set_len(4 << 40).unwrap();
        runner.exec(&["-j", "4"]).expect(1);
        runner
    };
    let mut runner = run_for("1s");
    // The other guests may need more time on a slow machine.
    let are_late = |run: &Run| ["t1", "t2"].iter().any(|test| run.row(test)["outcome"] != "passed");
    if are_late(&runner.only_run()) {
        runner = run_for("10s");
    }
    let run = runner.only_run();
    assert_eq!(run.rows().len(), 4, "an attempt ran again: {:#?}", run.rows());
    for test in ["t0", "t3"] {
        assert_eq!(run.row(test)["outcome"], "timeout", "{:#}", run.row(test));
    }
    assert!(!run.text("logs.jsonl").contains("inside one instruction"));
    for test in ["t1", "t2"] {
        assert_eq!(run.row(test)["outcome"], "passed", "{:#}", run.row(test));
    }
}

#[test]
fn large_write_is_taken_in_parts() {
    let runner = within(
        "1s",
        "grants.secrets = [\"API_KEY\"]\nlimits.memory = \"1GiB\"",
        &[&["flood", "300000000"]],
    );
    let mut command = runner.command(&["exec", "scenario.toml"]);
    finished(command.env("API_KEY", "very-secret-value")).expect(1);
    let row = runner.only_run().row("t0");
    assert!(row["duration_ms"].as_f64().unwrap() < 10_000.0, "{row:#}");
    assert!(!runner.only_run().text("logs.jsonl").contains("inside one instruction"));
}

#[test]
fn stop_ends_a_guest_that_waits_in_a_future() {
    let runner = scenario("", &[&["sleep", "600000"]]);
    let mut running = runner.started(&["exec", "scenario.toml"]);
    running.wait_until_running(&runner, 1);
    let start = Instant::now();
    let (ended, _) = running.end_by(Signal::INT);
    ended.expect(130);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn deterministic_runs_refuse_it_by_name() {
    let runner = scenario("", &[&["args"]]);
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    for key in ["deterministic", "journal"] {
        runner.scenario(&format!("run.{key} = true\n{text}"));
        snapshot(&runner.refused(&[], &[]));
    }
}
