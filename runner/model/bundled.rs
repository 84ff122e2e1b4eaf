//! [`bundled_name`]: how scenarios name the plugins that the binary carries.

use std::path::Path;

/// The plugins that the binary carries, by name.
pub const BUNDLED_PLUGINS: [&str; 4] = ["chat", "echo", "http", "units"];

/// The name of the plugin that `bundled:NAME` stands for; `None` for a file. One of such a name is `./bundled:NAME`.
pub fn bundled_name(plugin: &Path) -> Option<&str> {
    plugin.to_str()?.strip_prefix("bundled:")
}
