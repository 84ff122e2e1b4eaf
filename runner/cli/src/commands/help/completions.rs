//! `runner completions`: scripts for shells. Those for bash, fish and zsh call `runner __complete` for the words of each line.

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path};

use clap::{Arg, Command, CommandFactory as _};
use clap_complete::Shell;
use runner_model::visible::visible_line;
use runner_model::{
    Limits, RunStatus, ScenarioOverrides, TestId, TrialId, exit::Exit, id_glob, id_word,
};
use runner_prepare::source::read_regular;
use runner_record::{ManifestProvider, RecordError, ResultsRoot, now};
use runner_report::{FoundTrials, RunList, RunSummary, find_trial, phrases, short_id};
use runner_scenario::{Selection, holds_results, load_selected, parse_stored};
use toml::{Table, Value};

use crate::args::RootArgs;
use crate::command::{Cli, with_grouped_help};
use crate::text::{CommandError, Out};

/// Runs that are offered, the newest first.
const MAX_RUNS: usize = 100;
/// Bytes of a scenario whose names are offered.
const MAX_SCENARIO: u64 = 16 << 20;

/// Print completions of commands, flags and runs for a shell
#[derive(clap::Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub fn run(args: &CompletionsArgs, out: &Out) -> Result<Exit, CommandError> {
    match args.shell {
        // The scripts of `clap_complete` neither remove the quotes of a line's words nor quote candidates, and bash splits words
        // at `@` and `:`. A test's id with `$(…)` would run, and no id of a trial would be completed.
        Shell::Bash => out.bytes(include_bytes!("completions/runner.bash")),
        Shell::Fish => out.bytes(include_bytes!("completions/runner.fish")),
        Shell::Zsh => out.bytes(include_bytes!("completions/runner.zsh")),
        shell => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "runner", &mut script);
            out.bytes(&script);
        }
    }
    Ok(Exit::Success)
}

/// Prints the candidates for the last of `words`, each with a tab and its description. Without one, shells complete files.
pub fn complete(words: &[OsString], out: &Out) {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let Some((last, before)) = words.split_last() else { return };
    let program = with_grouped_help(Cli::command());
    // `--color=al` is completed as `al` after `--color`.
    let attached = last.split_once('=').filter(|(flag, _)| flag.starts_with("--"));
    let candidates = match attached {
        Some((flag, value)) => {
            let found = candidates(&program, &[before, &[flag.to_owned()]].concat(), value, true);
            found.into_iter().map(|(name, about)| (format!("{flag}={name}"), about)).collect()
        }
        None => candidates(&program, before, last, false),
    };
    for (name, about) in candidates {
        // A name with control characters would be shown as another name.
        if name.starts_with(last.as_str()) && visible_line(&name) == name {
            out.data(&format!("{name}\t{}", visible_line(&about)));
        }
    }
}

/// Returns the candidates after these words. `is_attached` if the value of a flag follows a `=`.
fn candidates(
    program: &Command,
    before: &[String],
    last: &str,
    is_attached: bool,
) -> Vec<(String, String)> {
    let mut command = program;
    let mut flag = None;
    let mut given = Vec::new();
    // Number of words that belong to the last flag, so that they are not taken for arguments.
    let mut left = 0;
    for word in before {
        if flag.is_some() {
            left -= 1;
            flag = flag.filter(|_| left > 0);
        } else if word.starts_with('-') {
            let known = command.get_arguments().find(|arg| names(arg).any(|name| name == *word));
            flag = known.filter(|arg| takes_word(arg) || is_attached);
            left = flag.and_then(Arg::get_num_args).map_or(1, |range| range.min_values().max(1));
        } else if let Some(inner) = command.find_subcommand(word) {
            command = inner;
        } else {
            given.push(word);
        }
    }
    if flag.is_none() && last.starts_with('-') {
        let flags = command.get_arguments().filter(|arg| !arg.is_hide_set());
        let listed = flags.flat_map(|arg| {
            let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
            names(arg).map(move |name| (name, about.clone()))
        });
        return listed.collect();
    }
    if flag.is_none() && command.has_subcommands() {
        let commands = command.get_subcommands().filter(|inner| !inner.is_hide_set());
        let listed = commands.map(|inner| {
            let about = inner.get_about().map(ToString::to_string);
            (inner.get_name().to_owned(), about.unwrap_or_default())
        });
        return listed.collect();
    }
    let mut positionals = command.get_positionals();
    let next = positionals.nth(given.len()).or_else(|| command.get_positionals().last());
    let Some(arg) = flag.or(next) else { return Vec::new() };
    let values = arg.get_possible_values();
    if !values.is_empty() {
        let names = values.iter().map(|value| {
            let about = value.get_help().map(ToString::to_string);
            (value.get_name().to_owned(), about.unwrap_or_default())
        });
        // After `passed,`, another value follows.
        let start = arg.get_value_delimiter().and_then(|mark| last.rfind(mark));
        let start = start.map_or("", |mark| &last[..=mark]);
        return names.map(|(name, about)| (format!("{start}{name}"), about)).collect();
    }
    values_of(program, command, arg, before, &given, last)
}

