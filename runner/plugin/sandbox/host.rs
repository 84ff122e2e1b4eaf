//! [`AttemptHost`]: what the contract's imports do for one attempt.

use std::{io, os::unix::fs::FileExt as _, sync::Arc};

use jiff::Timestamp;

use super::{artifacts::ArtifactCollector, handover::MAX_HANDOVER};
use crate::{
    model::{Denied, Grant, Limits, LogRecord, is_secret_name},
    plugin::{
        call::request::{AttachmentSource, Call},
        contract::runner::provider::{artifacts, control, files, log, secrets, types},
        denied::{escaped_start, keep_denial},
        interrupt::Guard,
        listener::{Heard, Listener},
        net::outbound::Outbound,
        secrets::Secrets,
    },
};

const MAX_NAME_BYTES: usize = 128;
/// How much is shown of a name that is not valid.
const SHOWN_CHARACTERS: usize = 64;
/// How much is heard of what a guest says that it is at.
const MAX_PROGRESS_BYTES: usize = 1024;
/// What a field of a log record takes in memory beside its text, so that a million empty ones are not free.
const FIELD_BYTES: usize = size_of::<(String, String)>();

/// What one attempt's imports work on, and what they leave.
pub(in crate::plugin) struct AttemptHost {
    pub(in crate::plugin) log: Log,
    pub(in crate::plugin) artifacts: ArtifactCollector,
    pub(in crate::plugin) calls: u64,
    pub(in crate::plugin) bytes_in: u64,
    pub(in crate::plugin) outbound: Outbound,
    pub(in crate::plugin) denied: Vec<Denied>,
    pub(in crate::plugin) listener: Option<Listener>,
    /// What it may still say of where it is: as much as it may log.
    progress: ProgressAllowance,
    /// Those that the guest is granted.
    pub(in crate::plugin) secrets: Arc<Secrets>,
    files: Arc<[AttachmentSource]>,
    /// No guest can take more at once than its memory holds, and the host has it in memory, too.
    max_read: u64,
    guard: Guard,
}

/// Log records within their limits.
pub(in crate::plugin) struct Log {
    pub(in crate::plugin) records: Vec<LogRecord>,
    pub(in crate::plugin) dropped: u64,
    pub(in crate::plugin) bytes: u64,
    max_records: u64,
    max_bytes: u64,
}

/// How many words there may be, and how many bytes they may have together.
struct ProgressAllowance {
    words: u64,
    bytes: u64,
}

impl AttemptHost {
    pub(in crate::plugin) fn new(
        limits: &Limits,
        files: Arc<[AttachmentSource]>,
        guard: Guard,
    ) -> Self {
        Self {
            log: Log {
                records: Vec::new(),
                dropped: 0,
                bytes: 0,
                max_records: limits.log_records,
                max_bytes: limits.log,
            },
            artifacts: ArtifactCollector::uncollected(limits),
            calls: 0,
            bytes_in: 0,
            outbound: Outbound::closed(limits),
            denied: Vec::new(),
            listener: None,
            progress: ProgressAllowance {
                words: limits.log_records,
                bytes: limits.log,
            },
            secrets: Arc::default(),
            files,
            max_read: limits.memory.min(MAX_HANDOVER),
            guard,
        }
    }

    /// Makes what an attempt's imports work on, with what it is granted.
    pub(in crate::plugin) fn of(call: &Call<'_>, guard: &Guard) -> Self {
        Self {
            artifacts: ArtifactCollector::kept_in(&call.access.scratch_root, &call.limits),
            outbound: Outbound::open(&call.limits, &call.access.net),
            secrets: Arc::clone(&call.access.secrets),
            listener: call.listener.clone(),
            ..Self::new(&call.limits, call.files.clone(), guard.clone())
        }
    }

    /// Makes it ready for the end of its guest's instance, which is not an attempt: it has limits and a bound of its own.
    pub(in crate::plugin) fn begin_teardown(&mut self, guard: Guard) {
        (self.log.bytes, self.log.dropped) = (0, 0);
        self.outbound.restart();
        self.files = [].into();
        self.guard = guard;
    }

