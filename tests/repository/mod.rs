//! Files of the repository that must agree with each other.

mod circles;
mod places;
mod sizes;
mod waits;
mod wordings;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use regex::Regex;
use sha2::{Digest as _, Sha256};

use crate::support::{
    guests::root,
    running::{Running, finished},
    wait::BUILD,
};

/// Returns the paths of a folder's entries.
fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// Adds the names of all tests below a folder.
fn names(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in entries(folder) {
        if entry.is_dir() {
            names(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&entry).unwrap();
            let functions = source
                // Also matches `#[tokio::test]`.
                .split("test]\n")
                .skip(1)
                .filter_map(|piece| piece.split_once("fn "));
            found.extend(functions.map(|(_, rest)| rest[..rest.find('(').unwrap()].to_owned()));
        }
    }
}

#[test]
fn bundled_plugins_match_their_digests() {
    let folder = root().join("plugins/bundled");
    let digests = fs::read_to_string(folder.join("DIGESTS")).unwrap();
    let (compiler, files) = digests.split_once('\n').unwrap();
    assert!(compiler.starts_with("rustc "), "{compiler}");
    let named: Vec<_> = files.lines().map(|line| line.split_once("  ").unwrap()).collect();
    let found: Vec<_> = named.iter().map(|(_, name)| *name).collect();
    assert_eq!(
        found,
        ["agent.wasm", "cases.wasm", "chat.wasm", "echo.wasm", "http.wasm", "units.wasm"]
    );
    for (digest, name) in named {
        let bytes = fs::read(folder.join(name)).unwrap();
        let digits: String =
            Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digits, digest, "{name}: run ./update");
    }
}

#[test]
fn promises_name_tests_that_exist() {
    let page = fs::read_to_string(root().join("tests/repository/promises.md")).unwrap();
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    let mut tests = BTreeSet::new();
    for folder in ["runner", "tests"] {
        names(&root().join(folder), &mut tests);
    }
    let mut count = 0;
    for (promise, state) in rows.filter(|(promise, _)| *promise != "promise" && *promise != "---") {
        count += 1;
        if state == "open" || state.starts_with("changed: ") {
            continue;
        }
        for name in state.split(", ") {
            let name = name.trim_matches('`');
            assert!(tests.contains(name), "there is no test `{name}`, which shows: {promise}");
        }
    }
    assert!(count > 200, "{count}");
}

#[test]
fn tables_name_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["runner", "tests"] {
        names(&root().join(folder), &mut tests);
    }
    for page in ["ARCHITECTURE.md", "tests/faults/faults.md", "tests/sandbox/attacks.md"] {
        let text = fs::read_to_string(root().join(page)).unwrap();
        let walk = walk(&text).unwrap_or("");
        // The last cell names tests and fuzz targets.
        let cells = text
            .lines()
            .filter(|line| !walk.lines().any(|step| step == *line))
            .filter_map(|line| line.strip_suffix(" |")?.rsplit_once(" | ").map(|(_, cell)| cell));
        let cells = cells.filter(|cell| cell.starts_with('`') && !cell.contains(".rs`"));
        let mut count = 0;
        for name in cells.flat_map(|cell| cell.split(", ")) {
            count += 1;
            let is_there = match name.strip_prefix("fuzz target ") {
                Some(target) => {
                    let file = format!("fuzz/targets/{}.rs", target.trim_matches('`'));
                    root().join(file).exists()
                }
                None => tests.contains(name.trim_matches('`')),
            };
            assert!(is_there, "{page}: there is no {name}");
        }
        assert!(count > 10, "{page}: {count}");
    }
}

#[test]
fn every_fuzz_target_is_a_program() {
    let folder = root().join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let files = entries(&folder.join("targets"));
    let is_target = |file: &&PathBuf| fs::read_to_string(file).unwrap().contains("fuzz_target!");
    let names = files.iter().filter(is_target).map(|file| file.file_stem().unwrap());
    let names: Vec<_> = names.map(|name| name.to_str().unwrap()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let program = format!("name = \"{name}\"\npath = \"targets/{name}.rs\"");
        assert!(manifest.contains(&program), "Cargo.toml has no program {name}");
    }
}

/// Returns the sections of `ARCHITECTURE.md` that follow a trial, a grade and an answer from file to file.
fn walk(page: &str) -> Option<&str> {
    let (_, section) = page.split_once("\n## The path of a trial\n")?;
    Some(section.split("\n## Laws\n").next().unwrap())
}

