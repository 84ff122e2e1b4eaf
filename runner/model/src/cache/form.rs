//! [`CodeForm`]: a form of compiled code, and its entry in the cache.

use crate::Digest;

/// How a plugin is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CodeForm {
    Optimized,
    /// Without optimization.
    Quick,
    /// With fuel, so that a call can end at the same place again.
    Metered,
}

impl CodeForm {
    /// Returns the mode of `__compile`.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Optimized => "compile",
            Self::Quick => "compile-quick",
            Self::Metered => "compile-metered",
        }
    }

    /// Returns the form that a mode of `__compile` compiles to.
    pub fn of_mode(mode: &str) -> Option<Self> {
        [Self::Optimized, Self::Quick, Self::Metered].into_iter().find(|form| form.mode() == mode)
    }

    /// Returns the file name of a compiled plugin: `<sha256>-<compile_key>`, and the form if it is another one.
    pub fn entry_name(self, plugin: &Digest, compile_key: &str) -> String {
        let form = self.mode().trim_start_matches("compile");
        format!("{plugin}-{compile_key}{form}")
    }
}

/// Returns whether the end of an entry's name is `<compile_key>`, with its form.
pub fn is_key_and_form(end: &str) -> bool {
    let (key, form) = end.split_at_checked(16).unwrap_or_default();
    is_compile_key(key) && CodeForm::of_mode(&format!("compile{form}")).is_some()
}

/// Returns whether a worker's `compile_key` is safe in a file name: 16 hexadecimal digits.
pub fn is_compile_key(key: &str) -> bool {
    key.len() == 16 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}
