//! What guests find in their file systems, what they may write there, and that they get nowhere else.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
    time::Duration,
};

use runner::model::ErrorClass;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    engine::{
        Attempt, BENCH, Ended, Interrupt, KIB, LONG, Plugin, StdoutForm, assert_stopped,
        assert_timed_out, content, denied, error, output, reply, warnings,
    },
    guests::{guest, module},
    runner::{Runner, Running},
};

/// What a new file, folder or link costs.
const ENTRY: u64 = 4 * KIB;

/// The same guest as a component and as commands, built for preview 1 and for WASI 0.2.
struct Guests {
    component: Plugin,
    program: Plugin,
    module: Plugin,
}

static GUESTS: LazyLock<Guests> = LazyLock::new(|| Guests {
    component: BENCH.link(&guest("files")).unwrap(),
    program: BENCH.link(&guest("files-command")).unwrap(),
    module: BENCH.link(&module("files-command")).unwrap(),
});

impl Guests {
    fn all(&self) -> [(&'static str, &Plugin); 3] {
        let [program, module] = self.commands();
        [("component", &self.component), program, module]
    }

    fn commands(&self) -> [(&'static str, &Plugin); 2] {
        [("program", &self.program), ("module", &self.module)]
    }
}

/// Folders of the host, and what of them an attempt is granted.
struct World {
    folder: TempDir,
    attempt: Attempt,
}

impl World {
    /// A folder `open` with a file, a folder `secret` beside it with another, and a place for scratch folders.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["open", "open/sub", "secret", "scratch"] {
            fs_err::create_dir(folder.path().join(name)).unwrap();
        }
        fs_err::write(folder.path().join("open/file"), "content").unwrap();
        fs_err::write(folder.path().join("secret/file"), "secret").unwrap();
        // A component has the acts as its input, a command as its argument.
        let mut attempt = Attempt::of_command(&["{{input}}"], StdoutForm::Json);
        attempt.access.scratch_root = folder.path().join("scratch");
        Self { folder, attempt }
    }

    /// Changes what is granted, or what it may take.
    fn with(self, change: impl FnOnce(Attempt) -> Attempt) -> Self {
        Self {
            attempt: change(self.attempt),
            ..self
        }
    }

    fn mount(self, name: &str, guest: &str, is_writable: bool) -> Self {
        let host = self.path(name);
        self.with(|attempt| attempt.mount(&host, guest, is_writable))
    }

    fn scratch(self, bytes: u64) -> Self {
        self.with(|attempt| attempt.limits(|limits| limits.scratch = bytes))
    }

    /// Attaches a file; where the host has it is `blob-NAME`.
    fn attach(self, name: &str, content: &str) -> Self {
        let path = self.path(&format!("blob-{name}"));
        fs_err::write(&path, content).unwrap();
        self.with(|attempt| attempt.attachment(name, "text/plain", &path))
    }

