//! The invariants of `runner/ARCHITECTURE.md` that can be read off the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use regex::Regex;
use walkdir::WalkDir;

/// Which room may use which. Every room may use `model`, which uses none; what is not here is forbidden.
const ROOMS: [(&str, &[&str]); 19] = [
    ("model", &[]),
    ("filter", &[]),
    ("scenario", &["filter"]),
    ("plugin", &[]),
    ("notify", &[]),
    ("record", &["filter"]),
    ("toolchain", &["plugin"]),
    ("judge", &["scenario"]),
    (
        "run",
        &["judge", "plugin", "record", "scenario", "toolchain"],
    ),
    ("error", &["record"]),
    ("fleet", &["record", "run"]),
    ("view", &["error", "plugin", "record", "run"]),
    ("report", &["view"]),
    (
        "session",
        &[
            "error",
            "filter",
            "fleet",
            "notify",
            "plugin",
            "record",
            "report",
            "run",
            "scenario",
            "toolchain",
            "view",
        ],
    ),
    (
        "output",
        &[
            "error",
            "fleet",
            "plugin",
            "record",
            "run",
            "session",
            "toolchain",
            "view",
        ],
    ),
    ("cli", &["error", "filter", "fleet", "record", "scenario"]),
    (
        "commands",
        &[
            "cli",
            "error",
            "filter",
            "fleet",
            "output",
            "plugin",
            "record",
            "report",
            "run",
            "scenario",
            "serve",
            "session",
            "toolchain",
            "view",
        ],
    ),
    (
        "serve",
        &[
            "error", "filter", "record", "report", "scenario", "session", "view",
        ],
    ),
    // Only tests have it, and each room's own file of this name.
    (
        "fuzzing",
        &["judge", "output", "plugin", "record", "run", "scenario"],
    ),
];

/// The longest that a file may be before its tests.
const MAX_LINES: usize = 500;

#[test]
fn a_room_uses_only_the_rooms_that_it_may_know() {
    let mut offences = Vec::new();
    for source in sources() {
        let Some((room, known)) = ROOMS.iter().find(|(room, _)| *room == source.room()) else {
            // `main.rs`, `lib.rs` and `program.rs` are above the rooms.
            continue;
        };
        for used in source.rooms_used() {
            if used != *room && used != "model" && !known.contains(&used.as_str()) {
                offences.push(format!("{}: `{room}` uses `{used}`", source.path));
            }
        }
    }
    assert_eq!(offences, [""; 0]);
}

#[test]
fn every_room_is_in_the_table() {
    let library = fs_err::read_to_string("runner/lib.rs").unwrap();
    let rooms: BTreeSet<_> = captures(r"pub mod (\w+);", &library).collect();
    let table = ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect();
    assert_eq!(rooms, table);
}

#[test]
fn only_plugin_knows_wasmtime() {
    assert_only("plugin/", r"wasmtime|wasmparser");
}

#[test]
fn only_record_knows_sql_and_the_names_in_a_run_directory() {
    assert_only(
        "record/",
        r#"rusqlite|"benchmark\.json"|"index\.jsonl"|"runner\.db"|"runner\.log"|"scenario\.toml""#,
    );
}

