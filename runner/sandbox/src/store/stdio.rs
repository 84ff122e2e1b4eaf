//! [`Capture`]: keeps a guest's standard output or error, within bounds. Writes never block or
//! fail.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::{borrow::Cow, collections::VecDeque, mem, pin::Pin, time::SystemTime};

use bytes::Bytes;
use runner_model::{ErrorClass, Time, row::RowError, units::grouped, units::show_size};
use tokio::io::{self, AsyncWrite};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use super::artifacts::{Artifacts, LeftContent, LeftFile};
use crate::activity::{Activity, push_last};
use crate::message::{failure, too_large};
use crate::net::Exchanges;
use crate::redact::{Redactor, Stream};

/// Bytes of one write.
const CHUNK: usize = 64 * 1024;
/// The most bytes of one write of a component, which is not interrupted before its end.
const MAX_CHUNK: u64 = 8 * 1024 * 1024;

/// Keeps the first and the last bytes, and counts all. Clones share them.
#[derive(Clone)]
pub(crate) struct Capture(Arc<Mutex<Captured>>);

#[derive(Default)]
struct Captured {
    /// Redacts before anything is cut or shown.
    stream: Option<Stream>,
    /// Whether the bytes are kept as they were written.
    is_raw: bool,
    /// Receives all bytes in place of `head` and `tail`.
    spool: Option<Spool>,
    /// Shows the redacted bytes while the guest runs.
    activity: Option<Activity>,
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    written: u64,
    dropped: u64,
    /// Bytes that one write may have. 0 means [`CHUNK`].
    chunk: usize,
    /// End of each line in the head, and the number of requests before it, for at most `most_times` lines.
    times: Vec<(Time, u32)>,
    most_times: usize,
    /// Counts requests. `None` if the guest is not deterministic.
    exchanges: Option<Exchanges>,
}

/// A file for a standard output that is too long for memory.
pub(crate) struct Spool {
    file: BufWriter<File>,
    /// Noun for messages, such as `standard output`.
    what: &'static str,
    most_lines: u64,
    most_bytes: u64,
    lines: u64,
    bytes: u64,
    /// Reason why the file lacks bytes.
    fault: Option<RowError<'static>>,
}

impl Spool {
    /// Creates the file for the records of a call, which messages call `what`. `None` if it makes none.
    ///
    /// # Errors
    ///
    /// The temporary file cannot be created.
    pub(crate) fn for_call(
        most_lines: Option<u64>,
        most_bytes: u64,
        what: &'static str,
        artifacts: &Artifacts,
    ) -> Result<Option<Self>, RowError<'static>> {
        let Some(most_lines) = most_lines else { return Ok(None) };
        let file = artifacts.unnamed_file().map_err(|error| cannot_keep(what, &error))?;
        let file = BufWriter::with_capacity(CHUNK, file);
        Ok(Some(Self { file, what, most_lines, most_bytes, lines: 0, bytes: 0, fault: None }))
    }

    /// Appends bytes. Fails if they do not fit.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.bytes += bytes.len() as u64;
        self.lines += bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let fault = if self.bytes > self.most_bytes {
            too_large(self.what, self.bytes, "reply", self.most_bytes)
        } else if self.lines > self.most_lines {
            let most = grouped(self.most_lines);
            let message = format!("it printed more than {most} lines, which is `limits.records`");
            failure(ErrorClass::Limit, "records", message)
        } else {
            match self.file.write_all(bytes) {
                Ok(()) => return Ok(()),
                Err(error) => cannot_keep(self.what, &error),
            }
        };
        self.fault.get_or_insert(fault);
        Err("standard output is full")
    }

    /// Returns the code of the reason why the file lacks bytes.
    pub(crate) fn fault(&self) -> Option<&str> {
        self.fault.as_ref().map(|fault| &*fault.code)
    }

    /// Returns the file.
    ///
    /// # Errors
    ///
    /// The reason why the file lacks bytes.
    pub(crate) fn finish(self) -> Result<LeftFile, RowError<'static>> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let file = self.file.into_inner();
        let file = file.map_err(|error| cannot_keep(self.what, error.error()))?;
        Ok(LeftFile {
            name: "records.jsonl".into(),
            media_type: "application/jsonl".into(),
            bytes: self.bytes,
            content: LeftContent::File(file),
        })
    }
}

/// Returns the error of an output that cannot be written to disk.
fn cannot_keep(what: &str, error: &std::io::Error) -> RowError<'static> {
    let message = format!("its {what} cannot be kept in a temporary file: {error}");
    failure(ErrorClass::Internal, "storage", message)
}

impl Capture {
    /// Keeps `head` bytes from the start and `tail` bytes from the end.
    pub(crate) fn new(head: u64, tail: u64) -> Self {
        let [head_limit, tail_limit] =
            [head, tail].map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self(Arc::new(Mutex::new(Captured { head_limit, tail_limit, ..Captured::default() })))
    }

    /// Returns a text without its middle, as [`Self::text`] does: at most `most` bytes of its start and as many of its end,
    /// redacted before they are cut.
    pub(crate) fn cut(text: &str, most: u64, redactor: Option<&Arc<Redactor>>) -> String {
        let kept = Self::new(most, most).redacted_by(redactor);
        kept.lock().push(text.as_bytes());
        kept.text()
    }

    /// Redacts all writes.
    pub(crate) fn redacted_by(self, redactor: Option<&Arc<Redactor>>) -> Self {
        self.lock().stream = redactor.map(Redactor::stream);
        self
    }

    /// Writes everything to a file, and keeps nothing.
    pub(crate) fn spooled(self, spool: Option<Spool>) -> Self {
        self.lock().spool = spool;
        self
    }

