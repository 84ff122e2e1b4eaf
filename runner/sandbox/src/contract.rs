//! The host's bindings, generated from the contract that plugins are built with.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated code; the contract documents itself"
)]

wasmtime::component::bindgen!({
    path: "../../plugins/sdk/wit/provider.wit",
    world: "plugin",
    // The guest borrows its inputs.
    ownership: Borrowing { duplicate_if_necessary: false },
    // The only import that waits.
    imports: { "runner:provider/http.send": async },
    exports: { default: async },
});
