//! A provider of the world `everything` as contract 0.1.1 was published: it makes the calls that its input lists.

#![cfg(target_arch = "wasm32")]

mod steps;

wit_bindgen::generate!({
    path: "provider.wit",
    world: "everything",
});

use exports::runner::provider::provider::{Description, Guest, ProviderError, Reply, Test};

struct Everything;

impl Guest for Everything {
    fn describe() -> Description {
        Description {
            name: "everything".to_owned(),
            version: "0.1.1".to_owned(),
            summary: "Makes the calls that its input lists.".to_owned(),
            config_schema: None,
            input_schema: None,
            requests: Vec::new(),
            extra: None,
        }
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        steps::run(&test)
    }
}

export!(Everything);
