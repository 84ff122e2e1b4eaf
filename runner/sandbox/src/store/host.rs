//! [`Host`]: the contract's imports, for one call.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc, time::SystemTime};

use runner_model::log::{Level, LogRecord};
use runner_model::{
    HostFault, Limits, Text, Time, grants::Grant, media_type, row::Denied, row::Metric, row::Usage,
    visible::visible_line,
};

use super::{artifacts::Artifacts, spending::Spending, stdio::Spool, transcript::Transcript};
use crate::call::json::read_json;
use crate::contract::runner::provider::{
    artifacts, control, files, http, log, records, secrets, types,
};
use crate::message::{cut, cut_redacted};
use crate::net::{Denials, Outbound};
use crate::{AttachedFile, Call, Secrets, Toolbox, interrupt::Guard, redact::Redactor};

/// Bytes that any guest may pass to the host, or receive from it, in one call. The host copies
/// them.
pub(crate) const MAX_HANDOVER: u64 = 32 * 1024 * 1024;
/// Name of the file that a development form reads its source from. `names` does not list it.
const SOURCE: &str = ".source";
/// Bytes of a guest's name in a message.
const SHOWN_NAME: usize = 128;
/// Bytes of a progress message.
const MAX_PROGRESS: usize = 1024;
/// Memory of a field in addition to its text, so that a million empty fields are not free.
const FIELD_BYTES: usize = size_of::<(Text<'static>, Text<'static>)>();

/// State of the contract's imports during one call.
pub(crate) struct Host {
    pub(crate) guard: Guard,
    pub(crate) log: Log,
    pub(crate) artifacts: Artifacts,
    pub(crate) outbound: Outbound,
    /// Denied imports, sockets and files. Denied requests are in the counts of `outbound`.
    pub(crate) denied: Denials,
    pub(crate) calls: u64,
    pub(crate) bytes_in: u64,
    /// A resource that the machine lacked.
    pub(crate) fault: Option<HostFault>,
    /// Description of a fixed limit that refused the guest something.
    pub(crate) fixed_limit: Option<String>,
    /// The granted secrets.
    pub(crate) secrets: Arc<Secrets>,
    /// The granted tools.
    pub(crate) tools: Option<Arc<dyn Toolbox>>,
    /// Names of the scenario's tools, granted or not.
    pub(crate) scenario_tools: Arc<[String]>,
    pub(crate) tool_calls_left: u64,
    /// Whether the guest itself is a tool.
    pub(crate) is_tool: bool,
    pub(crate) transcript: Transcript,
    /// The metrics that the guest has reported.
    pub(crate) spending: Spending,
    has_refused_usage: bool,
    /// Receives the records of a plugin that makes a test list.
    pub(crate) records: Option<Spool>,
    /// What tools have used. `peak_memory` is that of the largest one.
    pub(crate) of_tools: Usage,
    files: Vec<AttachedFile>,
    /// The source of a development form, as the file [`SOURCE`].
    pub(crate) source: Option<Arc<[u8]>>,
    /// Bytes of an attachment in one read. The host holds a copy of them.
    max_read: u64,
    /// Bytes of the guest's stack, for messages.
    pub(crate) stack: u64,
    /// Progress messages that are left, and their bytes: as many as log records.
    progress_left: (u64, u64),
}

/// Log records, within their limits.
pub(crate) struct Log {
    pub(crate) records: Vec<LogRecord<'static>>,
    pub(crate) dropped: u64,
    pub(crate) bytes: u64,
    max_records: u64,
    max_bytes: u64,
}

impl Host {
    /// Creates the host of a guest without grants.
    pub(crate) fn new(limits: &Limits, guard: Guard) -> Self {
        Self {
            log: Log {
                records: Vec::new(),
                dropped: 0,
                bytes: 0,
                max_records: limits.log_records,
                max_bytes: limits.log,
            },
            artifacts: Artifacts::default(),
            outbound: Outbound::closed(limits, guard.clone()),
            denied: Denials::default(),
            calls: 0,
            bytes_in: 0,
            fault: None,
            fixed_limit: None,
            secrets: Arc::default(),
            tools: None,
            scenario_tools: Arc::default(),
            tool_calls_left: limits.tool_calls,
            is_tool: false,
            transcript: Transcript::new(limits.transcript),
            spending: Spending::default(),
            has_refused_usage: false,
            records: None,
            of_tools: Usage::default(),
            files: Vec::new(),
            source: None,
            max_read: limits.memory.min(MAX_HANDOVER),
            stack: limits.stack,
            progress_left: (limits.log_records, limits.log),
            guard,
        }
    }

