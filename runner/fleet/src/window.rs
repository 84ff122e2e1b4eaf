//! [`Window`]: keeps the pieces of a link in order and repeats lost ones, by byte offsets as in TCP.
//!
//! It has no clock and no I/O, so tests can run two of them over any network.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::wire::{Kind, MAX_OUTSTANDING, MAX_PIECE, Piece};

/// Interval of receipts that are sent without new content, as a sign of life.
const PING_EVERY: Duration = Duration::from_millis(1_500);
/// Delay of a receipt. A receipt for each small piece would cost more than the piece, and content that waits for it is
/// coalesced meanwhile.
pub(crate) const RECEIPT_AFTER: Duration = Duration::from_millis(2);
/// Time without progress after which content is sent again. Doubles each time.
const RESEND_AFTER: Duration = Duration::from_millis(500);
/// Longest time without progress after which content is sent again.
const MAX_RESEND_AFTER: Duration = Duration::from_secs(4);
/// Received parts that may be unread. Frames are coalesced, so only a hostile sender needs more.
const MAX_UNREAD: usize = 128;

const _: () = assert!(MAX_UNREAD as u64 >= 3 * MAX_OUTSTANDING / MAX_PIECE as u64);

/// One end of a link: content to send and received content.
#[derive(Debug)]
pub(crate) struct Window {
    outgoing: OutgoingStream,
    incoming: IncomingStream,
    ping_at: Instant,
}

impl Window {
    pub(crate) fn new(now: Instant) -> Self {
        Self { outgoing: OutgoingStream::new(), incoming: IncomingStream::default(), ping_at: now }
    }

    /// Queues content. Frames of any length are cut into pieces, or coalesced with others that wait. A control message is at
    /// most [`MAX_DOCUMENT`](crate::wire::MAX_DOCUMENT) bytes long, and stays whole.
    pub(crate) fn send(&mut self, kind: Kind, content: &[u8]) {
        self.outgoing.push(kind, content);
    }

    /// Returns the bytes of content that the other end has not received.
    pub(crate) fn unreceived(&self) -> u64 {
        self.outgoing.end - self.outgoing.start
    }

    /// Returns whether content can be sent at once.
    pub(crate) fn is_ready(&self) -> bool {
        self.outgoing.ready().is_some()
    }

    /// Returns the time at which [`Self::next_message`] has a message, unless content becomes ready earlier.
    pub(crate) fn next_time(&self) -> Instant {
        let times = [self.outgoing.resend_at, self.incoming.receipt_at];
        times.into_iter().flatten().fold(self.ping_at, Instant::min)
    }

    /// Returns the next message for the other end. `None` if none is due.
    pub(crate) fn next_message(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.outgoing.resend_at.is_some_and(|at| at <= now) {
            self.outgoing.rewind();
        }
        let (kind, offset, content) = match self.outgoing.next(now) {
            Some(piece) => (piece.kind, piece.start, &*piece.content),
            None if self.ping_at <= now || self.incoming.receipt_at.is_some_and(|at| at <= now) => {
                (Kind::Receipt, self.outgoing.sent, &[][..])
            }
            None => return None,
        };
        self.ping_at = now + PING_EVERY;
        self.incoming.receipt_at = None;
        self.incoming.promised = self.incoming.limit();
        let received = self.incoming.received;
        let limit = self.incoming.promised;
        Some(Piece { kind, offset, received, limit, content }.encode())
    }

    /// Handles a piece of the other end, which may be hostile.
    pub(crate) fn receive(&mut self, piece: &Piece<'_>, now: Instant) {
        self.outgoing.apply_receipt(piece.received, piece.limit, now);
        if piece.kind != Kind::Receipt {
            self.incoming.push(piece);
            // Also for content that was dropped: its first receipt may be lost.
            self.incoming.receipt_at.get_or_insert(now + RECEIPT_AFTER);
        }
    }

    /// Sends all content without a receipt again, with a sign of life first. For a new connection.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.outgoing.rewind();
        self.ping_at = now;
    }

    /// Returns whether received content can be taken.
    pub(crate) fn has_received(&self) -> bool {
        !self.incoming.unread.is_empty()
    }

    /// Removes the next part of the received content: a control message, or bytes of frames.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Kind, Vec<u8>)> {
        let part = self.incoming.unread.pop_front()?;
        self.incoming.taken += part.1.len() as u64;
        // A sender at its limit would wait for the next ping.
        if self.incoming.limit() - self.incoming.promised >= MAX_OUTSTANDING / 4 {
            self.incoming.receipt_at = Some(now);
        }
        Some(part)
    }
}

/// Content to send, from the first byte without a receipt.
#[derive(Debug)]
struct OutgoingStream {
    pieces: VecDeque<QueuedPiece>,
    /// Offset of the first queued piece.
    start: u64,
    /// Offset after the last queued piece.
    end: u64,
    /// Offset after the last piece that was sent. Pieces before it have their final length.
    sent: u64,
    /// Number of queued pieces that are in transit.
    under_way: usize,
    /// Offset up to which the other end accepts content.
    limit: u64,
    /// Bytes that may be in transit. Small after a loss, so that a slow network is not filled with repetitions.
    most_under_way: u64,
    resend_at: Option<Instant>,
    resend_after: Duration,
}