    fn path(&self, name: &str) -> PathBuf {
        fs_err::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Runs an attempt; whatever it does, what was made for it is gone afterwards.
    #[track_caller]
    fn run(&self, plugin: &Plugin, acts: &Value) -> Ended {
        let ended = self.attempt.run(plugin, acts);
        // Of many folders the removal goes on behind the attempt.
        let begun = std::time::Instant::now();
        while !names(&self.path("scratch")).is_empty() {
            assert!(begun.elapsed() < LONG, "{ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        ended
    }

    /// What every kind of guest sees of its acts.
    #[track_caller]
    fn assert_all(&self, acts: &Value, expected: &Value) {
        for (kind, plugin) in GUESTS.all() {
            assert_eq!(&output(self.run(plugin, acts)), expected, "{kind}");
        }
    }

    /// Runs acts of which none may work, and asserts that nothing has changed outside.
    #[track_caller]
    fn assert_all_fail(&self, acts: &Value) {
        let before = self.everything();
        for (kind, plugin) in GUESTS.all() {
            let results = output(self.run(plugin, acts));
            for (act, result) in acts
                .as_array()
                .unwrap()
                .iter()
                .zip(results.as_array().unwrap())
            {
                assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
            }
            assert_eq!(self.everything(), before, "{kind}");
        }
    }

    /// Every path of this world, with what it holds.
    fn everything(&self) -> Vec<(PathBuf, String)> {
        let entries = walkdir::WalkDir::new(self.folder.path()).sort_by_file_name();
        let look = |entry: walkdir::DirEntry| {
            let content = match entry.file_type() {
                kind if kind.is_file() => fs_err::read_to_string(entry.path()).unwrap(),
                kind => format!("{kind:?}"),
            };
            (entry.into_path(), content)
        };
        entries
            .into_iter()
            .map(|entry| look(entry.unwrap()))
            .collect()
    }
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn without_grants_there_are_no_files_and_no_environment() {
    let world = World::new();
    world.assert_all(&json!([["env"]]), &json!([{"ok": {}}]));
    world.assert_all_fail(&json!([
        ["list", "/"],
        ["list", "."],
        ["read", "/etc/passwd"],
        ["read", "/proc/self/environ"],
        ["list", "/scratch"],
        ["list", "/artifacts"],
        ["list", "/files"],
        ["write", "/tmp/x", ""],
        ["write", "x", ""],
    ]));
}

#[test]
fn a_guest_has_the_environment_that_it_is_granted() {
    let world =
        World::new().with(|attempt| attempt.variable("LANG", "C.UTF-8").variable("EMPTY", ""));
    let expected = json!([{"ok": {"EMPTY": "", "LANG": "C.UTF-8"}}]);
    world.assert_all(&json!([["env"]]), &expected);
}

#[test]
fn a_granted_folder_is_read_and_not_changed() {
    let world = World::new()
        .mount("open", "/data", false)
        .scratch(KIB * KIB);
    world.assert_all(
        &json!([
            ["read", "/data/file"],
            ["list", "/data"],
            ["size", "/data/file"]
        ]),
        &json!([{"ok": "content"}, {"ok": ["file", "sub"]}, {"ok": 7}]),
    );
    world.assert_all_fail(&json!([
        ["write", "/data/file", "changed"],
        ["write", "/data/new", ""],
        ["append", "/data/file", "more"],
        ["write-at", "/data/file", 0, "x"],
        ["pwrite", "/data/file", 0, "x"],
        ["write-to-read", "/data/file"],
        ["set-size", "/data/file", 0],
        ["truncate-read", "/data/file"],
        ["touch", "/data/file"],
        ["touch", "/data"],
        ["mkdir", "/data/new"],
        ["rmdir", "/data/sub"],
        ["remove", "/data/file"],
        ["rename", "/data/file", "/data/other"],
        ["rename", "/data/file", "/scratch/file"],
        ["rename", "/data/sub", "/scratch/sub"],
        ["link", "/data/file", "/data/other"],
        ["link", "/data/file", "/scratch/file"],
        ["symlink", "file", "/data/link"],
        ["write", "/data/../data/file", "changed"],
        ["write", "/scratch/../data/file", "changed"],
    ]));
}

#[test]
fn a_granted_folder_is_changed_where_that_is_granted() {
    for (kind, plugin) in GUESTS.all() {
        let world = World::new().mount("open", "/data", true).scratch(KIB * KIB);
        let acts = json!([
            ["write", "/data/file", "changed"],
            ["append", "/data/file", " twice"],
            ["mkdir", "/data/new"],
            ["rename", "/data/file", "/data/new/file"],
            ["link", "/data/new/file", "/data/hard"],
            ["symlink", "new/file", "/data/soft"],
            ["read", "/data/soft"],
            ["rmdir", "/data/sub"],
            ["touch", "/data/hard"],
        ]);
        let ended = world.run(plugin, &acts);
        assert_eq!(warnings(&ended), [""; 0]);
        let results = output(ended);
        assert_eq!(results[6], json!({"ok": "changed twice"}), "{kind}");
        let results = results.as_array().unwrap();
        assert!(
            results.iter().all(|result| result.get("err").is_none()),
            "{kind}: {results:?}"
        );
        assert_eq!(world.read("open/new/file"), "changed twice");
        assert_eq!(names(&world.path("open")), ["hard", "new", "soft"]);
    }
}

#[test]
fn a_folder_that_is_gone_is_named() {
    let world = World::new();
    fs_err::create_dir(world.path("gone")).unwrap();
    let world = world
        .mount("open", "/data", false)
        .mount("gone", "/gone", false);
    fs_err::remove_dir(world.path("gone")).unwrap();
    for (kind, plugin) in GUESTS.all() {
        let error = error(world.run(plugin, &json!([])));
        assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}");
        let gone = world.path("gone");
        let expected = format!("cannot mount the folder `{}` at `/gone`: ", gone.display());
        assert!(
            error.message.starts_with(&expected),
            "{kind}: {}",
            error.message
        );
    }
}

#[test]
fn what_a_guest_puts_in_the_place_of_a_folder_is_not_mounted() {
    let link = json!([
        ["rename", "/data/sub", "/data/moved"],
        ["symlink", "../../secret", "/data/sub"],
    ]);
    let folder = json!([
        ["rename", "/data/sub", "/data/moved"],
        ["mkdir", "/data/sub"]
    ]);
    // Neither does a link further up lead elsewhere.
    let above = json!([
        ["rename", "/data/deep", "/data/moved"],
        ["symlink", "..", "/data/deep"],
    ]);
    for (kind, plugin) in GUESTS.all() {
        for acts in [&link, &folder, &above] {
            let world = World::new();
            fs_err::create_dir_all(world.path("open/deep/secret")).unwrap();
            let world = world
                .mount("open", "/data", true)
                .mount("open/sub", "/sub", false)
                .mount("open/deep/secret", "/deep", false)
                .scratch(KIB * KIB);
            let swapped = output(world.run(plugin, acts));
            let worked = json!([{"ok": null}, {"ok": null}]);
            assert_eq!(swapped, worked, "{kind}: {acts}");

            let look = json!([["read", "/sub/file"], ["read", "/deep/file"]]);
            let error = error(world.run(plugin, &look));
            assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}: {acts}");
            let expected = "cannot mount the folder `";
            assert!(error.message.starts_with(expected), "{}", error.message);
            assert!(!error.message.contains("secret\n"), "{}", error.message);
        }
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
fn no_path_leads_out() {
    let world = World::new().mount("open", "/data", true).scratch(KIB * KIB);
    let outside = world.path("secret");
    let outside = outside.to_str().unwrap();
    // What somebody else has put there.
    for (link, target) in [
        ("relative", "../secret"),
        ("absolute", outside),
        ("file-link", "../secret/file"),
        ("chain", "relative/file"),
        ("root", "/"),
        ("up", ".."),
    ] {
        std::os::unix::fs::symlink(target, world.path("open").join(link)).unwrap();
    }
    let mut acts = vec![
        json!(["read", "/etc/passwd"]),
        json!(["read", "/data/../secret/file"]),
        json!(["read", "/data/sub/../../secret/file"]),
        json!(["read", "/data//../secret/file"]),
        json!(["read", "/data/../../../../../../../../etc/passwd"]),
        json!(["read", format!("{outside}/file")]),
        json!(["read", "/data/up/secret/file"]),
        json!(["read", "/data/root/etc/passwd"]),
        json!(["read", "/data/root/proc/self/environ"]),
        json!(["read", "/proc/self/cwd/Cargo.toml"]),
        json!(["read", "/proc/self/root/etc/passwd"]),
        json!(["list", "/data/root"]),
        json!(["list", "/data/up"]),
        json!(["list", "/data/.."]),
        json!(["remove", "/data/../secret/file"]),
        json!(["mkdir", "/data/../new"]),
        json!(["rmdir", "/data/../secret"]),
        json!(["write", "/data/../secret/file", "changed"]),
        json!(["rename", "/data/file", "/data/../secret/stolen"]),
        json!(["rename", "/data/../secret/file", "/data/stolen"]),
        json!(["rename", "/data/file", "/data/up/stolen"]),
        json!(["link", "/data/../secret/file", "/data/stolen"]),
        json!(["link", "/data/file", "/data/../secret/stolen"]),
        json!(["link", "/data/relative/file", "/data/stolen"]),
        json!(["symlink", "x", "/data/../secret/link"]),
        json!(["symlink", "/etc/passwd", "/data/sub/absolute"]),
        json!(["touch", "/data/../secret/file"]),
    ];
    for link in ["relative/file", "absolute/file", "file-link", "chain"] {
        let path = format!("/data/{link}");
        acts.push(json!(["read", path]));
        acts.push(json!(["write", path, "changed"]));
        acts.push(json!(["append", path, "changed"]));
        acts.push(json!(["set-size", path, 0]));
        acts.push(json!(["touch", path]));
    }
    world.assert_all_fail(&json!(acts));
}

#[test]
fn who_looks_outside_is_told_of() {
    let world = World::new()
        .mount("open", "/data", false)
        .scratch(KIB * KIB);
    let acts = json!([
        ["read", "/data/../secret/file"],
        ["read", "/data/../secret/file"],
        ["symlink", "/etc/passwd\n", "/scratch/a"],
        ["symlink", "../..", "/scratch/up"],
        ["list", "/scratch/up"],
        // What is refused because it is not granted to be written to, or not there, is no look outside.
        ["append", "/data/file", "x"],
        ["write", "/data/new", "x"],
        ["read", "/data/nothing"],
        ["write", "/data/../secret/file", "x"],
    ]);
    for (kind, plugin) in GUESTS.all() {
        let ended = world.run(plugin, &acts);
        let what = |path| format!("reading `{path}`, which leads out of its folder");
        assert_eq!(
            denied(&ended),
            ["../secret/file", "up"].map(what),
            "{kind}: {ended:?}"
        );
        assert!(ended.denied.iter().all(|denied| denied.grant.is_none()));
    }
}

#[test]
fn links_of_a_guests_own_making_lead_nowhere_either() {
    let world = World::new()
        .mount("secret", "/secret", false)
        .scratch(KIB * KIB);
    let world = world.mount("open", "/data", true);
    for (kind, plugin) in GUESTS.all() {
        let acts = json!([
            ["mkdir", "/scratch/sub"],
            ["symlink", "../../../../../../etc/passwd", "/scratch/out"],
            ["symlink", "..", "/scratch/up"],
            ["symlink", "sub/../../..", "/scratch/upper"],
            ["symlink", "out", "/scratch/chain"],
            ["symlink", "loop", "/scratch/loop"],
            ["read", "/scratch/out"],
            ["list", "/scratch/up"],
            ["list", "/scratch/upper"],
            ["read", "/scratch/chain"],
            ["read", "/scratch/loop"],
            ["write", "/scratch/out", "changed"],
            // From one folder that may be written to into another is no way out.
            ["rename", "/scratch/up", "/data/sub/up"],
            ["list", "/data/sub/up"],
            // But a link that led nowhere leads nowhere from there either.
            ["rename", "/data/sub/up", "/data/up"],
            ["list", "/data/up"],
            ["read", "/data/up/secret/file"],
            ["remove", "/data/up"],
            ["link", "/secret/file", "/scratch/file"],
            ["rename", "/secret/file", "/scratch/file"],
        ]);
        let results = output(world.run(plugin, &acts));
        let expected = [
            (0..6, true),
            (6..12, false),
            (12..15, true),
            (15..17, false),
            (17..18, true),
            (18..20, false),
        ];
        for (range, works) in expected {
            for index in range {
                let result = &results[index];
                assert_eq!(
                    result.get("ok").is_some(),
                    works,
                    "{kind}: {} gave {result}",
                    acts[index]
                );
            }
        }
        assert_eq!(names(&world.path("open")), ["file", "sub"]);
    }
}

#[test]
fn a_folder_may_be_the_root_and_longer_mounts_go_before_it() {
    let world = World::new()
        .mount("open", "/", true)
        .mount("secret", "/sub", false)
        .scratch(KIB * KIB)
        .attach("a.txt", "attached");
    // What the folder has by names that are mounted is hidden.
    for name in ["scratch", "files", "artifacts"] {
        fs_err::create_dir_all(world.path("open").join(name)).unwrap();
        fs_err::write(world.path("open").join(name).join("hidden"), "hidden").unwrap();
    }
    fs_err::write(world.path("open/sub/hidden"), "hidden").unwrap();
    let before = world.everything();
    let acts = json!([
        ["read", "/file"],
        ["read", "file"],
        ["read", "./file"],
        ["list", "/"],
        ["read", "/sub/file"],
        ["write", "/scratch/new", "x"],
        ["list", "/scratch"],
        ["write", "/new", "x"],
        ["rename", "/new", "/scratch/moved"],
        ["read", "/sub/hidden"],
        ["read", "/scratch/hidden"],
        ["write", "/sub/new", "x"],
        ["list", "/files"],
    ]);
    for (kind, plugin) in GUESTS.all() {
        let results = output(world.run(plugin, &acts));
        let is_component = kind == "component";
        let own = match is_component {
            // It has imports for its attachments, so nothing hides the folder's.
            true => json!({"ok": ["hidden"]}),
            false => json!({"ok": ["a.txt"]}),
        };
        let root = json!({"ok": ["artifacts", "file", "files", "scratch", "sub"]});
        let (done, content) = (json!({"ok": null}), json!({"ok": "content"}));
        let expected = [
            &content,
            &content,
            &content,
            &root,
            &json!({"ok": "secret"}),
            &done,
            &json!({"ok": ["new"]}),
            &done,
            &done,
        ];
        for (index, expected) in expected.into_iter().enumerate() {
            assert_eq!(&results[index], expected, "{kind}: {}", acts[index]);
        }
        for index in 9..12 {
            let (act, result) = (&acts[index], &results[index]);
            assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
        }
        assert_eq!(results[12], own, "{kind}");
        assert_eq!(world.everything(), before, "{kind}");
    }
}

#[test]
fn no_path_leads_out_of_a_folder_that_is_the_root() {
    let world = World::new().mount("open", "/", true).scratch(KIB * KIB);
    let outside = world.path("secret");
    let outside = outside.to_str().unwrap();
    for (link, target) in [
        ("relative", "../secret"),
        ("absolute", outside),
        ("file-link", "../secret/file"),
        // Not to the folder itself either: a link's text is the host's, where `/` is another place.
        ("inside", "/file"),
        ("top", "/"),
        ("up", ".."),
    ] {
        std::os::unix::fs::symlink(target, world.path("open").join(link)).unwrap();
    }
    let mut acts = vec![
        json!(["read", "/etc/passwd"]),
        json!(["read", "etc/passwd"]),
        json!(["read", "/../secret/file"]),
        json!(["read", "../secret/file"]),
        json!(["read", "/sub/../../secret/file"]),
        json!(["read", "/scratch/../../secret/file"]),
        json!(["read", "/../../../../../../../../etc/passwd"]),
        json!(["read", format!("{outside}/file")]),
        json!(["read", "/up/secret/file"]),
        json!(["read", "/top/etc/passwd"]),
        json!(["read", "/inside"]),
        json!(["read", "/proc/self/environ"]),
        json!(["list", "/top"]),
        json!(["list", "/up"]),
        json!(["list", "/.."]),
        json!(["remove", "/../secret/file"]),
        json!(["mkdir", "/../new"]),
        json!(["rmdir", "/../secret"]),
        json!(["rename", "/file", "/../secret/stolen"]),
        json!(["rename", "/../secret/file", "/stolen"]),
        json!(["link", "/../secret/file", "/stolen"]),
        json!(["link", "/relative/file", "/stolen"]),
        json!(["symlink", "/etc/passwd", "/sub/absolute"]),
        json!(["touch", "/../secret/file"]),
    ];
    for link in ["relative/file", "absolute/file", "file-link"] {
        let path = format!("/{link}");
        acts.push(json!(["read", path]));
        acts.push(json!(["write", path, "changed"]));
        acts.push(json!(["append", path, "changed"]));
        acts.push(json!(["set-size", path, 0]));
    }
    world.assert_all_fail(&json!(acts));
}

#[test]
fn raw_calls_get_no_further_than_a_library_does() {
    // Path and flags of an `open` in the first folder, by calls that no library would make.
    let open_at = |mount: &str, path: &str, create: u32, rights: u64| {
        let plugin = BENCH.link_text(&format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "path_open"
                   (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 1)
                 (data (i32.const 16) "{path}")
                 (func (export "_start")
                   (call $exit (i32.add (i32.const 1)
                     (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const {length})
                       (i32.const {create}) (i64.const {rights}) (i64.const 0) (i32.const 0) (i32.const 0))))))"#,
            length = path.len(),
        )).unwrap();
        let world = World::new().mount("open", mount, false).scratch(KIB * KIB);
        // With 0 it would have to have printed something.
        reply(world.run(&plugin, &json!([]))).exit_code.unwrap() - 1
    };
    const PERM: i32 = 63;
    const READ: u64 = 1 << 1;
    const WRITE: u64 = 1 << 6;
    let open = |path: &str, create: u32, rights: u64| open_at("/data", path, create, rights);
    for mount in ["/data", "/"] {
        assert_eq!(open_at(mount, "file", 0, READ), 0);
        for path in [
            "/etc/passwd",
            "/file",
            "../secret/file",
            "/",
            "..",
            "sub/../../secret",
        ] {
            assert_eq!(open_at(mount, path, 0, READ), PERM, "{mount}: {path}");
        }
    }
    // Creating and truncating, and writing without either.
    assert_eq!(open("file", 1, WRITE), PERM);
    assert_eq!(open("file", 8, READ), PERM);
    assert_eq!(open("file", 0, WRITE), PERM);
    assert_eq!(open("new", 1, READ), PERM);
}

#[test]
fn what_is_written_is_counted_to_the_byte() {
    // The file itself, and 10 bytes.
    let world = World::new().scratch(ENTRY + 10);
    for (kind, plugin) in GUESTS.all() {
        let acts = json!([["fill", "/scratch/a", 3]]);
        let ended = world.run(plugin, &acts);
        let refused = "a write to a file was refused, because `limits.scratch` is 4.0 KiB";
        assert_eq!(warnings(&ended), [refused], "{kind}");
        assert_eq!(ended.hint.as_deref(), Some(refused));
        assert_eq!(output(ended), json!([{"ok": [9, "nospc"]}]), "{kind}");
    }

    // Also if it is written again and again, or truncated between.
    let world = World::new().scratch(ENTRY + 10);
    world.assert_all(
        &json!([
            ["write", "/scratch/a", "12345"],
            ["write-at", "/scratch/a", 0, "1234"],
            ["write", "/scratch/a", "12"],
            ["size", "/scratch/a"],
            ["append", "/scratch/a", "1"],
            ["append", "/scratch/a", "1"],
        ]),
        &json!([
            {"ok": null}, {"ok": null}, {"err": "nospc"}, {"ok": 0}, {"ok": null}, {"err": "nospc"},
        ]),
    );
}

#[test]
fn what_is_left_within_the_quota_is_no_news() {
    let world = World::new().scratch(ENTRY + 10);
    for (kind, plugin) in GUESTS.all() {
        let ended = world.run(plugin, &json!([["write", "/scratch/a", "1234567890"]]));
        assert_eq!(warnings(&ended), [""; 0], "{kind}");
        assert_eq!(ended.hint, None);
        let printed = r#"[{"ok":null}]"#.len() as u64;
        assert_eq!(ended.usage.bytes_out, printed + 10, "{kind}");
        assert_eq!(output(ended), json!([{"ok": null}]), "{kind}");
    }
}

#[test]
fn a_byte_far_away_costs_what_its_file_grows_by() {
    let world = World::new().scratch(KIB * KIB);
    let far = 1_u64 << 40;
    world.assert_all(
        &json!([
            ["write", "/scratch/a", "x"],
            ["write-at", "/scratch/a", far, "x"],
            ["pwrite", "/scratch/a", far, "x"],
            ["set-size", "/scratch/a", far],
            ["size", "/scratch/a"],
            ["set-size", "/scratch/a", 600 * KIB],
            ["set-size", "/scratch/a", 1],
            ["set-size", "/scratch/a", 600 * KIB],
            ["size", "/scratch/a"],
        ]),
        &json!([
            {"ok": null}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"ok": 1}, {"ok": null}, {"ok": null},
            {"err": "nospc"}, {"ok": 1},
        ]),
    );
}

