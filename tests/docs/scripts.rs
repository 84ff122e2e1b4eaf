//! Documented scripts that run scenarios: none is green if a run did not start, was cut short or lacks a plugin.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;

use super::pages::blocks;
use crate::support::{
    guests::root,
    runner::{PROGRAM, Runner},
    running::{Finished, Running, finished},
};

const GOOD: &str = "[providers.a]\nplugin = \"bundled:echo\"\n[[tests]]\nid = \"t\"\ninput = 1\nexpect = { equals = 1 }\n";
/// Runs until it is cut short.
const LONG: &str = "[providers.a]\nplugin = \"hostile.wasm\"\n[[tests]]\nid = \"t\"\nrepeat = 500\ninput = { do = \"sleep\", ms = 200 }\n";
const SLOW: &str = "runner exec --timeout 300ms";

/// A documented script, and the file of its scenario.
struct Script {
    name: &'static str,
    scenario: &'static str,
    text: String,
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Returns the block of a page that `is_it` selects.
fn block(page: &str, is_it: impl Fn(&str) -> bool) -> String {
    let mut texts = blocks(page).into_iter().map(|block| block.text);
    texts.find(|text| is_it(text)).unwrap_or_else(|| panic!("{page} has no such block"))
}

/// Returns the commands of a job file that run and merge shards, as one job runs them. Steps that run in any case are left out,
/// because they do not decide the result.
fn job(path: &str) -> String {
    let text = file(path);
    let text = text.split("after_script").next().unwrap();
    let lines = text.lines().map(|line| line.trim_start().trim_start_matches("- "));
    let lines = lines.map(|line| line.trim_start_matches("run: "));
    let commands: Vec<_> = lines
        .filter(|line| {
            ["runner exec", "runner merge", "rm "].iter().any(|start| line.starts_with(start))
        })
        .collect();
    assert!(commands.len() >= 2, "{path}: {commands:?}");
    commands.join("\n")
}

/// Returns the command of the pods of the Kubernetes file, for a shell.
fn pod() -> String {
    let text = file("docs/shards/kubernetes.yaml");
    let command = text.lines().find_map(|line| line.trim().strip_prefix("command: ["));
    command.unwrap().trim_end_matches(']').replace(", ", " ").replace("/scenario/", "./")
}

/// Returns the shell of the step of `action.yml` that runs the scenario.
fn action() -> String {
    let text = file("action.yml");
    let step = text.split("- name: ").find(|step| step.starts_with("Run the scenario")).unwrap();
    let script = step.split_once("run: |\n").unwrap().1;
    script.lines().map(|line| format!("{}\n", line.trim_start())).collect()
}

fn scripts() -> Vec<Script> {
    let nightly = block("docs/tutorials/nightly.md", |text| text.contains("runner prune --yes\n"));
    let detached = block("docs/operations.md", |text| text.contains("exec --detach"));
    let ci = block("docs/operations.md", |text| text.contains("--into \"$results/ci\""));
    let slurm = file("docs/shards/slurm.sh").replace("/shared/", "shared/");
    let merge =
        "\nrunner merge --into results/$SLURM_ARRAY_JOB_ID shared/$SLURM_ARRAY_JOB_ID/*-of-1";
    let shards = block("docs/shards.md", |text| text.contains("--shard 2/2"));
    [
        ("nightly", "nightly.toml", nightly),
        ("detached", "first.toml", detached),
        ("ci", "first.toml", ci),
        ("shards", "scenario.toml", shards),
        ("slurm", "scenario.toml", slurm + merge),
        ("gitlab", "scenario.toml", job("docs/shards/gitlab.yml")),
        ("github", "scenario.toml", job("docs/shards/github-actions.yml")),
        ("kubernetes", "scenario.toml", pod().replace("/results", "results")),
        ("action", "scenario.toml", action()),
    ]
    .map(|(name, scenario, text)| Script { name, scenario, text })
    .into()
}

impl Script {
    /// Prepares a folder for the script, with two good runs of the same scenario.
    fn folder(&self, good: &Runner) -> Runner {
        let runner = Runner::new(&["hostile"]);
        for folder in ["bin", "shards", "action"] {
            fs::create_dir(runner.path(folder)).unwrap();
        }
        symlink(PROGRAM, runner.path("bin/runner")).unwrap();
        // The artifact of the only shard is a results root.
        if self.name == "github" {
            fs::create_dir(runner.path("action/shards")).unwrap();
            symlink("../results", runner.path("action/shards/shard-0")).unwrap();
        }
        if self.text.contains("runner compare") {
            // Only runs of the same file are compared.
            make_good_runs(&runner, self.scenario);
        } else {
            let mut copy = runner.program("cp");
            copy.arg("-a").args([good.path("results"), good.path(".local")]).arg(".");
            finished(&mut copy).expect(0);
        }
        runner
    }

