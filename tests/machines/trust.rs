//! What a worker lets a run do, and what a run believes.

use std::{iter, path::Path, process::Command, thread, time::Duration};

use serde_json::json;
use walkdir::WalkDir;

use crate::{
    nats::{Engine, assert_whole, end, exec, wait_for_rows, worker, workers_of},
    peer::Peer,
    support::{
        runner::{CommandExt as _, Runner, Signal},
        wait::wait_until,
    },
};

const SECRET: &str = "a-secret-that-never-travels";

/// A scenario whose provider is granted a secret and says it.
fn with_a_secret() -> Runner {
    let runner = Runner::new(&["hostile"]);
    runner.scenario(
        "[providers.hostile]\nplugin = \"hostile.wasm\"\ngrants.secrets = [\"API_KEY\"]\n\
         [[tests]]\nid = \"asks\"\ninput = { do = \"secret\", name = \"API_KEY\" }\n",
    );
    runner
}

fn has_bytes(folder: &Path, bytes: &[u8]) -> bool {
    let files = WalkDir::new(folder).into_iter().filter_map(Result::ok);
    let mut files = files.filter(|entry| entry.file_type().is_file());
    files.any(|entry| {
        let found = fs_err::read(entry.path()).unwrap_or_default();
        found.windows(bytes.len()).any(|window| window == bytes)
    })
}

#[test]
fn a_worker_gives_a_run_no_more_than_its_ceiling_and_says_what_is_missing() {
    let engine = Engine::start();
    let runner = with_a_secret();
    let closed = worker(&runner, &engine, "closed", &[]);
    let poor = worker(&runner, &engine, "poor", &["--ceiling", "secret=API_KEY"]);
    let live = exec(&runner, &engine, &[]);
    wait_until("both were asked", || {
        let Some(run) = runner.runs().pop() else {
            return false;
        };
        let log = fs_err::read_to_string(run.dir.join("runner.log")).unwrap_or_default();
        log.contains("worker closed cannot") && log.contains("worker poor cannot")
    });
    let url = engine.url();
    let args = [
        "worker",
        "--engine",
        &url,
        "--name",
        "rich",
        "--store",
        "store-rich",
    ];
    let mut rich = runner.command(&[&args[..], &["--ceiling", "secret=API_KEY"]].concat());
    let rich = rich.env("API_KEY", SECRET).start();
    let ran = live.finish().expect(0);
    ran.says(&[
        "secrets = [\"API_KEY\"], which is more than `--ceiling` allows",
        "secret `API_KEY` has no value here",
    ]);
    assert_whole(&runner, 1);
    assert_eq!(workers_of(&runner.only_run()), ["rich"]);
    for folder in [
        engine.store(),
        runner.path("results"),
        runner.path("store-rich"),
    ] {
        assert!(
            !has_bytes(&folder, SECRET.as_bytes()),
            "{}",
            folder.display()
        );
    }
    end(rich);
    let said = end(closed);
    assert!(said.contains("makes no attempts of"), "{said}");
    end(poor);
}

#[test]
fn only_workers_with_the_labels_that_are_asked_for_make_attempts() {
    let engine = Engine::start();
    let runner = Runner::hostile(
        "[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\nrepeat = 20\n",
    );
    let plain = worker(&runner, &engine, "plain", &[]);
    let labelled = worker(
        &runner,
        &engine,
        "labelled",
        &["--label", "gpu=a100", "--label", "zone=eu"],
    );
    let live = exec(&runner, &engine, &["--worker-label", "gpu=a100"]);
    live.finish().expect(0);
    assert_eq!(workers_of(&runner.only_run()), ["labelled"]);
    end(plain);
    end(labelled);
}