#[test]
fn empty_files_folders_and_links_cost_too() {
    let world = World::new().scratch(10 * ENTRY);
    world.assert_all(
        &json!([
            ["flood", "/scratch"],
            ["remove", "/scratch/0"],
            ["write", "/scratch/1", "x"]
        ]),
        &json!([{"ok": 10}, {"ok": null}, {"err": "nospc"}]),
    );
    let world = World::new().scratch(4 * ENTRY);
    world.assert_all(
        &json!([
            ["mkdir", "/scratch/a"],
            ["mkdir", "/scratch/a"],
            ["write", "/scratch/b", ""],
            ["write", "/scratch/b", ""],
            ["link", "/scratch/b", "/scratch/c"],
            ["symlink", "b", "/scratch/d"],
            ["mkdir", "/scratch/e"],
            ["write", "/scratch/e", ""],
            ["link", "/scratch/b", "/scratch/e"],
            ["symlink", "b", "/scratch/e"],
            // What costs nothing works on.
            ["rename", "/scratch/b", "/scratch/e"],
            ["write", "/scratch/e", ""],
        ]),
        &json!([
            {"ok": null}, {"err": "exist"}, {"ok": null}, {"ok": null}, {"ok": null}, {"ok": null},
            {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}, {"ok": null}, {"ok": null},
        ]),
    );
}