/// Returns the values of an argument, by its name and that of its value.
fn values_of(
    program: &Command,
    command: &Command,
    arg: &Arg,
    before: &[String],
    given: &[&String],
    last: &str,
) -> Vec<(String, String)> {
    let value = arg.get_value_names().and_then(|names| names.first());
    match (value.map_or("", |name| name.as_str()), arg.get_id().as_str()) {
        ("RUN" | "BASE" | "NEW", _) => {
            runs(before, last, matches!(command.get_name(), "stop" | "pause" | "unpause"))
        }
        ("TRIAL", _) => {
            let run = after(before, "--from").or(given.first().map(|run| run.as_str()));
            run.map_or_else(Vec::new, |run| plain(trials(before, run)))
        }
        ("SCENARIO", _) => scenarios(last),
        ("GLOB", "scenario") => of_runs(before, |run| Some(&run.head.scenario)),
        ("ID", _) => requests(before),
        ("GROUP", _) => of_runs(before, |run| Some(&run.head.group.as_ref()?.id)),
        ("COMMAND", _) => {
            let mut command = program;
            for name in given {
                let Some(inner) = command.find_subcommand(name) else { return Vec::new() };
                command = inner;
            }
            let commands = command.get_subcommands().filter(|inner| !inner.is_hide_set());
            plain(commands.map(|inner| inner.get_name().to_owned()).collect())
        }
        (_, "set") => {
            let tables = given.iter().map(|file| table(file));
            let vars = tables.filter_map(|table| table.get("vars")?.as_table().cloned());
            plain(vars.flat_map(|vars| vars.into_iter().map(|(name, _)| name + "=")).collect())
        }
        ("GLOB", kind @ ("test" | "provider")) if command.get_name() == "history" => {
            of_history(before, given.first().map(|name| name.as_str()), kind)
        }
        ("GLOB", "provider") => plain(given.iter().flat_map(|file| provider_names(file)).collect()),
        ("GLOB", "test" | "exclude") => {
            plain(given.iter().flat_map(|file| test_ids(file)).map(|id| id_glob(&id)).collect())
        }
        (_, "tag") => plain(given.iter().flat_map(|file| tags(file)).collect()),
        (_, "providers") => {
            let run = given.first().map_or("latest", |run| run.as_str());
            let run = open_root(before).and_then(|root| root.find(run)?.manifest());
            let providers = run.map(|run| run.providers).unwrap_or_default().into_iter();
            let tested = providers.filter(ManifestProvider::is_tested);
            plain(tested.map(|provider| provider.name).collect())
        }
        (_, "filter") => {
            let tags = given.iter().flat_map(|file| tags(file)).map(|tag| format!("tag({tag})"));
            let outcomes = ["failed", "error", "timeout"].map(|one| format!("outcome({one})"));
            plain(tags.chain(outcomes).collect())
        }
        (_, "by") => plain(["run", "day"].map(str::to_owned).to_vec()),
        (_, "open") if command.get_name() == "show" => {
            plain(["output", "input", "log"].map(str::to_owned).to_vec())
        }
        (_, "shard") => plain(vec!["auto".to_owned()]),
        ("WHICH", _) => plain(["failed", "errors", "all"].map(str::to_owned).to_vec()),
        (_, "limit") => {
            let limits = Limits::TABLE.iter().map(|limit| (limit.key, limit.about));
            let limits = limits.chain([
                ("time", "Time of an attempt."),
                ("total_tokens", "Tokens that an attempt reports."),
                ("cost_usd", "Cost of the metrics that an attempt reports."),
            ]);
            limits.map(|(key, about)| (format!("{key}="), about.to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

/// Returns the tests or providers of the newest run of a scenario, which is the name of one that has run, or a file.
fn of_history(before: &[String], scenario: Option<&str>, kind: &str) -> Vec<(String, String)> {
    let run = scenario.filter(|name| !name.ends_with(".toml"));
    let run = run.map_or_else(|| "latest".to_owned(), |name| format!("latest:{name}"));
    let trials = trials(before, &run);
    let ids = trials.iter().filter_map(|trial| TrialId::parse(trial).ok());
    let names = ids.map(|trial| match kind {
        "test" => id_glob(&trial.test),
        _ => trial.provider.to_string(),
    });
    plain(names.collect::<BTreeSet<_>>().into_iter().collect())
}

/// Returns `--jobs` and `-j` of `--jobs`.
fn names(arg: &Arg) -> impl Iterator<Item = String> {
    let long = arg.get_long_and_visible_aliases().into_iter().flatten();
    let short = arg.get_short().map(|short| format!("-{short}"));
    long.map(|long| format!("--{long}")).chain(short)
}

/// Returns whether the value of a flag is the next word.
fn takes_word(arg: &Arg) -> bool {
    arg.get_action().takes_values() && !arg.is_require_equals_set()
}

/// Opens the results root on the command line.
fn open_root(before: &[String]) -> Result<ResultsRoot, RecordError> {
    RootArgs { results: after(before, "--results").map(Into::into) }.open()
}

/// Returns the value of a flag.
fn after<'w>(words: &'w [String], flag: &str) -> Option<&'w str> {
    let next = words.windows(2).find(|pair| pair[0] == flag).map(|pair| &*pair[1]);
    next.or_else(|| words.iter().find_map(|word| word.strip_prefix(flag)?.strip_prefix('=')))
}

/// Returns the trials of a run that have a row.
fn trials(before: &[String], run: &str) -> Vec<String> {
    let run = open_root(before).and_then(|root| root.find(run));
    // No id contains a line break.
    match run.and_then(|run| find_trial(&run, "\n")) {
        Ok(FoundTrials::Nothing { trials }) => trials.iter().map(|id| id_word(id)).collect(),
        _ => Vec::new(),
    }
}

/// Returns the names that the runs of the results root on the command line have.
fn of_runs(before: &[String], name: fn(&RunSummary) -> Option<&String>) -> Vec<(String, String)> {
    let list = open_root(before).and_then(|root| RunList::read(&root));
    let runs = list.map(|list| list.runs).unwrap_or_default();
    let names: BTreeSet<_> = runs.iter().filter_map(name).collect();
    names.into_iter().map(|name| (name.clone(), String::new())).collect()
}

/// Returns `latest` and the newest runs of the results root on the command line, or only its running runs.
/// If `last` has a colon, returns `latest:NAME` for each scenario.
fn runs(before: &[String], last: &str, only_running: bool) -> Vec<(String, String)> {
    if last.contains(':') {
        let mut names = of_runs(before, |run| Some(&run.head.scenario));
        names.iter_mut().for_each(|(name, _)| name.insert_str(0, "latest:"));
        return names;
    }
    let list = open_root(before).and_then(|root| RunList::read(&root));
    let Ok(mut list) = list else { return Vec::new() };
    list.runs.retain(|run| !only_running || run.head.status == RunStatus::Running);
    let now = now();
    let runs = list.runs.iter().take(MAX_RUNS).map(|run| {
        let status = phrases::status_text(&run.head);
        let started = phrases::ago(now, run.head.started_at);
        let name = if run.short.starts_with(last) { &run.short } else { &run.head.id };
        (name.clone(), format!("{}: {status}, {started}", run.head.scenario))
    });
    let latest = (!only_running).then(|| ("latest".to_owned(), "The newest run".to_owned()));
    latest.into_iter().chain(runs).collect()
}

/// Returns the requests of the queue that this user can change, each with its command. The last part of an id is enough if no other
/// request has it.
fn requests(before: &[String]) -> Vec<(String, String)> {
    let queue = open_root(before).and_then(|root| root.queue());
    let requests = queue.map(|queue| queue.requests).unwrap_or_default();
    let own = requests.iter().filter(|request| request.foreign.is_none());
    let named = own.map(|request| {
        let short = short_id(&request.id);
        let is_unique = requests.iter().filter(|other| other.id.contains(short)).count() == 1;
        let name = if is_unique { short } else { &request.id };
        (name.to_owned(), request.command.join(" "))
    });
    named.collect()
}

/// Returns the TOML files and folders whose path starts with `last`.
fn scenarios(last: &str) -> Vec<(String, String)> {
    let folder = last.rfind('/').map_or("", |end| &last[..=end]);
    let entries = fs::read_dir(if folder.is_empty() { Path::new(".") } else { Path::new(folder) });
    let paths = entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        // A leading `-` would make a flag of it.
        let here = if folder.is_empty() && name.starts_with('-') { "./" } else { folder };
        let path = format!("{here}{name}");
        match entry.path().is_dir() {
            _ if name.starts_with('.') => None,
            true => (!holds_results(&entry.path())).then(|| path + "/"),
            false => name.ends_with(".toml").then_some(path),
        }
    });
    paths.map(|path| (path, String::new())).collect()
}

/// Returns the names of a scenario's providers, those of a matrix included.
fn provider_names(file: &str) -> Vec<String> {
    let read = load_selected(Path::new(file), &Selection::default());
    // If a file of the scenario is missing, its text still has the names without a matrix of files.
    let scenario = read.or_else(|_| parse_stored(&text(file), file, &ScenarioOverrides::default()));
    let providers = scenario.map(|scenario| scenario.providers).unwrap_or_default();
    let providers = providers.into_iter().filter(|provider| provider.is_tested());
    providers.map(|provider| provider.name.to_string()).collect()
}

/// Returns the tags of a scenario's tests.
fn tags(file: &str) -> BTreeSet<String> {
    tests(file).into_iter().flat_map(|(_, tags)| tags).collect()
}

/// Returns the ids of a scenario's tests.
pub fn test_ids(file: &str) -> Vec<String> {
    tests(file).into_iter().map(|(id, _)| id).collect()
}

/// Returns the ids and tags of a scenario's tests, and of its lists if all of it is valid.
fn tests(file: &str) -> Vec<(String, Vec<String>)> {
    let mut tests = Vec::new();
    if let Ok(scenario) = load_selected(Path::new(file), &Selection::default()) {
        scenario.each_test(&mut |id, tags| tests.push((id, tags)));
        return tests;
    }
    let scenario = table(file);
    let listed = scenario.get("tests").and_then(Value::as_array).into_iter().flatten();
    let found = listed.filter_map(|test| {
        let tags = test.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
        let tags = tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned));
        Some((test.get("id")?.as_str()?.to_owned(), tags.collect::<Vec<_>>()))
    });
    found.filter(|(id, _)| TestId::parse(id).is_ok()).collect()
}

/// Returns the content of a scenario's file. Empty if it is unreadable.
fn text(file: &str) -> String {
    let text = read_regular(Path::new(file), MAX_SCENARIO).ok();
    text.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Parses a scenario's file. Empty if it is invalid.
fn table(file: &str) -> Table {
    text(file).parse().unwrap_or_default()
}

fn plain(names: Vec<String>) -> Vec<(String, String)> {
    names.into_iter().map(|name| (name, String::new())).collect()
}
