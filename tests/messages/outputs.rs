//! [`snapshot`]: the whole output of a command that a test has run anyway. `./update` accepts changes.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{LazyLock, Mutex, PoisonError},
    thread,
};

use regex::Regex;

use super::transcript::{entry, normal};
use crate::support::{guests::root, http::Answer, runner::PROGRAM, running::Finished};

thread_local! {
    // Each test has a thread of its own.
    static ENTRIES: RefCell<String> = RefCell::default();
}

/// Sizes of files that a compiler or the runner has written.
static SIZE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\b\d+\.\d+ [KMG]iB").unwrap());

/// Comparisons of times, which differ by any sign, and by chance significantly.
static MEASURED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\b(duration|response_time) [^\n]*DURATION[^\n]*").unwrap());
static LEGEND: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(?m)^\* significant: [^\n]*\n+").unwrap());

/// Held while a file is changed.
static FILES: Mutex<()> = Mutex::new(());

const HEAD: &str = "Outputs of commands, by test. `./update` accepts changes.\n";

/// An output that is a part of a snapshot.
pub(crate) trait Printed {
    fn entry(&self) -> String;
}

impl Printed for Finished {
    fn entry(&self) -> String {
        entry(&self.command, self)
    }
}

impl Printed for Answer {
    fn entry(&self) -> String {
        format!("HTTP {}\n{}\n\n", self.status, self.text())
    }
}

/// Compares the command and its whole output with the next ones of this test in `tests/TOPIC/snapshots/outputs/FILE.txt`, as
/// [`normal`] text. The thread of the test must call it.
#[track_caller]
pub(crate) fn snapshot(printed: &impl Printed) {
    let thread = thread::current();
    let (path, test) = place(thread.name().expect("the thread of a test"));
    let caches = Path::new(env!("CARGO_TARGET_TMPDIR")).to_str().unwrap();
    let printed = printed
        .entry()
        .replace(PROGRAM, "runner")
        .replace(caches, "CACHES")
        .replace(root().canonicalize().unwrap().to_str().unwrap(), "REPOSITORY");
    let printed = ENTRIES.with_borrow_mut(|entries| {
        let printed = SIZE.replace_all(&normal(&printed), "SIZE").into_owned();
        let printed = MEASURED.replace_all(&printed, "$1 MEASURED");
        *entries += &LEGEND.replace_all(&printed, "");
        entries.clone()
    });
    let lock = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(&path).unwrap_or_default();
    let mut sections = sections(&text);
    if env::var_os("UPDATE").is_some() {
        sections.insert(test, &printed);
        let sections = sections.iter();
        let sections =
            sections.map(|(test, printed)| format!("\n=== {test}\n{}\n", printed.trim_end()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, HEAD.to_owned() + &sections.collect::<String>()).unwrap();
    } else {
        drop(lock);
        let expected = sections.get(test).copied().unwrap_or_default();
        let is_same = expected.starts_with(printed.trim_end());
        assert!(
            is_same,
            "run `./update` and read the changes of {path:?}: {test} prints\n{printed}instead of\n{expected}"
        );
    }
}

/// Returns the file of a test's outputs, and the name of the test.
fn place(thread: &str) -> (PathBuf, &str) {
    let (module, test) = thread.rsplit_once("::").expect("a test in a module");
    let (topic, file) = module.split_once("::").unwrap_or((module, module));
    let file = format!("{}.txt", file.replace("::", "-"));
    (root().join("tests").join(topic).join("snapshots/outputs").join(file), test)
}

/// Returns the outputs of each test.
fn sections(text: &str) -> BTreeMap<&str, &str> {
    let sections = text.split("\n=== ").skip(1);
    sections.map(|section| section.split_once('\n').expect("outputs of a test")).collect()
}