#[test]
fn writes_to_granted_folders_count_as_well() {
    for (kind, plugin) in GUESTS.all() {
        let world = World::new().mount("open", "/data", true).scratch(5);
        let acts = json!([
            ["write", "/data/file", "12345"],
            ["append", "/data/file", "6"],
            ["write", "/scratch/a", ""],
            ["write", "/data/new", ""],
        ]);
        let expected = json!([{"ok": null}, {"err": "nospc"}, {"err": "nospc"}, {"err": "nospc"}]);
        assert_eq!(output(world.run(plugin, &acts)), expected, "{kind}");
        assert_eq!(world.read("open/file"), "12345");

        // Nothing may be written where no limit says how much.
        let world = World::new().mount("open", "/data", true);
        let acts = json!([
            ["append", "/data/file", "6"],
            ["mkdir", "/data/new"],
            ["list", "/scratch"]
        ]);
        let results = output(world.run(plugin, &acts));
        assert_eq!(results[0], json!({"err": "nospc"}), "{kind}");
        assert_eq!(results[1], json!({"err": "nospc"}), "{kind}");
        assert!(results[2]["err"].is_string(), "{kind}");
        assert_eq!(world.read("open/file"), "content");
    }
}

#[test]
fn an_attempt_that_fails_without_room_says_which_limit_it_was() {
    let world = World::new().scratch(KIB);
    let refused = "a write to a file was refused, because `limits.scratch` is 1.0 KiB";
    let full = json!(["write", "/scratch/a", "x"]);
    for (kind, plugin) in GUESTS.all() {
        let message = error(world.run(plugin, &json!([full, ["panic"]]))).message;
        assert!(
            message.contains("the guest's own words"),
            "{kind}: {message}"
        );
        assert!(message.ends_with(refused), "{kind}: {message}");
    }
    let ended = world.run(&GUESTS.component, &json!([full, ["fail"]]));
    let expected = format!(r#"it did not work: "nospc"; {refused}"#);
    assert_eq!(error(ended).message, expected);
    for (kind, plugin) in GUESTS.commands() {
        let ended = world.run(plugin, &json!([full, ["fail"]]));
        assert_eq!(ended.hint.as_deref(), Some(refused), "{kind}");
        assert_eq!(reply(ended).exit_code, Some(1), "{kind}");
    }
}

#[test]
fn every_call_of_wasi_0_2_that_makes_a_file_larger_is_counted() {
    let world = World::new().scratch(ENTRY + 8);
    let ended = world.run(&GUESTS.component, &json!({"raw": 8}));
    let full = "insufficient-space";
    assert_eq!(
        output(ended),
        json!({
            "write": full, "far": full, "set-size": full, "write-stream": full, "far-stream": full,
            "append-stream": full, "zeroes": full, "unchecked": full, "closed": "closed",
            // Five of the eight bytes are there, and four more at once are too many.
            "splice": full, "read-only": "bad-descriptor", "size": 5,
        })
    );
}

/// A path that is longer than any is refused before the host copies it, by all functions that take one.
#[test]
fn a_path_that_is_longer_than_any_is_not_copied() {
    const NAME_TOO_LONG: i32 = 37;
    const LONG: &str = "(i32.const 65536) (i32.const 5000)";
    const SHORT: &str = "(i32.const 65536) (i32.const 1)";
    let calls = [
        (
            "path_open",
            "i32 i32 i32 i32 i32 i64 i64 i32 i32",
            format!(
                "(i32.const 3) (i32.const 0) {LONG} (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)"
            ),
        ),
        (
            "path_create_directory",
            "i32 i32 i32",
            format!("(i32.const 3) {LONG}"),
        ),
        (
            "path_remove_directory",
            "i32 i32 i32",
            format!("(i32.const 3) {LONG}"),
        ),
        (
            "path_unlink_file",
            "i32 i32 i32",
            format!("(i32.const 3) {LONG}"),
        ),
        (
            "path_filestat_get",
            "i32 i32 i32 i32 i32",
            format!("(i32.const 3) (i32.const 0) {LONG} (i32.const 16)"),
        ),
        (
            "path_filestat_set_times",
            "i32 i32 i32 i32 i64 i64 i32",
            format!("(i32.const 3) (i32.const 0) {LONG} (i64.const 0) (i64.const 0) (i32.const 2)"),
        ),
        (
            "path_readlink",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {LONG} (i32.const 16) (i32.const 16) (i32.const 32)"),
        ),
        (
            "path_rename",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {SHORT} (i32.const 3) {LONG}"),
        ),
        (
            "path_rename",
            "i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) {LONG} (i32.const 3) {SHORT}"),
        ),
        (
            "path_link",
            "i32 i32 i32 i32 i32 i32 i32",
            format!("(i32.const 3) (i32.const 0) {SHORT} (i32.const 3) {LONG}"),
        ),
        (
            "path_symlink",
            "i32 i32 i32 i32 i32",
            format!("{LONG} (i32.const 3) {SHORT}"),
        ),
        (
            "path_symlink",
            "i32 i32 i32 i32 i32",
            format!("{SHORT} (i32.const 3) {LONG}"),
        ),
    ];
    for (name, parameters, arguments) in calls {
        let plugin = BENCH.link_text(&format!(
            r#"(module
                 (import "wasi_snapshot_preview1" "{name}" (func $call (param {parameters}) (result i32)))
                 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                 (memory (export "memory") 2)
                 (func (export "_start")
                   (memory.fill (i32.const 65536) (i32.const 97) (i32.const 5000))
                   (call $exit (call $call {arguments}))))"#
        )).unwrap();
        let world = World::new().scratch(1024 * KIB);
        let reply = reply(world.run(&plugin, &json!([])));
        assert_eq!(reply.exit_code, Some(NAME_TOO_LONG), "{name} {arguments}");
    }
}

