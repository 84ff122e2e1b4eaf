//! `--shard`: parts of a plan that several processes run.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::messages::{outputs::snapshot, transcript::Transcript};
use crate::support::{
    guests::root,
    processes::Process,
    run::Run,
    runner::{PROGRAM, Runner, tests},
    running::{Running, finished},
    truth::{assert_numbered, results},
    wait::wait_until,
};

/// Tests on two providers. Some fail.
pub(crate) fn runner() -> Runner {
    let runner = Runner::new(&[]);
    let tests = tests("good | 1 | equals = 1\nbad | 1 | equals = 2\nmore | [1] | json = [1]");
    runner.scenario(&format!(
        "[providers.a]\nplugin = \"bundled:echo\"\n[providers.b]\nplugin = \"bundled:echo\"\n[defaults]\nrepeat = 3\n{tests}"
    ));
    runner
}

fn planned(runner: &Runner, args: &[&str]) -> Vec<String> {
    let ran = runner.exec(&[&["--dry-run"], args].concat()).expect(0);
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn each_trial_has_one_shard() {
    let runner = runner();
    let whole = planned(&runner, &[]);
    let shards = ["1/3", "2/3", "3/3"].map(|shard| planned(&runner, &["--shard", shard]));
    assert!(shards.iter().all(|shard| shard.len() > 1), "{shards:?}");
    let mut all = shards.concat();
    all.sort();
    let mut sorted = whole.clone();
    sorted.sort();
    assert_eq!(all, sorted);
    // The trials of a shard are in the order of the plan.
    let in_order = whole.iter().filter(|trial| shards[0].contains(trial));
    assert!(in_order.eq(&shards[0]));
    let ran = runner.exec(&["--shard", "1/3", "--provider", "a", "--into", "results/{shard}"]);
    assert!(ran.code < Some(2), "{ran:?}");
    snapshot(&ran);
    let run = runner.only_run();
    assert_eq!(run.id(), "1-of-3");
    let own: Vec<_> = results(&run).into_keys().collect();
    let mut expected = shards[0].clone();
    expected.retain(|trial| trial.contains("@a#"));
    expected.sort();
    assert_eq!(own, expected);
    assert_eq!(runner.list()[0]["shard"], "1/3");
    runner.run(&["list"]).expect(0).says(&["(shard 1/3)"]);
    snapshot(&runner.run(&["show"]).expect(0));
    runner.run(&["verify"]).expect(0);
}

#[test]
fn last_event_has_the_code_for_the_scheduler() {
    let runner = Runner::hostile(&tests(r#"a | { do = "echo", value = 1 } | equals = 2"#));
    runner.write("other.toml", fs::read(runner.path("scenario.toml")).unwrap());
    for scenarios in [&["scenario.toml"][..], &["scenario.toml", "other.toml"]] {
        for (flag, code) in [(None, 1), (Some("--scheduler-exit"), 0)] {
            let flags = flag.into_iter().chain(["--json"]).collect::<Vec<_>>();
            let ran = runner.run(&[&["exec"], scenarios, &flags].concat()).expect(code);
            let finished = ran.events().into_iter().filter(|event| event["event"] == "finished");
            let codes: Vec<_> = finished.map(|event| event["exit_code"].clone()).collect();
            assert_eq!(codes, vec![code; scenarios.len()], "{scenarios:?} {flag:?}");
        }
    }
}

#[test]
fn auto_reads_variables_of_schedulers() {
    let mut transcript = Transcript::default();
    let runner = runner();
    let auto = |variables: &[(&str, &str)]| {
        let mut command =
            runner.command(&["exec", "scenario.toml", "--dry-run", "--shard", "auto"]);
        Running::start(command.envs(variables.iter().copied())).finish()
    };
    let shards = ("RUNNER_SHARDS", "8");
    let slurm = [("SLURM_ARRAY_TASK_ID", "14"), ("SLURM_ARRAY_TASK_COUNT", "5")];
    let steps = [("SLURM_ARRAY_TASK_MIN", "10"), ("SLURM_ARRAY_TASK_STEP", "2")];
    for variables in [
        &[("RUNNER_SHARD_INDEX", "0"), shards, ("CI_NODE_INDEX", "7")][..],
        &[slurm[0], slurm[1], steps[0], steps[1]],
        &[("SLURM_ARRAY_TASK_ID", "4"), shards, slurm[1], steps[0]],
        &[("JOB_COMPLETION_INDEX", "7"), shards],
        &[("AWS_BATCH_JOB_ARRAY_INDEX", "1"), ("AWS_BATCH_JOB_ARRAY_SIZE", "4")],
        &[("NOMAD_ALLOC_INDEX", "1"), shards],
        &[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "4")],
        &[("CIRCLE_NODE_INDEX", "2"), ("CIRCLE_NODE_TOTAL", "4")],
        &[("BUILDKITE_PARALLEL_JOB", "0"), ("BUILDKITE_PARALLEL_JOB_COUNT", "4")],
    ] {
        snapshot(&auto(variables).expect(0));
    }
    for variables in [
        &[][..],
        &[("JOB_COMPLETION_INDEX", "7")],
        &[("CI_NODE_INDEX", "x"), ("CI_NODE_TOTAL", "4")],
        &[("CI_NODE_INDEX", "0"), ("CI_NODE_TOTAL", "4")],
        &[("CI_NODE_INDEX", "5"), ("CI_NODE_TOTAL", "4")],
        &[("RUNNER_SHARD_INDEX", "0"), ("RUNNER_SHARDS", "0")],
        &[slurm[0], slurm[1], ("SLURM_ARRAY_TASK_STEP", "3")],
    ] {
        transcript.add("auto", &auto(variables).expect(2));
    }
    transcript.check("auto_reads_variables_of_schedulers");
}

#[test]
fn wrong_shards_are_refused() {
    let mut transcript = Transcript::default();
    let runner = runner();
    for args in [
        &["--shard", "3"][..],
        &["--shard", "5/4"],
        &["--shard", "1/20000"],
        &["--shard", "1/2", "--last-failed"],
        &["--shard", "1/2", "-E", "in(latest, outcome(failed))"],
        &["--into", "results/{shard}"],
    ] {
        transcript.refused(&runner, args);
    }
    transcript.check("wrong_shards_are_refused");
}

#[test]
fn filter_of_a_shard_names_its_run() {
    let runner = runner();
    runner.exec(&[]).expect(1);
    let run = runner.only_run();
    let fixed = format!("name the run by its id: {}", run.id());
    for name in ["latest", "latest~0:scenario"] {
        let nested = format!("in({}, in(\"{name}\", outcome(failed)))", run.id());
        for args in [["--failed-in", name], ["-E", &nested]] {
            let ran = runner.exec(&[&["--shard", "1/2"][..], &args].concat()).expect(2);
            ran.says(&[&format!("`{name}` may be another run for each shard"), &fixed]);
        }
    }
    runner.exec(&["--shard", "1/2", "--failed-in", run.id()]).expect(1);
    runner.exec(&["--failed-in", "latest"]).expect(1);
}

#[test]
fn shard_in_a_folder_is_continued() {
    let runner = Runner::hostile(
        "[run]\nfail_fast = 1\n[[tests]]\nid = \"t\"\nrepeat = 20\ninput = { do = \"trap\" }\n",
    );
    let exec = |shard: &str, more: &[&str]| {
        let args = ["--shard", shard, "--into", "results/part", "-j", "1", "--scheduler-exit"];
        runner.exec(&[&args, more].concat())
    };
    // A shard that was cut short is started again, and one that has done its work is not.
    exec("1/2", &[]).expect(4);
    exec("1/2", &["--fail-fast", "off"]).expect(0);
    snapshot(&exec("1/2", &[]).expect(0));
    let run = runner.only_run();
    assert_eq!(run.manifest()["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(results(&run).len() as u64, run.planned());
    snapshot(&exec("2/2", &[]).expect(2));
    snapshot(&runner.exec(&["--into", "results/part"]).expect(2));
    // Without the flag, the exit code is that of the verdict.
    runner.run(&["resume", "part", "--rerun", "all", "--fail-fast", "off"]).expect(1);
}

#[test]
fn empty_shard_is_completed_at_once() {
    let runner = Runner::new(&[]);
    let one = tests("only | 1 | equals = 1");
    runner.scenario(&format!("[providers.a]\nplugin = \"bundled:echo\"\n{one}"));
    for shard in ["1/2", "2/2"] {
        runner.exec(&["--shard", shard]).expect(0);
    }
    let planned: Vec<_> = runner.runs().iter().map(Run::planned).collect();
    assert_eq!(planned.iter().sum::<u64>(), 1, "{planned:?}");
    assert!(runner.list().iter().all(|run| run["state"] == "passed"));
    // A misspelt test selects nothing, in every shard.
    runner.exec(&["--shard", "1/2", "--test", "no"]).expect(5);
}

#[test]
fn changes_keep_the_trials_of_a_shard() {
    let runner = runner();
    runner.exec(&["--shard", "1/2"]).expect(1);
    let run = runner.only_run();
    let before: Vec<_> = results(&run).into_keys().collect();
    let text = fs::read_to_string(runner.path("scenario.toml")).unwrap();
    runner.scenario(&text.replace("equals = 2", "equals = 1"));
    runner.run(&["resume", "--accept-changes"]).expect(0);
    assert_eq!(results(&run).into_keys().collect::<Vec<_>>(), before);
    runner.scenario(&text);
    runner.run(&["rescore"]).expect(1);
    runner.run(&["verify"]).expect(0);
    assert_eq!(results(&run).into_keys().collect::<Vec<_>>(), before);
}

/// A cluster of one node, which ends with this value.
struct Slurm {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    fn start() -> Self {
        let mut slurm = Self { folder: tempfile::tempdir().unwrap(), daemons: Vec::new() };
        for name in ["state", "spool"] {
            fs::create_dir(slurm.path(name)).unwrap();
        }
        slurm.start_munge();
        fs::write(slurm.path("slurm.conf"), slurm.config()).unwrap();
        for name in ["slurmctld", "slurmd"] {
            let log = slurm.path(&format!("{name}.log"));
            slurm.start_daemon(name, &["-D", "-L", log.to_str().unwrap()]);
        }
        wait_until("the node is idle", || slurm.output("sinfo", &["-h", "-o", "%T"]) == "idle");
        slurm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts the service that proves who a user is.
    fn start_munge(&mut self) {
        fs::set_permissions(self.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        fs::write(self.path("munge.key"), [7; 1024]).unwrap();
        fs::set_permissions(self.path("munge.key"), PermissionsExt::from_mode(0o600)).unwrap();
        let files = ["socket", "key-file", "pid-file", "log-file", "seed-file"];
        let file = |flag: &str| {
            let name = flag.trim_end_matches("-file");
            format!("--{flag}={}", self.path(&format!("munge.{name}")).display())
        };
        let files: Vec<_> = files.iter().map(|flag| file(flag)).collect();
        let args: Vec<_> = files.iter().map(String::as_str).collect();
        self.start_daemon("munged", &[&args, &["--foreground", "--force"][..]].concat());
        let socket = self.path("munge.socket");
        wait_until("munge answers", || socket.exists());
    }

    fn config(&self) -> String {
        let here = self.folder.path().display();
        let [host, user] = [self.output("hostname", &["-s"]), self.output("id", &["-un"])];
        let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let [first, second] = held.map(|listener| listener.local_addr().unwrap().port());
        format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={first}\nSlurmdPort={second}\n\
             AuthType=auth/munge\nAuthInfo=socket={here}/munge.socket,cred_expire=10\nCredType=cred/munge\n\
             SlurmUser={user}\nSlurmdUser={user}\nStateSaveLocation={here}/state\nSlurmdSpoolDir={here}/spool\n\
             SlurmctldPidFile={here}/slurmctld.pid\nSlurmdPidFile={here}/slurmd.pid\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\n\
             JobAcctGatherType=jobacct_gather/none\nAccountingStorageType=accounting_storage/none\n\
             SchedulerType=sched/builtin\nSelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\n\
             ReturnToService=2\nMailProg=/bin/true\nSlurmdParameters=config_overrides\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN\n\
             PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
        )
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        command.env("PATH", format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap()));
        command.env("SLURM_CONF", self.path("slurm.conf")).stdin(Stdio::null());
        command
    }

    fn start_daemon(&mut self, name: &str, args: &[&str]) {
        let mut command = self.command(name);
        let daemon = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.daemons.push(daemon.unwrap());
    }

    fn output(&self, name: &str, args: &[&str]) -> String {
        finished(self.command(name).args(args)).stdout.trim().to_owned()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Tasks would outlive the daemons.
        let user = self.output("id", &["-un"]);
        self.output("scancel", &["--signal=KILL", "--full", "--user", &user]);
        self.output("scancel", &["--user", &user]);
        for daemon in self.daemons.iter_mut().rev() {
            Process(daemon.id()).signal(Signal::TERM);
            // SIGTERM ends a daemon of Slurm soon.
            let _ = daemon.wait();
        }
    }
}

/// A real Slurm runs the job file of the pages. It needs Debian's packages slurmctld, slurmd, slurm-client and munge.
#[test]
fn slurm_runs_and_merges_an_array() {
    let is_full = env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    if !is_full || !Path::new("/usr/sbin/slurmctld").exists() {
        return;
    }
    let slurm = Slurm::start();
    let runner = Runner::hostile(
        "[[tests]]\nid = \"nap\"\nrepeat = 60\ninput = { do = \"sleep\", ms = 200 }\n",
    );
    let text = fs::read_to_string(root().join("docs/shards/slurm.sh")).unwrap();
    let shared = runner.path("shared");
    let text = text.replace("/shared/", &format!("{}/", shared.display()));
    let typed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let script = typed.join("\n").replace("sbatch --p", "sbatch --array=0-3 --p");
    let script = script.replace("-of-64", "-of-4 --allow-holes");
    runner.write("slurm.sh", &text);
    fs::create_dir(runner.path("bin")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, runner.path("bin/runner")).unwrap();
    let mut shell = runner.shell(&format!("{script}\necho \"$job\""));
    shell.env("SLURM_CONF", slurm.path("slurm.conf"));
    shell.env("PATH", format!("{}:{}", runner.path("bin").display(), env::var("PATH").unwrap()));
    let ran = Running::start(&mut shell).finish().expect(0);
    let job = ran.stdout.lines().last().unwrap().to_owned();
    let shard = |task: usize| Run { dir: shared.join(format!("{job}/{}-of-4", task + 1)) };
    // One task is queued again while it runs, and continues. Another one is cancelled.
    let has_rows = |run: &Run| run.dir.join("index.jsonl").exists() && run.rows().len() > 2;
    for (task, command, action) in [(0, "scontrol", "requeue"), (3, "scancel", "--verbose")] {
        wait_until("the task has rows", || has_rows(&shard(task)));
        slurm.output(command, &[action, &format!("{job}_{task}")]);
    }
    let merged = Run { dir: runner.path(&format!("results/{job}")) };
    wait_until("the shards are merged", || merged.dir.join("benchmark.json").exists());
    assert_eq!(merged.ending()[..2], ["incomplete", "holes"], "{:?}", merged.manifest());
    let left = 60 - results(&merged).len();
    let named = format!("{left} trials have no result: nap@hostile#");
    assert!(merged.manifest()["message"].as_str().unwrap().starts_with(&named));
    assert_eq!(shard(0).manifest()["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(merged.manifest()["sessions"].as_array().unwrap().len(), 6);
    runner.run(&["resume", merged.dir.to_str().unwrap()]).expect(0);
    assert_numbered(&merged.rows());
    assert_eq!(results(&merged).len(), 60);
}