#[test]
fn walk_of_a_trial_names_what_exists() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let walk = walk(&page).expect("there is a walk");
    let (_, to_disk) = walk.split_once("From the guest to the disk:").unwrap();
    let to_disk = to_disk.split("\n## ").next().unwrap();
    let (mut spine, mut all) = (BTreeSet::new(), BTreeSet::new());
    let mut count = 0;
    for row in walk.lines().filter(|line| line.starts_with('|')) {
        let names = row.split('|').map(|cell| {
            let names = cell.trim().split(", ");
            names.map(|name| name.strip_prefix('`')?.strip_suffix('`')).collect::<Option<Vec<_>>>()
        });
        let (files, functions): (Vec<_>, Vec<_>) =
            names.flatten().flatten().partition(|name| name.ends_with(".rs"));
        let Some(file) = files.first() else { continue };
        assert!(!functions.is_empty(), "no function: {row}");
        let source = fs::read_to_string(root().join("runner").join(file))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        for function in functions {
            let has = |end| source.contains(&format!("fn {function}{end}"));
            assert!(has('(') || has('<'), "{file} has no function `{function}`");
        }
        count += 1;
        if to_disk.contains(row) {
            all.insert(file.to_owned());
            if !row.starts_with("| –") {
                spine.insert(file.to_owned());
            }
        }
    }
    assert!(count >= 16, "{count}");
    assert!(spine.len() <= 16 && all.len() <= 22, "{spine:#?} of {all:#?}");
}

/// Returns the crates that cargo builds with these arguments, with their versions and features.
fn built(args: &[&str]) -> BTreeSet<String> {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--prefix=none", "--format={p} {f}"]);
    tree.args(args).current_dir(root());
    // Another cargo may hold the lock of the packages.
    let tree = Running::start(&mut tree).finish_within(BUILD).expect(0).stdout;
    let crates = tree.lines().map(|line| line.trim_end_matches(" (*)"));
    crates.map(str::to_owned).collect()
}

#[test]
fn coordinator_has_no_wasmtime() {
    let found = built(&["--package=runner-engine", "--edges=normal,build"]);
    assert!(found.iter().any(|name| name.starts_with("runner-record ")), "{found:?}");
    let foreign = found.iter().find(|name| {
        ["wasmtime", "cranelift", "wasmparser", "hyper"]
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    assert_eq!(foreign, None);
}

#[test]
fn tests_and_the_program_share_one_build() {
    // If a crate that only tests need enables more features of another, `cargo test` builds that one and all its
    // dependents a second time.
    let (program, tests) = (built(&["--edges=normal,build"]), built(&[]));
    let other: Vec<_> = program.difference(&tests).collect();
    assert!(other.is_empty(), "built twice: {other:?}");
    // So does `cargo test -p CRATE` if another crate of the program enables more features.
    let folders = entries(&root().join("runner"));
    let names = folders.iter().filter_map(|folder| folder.file_name()?.to_str());
    for name in names.filter(|name| *name != "cli") {
        let other: Vec<_> = built(&["--package", &format!("runner-{name}")])
            .into_iter()
            .filter(|built| !tests.contains(built))
            .collect();
        assert!(other.is_empty(), "`cargo test -p runner-{name}` builds these again: {other:?}");
    }
}

/// Returns the output of `runner COMMAND --help`.
fn help(command: &str) -> String {
    let words = command.split_whitespace().chain(["--help"]);
    let program = env!("CARGO_BIN_EXE_runner");
    let mut command = Command::new(program);
    // Lines have one length, whatever the width of the terminal of the tests.
    command.args(words).env("NO_COLOR", "1").env_remove("COLUMNS");
    finished(&mut command).stdout
}

/// Adds the commands that a help text lists, and their subcommands.
fn commands(of: &str, found: &mut BTreeSet<String>) {
    for line in help(of).lines() {
        let name = line.strip_prefix("  ").unwrap_or("");
        if name.starts_with(|first: char| first.is_ascii_lowercase()) {
            let name = name.split(' ').next().unwrap();
            // An example.
            if name == "runner" {
                continue;
            }
            let command = format!("{of} {name}").trim().to_owned();
            found.insert(command.clone());
            if of.is_empty() {
                commands(&command, found);
            }
        }
    }
}

/// Returns whether a help has a flag as a word.
fn has_flag(help: &str, flag: &str) -> bool {
    help.split(|end: char| end.is_whitespace() || ",[=".contains(end)).any(|word| word == flag)
}

#[test]
fn commands_page_names_flags_that_exist() {
    let page = fs::read_to_string(root().join("docs/commands.md")).unwrap();
    // Another test runs the blocks of code.
    let page: String = page.split("```").step_by(2).collect();
    let mut all = BTreeSet::new();
    commands("", &mut all);
    assert!(all.contains("plugin run") && all.len() > 20, "{all:?}");
    let helps: BTreeMap<_, _> = all.iter().map(|name| (name, help(name))).collect();
    let flags = Regex::new(r"(?:^| )(--?[A-Za-z][a-z-]*)").unwrap();
    let (mut described, mut count) = (BTreeSet::from(["plugin"]), 0);
    for section in page.split("\n## ") {
        let title = section.lines().next().unwrap().replace("runner ", "");
        let own: Vec<_> = all.iter().filter(|name| title.contains(&format!("`{name}`"))).collect();
        described.extend(own.iter().map(|name| name.as_str()));
        for span in section.split('`').skip(1).step_by(2) {
            let span = span.trim_start_matches("runner ");
            let is_named = |name: &&String| span.starts_with(&format!("{name} "));
            let of = match all.iter().rfind(is_named) {
                Some(name) => vec![name],
                None if own.is_empty() => all.iter().collect(),
                None => own.clone(),
            };
            for (_, [flag]) in flags.captures_iter(span).map(|found| found.extract()) {
                let is_there = of.iter().any(|name| has_flag(&helps[name], flag));
                assert!(is_there, "`{span}`: {of:?} has no {flag}");
                count += 1;
            }
        }
    }
    let missing: Vec<_> = all.iter().filter(|name| !described.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "commands without a section: {missing:?}");
    assert!(count > 40, "{count}");
}

/// Adds the product's Rust sources below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in entries(folder) {
        let is_test = entry.file_stem().is_some_and(|name| name == "tests" || name == "templates");
        if entry.is_dir() && !is_test {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(entry);
        }
    }
}

