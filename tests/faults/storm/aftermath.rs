//! What must hold once nobody does anything any more.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

use super::{PATIENCE, Storm, fate::Fate, is_free};
use crate::support::{runner::Run, truth::canonical};

/// How many sessions a run may need until it is complete, once the storm is over.
const MOST_SESSIONS: usize = 3;

impl Storm {
    pub(super) fn abate(&self) {
        self.end_all();
        self.run(&["cleanup", "--no-dry-run"], Fate::Ends);
        self.run(&["exec", "scenario.toml", "--json"], Fate::Ends);
        let expected = canonical(&self.of(&self.treasure));
        let runs: Mutex<Vec<_>> = Mutex::new(self.runner.runs());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    loop {
                        let next = runs.lock().unwrap().pop();
                        let Some(run) = next else { break };
                        self.go_on(run.id());
                        self.look_at(run.id());
                        let end = canonical(&run);
                        if let Some(trial) = expected
                            .keys()
                            .find(|trial| end.get(*trial) != expected.get(*trial))
                        {
                            let (row, wanted) = (end.get(trial), &expected[trial]);
                            self.find(format!(
                                "{} has come to another end: {row:?} and not {wanted}",
                                run.id()
                            ));
                        }
                        let verified = self.run(&["verify", run.id()], Fate::Ends);
                        if verified.ran.code != Some(0) {
                            self.find(format!("it is damaged: {verified}"));
                        }
                        if let Some(rows) = self.told.lock().unwrap().get(run.id()) {
                            self.look_for_rows(run.id(), rows);
                        }
                    }
                });
            }
        });
        self.look_for_leftovers();
        let before = self.run(&["list", "--json"], Fate::Ends).ran.stdout;
        self.run(&["reindex"], Fate::Ends);
        if self.run(&["list", "--json"], Fate::Ends).ran.stdout != before {
            self.find("lists differ after a reindex".to_owned());
        }
    }

    fn of(&self, id: &str) -> Run {
        let mut runs = self.runner.runs().into_iter();
        runs.find(|run| run.id() == id).expect("a pinned run stays")
    }

    /// Stops what runs in the background, and waits until nobody works on anything.
    fn end_all(&self) {
        let begun = Instant::now();
        while let Some(run) = self.runner.runs().iter().find(|run| !is_free(&run.dir)) {
            self.run(&["stop", run.id(), "--kill"], Fate::Ends);
            if begun.elapsed() > PATIENCE {
                return self.find(format!("{} never ends", run.id()));
            }
        }
    }

    /// Goes on with a run until it is complete.
    fn go_on(&self, run: &str) {
        for _ in 0..MOST_SESSIONS {
            let args = ["resume", "--from", run, "--force", "--json", "-j", "4"];
            let code = self.run(&args, Fate::Ends).ran.code;
            let manifest = fs_err::read(self.dir(run).join("benchmark.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            if manifest["status"] == "completed" && code == Some(1) {
                return;
            }
        }
        self.find(format!("{run} is never complete"));
    }

    /// Finds files that nobody owns. What might still be somebody's is kept for a while, so it is made old before.
    fn look_for_leftovers(&self) {
        let root = self.runner.path("results");
        let long_ago = SystemTime::now() - Duration::from_secs(3 * 24 * 3600);
        for entry in walkdir::WalkDir::new(&root).contents_first(true) {
            let file = std::fs::File::open(entry.unwrap().path()).unwrap();
            file.set_modified(long_ago).unwrap();
        }
        self.run(&["prune", "--no-dry-run"], Fate::Ends);
        let runs: BTreeSet<_> = self
            .runner
            .runs()
            .iter()
            .map(|run| run.id().to_owned())
            .collect();
        let mut needed = BTreeSet::from([".lock".to_owned()]);
        for run in &runs {
            let manifest = fs_err::read(self.dir(run).join("benchmark.json")).unwrap();
            let manifest: Value = serde_json::from_slice(&manifest).unwrap();
            let content = manifest["content"].as_array().unwrap().iter();
            needed.extend(content.map(|digest| digest.as_str().unwrap().to_owned()));
            let known = [
                "artifacts",
                "benchmark.json",
                "index.jsonl",
                "inflight",
                "lock",
                "runner.log",
                "scenario.toml",
            ];
            self.only(&self.dir(run), |name| {
                known.contains(&name)
                    || name.starts_with("index.torn-")
                    || name.starts_with("logs-")
                    || name == "last-words.json"
            });
        }
        let known = [
            ".lock",
            ".shares",
            "store",
            "runner.db",
            "runner.db-wal",
            "runner.db-shm",
        ];
        self.only(&root, |name| known.contains(&name) || runs.contains(name));
        for entry in walkdir::WalkDir::new(root.join("store")) {
            let entry = entry.unwrap();
            let name = entry.file_name().to_str().unwrap();
            if entry.file_type().is_file() && !needed.contains(name) {
                self.find(format!("nobody needs {}", entry.path().display()));
            }
        }
        self.only(&self.runner.path("tmp"), |_| false);
        for entry in walkdir::WalkDir::new(self.runner.path("cache")) {
            let entry = entry.unwrap();
            if entry.file_name().to_str().unwrap().starts_with(".draft") {
                self.find(format!("nobody needs {}", entry.path().display()));
            }
        }
    }

    /// Finds what is in a folder and has no business there.
    fn only(&self, folder: &Path, is_known: impl Fn(&str) -> bool) {
        let names = fs_err::read_dir(folder).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let odd: Vec<_> = names.filter(|name| !is_known(name)).collect();
        if !odd.is_empty() {
            self.find(format!("nobody owns {odd:?} in {}", folder.display()));
        }
    }
}
