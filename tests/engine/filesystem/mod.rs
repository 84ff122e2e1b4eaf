//! What guests find in their file systems, what they may write there, and that they get nowhere else.

mod attached;
mod granted;
mod paths;
mod quota;
mod scratch;

use std::{path::PathBuf, sync::LazyLock};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{
    engine::{Attempt, BENCH, Ended, KIB, Plugin, StdoutForm, output},
    files::names,
    guests::{guest, module},
    wait::wait_until,
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
        wait_until("its folders are gone", || {
            names(&self.path("scratch")).is_empty()
        });
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