#[derive(Debug)]
struct QueuedPiece {
    kind: Kind,
    start: u64,
    content: Vec<u8>,
}

impl QueuedPiece {
    fn end(&self) -> u64 {
        self.start + self.content.len() as u64
    }
}

impl OutgoingStream {
    fn new() -> Self {
        Self {
            pieces: VecDeque::new(),
            start: 0,
            end: 0,
            sent: 0,
            under_way: 0,
            limit: MAX_OUTSTANDING,
            most_under_way: MAX_OUTSTANDING,
            resend_at: None,
            resend_after: RESEND_AFTER,
        }
    }

    fn push(&mut self, kind: Kind, content: &[u8]) {
        let mut rest = content;
        if let Some(last) = self.pieces.back_mut()
            && [kind, last.kind] == [Kind::Frames; 2]
            && last.start >= self.sent
        {
            let room = MAX_PIECE - last.content.len();
            let (head, tail) = rest.split_at(room.min(rest.len()));
            last.content.extend_from_slice(head);
            self.end += head.len() as u64;
            rest = tail;
        }
        for content in rest.chunks(MAX_PIECE) {
            let piece = QueuedPiece { kind, start: self.end, content: content.to_vec() };
            self.end = piece.end();
            self.pieces.push_back(piece);
        }
    }

    /// Returns the next piece if it may be sent.
    fn ready(&self) -> Option<&QueuedPiece> {
        let piece = self.pieces.get(self.under_way)?;
        let may_grow = piece.kind == Kind::Frames
            && piece.content.len() < MAX_PIECE
            && self.under_way + 1 == self.pieces.len();
        let has_room = piece.end() - self.start <= self.most_under_way && !may_grow;
        (piece.end() <= self.limit && (self.under_way == 0 || has_room)).then_some(piece)
    }

    fn next(&mut self, now: Instant) -> Option<&QueuedPiece> {
        self.sent = self.sent.max(self.ready()?.end());
        self.resend_at.get_or_insert(now + self.resend_after);
        self.under_way += 1;
        self.pieces.get(self.under_way - 1)
    }

    /// Removes content that the other end has received. Ignores receipts for content that was never sent.
    fn apply_receipt(&mut self, received: u64, limit: u64, now: Instant) {
        self.limit = self.limit.max(limit);
        if received > self.sent || received <= self.start {
            return;
        }
        let before = self.start;
        while let Some(piece) = self.pieces.front()
            && piece.end() <= received
        {
            self.start = piece.end();
            self.under_way = self.under_way.saturating_sub(1);
            self.pieces.pop_front();
        }
        if self.start > before {
            self.most_under_way = (self.most_under_way + self.start - before).min(MAX_OUTSTANDING);
            self.resend_after = RESEND_AFTER;
            self.resend_at = (self.under_way > 0).then_some(now + RESEND_AFTER);
        }
    }

    /// Continues at the last receipt, with a single piece until there is progress.
    fn rewind(&mut self) {
        if self.under_way > 0 {
            self.under_way = 0;
            self.most_under_way = MAX_PIECE as u64;
            self.resend_after = (2 * self.resend_after).min(MAX_RESEND_AFTER);
        }
        self.resend_at = None;
    }
}

/// Received content, in order and without repetitions.
#[derive(Debug, Default)]
struct IncomingStream {
    unread: VecDeque<(Kind, Vec<u8>)>,
    /// Bytes of content that have arrived.
    received: u64,
    /// Bytes of content that were taken.
    taken: u64,
    /// Limit in the last message.
    promised: u64,
    /// Time of the next receipt. `None` if the other end has the last one.
    receipt_at: Option<Instant>,
}

impl IncomingStream {
    /// Takes the content of a piece if it is the next and there is room. Otherwise it is sent again.
    fn push(&mut self, piece: &Piece<'_>) {
        let length = piece.content.len();
        if piece.offset != self.received || self.received + length as u64 > self.limit() {
            return;
        }
        let is_full = self.unread.len() >= MAX_UNREAD;
        match self.unread.back_mut() {
            Some((Kind::Frames, last))
                if piece.kind == Kind::Frames && last.len() + length <= MAX_PIECE =>
            {
                last.extend_from_slice(piece.content);
            }
            _ if is_full => return,
            _ => self.unread.push_back((piece.kind, piece.content.to_vec())),
        }
        self.received += length as u64;
    }

    fn limit(&self) -> u64 {
        self.taken + MAX_OUTSTANDING
    }
}

#[cfg(test)]
#[path = "tests/window.rs"]
mod tests;

#[cfg(test)]
#[path = "tests/link_large.rs"]
mod large;
