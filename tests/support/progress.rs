//! Work of the programs that a test has started: a program that works may take long, and one that does nothing is stuck.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Weak,
};

use super::{processes::Process, running::Pipe};

thread_local! {
    // Each test has a thread of its own.
    static STARTED: RefCell<Started> = RefCell::default();
}

#[derive(Default)]
struct Started {
    /// Folders that are `HOME` of programs, also of those in the background.
    folders: Vec<PathBuf>,
    programs: Vec<Program>,
}

struct Program {
    process: Process,
    command: String,
    outputs: [Weak<Pipe>; 2],
}

/// CPU time and written bytes of all programs of a test, by process.
#[derive(PartialEq, Eq)]
pub(super) struct Work(BTreeMap<u32, [u64; 2]>);

/// Adds a folder whose programs are the test's.
pub(super) fn add_folder(folder: &Path) {
    STARTED.with_borrow_mut(|started| {
        started.folders.retain(|folder| folder.exists());
        started.folders.push(folder.to_owned());
    });
}

/// Adds a program, and its pipes.
pub(super) fn add_program(process: Process, command: String, outputs: [Weak<Pipe>; 2]) {
    STARTED.with_borrow_mut(|started| {
        started.programs.retain(|program| program.outputs[0].strong_count() > 0);
        started.programs.push(Program { process, command, outputs });
    });
}

/// Returns the work so far. `None` if the test has started no program.
pub(super) fn work() -> Option<Work> {
    STARTED.with_borrow(|started| {
        let is_empty = started.folders.is_empty() && started.programs.is_empty();
        (!is_empty).then(|| started.work())
    })
}

/// Returns the commands that the test has started and not dropped, each with the end of its output.
pub(super) fn outputs() -> String {
    STARTED.with_borrow(|started| started.programs.iter().map(Program::show).collect())
}

impl Started {
    fn work(&self) -> Work {
        let entries = fs::read_dir("/proc").unwrap();
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let all: Vec<_> =
            numbers.filter_map(|number| Some((number, Stat::read(number)?))).collect();
        let homes: Vec<_> = self.folders.iter().map(|folder| home(folder)).collect();
        let roots = self.programs.iter().map(|program| program.process.0);
        let mut own: BTreeSet<u32> = roots.collect();
        own.extend(
            all.iter().map(|(number, _)| *number).filter(|number| has_home(*number, &homes)),
        );
        // Children may have another environment.
        loop {
            let before = own.len();
            own.extend(
                all.iter()
                    .filter(|(_, stat)| own.contains(&stat.parent))
                    .map(|(n, _)| *n)
                    .collect::<Vec<_>>(),
            );
            if own.len() == before {
                break;
            }
        }
        let own = all.into_iter().filter(|(number, _)| own.contains(number));
        Work(own.map(|(number, stat)| (number, [stat.ticks, written(number)])).collect())
    }
}

impl Program {
    fn show(&self) -> String {
        let mut text = format!("{} ({}):\n", self.command, self.process.0);
        for output in self.outputs.iter().filter_map(Weak::upgrade) {
            let output = output.text();
            let end = output.char_indices().rev().nth(4_000).map_or(0, |(place, _)| place);
            text += &output[end..];
        }
        text
    }
}

/// Part of `/proc/PID/stat`.
struct Stat {
    parent: u32,
    /// CPU time of the process and of its ended children, in ticks of 10 ms.
    ticks: u64,
}

impl Stat {
    fn read(number: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
        let fields: Vec<_> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let ticks = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().unwrap_or(0));
        Some(Self { parent: fields[1].parse().ok()?, ticks: ticks.sum() })
    }
}

/// Returns the bytes that a process has written. 0 if only its user may know.
fn written(number: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{number}/io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|written| written.parse().ok()).unwrap_or(0)
}

/// Returns the entry of an environment that names the folder.
fn home(folder: &Path) -> Vec<u8> {
    [b"HOME=", folder.as_os_str().as_bytes()].concat()
}

fn has_home(number: u32, homes: &[Vec<u8>]) -> bool {
    let environment = fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| homes.iter().any(|home| home == entry))
}
