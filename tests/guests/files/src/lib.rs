//! A provider that does to its files whatever its input says, a list of acts of `probe`.

// Some of what it does has no name on the host.
#![cfg(target_arch = "wasm32")]

mod probe;
mod raw;

use runner_sdk::{Error, NoConfig, Provider, Raw, Reply, Result, Test};
use serde_json::Value;

struct Files;

impl Provider for Files {
    type Input = Raw;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        let acts: Value = serde_json::from_str(&test.input.0)
            .map_err(|error| Error::invalid_input(error.to_string()))?;
        if let Some(room) = acts["raw"].as_u64() {
            return Reply::new(Raw(raw::act_all(room).to_string()));
        }
        if let Some(files) = acts["listings"].as_u64() {
            return Reply::new(Raw(raw::open_listings(files).to_string()));
        }
        if let Some(most) = acts["folders"].as_u64() {
            return Reply::new(Raw(raw::nest_folders(most).to_string()));
        }
        if acts["leave"].is_string() {
            return Reply::new(Raw(raw::leave_by_handle().to_string()));
        }
        let found = probe::act_all(&acts);
        match probe::failure(&acts, &found) {
            Some(failure) => Err(Error::internal(failure)),
            None => Reply::new(Raw(found.to_string())),
        }
    }
}

runner_sdk::export!(Files);
