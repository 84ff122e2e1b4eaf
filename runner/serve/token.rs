//! [`Token`]: what whoever asks the server has to know, because other users of the machine are strangers.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use fs_err::os::unix::fs::OpenOptionsExt as _;
use miette::miette;
use subtle::ConstantTimeEq as _;

use crate::error::Error;

/// How long a link logs a browser in.
const LINK_TIME: Duration = Duration::from_secs(5 * 60);
/// Bytes of a token that is made.
const BYTES: usize = 32;
/// Characters of one that somebody has chosen.
const MIN_LENGTH: usize = 16;

/// A secret of 256 bits, or the text of a file.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// The token in a file, which is made with a new one where it is missing; a new one without a file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or made, or has no token.
    pub fn of(file: Option<&Path>) -> Result<Self, Error> {
        let made = || {
            Self::random().map_err(|error| Error::internal(miette!("cannot make a token: {error}")))
        };
        let Some(file) = file else {
            return made();
        };
        let unusable = |error: &io::Error| Error::usage(miette!("{error}"));
        match fs_err::read_to_string(file) {
            Ok(text) => Self::of_text(&text).ok_or_else(|| {
                Error::usage(miette!(
                    help =
                        "take at least 16 letters and digits, or delete the file, and one is made",
                    "`{}` has no token",
                    file.display()
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let token = made()?;
                token.save(file).map_err(|error| unusable(&error))?;
                Ok(token)
            }
            Err(error) => Err(unusable(&error)),
        }
    }

    /// A new one, from the system.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no random bytes.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })))
    }

    /// The token that somebody has chosen; `None` if it is too short to be one, or cannot stand in a header.
    pub fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_plain = text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        (text.len() >= MIN_LENGTH && is_plain).then(|| Self(text.to_owned()))
    }

    /// Writes it into a new file that only its owner can read.
    ///
    /// # Errors
    ///
    /// Fails if the file is there already, or cannot be written.
    pub fn save(&self, file: &Path) -> io::Result<()> {
        let mut file = fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file)?;
        writeln!(file, "{}", self.0)
    }

    pub(super) fn is(&self, other: &str) -> bool {
        self.0.as_bytes().ct_eq(other.as_bytes()).into()
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

/// A token that logs one browser in, once.
pub(super) struct LoginLink {
    token: Token,
    until: Mutex<Option<Instant>>,
}

impl LoginLink {
    pub(super) fn new(token: Token) -> Self {
        Self {
            token,
            until: Mutex::new(Some(Instant::now() + LINK_TIME)),
        }
    }

    pub(super) fn text(&self) -> &str {
        self.token.text()
    }

    /// Uses it up, if that is what it is and its time is not over.
    pub(super) fn redeem(&self, text: &str) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let is_good = self.token.is(text) && until.is_some_and(|until| Instant::now() < until);
        if is_good {
            *until = None;
        }
        is_good
    }
}
