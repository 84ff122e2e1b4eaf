//! A provider that counts its own tests, between a setup and a teardown that do what the configuration says.

// Some of what it does has no name on the host.
#![cfg(target_arch = "wasm32")]

use std::{
    cell::RefCell,
    hash::{BuildHasher as _, RandomState},
    hint::black_box,
};

use serde_json::{Value, json};

wit_bindgen::generate!({
    path: "../../../plugins/sdk/wit/provider.wit",
    world: "plugin-with-lifecycle",
});

use exports::runner::provider::{
    lifecycle,
    provider::{self, Description, ProviderError, Reply, Test},
};
use runner::provider::{artifacts, control, log, types::ErrorKind};

thread_local! {
    static STATE: RefCell<State> = const { RefCell::new(State::NEW) };
}

/// What an instance remembers.
struct State {
    /// What tells it from every other instance.
    name: u64,
    setups: u64,
    tests: u64,
    config: String,
    blocks: Vec<Vec<u8>>,
}

impl State {
    const NEW: Self =
        Self { name: 0, setups: 0, tests: 0, config: String::new(), blocks: Vec::new() };
}

struct Counter;

impl lifecycle::Guest for Counter {
    fn setup(config: String) -> Result<(), ProviderError> {
        let what = word(&config, "setup");
        say(&format!("setup {what}"));
        STATE.with_borrow_mut(|state| {
            state.name = RandomState::new().hash_one(());
            state.setups += 1;
            state.config = config;
        });
        act(&what)
    }

    fn teardown() {
        let (what, tests) =
            STATE.with_borrow(|state| (word(&state.config, "teardown"), state.tests));
        say(&format!("teardown {what} after {tests} tests"));
        // It has nobody to hand an error to.
        let _ = act(&what);
    }
}

impl provider::Guest for Counter {
    fn describe() -> Description {
        Description {
            name: "counter".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "Counts its own tests.".to_owned(),
            config_schema: None,
            input_schema: None,
            requests: Vec::new(),
            extra: None,
        }
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        STATE.with_borrow_mut(|state| state.tests += 1);
        act(&word(&test.input, "do"))?;
        let input: Value = serde_json::from_str(&test.input).expect("the host sends JSON");
        let output = STATE.with_borrow(|state| {
            json!({
                "instance": format!("{:016x}", state.name),
                "setups": state.setups,
                "tests": state.tests,
                "config_is_that_of_setup": state.config == test.config,
                "value": input["value"],
            })
        });
        Ok(reply(output.to_string()))
    }
}

export!(Counter);

fn act(what: &str) -> Result<(), ProviderError> {
    let error = |kind| {
        Err(ProviderError {
            kind,
            code: "as-asked".to_owned(),
            message: "as it was asked to".to_owned(),
            retry_after: None,
            details: None,
        })
    };
    match what {
        "loop" => loop {
            black_box(());
        },
        "trap" => core::arch::wasm32::unreachable(),
        "panic" => panic!("the guest's own words"),
        "wait-for-stop" => {
            while !control::stop_requested() {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            error(ErrorKind::Stopped)
        }
        "unavailable" => error(ErrorKind::Unavailable),
        "invalid-config" => error(ErrorKind::InvalidConfig),
        "say-stopped" => error(ErrorKind::Stopped),
        "sleep" => {
            std::thread::sleep(std::time::Duration::from_millis(20));
            Ok(())
        }
        "speak" => {
            say("spoken");
            println!("on standard output");
            eprintln!("on standard error");
            let appended = artifacts::append("spoken.txt", "text/plain", b"in an artifact");
            appended.expect("it fits");
            Ok(())
        }
        "write" => {
            let tests = STATE.with_borrow(|state| state.tests);
            let written = std::fs::write(format!("/scratch/{tests}"), [b'x'; 16 * 1024]);
            written.or_else(|_| error(ErrorKind::Internal))
        }
        "tell" => {
            say(&format!("told {}", std::env::var("TOLD").unwrap_or_default()));
            Ok(())
        }
        // More than half of what a log may have by default, so that two of them do not fit.
        "flood-log" => {
            (0..6_000).for_each(|_| say("x"));
            Ok(())
        }
        // Half a mebibyte more than before, for as long as there is an instance.
        "hoard" => {
            STATE.with_borrow_mut(|state| state.blocks.push(vec![1; 512 * 1024]));
            Ok(())
        }
        // Files that nobody closes.
        "hold" => {
            for number in 0..70 {
                match std::fs::File::create(format!("/scratch/{number}")) {
                    Ok(file) => std::mem::forget(file),
                    Err(_) => return error(ErrorKind::Internal),
                }
            }
            Ok(())
        }
        "try-memory" => {
            let pages = core::arch::wasm32::memory_grow::<0>(100_000);
            assert_eq!(pages, usize::MAX, "it was granted more than its limit");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn say(message: &str) {
    log::log(log::Level::Info, message, &[]);
}

fn word(json: &str, key: &str) -> String {
    let value: Value = serde_json::from_str(json).expect("the host sends JSON");
    value[key].as_str().unwrap_or_default().to_owned()
}

fn reply(output: String) -> Reply {
    Reply {
        output,
        verdict: None,
        score: None,
        summary: None,
        checks: Vec::new(),
        metrics: Vec::new(),
        extra: None,
    }
}
