//! Which imports of a file this host has, as far as their names tell.

/// What this host serves: packages and their compatible versions.
const SERVED: [(&str, &str); 9] = [
    ("runner:provider/", "@0.1."),
    ("wasi:cli/", "@0.2."),
    ("wasi:clocks/", "@0.2."),
    ("wasi:filesystem/", "@0.2."),
    // Requests leave; nothing listens, so the handler of incoming ones is not here.
    ("wasi:http/outgoing-handler", "@0.2."),
    ("wasi:http/types", "@0.2."),
    ("wasi:io/", "@0.2."),
    ("wasi:random/", "@0.2."),
    ("wasi:sockets/", "@0.2."),
];

/// The module that all imports of a preview 1 program are from.
pub(in crate::plugin) const PREVIEW_1: &str = "wasi_snapshot_preview1";

/// Tells by its name whether this host has what a file imports, as [`super::surface::Surface`] writes it.
pub(super) fn is_offered(import: &str) -> bool {
    let module = import.split_once("::").map(|(module, _)| module);
    module == Some(PREVIEW_1) || is_served(import)
}

/// Tells whether an interface is one of those that components are served, in a version that fits.
pub(in crate::plugin) fn is_served(import: &str) -> bool {
    SERVED
        .iter()
        .any(|(package, version)| import.starts_with(package) && import.contains(version))
}
