//! The user's key, which marks what this user's runner has written.
//!
//! The owner of a file is not its author: files that are cloned, unpacked or checked out belong to the user. So manifests and
//! requests of the queue carry an HMAC-SHA256 (RFC 2104) of all that decides which plugins are executed, with which grants.
//! The key is in the user's state folder, which no archive or repository brings along.

use std::path::{Path, PathBuf};
use std::{env, io::Read as _, ops::RangeInclusive, sync::OnceLock};

use hmac::{Hmac, Mac as _};
use runner_model::{Digest, visible::shown_path};
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::Sha256;

use crate::disk::permissions::{OTHERS_WRITE, PRIVATE, check_trust};
use crate::{RecordError, disk::beneath::Dir};

/// Names a file with a key for several machines, or for machines without a home folder.
const KEY_FILE: &str = "RUNNER_TRUST_KEY";
/// Bytes of a file that [`KEY_FILE`] names.
const NAMED_BYTES: RangeInclusive<u64> = 16..=4096;
/// The key in the state folder.
const KEY: &str = "key";
const KEY_BYTES: usize = 32;
/// Bytes of a block of SHA-256. A shorter key is filled up with zeros.
const BLOCK: usize = 64;
/// Held while a process creates the key.
const LOCK: &str = ".lock";
/// The folder of the settings that the user has confirmed: empty files with their digests as names.
const CONFIRMED: &str = "settings";

/// A kind of signed document. The signature of one kind does not count for another.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signed {
    Run,
    Request,
    Login,
}

/// The key of this user.
pub(crate) struct UserKey([u8; BLOCK]);

impl UserKey {
    /// Returns the key. Creates it at the first use.
    ///
    /// # Errors
    ///
    /// There is no key, and none can be created. The text names the reason and the setting.
    pub(crate) fn get() -> Result<&'static Self, &'static str> {
        static USER_KEY: OnceLock<Result<UserKey, String>> = OnceLock::new();
        USER_KEY.get_or_init(|| Ok(Self::of(&Self::open()?))).as_ref().map_err(String::as_str)
    }

    fn of(secret: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        block[..KEY_BYTES].copy_from_slice(&runner_model::digest(secret).0);
        Self(block)
    }

    fn open() -> Result<Vec<u8>, String> {
        if let Some(path) = variable(KEY_FILE) {
            let path = Path::new(&path);
            return read_named(path).map_err(|problem| {
                format!("the key {} of {KEY_FILE} cannot be used: {problem}", shown_path(path))
            });
        }
        let path = state_folder()?;
        read_or_create(&path).map_err(|problem| {
            let key = shown_path(&path.join(KEY));
            format!("the key {key} cannot be used: {problem}; {KEY_FILE} can name another file")
        })
    }

    /// Returns the signature of a document.
    pub(crate) fn sign(&self, kind: Signed, document: &[u8]) -> Digest {
        Digest(self.code(kind, document).finalize().into_bytes().into())
    }

    /// Returns whether this key made the signature of a document. Takes the same time for all wrong signatures.
    pub(crate) fn has_signed(&self, kind: Signed, document: &[u8], signature: Digest) -> bool {
        self.code(kind, document).verify_slice(&signature.0).is_ok()
    }

    fn code(&self, kind: Signed, document: &[u8]) -> Hmac<Sha256> {
        let prefix: &[u8] = match kind {
            Signed::Run => b"runner-run-1\0",
            Signed::Request => b"runner-request-1\0",
            Signed::Login => b"runner-login-1\0",
        };
        let mut code = Hmac::<Sha256>::new(&self.0.into());
        code.update(prefix);
        code.update(document);
        code
    }
}

/// Returns the signature of a login at a server, by its token.
pub fn sign_login(token: &str, login: &str) -> Digest {
    UserKey::of(token.as_bytes()).sign(Signed::Login, login.as_bytes())
}

/// Returns whether the user has confirmed the settings with this digest.
pub(crate) fn is_confirmed(settings: Digest) -> bool {
    let folder = state_folder().ok().and_then(|folder| {
        let folder = Dir::open(&folder).ok()?.dir(CONFIRMED).ok()?;
        check_trust(&folder.real_path().ok()?).ok()?;
        Some(folder)
    });
    folder.is_some_and(|folder| matches!(folder.stat(&settings.to_string()), Ok(Some(_))))
}