#[test]
fn an_engine_is_looked_at_and_cleaned_and_gets_again_what_is_needed() {
    let engine = Engine::start();
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let url = engine.url();
    let clean = ["engine", "clean", "--older-than", "0s", &url];
    let for_good = [
        "engine",
        "clean",
        "--older-than",
        "0s",
        "--no-dry-run",
        &url,
    ];
    runner.run(&clean).expect(0).says(&["nothing to remove"]);
    for name in ["first", "second"] {
        let worker = worker(&runner, &engine, name, &[]);
        exec(&runner, &engine, &[]).finish().expect(0);
        end(worker);
        let checked = runner.run(&["engine", "check", "--json", &url]).expect(0);
        let checked = checked.document();
        assert_eq!(checked["problem"], serde_json::Value::Null);
        // Its plugin, its list of tests and what it has stored of itself.
        assert_eq!(checked["blobs"], 3, "{checked:#}");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let told = runner.run(&clean).expect(0).stdout;
        assert!(told.contains("would remove 3 files"), "{told}");
        let told = runner.run(&for_good).expect(0).stdout;
        assert!(told.contains("removed 3 files"), "{told}");
    }
}

#[test]
fn an_engine_that_is_not_there_or_not_one_is_an_error_before_there_is_a_run() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    for (url, says, code) in [
        (
            "nats://127.0.0.1:1",
            "cannot connect to the engine at nats://127.0.0.1:1",
            3,
        ),
        ("http://127.0.0.1", "is no address of an engine", 2),
        (
            "nats://me:secret@127.0.0.1/x",
            "more than a host and a port",
            2,
        ),
    ] {
        let ran = runner.exec(&["--engine", url]).expect(code);
        ran.says(&[says]);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        assert!(runner.runs().is_empty());
        runner
            .command(&["worker", "--engine", url])
            .run()
            .expect(code)
            .says(&[says]);
    }
    for (args, says) in [
        (&["--worker-label", "x=1"][..], "--engine"),
        (
            &["--engine", "nats://127.0.0.1:1", "--worker-label", "x"],
            "`KEY=VALUE`",
        ),
        (&["--engine", "nats://127.0.0.1:1", "--queue"], "--queue"),
    ] {
        runner.exec(args).expect(2).says(&[says]);
    }
    let odd = [
        "worker",
        "--engine",
        "nats://127.0.0.1:1",
        "--ceiling",
        "net=*",
    ];
    runner
        .run(&odd)
        .expect(2)
        .says(&["`--ceiling net=*` is not understood"]);
}

#[test]
fn a_worker_is_called_by_a_few_letters_or_is_none() {
    let runner = Runner::hostile("[[tests]]\nid = \"a\"\ninput = { do = \"echo\", value = 1 }\n");
    let long = "n".repeat(129);
    for (name, says) in [
        ("a b", "cannot be called `a b`: letters, digits"),
        ("gpu/1", "cannot be called `gpu/1`: letters, digits"),
        ("red\u{1b}[31m\nname", "letters, digits"),
        ("größe", "letters, digits"),
        ("", "it is empty"),
        (&long, "it has 129 bytes, and may have 128"),
    ] {
        let args = ["worker", "--engine", "nats://127.0.0.1:1", "--name", name];
        let refused = runner.run(&args).expect(2);
        refused.says(&[says]);
        assert!(!refused.stderr.contains('\u{1b}'), "{refused:?}");
        assert!(refused.stderr.len() < 1000, "{refused:?}");
    }
    // The longest name that it may have is one that a run lets in.
    let engine = Engine::start();
    let only = worker(&runner, &engine, &long[..128], &[]);
    exec(&runner, &engine, &[]).finish().expect(0);
    assert_eq!(workers_of(&runner.only_run()), [&long[..128]]);
    end(only);
}

#[test]
fn a_copy_of_a_run_that_goes_on_elsewhere_is_not_gone_on_with_until_that_has_ended() {
    let engine = Engine::start();
    let runner = Runner::hostile(
        "[[tests]]\nid = \"sleeper\"\ninput = { do = \"sleep\", ms = 100 }\nrepeat = 30\n",
    );
    let only = worker(&runner, &engine, "only", &["-j1"]);
    let live = exec(&runner, &engine, &[]);
    wait_for_rows(&runner, 3);
    let copied = Command::new("cp")
        .arg("-a")
        .args([runner.path("results"), runner.path("copied")])
        .status();
    assert!(copied.unwrap().success());
    let id = &runner.ids()[0];
    let copy = format!("copied/{id}");
    let url = engine.url();
    let resume = ["resume", "--from", &copy, "--engine", &url];
    let refused = runner.run(&resume).expect(6);
    refused.says(&["by another process already: pid", id]);
    live.kill();
    runner.run(&resume).expect(0);
    end(only);
}

