//! [`Host`]: what the contract's imports do for one attempt.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use bytesize::ByteSize;

use super::{
    AttachmentSource, Call, Secrets,
    contract::runner::provider::{artifacts, control, files, log, secrets, types},
    interrupt::Guard,
    listener::{Heard, Listener},
    net::Outbound,
};
use crate::model::{Artifact, Denied, Grant, Limits, LogRecord, media_type};

const MAX_NAME_BYTES: usize = 128;
const MAX_MEDIA_TYPE_BYTES: usize = 255;
/// What a field costs beside its text, so that a million empty ones are not free.
const SEPARATORS_BYTES: usize = 2;
/// How many different denials of one attempt are kept.
pub(super) const MAX_DENIED: usize = 20;

/// What one attempt's imports work on, and what they leave.
pub(super) struct Host {
    pub(super) log: Log,
    pub(super) artifacts: Artifacts,
    pub(super) calls: u64,
    pub(super) bytes_in: u64,
    pub(super) outbound: Outbound,
    pub(super) denied: Vec<Denied>,
    pub(super) listener: Option<Listener>,
    /// Those that the guest is granted.
    pub(super) secrets: Arc<Secrets>,
    files: Arc<[AttachmentSource]>,
    /// No guest can take more at once than its memory holds.
    max_read: u64,
    guard: Guard,
}

/// Log records within their limits.
pub(super) struct Log {
    pub(super) records: Vec<LogRecord>,
    pub(super) dropped: u64,
    pub(super) bytes: u64,
    max_records: u64,
    max_bytes: u64,
}

/// Artifacts within their limits.
#[derive(Default)]
pub(super) struct Artifacts {
    pub(super) files: Vec<Artifact>,
    pub(super) bytes: u64,
    max_files: u64,
    max_bytes: u64,
}

impl Host {
    pub(super) fn new(limits: &Limits, files: Arc<[AttachmentSource]>, guard: Guard) -> Self {
        Self {
            log: Log {
                records: Vec::new(),
                dropped: 0,
                bytes: 0,
                max_records: limits.log_records,
                max_bytes: limits.log,
            },
            artifacts: Artifacts {
                files: Vec::new(),
                bytes: 0,
                max_files: limits.artifact_files,
                max_bytes: limits.artifacts,
            },
            calls: 0,
            bytes_in: 0,
            outbound: Outbound::closed(limits),
            denied: Vec::new(),
            listener: None,
            secrets: Arc::default(),
            files,
            max_read: limits.memory,
            guard,
        }
    }

    /// Makes what an attempt's imports work on, with what it is granted.
    pub(super) fn of(call: &Call<'_>, guard: &Guard) -> Self {
        Self {
            outbound: Outbound::open(&call.limits, call.access),
            secrets: Arc::clone(&call.access.secrets),
            listener: call.listener.clone(),
            ..Self::new(&call.limits, call.files.clone(), guard.clone())
        }
    }

    /// Makes it ready for the end of its guest's instance, which is no attempt: it has limits and a bound of its own.
    pub(super) fn begin_teardown(&mut self, guard: Guard) {
        (self.log.bytes, self.log.dropped) = (0, 0);
        self.outbound.restart();
        self.files = [].into();
        self.guard = guard;
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Adds a word of the host's own, whether there is room for more or not.
    pub(super) fn warn(&mut self, message: String) {
        let record = LogRecord {
            level: "warn",
            message,
            fields: Vec::new(),
        };
        if let Some(listener) = &self.listener {
            listener.hear(Heard::Log(&record));
        }
        self.log.records.push(record);
    }

    /// Keeps what the guest was refused, for whoever may grant it.
    pub(super) fn deny(&mut self, denied: Denied) {
        if self.denied.len() < MAX_DENIED && !self.denied.contains(&denied) {
            self.denied.push(denied);
        }
    }
}

impl Log {
    /// Keeps a record if it fits and returns it, else counts it.
    pub(super) fn push(&mut self, record: LogRecord) -> Option<&LogRecord> {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| name.len() + value.len() + SEPARATORS_BYTES);
        let bytes = (record.message.len() + fields.sum::<usize>()) as u64;
        let is_full = self.records.len() as u64 >= self.max_records;
        if is_full || self.bytes.saturating_add(bytes) > self.max_bytes {
            self.dropped += 1;
            return None;
        }
        self.bytes += bytes;
        self.records.push(record);
        self.records.last()
    }
}

impl Artifacts {
    /// Adds a whole file of `size` bytes, or says why not.
    pub(super) fn keep(
        &mut self,
        name: &str,
        size: u64,
        read: impl FnOnce() -> io::Result<Vec<u8>>,
    ) -> Result<(), String> {
        if self.files.iter().any(|file| file.name == name) {
            return Err("there is an artifact of this name".to_owned());
        }
        if self.files.len() as u64 >= self.max_files {
            return Err(format!("over `limits.artifact_files`, {}", self.max_files));
        }
        if self.bytes.saturating_add(size) > self.max_bytes {
            let most = ByteSize(self.max_bytes);
            return Err(format!("over `limits.artifacts`, {most}"));
        }
        let bytes = read().map_err(|error| error.to_string())?;
        self.bytes += bytes.len() as u64;
        self.files.push(Artifact {
            name: name.to_owned(),
            media_type: media_type(name).to_owned(),
            bytes,
        });
        Ok(())
    }