    /// Creates the host of a call with `bytes_in` bytes of input.
    pub(crate) fn for_call(call: &Call<'_>, guard: Guard, bytes_in: usize) -> Self {
        let host = Self {
            artifacts: Artifacts::new(&call.access.scratch, call.limits),
            outbound: Outbound::open(
                call.limits,
                call.access.network.clone(),
                call.access.secrets.clone(),
                guard.clone(),
            ),
            secrets: call.access.secrets.clone(),
            spending: Spending::new(call.limits, call.access.prices.clone()),
            tools: call.tools.clone(),
            scenario_tools: call.access.scenario_tools.clone(),
            is_tool: call.inside.is_some(),
            files: call.files.to_vec(),
            bytes_in: bytes_in as u64,
            ..Self::new(call.limits, guard)
        };
        // Requests of a tool are requests of its caller's attempt.
        let used_up = call.inside.as_ref().and_then(|inside| inside.used_up.clone());
        host.outbound.counts().used_up = used_up;
        host
    }

    /// Prepares for `teardown`, which is not a call of a test.
    pub(crate) fn start_teardown(&mut self, guard: Guard) {
        (self.log.bytes, self.log.dropped) = (0, 0);
        self.outbound.restart(guard.clone());
        self.files.clear();
        self.guard = guard;
    }

    /// Redacts the output of the guest. `None` if there is nothing to find.
    pub(crate) fn redactor(&self) -> Option<&Arc<Redactor>> {
        self.secrets.redactor()
    }

    /// Records a denied request, once, up to a bound.
    pub(crate) fn deny(&mut self, what: impl Into<Text<'static>>, grant: Option<String>) {
        let mut denied = Denied { what: what.into(), grant: grant.map(Text::from) };
        if let Some(redactor) = self.redactor() {
            redact(&mut denied.what, redactor);
            // A grant with a mark in it would allow something else.
            denied.grant.take_if(|grant| redactor.is_in(grant.as_bytes()));
        }
        self.denied.add(denied);
    }

    /// Records that a limit, which no scenario can raise, has refused the guest something.
    pub(crate) fn meet_limit(&mut self, what: String) {
        self.deny(what.clone(), None);
        self.fixed_limit.get_or_insert(what);
    }

    /// Adds a record of the host, even if the log is full.
    pub(crate) fn warn(&mut self, message: String) {
        let mut record = LogRecord {
            at: Time::from(SystemTime::now()),
            calls: self.calls_made(),
            level: Level::Warn,
            message: message.into(),
            fields: Vec::new(),
        };
        self.redact(&mut record);
        self.log.records.push(record);
    }

    /// Returns the number of requests of the attempt so far. 0 without a journal.
    pub(crate) fn calls_made(&self) -> u32 {
        self.guard.determinism.as_ref().map_or(0, |one| one.exchanges.made())
    }

    /// Adds a record of the guest.
    pub(crate) fn note(&mut self, mut record: LogRecord<'static>) {
        self.redact(&mut record);
        self.log.push(record);
    }

    /// Adds metrics that the guest reports, or its tool, and notes the limit that they use up.
    pub(crate) fn add_usage(
        &mut self,
        metrics: impl IntoIterator<Item = Metric<'static>>,
        by_tool: bool,
    ) {
        let Spending { own, of_tools, .. } = &mut self.spending;
        let sums = if by_tool { of_tools } else { own };
        let refused = metrics.into_iter().filter(|metric| !sums.add(metric.clone())).count();
        if refused > 0 && !self.has_refused_usage {
            self.has_refused_usage = true;
            self.warn("ignored reported metrics: a value is negative or not finite, a name or unit has over 128 bytes, or there are over 100 names".to_owned());
        }
        if let Some(limit) = self.spending.used_up() {
            self.outbound.counts().used_up.get_or_insert(limit);
        }
    }

    fn redact(&self, record: &mut LogRecord<'static>) {
        if let Some(redactor) = self.redactor() {
            redact(&mut record.message, redactor);
            for (name, value) in &mut record.fields {
                redact(name, redactor);
                redact(value, redactor);
            }
        }
    }
}

fn redact(text: &mut Text<'static>, redactor: &Redactor) {
    if let Some(redacted) = redactor.bytes(text.as_bytes()) {
        *text = String::from_utf8_lossy(&redacted).into_owned().into();
    }
}

