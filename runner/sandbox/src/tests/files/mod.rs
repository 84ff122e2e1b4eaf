//! Files of guests: what they find, what they may write, and that no path leads out.

mod attached;
mod granted;
mod paths;
mod quota;
mod scratch;
mod workspace;

use std::{
    fs::{self, FileType},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use runner_model::{
    Digest,
    cache::CodeForm,
    digest,
    grants::FsMode,
    log::Level,
    provider::{MountedFolder, OutputForm, PluginKind, Protocol},
    row::RowError,
};
use serde_json::Value;
use tempfile::TempDir;

use super::support::{Bench, guests, wait_for_removal};
use crate::{AttachedFile, Call, CommandCall, Ended, Ending, Plugin, Reply, compile};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
/// Cost of a new file, folder or link.
const ENTRY: u64 = 4 * KIB;

/// The same guest as a component, and as commands for WASI 0.2 and preview 1, compiled.
static COMPILED: LazyLock<[(Digest, Vec<u8>); 3]> = LazyLock::new(|| {
    let [module, program] = guests::programs("files-command");
    [guests::component("files"), program, module].map(|file| {
        let wasm = fs::read(file).unwrap();
        (digest(&wasm), compile(&wasm, CodeForm::Optimized).unwrap())
    })
});

/// Folders of the host, and the grants of an attempt.
struct World {
    folder: TempDir,
    bench: Bench,
    /// `component`, `program` and `module`.
    guests: [Plugin; 3],
    attached: Vec<AttachedFile>,
}

impl World {
    /// Creates a folder `open` with a file, next to it a folder `secret` with another one, and a
    /// parent for scratch folders.
    fn new() -> Self {
        // Some disks take milliseconds to remove a folder.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let folder = folder.unwrap();
        for name in ["open", "open/sub", "secret", "scratch"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("open/file"), "content").unwrap();
        fs::write(folder.path().join("secret/file"), "secret").unwrap();
        let mut bench = Bench::new();
        bench.access.scratch = folder.path().join("scratch");
        let guests = COMPILED.each_ref().map(|(digest, compiled)| {
            bench.keep(digest, compiled);
            bench
                .engines
                .load(bench.cache.path(), digest, CodeForm::Optimized, bench.limits.stack)
                .unwrap()
                .unwrap()
        });
        Self { folder, bench, guests, attached: Vec::new() }
    }

    fn mount(mut self, name: &str, guest: &str, mode: FsMode) -> Self {
        let host = self.path(name);
        let found = fs::metadata(&host).unwrap();
        self.bench.access.mounts.push(MountedFolder {
            host: host.to_str().unwrap().to_owned(),
            guest: guest.to_owned(),
            mode,
            device: found.dev(),
            inode: found.ino(),
            content: None,
        });
        self
    }

    fn scratch(mut self, bytes: u64) -> Self {
        self.bench.limits.scratch = bytes;
        self
    }

    /// Attaches a file. On the host it is `blob-NAME`.
    fn attach(mut self, name: &str, content: &str) -> Self {
        let path = self.path(&format!("blob-{name}"));
        fs::write(&path, content).unwrap();
        self.attached.push(AttachedFile {
            name: name.to_owned(),
            bytes: content.len() as u64,
            path,
        });
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.folder.path()).unwrap().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn component(&self) -> &Plugin {
        &self.guests[0]
    }

    fn commands(&self) -> [(&'static str, &Plugin); 2] {
        [("program", &self.guests[1]), ("module", &self.guests[2])]
    }

    fn all(&self) -> [(&'static str, &Plugin); 3] {
        let [program, module] = self.commands();
        [("component", self.component()), program, module]
    }

    /// Returns a call with acts, which a component gets as its input and a command as its argument.
    fn call<'a>(&'a self, plugin: &Plugin, acts: &'a str) -> Call<'a> {
        let command = CommandCall {
            program: "program.wasm".to_owned(),
            args: vec![acts.to_owned()],
            stdin: None,
            protocol: Protocol::Plain,
            output: OutputForm::Json,
        };
        Call {
            files: &self.attached,
            command: (plugin.kind() == PluginKind::Command).then_some(command),
            ..self.bench.call(acts)
        }
    }

    async fn start(&self, plugin: &Plugin, acts: &str) -> Ended {
        plugin.run(&mut None, self.call(plugin, acts)).await
    }

    /// Runs an attempt, and asserts that its private folder is removed.
    #[track_caller]
    fn run(&self, plugin: &Plugin, acts: &Value) -> Ended {
        let acts = acts.to_string();
        let ended = self.bench.runtime.block_on(self.start(plugin, &acts));
        wait_for_removal(&self.path("scratch"));
        ended
    }

    /// Asserts that every kind of guest gets these results of its acts.
    #[track_caller]
    fn assert_all(&self, acts: &Value, expected: &Value) {
        for (kind, plugin) in self.all() {
            assert_eq!(&output(self.run(plugin, acts)), expected, "{kind}");
        }
    }

    /// Runs acts that must all fail, and asserts that nothing outside has changed.
    #[track_caller]
    fn assert_all_fail(&self, acts: &Value) {
        let before = self.everything();
        for (kind, plugin) in self.all() {
            let results = output(self.run(plugin, acts));
            let acts = acts.as_array().unwrap();
            for (act, result) in acts.iter().zip(results.as_array().unwrap()) {
                assert!(result["err"].is_string(), "{kind}: {act} gave {result}");
            }
            assert_eq!(self.everything(), before, "{kind}");
        }
    }

    /// Returns every path of this world, with its content.
    fn everything(&self) -> Vec<(PathBuf, String)> {
        let mut all = Vec::new();
        let mut folders = vec![self.folder.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind: FileType = entry.file_type().unwrap();
                let content = match kind {
                    kind if kind.is_file() => fs::read_to_string(entry.path()).unwrap(),
                    kind => format!("{kind:?}"),
                };
                if kind.is_dir() {
                    folders.push(entry.path());
                }
                all.push((entry.path(), content));
            }
        }
        all.sort();
        all
    }
}

/// Returns the names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[track_caller]
fn reply(ended: Ended) -> Reply {
    match ended.ending {
        Ending::Reply(reply) => *reply,
        other => panic!("no reply: {other:?}\n{}", ended.said.stderr),
    }
}

#[track_caller]
fn output(ended: Ended) -> Value {
    serde_json::from_str(reply(ended).output.get()).unwrap()
}

#[track_caller]
fn error(ended: Ended) -> RowError<'static> {
    match ended.ending {
        Ending::Error(error) => error,
        other => panic!("no error: {other:?}"),
    }
}

/// Returns the denied requests.
fn denied(ended: &Ended) -> Vec<&str> {
    ended.denied.iter().map(|denied| &*denied.what).collect()
}

fn warnings(ended: &Ended) -> Vec<&str> {
    let log = ended.said.log.iter();
    let warnings = log.filter(|record| record.level == Level::Warn);
    warnings.map(|record| &*record.message).collect()
}
