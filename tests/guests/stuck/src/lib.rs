//! A provider that never says what it is, and traps when it is run.

wit_bindgen::generate!({
    path: "../../../plugins/sdk/wit/provider.wit",
    world: "plugin",
});

use exports::runner::provider::provider::{Description, Guest, ProviderError, Reply, Test};

struct Stuck;

impl Guest for Stuck {
    fn describe() -> Description {
        loop {
            std::hint::black_box(());
        }
    }

    fn run(_test: Test) -> Result<Reply, ProviderError> {
        unreachable!("it is never described")
    }
}

export!(Stuck);
