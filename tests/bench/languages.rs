//! What a fresh sandbox for each trial costs in each language: the templates of `runner plugin new`, built with the real
//! tools, against a process of the same language for each trial.
//!
//! The tools are looked for in `target/tools`, where CI installs them, and on the search path.

use std::{
    env,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    bare::{Bare, Sandboxes},
    lists,
    table::{Bench, figure, median, millis, title},
};

/// What a trial may take with a warm cache, in milliseconds.
const BOUND: f64 = 3.0;

/// A language, how its template is called, and the process that people start today.
struct Subject {
    language: &'static str,
    /// What its provider's table has beside the plugin.
    keys: &'static str,
    process: &'static [&'static str],
}

const SUBJECTS: [Subject; 5] = [
    Subject {
        language: "rust",
        keys: "",
        process: &["/bin/true"],
    },
    Subject {
        language: "python",
        keys: "",
        process: &["python3", "-c", "pass"],
    },
    Subject {
        language: "javascript",
        keys: "",
        process: &["node", "-e", ""],
    },
    Subject {
        language: "c",
        keys: "protocol = 'json'",
        process: &["/bin/true"],
    },
    Subject {
        language: "go",
        keys: "protocol = 'json'",
        process: &["/bin/true"],
    },
];

/// Measures each language that can be built; one that cannot is a bound that was missed.
pub(crate) fn languages(bench: &mut Bench) {
    title("a trial in a fresh sandbox at -j 1, plugin in the cache, against a process for each");
    let trials = bench.pick(500, 100);
    let rounds = bench.pick(7, 3);
    for subject in SUBJECTS {
        let language = subject.language;
        if let Err(problem) = subject.build(bench) {
            // What nobody has measured holds no bound.
            bench.bounded(
                &format!("runner exec, {language}"),
                f64::INFINITY,
                "ms",
                BOUND,
            );
            println!("  it could not be measured:\n{problem}");
            continue;
        }
        for tests in [1, trials + 1] {
            subject.write(bench, tests);
        }
        // Compiles it, and warms up.
        subject.time(bench, 1);
        let bare = subject.bare(bench);
        let mut loops = Vec::new();
        let mut pairs = Vec::new();
        for _ in 0..rounds {
            if let Some(bare) = &bare {
                loops.push(millis(bare.run_with((0..trials).map(input))) / trials as f64);
            }
            let start = subject.time(bench, 1);
            let whole = subject.time(bench, trials + 1);
            let trial = millis(whole.saturating_sub(start)) / trials as f64;
            pairs.push((trial, subject.spawn().map(millis)));
        }
        let trial = median(pairs.iter().map(|(trial, _)| *trial));
        bench.bounded(&format!("runner exec, {language}"), trial, "ms", BOUND);

        if !loops.is_empty() {
            let each = median(loops.into_iter());
            figure(&format!("bare loop, pooled, {language}"), each, "ms");
            let name = format!("{language} against the bare loop");
            bench.ratio(&name, trial / each, None);
        }
        let name = subject.process.join(" ");
        let spawned: Option<Vec<f64>> = pairs.iter().map(|(_, spawned)| *spawned).collect();
        match spawned.map(|spawned| median(spawned.into_iter())) {
            Some(spawned) => {
                figure(&name, spawned, "ms");
                figure("  against the runner", spawned / trial, "times");
            }
            None => println!("  {name:<42} is not installed"),
        }
    }
}

impl Subject {
    /// Makes the plugin from its template; what went wrong is told as the program tells it.
    fn build(&self, bench: &Bench) -> Result<(), String> {
        let folder = self.folder();
        let new = ["plugin", "new", &folder, "--lang", self.language];
        run(&mut bench.lists.program(&new))?;
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools");
        for (installed, link) in [
            ("javascript/node_modules", "node_modules"),
            ("python", ".venv"),
        ] {
            let installed = tools.join(installed);
            if installed.exists() {
                symlink(installed, bench.lists.path(&folder).join(link))
                    .map_err(|error| error.to_string())?;
            }
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = [tools.join("python/bin"), tools.join("go/bin")];
        let folders = folders.into_iter().chain(env::split_paths(&path));
        let path = env::join_paths(folders).map_err(|error| error.to_string())?;
        let build = ["plugin", "build", &folder];
        run(bench.lists.program(&build).env("PATH", path))
    }

    /// Writes a scenario with so many tests.
    fn write(&self, bench: &Bench, tests: u64) {
        let test = |number: u64| {
            format!(r#"{{"id":"test-{number:04}","input":{}}}"#, input(number)) + "\n"
        };
        let list: String = (0..tests).map(test).collect();
        let list_file = format!("{}-{tests}.jsonl", self.language);
        let scenario = format!(
            "test_lists = [{{ files = ['{list_file}'] }}]\n[providers.it]\nplugin = '{}/dist/plugin.wasm'\n{}\n",
            self.folder(),
            self.keys
        );
        let write = |path: PathBuf, text: String| {
            fs_err::write(path, text).expect("the folder can be written");
        };
        write(bench.lists.path(&list_file), list);
        write(self.scenario(bench, tests), scenario);
    }

    /// A loop that only calls the plugin, if that is a component.
    fn bare(&self, bench: &Bench) -> Option<Bare> {
        let plugin = bench.lists.path(&self.folder()).join("dist/plugin.wasm");
        let load = || Bare::load(&plugin, Sandboxes::Pooled).expect("what runs can be loaded");
        self.keys.is_empty().then(load)
    }

    /// How long a run of so many tests takes.
    fn time(&self, bench: &Bench, tests: u64) -> Duration {
        let scenario = self.scenario(bench, tests);
        let results = bench.lists.path("results");
        let mut command = bench.lists.program(&["exec", "--quiet", "--jobs", "1"]);
        let took = lists::time(command.arg("--results").arg(&results).arg(scenario));
        fs_err::remove_dir_all(results).expect("results can go");
        took
    }

    /// How long the process takes that people start today; `None` where it is not installed.
    fn spawn(&self) -> Option<Duration> {
        let mut command = Command::new(self.process[0]);
        command.args(&self.process[1..]);
        command.output().ok()?;
        Some(lists::time(&mut command))
    }

    /// Its name is the plugin's, and not every language can have one of its own.
    fn folder(&self) -> String {
        format!("trial-{}", self.language)
    }

    fn scenario(&self, bench: &Bench, tests: u64) -> PathBuf {
        bench.lists.path(&format!("{}-{tests}.toml", self.language))
    }
}

/// The input of a test, as JSON.
fn input(number: u64) -> String {
    format!(r#"{{"text":"number {number}"}}"#)
}

fn run(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|error| error.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).trim().to_owned()),
    }
}
