//! [`Token`]: a secret text, and the file of the server's token.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use runner_model::{Digest, visible::shown_path};
use runner_scenario::open_named;
use subtle::ConstantTimeEq as _;

const BYTES: usize = 32;
/// Lengths of a token that a user has chosen.
const LENGTHS: std::ops::RangeInclusive<usize> = 16..=512;

/// A secret text of letters, digits, `-`, `_` and `.`.
#[derive(Clone)]
pub(crate) struct Token(String);

impl From<Digest> for Token {
    fn from(digest: Digest) -> Self {
        Self(digest.to_string())
    }
}

impl Token {
    /// Creates a token of 256 bits.
    pub fn random() -> Self {
        let mut bytes = [0; BYTES];
        // `getrandom` fails only for invalid arguments, and always fills small buffers.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Reads the token of a file, or creates the file with a new token.
    ///
    /// # Errors
    ///
    /// The file cannot be read or created, other users may read or write it, or it has no token.
    pub fn of_file(path: &Path) -> Result<Self, String> {
        let shown = shown_path(path);
        match open_named(path) {
            Ok(file) => Self::read(file, &shown),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = Self::random();
                let made = token.write(path);
                made.map_err(|error| format!("cannot create {shown}: {error}"))?;
                Ok(token)
            }
            Err(error) => Err(format!("cannot read {shown}: {error}")),
        }
    }

    fn read(file: File, shown: &str) -> Result<Self, String> {
        let unreadable = |error: io::Error| format!("cannot read {shown}: {error}");
        let data = file.metadata().map_err(unreadable)?;
        let own = [0, rustix::process::geteuid().as_raw()];
        if !own.contains(&data.uid()) || data.mode() & 0o077 != 0 {
            let mode = data.mode() & 0o777;
            return Err(format!(
                "other users may know the token in {shown}: its owner is user {} and its mode {mode:03o}\n\
                 delete the file, so that `runner serve` creates another token in a private one",
                data.uid()
            ));
        }
        let mut text = String::new();
        file.take(4 << 10).read_to_string(&mut text).map_err(unreadable)?;
        let text = text.trim();
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if LENGTHS.contains(&text.len()) && text.bytes().all(is_valid) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!(
            "no token in {shown}: write {} to {} letters and digits into it, or delete the file, so that `runner serve` creates it",
            LENGTHS.start(),
            LENGTHS.end()
        ))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", self.0)
    }

    /// Compares in constant time.
    pub fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}
