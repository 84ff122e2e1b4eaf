//! Plugins without the program around them: what the engine in this process makes of a file, and of a call.
//!
//! A [`Bench`] has an engine with a cache of its own and two threads for guests. An [`Attempt`] is one call, in which a
//! test names what it is about; the rest is as permissive as limits are by default, and grants nothing.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
    time::Duration,
};

pub(crate) use runner::{
    model::Artifact,
    plugin::{CommandProtocol, Ended, Interrupt, LinkError, Plugin, PluginFile, Reply, StdoutForm},
};
use runner::{
    model::{AttemptError, ErrorClass, Limits, NetGrant},
    plugin::{
        Access, Activity, AttachmentSource, Call, Description, Ending, Engine, EngineOptions,
        Guard, Invocation, Moment, Mount, Network, PluginFileError, SandboxPool, Secrets,
    },
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};

pub(crate) const KIB: u64 = 1024;
pub(crate) const MIB: u64 = 1024 * KIB;
/// Longer than any of these tests takes on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(120);

/// What tests share who ask nothing special of an engine.
pub(crate) static BENCH: LazyLock<Bench> = LazyLock::new(Bench::new);

/// A runtime, an engine and its cache.
pub(crate) struct Bench {
    engine: Engine,
    runtime: Runtime,
    folder: TempDir,
}

/// What a test varies of a call.
pub(crate) struct Attempt {
    pub(crate) access: Access,
    pub(crate) limits: Limits,
    pub(crate) timeout: Duration,
    pub(crate) interrupt: Interrupt,
    number: u32,
    config: &'static str,
    env: Vec<(String, String)>,
    files: Vec<AttachmentSource>,
    /// Of a plain command, in which `{{input}}` stands for the input, and how its output is read.
    plain: Option<(Vec<String>, StdoutForm)>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut EngineOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = EngineOptions {
            compiler: env!("CARGO_BIN_EXE_runner").into(),
            cache: folder.path().join("cache"),
            compile_timeout: LONG,
            // As many as tests that run at a time.
            pool: (std::env::var_os("RUNNER_POOL").as_deref() != Some("off".as_ref()))
                .then(|| SandboxPool::of_any(64, 2)),
        };
        change(&mut options);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        Self {
            engine: Engine::new(options).unwrap(),
            runtime,
            folder,
        }
    }

    /// Where compiled plugins are kept, unless the test has named another place.
    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    pub(crate) fn link(&self, path: &Path) -> Result<Plugin, LinkError> {
        let file = PluginFile::read(path, 64 * MIB).unwrap();
        self.wait(self.start_linking(&file, &Interrupt::default()))
    }

    /// A plugin from WAT, in a file that is said to be `hand.wasm`.
    pub(crate) fn link_text(&self, text: &str) -> Result<Plugin, LinkError> {
        let file = file_of_text(text).unwrap();
        self.wait(self.start_linking(&file, &Interrupt::default()))
    }

    pub(crate) async fn start_linking(
        &self,
        file: &PluginFile,
        interrupt: &Interrupt,
    ) -> Result<Plugin, LinkError> {
        self.engine.link(file, interrupt).await
    }

    /// Asks a plugin what it is.
    pub(crate) fn describe(
        &self,
        plugin: &Plugin,
        protocol: CommandProtocol,
        timeout: Duration,
        interrupt: &Interrupt,
    ) -> Result<Option<Description>, AttemptError> {
        let guard = Guard {
            deadline: Moment::now() + timeout,
            interrupt: interrupt.clone(),
            memory: None,
            activity: Activity::default(),
        };
        self.wait(plugin.describe(protocol, &Limits::default(), &guard))
    }

    /// Begins an attempt, on one of the bench's threads.
    pub(crate) fn spawn(
        &self,
        attempt: Attempt,
        plugin: &Plugin,
        input: Value,
    ) -> JoinHandle<Ended> {
        let plugin = plugin.clone();
        let attempt = async move { attempt.start(&plugin, &input).await };
        self.runtime.spawn(attempt)
    }

    pub(crate) fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }
}

impl Attempt {
    pub(crate) fn new() -> Self {
        Self {
            access: Access::default(),
            limits: Limits::default(),
            timeout: LONG,
            interrupt: Interrupt::default(),
            number: 1,
            config: "{}",
            env: Vec::new(),
            files: Vec::new(),
            plain: None,
        }
    }

    /// Calls a command by its arguments, in which `{{input}}` stands for the input.
    pub(crate) fn of_command(args: &[&str], output: StdoutForm) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self {
            plain: Some((args, output)),
            ..Self::new()
        }
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    pub(crate) fn interrupted_by(mut self, interrupt: &Interrupt) -> Self {
        self.interrupt = interrupt.clone();
        self
    }

