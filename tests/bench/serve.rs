//! What a server costs, and what it costs the runs that it shows: `cargo bench --bench serve [-- [--quick] [PART…]]`.
//!
//! Each figure stands beside that of something that does the same without a server.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod http;
#[expect(dead_code, reason = "some of it only `overhead` needs")]
mod lists;
mod runs;
#[expect(dead_code, reason = "some of it only `overhead` needs")]
mod table;

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, ExitCode, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use self::{
    http::Server,
    runs::{many, only_run},
    table::{Bench, figure, median, millis, title},
};

fn main() -> ExitCode {
    table::measure(&[
        ("list", list),
        ("look", look),
        ("visible", visible),
        ("load", load),
    ])
}

fn megabytes(bytes: Option<u64>) -> f64 {
    bytes.unwrap_or_default() as f64 / 1e6
}

/// The memory of a server that nobody asks anything, and the list of very many runs.
fn list(bench: &mut Bench) {
    let runs = bench.pick(10_000, 1_000);
    title(&format!("a server over {runs} runs"));
    let root = many(&mut bench.lists, "many", runs);
    // It sweeps, and reads what changes from then on.
    let server = Server::start(&bench.lists, "many");
    thread::sleep(Duration::from_secs(3));
    let idle = megabytes(server.resident());
    bench.bounded("memory while nobody asks", idle, "MB", 30.0);
    let mut command = bench.lists.program(&["list", "--results", "many"]);
    let (_, peak) = lists::watched(command.stdout(Stdio::null()));
    figure("  `runner list` has at most", megabytes(peak), "MB");
    drop(server);

    let (mut first, mut again, mut whole, mut listed) = (vec![], vec![], vec![], vec![]);
    for _ in 0..bench.pick(5, 3) {
        let server = Server::start(&bench.lists, "many");
        let mut client = server.client();
        let mut ask = |path: &str| {
            let began = Instant::now();
            client.get(path);
            millis(began.elapsed())
        };
        first.push(ask("/runs?limit=100"));
        again.push(ask("/runs?limit=100"));
        whole.push(ask("/runs?limit=1000"));
        let mut command = bench
            .lists
            .program(&["list", "--json", "--results", "many"]);
        listed.push(millis(lists::time(command.stdout(Stdio::null()))));
    }
    let of = |figures: Vec<f64>| median(figures.into_iter());
    let first = of(first);
    bench.bounded("the first page of a new server", first, "ms", 300.0);
    figure("the same again", of(again), "ms");
    figure("a page of 1000 runs", of(whole), "ms");
    let listed = of(listed);
    figure("`runner list --json`, all runs", listed, "ms");
    bench.ratio("first page against `runner list`", first / listed, None);
    fs_err::remove_dir_all(root).expect("results can go");
}

/// The first look at a run with very many trials.
fn look(bench: &mut Bench) {
    let rows = bench.pick(1_000_000, 100_000);
    title(&format!("the first look at a run of {rows} trials"));
    bench.lists.write(rows);
    let scenario = format!("{rows}.toml");
    let args = ["exec", &scenario, "--quiet", "--results", "looked"];
    lists::time(&mut bench.lists.program(&args));
    let root = bench.lists.path("looked");
    let index = only_run(&root).join("index.jsonl");
    const QUESTIONS: [(&str, &str); 5] = [
        ("what the run is", "/runs/latest"),
        ("its counts", "/runs/latest/summary"),
        ("the first 200 trials", "/runs/latest/trials?limit=200"),
        (
            "200 in the middle of another order",
            "/runs/latest/trials?limit=200&offset=5000&sort=-duration",
        ),
        (
            "those that did not pass",
            "/runs/latest/trials?limit=200&filter=!outcome(passed)",
        ),
    ];
    let mut took = [const { Vec::new() }; QUESTIONS.len()];
    let (mut lines, mut shown, mut peak) = (Vec::new(), Vec::new(), None);
    for _ in 0..bench.pick(5, 3) {
        lines.push(millis(count_lines(&index)));
        let mut command = bench.lists.program(&["show", "--results", "looked"]);
        shown.push(millis(lists::time(
            command.stdout(Stdio::null()).stderr(Stdio::null()),
        )));
        let server = Server::start(&bench.lists, "looked");
        let mut client = server.client();
        for ((_, path), took) in QUESTIONS.iter().zip(&mut took) {
            let began = Instant::now();
            client.get(path);
            took.push(millis(began.elapsed()));
        }
        peak = peak.max(server.peak());
    }
    let lines = median(lines.into_iter());
    figure("looking for line ends in its rows", lines, "ms");
    figure("`runner show`", median(shown.into_iter()), "ms");
    let medians = took.map(|took| median(took.into_iter()));
    for ((name, _), took) in QUESTIONS.iter().zip(medians) {
        figure(name, took, "ms");
    }
    let first = medians[..3].iter().sum();
    bench.bounded("a page with the first three", first, "ms", 1_000.0);
    bench.ratio("that against the line ends", first / lines, None);
    bench.bounded_memory(peak, 256.0);
    fs_err::remove_dir_all(root).expect("results can go");
}

