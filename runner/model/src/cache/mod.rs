//! Names and trailers of entries in the cache of compiled plugins. `record` writes entries, `sandbox` opens them.

pub(crate) mod form;

pub use self::form::{CodeForm, is_compile_key, is_key_and_form};
use crate::{Digest, provider::PluginKind};

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

/// The end of an entry, after the compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub kind: PluginKind,
    /// Whether instances come from the pool. Otherwise they are allocated on demand.
    pub pooled: bool,
    /// Whether parts of the component call each other, which takes a stack for each call that waits.
    pub composed: bool,
    /// Whether the code counts fuel.
    pub metered: bool,
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

    /// Encodes magic, kind, a byte with the bits of pooled, composed and metered, initial memory and crc, little-endian.
    pub fn encode(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        bytes[..6].copy_from_slice(&MAGIC);
        bytes[6] = u8::from(self.kind == PluginKind::Command);
        bytes[7] = [self.pooled, self.composed, self.metered]
            .into_iter()
            .rfold(0, |bits, bit| bits << 1 | u8::from(bit));
        bytes[8..16].copy_from_slice(&self.initial_memory.to_le_bytes());
        bytes[16..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// Splits an entry into code and trailer. `None` if the trailer is invalid. The caller checks the crc.
    pub fn split(entry: &[u8]) -> Option<(&[u8], Self)> {
        let (code, bytes) = entry.split_last_chunk::<{ Self::LENGTH }>()?;
        if bytes[..6] != MAGIC || bytes[6] > 1 || bytes[7] > 7 {
            return None;
        }
        let trailer = Self {
            kind: if bytes[6] == 1 { PluginKind::Command } else { PluginKind::Component },
            pooled: bytes[7] & 1 == 1,
            composed: bytes[7] & 2 == 2,
            metered: bytes[7] & 4 == 4,
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
            composed: false,
            metered: true,
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
            entry[damaged] = 8;
            assert!(damaged >= 12 || Trailer::split(&entry) != Some((&b"code"[..], trailer)));
        }
    }
}
