//! What guests find in their file systems, what they may write there, and that they get nowhere else.

use std::{
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant},
};

use runner::{
    model::{AttemptError, ErrorClass, Limits},
    plugin::{
        Access, AttachmentSource, Call, Ended, Ending, Engine, EngineOptions, Guard, Interrupt,
        Invocation, Mount, OutputForm, Plugin, PluginFile, Reply,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guests::{guest, module};

const KIB: u64 = 1024;
/// Longer than any of these tests takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);
/// What a new file, folder or link costs.
const ENTRY: u64 = 4 * KIB;

/// A runtime and an engine.
struct Bench {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    _folder: TempDir,
}

/// The same guest as a component and as commands, built for preview 1 and for WASI 0.2.
struct Guests {
    component: Plugin,
    program: Plugin,
    module: Plugin,
}

static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);
static GUESTS: LazyLock<Guests> = LazyLock::new(|| Guests {
    component: BENCH.link(&guest("files")),
    program: BENCH.link(&guest("files-command")),
    module: BENCH.link(&module("files-command")),
});

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = EngineOptions {
            compiler: env!("CARGO_BIN_EXE_runner").into(),
            cache: folder.path().join("cache"),
            compile_timeout: LONG,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            engine: Engine::new(options).unwrap(),
            runtime,
            _folder: folder,
        }
    }

    fn link(&self, path: &Path) -> Plugin {
        self.link_file(&PluginFile::read(path, u64::MAX).unwrap())
    }

    fn link_text(&self, text: &str) -> Plugin {
        let bytes = wat::parse_str(text).unwrap();
        self.link_file(&PluginFile::from_bytes(Path::new("hand.wasm"), bytes).unwrap())
    }

    fn link_file(&self, file: &PluginFile) -> Plugin {
        let never = Interrupt::default();
        let linked = self.engine.link(file, &never);
        self.runtime.block_on(linked).unwrap()
    }
}

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
    access: Access,
    limits: Limits,
    env: Vec<(String, String)>,
    files: Vec<AttachmentSource>,
    timeout: Duration,
    interrupt: Interrupt,
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
        let access = Access {
            scratch_root: folder.path().join("scratch"),
            ..Access::default()
        };
        Self {
            folder,
            access,
            limits: Limits::default(),
            env: Vec::new(),
            files: Vec::new(),
            timeout: LONG,
            interrupt: Interrupt::default(),
        }
    }

    fn mount(mut self, name: &str, guest: &str, is_writable: bool) -> Self {
        self.access.mounts.push(Mount {
            host: self.path(name),
            guest: guest.to_owned(),
            is_writable,
        });
        self
    }

    fn scratch(mut self, bytes: u64) -> Self {
        self.limits.scratch = bytes;
        self
    }

    fn attach(&mut self, name: &str, content: &str) -> PathBuf {
        let path = self.path(&format!("blob-{name}"));
        fs_err::write(&path, content).unwrap();
        self.files.push(AttachmentSource {
            name: name.to_owned(),
            media_type: "text/plain".to_owned(),
            size: content.len() as u64,
            path: path.clone(),
        });
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Runs an attempt; whatever it does, what was made for it is gone afterwards.
    #[track_caller]
    fn run(&self, plugin: &Plugin, acts: &Value) -> Ended {
        let ended = BENCH.runtime.block_on(self.start(plugin, acts));
        assert_eq!(names(&self.path("scratch")), [""; 0], "{ended:?}");
        ended
    }

    async fn start(&self, plugin: &Plugin, acts: &Value) -> Ended {
        let call = Call {
            trial: "a@files#1",
            test: "a",
            provider: "files",
            repeat: 1,
            attempt: 1,
            seed: 42,
            input: acts.to_string().into(),
            config: "{}".into(),
            tags: [].into(),
            files: self.files.clone().into(),
            invocation: Some(Invocation {
                args: vec![acts.to_string()],
                stdin: Vec::new(),
                output: OutputForm::Json,
            }),
            limits: self.limits,
            access: &self.access,
            env: self.env.clone(),
        };
        let guard = Guard {
            deadline: Instant::now() + self.timeout,
            interrupt: self.interrupt.clone(),
        };
        plugin.run(call, &guard).await
    }

    /// What every kind of guest sees of its acts.
    #[track_caller]
    fn assert_all(&self, acts: &Value, expected: &Value) {
        for (kind, plugin) in GUESTS.all() {
            assert_eq!(&results(self.run(plugin, acts)), expected, "{kind}");
        }
    }

    /// Runs acts of which none may work, and asserts that nothing has changed outside.
    #[track_caller]
    fn assert_all_fail(&self, acts: &Value) {
        let before = self.everything();
        for (kind, plugin) in GUESTS.all() {
            let results = results(self.run(plugin, acts));
            for (act, result) in acts.as_array().unwrap().iter().zip(results.as_array().unwrap()) {
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
        entries.into_iter().map(|entry| look(entry.unwrap())).collect()
    }
}

#[track_caller]
fn results(ended: Ended) -> Value {
    reply(ended).output
}

#[track_caller]
fn reply(ended: Ended) -> Reply {
    match ended.ending {
        Ending::Reply(reply) => reply,
        other => panic!("no reply: {other:?}\n{}", ended.stderr),
    }
}

#[track_caller]
fn error(ended: Ended) -> AttemptError {
    match ended.ending {
        Ending::Error(error) => error,
        other => panic!("no error: {other:?}"),
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

/// What the host itself logged.
fn warnings(ended: &Ended) -> Vec<&str> {
    let warnings = ended.log.iter().filter(|record| record.level == "warn");
    warnings.map(|record| record.message.as_str()).collect()
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
    let world = World {
        env: vec![
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ],
        ..World::new()
    };
    let expected = json!([{"ok": {"EMPTY": "", "LANG": "C.UTF-8"}}]);
    world.assert_all(&json!([["env"]]), &expected);
}

#[test]
fn a_granted_folder_is_read_and_not_changed() {
    let world = World::new().mount("open", "/data", false).scratch(KIB * KIB);
    world.assert_all(
        &json!([["read", "/data/file"], ["list", "/data"], ["size", "/data/file"]]),
        &json!([{"ok": "content"}, {"ok": ["file", "sub"]}, {"ok": 7}]),
    );
    world.assert_all_fail(&json!([
        ["write", "/data/file", "changed"],
        ["write", "/data/new", ""],
        ["append", "/data/file", "more"],
        ["write-at", "/data/file", 0, "x"],
        ["pwrite", "/data/file", "x", 0],
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
        let results = results(ended);
        assert_eq!(results[6], json!({"ok": "changed twice"}), "{kind}");
        let results = results.as_array().unwrap();
        assert!(results.iter().all(|result| result.get("err").is_none()), "{kind}: {results:?}");
        assert_eq!(world.read("open/new/file"), "changed twice");
        assert_eq!(names(&world.path("open")), ["hard", "new", "soft"]);
    }
}