#[test]
fn only_output_prints() {
    // A child has no screen: its standard streams are files of its parent.
    let pattern = r"\be?print(ln)?!|io::stdout\(\)\.|io::stderr\(\)\.(lock|write)|anstream";
    let offences = found(pattern, |path| {
        !path.starts_with("runner/output/") && path != "runner/plugin/child.rs"
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn only_cli_and_commands_know_the_command_line() {
    let offences = found(r"\bclap\b|crate::cli\b", |path| {
        !path.starts_with("runner/cli") && !path.starts_with("runner/commands/")
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn no_use_case_and_no_command_sleeps_in_a_loop() {
    let offences = found(r"thread::sleep\(|park_timeout", |path| {
        path.starts_with("runner/session/") || path.starts_with("runner/commands/")
    });
    assert_eq!(offences, [""; 0]);
    // The host rests; by default, as a thread does.
    let named = found("thread::sleep", |path| {
        let is_host = path == "runner/session/host.rs";
        path.starts_with("runner/session/") && !is_host || path.starts_with("runner/commands/")
    });
    assert_eq!(named, [""; 0]);
}

#[test]
fn a_document_is_a_type() {
    // What is stored, judged or a schema is made elsewhere; these rooms make what people and programs read.
    let rooms = ["view", "session", "output", "cli", "commands"];
    let offences = found(r"\bjson!", |path| {
        rooms
            .iter()
            .any(|room| path.starts_with(&format!("runner/{room}/")))
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn only_main_exits() {
    let offences = found(r"process::(exit|abort)|_exit\(", |path| {
        path != "runner/main.rs" && path != "runner/run/stop/watchdog.rs"
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn only_retention_deletes_what_is_a_run_or_was_one() {
    // An attempt's own folder is no part of a run: it is made and removed in one file. So is what a worker makes a plan of.
    let offences = found(r"remove_dir(_all)?\b", |path| {
        !matches!(
            path,
            "runner/record/store/deletion.rs"
                | "runner/plugin/fs/folder.rs"
                | "runner/record/writing/likeness.rs"
        )
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn what_is_printed_is_made_visible_on_its_way_out() {
    let streams = found(
        r"anstream::std(out|err)|io::std(out|err)\(\)\.lock",
        |path| !matches!(path, "runner/output/mod.rs" | "runner/plugin/child.rs"),
    );
    assert_eq!(streams, [""; 0]);
    // Paths, and documents of JSON.
    let raw = found(
        r"\.display\(\)|serde_json::to_(string|vec|writer)",
        |path| {
            let is_the_way = matches!(
                path,
                "runner/output/format.rs"
                    | "runner/output/events.rs"
                    | "runner/output/long_document.rs"
            );
            path.starts_with("runner/output/") && !is_the_way
        },
    );
    assert_eq!(raw, [""; 0]);
}

#[test]
fn environment_and_current_directory_are_read_in_main() {
    let offences = found(
        r"env::(var|vars|var_os|current_dir|args|temp_dir)\b",
        |path| path != "runner/main.rs",
    );
    assert_eq!(offences, [""; 0]);
}

#[test]
fn values_that_rooms_share_have_no_format() {
    let offences = found("Serialize|Deserialize|JsonSchema", |path| {
        path.starts_with("runner/model/")
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn nothing_is_stored_or_compared_as_debug_shows_it() {
    let for_people_at_the_moment = [
        "runner/model/id.rs",
        "runner/output/mod.rs",
        "runner/plugin/fs/descriptors.rs",
        "runner/plugin/call/instance.rs",
        "runner/record/failpoint/shadow.rs",
        "runner/record/reading/state.rs",
        "runner/run/workers/lines.rs",
        "runner/scenario/records.rs",
        "runner/session/session_log.rs",
    ];
    let offences = found(r":[.\d]*\?\}", |path| {
        !path.starts_with("runner/run/scripted/") && !for_people_at_the_moment.contains(&path)
    });
    assert_eq!(offences, [""; 0]);
}

#[test]
fn no_type_name_stands_twice() {
    let defined = r"(?m)^(?:\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait)|(?:pub(?:\([^)]*\))? )?type) (\w+)";
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        for name in captures(defined, &source.code) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    places.retain(|_, places| places.len() > 1);
    assert_eq!(places, BTreeMap::new());
}

#[test]
fn no_help_has_a_placeholder_that_nobody_fills() {
    // `miette!` fills those of its message alone.
    assert_eq!(found(r#"\bhelp = "[^"]*\{"#, |_| true), [""; 0]);
}

#[test]
fn nothing_unwraps_outside_tests() {
    assert_eq!(found(r"\.unwrap\(\)", |_| true), [""; 0]);
}

#[test]
fn a_module_with_files_of_its_own_is_a_folder_with_a_first_file() {
    let paths: Vec<_> = sources().into_iter().map(|source| source.path).collect();
    let beside = |path: &&String| {
        let folder = path.replace(".rs", "/");
        paths.iter().any(|other| other.starts_with(&folder))
    };
    let beside: Vec<_> = paths.iter().filter(beside).collect();
    assert_eq!(beside, [""; 0]);
}

#[test]
fn no_file_is_long() {
    let long: Vec<_> = sources()
        .iter()
        .filter(|source| source.code.lines().count() > MAX_LINES)
        .map(|source| format!("{}: {}", source.path, source.code.lines().count()))
        .collect();
    assert_eq!(long, [""; 0]);
}

#[test]
fn a_command_is_small() {
    let lines = |path: &String| fs_err::read_to_string(path).unwrap().lines().count();
    let commands = files().into_iter();
    let commands = commands.filter(|path| path.starts_with("runner/commands/"));
    let sizes: Vec<_> = commands.map(|path| (lines(&path), path)).collect();
    let large: Vec<_> = sizes.iter().filter(|(lines, _)| *lines > 200).collect();
    assert!(large.is_empty(), "{large:?}");
    let all: usize = sizes.iter().map(|(lines, _)| lines).sum();
    assert!(all < 2350, "{all}");
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = files()
        .into_iter()
        .filter(|path| path.ends_with(".rs"))
        .filter(|path| {
            let text = fs_err::read_to_string(path).unwrap();
            !text.trim_start().starts_with("//!")
        })
        .collect();
    assert_eq!(silent, [""; 0]);
}

#[test]
fn nothing_is_left_for_later() {
    // Written so that this file does not find itself.
    let pattern = Regex::new(r"\b(TO[D]O|FIX[M]E)\b|\b(tod[o]|unimplemente[d])!\(").unwrap();
    assert_eq!(mentions(&pattern), [""; 0]);
}

#[test]
fn no_file_names_a_path_of_somebodys_machine() {
    // Folders directly below the root; a relative path may well have parts of these names.
    let pattern = Regex::new(r"(?m)(^|[^\w.~-])/(root|home|Users|work)/").unwrap();
    assert_eq!(mentions(&pattern), [""; 0]);
}

#[test]
fn every_example_scenario_is_run_or_validated_by_a_test() {
    let tests: String = files()
        .iter()
        .filter(|path| path.starts_with("tests/") && path.ends_with(".rs"))
        .map(|path| fs_err::read_to_string(path).unwrap())
        .collect();
    let mut examples = examples();
    examples.retain(|path| !tests.contains(path.to_str().unwrap()));
    assert_eq!(examples, [""; 0].map(PathBuf::from));
}

#[test]
fn the_tests_that_guard_the_invariants_exist() {
    let architecture = fs_err::read_to_string("runner/ARCHITECTURE.md").unwrap();
    let (_, invariants) = architecture.split_once("## Invariants").unwrap();
    let sources: String = files()
        .iter()
        .filter(|path| path.ends_with(".rs"))
        .map(|path| fs_err::read_to_string(path).unwrap())
        .collect();
    let faults = fs_err::read_to_string("runner/FAULTS.md").unwrap();
    let sandbox = fs_err::read_to_string("runner/SANDBOX.md").unwrap();
    // Nothing but a test has a name of so many words.
    let promised = [invariants, &faults, &sandbox].concat();
    let guards = captures(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`", &promised);
    let missing: Vec<_> = guards
        .filter(|name| !sources.contains(&format!("fn {name}(")))
        .collect();
    assert_eq!(missing, [""; 0]);
}

/// A source file of the program.
struct Source {
    path: String,
    /// The text before the tests, without comments.
    code: String,
}

impl Source {
    fn read(path: &str) -> Self {
        let text = fs_err::read_to_string(path).unwrap();
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        Self {
            path: path.to_owned(),
            code: code.to_owned(),
        }
    }

    /// The part of the path that names the room.
    fn room(&self) -> &str {
        let inside = self.path.strip_prefix("runner/").unwrap();
        let room = inside.split('/').next().unwrap();
        room.strip_suffix(".rs").unwrap_or(room)
    }

    /// The first segment of every path that begins with `crate`.
    fn rooms_used(&self) -> BTreeSet<String> {
        let mut rooms: BTreeSet<_> = captures(r"\bcrate::(\w+)", &self.code).collect();
        for group in captures(r"(?s)\buse crate::\{(.*?)\};", &self.code) {
            rooms.extend(heads(&group));
        }
        rooms
    }
}

/// The first segments of the paths in a group of imports.
fn heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let outside: String = group
        .chars()
        .filter(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        })
        .collect();
    captures(r"(?:^|,)\s*(\w+)", &outside).collect()
}

/// The program's sources, without the files that only tests have.
fn sources() -> Vec<Source> {
    let is_for_tests = |path: &str| {
        let is_named = ["/tests.rs", "/testing.rs", "/fuzzing.rs"]
            .iter()
            .any(|name| path.ends_with(name));
        is_named || path.contains("/tests/") || path.starts_with("runner/run/scripted/")
    };
    files()
        .iter()
        .filter(|path| path.starts_with("runner/") && path.ends_with(".rs"))
        .filter(|path| !is_for_tests(path))
        .map(|path| Source::read(path))
        .collect()
}

/// Where the program's code matches; comments are no code.
fn found(pattern: &str, is_subject: impl Fn(&str) -> bool) -> Vec<String> {
    let pattern = Regex::new(pattern).unwrap();
    let mut lines = Vec::new();
    for source in sources() {
        if !is_subject(&source.path) {
            continue;
        }
        for (index, line) in source.code.lines().enumerate() {
            if !line.trim_start().starts_with("//") && pattern.is_match(line) {
                lines.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    lines
}

fn assert_only(room: &str, pattern: &str) {
    let room = format!("runner/{room}");
    assert_eq!(found(pattern, |path| !path.starts_with(&room)), [""; 0]);
}

/// Where the files of the repository match, comments and prose included.
fn mentions(pattern: &Regex) -> Vec<String> {
    let mut places = Vec::new();
    for path in files() {
        // What is not text says nothing.
        let Ok(text) = fs_err::read_to_string(&path) else {
            continue;
        };
        let found = pattern.find_iter(&text);
        places.extend(found.map(|found| format!("{path}: {}", found.as_str().trim())));
    }
    places
}

/// The repository's files, without what building and running leave behind.
fn files() -> Vec<String> {
    let is_kept = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        let is_made = matches!(&*name, "target" | "results" | "dist" | ".git")
            || entry.path() == Path::new("scenarios/toml-conformance")
            || entry.path() == Path::new("fuzz/corpus");
        !is_made
    };
    let mut files: Vec<_> = [
        "runner",
        "plugins",
        "docs",
        "scenarios",
        "schemas",
        "tests",
        "fuzz",
        ".ci",
    ]
    .iter()
    .flat_map(|folder| WalkDir::new(folder).into_iter().filter_entry(is_kept))
    .chain(WalkDir::new(".").max_depth(1))
    .map(|entry| entry.unwrap())
    .filter(|entry| entry.file_type().is_file())
    .map(|entry| {
        let path = entry.path().to_str().expect("our paths are UTF-8");
        path.trim_start_matches("./").to_owned()
    })
    // A worktree of git has a file of this name, with a path in it.
    .filter(|path| path != ".git")
    .collect();
    files.sort();
    files
}

fn examples() -> Vec<PathBuf> {
    let entries = fs_err::read_dir("scenarios").unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect()
}

fn captures<'t>(pattern: &str, text: &'t str) -> impl Iterator<Item = String> + use<'t> {
    let pattern = Regex::new(pattern).unwrap();
    let all: Vec<_> = pattern
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect();
    all.into_iter()
}