impl Log {
    /// Adds a record if it fits. Otherwise counts it as dropped.
    fn push(&mut self, record: LogRecord<'static>) {
        let fields =
            record.fields.iter().map(|(name, value)| name.len() + value.len() + FIELD_BYTES);
        let bytes = (record.message.len() + fields.sum::<usize>()) as u64;
        let is_full = self.records.len() as u64 >= self.max_records;
        if is_full || self.bytes.saturating_add(bytes) > self.max_bytes {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.records.push(record);
    }
}

impl types::Host for Host {}

impl log::Host for Host {
    fn log(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) {
        self.calls += 1;
        let mut record = LogRecord {
            at: Time::from(SystemTime::now()),
            calls: self.calls_made(),
            level: match level {
                log::Level::Trace => Level::Trace,
                log::Level::Debug => Level::Debug,
                log::Level::Info => Level::Info,
                log::Level::Warn => Level::Warn,
                log::Level::Error => Level::Error,
            },
            message: message.into(),
            fields: fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        };
        self.redact(&mut record);
        // First, because the last record is shown even if the log has no room for it.
        self.guard.activity.add_record(&record);
        self.log.push(record);
    }
}

impl control::Host for Host {
    fn progress(&mut self, fraction: Option<f64>, mut message: String) {
        self.calls += 1;
        if let Some(redactor) = self.redactor() {
            redactor.text(&mut message);
        }
        message.truncate(message.floor_char_boundary(MAX_PROGRESS));
        let (words, bytes) = self.progress_left;
        let left = words.checked_sub(1).zip(bytes.checked_sub(message.len() as u64));
        let Some(left) = left else {
            return;
        };
        self.progress_left = left;
        self.guard.activity.set_progress(match fraction.filter(|fraction| fraction.is_finite()) {
            Some(fraction) => format!("{:.0} % {message}", fraction * 100.0),
            None => message,
        });
    }

    fn stop_requested(&mut self) -> bool {
        self.calls += 1;
        // A stop must not change the result of a deterministic attempt, which can continue.
        self.guard.determinism.is_none() && self.guard.interrupt.is_requested()
    }

    fn remaining(&mut self) -> u32 {
        self.calls += 1;
        u32::try_from(self.guard.remaining_for_guest().as_millis()).unwrap_or(u32::MAX)
    }

    fn report_usage(&mut self, metrics: Vec<types::Metric>) -> Option<String> {
        self.calls += 1;
        self.add_usage(metrics.into_iter().map(Metric::from), false);
        self.outbound.used_up().map(str::to_owned)
    }
}

impl files::Host for Host {
    fn names(&mut self) -> Vec<files::File> {
        self.calls += 1;
        self.files
            .iter()
            .map(|file| files::File {
                name: file.name.clone(),
                media_type: media_type(&file.name).to_owned(),
                size: u32::try_from(file.bytes).unwrap_or(u32::MAX),
            })
            .collect()
    }

