//! A trial that ends every process that makes it, as a defect of the engine would.

use serde_json::json;

use crate::{
    nats::{Engine, end, exec, worker},
    support::{
        processes::workers,
        runner::{Runner, Signal, tests},
        wait::wait_until,
    },
};

/// How many deaths in a row make a trial a suspect, and as many more alone make it the culprit.
const DEATHS: usize = 6;

/// Whether a process of the worker makes the trial with ordinal 0 now.
fn makes_the_killer(runner: &Runner, store: &str) -> bool {
    let folders = fs_err::read_dir(runner.path(store)).into_iter().flatten();
    let files = folders.map(|entry| entry.unwrap().path().join("inflight"));
    let bytes = files.map(|path| std::fs::read(path).unwrap_or_default());
    let mut slots = bytes.flat_map(|bytes| {
        let slots = bytes.chunks_exact(16).map(<[u8]>::to_vec);
        slots.collect::<Vec<_>>()
    });
    slots.any(|slot| slot[..8] == [0; 8] && slot[12..] == 1_u32.to_le_bytes())
}

#[test]
fn a_trial_that_kills_its_workers_at_once_is_poison_and_the_run_goes_on_with_the_same_worker() {
    let engine = Engine::start();
    let list = tests(
        r#"
        killer | { do = "sleep" } |
        a | { do = "echo", value = 1 } | equals = 1
        b | { do = "sleep", ms = 30 } |
        c | { do = "echo", value = 3 } | equals = 3
        "#,
    );
    let runner = Runner::hostile(&format!("[defaults]\ntimeout = \"10m\"\n{list}"));
    let only = worker(&runner, &engine, "only", &["-j1"]);
    let mut live = exec(&runner, &engine, &[]);
    for _ in 0..DEATHS {
        live.wait_while_alive("its killer was made", || {
            makes_the_killer(&runner, "store-only")
        });
        let processes = workers(only.id());
        for process in &processes {
            process.signal(Signal::KILL);
        }
        wait_until("they are gone", || {
            !processes.iter().any(|process| process.is_alive())
                && !makes_the_killer(&runner, "store-only")
        });
    }
    live.finish().expect(1);
    let run = runner.only_run();
    assert_eq!(run.ending(), ["completed", "", "", "failed"]);
    let rows = run.rows();
    let lost = rows.iter().filter(|row| row["error"]["code"] == "lost");
    assert_eq!(lost.count(), DEATHS, "{rows:#?}");
    let row = run.row("killer");
    assert_eq!(
        (&row["outcome"], &row["error"]["class"]),
        (&json!("error"), &json!("poison"))
    );
    for test in ["a", "b", "c"] {
        assert_eq!(run.row(test)["outcome"], "passed");
    }
    end(only);
}
