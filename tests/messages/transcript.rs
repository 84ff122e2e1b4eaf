//! [`Transcript`]: commands with their whole output, as a snapshot. `./update` accepts changes.

use std::{fs, panic::Location, path::Path, sync::LazyLock};

use regex::Regex;

use crate::support::{guests::root, runner::Runner, running::Finished};

/// Commands and their output, in order.
#[derive(Default)]
pub(crate) struct Transcript(String);

impl Transcript {
    /// Runs a command.
    pub(crate) fn run(&mut self, runner: &Runner, args: &[&str]) -> Finished {
        let finished = runner.run(args);
        self.add(&args.join(" "), &finished);
        finished
    }

    /// Runs a command line without quotes.
    pub(crate) fn line(&mut self, runner: &Runner, line: &str) -> Finished {
        self.run(runner, &line.split(' ').collect::<Vec<_>>())
    }

    /// Runs `exec scenario.toml`.
    pub(crate) fn exec(&mut self, runner: &Runner, args: &[&str]) -> Finished {
        self.run(runner, &[&["exec", "scenario.toml"], args].concat())
    }

    /// Runs the scenario, which is refused before there is a run.
    #[track_caller]
    pub(crate) fn refused(&mut self, runner: &Runner, args: &[&str]) -> Finished {
        let finished = runner.refused(args, &[]);
        self.add(&[&["exec", "scenario.toml"], args].concat().join(" "), &finished);
        finished
    }

    /// Adds a command that has run.
    pub(crate) fn add(&mut self, command: &str, finished: &Finished) {
        self.0 += &entry(&format!("runner {command}"), finished);
    }

    /// Compares all commands and outputs with `snapshots/FILE/NAME.snap` next to the calling file, as [`normal`] text.
    #[track_caller]
    pub(crate) fn check(self, name: &str) {
        let (_, file) = Location::caller().file().rsplit_once("tests/").unwrap();
        let folder = Path::new(file).with_extension("");
        let folder = folder.parent().unwrap().join("snapshots").join(folder.file_name().unwrap());
        let text = normal(&self.0);
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(root().canonicalize().unwrap().join("tests").join(folder));
        settings.set_description("`./update` accepts changes.");
        settings.set_omit_expression(true);
        settings.set_prepend_module_to_snapshot(false);
        settings.bind(|| insta::assert_snapshot!(name, text));
    }
}

/// Returns a command that has run, with its output and its exit code.
pub(super) fn entry(command: &str, finished: &Finished) -> String {
    let Finished { code, stdout, stderr, .. } = finished;
    let code = code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    // All tests share a cache, so another test may have compiled the plugin.
    let is_shown = |line: &&str| !line.starts_with("compiling ") && !line.starts_with("compiled ");
    let printed: Vec<_> = stderr.lines().chain(stdout.lines()).filter(is_shown).collect();
    format!("$ {command}\n{}\n[{code}]\n\n", printed.join("\n"))
}

/// Patterns of texts that differ between runs or machines, and their words.
static WORDS: LazyLock<Vec<(Regex, String)>> = LazyLock::new(|| {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let host = format!(r"\b(?:\w+ on|on) {}\b", regex::escape(host.trim()));
    let words = [
        (r"\d{4}-\d\d-\d\d_[\d-]+-([a-z0-9-]+)-[0-9a-f]{8}\b", "RUN-$1"),
        (r"\b(?:[0-9a-f]{2}/)?[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{8}\b", "RUN"),
        (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+Z)?|\b\d\d:\d\d:\d\d(?:\.\d+)?\b", "TIME"),
        (r"\b20\d\d-\d\d-\d\d\b", "DATE"),
        (r"\bjust now\b", "DURATION ago"),
        (r", after [^\n]+ of compiling", ""),
        (r"\b[1-9]\d*(?:\.\d+)? (?:µs|ms|s|min(?: \d+ s)?)\b", "DURATION"),
        (r"\b\d+ at a time", "N at a time"),
        (r"\bprocess \d+", "process PID"),
        (&host, "USER on HOST"),
        (r"/(?:tmp|dev/shm)/\.tmp\w+", "FOLDER"),
        (r"\bin /(?:tmp|dev/shm)([: ])", "in TMPDIR$1"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        // Memories depend on the compiler of the guest.
        (r"(?m)(memory|used) [\d.]+ [KM]iB( at most|$)", "$1 SIZE$2"),
        // Columns of times have different widths. Pictures of a file's lines start with spaces.
        (r"(?m)([^\s|]) {2,}", "$1 "),
    ];
    words.iter().map(|(pattern, word)| (Regex::new(pattern).unwrap(), (*word).to_owned())).collect()
});

/// Replaces ids, times, durations, digests, addresses and the names of folders by words.
pub(super) fn normal(text: &str) -> String {
    let replace = |text: String, (pattern, word): &(Regex, String)| {
        pattern.replace_all(&text, word).into_owned()
    };
    WORDS.iter().fold(text.to_owned(), replace)
}
