//! [`Capture`]: a guest's standard output or error, bounded, never full and never failing.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::{self, AsyncWrite};
use wasmtime_wasi::{
    async_trait,
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Bytes that a guest may hand over in one write.
const CHUNK: usize = 64 * 1024;

/// Keeps the first and the last bytes of what is written and counts all; its clones are one.
#[derive(Clone)]
pub(in crate::plugin) struct Capture(Arc<Mutex<Captured>>);

struct Captured {
    /// Who hears the lines of what is kept, as they come.
    lines: Option<LineSplitter>,
    head: Vec<u8>,
    head_limit: usize,
    tail: VecDeque<u8>,
    tail_limit: usize,
    written: u64,
    dropped: u64,
}

/// Makes lines of what comes in pieces.
struct LineSplitter {
    begun: Vec<u8>,
    hear: Box<dyn FnMut(&str) + Send>,
}

impl Capture {
    /// Keeps `head` bytes from the start and `tail` bytes from the end.
    pub(in crate::plugin) fn new(head: u64, tail: u64) -> Self {
        let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
        Self(Arc::new(Mutex::new(Captured {
            lines: None,
            head: Vec::new(),
            head_limit: size(head),
            tail: VecDeque::new(),
            tail_limit: size(tail),
            written: 0,
            dropped: 0,
        })))
    }

    /// Lets `hear` hear each line of what is kept: of the head as it comes, of the rest at the end.
    pub(in crate::plugin) fn heard_by(self, hear: impl FnMut(&str) + Send + 'static) -> Self {
        self.kept().lines = Some(LineSplitter {
            begun: Vec::new(),
            hear: Box::new(hear),
        });
        self
    }

    /// Tells that nothing more will be written.
    pub(in crate::plugin) fn end(&self) {
        self.kept().end();
    }

    /// Forgets everything that was written.
    pub(in crate::plugin) fn clear(&self) {
        let mut kept = self.kept();
        kept.head.clear();
        kept.tail.clear();
        (kept.written, kept.dropped) = (0, 0);
    }

    /// How many bytes were written, kept or not.
    pub(in crate::plugin) fn written(&self) -> u64 {
        self.kept().written
    }

    /// Takes everything that was written out of here, if nothing had to be dropped.
    pub(in crate::plugin) fn take_whole(&self) -> Option<Vec<u8>> {
        let mut kept = self.kept();
        if kept.dropped > 0 {
            return None;
        }
        let mut whole = std::mem::take(&mut kept.head);
        whole.extend(std::mem::take(&mut kept.tail));
        Some(whole)
    }

    /// What was kept, as text, with a line in the middle that says how much was dropped.
    pub(in crate::plugin) fn text(&self) -> String {
        let kept = self.kept();
        let mut bytes = kept.head.clone();
        if kept.dropped > 0 {
            bytes.extend_from_slice(kept.note().as_bytes());
        }
        let (front, back) = kept.tail.as_slices();
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(back);
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }

    fn keep(&self, bytes: &[u8]) {
        self.kept().keep(bytes);
    }

    fn kept(&self) -> MutexGuard<'_, Captured> {
        // Nothing in here can be left half done by a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Captured {
    fn keep(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        let room = self.head_limit - self.head.len();
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        if let Some(lines) = &mut self.lines {
            lines.add(head);
        }

        let last = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let overflow = (self.tail.len() + last.len()).saturating_sub(self.tail_limit);
        self.tail.drain(..overflow);
        self.tail.extend(last);
        self.dropped += (rest.len() - last.len() + overflow) as u64;
    }

    fn end(&mut self) {
        let Some(mut lines) = self.lines.take() else {
            return;
        };
        if self.dropped > 0 {
            lines.add(self.note().as_bytes());
        }
        let (front, back) = self.tail.as_slices();
        lines.add(front);
        lines.add(back);
        lines.finish();
    }

    fn note(&self) -> String {
        format!("\n[{} bytes dropped]\n", self.dropped)
    }
}

impl LineSplitter {
    fn add(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.finish();
            }
        }
    }

    /// Hands on what there is of a line.
    fn finish(&mut self) {
        if !self.begun.is_empty() {
            let line = String::from_utf8_lossy(&self.begun);
            (self.hear)(line.trim_end_matches(['\r', '\n']));
            self.begun.clear();
        }
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

    // The default wraps `async_stream` into a writer with a task of its own; preview 1 uses this one too.
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.keep(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(CHUNK)
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
        self.keep(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::Capture;

    fn capture(head: u64, tail: u64, writes: &[&str]) -> Capture {
        let capture = Capture::new(head, tail);
        for text in writes {
            capture.keep(text.as_bytes());
        }
        capture
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let capture = capture(4, 4, &["abc", "", "defgh"]);
        assert_eq!(capture.text(), "abcdefgh");
        assert_eq!(capture.take_whole(), Some(b"abcdefgh".to_vec()));
    }

    #[test]
    fn head_and_tail_are_kept_and_the_rest_is_counted() {
        for writes in [
            &["0123456789abcdef"][..],
            &["0", "123456", "78", "9abcde", "f"],
        ] {
            let capture = capture(4, 4, writes);
            assert_eq!(capture.text(), "0123\n[8 bytes dropped]\ncdef");
            assert_eq!(capture.written(), 16);
            assert_eq!(capture.take_whole(), None);
        }
    }

    #[test]
    fn lines_are_heard_as_they_come_and_the_tail_at_the_end() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let capture =
            Capture::new(8, 4).heard_by(move |line| ear.lock().unwrap().push(line.to_owned()));
        capture.keep(b"on");
        assert_eq!(*heard.lock().unwrap(), [""; 0]);
        capture.keep(b"e\r\n\nab0123456789\nx\n");
        assert_eq!(*heard.lock().unwrap(), ["one", ""]);
        capture.end();
        let all = ["one", "", "ab", "[9 bytes dropped]", "9", "x"];
        assert_eq!(*heard.lock().unwrap(), all);
    }

    #[test]
    fn nothing_is_left_after_it_was_cleared() {
        let capture = capture(2, 2, &["abcdef"]);
        capture.clear();
        assert_eq!((capture.text().as_str(), capture.written()), ("", 0));
        capture.keep(b"ghi");
        assert_eq!(capture.take_whole(), Some(b"ghi".to_vec()));
    }

    #[test]
    fn nothing_is_kept_when_nothing_may_be() {
        assert_eq!(capture(0, 0, &["abc"]).text(), "\n[3 bytes dropped]\n");
    }
}