/// A run that was stopped, with so many copies of its directory.
fn stopped_with_copies(runner: &Runner, copies: usize) -> Vec<String> {
    runner.exec(&["--fail-fast=1"]).expect(4);
    let id = runner.ids().remove(0);
    let copy = |index: usize| {
        let results = format!("copy-{index}");
        let copied = Command::new("cp")
            .arg("-a")
            .args([runner.path("results"), runner.path(&results)])
            .status();
        assert!(copied.unwrap().success());
        format!("{results}/{id}")
    };
    (0..copies).map(copy).collect()
}

/// Of which a trial is left once another one has failed.
const FAILS: &str = "[[tests]]\nid = \"fails\"\ninput = { do = \"echo\", value = 1 }\nexpect.equals = 2\n\
    [[tests]]\nid = \"rest\"\ninput = { do = \"sleep\", ms = 1 }\nrepeat = 2000\n";

#[test]
fn of_copies_of_a_run_that_are_gone_on_with_in_the_same_moment_one_is() {
    let engine = Engine::start();
    let runner = Runner::hostile(FAILS);
    let copies = stopped_with_copies(&runner, 3);
    let url = engine.url();
    for _ in 0..4 {
        let resume = |copy: &String| {
            let resume = ["resume", "--from", copy, "--engine", &url];
            runner.command(&resume).start()
        };
        let mut all: Vec<_> = copies.iter().map(resume).collect();
        // Without workers the one that goes on waits.
        wait_until("the others are refused", || {
            let alive = all.iter_mut().map(|one| usize::from(one.is_alive()));
            alive.sum::<usize>() <= 1
        });
        thread::sleep(Duration::from_secs(3));
        let mut gone_on = 0;
        for mut one in all {
            if one.is_alive() {
                gone_on += 1;
                one.end_by(Signal::INT).0.expect(130);
                continue;
            }
            let refused = one.finish().expect(6);
            refused.says(&["by another process already: pid"]);
        }
        assert_eq!(gone_on, 1);
    }
}

#[test]
fn of_two_claims_in_the_same_moment_the_smaller_one_counts() {
    let engine = Engine::start();
    let runner = Runner::hostile(FAILS);
    let copy = stopped_with_copies(&runner, 1).remove(0);
    let url = engine.url();
    let resume = ["resume", "--from", &copy, "--engine", &url];
    let mut peer = Peer::at(engine.port());
    peer.hear("runner.holding.*");
    peer.hear("peer.answers");
    for (id, is_refused) in [("0", true), ("z", false)] {
        let mut live = runner.command(&resume).start();
        let mut claim = None;
        wait_until("it claims the run", || {
            claim = peer.next();
            claim.is_some()
        });
        let claim = claim.unwrap();
        assert!(claim.document()["id"].is_string(), "{claim:?}");
        // Whoever has claimed it as well answers only if that counts.
        let own = json!({ "id": id, "holder": "pid 1\u{1b}[31m\nnews" });
        peer.say(&claim.subject, "peer.answers", &own);
        let answer = iter::from_fn(|| peer.next()).find(|heard| heard.subject == "peer.answers");
        assert_eq!(answer.is_none(), is_refused, "{answer:?}");
        match is_refused {
            true => {
                let refused = live.finish().expect(6);
                refused.says(&["by another process already: pid 1"]);
                assert!(!refused.stderr.contains('\u{1b}'), "{refused:?}");
            }
            false => {
                wait_until("it waits for workers", || {
                    let log = runner.path(&copy).join("runner.log");
                    let log = fs_err::read_to_string(log).unwrap_or_default();
                    log.contains("no worker makes attempts")
                });
                assert!(live.is_alive());
                live.end_by(Signal::INT).0.expect(130);
            }
        }
    }
}