fn count_lines(index: &Path) -> Duration {
    let began = Instant::now();
    let bytes = fs_err::read(index).expect("rows can be read");
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    assert!(lines > 0);
    began.elapsed()
}

/// When rows were there, by their numbers.
type SeenRows = Arc<Mutex<BTreeMap<u64, Instant>>>;

/// From the moment in which a row is on disk until it is heard.
fn visible(bench: &mut Bench) {
    let rows = bench.pick(400, 100);
    title("from a row on disk until somebody hears it");
    write_rated(bench, rows, 40);
    let server = Server::start(&bench.lists, "rated");
    let run = start_rated(bench);
    let root = bench.lists.path("rated");
    let index = wait_for_rows(&root);
    let heard = SeenRows::default();
    let by_stream = Arc::clone(&heard);
    let mut events = server.events("/runs/latest/events?rows=full");
    let stream = thread::spawn(move || {
        while let Some((name, data)) = events.next() {
            if name == "row" {
                let row: Value = serde_json::from_str(&data).expect("an event is JSON");
                let seq = row["row"]["seq"].as_u64().expect("a row has a number");
                by_stream
                    .lock()
                    .expect("nobody panics")
                    .insert(seq, Instant::now());
            }
            if name == "finished" {
                return;
            }
        }
    });
    let logged = SeenRows::default();
    let by_command = Arc::clone(&logged);
    let mut logs = bench
        .lists
        .program(&["logs", "-f", "--json", "--results", "rated"]);
    let mut logs = logs.stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(logs.stdout.take().expect("it is a pipe")).lines();
    let command = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let event: Value = serde_json::from_str(&line).expect("an event is JSON");
            let row = event.get("row").unwrap_or(&event);
            if let Some(seq) = row["seq"].as_u64() {
                by_command
                    .lock()
                    .expect("nobody panics")
                    .insert(seq, Instant::now());
            }
        }
    });

    let mut on_disk = BTreeMap::new();
    let mut length = 0;
    let began = Instant::now();
    while on_disk.len() < rows as usize && began.elapsed() < Duration::from_secs(120) {
        let now_long = fs_err::metadata(&index).map_or(0, |metadata| metadata.len());
        if now_long > length {
            let now = Instant::now();
            length = now_long;
            let text = fs_err::read(&index).expect("rows can be read");
            let count = text.iter().filter(|byte| **byte == b'\n').count();
            for seq in 1..=count as u64 {
                on_disk.entry(seq).or_insert(now);
            }
        }
        thread::sleep(Duration::from_micros(500));
    }
    ended(run);
    stream.join().expect("the stream is read");
    logs.wait().expect("a child can be waited for");
    command.join().expect("the output is read");
    for (name, seen, bound) in [
        ("in an event stream, median", heard, Some(100.0)),
        ("by `runner logs -f`, median", logged, None),
    ] {
        let seen = seen.lock().expect("nobody panics");
        let delays = on_disk.iter().filter_map(|(seq, at)| {
            let heard = seen.get(seq)?;
            Some(millis(heard.saturating_duration_since(*at)))
        });
        let delays: Vec<_> = delays.collect();
        if delays.is_empty() {
            println!("  {name}: nothing was heard");
            continue;
        }
        let median = median(delays.into_iter());
        match bound {
            Some(bound) => bench.bounded(name, median, "ms", bound),
            None => figure(name, median, "ms"),
        }
    }
    drop(server);
    fs_err::remove_dir_all(root).expect("results can go");
}

/// A list with a rate.
fn write_rated(bench: &mut Bench, rows: u64, rate: u64) {
    bench.lists.write(rows);
    let text = fs_err::read_to_string(bench.lists.path(&format!("{rows}.toml")));
    let text = text.expect("the scenario can be read");
    let rated = format!("providers.echo.rate = \"{rate}/s\"\n{text}");
    fs_err::write(bench.lists.path("rated.toml"), rated).expect("a scenario can be written");
}

fn start_rated(bench: &Bench) -> Child {
    let args = [
        "exec",
        "rated.toml",
        "--quiet",
        "-j",
        "2",
        "--results",
        "rated",
    ];
    bench
        .lists
        .program(&args)
        .spawn()
        .expect("the program starts")
}

fn ended(mut run: Child) {
    let status = run.wait().expect("a child can be waited for");
    assert!(status.success(), "{status}");
}

