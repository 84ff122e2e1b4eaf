//! A provider that imports WASI 0.3 in addition to the contract.

use runner_sdk::{NoConfig, Provider, Reply, Result, Test};
use wasip3::clocks::monotonic_clock;
use wasip3::random::random;
use wasip3::wit_bindgen::block_on;

struct Both;

impl Provider for Both {
    type Input = String;
    type Config = NoConfig;

    fn run(test: Test<Self>) -> Result<Reply> {
        match &*test.input {
            "wait" => block_on(monotonic_clock::wait_for(u64::MAX)),
            _ => assert_ne!(random::get_random_u64(), random::get_random_u64()),
        }
        Reply::new(monotonic_clock::now() > 0)
    }
}

runner_sdk::export!(Both);