    fn read(
        &mut self,
        name: String,
        offset: u32,
        length: u32,
    ) -> Result<Vec<u8>, files::FileError> {
        // Not counted, because the final form makes no such call.
        if let Some(source) = self.source.as_ref().filter(|_| name == SOURCE) {
            let rest = source.get(offset as usize..).ok_or(files::FileError::OutOfRange)?;
            let read = &rest[..rest.len().min(length as usize)];
            let fits = read.len() as u64 <= self.max_read;
            return fits.then(|| read.to_vec()).ok_or(files::FileError::OutOfRange);
        }
        self.calls += 1;
        let file =
            self.files.iter().find(|file| file.name == name).ok_or(files::FileError::NotFound)?;
        let rest = file.bytes.checked_sub(offset.into()).ok_or(files::FileError::OutOfRange)?;
        let length = rest.min(length.into());
        if length > self.max_read {
            return Err(files::FileError::OutOfRange);
        }
        let content = read_at(file, offset, length).map_err(|_| files::FileError::Unavailable)?;
        self.bytes_in += content.len() as u64;
        Ok(content)
    }
}

fn read_at(file: &AttachedFile, offset: u32, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    File::open(&file.path)?.read_exact_at(&mut content, offset.into())?;
    Ok(content)
}

impl secrets::Host for Host {
    fn get(&mut self, name: String) -> Result<String, secrets::SecretError> {
        self.calls += 1;
        if let Some(value) = self.secrets.get(&name) {
            return Ok(value.to_owned());
        }
        // A guest's name may have any length.
        let shown = cut_redacted(SHOWN_NAME, &name, self.redactor());
        let shown = cut(SHOWN_NAME, visible_line(&shown));
        let grant = Grant::secret(&name).filter(|_| name.len() <= SHOWN_NAME);
        self.deny(format!("the secret `{shown}`"), grant.map(|grant| grant.to_string()));
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

impl records::Host for Host {
    fn append(&mut self, record: String) -> Result<(), records::RecordError> {
        self.calls += 1;
        let Some(spool) = &mut self.records else {
            return Err(records::RecordError::Unavailable);
        };
        let record = read_json("record", record, self.secrets.redactor())
            .map_err(|_| records::RecordError::Invalid)?;
        // Compact JSON has no line breaks.
        let line = format!("{}\n", record.get());
        let written = spool.write(line.as_bytes());
        written.map_err(|_| match spool.fault() {
            Some("records") => records::RecordError::TooMany,
            Some("storage") => records::RecordError::Unavailable,
            _ => records::RecordError::TooLarge,
        })
    }
}

impl http::Host for Host {
    async fn send(&mut self, request: http::Request) -> Result<http::Response, http::HttpError> {
        self.calls += 1;
        self.outbound.http_send(request).await
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use runner_model::{Limits, Micros, log::Level};

    use super::{Host, control::Host as _, log::Host as _, secrets::Host as _};
    use crate::interrupt::{Guard, Interrupt};
    use crate::{Secrets, contract::runner::provider::log};

    fn host(limits: &Limits) -> Host {
        let guard = Guard::new(Interrupt::default(), Micros(1_000_000));
        Host::new(limits, guard)
    }

    fn secrets(value: &str) -> Arc<Secrets> {
        let values = BTreeMap::from([("KEY".to_owned(), value.to_owned())]);
        Arc::new(Secrets::new(&values, BTreeMap::new()))
    }

    #[test]
    fn ungranted_secret_is_denied_with_its_grant() {
        let mut host = host(&Limits::default());
        for name in ["KEY", "KEY", "a b", &"A".repeat(129), &"\u{1b}".repeat(1 << 20)] {
            host.get(name.to_owned()).unwrap_err();
        }
        let denied = host.denied.0.iter();
        let denied: Vec<_> =
            denied.map(|denied| (&*denied.what, denied.grant.as_deref().unwrap_or("-"))).collect();
        assert_eq!(
            denied[..2],
            [("the secret `KEY`", "secrets = [\"KEY\"]"), ("the secret `a b`", "-")]
        );
        assert!(denied[2].0.ends_with("A…`") && denied[3].0.starts_with("the secret `\\u{1b}"));
        assert!(denied[3].0.len() < 150);
        for number in 0..30 {
            host.get(format!("K{number}")).unwrap_err();
        }
        assert_eq!(host.denied.0.len(), 20);
    }

    #[test]
    fn progress_is_bounded_like_the_log() {
        let said = |log_records, log, words: &[String]| {
            let mut host = host(&Limits { log_records, log, ..Limits::default() });
            let mut said = Vec::new();
            for word in words {
                host.progress(None, word.clone());
                said.push(host.guard.activity.word(true).len());
            }
            said
        };
        let words = ["abc", "d", "ef"].map(str::to_owned);
        assert_eq!(said(2, 100, &words), [3, 1, 1]);
        assert_eq!(said(9, 3, &words), [3, 3, 3]);
        let long = ["x".to_owned() + &"\u{e9}".repeat(1 << 20), "y".to_owned()];
        assert_eq!(said(9, 1025, &long), [1023, 1]);
        let mut host = host(&Limits::default());
        host.progress(Some(0.25), "half of the half".to_owned());
        assert_eq!(host.guard.activity.word(false), "25 % half of the half");
    }

    #[test]
    fn guest_output_is_redacted_before_cutting() {
        let mut host = host(&Limits::default());
        host.secrets = secrets("0123456789");
        host.progress(None, "x".repeat(1020) + "0123456789");
        assert!(host.guard.activity.word(false).ends_with("x[sec"));
        let fields = vec![("0123456789".to_owned(), "a 0123456789".to_owned())];
        host.log(log::Level::Info, "0123456789!".to_owned(), fields);
        let record = &host.log.records[0];
        assert_eq!((record.level, &*record.message), (Level::Info, "[secret KEY]!"));
        assert_eq!(&*record.fields[0].1, "a [secret KEY]");
        host.get("A".repeat(125) + "0123456789").unwrap_err();
        assert_eq!(&*host.denied.0[0].what, format!("the secret `{}[se…`", "A".repeat(125)));
        host.deny("no", Some("net = [\"https://0123456789.example\"]".to_owned()));
        assert_eq!(host.denied.0[1].grant, None);
    }
}
