//! The host's side of `wit/provider.wit`, generated from it.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the contract documents itself"
)]

wasmtime::component::bindgen!({
    path: "wit/provider.wit",
    world: "plugin",
    // What is handed to a guest is only read.
    ownership: Borrowing { duplicate_if_necessary: false },
    // The one that waits for the world outside.
    imports: { "runner:provider/http.send": async },
    exports: { default: async },
});
