//! A provider of the world `plugin-with-lifecycle` as contract 0.1.0 was published, which calls all there is to call.

#![cfg(target_arch = "wasm32")]

#[path = "../../contract-0-1-0-plugin/src/every_import.rs"]
mod every_import;

use std::cell::RefCell;

wit_bindgen::generate!({
    path: "../contract-0-1-0-pure/provider.wit",
    world: "plugin-with-lifecycle",
});

use exports::runner::provider::{
    lifecycle,
    provider::{self, Description, ProviderError, Reply, Test},
};
use runner::provider::{log, types::ErrorKind};

thread_local! {
    static CONFIG: RefCell<Option<String>> = const { RefCell::new(None) };
}

struct Everything;

impl lifecycle::Guest for Everything {
    fn setup(config: String) -> Result<(), ProviderError> {
        CONFIG.set(Some(config));
        Ok(())
    }

    fn teardown() {
        log::log(log::Level::Info, "torn down", &[]);
    }
}

impl provider::Guest for Everything {
    fn describe() -> Description {
        every_import::description()
    }

    fn run(test: Test) -> Result<Reply, ProviderError> {
        if CONFIG.with_borrow(|config| config.as_deref() != Some(&test.config)) {
            return Err(ProviderError {
                kind: ErrorKind::Internal,
                code: "no-setup".to_owned(),
                message: "it was not set up".to_owned(),
                retry_after: None,
                details: None,
            });
        }
        every_import::answer(&test)
    }
}

export!(Everything);