    fn append(
        &mut self,
        name: String,
        media_type: String,
        chunk: &[u8],
    ) -> Result<(), artifacts::ArtifactError> {
        if !is_artifact_name(&name) || media_type.len() > MAX_MEDIA_TYPE_BYTES {
            return Err(artifacts::ArtifactError::BadName);
        }
        let known = self.files.iter().position(|file| file.name == name);
        if known.is_none() && self.files.len() as u64 >= self.max_files {
            return Err(artifacts::ArtifactError::TooMany);
        }
        let bytes = self.bytes + chunk.len() as u64;
        if bytes > self.max_bytes {
            return Err(artifacts::ArtifactError::TooLarge);
        }

        self.bytes = bytes;
        match known {
            Some(index) => self.files[index].bytes.extend_from_slice(chunk),
            None => self.files.push(Artifact {
                name,
                media_type,
                bytes: chunk.to_vec(),
            }),
        }
        Ok(())
    }
}

impl types::Host for Host {}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) {
        self.calls += 1;
        let level = match level {
            log::Level::Trace => "trace",
            log::Level::Debug => "debug",
            log::Level::Info => "info",
            log::Level::Warn => "warn",
            log::Level::Error => "error",
        };
        let kept = self.log.push(LogRecord {
            level,
            message,
            fields,
        });
        if let (Some(listener), Some(record)) = (&self.listener, kept) {
            listener.hear(Heard::Log(record));
        }
    }
}

impl control::Host for Host {
    fn progress(&mut self, fraction: Option<f64>, mut message: String) {
        self.calls += 1;
        if let Some(redactor) = self.secrets.redactor() {
            redactor.text(&mut message);
        }
        tracing::trace!(fraction, message, "progress of a guest");
        if let Some(listener) = &self.listener {
            let message = message.as_str();
            listener.hear(Heard::Progress { fraction, message });
        }
    }

    fn stop_requested(&mut self) -> bool {
        self.calls += 1;
        self.guard.interrupt.is_requested()
    }

    fn remaining(&mut self) -> u32 {
        self.calls += 1;
        u32::try_from(self.guard.remaining().as_millis()).unwrap_or(u32::MAX)
    }
}

impl files::Host for Host {
    fn names(&mut self) -> Vec<files::File> {
        self.calls += 1;
        let describe = |file: &AttachmentSource| files::File {
            name: file.name.clone(),
            media_type: file.media_type.clone(),
            size: u32::try_from(file.size).unwrap_or(u32::MAX),
        };
        self.files.iter().map(describe).collect()
    }

    fn read(
        &mut self,
        name: String,
        offset: u32,
        length: u32,
    ) -> Result<Vec<u8>, files::FileError> {
        self.calls += 1;
        let file = self.files.iter().find(|file| file.name == name);
        let file = file.ok_or(files::FileError::NotFound)?;
        let rest = file
            .size
            .checked_sub(u64::from(offset))
            .ok_or(files::FileError::OutOfRange)?;
        let length = rest.min(u64::from(length));
        if length > self.max_read {
            return Err(files::FileError::OutOfRange);
        }
        let content =
            read_at(file, u64::from(offset), length).map_err(|_| files::FileError::Unavailable)?;
        self.bytes_in += content.len() as u64;
        Ok(content)
    }
}

impl secrets::Host for Host {
    fn get(&mut self, name: String) -> Result<String, secrets::SecretError> {
        self.calls += 1;
        if let Some(value) = self.secrets.get(&name) {
            return Ok(value.to_owned());
        }
        self.deny(Denied {
            grant: Grant::secret(&name),
            what: format!("the secret `{name}`"),
        });
        Err(secrets::SecretError::Denied)
    }
}

impl artifacts::Host for Host {
    fn append(
        &mut self,
        name: String,
        media_type: String,
        chunk: Vec<u8>,
    ) -> Result<(), artifacts::ArtifactError> {
        self.calls += 1;
        self.artifacts.append(name, media_type, &chunk)
    }
}

/// Tells whether an artifact may be called so; it never becomes a path.
pub(super) fn is_artifact_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name.bytes().all(is_plain)
        && name != "."
        && name != ".."
}

fn read_at(file: &AttachmentSource, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    fs_err::File::open(&file.path)?
        .file()
        .read_exact_at(&mut content, offset)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::is_artifact_name;

    #[test]
    fn artifact_names_never_become_paths() {
        for good in ["a", "report.html", "..a", "-", &"x".repeat(128)] {
            assert!(is_artifact_name(good), "{good:?}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "ä",
            "a b",
            "a\0",
            &"x".repeat(129),
        ] {
            assert!(!is_artifact_name(bad), "{bad:?}");
        }
    }
}
