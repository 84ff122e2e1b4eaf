//! Places of a change that the compiler does not find. Each test names the file that a new key, form, class or function needs.

use std::{collections::BTreeSet, fs, process::Command};

use regex::Regex;
use runner_model::{ErrorClass, Form, Outcome};
use serde_json::Value;

use super::{entries, has_flag, help, names};
use crate::messages::transcript::Transcript;
use crate::support::{
    guests::{command, root},
    runner::{Runner, tests},
    running::finished,
};

/// Returns the text of a file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Adds the keys of a table of `expect`, such as `not.contains`.
fn add_keys(schema: &Value, prefix: &str, keys: &mut BTreeSet<String>) {
    for (key, inner) in schema["properties"].as_object().unwrap() {
        match inner.get("properties") {
            Some(_) => add_keys(inner, &format!("{prefix}{key}."), keys),
            None => drop(keys.insert(format!("{prefix}{key}"))),
        }
    }
}

/// Tests with an expectation that does not hold, one for each key.
const FAILING: &str = r#"
equals       | { do = "echo", value = "a" } | equals = "b"
equals_any   | { do = "echo", value = "a" } | equals_any = ["b", "c"]
file         | { do = "echo", value = "a" } | file = "none.txt"
trim         | { do = "echo", value = "a" } | trim = true, equals = " b "
contains     | { do = "echo", value = "a" } | contains = "b"
contains_any | { do = "echo", value = "a" } | contains_any = ["b", "c"]
matches      | { do = "echo", value = "a" } | matches = "^b"
not.equals   | { do = "echo", value = "a" } | not = { equals = "a" }
not.contains | { do = "echo", value = "a" } | not = { contains = "a" }
not.matches  | { do = "echo", value = "a" } | not = { matches = "a" }
ignore_case  | { do = "echo", value = "a" } | ignore_case = true, not = { contains = "A" }
json         | { do = "echo", value = [1] } | json = [2]
tolerance    | { do = "echo", value = 1 }   | tolerance = 0.5, json = 2
error        | { do = "echo", value = "a" } | error = "trap"
schema       | { do = "echo", value = "a" } | schema = "number.json"
max_duration | { do = "sleep", ms = 2 }     | max_duration = "1ms"
max_memory   | { do = "echo", value = "a" } | max_memory = 1
metrics      | { do = "echo", value = "a" } | metrics = { tokens = { max = 1 } }
min_score    | { do = "measure", score = 0.2 } | min_score = 0.5
"#;

/// The same for a command that prints its input on the standard error and exits with 1. The grader answers last.
const FAILING_COMMANDS: &str = r#"
exit_code           | "a" | exit_code = 2
stderr.equals       | "a" | exit_code = 1, stderr = { equals = "b" }
stderr.contains     | "a" | exit_code = 1, stderr = { contains = "b" }
stderr.contains_any | "a" | exit_code = 1, stderr = { contains_any = ["b", "c"] }
stderr.matches      | "a" | exit_code = 1, stderr = { matches = "^b" }
stderr.ignore_case  | "a" | exit_code = 1, stderr = { ignore_case = true, not = { contains = "A" } }
stderr.not.equals   | "a" | exit_code = 1, stderr = { not = { equals = "a\n" } }
stderr.not.contains | "a" | exit_code = 1, stderr = { not = { contains = "a" } }
stderr.not.matches  | "a" | exit_code = 1, stderr = { not = { matches = "a" } }
graders             | "a" | exit_code = 1, graders = ["strict"]
"#;

/// The same for a provider with a workspace, which starts empty.
const FAILING_WORKSPACES: &str = r#"
workspace.changed   | [["write", "/work/a", "x"]] | workspace = { changed = ["b", "c/**"] }
workspace.unchanged | [["write", "/work/a", "x"]] | workspace = { unchanged = ["*"] }
workspace.files     | [["write", "/work/a", "x"]] | workspace = { files = { a = { equals = "y" } } }
"#;

