//! A command that does whatever its arguments say, and answers the JSON protocol when it is called by it.

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
    time::Duration,
};

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
        ["sleep"] => std::thread::sleep(Duration::from_secs(3_600)),
        ["panic"] => panic!("the command's own words"),
        ref other => panic!("cannot do {other:?}"),
    }
    ExitCode::SUCCESS
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
