//! [`RunsKey`] signs the documents of the side of runs, and [`AcceptedKeys`] checks them on workers.
//!
//! Permissions of a broker cannot replace the signature: a broker publishes messages itself, for streams that republish and for
//! push consumers, and checks no permission then. So a user who may only join could offer runs.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::{fmt, os::unix::fs::OpenOptionsExt as _, path::Path, sync::Arc};

use nkeys::{KeyPair, KeyPairType};
use runner_model::visible::shown_path;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{address::seed, error::FleetError, wire::shown};

/// Bytes of a key file. One line of it is the seed.
const MAX_FILE: u64 = 16 << 10;
const CREATE: &str = "create one with `runner broker key FILE`";

/// A kind of signed document. The signature of one kind does not count for another.
#[derive(Clone, Copy, Debug)]
pub enum DocumentKind {
    Offer,
    Answer,
}

/// The key pair of the side of runs: an Ed25519 key in the text form of NATS, as of `nk -gen user`.
#[derive(Clone)]
pub struct RunsKey(Arc<KeyPair>);

impl fmt::Debug for RunsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.public())
    }
}

impl RunsKey {
    /// Reads a key file. Its seed is the first line that starts with `SU`.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or has no seed.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        if KeyPair::from_public_key(&path.to_string_lossy()).is_ok() {
            return Err(FleetError::Usage(
                "`--broker-key` or RUNNER_BROKER_KEY of a run needs the file with the secret key; workers need the public key"
                    .to_owned(),
            ));
        }
        let text = File::open(path).and_then(|file| io::read_to_string(file.take(MAX_FILE)));
        let pair = match text {
            Ok(text) => seed(&text)
                .and_then(|seed| KeyPair::from_seed(seed).ok())
                .ok_or_else(|| format!("it has no secret key, which starts with `SU`; {CREATE}")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(format!("it does not exist; {CREATE}"))
            }
            Err(error) => Err(error.to_string()),
        };
        pair.map(|pair| Self(Arc::new(pair))).map_err(|problem| {
            FleetError::Usage(format!("cannot use the key file `{}`: {problem}", shown_path(path)))
        })
    }

    /// Creates a key file of mode 0600, or reads the existing one.
    ///
    /// # Errors
    ///
    /// The file cannot be created, or the existing one is not a key file.
    pub fn create(path: &Path) -> Result<Self, FleetError> {
        let pair = KeyPair::new_user();
        let seed = pair.seed().unwrap_or_default();
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| {
            writeln!(file, "# `runner exec --broker-key` signs runs with it. Keep it secret.")?;
            writeln!(file, "{seed}")?;
            file.sync_all()
        });
        match written {
            Ok(()) => Ok(Self(Arc::new(pair))),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(path),
            Err(error) => Err(FleetError::Usage(format!(
                "cannot create the key file `{}`: {error}",
                shown_path(path)
            ))),
        }
    }

    /// Returns the public key, which starts with `U`.
    pub fn public(&self) -> String {
        self.0.public_key()
    }
}

/// A document of the side of runs as it travels.
#[derive(Serialize, Deserialize)]
struct SignedDocument {
    /// The document as JSON, whose bytes are signed.
    document: String,
    /// `None` if the run has no key.
    signature: Option<Signature>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    /// Public key.
    key: String,
    /// 64 bytes of Ed25519 (RFC 8032).
    bytes: Vec<u8>,
}

/// Returns the signed bytes of a document.
fn message(kind: DocumentKind, document: &str) -> Vec<u8> {
    let kind = match kind {
        DocumentKind::Offer => "runner offer\n",
        DocumentKind::Answer => "runner answer\n",
    };
    [kind, document].concat().into_bytes()
}

/// Encodes a document, and signs it if there is a key.
pub fn sign(kind: DocumentKind, document: &impl Serialize, key: Option<&RunsKey>) -> Vec<u8> {
    let document = serde_json::to_string(document).unwrap_or_default();
    let signature = key.and_then(|key| {
        let bytes = key.0.sign(&message(kind, &document)).ok()?;
        Some(Signature { key: key.public(), bytes })
    });
    serde_json::to_vec(&SignedDocument { document, signature }).unwrap_or_default()
}

/// Decodes a document without a check of its signature, for messages.
pub(crate) fn unverified<T: DeserializeOwned>(content: &[u8]) -> Option<T> {
    let signed: SignedDocument = serde_json::from_slice(content).ok()?;
    serde_json::from_str(&signed.document).ok()
}

/// The keys whose runs a worker accepts.
#[derive(Clone, Debug)]
pub(crate) enum AcceptedKeys {
    /// Only runs without a signature.
    Unsigned,
    /// Only runs with a signature by one of these public keys.
    Keys(Vec<String>),
}

/// The reason why a document is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another form, or a wrong signature. Only an attacker or a defect sends it.
    Invalid,
    /// The two ends do not have the same key. Holds a predicate of the run.
    Key(String),
}

impl AcceptedKeys {
    /// Parses public keys.
    ///
    /// # Errors
    ///
    /// A text is not a public key of a user.
    pub(crate) fn parse(keys: &[String]) -> Result<Self, FleetError> {
        if !keys.iter().all(|key| {
            KeyPair::from_public_key(key)
                .is_ok_and(|pair| pair.key_pair_type() == KeyPairType::User)
        }) {
            // A mistaken value may be the secret key, so it is not shown.
            return Err(FleetError::Usage(
                "invalid `--broker-key` or RUNNER_BROKER_KEY of a worker: expected a public key, which starts with `U`\n\
                 to print it: runner broker key FILE"
                    .to_owned(),
            ));
        }
        Ok(if keys.is_empty() { Self::Unsigned } else { Self::Keys(keys.to_vec()) })
    }

    /// Decodes a document, and checks its signature.
    pub(crate) fn open<T: DeserializeOwned>(
        &self,
        kind: DocumentKind,
        content: &[u8],
    ) -> Result<T, Refusal> {
        let signed: SignedDocument =
            serde_json::from_slice(content).map_err(|_| Refusal::Invalid)?;
        match (self, &signed.signature) {
            (Self::Unsigned, None) => {}
            (Self::Unsigned, Some(Signature { key, .. })) => {
                return Err(Refusal::Key(format!(
                    "it is signed, and the worker has no key; start the worker with `--broker-key {}`",
                    shown(key)
                )));
            }
            (Self::Keys(keys), None) => {
                return Err(Refusal::Key(format!(
                    "it is not signed; start the run with `--broker-key FILE` and the file of {}",
                    keys.join(" or ")
                )));
            }
            (Self::Keys(keys), Some(Signature { key, .. })) if !keys.contains(key) => {
                return Err(Refusal::Key(format!(
                    "its key is {}, and the worker accepts {}",
                    shown(key),
                    keys.join(" and ")
                )));
            }
            (Self::Keys(_), Some(Signature { key, bytes })) => {
                let pair = KeyPair::from_public_key(key).map_err(|_| Refusal::Invalid)?;
                let verified = pair.verify(&message(kind, &signed.document), bytes);
                verified.map_err(|_| Refusal::Invalid)?;
            }
        }
        serde_json::from_str(&signed.document).map_err(|_| Refusal::Invalid)
    }

    /// Returns the public keys.
    pub(crate) fn keys(&self) -> &[String] {
        match self {
            Self::Unsigned => &[],
            Self::Keys(keys) => keys,
        }
    }
}

#[cfg(test)]
#[path = "tests/key.rs"]
mod tests;
