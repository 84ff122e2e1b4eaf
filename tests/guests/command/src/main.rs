//! A command that does whatever its arguments say, and answers the JSON protocol when it is called by it.

use std::collections::hash_map::RandomState;
use std::fs::{self, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

fn main() -> ExitCode {
    let argv: Vec<String> = std::env::args().collect();
    let args: Vec<&str> = argv.iter().map(String::as_str).collect();
    match args[1..] {
        ["describe"] if args[0] == "provider" => describe(),
        ["run"] if args[0] == "provider" => return run(),
        ["argv", ..] => print!("{}", args.join(" ")),
        ["cat"] => cat(),
        ["say", text] => print!("{text}"),
        ["env", name] => print!("{}", variable(name)),
        ["fail-env", name] => {
            eprintln!("{name} is {}", variable(name));
            return ExitCode::FAILURE;
        }
        ["fail", text] => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
        ["hoard"] => return hoard(),
        ["bytes"] => write(&[b'a', 0xff]),
        ["flood", megabytes] => {
            let megabytes: usize = megabytes.parse().expect("a number");
            let block = vec![b'x'; 1024 * 1024];
            (0..megabytes).for_each(|_| write(&block));
        }
        ["flood-forever"] => loop {
            write(&[b'x'; 4096]);
        },
        ["loop"] => loop {
            std::hint::black_box(());
        },
        ["count", path] => count(path, Duration::ZERO),
        ["count-asleep", path] => count(path, Duration::from_millis(1)),
        ["recurse"] => print!("{}", recurse(0)),
        ["random"] => print!("{}", RandomState::new().hash_one(0)),
        ["sources"] => sources(),
        ["sleep"] => std::thread::sleep(Duration::from_secs(3_600)),
        ["panic"] => panic!("the command's own words"),
        ref other => panic!("cannot do {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Writes numbers to a file, one after the other, with a pause and some work for each. Never ends.
fn count(path: &str, pause: Duration) {
    for number in 1.. {
        // Each write leaves a whole number.
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(path);
        let written = file.and_then(|mut file| file.write_all(format!("{number:08}").as_bytes()));
        written.expect("a file that can be written");
        for step in 0..number % 10_000 {
            std::hint::black_box(step);
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
}

/// Prints what the host gives beside inputs: times, random numbers, and attributes and names of files.
fn sources() {
    let wall = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let [began, start] = [wall(), wall()];
    let clock = Instant::now();
    std::thread::sleep(Duration::from_millis(30));
    let slept = clock.elapsed().as_nanos();
    let folder = Path::new("/scratch/files");
    fs::create_dir(folder).expect("the scratch folder is writable");
    for number in 0..100 {
        fs::write(folder.join(format!("{}", number * 37 % 101)), "text")
            .expect("a file is written");
    }
    let names: Vec<_> = fs::read_dir(folder)
        .expect("the folder is read")
        .map(|entry| entry.expect("an entry is read").file_name().into_string().expect("UTF-8"))
        .collect();
    let mut file = OpenOptions::new().append(true).open(folder.join("1")).expect("it is opened");
    (0..50).for_each(|_| file.write_all(b" and more").expect("it is appended"));
    let text = fs::read_to_string(folder.join("1")).expect("it is read");
    let times: Vec<_> = ["/scratch/files", "/scratch/files/1"]
        .map(|path| fs::metadata(path).expect("it exists"))
        .iter()
        .map(|found| {
            let modified = found.modified().expect("WASI has times");
            (found.len(), modified.duration_since(UNIX_EPOCH).expect("after 1970").as_nanos())
        })
        .collect();
    let random = RandomState::new().build_hasher().finish();
    print!(
        "{}",
        json!({
            "wall": began.to_string(),
            "reading": (start - began).to_string(),
            "slept": slept.to_string(),
            "names": names,
            "bytes": text.len(),
            "times": times.iter().map(|(bytes, at)| format!("{bytes} {at}")).collect::<Vec<_>>(),
            "random": random.to_string(),
        })
    );
}

/// Calls itself until the stack is full.
fn recurse(depth: u64) -> u64 {
    if depth == u64::MAX { 0 } else { std::hint::black_box(recurse(depth + 1)) + 1 }
}

fn variable(name: &str) -> String {
    std::env::var(name).expect("the variable is set")
}

fn describe() {
    print!("{}", json!({"ok": {"name": "command", "version": "0.1.0", "summary": "Does things."}}));
}

fn run() -> ExitCode {
    let test: Value = serde_json::from_reader(std::io::stdin()).expect("the host sends JSON");
    let input = &test["input"];
    match input["do"].as_str().expect("`do` is a string") {
        "test" => print!("{}", json!({"ok": {"output": test}})),
        "log" => {
            eprintln!(
                "{}",
                json!({"level": "warn", "message": "careful", "fields": {"n": 1, "s": "x"}})
            );
            eprintln!("just text");
            println!("{}", json!({"ok": {"output": null, "verdict": "skip"}}));
        }
        "print" => {
            print!("{}", input["text"].as_str().expect("`text` is a string"));
            return ExitCode::from(u8::from(input["fail"] == true));
        }
        "hoard" => return hoard(),
        other => panic!("cannot do `{other}`"),
    }
    ExitCode::SUCCESS
}

/// Gives up cleanly, as many runtimes do, if there is not enough memory.
fn hoard() -> ExitCode {
    match Vec::<u8>::new().try_reserve(1 << 30) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn cat() {
    let mut stdin = Vec::new();
    std::io::stdin().read_to_end(&mut stdin).expect("standard input can be read");
    write(&stdin);
}

fn write(bytes: &[u8]) {
    std::io::stdout().write_all(bytes).expect("standard output is never full");
}