#[test]
fn preview_1_has_no_other_way_to_make_a_file_larger() {
    let plugin = BENCH.link_text(
        r#"(module
             (import "wasi_snapshot_preview1" "path_open"
               (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
             (import "wasi_snapshot_preview1" "fd_allocate" (func $allocate (param i32 i64 i64) (result i32)))
             (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
             (memory (export "memory") 1)
             (data (i32.const 16) "a")
             (func (export "_start")
               (drop (call $open (i32.const 3) (i32.const 1) (i32.const 16) (i32.const 1)
                 (i32.const 1) (i64.const 64) (i64.const 0) (i32.const 0) (i32.const 0)))
               (call $exit (call $allocate (i32.load (i32.const 0)) (i64.const 0) (i64.const 1000000)))))"#,
    ).unwrap();
    let world = World::new().scratch(ENTRY);
    const NOT_SUPPORTED: i32 = 58;
    assert_eq!(
        reply(world.run(&plugin, &json!([]))).exit_code,
        Some(NOT_SUPPORTED)
    );
}

#[test]
fn commands_find_their_tests_attachments_and_cannot_change_them() {
    let world = World::new()
        .scratch(KIB * KIB)
        .attach("a.txt", "attached")
        .attach("b c.bin", "");
    for (kind, plugin) in GUESTS.commands() {
        let acts = json!([
            ["list", "/files"],
            ["read", "/files/a.txt"],
            ["read", "/files/b c.bin"],
            ["write", "/files/a.txt", "changed"],
            ["append", "/files/a.txt", "changed"],
            ["set-size", "/files/a.txt", 0],
            ["truncate-read", "/files/a.txt"],
            ["write-to-read", "/files/a.txt"],
            ["remove", "/files/a.txt"],
            ["rename", "/files/a.txt", "/scratch/a"],
            ["link", "/files/a.txt", "/scratch/a"],
            ["touch", "/files/a.txt"],
            ["write", "/files/new", ""],
            ["symlink", "/files/a.txt", "/scratch/absolute"],
            ["symlink", "../files/a.txt", "/scratch/relative"],
            ["append", "/scratch/relative", "changed"],
        ]);
        let results = output(world.run(plugin, &acts));
        assert_eq!(results[0], json!({"ok": ["a.txt", "b c.bin"]}), "{kind}");
        assert_eq!(results[1], json!({"ok": "attached"}), "{kind}");
        assert_eq!(results[2], json!({"ok": ""}), "{kind}");
        for index in (3..14).chain([15]) {
            let (act, result) = (&acts[index], &results[index]);
            assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
        }
        assert_eq!(world.read("blob-a.txt"), "attached");
    }
    // Components have an import for them.
    let ended = world.run(&GUESTS.component, &json!([["list", "/files"]]));
    assert!(output(ended)[0]["err"].is_string());
}

#[test]
fn an_attachment_that_is_gone_is_named() {
    let world = World::new().attach("a.txt", "attached");
    fs_err::remove_file(world.path("blob-a.txt")).unwrap();
    for (kind, plugin) in GUESTS.commands() {
        let error = error(world.run(plugin, &json!([])));
        assert_eq!(error.class, Some(ErrorClass::Internal), "{kind}");
        let expected = "cannot hand over the attachment `a.txt`: ";
        assert!(
            error.message.starts_with(expected),
            "{kind}: {}",
            error.message
        );
    }
}

#[test]
fn what_a_command_leaves_becomes_artifacts() {
    let mut world = World::new().scratch(KIB * KIB).mount("open", "/data", true);
    world.attempt.limits.artifacts = 20;
    let acts = json!([
        ["list", "/artifacts"],
        ["write", "/artifacts/report.html", "<p>"],
        ["write", "/artifacts/no-ending", ""],
        ["write", "/artifacts/b.json", "{}"],
        ["write", "/artifacts/too-large", "123456789012345678901"],
        ["write", "/artifacts/a bad name", ""],
        ["mkdir", "/artifacts/folder"],
        ["write", "/artifacts/folder/inside", ""],
        ["symlink", "/etc/passwd", "/artifacts/absolute"],
        ["symlink", "../../secret/file", "/artifacts/soft"],
        ["symlink", "report.html", "/artifacts/inner"],
        ["link", "/data/file", "/artifacts/hard"],
    ]);
    for (kind, plugin) in GUESTS.commands() {
        for last in [json!(["exit", 0]), json!(["exit", 7]), json!(["panic"])] {
            let mut acts = acts.as_array().unwrap().clone();
            acts.push(last.clone());
            let ended = world.run(plugin, &acts.into());
            let kept: Vec<_> = ended
                .artifacts
                .iter()
                .map(|file| (file.name.as_str(), file.media_type.as_str(), content(file)))
                .collect();
            assert_eq!(
                kept,
                [
                    ("b.json", "application/json", b"{}".to_vec()),
                    ("no-ending", "application/octet-stream", b"".to_vec()),
                    ("report.html", "text/html", b"<p>".to_vec()),
                ],
                "{kind} {last}: {ended:?}"
            );
            assert_eq!(
                warnings(&ended),
                [
                    "not kept from `/artifacts`: `a bad name` (its name is not 1 to 128 of `A-Z a-z 0-9 . _ -`), \
                  `folder` (not a file), `hard` (a hard link), `inner` (a symbolic link), \
                  `soft` (a symbolic link), `too-large` (over `limits.artifacts`, 20 B)"
                ],
                "{kind} {last}"
            );
        }
        // What it did not come to the end of is not whole.
        let interrupted = World::new()
            .scratch(KIB * KIB)
            .with(|attempt| attempt.timeout(Duration::from_millis(300)));
        let ended = interrupted.run(plugin, &json!([["write", "/artifacts/a", "x"], ["sleep"]]));
        assert_timed_out(&ended, kind);
        assert!(ended.artifacts.is_empty(), "{kind}");
    }
    // Components have an import for them.
    let ended = world.run(&GUESTS.component, &json!([["list", "/artifacts"]]));
    assert!(output(ended)[0]["err"].is_string());
}

#[test]
fn only_so_many_artifacts_are_kept() {
    let mut world = World::new().scratch(KIB * KIB);
    world.attempt.limits.artifact_files = 2;
    let writes = (10..25).map(|number| json!(["write", format!("/artifacts/{number}"), "x"]));
    let ended = world.run(&GUESTS.module, &writes.collect());
    assert_eq!(ended.artifacts.len(), 2);
    let message = warnings(&ended)[0];
    assert!(
        message.starts_with(
            "not kept from `/artifacts`: `12` (over `limits.artifact_files`, 2), `13`"
        )
    );
    assert!(
        message.ends_with("`21` (over `limits.artifact_files`, 2) and 3 more"),
        "{message}"
    );
}

#[test]
fn of_a_flood_of_artifacts_only_the_first_are_looked_at() {
    // Room for more empty files than are looked at.
    let world = World::new().scratch(11_000 * ENTRY);
    let ended = world.run(&GUESTS.module, &json!([["flood", "/artifacts"]]));
    assert_eq!(ended.artifacts.len(), 100);
    let message = warnings(&ended)[0];
    let end = " and 9890 more; only 10000 files of all that are there were looked at";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn what_is_neither_a_file_nor_a_folder_is_not_opened() {
    let world = World::new().mount("open", "/data", true).scratch(KIB * KIB);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.path("open/pipe"),
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(world.path("open/socket")).unwrap();
    std::os::unix::fs::symlink("pipe", world.path("open/link")).unwrap();
    for (kind, plugin) in GUESTS.all() {
        let acts = json!([
            ["read", "/data/pipe"],
            ["append", "/data/pipe", "x"],
            ["write-at", "/data/pipe", 0, "x"],
            ["read", "/data/link"],
            ["read", "/data/socket"],
            // It is there all the same.
            ["size", "/data/pipe"],
            ["rename", "/data/pipe", "/data/sub/pipe"],
            ["read", "/data/sub/pipe"],
            ["rename", "/data/sub/pipe", "/data/pipe"],
            ["rename", "/data/pipe", "/scratch/pipe"],
            ["read", "/scratch/pipe"],
            ["rename", "/scratch/pipe", "/data/pipe"],
        ]);
        let perm = json!({"err": "perm"});
        let (ok, size) = (json!({"ok": null}), json!({"ok": 0}));
        let ended = world.run(plugin, &acts);
        let what = |name| format!("opening `{name}`, which is neither a file nor a folder");
        assert_eq!(
            denied(&ended),
            ["pipe", "link", "socket", "sub/pipe"].map(what),
            "{kind}"
        );
        let results = output(ended);
        let expected = [
            &perm, &perm, &perm, &perm, &perm, &size, &ok, &perm, &ok, &ok, &perm, &ok,
        ];
        for (index, expected) in expected.into_iter().enumerate() {
            assert_eq!(&results[index], expected, "{kind}: {}", acts[index]);
        }
    }
}

#[test]
fn a_guest_that_closes_nothing_has_only_so_many_files_open() {
    let world = World::new().mount("open", "/data", false);
    let before = fs_err::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    for (kind, plugin) in GUESTS.all() {
        let ended = world.run(plugin, &json!([["hoard", "/data/file"], ["list", "/data"]]));
        assert_eq!(
            denied(&ended),
            ["having more than 128 files open at once"],
            "{kind}"
        );
        let results = output(ended);
        let name = if kind == "module" { "mfile" } else { "nomem" };
        assert_eq!(results[0], json!({"err": name}), "{kind}");
        // Once they are closed, there is room again.
        assert_eq!(results[1], json!({"ok": ["file", "sub"]}), "{kind}");
    }
    let after = fs_err::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    // Other tests of this process open files as well.
    assert!(after < before + 500, "{before} became {after}");
}

#[test]
fn a_process_that_begins_with_few_files_opens_as_many_as_it_may() {
    let runner = scenario(
        &module("files-command"),
        "",
        r#"
        grants.fs = [{ path = ".", mount = "/data" }]
        [[tests]]
        id = "hoard"
        input = [["hoard", "/data/note.txt"]]
        "#,
    );
    let limited = runner.shell(r#"ulimit -S -n 100; exec "$runner" exec scenario.toml"#);
    Running::spawn(limited).finish().expect(0);
    let row = runner.only_run().row("hoard");
    let denied = "having more than 128 files open at once";
    assert_eq!(row["denied"][0]["what"], json!(denied), "{row}");
}

/// A scenario with a command, as a module or as a component, and an empty folder `tmp` for temporary files.
fn scenario(plugin: &Path, limits: &str, tests: &str) -> Runner {
    let runner = Runner::new(&[]);
    std::os::unix::fs::symlink(plugin, runner.path("files-command.wasm")).unwrap();
    fs_err::create_dir(runner.path("tmp")).unwrap();
    runner.write("note.txt", "attached");
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "files-command.wasm"
        args = ["{{{{input}}}}"]
        output = "json"
        limits = {{ {limits} }}
        {tests}
        "#
    ));
    runner
}

fn start_in(runner: &Runner, tmp: &str, args: &[&str]) -> Running {
    let mut command = runner.command(args);
    command.env("TMPDIR", runner.path(tmp));
    Running::spawn(command)
}

#[test]
fn a_run_keeps_the_artifacts_of_commands_and_nothing_else() {
    for plugin in [guest("files-command"), module("files-command")] {
        let runner = scenario(
            &plugin,
            r#"scratch = "1MiB""#,
            r#"
            [[tests]]
            id = "first"
            files = { "note.txt" = "note.txt" }
            input = [
                ["read", "/files/note.txt"], ["write", "/artifacts/out.txt", "kept"], ["mkdir", "/artifacts/no"],
                ["write", "/scratch/x", "gone"],
            ]
            "#,
        );
        start_in(&runner, "tmp", &["exec", "scenario.toml"])
            .finish()
            .expect(0);
        let run = runner.only_run();
        let row = run.row("first");
        assert_eq!(row["output"][0], json!({"ok": "attached"}), "{row}");
        assert_eq!(run.read("artifacts/0/0-1/out.txt"), "kept");
        // And the host's word about what it did not keep.
        let log = run.read("artifacts/0/0-1/log.jsonl");
        assert!(
            log.contains("not kept from `/artifacts`: `no` (not a file)"),
            "{log}"
        );
        assert_eq!(row["artifacts"].as_array().unwrap().len(), 2, "{row}");
        assert_eq!(names(&runner.path("tmp")), [""; 0]);

        // The same in another session.
        start_in(
            &runner,
            "tmp",
            &["resume", "--from", "latest", "--rerun", "all"],
        )
        .finish()
        .expect(0);
        let rows = run.rows();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[1]["output"], row["output"]);
        assert_eq!(names(&runner.path("tmp")), [""; 0]);
    }
}

#[test]
fn a_run_says_which_limit_its_command_hit() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1KiB""#,
        r#"
        [[tests]]
        id = "full"
        input = [["write", "/scratch/a", "x"], ["fail"]]
        "#,
    );
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(1);
    ran.says(&["a write to a file was refused, because `limits.scratch` is 1.0 KiB"]);
    let row = runner.only_run().row("full");
    let message = row["checks"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with(
            "expected exit code 0, got 1; a write to a file was refused, because `limits.scratch` is 1.0 KiB; its \
             standard error ends with"
        ),
        "{message}"
    );
}

