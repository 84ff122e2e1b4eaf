//! [`KeyExchange`]: the ends of a link agree on keys. [`Sealer`] and [`Opener`] encrypt and authenticate its messages.
//!
//! Each end creates an X25519 key (RFC 7748). HKDF-SHA256 (RFC 5869) derives one key for each direction, and AES-256-GCM seals
//! the messages, with their number as the nonce. The answer to a join is signed, so a worker knows whose key it has. Others at
//! the broker can neither add messages to a link nor repeat or reorder them.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey, X25519};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SystemRandom;

use crate::wire::{Role, SEAL};

/// Bytes of the number before a sealed message.
const NUMBER: usize = 8;

/// A new key for one link.
pub struct KeyExchange {
    private: EphemeralPrivateKey,
    /// Public key.
    pub public: [u8; 32],
}

impl KeyExchange {
    /// Creates a key. `None` if the kernel has no random numbers.
    pub fn new() -> Option<Self> {
        let private = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new()).ok()?;
        let public = private.compute_public_key().ok()?.as_ref().try_into().ok()?;
        Some(Self { private, public })
    }

    /// Returns the keys of a link. `join` is the content of the request to join. `None` if `other` is not a public key.
    pub fn agree(self, role: Role, other: &[u8; 32], join: &[u8]) -> Option<(Sealer, Opener)> {
        let salt = runner_model::digest(join).0;
        let other = UnparsedPublicKey::new(&X25519, other);
        let [down, up] = agreement::agree_ephemeral(self.private, &other, |secret| {
            let secret = Salt::new(HKDF_SHA256, &salt).extract(secret);
            ["runner link down", "runner link up"].map(|direction| {
                let direction = [direction.as_bytes()];
                let key = secret.expand(&direction, &AES_256_GCM).ok()?;
                Some(LessSafeKey::new(UnboundKey::from(key)))
            })
        })
        .ok()?;
        let (own, other) = match role {
            Role::Coordinator => (down?, up?),
            Role::Worker => (up?, down?),
        };
        Some((Sealer { key: own, sent: 0 }, Opener { key: other, received: 0 }))
    }
}

/// Seals the messages of one direction of a link.
pub struct Sealer {
    key: LessSafeKey,
    /// Number of the last message.
    sent: u64,
}

impl Sealer {
    /// Seals a message: its number as u64 (little-endian), the encrypted bytes, and the tag of 16 bytes.
    pub fn seal(&mut self, message: &[u8]) -> Vec<u8> {
        // A link would have to run for centuries to use a number twice.
        self.sent += 1;
        let mut bytes = Vec::with_capacity(message.len() + SEAL);
        bytes.extend_from_slice(&self.sent.to_le_bytes());
        bytes.extend_from_slice(message);
        let sealed = self.key.seal_in_place_separate_tag(
            nonce(self.sent),
            Aad::empty(),
            &mut bytes[NUMBER..],
        );
        match sealed {
            Ok(tag) => bytes.extend_from_slice(tag.as_ref()),
            // Only for messages of more than 64 GiB.
            Err(_) => bytes.clear(),
        }
        bytes
    }
}

/// Opens the messages of one direction of a link.
pub struct Opener {
    key: LessSafeKey,
    /// Number of the last message.
    received: u64,
}

impl Opener {
    /// Opens a message. `None` if the other end did not send it, or if it is not newer than the last one.
    pub fn open(&mut self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (number, message) = sealed.split_first_chunk::<NUMBER>()?;
        let number = u64::from_le_bytes(*number);
        if number <= self.received {
            return None;
        }
        let mut bytes = message.to_vec();
        let length = self.key.open_in_place(nonce(number), Aad::empty(), &mut bytes).ok()?.len();
        bytes.truncate(length);
        self.received = number;
        Some(bytes)
    }
}

fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[..NUMBER].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
#[path = "tests/seal.rs"]
mod tests;
