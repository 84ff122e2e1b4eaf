//! Shards as tasks of a real Slurm, with the job file of the documentation as it stands there.
//!
//! Slurm has one node, and all that it keeps is in a folder of the test. `.ci/run` installs its packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

use crate::support::{
    runner::{CommandExt as _, Ran, Runner},
    truth::{assert_same_end, canonical},
    wait::{wait_for, wait_until},
};

const TASKS: usize = 5;
/// So many that a task takes some seconds.
const TRIALS: usize = 100;

/// A cluster of one node, which ends with this value.
struct Slurm {
    folder: TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    fn start() -> Self {
        let mut slurm = Self {
            folder: tempfile::tempdir().unwrap(),
            daemons: Vec::new(),
        };
        for name in ["state", "spool"] {
            fs_err::create_dir(slurm.path(name)).unwrap();
        }
        slurm.start_munge();
        fs_err::write(slurm.path("slurm.conf"), slurm.config()).unwrap();
        for name in ["slurmctld", "slurmd"] {
            let log = slurm.path(&format!("{name}.log"));
            slurm.start_daemon(name, &["-D", "-L", log.to_str().unwrap()]);
        }
        wait_until("the node is idle", || {
            let asked = slurm.command("sinfo", &["--noheader", "--format=%T"]);
            asked.stdout.trim() == "idle"
        });
        slurm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What users of this cluster are known to each other by.
    fn start_munge(&mut self) {
        use std::os::unix::fs::PermissionsExt;

        // Its socket is for everybody, so the way to it is, too.
        for (name, mode) in [("", 0o755), ("munge.key", 0o600)] {
            let path = self.path(name);
            if !path.exists() {
                fs_err::write(&path, [7; 1024]).unwrap();
            }
            fs_err::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        }
        let files = ["socket", "key-file", "pid-file", "log-file", "seed-file"];
        let names = ["socket", "key", "pid", "log", "seed"];
        let args = files.iter().zip(names).map(|(flag, name)| {
            let path = self.path(&format!("munge.{name}"));
            format!("--{flag}={}", path.display())
        });
        let args: Vec<_> = args
            .chain(["--foreground".into(), "--force".into()])
            .collect();
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        self.start_daemon("munged", &args);
        let socket = self.path("munge.socket");
        wait_until("munge answers", || socket.exists());
    }

    fn config(&self) -> String {
        let [here, host, user] = [
            self.folder.path().display().to_string(),
            said("hostname", &["-s"]),
            said("id", &["-un"]),
        ];
        let [first, second] = free_ports();
        // A task of which it is not said what it needs gets one processor; there are to be two at a time. A task that is
        // queued again waits for as long as the credentials of the one before hold.
        format!(
            "ClusterName=proofs\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={first}\nSlurmdPort={second}\n\
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

    fn start_daemon(&mut self, name: &str, args: &[&str]) {
        let mut command = Command::new(name);
        command
            .args(args)
            .env("PATH", with_sbin())
            .env("SLURM_CONF", self.path("slurm.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let daemon = command.spawn();
        let daemon = daemon.unwrap_or_else(|error| {
            panic!("`{name}` cannot be started: {error}; `.ci/run` installs it")
        });
        self.daemons.push(daemon);
    }

    fn command(&self, name: &str, args: &[&str]) -> Ran {
        let mut command = Command::new(name);
        command
            .args(args)
            .env("SLURM_CONF", self.path("slurm.conf"));
        command.stdin(Stdio::null()).run()
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // Tasks that are left would go on without it.
        let user = said("id", &["-un"]);
        self.command("scancel", &["--signal=KILL", "--full", "--user", &user]);
        self.command("scancel", &["--user", &user]);
        for daemon in self.daemons.iter_mut().rev() {
            let pid = daemon.id().to_string();
            let _ = Command::new("kill").arg(&pid).status();
            let _ = daemon.wait();
        }
    }
}

fn with_sbin() -> String {
    format!("{}:/usr/sbin:/sbin", env::var("PATH").unwrap())
}

fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn free_ports() -> [u16; 2] {
    let held = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// The job file of the documentation, with another shared folder, and what it says to type.
fn job_file(runner: &Runner) -> [String; 3] {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/shards/slurm.sh");
    let text = fs_err::read_to_string(path).unwrap();
    let text = text.replace("/shared/", &format!("{}/", runner.path("shared").display()));
    assert!(text.contains("#SBATCH --array=0-63"), "{text}");
    let typed = text.lines().filter_map(|line| line.strip_prefix("#   "));
    let typed: Vec<_> = typed.map(str::to_owned).collect();
    let [submit, merge] = typed.try_into().unwrap();
    [text, submit, merge]
}

#[test]
fn an_array_of_shards_of_which_one_is_queued_again_and_one_cancelled_is_merged_and_gone_on_with() {
    let slurm = Slurm::start();
    let runner = Runner::hostile(&format!(
        "[[tests]]\nid = \"nap\"\nrepeat = {TRIALS}\ninput = {{ do = \"sleep\", ms = 500 }}\n"
    ));
    runner.exec(&["-j50", "--results", "alone"]).expect(0);
    let alone = fs_err::read_dir(runner.path("alone")).unwrap();
    let mut alone = alone.map(|entry| entry.unwrap().path());
    let alone = alone.find(|path| path.join("benchmark.json").exists());
    let expected = canonical(&runner.run_at(alone.unwrap().to_str().unwrap()));

    let [text, submit, merge] = job_file(&runner);
    runner.write("slurm.sh", text);
    // There are fewer tasks, so that this takes less time; what stands on the command line goes before what is in the file.
    let submit = submit.replace("sbatch ", &format!("sbatch --array=0-{} ", TASKS - 1));
    let merge = merge.replace("-of-64", &format!("-of-{TASKS}"));
    let bin = runner.path("bin");
    runner.write("bin/.keep", "");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_runner"), bin.join("runner")).unwrap();
    let in_job = |script: &str| {
        let path = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
        let mut shell = runner.shell(script);
        shell.env("SLURM_CONF", slurm.path("slurm.conf"));
        shell.env("PATH", path).run().expect(0).stdout
    };
    let job = in_job(&format!("{submit}\n{merge} >&2\necho \"$job\""));
    let job = job.trim();
    let shard = |task: usize| {
        let dir = format!("shared/{job}/{}-of-{TASKS}", task + 1);
        runner.run_at(&dir)
    };
    let rows = |task: usize| {
        let index = fs_err::read(shard(task).dir.join("index.jsonl")).unwrap_or_default();
        index.iter().filter(|byte| **byte == b'\n').count()
    };
    for (task, does) in [(0, "requeue"), (1, "cancel")] {
        wait_until("the task has rows", || rows(task) > 0);
        let task = format!("{job}_{task}");
        match does {
            "requeue" => slurm.command("scontrol", &["requeue", &task]).expect(0),
            _ => slurm.command("scancel", &[&task]).expect(0),
        };
    }
    // What merges is started by Slurm, once all have ended, and says what is missing.
    let output = wait_for("the shards were merged", || {
        let queue = slurm.command("squeue", &["--noheader"]).expect(0).stdout;
        let outputs = fs_err::read_dir(runner.path("")).unwrap();
        let mut outputs = outputs.map(|entry| entry.unwrap().path());
        let merged = outputs.find(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("slurm-") && !name.contains('_') && name.ends_with(".out")
        });
        merged.filter(|_| queue.trim().is_empty())
    });
    let output = fs_err::read_to_string(output).unwrap();
    let said = in_job("cat slurm-*_*.out");
    let cancelled = format!("2-of-{TASKS}");
    for part in [&cancelled, "trials have no result", "--allow-holes"] {
        assert!(output.contains(part), "`{part}` is not in {output}\n{said}");
    }
    assert!(!runner.path("results").exists(), "{output}");
    assert!(
        said.contains(&format!("shard 1/{TASKS}, by Slurm")),
        "{said}"
    );
    for task in 0..TASKS {
        let manifest = shard(task).manifest();
        let (status, sessions) = match task {
            0 => ("completed", 2),
            1 => ("incomplete", 1),
            _ => ("completed", 1),
        };
        assert_eq!(manifest["status"], status, "{manifest:#}");
        assert_eq!(manifest["sessions"].as_array().unwrap().len(), sessions);
    }

    let dirs = (1..=TASKS).map(|index| format!("shared/{job}/{index}-of-{TASKS}"));
    let dirs: Vec<_> = dirs.collect();
    let dirs: Vec<_> = dirs.iter().map(String::as_str).collect();
    let merge = ["merge", "--into", "results/whole", "--allow-holes"];
    runner.run(&[&merge, &dirs[..]].concat()).expect(4);
    let run = runner.run_at("results/whole");
    assert_eq!(run.ending(), ["incomplete", "holes", "", "none"]);
    assert!(canonical(&run).len() < TRIALS);
    let resume = ["resume", "--from", "results/whole", "-j50"];
    runner.run(&resume).expect(0);
    assert_same_end(&run, &expected);
    assert_eq!(run.ending(), ["completed", "", "", "passed"]);
    runner.run(&["verify", "results/whole"]).expect(0);
}