/// The same for a provider that calls a tool.
const FAILING_TRANSCRIPTS: &str = r#"
transcript.calls     | { call = "echo", input = 1 } | transcript = { calls = ["echo", "other"] }
transcript.never     | { call = "echo", input = 1 } | transcript = { never = ["e*"] }
transcript.max_calls | { call = "echo", input = 1 } | transcript = { max_calls = 0 }
transcript.ended     | { append = { source = "agent", message = "a", extra = { ended = "turns" } } } | transcript = { ended = ["done", "refused"] }
transcript.call      | { call = "echo", input = 1 } | transcript = { call = [{ tool = "echo", arguments = { input = 2 } }] }
"#;

#[test]
fn each_key_of_expect_can_fail() {
    let runner = Runner::new(&["hostile", "files", "contract-0-1-1-everything"]);
    runner.link(&command(), "command.wasm");
    runner.write("number.json", "{\"type\": \"number\"}");
    let on = |provider: &str, table: &str| {
        tests(table).replace("[[tests]]\n", &format!("[[tests]]\nproviders = [\"{provider}\"]\n"))
    };
    runner.scenario(&format!(
        "[providers.guest]\nplugin = \"hostile.wasm\"\n\
         [providers.command]\nplugin = \"command.wasm\"\nargs = [\"fail\", \"{{{{input}}}}\"]\n\
         [graders.strict]\nplugin = \"bundled:echo\"\ninput = {{ verdict = \"fail\", score = 0.4, explanation = \"No.\" }}\n\
         [providers.agent]\nplugin = \"files.wasm\"\nworkspace = {{}}\n\
         [tools.echo]\nplugin = \"bundled:echo\"\n\
         [providers.caller]\nplugin = \"contract-0-1-1-everything.wasm\"\ngrants.tools = [\"echo\"]\n{}{}{}{}",
        on("guest", FAILING),
        on("agent", FAILING_WORKSPACES),
        on("caller", FAILING_TRANSCRIPTS),
        on("command", FAILING_COMMANDS),
    ));
    let schema: Value = runner.run(&["schema", "scenario"]).expect(0).document();
    let mut keys = BTreeSet::new();
    add_keys(&schema["properties"]["tests"]["items"]["properties"]["expect"], "", &mut keys);
    let cases = [FAILING, FAILING_COMMANDS, FAILING_WORKSPACES, FAILING_TRANSCRIPTS].concat();
    let cases: BTreeSet<_> =
        cases.lines().filter_map(|line| Some(line.split_once('|')?.0.trim().to_owned())).collect();
    assert_eq!(keys, cases, "each key of `expect` has a case in tests/repository/places.rs");
    // One job, so that messages have the order of the tests.
    let mut transcript = Transcript::default();
    transcript.exec(&runner, &["-j", "1"]).expect(1);
    let run = runner.only_run();
    for key in cases {
        let advice = "is not checked in runner/worker/src/judge/checks.rs";
        assert_eq!(run.row(&key)["outcome"], "failed", "`{key}` {advice}");
    }
    transcript.check("each_key_of_expect");
}

#[test]
fn each_form_is_in_flags_texts_and_tests() {
    let (report, exec) = (help("report"), help("exec"));
    for form in Form::ALL {
        let (flag, extension) = (format!("--{form}"), format!(".{}", form.extension()));
        assert!(has_flag(&report, &flag), "`report` has no {flag}");
        assert!(exec.contains(&extension), "`exec` does not name {extension}");
        for (path, word) in [
            ("docs/commands.md", &*flag),
            ("docs/files.md", form.file_name()),
            ("tests/results/forms.rs", &*flag),
        ] {
            assert!(text(path).contains(word), "{path} does not name {word}");
        }
    }
}

#[test]
fn page_of_outcomes_has_each_class() {
    let page = text("docs/outcomes.md");
    let names = Outcome::ALL.iter().map(|outcome| outcome.as_str());
    for name in names.chain(ErrorClass::ALL.iter().map(|class| class.as_str())) {
        assert!(page.contains(&format!("| `{name}` |")), "docs/outcomes.md has no row `{name}`");
    }
}

