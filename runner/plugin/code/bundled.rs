//! [`bundled`]: the plugins that the binary carries, which `build.rs` has built.

use std::path::Path;

use bytes::Bytes;

use crate::model::bundled_name;

/// By name.
static PLUGINS: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/bundled.rs"));

/// The plugin that `bundled:NAME` stands for; `Some(None)` where the binary carries none of that name, and `None` for the path
/// of a file.
pub(super) fn bundled(path: &Path) -> Option<Option<Bytes>> {
    let name = bundled_name(path)?;
    let plugin = PLUGINS.iter().find(|(bundled, _)| *bundled == name);
    Some(plugin.map(|(_, bytes)| Bytes::from_static(bytes)))
}

/// What there is instead, for people.
pub(super) fn others() -> String {
    match PLUGINS {
        [] => "it was built without any, because its build had no compiler for WASM".to_owned(),
        plugins => {
            let names: Vec<_> = plugins.iter().map(|(name, _)| *name).collect();
            format!("it has `{}`", names.join("`, `"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::bundled;
    use crate::{
        model::{BUNDLED_PLUGINS, bundled_name},
        plugin::PluginFile,
    };

    #[test]
    fn the_binary_carries_what_scenarios_may_name() {
        for name in BUNDLED_PLUGINS {
            let path = format!("bundled:{name}");
            let file = PluginFile::read(Path::new(&path), u64::MAX).unwrap();
            assert_eq!(file.bytes().unwrap(), bundled(&file.path).unwrap().unwrap());
        }
    }

    #[test]
    fn what_it_does_not_carry_has_messages() {
        assert_eq!(bundled_name(Path::new("./bundled:echo")), None);
        let read = |name: &str, limit| PluginFile::read(Path::new(name), limit).unwrap_err();
        assert_eq!(
            read("bundled:ech", u64::MAX).to_string(),
            "the runner carries no plugin `bundled:ech`; it has `chat`, `echo`, `http`, `units`"
        );
        assert_eq!(
            read("bundled:echo", 16).to_string(),
            "plugin `bundled:echo` is larger than `limits.file`, which is 16 B"
        );
    }
}