/// The rows of the newest run, once it has some.
fn wait_for_rows(root: &Path) -> std::path::PathBuf {
    loop {
        let runs = fs_err::read_dir(root).into_iter().flatten().flatten();
        let mut indexes: Vec<_> = runs
            .map(|run| run.path().join("index.jsonl"))
            .filter(|index| fs_err::metadata(index).is_ok_and(|found| found.len() > 0))
            .collect();
        indexes.sort();
        if let Some(index) = indexes.pop() {
            return index;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Event streams that are open, questions in a second, and threads that ask them.
const STREAMS: u64 = 200;
const QUESTIONS: u64 = 1_000;
const ASKERS: u64 = 4;
/// Rows in a second.
const ROWS: u64 = 10_000;

/// What clients have done and heard while a run went on.
struct Loaded {
    asked: u64,
    finished: u64,
    rows: u64,
    is_exact: bool,
}

/// What very many clients cost a run that writes very many rows, and whether they miss any.
fn load(bench: &mut Bench) {
    let rows = bench.pick(100_000, 20_000);
    title(&format!(
        "a run of {ROWS} rows a second beside {STREAMS} event streams and {QUESTIONS} requests a second"
    ));
    write_rated(bench, rows, ROWS);
    let (mut alone, mut beside, mut peak) = (Vec::new(), Vec::new(), None);
    let mut asked = Vec::new();
    for _ in 0..bench.pick(5, 2) {
        let began = Instant::now();
        ended(start_rated(bench));
        alone.push(millis(began.elapsed()));
        fs_err::remove_dir_all(bench.lists.path("rated")).expect("results can go");

        fs_err::create_dir(bench.lists.path("rated")).expect("a folder can be made");
        let server = Server::start(&bench.lists, "rated");
        let began = Instant::now();
        let run = start_rated(bench);
        wait_for_rows(&bench.lists.path("rated"));
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = clients(&server, &is_over);
        ended(run);
        let took = began.elapsed();
        is_over.store(true, Ordering::Relaxed);
        let loaded = clients();
        assert!(loaded.is_exact, "a row was lost, doubled or out of order");
        assert_eq!((loaded.rows, loaded.finished), (rows, STREAMS));
        asked.push(loaded.asked as f64 / took.as_secs_f64());
        beside.push(millis(took));
        peak = peak.max(server.peak());
        drop(server);
        fs_err::remove_dir_all(bench.lists.path("rated")).expect("results can go");
    }
    let (alone, beside) = (median(alone.into_iter()), median(beside.into_iter()));
    figure("the run alone", alone, "ms");
    figure("the run beside them", beside, "ms");
    figure("  slower by", (beside / alone - 1.0) * 100.0, "%");
    figure(
        "requests that were answered",
        median(asked.into_iter()),
        "a second",
    );
    bench.bounded_memory(peak, 200.0);
}

/// Begins with all clients; what comes back waits for their ends.
fn clients(server: &Server, is_over: &Arc<AtomicBool>) -> impl FnOnce() -> Loaded {
    let small = || thread::Builder::new().stack_size(256 * 1024);
    let finished = Arc::new(AtomicU64::new(0));
    let streams: Vec<_> = (1..STREAMS)
        .map(|_| {
            let mut events = server.events("/runs/latest/events");
            let finished = Arc::clone(&finished);
            let reading = small().spawn(move || {
                while let Some((name, _)) = events.next() {
                    if name == "finished" {
                        finished.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
            });
            reading.expect("a thread can be started")
        })
        .collect();
    let mut events = server.events("/runs/latest/events?rows=full");
    let ended = Arc::clone(&finished);
    let full = thread::spawn(move || {
        let (mut rows, mut is_exact) = (0, true);
        while let Some((name, data)) = events.next() {
            if name == "row" {
                rows += 1;
                // Its number comes early in the row, which is not read as JSON here: that would be most of the work.
                is_exact &= data.contains(&format!("\"seq\":{rows},"));
            }
            if name == "finished" {
                ended.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
        (rows, is_exact)
    });
    let began = Instant::now();
    let askers: Vec<_> = (0..ASKERS)
        .map(|_| {
            let (mut client, is_over) = (server.client(), Arc::clone(is_over));
            thread::spawn(move || {
                let mut asked = 0;
                while !is_over.load(Ordering::Relaxed) {
                    client.get("/runs?limit=20");
                    asked += 1;
                    let due = began + Duration::from_secs(1) * asked / (QUESTIONS / ASKERS) as u32;
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
                u64::from(asked)
            })
        })
        .collect();
    move || {
        let asked = askers
            .into_iter()
            .map(|asker| asker.join().expect("it asks"));
        let asked = asked.sum();
        streams
            .into_iter()
            .for_each(|stream| stream.join().expect("a stream is read"));
        let (rows, is_exact) = full.join().expect("a stream is read");
        Loaded {
            asked,
            finished: finished.load(Ordering::Relaxed),
            rows,
            is_exact,
        }
    }
}
