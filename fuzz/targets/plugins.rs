//! The file of a plugin is refused with a short message, or its kind agrees with its exports.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runner_model::provider::PluginKind;
use runner_sandbox::inspect;

/// Bytes of a message: up to 20 names of up to 120 characters.
const MAX_MESSAGE: usize = 16 * 1024;

fuzz_target!(|bytes: &[u8]| {
    let inspection = match inspect(bytes) {
        Ok(inspection) => inspection,
        Err(message) => return assert!(message.len() <= MAX_MESSAGE, "{message}"),
    };
    let exports = |start: &str| inspection.exports.iter().any(|name| name.starts_with(start));
    match (inspection.kind, &inspection.contract) {
        (PluginKind::Component, Some(version)) => {
            assert!(exports(&format!("runner:provider/provider@{version}")));
        }
        (PluginKind::Command, None) => assert!(exports("_start") || exports("wasi:cli/run@0.2.")),
        other => panic!("{other:?}"),
    }
    let names = inspection.imports.iter().chain(&inspection.exports);
    let (count, kept) = names.fold((0, 0), |(count, kept), name| (count + 1, kept + name.len()));
    assert!(count <= bytes.len());
    // Each import of a module is shown with its kind.
    assert!(kept <= bytes.len() + count * ":: (memory)".len());
});
