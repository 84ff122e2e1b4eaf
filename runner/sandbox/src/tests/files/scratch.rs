//! The private folder of an attempt, from its creation to its removal.

use std::{sync::mpsc, time::Duration};

use runner_model::ErrorClass;
use serde_json::json;

use super::{KIB, MIB, World, error, names, output};
use crate::Ending;
use crate::tests::support::{run_fresh, wait_for_removal};

#[test]
fn scratch_is_empty_in_every_attempt() {
    let world = World::new().scratch(MIB);
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
fn simultaneous_attempts_do_not_see_each_other() {
    let world = World::new().scratch(MIB);
    let first = json!([["write", "/scratch/mine", "first"], ["sleep"]]).to_string();
    let second = json!([["list", "/scratch"], ["list", "/scratch/.."]]).to_string();
    let plugin = world.component();
    let root = world.path("scratch");
    let (seen, stolen) = world.bench.runtime.block_on(async {
        let second = async {
            // The folder of the first attempt, once it has written to it.
            let other = loop {
                let folders = names(&root);
                let has_written = |name: &&String| root.join(name).join("scratch/mine").exists();
                if let Some(name) = folders.iter().find(has_written) {
                    break name.clone();
                }
                tokio::task::yield_now().await;
            };
            let seen = world.start(plugin, &second).await;
            let steal = json!([["read", format!("/scratch/../../{other}/scratch/mine")]]);
            let stolen = world.start(plugin, &steal.to_string()).await;
            world.bench.engines.interrupt().now();
            (seen, stolen)
        };
        tokio::join!(run_fresh(plugin, world.call(plugin, &first)), second).1
    });
    let seen = output(seen);
    assert_eq!(seen[0], json!({"ok": []}));
    let stolen = output(stolen);
    assert!(seen[1]["err"].is_string() && stolen[0]["err"].is_string(), "{seen} {stolen}");
    wait_for_removal(&root);
}

#[test]
fn scratch_is_removed_after_every_ending() {
    let mut world = World::new().scratch(16 * MIB);
    let write = json!(["write", "/scratch/a", "x"]);
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &json!([write, ["panic"]]));
        assert_eq!(error(ended).class, Some(ErrorClass::Trap), "{kind}");
        world.run(plugin, &json!([write, ["exit", 3]]));
    }
    // Deeper than the longest path.
    let (_, plugin) = world.commands()[1];
    let made = output(world.run(plugin, &json!([["deepen", "/scratch", 1_500]])));
    assert_eq!(made, json!([{"ok": 1_500}]));
    let sleep = json!([write, ["sleep"]]);
    world.bench.timeout = Duration::from_millis(100);
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &sleep);
        assert!(matches!(ended.ending, Ending::Timeout), "{kind}: {ended:?}");
    }
    world.bench.timeout = Duration::from_secs(60);
    world.bench.engines.interrupt().now();
    for (kind, plugin) in world.all() {
        let ended = world.run(plugin, &sleep);
        assert!(matches!(ended.ending, Ending::Stopped), "{kind}: {ended:?}");
    }
}

#[test]
fn missing_parent_of_scratch_folders_is_named() {
    let mut world = World::new().scratch(KIB);
    world.bench.access.scratch = world.path("nowhere");
    let plugin = world.component();
    let run = |world: &World| world.bench.runtime.block_on(world.start(plugin, "[]"));
    let error = error(run(&world));
    assert_eq!(error.class, Some(ErrorClass::Internal));
    let nowhere = world.path("nowhere");
    let expected = format!("cannot create a folder in `{}`: ", nowhere.display());
    assert!(error.message.starts_with(&expected), "{}", error.message);

    // An attempt without private folders does not need their parent.
    let mut without = World::new();
    without.bench.access.scratch = nowhere;
    assert_eq!(output(run(&without)), json!([]));
}

#[test]
fn slow_folder_creation_ends_with_the_attempt() {
    let mut world = World::new().scratch(KIB);
    // The only blocking thread is taken.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (sender, taken) = mpsc::channel::<()>();
    runtime.spawn_blocking(move || taken.recv().unwrap_err());
    world.bench.timeout = Duration::from_millis(1);
    for (kind, plugin) in world.all() {
        let ended = runtime.block_on(world.start(plugin, "[]"));
        assert!(matches!(ended.ending, Ending::Timeout), "{kind}: {ended:?}");
    }
    world.bench.timeout = Duration::from_secs(60);
    let plugin = world.component();
    let attempt = run_fresh(plugin, world.call(plugin, "[]"));
    let interrupt = world.bench.engines.interrupt();
    let ended = async { tokio::join!(attempt, async { interrupt.now() }).0 };
    let ended = runtime.block_on(ended);
    assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
    drop(sender);
    // Waits for the dropped work, which removes its folders.
    drop(runtime);
    assert_eq!(names(&world.path("scratch")), [""; 0]);
}

#[test]
fn slow_folder_removal_does_not_delay_the_attempt() {
    let world = World::new().scratch(MIB);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (sender, taken) = mpsc::channel::<()>();
    let plugin = world.component();
    let acts = json!([["write", "/scratch/a", "x"], ["sleep"]]).to_string();
    let root = world.path("scratch");
    let ended = runtime.block_on(async {
        let stop = async {
            let has_written = |name: &String| root.join(name).join("scratch/a").exists();
            while !names(&root).iter().any(has_written) {
                tokio::task::yield_now().await;
            }
            // From now on the only blocking thread is taken.
            tokio::task::spawn_blocking(move || taken.recv().unwrap_err());
            world.bench.engines.interrupt().now();
        };
        tokio::join!(run_fresh(plugin, world.call(plugin, &acts)), stop).0
    });
    assert!(matches!(ended.ending, Ending::Stopped), "{ended:?}");
    assert_eq!(names(&root).len(), 1);
    drop(sender);
    drop(runtime);
    assert_eq!(names(&root), [""; 0]);
}
