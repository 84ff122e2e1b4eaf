//! A test bench for guests, with a cache, engines and a runtime.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, Limits, cache::CodeForm, digest, provider::OutputForm, provider::Protocol,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    Access, Activity, Call, CommandCall, Ended, Ending, Engines, LoadError, Plugin, compile,
};

/// Guests that are built when tests need them.
#[allow(dead_code, reason = "the tests of the program use more of it")]
#[path = "../../../../tests/support/guests.rs"]
pub(crate) mod guests;

pub(crate) struct Bench {
    pub(crate) cache: TempDir,
    pub(crate) engines: Engines,
    pub(crate) runtime: Runtime,
    pub(crate) limits: Limits,
    pub(crate) access: Access,
    pub(crate) activity: Activity,
    pub(crate) timeout: Duration,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            cache: tempfile::tempdir().unwrap(),
            engines: Engines::new(2, u64::MAX),
            runtime: runtime.enable_all().build().unwrap(),
            limits: Limits::default(),
            access: Access::default(),
            activity: Activity::default(),
            // Floods of files take a minute on a slow machine.
            timeout: Duration::from_secs(600),
        }
    }

    /// Writes an entry of the cache under a new name, as the program does: code that is loaded reads from the file of its
    /// entry, and the process would die of SIGBUS if that became shorter for a moment.
    pub(crate) fn keep(&self, digest: &Digest, entry: &[u8]) {
        self.keep_as(digest, CodeForm::Optimized, entry);
    }

    fn keep_as(&self, digest: &Digest, form: CodeForm, entry: &[u8]) {
        let part = self.cache.path().join("part");
        fs::write(&part, entry).unwrap();
        let name = form.entry_name(digest, &Engines::compile_key());
        fs::rename(part, self.cache.path().join(name)).unwrap();
    }

    /// Compiles a plugin into the cache, and loads it.
    pub(crate) fn load(&self, wasm: &[u8]) -> Result<Plugin, LoadError> {
        self.load_as(wasm, CodeForm::Optimized)
    }

    pub(crate) fn load_as(&self, wasm: &[u8], form: CodeForm) -> Result<Plugin, LoadError> {
        let digest = digest(wasm);
        self.keep_as(&digest, form, &compile(wasm, form).unwrap());
        let loaded = self.engines.load(self.cache.path(), &digest, form, self.limits.stack);
        loaded.map(Option::unwrap)
    }

    /// Loads a built guest. Each is compiled once per process.
    pub(crate) fn guest(&self, path: &Path) -> Plugin {
        static COMPILED: Mutex<BTreeMap<PathBuf, (Digest, Vec<u8>)>> = Mutex::new(BTreeMap::new());
        let mut compiled = COMPILED.lock().unwrap();
        let (digest, entry) = compiled.entry(path.to_owned()).or_insert_with(|| {
            let wasm = fs::read(path).unwrap();
            (digest(&wasm), compile(&wasm, CodeForm::Optimized).unwrap())
        });
        self.keep(digest, entry);
        self.engines
            .load(self.cache.path(), digest, CodeForm::Optimized, self.limits.stack)
            .unwrap()
            .unwrap()
    }

    pub(crate) fn text(&self, text: &str) -> Plugin {
        self.load(&wat::parse_str(text).unwrap()).unwrap()
    }

    pub(crate) fn bundled(&self, name: &str) -> Plugin {
        self.load(&bundled(name)).unwrap()
    }

    pub(crate) fn call<'a>(&'a self, input: &'a str) -> Call<'a> {
        Call {
            trial: "test@provider#1",
            test: "test",
            provider: "provider",
            repeat: 1,
            attempt: 1,
            seed: 0,
            random: None,
            input,
            config: "{}",
            tags: &[],
            files: &[],
            env: &[],
            access: &self.access,
            activity: &self.activity,
            command: None,
            limits: &self.limits,
            timeout: self.timeout.into(),
            deterministic: None,
            workspace: None,
            journal: None,
            records: None,
            tools: None,
            inside: None,
        }
    }

    pub(crate) fn run(&self, plugin: &Plugin, input: &str) -> Ended {
        self.runtime.block_on(plugin.run(&mut None, self.call(input)))
    }

    /// Runs a plain command.
    pub(crate) fn plain(&self, plugin: &Plugin, output: OutputForm) -> Ended {
        self.runtime.block_on(plugin.run(&mut None, self.plain_call(output)))
    }

    pub(crate) fn plain_call(&self, output: OutputForm) -> Call<'_> {
        let command = CommandCall {
            program: "program.wasm".to_owned(),
            args: vec!["a".to_owned(), "b".to_owned()],
            stdin: Some(b"in".to_vec()),
            protocol: Protocol::Plain,
            output,
        };
        Call { command: Some(command), ..self.call("{}") }
    }
}

/// Waits until the private folders of attempts are removed, which may continue in the background.
#[track_caller]
pub(crate) fn wait_for_removal(scratch: &Path) {
    let began = Instant::now();
    while fs::read_dir(scratch).unwrap().count() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the folders of attempts stay");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs in a fresh sandbox.
pub(crate) async fn run_fresh(plugin: &Plugin, call: Call<'_>) -> Ended {
    plugin.run(&mut None, call).await
}

pub(crate) fn bundled(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read(root.join(format!("plugins/bundled/{name}.wasm"))).unwrap()
}

/// Returns the output of a reply.
#[track_caller]
pub(crate) fn output(ended: &Ended) -> &str {
    match &ended.ending {
        Ending::Reply(reply) => reply.output.get(),
        other => panic!("{other:?}"),
    }
}

/// Returns class, code and message of an error.
#[track_caller]
pub(crate) fn error(ended: &Ended) -> (&str, &str, &str) {
    match &ended.ending {
        Ending::Error(error) => {
            (error.class.map_or("-", |class| class.as_str()), &error.code, &error.message)
        }
        other => panic!("{other:?}"),
    }
}
