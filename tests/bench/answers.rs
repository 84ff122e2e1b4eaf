//! Reports, comparisons and documents of a large run, and shards against one run.

use std::time::{Duration, Instant};
use std::{fs, process::Stdio};

use runner_model::row::read_line;

use crate::{Bench, Done, measured, newest, plain_read};

/// Runs of a history.
const RUNS: usize = 20;
/// Shards of the plan.
const SHARDS: u32 = 4;
/// Iterations of the guest's loop: about 1 ms.
const SPINS: u32 = 3_000_000;

impl Bench {
    /// Measures each report form, `compare` and other documents of a run in which a tenth of `n` trials fails.
    pub fn answers(&self) -> Done {
        let scenario = self.folder.path().join("failing.toml");
        fs::write(
            &scenario,
            format!(
                "[providers.echo]\nplugin = {:?}\n[[test_lists]]\nfiles = [\"list.jsonl\"]\n\
                 id = \"{{{{row.id}}}}\"\ninput = \"{{{{row.id}}}}\"\nexpect = {{ matches = \"[1-9]$\" }}\n",
                self.guests[1].file
            ),
        )?;
        let (scenario, results) =
            (scenario.display().to_string(), self.folder.path().join("failing"));
        let root = results.display().to_string();
        for _ in 0..2 {
            self.watched(&["exec", "-q", "-j", "2", "--results", &root, &scenario])?;
        }
        let rows = newest(&results)?.join("index.jsonl");
        let base = plain_read(&rows)?;
        let began = Instant::now();
        let text = fs::read(&rows)?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let failed = lines.filter(|line| read_line(line).is_ok_and(|row| row.outcome.is_bad()));
        let failed = failed.count();
        let typed = began.elapsed();
        println!(
            "\na run of {} rows, {failed} of them failed: s, times the reading of its rows as JSON and as rows, MB",
            self.n
        );
        println!("  read, parse as JSON     {:.2}", base.as_secs_f64());
        println!("  read, parse as rows     {:.2}", typed.as_secs_f64());
        let file = self.folder.path().join("report").display().to_string();
        let calls: [&[&str]; 11] = [
            &["report", "--html", "-o", &file],
            &["report", "--junit", "-o", &file],
            &["report", "--markdown", "-o", &file],
            &["report", "--csv", "-o", &file],
            &["show", "--json"],
            &["show", "--failed"],
            &["show", "--matrix"],
            &["compare"],
            // The first history fills the table of results.
            &["history"],
            &["history"],
            &["exec", "--last-failed", "--dry-run", &scenario],
        ];
        for call in calls {
            let (took, peak) = self.watched(&[call, &["--results", &root]].concat())?;
            let times = |base: Duration| took.as_secs_f64() / base.as_secs_f64();
            let name = call[..call.len().min(2)].join(" ");
            println!(
                "  {name:22}  {:.2} ({:.2}, {:.2}) {peak:.1}",
                took.as_secs_f64(),
                times(base),
                times(typed)
            );
        }
        self.history(self.n / 10)
    }

    /// Measures the history of [`RUNS`] runs of `trials` trials, whose tables are in the cache.
    fn history(&self, trials: u64) -> Done {
        let folder = self.folder.path().join("past");
        fs::create_dir(&folder)?;
        let tests: String =
            (0..trials).map(|id| format!("{{\"id\":\"t{id}\",\"input\":{id}}}\n")).collect();
        fs::write(folder.join("list.jsonl"), tests)?;
        let scenario = folder.join("past.toml");
        fs::write(
            &scenario,
            format!(
                "[providers.echo]\nplugin = {:?}\n[[test_lists]]\nfiles = [\"list.jsonl\"]\n\
                 expect = {{ matches = \"[1-9]$\" }}\n",
                self.guests[1].file
            ),
        )?;
        let (scenario, results) = (scenario.display().to_string(), folder.join("results"));
        let root = results.display().to_string();
        for _ in 0..RUNS {
            self.watched(&["exec", "-q", "-j", "2", "--results", &root, &scenario])?;
        }
        let base = plain_read(&newest(&results)?.join("index.jsonl"))?.as_secs_f64();
        let mut took = Vec::new();
        for _ in 0..6 {
            took.push(self.watched(&["history", "--results", &root])?);
        }
        let (first, _) = took.remove(0);
        took.sort_by_key(|(took, _)| *took);
        let (later, peak) = took[2];
        println!(
            "\nhistory of {RUNS} runs of {trials} rows: s, times the reading of one run's rows as JSON"
        );
        for (name, took) in [("first", first), ("later, median of 5", later)] {
            println!("  {name:22}  {:.2} ({:.2})", took.as_secs_f64(), took.as_secs_f64() / base);
        }
        println!("  memory, MB: {peak:.1}");
        Ok(())
    }

