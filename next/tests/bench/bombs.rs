//! What hostile guests make the runner hold: the most memory of the coordinator and of its worker, beyond that of a run in
//! which the same guest only echoes, and beyond what the guest itself held.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{Done, RUNNER};

/// Each bomb: its name, keys of the provider, and the input or arguments.
const COMPONENT: [(&str, &str, &str); 11] = [
    ("baseline", "", r#"{ do = "echo", value = 1 }"#),
    ("memory", "", r#"{ do = "grow-memory" }"#),
    (
        "standard output",
        "",
        r#"{ do = "flood-stdout", count = 300000 }"#,
    ),
    (
        "standard error",
        "",
        r#"{ do = "flood-stderr", count = 300000 }"#,
    ),
    (
        "log records",
        "",
        r#"{ do = "flood-log", count = 3000000 }"#,
    ),
    (
        "long log records",
        "",
        r#"{ do = "flood-log", count = 3000, bytes = 1000000 }"#,
    ),
    (
        "artifacts",
        "",
        r#"{ do = "flood-artifacts", count = 100000 }"#,
    ),
    (
        "large artifacts",
        "",
        r#"{ do = "flood-artifacts", count = 100, bytes = 10000000 }"#,
    ),
    ("reply", "", r#"{ do = "huge-reply" }"#),
    (
        "reply within its limit",
        "",
        r#"{ do = "huge-reply", bytes = 4000000 }"#,
    ),
    ("endless loop", "", r#"{ do = "loop" }"#),
];

/// Measures all bombs, with guests that were built into `guests`.
pub fn run(guests: &Path, cache: &Path, folder: &Path) -> Done {
    println!(
        "\nbombs, MB beyond the baseline (and beyond what the guest held): coordinator, worker, s"
    );
    let mut base = [0.0; 2];
    for (name, keys, input) in COMPONENT {
        let scenario = folder.join("bomb.toml");
        let plugin = guests.join("guest_hostile.wasm");
        fs::write(
            &scenario,
            format!(
                "timeout_minutes = 1\n[defaults]\ntimeout = \"10s\"\n[providers.p]\nplugin = {plugin:?}\n{keys}\n[[tests]]\nid = \"bomb\"\ninput = {input}\n"
            ),
        )?;
        let (peaks, guest, took) = measured(&scenario, cache, &folder.join("bombs"))?;
        if name == "baseline" {
            base = peaks;
        }
        println!(
            "  {name:24} {:6.1} {:6.1} {:6.1}",
            peaks[0] - base[0],
            (peaks[1] - base[1] - guest).max(0.0),
            took.as_secs_f64()
        );
    }
    Ok(())
}

/// The peaks of the coordinator and of its largest child in MB, what the guest held, and the wall time.
fn measured(scenario: &Path, cache: &Path, results: &Path) -> Done<([f64; 2], f64, Duration)> {
    let _ = fs::remove_dir_all(results);
    let began = Instant::now();
    let mut child = Command::new(RUNNER)
        .args(["exec", "-q", "-j", "1", "--results"])
        .args([results, scenario])
        .env("RUNNER_CACHE", cache)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut peaks = [0.0_f64; 2];
    while child.try_wait()?.is_none() {
        peaks[0] = peaks[0].max(peak(child.id()));
        for worker in children(child.id()) {
            peaks[1] = peaks[1].max(peak(worker));
        }
        thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    let rows = newest(results)?.join("index.jsonl");
    let row: Value =
        serde_json::from_str(fs::read_to_string(rows)?.lines().last().ok_or("a row")?)?;
    let guest = row["usage"]["peak_memory"].as_f64().unwrap_or(0.0) / 1e6;
    Ok((peaks, guest, took))
}

fn newest(results: &Path) -> Done<PathBuf> {
    let runs = fs::read_dir(results)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut runs = runs.filter(|path| path.join("index.jsonl").is_file());
    runs.next().ok_or_else(|| "a run".into())
}

/// The most memory that a process has had, in MB; 0 if it is gone.
fn peak(process: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let children =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children
        .flat_map(|text| {
            let numbers = text
                .split_whitespace()
                .filter_map(|number| number.parse().ok());
            numbers.collect::<Vec<u32>>()
        })
        .collect()
}