#[test]
fn a_run_that_is_stopped_leaves_no_scratch_folder() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        r#"
        [[tests]]
        id = "sleeper"
        input = [["write", "/scratch/a", "x"], ["sleep"]]
        "#,
    );
    let mut running = start_in(&runner, "tmp", &["exec", "scenario.toml", "--json"]);
    running.wait_until_running(1);
    let is_written = || {
        let found = walkdir::WalkDir::new(runner.path("tmp")).into_iter();
        found.flatten().any(|entry| entry.file_name() == "a")
    };
    running.wait_for(|_| is_written());
    running.end_by(rustix::process::Signal::INT).0.expect(130);
    assert_eq!(names(&runner.path("tmp")), [""; 0]);
}

#[test]
fn a_session_removes_the_folders_of_those_that_were_killed_and_of_no_other() {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        r#"
        [[tests]]
        id = "sleeper"
        input = [["write", "/scratch/a", "x"], ["sleep"]]
        [[tests]]
        id = "quick"
        input = [["write", "/scratch/b", "x"]]
        "#,
    );
    let folders = || {
        let mut names = names(&runner.path("tmp"));
        names.retain(|name| name.starts_with("runner-"));
        names
    };
    let is_written = |folder: &String| runner.path("tmp").join(folder).join("scratch/a").exists();
    let sleep = || {
        let args = ["exec", "scenario.toml", "--test", "sleeper", "--json"];
        let mut running = start_in(&runner, "tmp", &args);
        running.wait_until_running(1);
        running
    };
    let mut killed = sleep();
    killed.wait_for(|_| folders().iter().any(is_written));
    let left = folders();
    drop(killed.kill());
    assert_eq!(folders(), left);

    let mut alive = sleep();
    alive.wait_for(|_| {
        folders()
            .iter()
            .any(|name| is_written(name) && !left.contains(name))
    });
    let used = folders();
    assert_eq!(used.len(), 1, "{used:?} beside {left:?}");
    let args = ["exec", "scenario.toml", "--test", "quick"];
    start_in(&runner, "tmp", &args).finish().expect(0);
    assert_eq!(folders(), used);
    alive.end_by(rustix::process::Signal::INT).0.expect(130);
    assert_eq!(folders(), [""; 0]);
}

