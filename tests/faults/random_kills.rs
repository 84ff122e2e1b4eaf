//! Killing and interrupting the program again and again at moments that nobody chose.

#![expect(clippy::print_stderr, reason = "what the kills met is worth knowing")]

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use crate::support::{
    random::{Random, seed},
    runner::{CommandExt as _, Runner, Signal},
    truth::{
        acknowledged, assert_kept, assert_listed_truly, assert_same_end, assert_whole, canonical,
        go_on_until_complete, scenario,
    },
};

/// How many kills there are, on each of two runs side by side.
const KILLS: u64 = 100;

/// What the kills met.
#[derive(Debug, Default)]
struct Met {
    /// Sessions that had told of rows.
    rows: u64,
    /// Sessions that had begun and told of no row yet.
    begun: u64,
    /// Processes that had told of nothing.
    start_up: u64,
}

fn many_trials() -> Runner {
    let runner = Runner::hostile_in_memory(&format!(
        "{}[[tests]]\nid = \"more\"\nrepeat = 400\ninput = {{ do = \"sleep\", ms = 10 }}\n",
        scenario("poison_after = 0")
    ));
    runner.write("reference.txt", "attached");
    runner
}

/// Begins a run or goes on with it, and kills it at some moment; gives what it had told.
fn kill_one(runner: &Runner, random: &mut Random, start_up: Duration, met: &mut Met) -> String {
    let args: &[&str] = match runner.runs().as_slice() {
        [] => &["exec", "scenario.toml", "--json", "-j", "2"],
        _ => &["resume", "--from", "latest", "--json"],
    };
    let mut live = runner.command(args).start();
    // Half of the kills would hit a process that has not begun yet, so the others wait for the first row.
    if random.next().is_multiple_of(2) {
        live.next_event(|event| event["event"] == "row");
        std::thread::sleep(random.up_to(start_up / 2));
    } else {
        std::thread::sleep(random.up_to(start_up * 2));
    }
    let told = live.kill();
    match (told.contains(r#""event":"row""#), told.is_empty()) {
        (true, _) => met.rows += 1,
        (false, false) => met.begun += 1,
        (false, true) => met.start_up += 1,
    }
    told
}

/// Kills one run many times; when it comes to its end in spite of that, another one begins.
fn kill_many(seed: u64) -> Met {
    let undisturbed = many_trials();
    let started = Instant::now();
    let mut live = undisturbed.start(&["-j", "2"]);
    live.wait_for(|event| event["event"] == "row");
    let start_up = started.elapsed();
    live.finish().expect(1);
    let expected = canonical(&undisturbed.only_run());

    let mut random = Random(seed);
    let mut met = Met::default();
    let mut runner = many_trials();
    let mut told = HashSet::new();
    let mut kills = 0;
    while kills < KILLS {
        let before = met.rows + met.begun + met.start_up;
        told.extend(acknowledged(&kill_one(
            &runner,
            &mut random,
            start_up,
            &mut met,
        )));
        kills += met.rows + met.begun + met.start_up - before;
        for run in runner.runs() {
            assert_kept(&run, &told);
        }
        if kills.is_multiple_of(10) {
            assert_listed_truly(&runner);
        }
        let is_complete =
            |run: &crate::support::runner::Run| run.manifest()["status"] == "completed";
        if kills == KILLS || runner.runs().iter().any(is_complete) {
            told.extend(go_on_until_complete(&runner));
            assert_kept(&runner.only_run(), &told);
            assert_whole(&runner);
            assert_same_end(&runner.only_run(), &expected);
            runner = many_trials();
            told.clear();
        }
    }
    met
}

#[test]
fn two_hundred_kills_at_random_moments_lose_and_double_nothing() {
    let seed = seed();
    let met = std::thread::scope(|scope| {
        let kills = [seed, !seed].map(|seed| scope.spawn(move || kill_many(seed)));
        kills.map(|kills| kills.join().unwrap())
    });
    eprintln!("{met:?}");
    let rows: u64 = met.iter().map(|met| met.rows).sum();
    assert!(
        rows >= KILLS / 2,
        "nearly all kills missed the rows: {met:?}"
    );
}

/// Sends a run a signal at some moment around its end, and checks that it says what it did.
fn interrupt_one(random: &mut Random, whole: Duration) -> Option<i32> {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"a\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 20 }\n",
    );
    let mut live = runner.start(&["-j", "2"]);
    live.wait_for(|event| event["event"] == "started");
    std::thread::sleep(whole / 2 + random.up_to(whole));
    let (ran, _) = live.end_by(Signal::INT);
    let run = runner.only_run();
    let end = ran.events().pop().unwrap();
    let ending = run.ending();
    match ran.code {
        Some(0) => assert_eq!(ending, ["completed", "", "", "passed"]),
        Some(130) => assert_eq!(ending, ["incomplete", "interrupted", "SIGINT", "none"]),
        _ => panic!("{ran:?}"),
    }
    assert_eq!(end["event"], "finished");
    assert_eq!(end["status"], ending[0].as_str());
    assert_eq!(end["exit_code"].as_i64(), ran.code.map(i64::from));
    go_on_until_passed(&runner);
    ran.code
}

fn go_on_until_passed(runner: &Runner) {
    runner.run(&["resume", "--from", "latest"]).expect(0);
    assert_whole(runner);
    assert_eq!(canonical(&runner.only_run()).len(), 4);
}

#[test]
fn a_signal_around_the_end_stops_a_run_or_comes_too_late_and_nothing_between() {
    let runner = Runner::hostile_in_memory(
        "[[tests]]\nid = \"a\"\nrepeat = 4\ninput = { do = \"sleep\", ms = 20 }\n",
    );
    let mut live = runner.start(&["-j", "2"]);
    live.wait_for(|event| event["event"] == "started");
    let started = Instant::now();
    live.finish().expect(0);
    let whole = started.elapsed();

    let seed = seed();
    let codes = std::thread::scope(|scope| {
        let threads = [seed, !seed].map(|seed| {
            scope.spawn(move || {
                let mut random = Random(seed);
                let codes = (0..15).map(|_| interrupt_one(&mut random, whole));
                codes.collect::<Vec<_>>()
            })
        });
        threads.map(|codes| codes.join().unwrap()).concat()
    });
    eprintln!("{codes:?}");
}