#[test]
fn each_host_function_has_an_attacker_and_a_page() {
    let (guest, page) = (text("tests/guests/hostile/src/lib.rs"), text("plugins/README.md"));
    let contract = text("plugins/sdk/wit/provider.wit");
    let (imported, _) = contract.split_once("\ninterface provider {").unwrap();
    let mut count = 0;
    // The first interface has types alone.
    for interface in imported.split("\ninterface ").skip(2) {
        let name = interface.split(' ').next().unwrap();
        let functions = interface.lines().filter_map(|line| line.trim().split_once(": func("));
        for (function, _) in functions {
            // `%` marks a name, as opposed to a word of the language.
            let function = function.trim_start_matches('%').replace('-', "_");
            let call = format!("{name}::{function}(");
            assert!(guest.contains(&call), "tests/guests/hostile/src/lib.rs never calls {call}…)");
            count += 1;
        }
        assert!(page.contains(&format!("| `{name}` |")), "plugins/README.md has no row `{name}`");
    }
    assert_eq!(
        count,
        contract.split("\ninterface provider {").next().unwrap().matches(": func(").count()
    );
    assert!(count > 8, "{count}");
}

#[test]
fn each_template_is_built_by_a_test() {
    let templates = entries(&root().join("runner/cli/templates"));
    let built = text("tests/authors/toolchains.rs").matches(": Template = Template {").count();
    // One folder has the files that all templates share.
    assert_eq!(templates.len() - 1, built, "tests/authors/toolchains.rs has each template");
}

#[test]
fn help_lists_each_command() {
    let runner = Runner::new(&[]);
    runner.run(&["man", "--dir", "pages"]).expect(0);
    let listed = help("");
    for page in entries(&runner.path("pages")) {
        let name = page.file_stem().unwrap().to_str().unwrap();
        let name = name.trim_start_matches("runner").trim_start_matches('-');
        // Subcommands are listed by the help of their command.
        if !name.is_empty() && !name.contains('-') {
            let is_listed = listed.contains(&format!("\n  {name} "));
            assert!(is_listed, "`{name}` is in no group of `GROUPS` in runner/cli/src/command.rs");
        }
    }
}

#[test]
fn contributors_page_names_tests_that_exist() {
    let mut tests = BTreeSet::new();
    for folder in ["runner", "tests"] {
        names(&root().join(folder), &mut tests);
    }
    let name = Regex::new(r"`([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let page = text("CONTRIBUTING.md");
    let named: Vec<_> = name.captures_iter(&page).map(|name| name[1].to_owned()).collect();
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(tests.contains(&name), "CONTRIBUTING.md: there is no test `{name}`");
    }
}

/// The hook that `git config core.hooksPath .githooks` enables.
#[test]
fn hook_refuses_commits_without_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let hook = root().join(".githooks/commit-msg").canonicalize().unwrap();
    let git = |args: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com", "-c"]);
        git.arg(format!("core.hooksPath={}", hook.parent().unwrap().display()));
        git.args(args).current_dir(&folder).env("GIT_CONFIG_GLOBAL", "/dev/null");
        // The settings of the machine, and variables of a hook that runs the tests.
        git.env("GIT_CONFIG_NOSYSTEM", "1");
        ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"].iter().for_each(|name| {
            git.env_remove(name);
        });
        finished(&mut git).code == Some(0)
    };
    assert!(git(&["init", "--quiet"]));
    let commit = |path: &str, message: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, message).unwrap();
        git(&["add", "."]) && git(&["commit", "--quiet", "--message", message])
    };
    assert!(commit("docs/a.md", "Add a page"));
    assert!(commit("docs/a.md", &"ä".repeat(72)));
    assert!(!commit("docs/a.md", &"a".repeat(73)));
    assert!(!commit("runner/x/src/lib.rs", "Add a line"));
    assert!(commit("runner/x/src/lib.rs", "Add a line\n\nIt was missing."));
}
