//! Memory that hostile guests cost: the peaks of the coordinator and of its worker, beyond a run whose guest only
//! echoes and beyond the guest's own memory. Also workers' memory while many attempts wait.

use std::{
    fs,
    io::Write as _,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Map, Value, json};

use crate::{Done, RUNNER};

/// Inputs of the guest `hostile`, named by their action.
const INPUTS: [(&str, &str); 11] = [
    ("baseline", r#"{ do = "echo", value = 1 }"#),
    ("memory", r#"{ do = "grow-memory" }"#),
    ("standard output", r#"{ do = "flood-stdout", count = 300000 }"#),
    ("standard error", r#"{ do = "flood-stderr", count = 300000 }"#),
    ("log records", r#"{ do = "flood-log", count = 3000000 }"#),
    ("long log records", r#"{ do = "flood-log", count = 3000, bytes = 1000000 }"#),
    ("artifacts", r#"{ do = "flood-artifacts", count = 100000 }"#),
    ("large artifacts", r#"{ do = "flood-artifacts", count = 100, bytes = 10000000 }"#),
    ("reply", r#"{ do = "huge-reply" }"#),
    ("reply within its limit", r#"{ do = "huge-reply", bytes = 4000000 }"#),
    ("endless loop", r#"{ do = "loop" }"#),
];
/// Actions of the guest `files` in a folder that it may write to.
const ACTS: [(&str, &str); 4] = [
    ("a large file", r#"["fill", "/data/a", 1048576]"#),
    ("many files", r#"["flood", "/data"]"#),
    ("deep folders", r#"["deepen", "/data", 100000]"#),
    ("open files", r#"["write", "/data/a", "text"], ["hoard", "/data/a"]"#),
];

/// Measures all bombs, with the guests in the folder `guests`.
pub fn run(guests: &Path, cache: &Path, folder: &Path) -> Done {
    println!(
        "\nbombs, MB beyond the baseline (and beyond what the guest held): coordinator, worker, s"
    );
    fs::create_dir(folder.join("data"))?;
    fs::write(folder.join("schema.json"), exploding_schema().to_string())?;
    fs::write(folder.join("slow.wasm"), slow_to_compile()?)?;
    let plugin = |name: &str| format!("plugin = {:?}", guests.join(name));
    let mut bombs: Vec<(&str, String, String)> = Vec::new();
    for (name, input) in INPUTS {
        bombs.push((name, plugin("guest_hostile.wasm"), format!("input = {input}")));
    }
    for (name, acts) in ACTS {
        let grants = "grants.fs = [{ path = \"data\", mount = \"/data\", mode = \"rw\" }]\nlimits.scratch = \"64 MiB\"";
        let provider = format!("{}\n{grants}", plugin("guest_files.wasm"));
        bombs.push((name, provider, format!("input = [{acts}]")));
    }
    let origin = endless_server()?;
    let web = format!("{}\ngrants.net = [{origin:?}]", plugin("guest_web.wasm"));
    let get = format!("{{ by = \"send\", url = \"{origin}\" }},");
    let requests = [
        ("requests", "{ by = \"hoard\", size = 100000 }".to_owned()),
        ("responses without an end", get.repeat(50)),
    ];
    for (name, requests) in requests {
        bombs.push((name, web.clone(), format!("input = {{ requests = [{requests}] }}")));
    }
    let schema = "input = { do = \"echo\", value = [] }\nexpect = { schema = \"schema.json\" }";
    bombs.push(("schema", plugin("guest_hostile.wasm"), schema.to_owned()));
    let slow = format!("plugin = {:?}", folder.join("slow.wasm"));
    bombs.push(("slow to compile", slow, String::new()));

    let mut base = [0.0; 2];
    for (name, provider, test) in bombs {
        let scenario = folder.join("bomb.toml");
        fs::write(
            &scenario,
            format!(
                "timeout_minutes = 5\n[defaults]\ntimeout = \"10s\"\n[[tests]]\nid = \"bomb\"\n{test}\n[providers.p]\n{provider}\n"
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

/// A schema whose parts each refer twice to the next one.
fn exploding_schema() -> Value {
    let parts = (0..60).map(|number| {
        let next = json!({"$ref": format!("#/$defs/d{}", number + 1)});
        (format!("d{number}"), json!({"anyOf": [next, next]}))
    });
    let mut parts: Map<String, Value> = parts.collect();
    parts.insert("d60".to_owned(), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": parts})
}

/// A module of many functions that are expensive to compile.
fn slow_to_compile() -> Done<Vec<u8>> {
    let work = "(local.set 0 (i32.mul (i32.add (local.get 0) (i32.const 3)) (local.get 1)))";
    let function = format!("(func (param i32 i32) {})", work.repeat(100));
    let text = format!(
        "(module (memory (export \"memory\") 1) (func (export \"_start\")) {})",
        function.repeat(20_000)
    );
    Ok(wat::parse_str(text)?)
}

/// A server whose responses have no end.
fn endless_server() -> Done<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
                while stream.write_all(&[b'x'; 65_536]).is_ok() {}
            });
        }
    });
    Ok(origin)
}

/// Measures the memory of all workers while `count` attempts wait for a server that does not answer.
pub fn waiting(attempts: usize, guests: &Path, cache: &Path, folder: &Path) -> Done {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let origin = format!("http://{}", listener.local_addr()?);
    let scenario = folder.join("waiting.toml");
    let plugin = guests.join("guest_web.wasm");
    fs::write(
        &scenario,
        format!(
            "[defaults]\nrepeat = {attempts}\n[[tests]]\nid = \"waits\"\ninput = {{ requests = [{{ url = \"{origin}\" }}] }}\n[providers.p]\nplugin = {plugin:?}\ngrants.net = [{origin:?}]\n"
        ),
    )?;
    let mut child = Command::new(RUNNER)
        .args(["exec", "-q", "-j", &attempts.to_string(), "--results"])
        .args([&folder.join("waiting"), &scenario])
        .env("RUNNER_CACHE", cache)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let accepted = listener.incoming().take(attempts);
    let connections = accepted.collect::<Result<Vec<_>, _>>()?;
    let workers: Vec<u32> = children(child.id()).into_iter().filter(is_worker).collect();
    let held: f64 = workers.iter().map(|worker| megabytes(*worker, "RssAnon:")).sum();
    println!(
        "\n{} attempts that wait for a server, {} workers: {held:.1} MB of their own",
        connections.len(),
        workers.len()
    );
    child.kill()?;
    child.wait()?;
    Ok(())
}

/// Peaks of the coordinator and of its largest worker in MB, memory of the guest, and wall time.
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
        for worker in children(child.id()).into_iter().filter(is_worker) {
            peaks[1] = peaks[1].max(peak(worker));
        }
        thread::sleep(Duration::from_millis(2));
    }
    let took = began.elapsed();
    let rows = newest(results)?.join("index.jsonl");
    let rows = fs::read_to_string(rows)?;
    // A refused plugin has no row.
    let row: Value = serde_json::from_str(rows.lines().last().unwrap_or("null"))?;
    let guest = row["usage"]["peak_memory"].as_f64().unwrap_or(0.0) / 1e6;
    Ok((peaks, guest, took))
}

fn newest(results: &Path) -> Done<PathBuf> {
    let runs = fs::read_dir(results)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut runs = runs.filter(|path| path.join("index.jsonl").is_file());
    runs.next().ok_or_else(|| "a run".into())
}

/// Returns a process's peak memory in MB, 0 if it has ended.
fn peak(process: u32) -> f64 {
    megabytes(process, "VmHWM:")
}

/// Returns a field of `/proc/PID/status` in MB.
fn megabytes(process: u32, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0 / 1e6
}

/// Compilers have limits of their own.
fn is_worker(process: &u32) -> bool {
    let words = fs::read_to_string(format!("/proc/{process}/cmdline")).unwrap_or_default();
    words.split('\0').any(|word| word == "__worker")
}

fn children(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let children =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children
        .flat_map(|text| {
            let numbers = text.split_whitespace().filter_map(|number| number.parse().ok());
            numbers.collect::<Vec<u32>>()
        })
        .collect()
}