/// Confirms the settings with this digest.
pub(crate) fn confirm(settings: Digest) -> Result<(), RecordError> {
    let folder = state_folder().map_err(|problem| {
        RecordError::io("find", Path::new("~/.local/state/runner"), std::io::Error::other(problem))
    })?;
    let folder = Dir::open_or_create(&folder, PRIVATE)?.dir_or_create(CONFIRMED)?;
    folder.write(&settings.to_string())?;
    folder.sync()
}

/// Returns the files and folders with the key and the confirmations of settings. No guest may write into them.
pub fn key_files() -> Vec<PathBuf> {
    state_folder().ok().into_iter().chain(variable(KEY_FILE).map(PathBuf::from)).collect()
}

/// Returns the folder of the user's state.
fn state_folder() -> Result<PathBuf, String> {
    // The specification of base directories: relative paths are ignored.
    let places = [("XDG_STATE_HOME", "runner"), ("HOME", ".local/state/runner")];
    let mut places = places.into_iter().filter_map(|(name, inner)| {
        let folder = variable(name).map(PathBuf::from).filter(|path| path.is_absolute())?;
        Some(folder.join(inner))
    });
    places.next().ok_or_else(|| format!("there is no key: set HOME, XDG_STATE_HOME or {KEY_FILE}"))
}

fn variable(name: &str) -> Option<std::ffi::OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Reads a key. `None` if the file is missing.
fn read_key(
    folder: &Dir,
    name: &str,
    bytes: RangeInclusive<u64>,
) -> Result<Option<Vec<u8>>, String> {
    let file = match folder.read(name) {
        Err(error) if error.is_missing() => return Ok(None),
        opened => opened.map_err(|error| error.to_string())?,
    };
    let found = rustix::fs::fstat(&file).map_err(|error| error.to_string())?;
    let owners = [rustix::process::geteuid().as_raw(), 0];
    if !owners.contains(&found.st_uid) || found.st_mode & OTHERS_WRITE != 0 {
        return Err("other users can change it".to_owned());
    }
    // Kubernetes lets all users of a container read secrets.
    let is_named = bytes == NAMED_BYTES;
    if !is_named && found.st_mode & 0o077 != 0 {
        return Err("other users can read it: run `chmod 600` with its path".to_owned());
    }
    let mut key = Vec::new();
    let read = file.take(bytes.end() + 1).read_to_end(&mut key);
    read.map_err(|error| error.to_string())?;
    if !bytes.contains(&(key.len() as u64)) {
        let least = bytes.start();
        let most = bytes.end();
        return Err(format!("it has {} bytes, and a key has {least} to {most}", key.len()));
    }
    Ok(Some(key))
}

/// Creates the key, unless another process has just done so.
fn create(folder: &Dir) -> Result<(), RecordError> {
    let lock = folder.write(LOCK)?;
    lock.lock().map_err(|source| folder.error("lock", LOCK, source))?;
    if folder.stat(KEY)?.is_some() {
        return Ok(());
    }
    let mut key = [0; KEY_BYTES];
    let filled = getrandom(&mut key, GetRandomFlags::empty());
    filled.map_err(|source| folder.error("create", KEY, source))?;
    folder.prepare(KEY, &key)?.sync_all().map_err(|source| folder.error("sync", KEY, source))?;
    folder.replace(KEY)?;
    folder.sync()
}

/// Reads the key that [`KEY_FILE`] names.
fn read_named(path: &Path) -> Result<Vec<u8>, String> {
    // Kubernetes mounts secrets as links.
    let real = path.canonicalize().map_err(|error| error.to_string())?;
    let folder = real.parent().ok_or("it is not the path of a file")?;
    let name = real.file_name().and_then(|name| name.to_str());
    let folder = Dir::open(folder).map_err(|error| error.to_string())?;
    read_key(&folder, name.ok_or("it is not the path of a file")?, NAMED_BYTES)?
        .ok_or_else(|| "it does not exist".to_owned())
}

/// Reads the key of the user's state folder, and creates it if it is missing.
fn read_or_create(folder: &Path) -> Result<Vec<u8>, String> {
    let folder = Dir::open_or_create(folder, PRIVATE).map_err(|error| error.to_string())?;
    let trusted = folder.real_path().and_then(|real| check_trust(&real));
    trusted.map_err(|error| error.to_string())?;
    let exact = KEY_BYTES as u64..=KEY_BYTES as u64;
    match read_key(&folder, KEY, exact.clone())? {
        Some(key) => Ok(key),
        None => {
            create(&folder).map_err(|error| error.to_string())?;
            read_key(&folder, KEY, exact)?.ok_or_else(|| "another process removed it".into())
        }
    }
}
