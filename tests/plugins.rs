//! Every way in which a guest can end, every limit, and everything that can go wrong before it starts.

use std::{
    future::Future,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use runner::{
    model::{CheckVerdict, ErrorClass, Limits},
    plugin::{
        AttachmentSource, Call, Ended, Ending, Engine, EngineOptions, Guard, Interrupt, Invocation,
        LinkError, OutputForm, Plugin, PluginFile, Protocol, Reply,
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::guests::guest;

const MIB: u64 = 1024 * 1024;
/// Longer than any of these tests takes on a busy machine.
const LONG: Duration = Duration::from_secs(120);

/// A runtime, an engine and a cache.
struct Bench {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
    folder: TempDir,
}

/// What a test varies of a call.
#[derive(Default)]
struct Case {
    limits: Limits,
    files: Vec<AttachmentSource>,
    invocation: Option<Invocation>,
    timeout: Option<Duration>,
    interrupt: Interrupt,
    attempt: u32,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| Bench::new(|_| {}));
static HOSTILE: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("hostile")).unwrap());
static COMMAND: LazyLock<Plugin> = LazyLock::new(|| BENCH.link(&guest("command")).unwrap());

impl Bench {
    fn new(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = EngineOptions {
            compiler: env!("CARGO_BIN_EXE_runner").into(),
            cache: folder.path().join("cache"),
            compile_timeout: LONG,
        };
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_time()
            .build()
            .unwrap();
        Self {
            engine: Engine::new(options).unwrap(),
            runtime,
            folder,
        }
    }

    fn link(&self, path: &Path) -> Result<Plugin, LinkError> {
        let file = PluginFile::read(path, 64 * MIB).unwrap();
        self.wait(self.engine.link(&file, &Interrupt::default()))
    }

    /// A plugin from WAT.
    fn link_text(&self, text: &str) -> Result<Plugin, LinkError> {
        let file = PluginFile::from_bytes(Path::new("hand.wasm"), wat::parse_str(text).unwrap());
        self.wait(self.engine.link(&file.unwrap(), &Interrupt::default()))
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Case {
    fn run(self, plugin: &Plugin, input: &Value) -> Ended {
        BENCH.wait(self.start(plugin.clone(), input.clone()))
    }

    fn start(self, plugin: Plugin, input: Value) -> impl Future<Output = Ended> + Send + 'static {
        async move {
            let call = Call {
                trial: "a/b@hostile#2",
                test: "a/b",
                provider: "hostile",
                repeat: 2,
                attempt: self.attempt.max(1),
                seed: 42,
                input: input.to_string().into(),
                config: r#"{"unit":"km"}"#.into(),
                tags: ["smoke".to_owned()].into(),
                files: self.files.into(),
                invocation: self.invocation,
                limits: self.limits,
            };
            let deadline = Instant::now() + self.timeout.unwrap_or(LONG);
            plugin
                .run(
                    call,
                    &Guard {
                        deadline,
                        interrupt: self.interrupt,
                    },
                )
                .await
        }
    }
}

fn limits(change: impl FnOnce(&mut Limits)) -> Case {
    let mut case = Case::default();
    change(&mut case.limits);
    case
}

fn hostile(input: Value) -> Ended {
    Case::default().run(&HOSTILE, &input)
}

#[track_caller]
fn reply(ended: Ended) -> Reply {
    match ended.ending {
        Ending::Reply(reply) => reply,
        other => panic!("no reply: {other:?}\n{}", ended.stderr),
    }
}

/// The class, code and message of an error.
#[track_caller]
fn error(ended: Ended) -> (ErrorClass, String, String) {
    match ended.ending {
        Ending::Error(error) => (error.class.unwrap(), error.code, error.message),
        other => panic!("no error: {other:?}"),
    }
}

#[track_caller]
fn assert_error(ended: Ended, class: ErrorClass, code: &str, message: &str) {
    assert_eq!(error(ended), (class, code.to_owned(), message.to_owned()));
}

#[test]
fn a_component_gets_the_whole_test_and_its_reply_comes_back() {
    let ended = hostile(json!({"do": "test"}));
    assert!(ended.duration > Duration::ZERO);
    assert!(ended.usage.peak_memory >= MIB, "{:?}", ended.usage);
    assert_eq!(
        reply(ended).output,
        json!({
            "trial": "a/b@hostile#2", "test": "a/b", "provider": "hostile", "repeat": 2, "attempt": 1, "seed": 42,
            "input": {"do": "test"}, "config": {"unit": "km"}, "tags": ["smoke"],
        })
    );
}
