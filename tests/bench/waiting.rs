//! What attempts cost that wait for a server: threads, and memory each.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
};

use super::{
    guests,
    table::{Bench, figure, title},
};

/// How long the server takes for an answer.
const SLOW: Duration = Duration::from_secs(8);
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// What a session and its workers have at a moment.
#[derive(Clone, Copy, Default)]
struct Held {
    threads: u64,
    /// In KiB.
    resident: u64,
}

/// Requests to a slow server, one and then thousands at a time.
pub(crate) fn waiting(bench: &mut Bench) {
    let many = bench.pick(3_900, 1_000);
    title(&format!("{many} attempts that wait for a slow server"));
    let server = Runtime::new().expect("a runtime can be made");
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0"));
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("it has an address");
    server.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });

    let scenario = format!(
        r#"
        name = "waiting"
        defaults.timeout = "5m"
        defaults.retries = {{ max = 2, backoff = "500ms", on = ["unavailable"] }}
        [providers.http]
        plugin = '{}'
        config = {{ base_url = "http://{address}" }}
        grants.net = ["http://{address}"]
        [[tests]]
        id = "get"
        repeat = {}
        input = {{ path = "/" }}
        expect = {{ json = {{ status = 200 }} }}
        "#,
        guests::guest("http_provider").display(),
        // Of the first it is learnt what one holds.
        many + 8,
    );
    fs_err::write(bench.lists.path("waiting.toml"), scenario).expect("a scenario can be written");
    let (alone, _) = run(bench, 1, 1);
    let (together, took) = run(bench, many + 8, many);
    figure("the whole run", took.as_secs_f64(), "s");
    figure("at best", SLOW.as_secs_f64(), "s");
    let each = together.resident.saturating_sub(alone.resident) / many;
    bench.bounded("resident, each, with its guest", each as f64, "KiB", 200.0);
    let cores = std::thread::available_parallelism().map_or(1, Into::into);
    bench.bounded(
        "threads",
        together.threads as f64,
        "",
        (3 * cores + 16) as f64,
    );
}

/// Runs so many trials, so many at a time, and says what the session had at most.
fn run(bench: &Bench, trials: u64, jobs: u64) -> (Held, Duration) {
    let (repeat, jobs) = (trials.to_string(), jobs.to_string());
    let args = [
        "exec",
        "waiting.toml",
        "--quiet",
        "--repeat",
        &repeat,
        "--jobs",
        &jobs,
        "--results",
        "waiting",
    ];
    let started = Instant::now();
    let mut command = bench.lists.program(&args);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    let mut most = Held::default();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        let now = held(child.id());
        most.threads = most.threads.max(now.threads);
        most.resident = most.resident.max(now.resident);
        std::thread::sleep(Duration::from_millis(50));
    };
    let took = started.elapsed();
    let said = BufReader::new(child.stderr.take().expect("it is a pipe")).lines();
    for line in said.map_while(Result::ok) {
        println!("  {line}");
    }
    assert!(status.success(), "{status}");
    fs_err::remove_dir_all(bench.lists.path("waiting")).expect("results can go");
    (most, took)
}

/// What a process and its children have; nothing where the system does not tell.
fn held(process: u32) -> Held {
    let mut held = Held::default();
    let parent = process.to_string();
    let Ok(entries) = fs::read_dir("/proc") else {
        return held;
    };
    for entry in entries.flatten() {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let value = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.split_whitespace().next())
                .unwrap_or("0")
        };
        if [value("Pid:"), value("PPid:")].contains(&parent.as_str()) {
            held.threads += value("Threads:").parse().unwrap_or(0);
            held.resident += value("VmRSS:").parse().unwrap_or(0);
        }
    }
    held
}

/// Answers the requests of a connection, each after a while.
async fn answer(mut stream: TcpStream) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(count @ 1..) = stream.read(&mut piece).await {
        head.extend_from_slice(&piece[..count]);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            tokio::time::sleep(SLOW).await;
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
