//! One scenario in every way that there is: on one machine, in shards, over workers, and over workers that are killed.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use serde_json::Value;

use crate::{
    nats::{Engine, assert_whole, end, exec, worker, workers_of},
    support::{
        guests::plugins,
        random::{Random, seed},
        runner::{Run, Runner},
        truth::{assert_same_end, canonical},
        wait::wait_until,
    },
};

/// The program that writes the lists of the conformance scenario.
#[path = "../../scenarios/toml-conformance.rs"]
#[expect(dead_code, reason = "its `main` is not called here")]
mod conformance;

const SHARDS: usize = 7;
const WORKERS: usize = 3;
/// After how many more rows another worker is killed.
const KILL_EVERY: usize = 150;

/// The conformance scenario as it is bundled, with its lists, and with plugins that are built.
fn toml_conformance() -> Runner {
    let runner = Runner::new(&[]);
    conformance::write(&runner.path("toml-conformance")).unwrap();
    let names = [
        "toml-rs",
        "toml-rs-decoder",
        "toml-span",
        "taplo",
        "basic-toml",
    ];
    let folder = plugins(&names);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("scenarios/toml-conformance.toml");
    let mut text = fs_err::read_to_string(path).unwrap();
    for name in names {
        // A library's file has its crate's name, a program's its package's.
        let files = [name.replace('-', "_"), name.to_owned()];
        let mut files = files.iter().map(|file| folder.join(format!("{file}.wasm")));
        let file = files.find(|file| file.exists()).unwrap();
        let written = format!("plugin = \"../plugins/{name}\"");
        assert!(text.contains(&written), "{name}");
        text = text.replace(&written, &format!("plugin = \"{}\"", file.display()));
    }
    // Workers are killed whatever they make: no trial is to blame.
    write!(text, "\n[run]\npoison_after = 0\n").unwrap();
    runner.scenario(&text);
    runner
}

/// Puts the results aside, so that the next run is the only one.
fn set_aside(runner: &Runner, name: &str) {
    fs_err::rename(runner.path("results"), runner.path(name)).unwrap();
}

fn in_shards(runner: &Runner, random: &mut Random) -> Run {
    let mut dirs: Vec<_> = (1..=SHARDS)
        .map(|index| {
            let shard = format!("{index}/{SHARDS}");
            let into = "shards/{shard}";
            let ran = runner.exec(&["--shard", &shard, "--into", into, "--scheduler-exit"]);
            ran.expect(0);
            format!("shards/{index}-of-{SHARDS}")
        })
        .collect();
    let mut order = Vec::new();
    while !dirs.is_empty() {
        let at = usize::try_from(random.below(dirs.len() as u64)).unwrap();
        order.push(dirs.swap_remove(at));
    }
    let order: Vec<_> = order.iter().map(String::as_str).collect();
    let merge = [&["merge", "--into", "merged/whole"][..], &order].concat();
    runner.run(&merge).expect(1);
    runner.run(&["verify", "merged/whole"]).expect(0);
    runner.run_at("merged/whole")
}

fn over_workers(runner: &Runner, expected: &BTreeMap<String, Value>) {
    let engine = Engine::start();
    let names: Vec<_> = (0..WORKERS).map(|index| format!("w{index}")).collect();
    let workers = names.iter().map(|name| worker(runner, &engine, name, &[]));
    let workers: Vec<_> = workers.collect();
    for name in &names {
        wait_until("a worker is there", || {
            let listed = runner.run(&["worker", "list", &engine.url()]).expect(0);
            listed.stdout.contains(name)
        });
    }
    // As fast as it can be, the run might be over before the last of them is ready.
    let whole = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&whole.replace("plugin = ", "rate = \"100/s\"\nplugin = "));
    exec(runner, &engine, &[]).finish().expect(1);
    runner.scenario(&whole);
    assert_whole(runner, expected.len());
    assert_same_end(&runner.only_run(), expected);
    let said: Vec<_> = workers.into_iter().map(end).collect();
    assert_eq!(workers_of(&runner.only_run()), names, "{said:#?}");
}

fn over_workers_that_are_killed(
    runner: &Runner,
    expected: &BTreeMap<String, Value>,
    random: &mut Random,
) {
    let engine = Engine::start();
    let mut names = 0..;
    let mut next = || {
        let name = format!("k{}", names.next().unwrap());
        worker(runner, &engine, &name, &[])
    };
    let mut fleet: Vec<_> = (0..WORKERS).map(|_| next()).collect();
    let mut live = exec(runner, &engine, &[]);
    let (mut killed, mut rows, mut kill_at) = (0, 0, KILL_EVERY);
    while let Some(event) = live.next_event(|event| event["event"] == "row") {
        rows += usize::from(event["row"]["final"] == true);
        if rows < kill_at {
            continue;
        }
        kill_at += KILL_EVERY;
        let victim = usize::try_from(random.below(WORKERS as u64)).unwrap();
        fleet.swap_remove(victim).kill();
        fleet.push(next());
        killed += 1;
    }
    live.finish().expect(1);
    assert!(killed >= 5, "{killed} were killed");
    assert_whole(runner, expected.len());
    assert_same_end(&runner.only_run(), expected);
    assert!(workers_of(&runner.only_run()).len() >= WORKERS);
    for worker in fleet {
        end(worker);
    }
}

/// Nothing of what a run comes to depends on where its attempts are made, and on who dies meanwhile.
#[test]
fn the_conformance_suite_comes_to_one_result_in_whichever_way_it_is_run() {
    let mut random = Random(seed());
    let runner = toml_conformance();
    runner.exec(&[]).expect(1);
    let expected = canonical(&runner.only_run());
    assert!(expected.len() > 3_000, "{}", expected.len());
    set_aside(&runner, "alone");

    assert_same_end(&in_shards(&runner, &mut random), &expected);

    over_workers(&runner, &expected);
    set_aside(&runner, "spread");

    over_workers_that_are_killed(&runner, &expected, &mut random);
}