    /// Measures shards of trials of 1 ms, one after the other, and their merge, against one run.
    pub fn shards(&self, trials: u64) -> Done {
        let folder = self.folder.path().join("sharded");
        fs::create_dir(&folder)?;
        let module = format!(
            "(module (memory (export \"memory\") 1) (func (export \"_start\") (local i32)
               (loop (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                 (br_if 0 (i32.lt_u (local.get 0) (i32.const {SPINS}))))))"
        );
        fs::write(folder.join("spin.wasm"), wat::parse_str(module)?)?;
        let tests: String =
            (0..trials).map(|id| format!("{{\"id\":\"t{id}\",\"input\":{id}}}\n")).collect();
        fs::write(folder.join("list.jsonl"), tests)?;
        let scenario = folder.join("spin.toml");
        fs::write(
            &scenario,
            "[providers.spin]\nplugin = \"spin.wasm\"\n[[test_lists]]\nfiles = [\"list.jsonl\"]\n",
        )?;
        let scenario = scenario.display().to_string();
        let exec = |args: &[&str]| self.took(&[&["exec", "-q", &scenario], args].concat());
        let one = folder.join("one").display().to_string();
        // The first run compiles the plugin.
        exec(&["--into", &one, "--test", "t0"])?;
        fs::remove_dir_all(&one)?;
        let whole = exec(&["--into", &one])?;
        let shards: Vec<_> = (1..=SHARDS)
            .map(|shard| folder.join(shard.to_string()).display().to_string())
            .collect();
        let (mut sharded, mut verified) = (Duration::ZERO, Duration::ZERO);
        for (number, shard) in (1..=SHARDS).zip(&shards) {
            sharded += exec(&["--shard", &format!("{number}/{SHARDS}"), "--into", shard])?;
        }
        for shard in &shards {
            verified += self.took(&["verify", shard])?;
        }
        let into = folder.join("merged").display().to_string();
        let shards: Vec<_> = shards.iter().map(String::as_str).collect();
        let merged = self.took(&[&["merge", "--into", &into], &shards[..]].concat())?;
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!("\n{SHARDS} shards of {trials} trials together, s");
        println!("  one run                 {:.2}", whole.as_secs_f64());
        let both = sharded + merged;
        println!("  shards and merge        {:.2} ({:.2})", both.as_secs_f64(), ratio(both, whole));
        println!("  verify of the shards    {:.2}", verified.as_secs_f64());
        println!(
            "  merge / verify          {:.2} ({:.2})",
            merged.as_secs_f64(),
            ratio(merged, verified)
        );
        Ok(())
    }

    /// Returns the wall time of a command, which must succeed.
    fn took(&self, args: &[&str]) -> Done<Duration> {
        let mut command = self.runner(args);
        let (status, cost) = measured(|| Ok(command.stdin(Stdio::null()).status()?))?;
        match status.success() {
            true => Ok(Duration::from_secs_f64(cost.wall / 1e6)),
            false => Err(format!("{} ended with {status}", args.join(" ")).into()),
        }
    }
}