#[test]
fn a_run_gives_its_provider_the_folders_and_variables_of_its_grants() {
    for plugin in [guest("files-command"), module("files-command")] {
        let runner = scenario(
            &plugin,
            r#"scratch = "1MiB""#,
            r#"
            [providers.p.grants]
            env = { LANG = "C.UTF-8" }
            fs = [{ path = "in", mount = "/in" }, { path = "out", mount = "/out", mode = "rw" }]
            [[tests]]
            id = "both"
            input = [
                ["env"], ["read", "/in/a"], ["write", "/in/a", "x"], ["append", "/out/a", "x"],
                ["rename", "/out/a", "/out/b"], ["read", "/in/../note.txt"], ["read", "/in/pipe"],
            ]
            "#,
        );
        runner.write("in/a", "content");
        runner.write("out/a", "");
        let (pipe, mode) = (runner.path("in/pipe"), rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();

        start_in(&runner, "tmp", &["exec", "scenario.toml"])
            .finish()
            .expect(0);
        let run = runner.only_run();
        let row = run.row("both");
        assert_eq!(
            row["output"],
            json!([
                {"ok": {"LANG": "C.UTF-8"}}, {"ok": "content"}, {"err": "perm"}, {"ok": null}, {"ok": null},
                {"err": "perm"}, {"err": "perm"},
            ])
        );
        let denied = row["denied"].as_array().unwrap();
        let denied: Vec<_> = denied
            .iter()
            .map(|denied| denied["what"].as_str().unwrap())
            .collect();
        assert_eq!(
            denied,
            [
                "reading `../note.txt`, which leads out of its folder",
                "opening `pipe`, which is neither a file nor a folder",
            ]
        );
        assert_eq!(names(&runner.path("out")), ["b"]);

        // Another session has the same.
        fs_err::rename(runner.path("out/b"), runner.path("out/a")).unwrap();
        start_in(
            &runner,
            "tmp",
            &["resume", "--from", "latest", "--rerun", "all"],
        )
        .finish()
        .expect(0);
        assert_eq!(run.rows()[1]["output"], row["output"]);
        assert_eq!(fs_err::read_to_string(runner.path("out/b")).unwrap(), "xx");
        assert_eq!(names(&runner.path("tmp")), [""; 0]);
    }
}

/// A scenario in `project` whose only provider is granted `grants.fs`.
fn granting(folders: &str) -> Runner {
    let runner = scenario(
        &module("files-command"),
        r#"scratch = "1MiB""#,
        &format!(
            r#"
            grants.fs = [{folders}]
            [[tests]]
            id = "a"
            input = [["write", "/made/a", "x"]]
            "#
        ),
    );
    for folder in ["work/inner/deep", "beside"] {
        fs_err::create_dir_all(runner.path(folder)).unwrap();
    }
    runner
}

#[test]
fn a_folder_inside_a_writable_one_is_refused() {
    let runner = granting(
        r#"{ path = "work", mount = "/made", mode = "rw" }, { path = "work/inner", mount = "/inner" }"#,
    );
    for args in [
        &["exec", "scenario.toml"][..],
        &["exec", "scenario.toml", "--dry-run"],
    ] {
        let ran = start_in(&runner, "tmp", args).finish().expect(2);
        for part in [
            "provider `p`",
            "work/inner`, granted as `/inner`, lies or is linked to in",
            "granted as `/made` with mode `rw`",
            "in its place",
            "grant `rw` only of folders in which no other granted folder lies",
        ] {
            assert!(ran.stderr.contains(part), "{}", ran.stderr);
        }
    }
    assert!(!runner.path("results").exists());

    // What a guest has left there may lead anywhere by now.
    fs_err::rename(runner.path("work/inner"), runner.path("moved")).unwrap();
    std::os::unix::fs::symlink("../beside", runner.path("work/inner")).unwrap();
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"]).finish();
    let ran = ran.expect(2);
    assert!(
        ran.stderr
            .contains("beside`, granted as `/inner`, lies or is linked to in"),
        "{}",
        ran.stderr
    );

    // The same holds for a call outside of any run, and beside another provider's folder.
    let args = [
        "plugin",
        "run",
        "files-command.wasm",
        "--limit",
        "scratch=1MiB",
        "--grant",
        "fs=work:/made:rw",
        "--grant",
        "fs=work/inner:/inner:rw",
        "--",
        "[]",
    ];
    let ran = start_in(&runner, "tmp", &args).finish().expect(2);
    assert!(
        ran.stderr.contains("lies or is linked to in"),
        "{}",
        ran.stderr
    );

    let other = r#"
        [[tests]]
        id = "a"
        input = []
        [providers.q]
        plugin = "files-command.wasm"
        args = ["[]"]
        grants.fs = [{ path = "work/inner/deep", mount = "/deep" }]
        "#;
    let runner = granting(r#"{ path = "work", mount = "/made", mode = "rw" }"#);
    runner.scenario(&format!(
        r#"
        [providers.p]
        plugin = "files-command.wasm"
        args = ["[]"]
        limits = {{ scratch = "1MiB" }}
        grants.fs = [{{ path = "work", mount = "/made", mode = "rw" }}]
        {other}
        "#
    ));
    let ran = start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(2);
    assert!(ran.stderr.contains("provider `q`"), "{}", ran.stderr);
}

#[test]
fn a_writable_folder_around_what_decides_or_records_is_refused() {
    let work = r#"{ path = "work", mount = "/made", mode = "rw" }"#;
    let run = |folders: &str, args: &[&str], what: &str| {
        let runner = granting(folders);
        fs_err::create_dir_all(runner.path("work/inner/results")).unwrap();
        let args = [&["exec", "scenario.toml", "--dry-run"], args].concat();
        let ran = start_in(&runner, "tmp", &args).finish();
        if what.is_empty() {
            ran.expect(0);
            return;
        }
        let ran = ran.expect(2);
        let expected = format!("would let a guest change {what}, `");
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    };
    run(work, &[], "");
    run(work, &["--results", "work/made/later"], "the results root");
    run(work, &["--into", "work/run"], "the results root");
    let inner = r#"{ path = "work/inner", mount = "/made", mode = "rw" }"#;
    run(inner, &["--results", "work"], "the results root");
    run(inner, &["--into", "work/inner"], "the run");
    run(inner, &["--into", "work/run"], "");
    let root = r#"{ path = "work", mount = "/", mode = "rw" }"#;
    run(root, &[], "");
    run(root, &["--results", "work/later"], "the results root");
    let all = r#"{ path = ".", mount = "/", mode = "rw" }"#;
    run(all, &[], "the results root");
    let tmp = r#"{ path = "tmp", mount = "/made", mode = "rw" }"#;
    run(tmp, &[], "the temporary folder");

    // The scenario, or its plugin, is in the folder itself.
    let runner = granting(work);
    let text = fs_err::read_to_string(runner.path("scenario.toml")).unwrap();
    let plugin = fs_err::read(runner.path("files-command.wasm")).unwrap();
    fs_err::write(runner.path("work/files-command.wasm"), plugin).unwrap();
    let inside = text.replace("\"files-command", "\"../files-command");
    let inside = inside.replace("path = \"work\"", "path = \".\"");
    runner.write("work/scenario.toml", &inside);
    let beside = text.replace("\"files-command", "\"work/files-command");
    runner.write("scenario.toml", &beside);
    for (scenario, what) in [
        ("work/scenario.toml", "the scenario"),
        ("scenario.toml", "a plugin"),
    ] {
        let ran = start_in(&runner, "tmp", &["exec", scenario]).finish();
        let expected = format!("would let a guest change {what}, `");
        let ran = ran.expect(2);
        assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    }
}

#[test]
fn a_run_does_not_go_on_with_a_link_in_the_place_of_its_folder() {
    let runner = granting(r#"{ path = "work", mount = "/made", mode = "rw" }"#);
    start_in(&runner, "tmp", &["exec", "scenario.toml"])
        .finish()
        .expect(0);
    fs_err::rename(runner.path("work"), runner.path("moved")).unwrap();
    std::os::unix::fs::symlink("beside", runner.path("work")).unwrap();
    let args = ["resume", "--from", "latest", "--rerun", "all"];
    let ran = start_in(&runner, "tmp", &args).finish().expect(2);
    let expected = "cannot be used any more: it is behind a symbolic link by now";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    assert_eq!(names(&runner.path("beside")), [""; 0]);
}