    pub(in crate::plugin) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Adds a word of the host's own, whether there is room for more or not.
    pub(in crate::plugin) fn warn(&mut self, message: String) {
        let record = LogRecord {
            at: Some(Timestamp::now()),
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
    pub(in crate::plugin) fn deny(&mut self, denied: &Denied) {
        keep_denial(&mut self.denied, denied);
    }
}

impl Log {
    /// Keeps a record if it fits and returns it, else counts it.
    pub(in crate::plugin) fn push(&mut self, record: LogRecord) -> Option<&LogRecord> {
        let fields = record.fields.iter();
        let fields = fields.map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
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

impl ProgressAllowance {
    /// Takes a word of `bytes`, if there is that much left.
    fn take(&mut self, bytes: usize) -> bool {
        let left = |word: u64| Some((self.words.checked_sub(1)?, self.bytes.checked_sub(word)?));
        let Some((words, bytes)) = left(bytes as u64) else {
            return false;
        };
        *self = Self { words, bytes };
        true
    }
}

impl types::Host for AttemptHost {}

impl log::Host for AttemptHost {
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
            at: Some(Timestamp::now()),
            level,
            message,
            fields,
        });
        if let (Some(listener), Some(record)) = (&self.listener, kept) {
            listener.hear(Heard::Log(record));
        }
    }
}

impl control::Host for AttemptHost {
    fn progress(&mut self, fraction: Option<f64>, mut message: String) {
        self.calls += 1;
        if let Some(redactor) = self.secrets.redactor() {
            redactor.text(&mut message);
        }
        message.truncate(message.floor_char_boundary(MAX_PROGRESS_BYTES));
        if !self.progress.take(message.len()) {
            return;
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

impl files::Host for AttemptHost {
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

impl secrets::Host for AttemptHost {
    fn get(&mut self, name: String) -> Result<String, secrets::SecretError> {
        self.calls += 1;
        if let Some(value) = self.secrets.get(&name) {
            return Ok(value.to_owned());
        }
        // A guest makes up as long a name as it likes.
        let is_name = name.len() <= MAX_NAME_BYTES && is_secret_name(&name);
        let shown: String = if is_name {
            name
        } else {
            escaped_start(&name, SHOWN_CHARACTERS)
        };
        self.deny(&Denied {
            grant: is_name.then(|| Grant::secret(&shown)).flatten(),
            what: format!("the secret `{shown}`"),
        });
        Err(secrets::SecretError::Denied)
    }
}

impl artifacts::Host for AttemptHost {
    fn append(
        &mut self,
        name: String,
        media_type: String,
        chunk: Vec<u8>,
    ) -> Result<(), artifacts::ArtifactError> {
        self.calls += 1;
        let was_lost = self.artifacts.lost.is_some();
        let appended = self.artifacts.append(name, media_type, &chunk);
        if let Some(lost) = self.artifacts.lost.as_ref().filter(|_| !was_lost) {
            let message = lost.message.clone();
            self.warn(message);
        }
        appended
    }
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
    use std::sync::{Arc, Mutex};

    use super::{AttemptHost, control::Host as _, secrets::Host as _};
    use crate::{
        model::Limits,
        plugin::{Activity, Guard, Heard, Interrupt, Listener, Moment},
    };

    fn host(limits: &Limits) -> AttemptHost {
        let guard = Guard {
            deadline: Moment::now(),
            interrupt: Interrupt::default(),
            memory: None,
            activity: Activity::default(),
        };
        AttemptHost::new(limits, [].into(), guard)
    }

    #[test]
    fn of_a_secrets_name_that_is_none_only_the_beginning_is_kept() {
        let mut host = host(&Limits::default());
        for name in [
            "A".repeat(128),
            "A".repeat(129),
            "a b".to_owned(),
            "\u{1b}[2J".repeat(1 << 20),
        ] {
            host.get(name).unwrap_err();
        }
        let denied = host.denied.iter();
        let denied: Vec<_> = denied
            .map(|denied| (denied.what.as_str(), denied.grant.is_some()))
            .collect();
        let (long, cut) = ("A".repeat(128), "A".repeat(64));
        let escaped: String = "\\u{1b}[2J".repeat(8).chars().take(64).collect();
        assert_eq!(
            denied,
            [
                (format!("the secret `{long}`").as_str(), true),
                (format!("the secret `{cut}…`").as_str(), false),
                ("the secret `a b`", false),
                (format!("the secret `{escaped}…`").as_str(), false),
            ]
        );
    }

    #[test]
    fn no_more_progress_is_heard_than_may_be_logged() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let listener = Listener::new(move |word: Heard<'_>| {
            if let Heard::Progress { message, .. } = word {
                ear.lock().unwrap().push(message.len());
            }
        });
        let listen = |log_records, log, messages: &[String]| {
            let limits = Limits {
                log_records,
                log,
                ..Limits::default()
            };
            let mut host = host(&limits);
            host.listener = Some(listener.clone());
            for message in messages {
                host.progress(None, message.clone());
            }
            std::mem::take(&mut *heard.lock().unwrap())
        };
        let words = ["", "abc", "d"].map(str::to_owned);
        assert_eq!(listen(2, 100, &words), [0, 3]);
        assert_eq!(listen(9, 3, &words), [0, 3]);
        assert_eq!(listen(9, 2, &words), [0, 1]);
        let long = ["x".to_owned() + &"\u{e9}".repeat(1 << 20), "y".to_owned()];
        assert_eq!(listen(9, 1025, &long), [1023, 1]);
    }
}