    /// Runs the script as its scheduler does.
    fn run(&self, runner: &Runner, scenario: &str, change: impl Fn(String) -> String) -> Finished {
        runner.write(self.scenario, scenario);
        let text = change(self.text.clone()).replace("srun ", "");
        runner.write("script.sh", text);
        // GitHub and GitLab stop at the first command that fails.
        let shell = if ["nightly", "slurm"].contains(&self.name) { "bash" } else { "bash -e" };
        let mut command = runner.shell(&format!("PATH=$PWD/bin:$PATH; {shell} script.sh"));
        command.envs([
            ("RUNNER_SHARDS", "1"),
            ("RUNNER_SHARD_INDEX", "0"),
            ("CI_NODE_INDEX", "1"),
            ("SLURM_ARRAY_JOB_ID", "7"),
            ("RUNNER_TEMP", "action"),
            ("JOB_COMPLETION_INDEX", "0"),
            ("RUNNER_TRUST_ROOT", self.trusted()),
            ("SCENARIO", self.scenario),
            ("ARGS", ""),
        ]);
        Running::start(&mut command).finish()
    }

    /// Returns the value of `RUNNER_TRUST_ROOT` in the job file.
    fn trusted(&self) -> &'static str {
        match self.name {
            "github" => "action",
            "gitlab" => ".",
            "kubernetes" => "results",
            // The script sets it, if it needs it.
            _ => "",
        }
    }
}

fn make_good_runs(runner: &Runner, scenario: &str) {
    runner.write(scenario, GOOD);
    for folder in ["results/first", "results/second"] {
        runner.run(&["exec", scenario, "--into", folder]).expect(0);
    }
}

/// Makes two good runs of each scenario that a script runs, for [`Script::folder`].
fn good_runs() -> BTreeMap<&'static str, Runner> {
    let scenarios: BTreeSet<_> = scripts().iter().map(|script| script.scenario).collect();
    let make = |scenario| {
        let runner = Runner::new(&[]);
        make_good_runs(&runner, scenario);
        (scenario, runner)
    };
    scenarios.into_iter().map(make).collect()
}

#[test]
fn documented_scripts_pass_only_if_all_ran() {
    let broken = GOOD.replace("plugin =", "rat = \"2/s\"\nplugin =");
    let without_plugin = GOOD.replace("bundled:echo", "missing.wasm");
    let good = good_runs();
    for script in scripts() {
        let name = script.name;
        let runner = script.folder(&good[script.scenario]);
        for scenario in [&broken, &without_plugin] {
            let ran = script.run(&runner, scenario, |text| text);
            assert_ne!(ran.code, Some(0), "{name}: {ran:?}");
            assert_eq!(runner.runs().len(), 2, "{name}: a refused scenario has a run");
        }
        let cut = script.run(&runner, LONG, |text| text.replace("runner exec", SLOW));
        assert_ne!(cut.code, Some(0), "{name}: {cut:?}");
        assert!(cut.stdout.contains("timeout") || cut.stderr.contains("timeout"), "{cut:?}");
    }
}

#[test]
fn documented_scripts_work_twice() {
    let good = good_runs();
    for script in scripts() {
        let name = script.name;
        let runner = script.folder(&good[script.scenario]);
        for time in ["first", "second"] {
            let ran = script.run(&runner, GOOD, |text| text);
            assert_eq!(ran.code, Some(0), "{name}, {time}: {ran:?}");
            // Each job of GitLab starts in an empty folder.
            if name == "gitlab" {
                fs::remove_dir_all(runner.path("results")).unwrap();
            }
            // Jobs may get another machine, without the home folder of the first one.
            if !["nightly", "shards"].contains(&name) {
                let _ = fs::remove_dir_all(runner.path(".local"));
            }
        }
    }
}
