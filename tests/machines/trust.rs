//! What a worker lets a run do, and what a run believes.

use std::{path::Path, process::Command};

use walkdir::WalkDir;

use crate::{
    nats::{Engine, assert_whole, end, exec, wait_for_rows, worker, workers_of},
    support::{
        runner::{CommandExt as _, Runner},
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