/// Files that write rows, or decide when a trial ends.
const WRITERS: [&str; 2] = ["engine/src/schedule/reports.rs", "engine/src/session/follow_up.rs"];

#[test]
fn only_the_fold_decides_which_rows_count() {
    let runner = root().join("runner");
    let mut files = Vec::new();
    sources(&runner, &mut files);
    let reads = |path: &&PathBuf| {
        let source = fs::read_to_string(path).unwrap();
        source.contains("r#final") || source.contains("can_be_final")
    };
    let names = files.iter().filter(reads).map(|path| {
        let path = path.strip_prefix(&runner).unwrap();
        path.to_str().unwrap().to_owned()
    });
    let is_own = |name: &String| {
        let owners = ["model/", "record/", "results/"];
        owners.iter().any(|owner| name.starts_with(owner)) || name.contains("/tests/")
    };
    let others: BTreeSet<_> = names.filter(|name| !is_own(name)).collect();
    assert_eq!(
        others,
        WRITERS.map(String::from).into(),
        "use `RowRef::settles`, or a table of `results`"
    );
}

/// Files outside of `record` and `results` that read lines of rows themselves, each with the reason.
const LINE_READERS: [(&str, &str); 7] = [
    ("engine/src/plan/plan.rs", "the metrics of all rows"),
    ("engine/src/plan/rejudge.rs", "a row of an outdated test leaves its trial open"),
    ("engine/src/plan/replayed.rs", "all attempts since the last rerun"),
    ("engine/src/plan/rescore_plan.rs", "outputs that wait for a grader"),
    ("report/src/logs/entries.rs", "follows a file that grows"),
    ("report/src/pages/trials.rs", "the first lines, before there is a table"),
    ("serve/src/events/run.rs", "follows a file that grows"),
];

#[test]
fn only_listed_files_read_lines_of_rows() {
    let runner = root().join("runner");
    let mut files = Vec::new();
    sources(&runner, &mut files);
    let reads = |path: &&PathBuf| {
        let source = fs::read_to_string(path).unwrap();
        let readers =
            ["read_lines(", "read_lines_from(", "first_lines(", "fold_lines(", "fold_rows("];
        readers.iter().any(|reader| source.contains(&format!(".{reader}")))
    };
    let names = files.iter().filter(reads).map(|path| path.strip_prefix(&runner).unwrap());
    let names = names.map(|path| path.to_str().unwrap());
    let is_own = |name: &&str| name.starts_with("record/") || name.starts_with("results/");
    let others: BTreeSet<_> =
        names.filter(|name| !is_own(name) && !name.contains("/tests/")).collect();
    assert_eq!(others, LINE_READERS.map(|(name, _)| name).into(), "ask a table of `results`");
}

#[test]
fn paths_in_messages_take_one_line() {
    let mut found = Vec::new();
    for folder in entries(&root().join("runner")) {
        let folder = folder.join("src");
        if folder.is_dir() {
            sources(&folder, &mut found);
        }
    }
    assert!(found.len() > 200, "{found:?}");
    for file in found {
        let text = fs::read_to_string(&file).unwrap();
        // A file's name may contain line breaks, which this prints.
        assert!(!text.contains(".display()"), "{file:?}: use `shown_path`");
    }
}

#[test]
fn action_passes_its_inputs_as_words() {
    let action = fs::read_to_string(root().join("action.yml")).unwrap();
    let (_, step) = action.split_once("name: Run the scenario").unwrap();
    let (_, script) = step.split_once("run: |\n").unwrap();
    let (script, _) = script.split_once("    - name").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-ec", &format!("runner() {{ printf '%s\\n' \"$@\"; }}\n{script}")])
        .env("SCENARIO", "-a $(b)'\".toml")
        .env("ARGS", "--jobs 4\n--retries $(touch x) *\n")
        .env("RUNNER_TEMP", folder.path())
        .current_dir(&folder);
    let words = finished(&mut bash).expect(0).stdout;
    let start = "exec\n--jobs\n4\n--retries\n$(touch\nx)\n*\n--junit\n";
    assert!(words.starts_with(start) && words.ends_with("--\n-a $(b)'\".toml\n"), "{words}");
    assert!(!folder.path().join("x").exists());
}
