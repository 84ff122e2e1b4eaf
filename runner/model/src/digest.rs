//! SHA-256 digests of contents, and their shorter form for fingerprints.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

use crate::Text;

/// Declares a hash that serde writes as lower-case hexadecimal digits in text formats and as bytes in binary ones.
macro_rules! hex_bytes {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// Parses the digits that `Display` writes.
            pub fn parse(text: &str) -> Option<Self> {
                let mut bytes = [0; $bytes];
                decode_hex(text, &mut bytes)?;
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; 2 * $bytes];
                formatter.pad(encode_hex(&self.0, &mut text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, formatter)
            }
        }

        crate::enum_text::text_schema!(
            $name,
            "pattern": concat!("^([0-9a-f]{2}){", $bytes, "}$"),
            "description": concat!($bytes, " bytes of a SHA-256, as hexadecimal digits.")
        );

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    let mut text = [0; 2 * $bytes];
                    serializer.serialize_str(encode_hex(&self.0, &mut text))
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = Text::deserialize(deserializer)?;
                    Self::parse(&text)
                        .ok_or_else(|| de::Error::custom(concat!("expected ", $bytes, " bytes as hexadecimal digits")))
                } else {
                    <[u8; $bytes]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

hex_bytes! {
    /// The SHA-256 of a content: 64 hexadecimal digits.
    Digest, 32
}

hex_bytes! {
    /// The first 16 bytes of a SHA-256 over all that determines a result: 32 hexadecimal digits. Too short to be used
    /// where an attacker gains from a collision.
    Fingerprint, 16
}

hex_bytes! {
    /// The first 4 bytes of a SHA-256 over a test: 8 hexadecimal digits. A list of known failures has thousands of them.
    KnownMember, 4
}

/// Returns the SHA-256 of `bytes`.
pub fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

impl Digest {
    pub fn fingerprint(&self) -> Fingerprint {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        Fingerprint(bytes)
    }

    /// Returns the path of the content in a folder of contents by digest: `aa/<64 digits>`.
    pub fn path(&self) -> String {
        let text = self.to_string();
        format!("{}/{text}", &text[..2])
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// The values of digits by their characters, and 255 for other characters. Branches on random digits would take longer.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut value = 0;
    while value < DIGITS.len() {
        values[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn encode_hex<'a>(bytes: &[u8], text: &'a mut [u8]) -> &'a str {
    for (byte, pair) in bytes.iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(text).unwrap_or_default()
}

fn decode_hex(text: &str, bytes: &mut [u8]) -> Option<()> {
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let mut all = 0;
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| VALUES[usize::from(digit)]);
        *byte = high << 4 | low;
        all |= high | low;
    }
    (all < 16).then_some(())
}

#[cfg(test)]
mod tests {
    use super::{Digest, digest};

    #[test]
    fn a_digest_is_read_as_it_is_written() {
        let abc = digest(b"abc");
        assert_eq!(
            abc.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(Digest::parse(&abc.to_string()), Some(abc));
        assert_eq!(abc.path(), format!("ba/{abc}"));
        assert_eq!(abc.fingerprint().to_string(), "ba7816bf8f01cfea414140de5dae2223");
        for bad in ["", "ba", &abc.to_string().to_uppercase(), &format!("{abc}0")] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
    }
}
