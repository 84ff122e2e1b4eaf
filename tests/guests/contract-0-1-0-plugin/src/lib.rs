//! A provider of the world `plugin` as contract 0.1.0 was published, which calls all there is to call.

#![cfg(target_arch = "wasm32")]

mod every_import;

wit_bindgen::generate!({
    path: "../contract-0-1-0-pure/provider.wit",
    world: "plugin",
});

use exports::runner::provider::provider::{Description, Guest, ProviderError, Reply, Test};

struct Everything;

impl Guest for Everything {
    fn describe() -> Description {
        every_import::description()
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        every_import::answer(&test)
    }
}

export!(Everything);