    /// Takes the file of [`Self::spooled`].
    pub(crate) fn take_spool(&self) -> Option<Spool> {
        self.lock().spool.take()
    }

    /// Shows all writes in `activity`.
    pub(crate) fn shown_in(self, activity: &Activity) -> Self {
        self.lock().activity = Some(activity.clone());
        self
    }

    /// Accepts writes of `bytes` bytes, within bounds: Python drops the rest of a text that is accepted in part.
    pub(crate) fn with_writes_of(self, bytes: u64) -> Self {
        self.lock().chunk = bytes.min(MAX_CHUNK) as usize;
        self
    }

    /// Keeps the bytes as they were written. Only those that are shown are redacted.
    pub(crate) fn raw(self) -> Self {
        self.lock().is_raw = true;
        self
    }

    /// Shows no further writes.
    pub(crate) fn hide(&self) {
        self.lock().activity = None;
    }

    /// Records the time of each of the first `lines` lines, and the number of requests before it.
    pub(crate) fn with_times(self, lines: u64, exchanges: Option<Exchanges>) -> Self {
        let mut kept = self.lock();
        kept.most_times = usize::try_from(lines).unwrap_or(usize::MAX);
        kept.exchanges = exchanges;
        drop(kept);
        self
    }

    /// Clears everything that was written.
    pub(crate) fn clear(&self) {
        let mut kept = self.lock();
        // Otherwise the next call would start with bytes that are held back.
        kept.flush();
        let before = mem::take(&mut *kept);
        *kept = Captured {
            stream: before.stream,
            is_raw: before.is_raw,
            activity: before.activity,
            head_limit: before.head_limit,
            tail_limit: before.tail_limit,
            most_times: before.most_times,
            exchanges: before.exchanges,
            ..Captured::default()
        };
    }

    /// Takes the times of the first lines, each with the number of requests before it.
    pub(crate) fn take_times(&self) -> Vec<(Time, u32)> {
        mem::take(&mut self.lock().times)
    }

    /// Takes everything that was written. Fails with the number of bytes if some were dropped.
    pub(crate) fn take_whole(&self) -> Result<Vec<u8>, u64> {
        let mut kept = self.lock();
        if kept.dropped > 0 {
            return Err(kept.written);
        }
        let mut whole = mem::take(&mut kept.head);
        whole.extend(mem::take(&mut kept.tail));
        Ok(whole)
    }

    /// Redacts, then drops all but `most` bytes from the start and as many from the end.
    pub(crate) fn shorten(&self, most: u64, redactor: Option<&Arc<Redactor>>) {
        let shorter = Self::new(most, most).redacted_by(redactor);
        let mut kept = self.lock();
        let mut shorter = shorter.lock();
        shorter.push(&kept.head);
        if kept.dropped > 0
            && let Some(stream) = &mut shorter.stream
        {
            // The held bytes may be the start of a secret whose rest was dropped.
            let held = stream.end().len();
            shorter.dropped += held as u64;
        }
        shorter.dropped += kept.dropped;
        shorter.written = kept.written;
        mem::swap(&mut *kept, &mut *shorter);
    }

    /// Returns the kept bytes as text, with a line in the middle about the dropped ones.
    pub(crate) fn text(&self) -> String {
        let mut kept = self.lock();
        kept.flush();
        let mut bytes = kept.head.clone();
        if kept.dropped > 0 {
            bytes.extend_from_slice(
                format!("\n… {} left out\n", show_size(kept.dropped)).as_bytes(),
            );
        }
        let (front, back) = kept.tail.as_slices();
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(back);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    /// Returns the number of bytes that were written, kept or not.
    pub(crate) fn written(&self) -> u64 {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        // No panic can leave this half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captured {
    /// Receives a write of the guest. Fails only if a spool is full.
    fn receive(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if let Some(spool) = &mut self.spool {
            self.written += bytes.len() as u64;
            return spool.write(bytes);
        }
        self.push(bytes);
        Ok(())
    }

    fn push(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if self.times.len() < self.most_times {
            let room = self.head_limit - self.head.len();
            let head = &bytes[..room.min(bytes.len())];
            let lines = head.iter().filter(|byte| **byte == b'\n').count();
            let lines = self.times.len().saturating_add(lines).min(self.most_times);
            let calls = self.exchanges.as_ref().map_or(0, Exchanges::made);
            self.times.resize(lines, (Time::from(SystemTime::now()), calls));
        }
        let redacted = match &mut self.stream {
            None => Cow::Borrowed(bytes),
            Some(stream) => Cow::Owned(stream.push(bytes)),
        };
        if let Some(activity) = &self.activity {
            activity.add_output(&redacted);
        }
        self.keep(if self.is_raw { bytes } else { &redacted });
    }

    /// Keeps the bytes that the stream holds back.
    fn flush(&mut self) {
        if let Some(stream) = &mut self.stream {
            let rest = stream.end();
            if !self.is_raw {
                self.keep(&rest);
            }
        }
    }

    /// Keeps the bytes that fit.
    fn keep(&mut self, bytes: &[u8]) {
        let room = self.head_limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.dropped += push_last(&mut self.tail, rest, self.tail_limit) as u64;
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    // The default wraps `async_stream` into a writer with its own task. Preview 1 uses this stream,
    // too.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lock().receive(&bytes).map_err(StreamError::trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(self.lock().chunk.max(CHUNK))
    }
}

#[async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {}
}

impl AsyncWrite for Capture {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // A guest may pass all of its memory in one write, which is not interrupted before its end.
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        let pushed = self.lock().receive(bytes);
        Poll::Ready(pushed.map(|()| bytes.len()).map_err(io::Error::other))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
#[path = "../tests/stdio.rs"]
mod tests;
