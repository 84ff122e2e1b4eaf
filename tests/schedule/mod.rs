//! When attempts start: rates, retries, early ends and memory.

mod ends;
mod memory;
mod prices;
mod starts;

use crate::support::runner::Runner;

/// A runner with the providers `hostile`, which has these keys, and `other`, both of the hostile guest.
fn two_providers(keys: &str, tests: &str) -> Runner {
    let other = "[providers.other]\nplugin = \"hostile.wasm\"\n";
    Runner::hostile_with(keys, &format!("{other}{tests}"))
}
