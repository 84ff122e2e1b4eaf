//! Names and trailers of entries in the cache of compiled plugins. `record` writes entries, `sandbox` opens them.

use crate::{Digest, provider::PluginKind};

/// Returns the file name of a compiled plugin: `<sha256>-<compile_key>`.
pub fn entry_name(plugin: &Digest, compile_key: &str) -> String {
    format!("{plugin}-{compile_key}")
}

/// Returns the file name of a plugin that was compiled without optimization: `<sha256>-<compile_key>-quick`.
pub fn quick_name(plugin: &Digest, compile_key: &str) -> String {
    format!("{plugin}-{compile_key}-quick")
}

/// Returns the file name of a plugin's inspection by `__compile inspect`: `<sha256>.json`.
pub fn inspection_name(plugin: &Digest) -> String {
    format!("{plugin}.json")
}

/// Returns the file name of the source of a development form: `<sha256>.source`. The content is the digest of its loader as text,
/// then the source.
pub fn source_name(plugin: &Digest) -> String {
    format!("{plugin}.source")
}

/// Returns the file name of a loader of development forms: `<sha256>.loader`, by a hash of all that it is built from.
pub fn loader_name(origin: &Digest) -> String {
    format!("{origin}.loader")
}

/// Returns whether a worker's `compile_key` is safe in a file name: 16 hexadecimal digits.
pub fn is_compile_key(key: &str) -> bool {
    key.len() == 16 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The end of an entry, after the compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub kind: PluginKind,
    /// Whether instances come from the pool. Otherwise they are allocated on demand.
    pub pooled: bool,
    /// Whether parts of the component call each other, which takes a stack for each call that waits.
    pub composed: bool,
    /// Initial bytes of all memories together.
    pub initial_memory: u64,
    /// CRC-32 of the compiled code, because wasmtime does not detect damage.
    pub crc: u32,
}

/// The version of the format. A new one invalidates all entries.
const MAGIC: [u8; 6] = *b"runc02";

impl Trailer {
    /// Bytes of an encoded trailer.
    pub const LENGTH: usize = 20;

    /// Encodes magic, kind, pooled with composed as its second bit, initial memory and crc, little-endian.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..6].copy_from_slice(&MAGIC);
        bytes[6] = u8::from(self.kind == PluginKind::Command);
        bytes[7] = u8::from(self.pooled) | u8::from(self.composed) << 1;
        bytes[8..16].copy_from_slice(&self.initial_memory.to_le_bytes());
        bytes[16..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Splits an entry into code and trailer. `None` if the trailer is invalid. The caller checks the crc.
    pub fn split(entry: &[u8]) -> Option<(&[u8], Self)> {
        let (code, bytes) = entry.split_last_chunk::<{ Self::LENGTH }>()?;
        if bytes[..6] != MAGIC || bytes[6] > 1 || bytes[7] > 3 {
            return None;
        }
        let trailer = Self {
            kind: if bytes[6] == 1 { PluginKind::Command } else { PluginKind::Component },
            pooled: bytes[7] & 1 == 1,
            composed: bytes[7] & 2 == 2,
            initial_memory: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            crc: u32::from_le_bytes(bytes[16..].try_into().ok()?),
        };
        Some((code, trailer))
    }
}

#[cfg(test)]
mod tests {
    use super::Trailer;
    use crate::provider::PluginKind;

    #[test]
    fn a_trailer_is_read_as_it_was_written() {
        let trailer = Trailer {
            kind: PluginKind::Command,
            pooled: true,
            composed: true,
            initial_memory: 1 << 40,
            crc: 0xdead_beef,
        };
        let mut entry = b"code".to_vec();
        entry.extend(trailer.encode());
        assert_eq!(Trailer::split(&entry), Some((&b"code"[..], trailer)));
        assert_eq!(Trailer::split(&entry[1..]).unwrap().0, b"ode");
        assert_eq!(Trailer::split(&entry[5..]), None);
        for damaged in 4..12 {
            let mut entry = entry.clone();
            entry[damaged] = 4;
            assert!(damaged >= 12 || Trailer::split(&entry) != Some((&b"code"[..], trailer)));
        }
    }
}
