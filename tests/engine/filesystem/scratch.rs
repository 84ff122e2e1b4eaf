//! The folder that each attempt has for itself, from when it is made until it is gone.

use std::time::Duration;

use runner::model::ErrorClass;
use serde_json::json;

use super::{GUESTS, World};
use crate::support::{
    engine::{BENCH, Interrupt, KIB, LONG, assert_stopped, assert_timed_out, error, output},
    files::names,
};

#[test]
fn scratch_is_empty_in_every_attempt() {
    let world = World::new().scratch(KIB * KIB);
    for _ in 0..2 {
        world.assert_all(
            &json!([
                ["list", "/scratch"],
                ["write", "/scratch/a", "x"],
                ["mkdir", "/scratch/b"],
                ["write", "/scratch/b/c", "y"],
                ["read", "/scratch/b/c"],
                ["list", "/scratch"],
            ]),
            &json!([
                {"ok": []}, {"ok": null}, {"ok": null}, {"ok": null}, {"ok": "y"}, {"ok": ["a", "b"]},
            ]),
        );
    }
}

#[test]
fn attempts_at_the_same_time_do_not_see_each_other() {
    let world = World::new().scratch(KIB * KIB);
    let first = json!([["write", "/scratch/mine", "first"], ["sleep"]]);
    let second = json!([
        ["list", "/scratch"],
        ["list", "/scratch/.."],
        ["read", "/scratch/../mine"]
    ]);
    let found = BENCH.wait(async {
        let first = world.attempt.start(&GUESTS.component, &first);
        let second = async {
            // The folder of the first one, once it has written to it.
            let root = world.path("scratch");
            let is_there = || walkdir::WalkDir::new(&root).into_iter().flatten();
            while !is_there().any(|entry| entry.file_name() == "mine") {
                tokio::task::yield_now().await;
            }
            let found = world.attempt.start(&GUESTS.component, &second).await;
            let other = names(&root).remove(0);
            let steal = json!([["read", format!("/scratch/../../{other}/scratch/mine")]]);
            let stolen = world.attempt.start(&GUESTS.component, &steal).await;
            world.attempt.interrupt.now();
            (found, stolen)
        };
        let (_, found) = tokio::join!(first, second);
        found
    });
    let seen = output(found.0);
    assert_eq!(seen[0], json!({"ok": []}));
    assert!(
        seen[1]["err"].is_string() && seen[2]["err"].is_string(),
        "{seen}"
    );
    let stolen = output(found.1);
    assert!(stolen[0]["err"].is_string(), "{stolen}");
    assert_eq!(names(&world.path("scratch")), [""; 0]);
}

#[test]
fn scratch_is_gone_however_an_attempt_ends() {
    let mut world = World::new().scratch(64 * KIB * KIB);
    let write = json!(["write", "/scratch/a", "x"]);
    for (kind, plugin) in GUESTS.all() {
        let ended = world.run(plugin, &json!([write, ["panic"]]));
        assert_eq!(error(ended).class, Some(ErrorClass::Trap), "{kind}");
        world.run(plugin, &json!([write, ["exit", 3]]));
        // Deeper than a path can be, were it one.
        let made = output(world.run(plugin, &json!([["deepen", "/scratch", 1_500]])));
        assert_eq!(made, json!([{"ok": 1_500}]), "{kind}");
    }
    for (kind, plugin) in GUESTS.all() {
        world.attempt.timeout = Duration::from_millis(300);
        let ended = world.run(plugin, &json!([write, ["sleep"]]));
        assert_timed_out(&ended, kind);
    }
    world.attempt.timeout = LONG;
    world.attempt.interrupt.now();
    for (kind, plugin) in GUESTS.all() {
        let ended = world.run(plugin, &json!([write, ["sleep"]]));
        assert_stopped(&ended, kind);
    }
}

#[test]
fn a_place_for_scratch_folders_that_is_gone_is_named() {
    let mut world = World::new().scratch(KIB);
    world.attempt.access.scratch_root = world.path("nowhere");
    let acts = json!([]);
    let ended = world.attempt.run(&GUESTS.component, &acts);
    let error = error(ended);
    assert_eq!(error.class, Some(ErrorClass::Internal));
    let expected = format!(
        "cannot make a folder in `{}`: ",
        world.path("nowhere").display()
    );
    assert!(error.message.starts_with(&expected), "{}", error.message);

    // Who needs none does not look for it.
    world.attempt.limits.scratch = 0;
    let ended = world.attempt.run(&GUESTS.component, &acts);
    assert_eq!(output(ended), json!([]));
}

#[test]
fn an_attempt_whose_folders_are_long_in_the_making_is_ended_all_the_same() {
    let mut world = World::new().scratch(KIB);
    // The only thread for what blocks is taken.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (sender, taken) = std::sync::mpsc::channel::<()>();
    runtime.spawn_blocking(move || taken.recv().unwrap_err());
    for (kind, plugin) in GUESTS.all() {
        world.attempt.interrupt = Interrupt::default();
        world.attempt.timeout = Duration::from_millis(1);
        let ended = runtime.block_on(world.attempt.start(plugin, &json!([])));
        assert_timed_out(&ended, kind);

        world.attempt.timeout = LONG;
        let interrupt = world.attempt.interrupt.clone();
        let acts = json!([]);
        let attempt = world.attempt.start(plugin, &acts);
        let (ended, ()) =
            runtime.block_on(async { tokio::join!(attempt, async { interrupt.now() }) });
        assert_stopped(&ended, kind);
    }
    drop(sender);
    // Waits for what was given up, which removes what it made.
    drop(runtime);
    assert_eq!(names(&world.path("scratch")), [""; 0]);
}