    /// Which attempt of its trial this is.
    pub(crate) fn number(mut self, number: u32) -> Self {
        self.number = number;
        self
    }

    pub(crate) fn config(mut self, config: &'static str) -> Self {
        self.config = config;
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn attachment(mut self, name: &str, media_type: &str, path: &Path) -> Self {
        self.files.push(AttachmentSource {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            size: fs_err::metadata(path).unwrap().len(),
            path: path.to_owned(),
        });
        self
    }

    /// Makes a folder of the host one of the guest's.
    pub(crate) fn mount(mut self, host: &Path, guest: &str, is_writable: bool) -> Self {
        let mount = Mount::find(host, guest, is_writable).unwrap();
        self.access.mounts.push(mount);
        self
    }

    pub(crate) fn net(mut self, grants: &[&str]) -> Self {
        let grants = grants.iter().map(|grant| NetGrant::parse(grant).unwrap());
        self.access.net = Network::new(grants.collect());
        self
    }

    pub(crate) fn secret(mut self, name: &str, value: &str) -> Self {
        let secret = (name.to_owned(), value.to_owned());
        self.access.secrets = Arc::new(Secrets::new([secret].into()));
        self
    }

    /// Makes the attempt with the bench that tests share.
    pub(crate) fn run(&self, plugin: &Plugin, input: &Value) -> Ended {
        BENCH.wait(self.start(plugin, input))
    }

    pub(crate) async fn start(&self, plugin: &Plugin, input: &Value) -> Ended {
        let input = input.to_string();
        let invocation = self.plain.as_ref().map(|(args, output)| Invocation {
            args: args
                .iter()
                .map(|arg| arg.replace("{{input}}", &input))
                .collect(),
            stdin: b"given\n".to_vec(),
            output: *output,
        });
        let call = Call {
            trial: "a/b@guest#2",
            test: "a/b",
            provider: "guest",
            repeat: 2,
            attempt: self.number,
            seed: 42,
            input: input.into(),
            config: self.config.into(),
            tags: ["smoke".to_owned()].into(),
            files: self.files.clone().into(),
            invocation,
            limits: self.limits,
            access: &self.access,
            env: self.env.clone(),
            listener: None,
        };
        let guard = Guard {
            deadline: Moment::now() + self.timeout,
            interrupt: self.interrupt.clone(),
            memory: None,
            activity: Activity::default(),
        };
        plugin.run(call, &guard).await
    }
}

/// What is seen of a file before it is linked.
pub(crate) fn file_of_text(text: &str) -> Result<PluginFile, PluginFileError> {
    PluginFile::from_bytes(Path::new("hand.wasm"), wat::parse_str(text).unwrap())
}

#[track_caller]
pub(crate) fn reply(ended: Ended) -> Reply {
    match ended.ending {
        Ending::Reply(reply) => reply,
        other => panic!("no reply: {other:?}\n{}", ended.stderr),
    }
}

#[track_caller]
pub(crate) fn output(ended: Ended) -> Value {
    reply(ended).output
}

#[track_caller]
pub(crate) fn error(ended: Ended) -> AttemptError {
    match ended.ending {
        Ending::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn assert_error(ended: Ended, class: ErrorClass, code: &str, message: &str) {
    let error = error(ended);
    assert_eq!(
        (error.class, error.code.as_str(), error.message.as_str()),
        (Some(class), code, message)
    );
}

#[track_caller]
pub(crate) fn assert_timed_out(ended: &Ended, what: &str) {
    let ending = &ended.ending;
    assert!(matches!(ending, Ending::Timeout), "{what}: {ending:?}");
}

#[track_caller]
pub(crate) fn assert_stopped(ended: &Ended, what: &str) {
    let ending = &ended.ending;
    assert!(matches!(ending, Ending::Stopped), "{what}: {ending:?}");
}

/// What the host itself logged.
pub(crate) fn warnings(ended: &Ended) -> Vec<&str> {
    let warnings = ended.log.iter().filter(|record| record.level == "warn");
    warnings.map(|record| record.message.as_str()).collect()
}

/// What the guest wanted to do that it was not granted.
pub(crate) fn denied(ended: &Ended) -> Vec<&str> {
    let denied = ended.denied.iter();
    denied.map(|denied| denied.what.as_str()).collect()
}

/// What an artifact holds.
pub(crate) fn content(artifact: &Artifact) -> Vec<u8> {
    let mut bytes = Vec::new();
    artifact.content.write_to(&mut bytes).unwrap();
    bytes
}
