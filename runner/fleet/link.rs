//! [`Link`]: an ordered stream of messages between the runner and a worker, over an engine that loses, doubles and reorders.
//!
//! What is sent is kept until the other side says that it has it, and sent again if that takes too long. Nothing is asked of the
//! engine but that some messages arrive: it may forget all of them. It does nothing by itself: whoever has it says what came
//! and what time it is, and sends what it gives.

use std::{collections::VecDeque, time::Duration};

/// How much is on its way at most, in bytes: then no more is taken until the other side has some of it.
const WINDOW: usize = 4 << 20;
/// After how long without a receipt all that is on its way is sent again; longer each time.
const RESEND_AFTER: Duration = Duration::from_millis(500);
/// The longest time between two of them.
const RESEND_AT_MOST: Duration = Duration::from_secs(4);
/// How often something is said, whether or not there is anything to say.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// For how long a receipt waits for more that it could be of, or for something to be said that it can go with: nobody waits
/// for it but for the memory that what was said takes.
const RECEIPT_AFTER: Duration = Duration::from_millis(100);
/// How much of what came may be without a receipt, in bytes.
const RECEIPT_BYTES: usize = WINDOW / 4;

/// A message between the ends: what it is, its number, up to which number all has come from the other end; and its content.
const HEAD_BYTES: usize = 1 + 8 + 8;
const DATA: u8 = 0;
const END: u8 = 1;
const BEATS: u8 = 2;
const NOTE: u8 = 3;

/// The most bytes that a message of a link carries. The engine's own limit is 1 MiB.
pub(super) const MOST_BYTES: usize = 256 * 1024;

/// One end of a link. Times are since it was made.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// What is on its way, in its order: all but the head of each is its content.
    sent: VecDeque<Vec<u8>>,
    /// How many bytes that is.
    bytes: usize,
    /// How many of them were not given to the engine since the last time all were to be sent again.
    unsent: usize,
    /// The number of the last one.
    last: u64,
    /// Up to which number the other end has all.
    receipted: u64,
    /// When something was last sent, and when the last receipt came or all was sent again.
    sent_at: Duration,
    waiting_since: Duration,
    /// How often all was sent again since the last receipt.
    resent: u32,
    /// Up to which number all has come from the other end, and was passed on.
    taken: u64,
    /// Since when there is something to give a receipt of, and how many bytes.
    owed: Option<Duration>,
    owed_bytes: usize,
    has_ended: bool,
    is_over: bool,
}

/// What a message from the other end brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrived<'a> {
    /// The next piece of what it says.
    Bytes(&'a [u8]),
    /// A message of its own beside that.
    Note(&'a [u8]),
    /// It has said all.
    End,
    /// Nothing new.
    Nothing,
}

impl Link {
    /// Tells whether more may be said now.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < WINDOW && !self.has_ended
    }

    /// Says something: no more than [`MOST_BYTES`].
    pub(super) fn say(&mut self, bytes: &[u8], now: Duration) {
        debug_assert!(bytes.len() <= MOST_BYTES, "the engine would refuse it");
        self.add(DATA, bytes, now);
    }

    /// Says something beside, which arrives after all that was said before it.
    pub(super) fn note(&mut self, bytes: &[u8], now: Duration) {
        if !self.has_ended {
            self.add(NOTE, bytes, now);
        }
    }

    /// Says that nothing more will be said.
    pub(super) fn end(&mut self, now: Duration) {
        if !self.has_ended {
            self.has_ended = true;
            self.add(END, &[], now);
        }
    }

    /// Tells whether the other end has all that was said, the end included.
    pub(super) fn is_all_receipted(&self) -> bool {
        self.has_ended && self.sent.is_empty()
    }

    /// Takes a message of the other end. What is none, or comes twice or too early, brings nothing: it comes again.
    pub(super) fn take<'a>(&mut self, message: &'a [u8], now: Duration) -> Arrived<'a> {
        let Some((kind, number, receipt, content)) = parse(message) else {
            return Arrived::Nothing;
        };
        self.take_receipt(receipt, now);
        if kind == BEATS || self.is_over {
            return Arrived::Nothing;
        }
        // What came before, or after something that was lost: either way the other end is to know how far it got.
        self.owed.get_or_insert(now);
        if number != self.taken + 1 {
            return Arrived::Nothing;
        }
        self.taken = number;
        self.owed_bytes += content.len();
        if kind == END {
            self.is_over = true;
            return Arrived::End;
        }
        match kind {
            NOTE => Arrived::Note(content),
            _ => Arrived::Bytes(content),
        }
    }

    /// All that is on its way is to be sent again: the way to the other end was interrupted.
    pub(super) fn resend(&mut self, now: Duration) {
        self.unsent = self.sent.len();
        self.waiting_since = now;
        self.sent_at = Duration::ZERO;
    }

    /// The next message for the engine, if one is due.
    pub(super) fn next(&mut self, now: Duration) -> Option<Vec<u8>> {
        if self.unsent == 0 && !self.sent.is_empty() && now >= self.resend_at() {
            self.unsent = self.sent.len();
            self.waiting_since = now;
            self.resent = self.resent.saturating_add(1);
        }
        if self.unsent > 0 {
            let place = self.sent.len() - self.unsent;
            self.unsent -= 1;
            let mut message = self.sent[place].clone();
            message[9..HEAD_BYTES].copy_from_slice(&self.taken.to_le_bytes());
            self.has_sent(now);
            return Some(message);
        }
        if now < self.receipt_at().min(self.beat_at()) {
            return None;
        }
        self.has_sent(now);
        Some(message(BEATS, 0, self.taken, &[]))
    }

    /// When there is something to send at the latest, if nothing happens until then.
    pub(super) fn due(&self) -> Duration {
        if self.unsent > 0 {
            return Duration::ZERO;
        }
        let resend = match self.sent.is_empty() {
            true => Duration::MAX,
            false => self.resend_at(),
        };
        resend.min(self.receipt_at()).min(self.beat_at())
    }

    fn add(&mut self, kind: u8, bytes: &[u8], now: Duration) {
        if self.sent.is_empty() {
            self.waiting_since = now;
        }
        self.last += 1;
        self.bytes += bytes.len();
        self.unsent += 1;
        self.sent
            .push_back(message(kind, self.last, self.taken, bytes));
    }

    fn take_receipt(&mut self, receipt: u64, now: Duration) {
        // Of what was never said, nobody can have anything.
        if receipt <= self.receipted || receipt > self.last {
            return;
        }
        while self.receipted < receipt {
            self.receipted += 1;
            if let Some(had) = self.sent.pop_front() {
                self.bytes -= had.len() - HEAD_BYTES;
            }
        }
        self.unsent = self.unsent.min(self.sent.len());
        self.waiting_since = now;
        self.resent = 0;
    }

    fn has_sent(&mut self, now: Duration) {
        self.sent_at = now;
        self.owed = None;
        self.owed_bytes = 0;
    }

    fn resend_at(&self) -> Duration {
        let pause = RESEND_AFTER.saturating_mul(1 << self.resent.min(8));
        self.waiting_since + pause.min(RESEND_AT_MOST)
    }

    fn receipt_at(&self) -> Duration {
        match self.owed {
            Some(_) if self.owed_bytes >= RECEIPT_BYTES => Duration::ZERO,
            Some(since) => since + RECEIPT_AFTER,
            None => Duration::MAX,
        }
    }

    fn beat_at(&self) -> Duration {
        self.sent_at + BEAT
    }
}

fn message(kind: u8, number: u64, taken: u64, content: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEAD_BYTES + content.len());
    message.push(kind);
    message.extend(number.to_le_bytes());
    message.extend(taken.to_le_bytes());
    message.extend(content);
    message
}

fn parse(message: &[u8]) -> Option<(u8, u64, u64, &[u8])> {
    let (kind, rest) = message.split_first()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (taken, content) = rest.split_first_chunk()?;
    let is_known = matches!(*kind, DATA | END | BEATS | NOTE);
    is_known.then(|| {
        let [number, taken] = [number, taken].map(|bytes| u64::from_le_bytes(*bytes));
        (*kind, number, taken, content)
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::{Arrived, Link, WINDOW};

    /// What happens to messages is a function of this.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % sides
        }
    }

    /// Two ends, and messages under way by when they arrive.
    struct World {
        dice: Dice,
        now: Duration,
        ends: [Link; 2],
        said: [Vec<u8>; 2],
        heard: [Vec<u8>; 2],
        has_heard_end: [bool; 2],
        under_way: [BTreeMap<(Duration, u64), Vec<u8>>; 2],
        count: u64,
        /// Of a hundred messages, how many are lost and how many come twice.
        lossy: u64,
        doubling: u64,
        cut_until: Duration,
    }

    impl World {
        fn of(seed: u64) -> Self {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let (lossy, doubling) = (dice.roll(40), dice.roll(40));
            Self {
                dice,
                now: Duration::from_secs(1),
                ends: Default::default(),
                said: Default::default(),
                heard: Default::default(),
                has_heard_end: [false; 2],
                under_way: Default::default(),
                count: 0,
                lossy,
                doubling,
                cut_until: Duration::ZERO,
            }
        }

        fn step(&mut self, is_ending: bool) {
            for end in 0..2 {
                if !is_ending && self.dice.roll(4) == 0 && self.ends[end].has_room() {
                    let length = usize::try_from(self.dice.roll(300)).unwrap();
                    let bytes: Vec<u8> = (0..length).map(|_| self.dice.roll(256) as u8).collect();
                    self.ends[end].say(&bytes, self.now);
                    self.said[end].extend(bytes);
                }
                if is_ending {
                    self.ends[end].end(self.now);
                }
                while let Some(message) = self.ends[end].next(self.now) {
                    self.send(end, message);
                }
                self.deliver(end);
            }
            if self.dice.roll(200) == 0 {
                self.cut_until = self.now + Duration::from_secs(self.dice.roll(4));
            }
            if self.dice.roll(300) == 0 {
                self.under_way.iter_mut().for_each(BTreeMap::clear);
                let now = self.now;
                self.ends.iter_mut().for_each(|end| end.resend(now));
            }
            self.now += Duration::from_millis(self.dice.roll(60));
        }

        fn send(&mut self, from: usize, mut message: Vec<u8>) {
            if self.now < self.cut_until || self.dice.roll(100) < self.lossy {
                return;
            }
            if self.dice.roll(100) == 0 {
                // What is cut short is no message, or one with less in it.
                message.truncate(usize::try_from(self.dice.roll(17)).unwrap());
            }
            let copies = 1 + u64::from(self.dice.roll(100) < self.doubling);
            for _ in 0..copies {
                self.count += 1;
                let at = self.now + Duration::from_millis(self.dice.roll(300));
                self.under_way[1 - from].insert((at, self.count), message.clone());
            }
        }

        fn deliver(&mut self, to: usize) {
            while let Some(first) = self.under_way[to].first_entry() {
                if first.key().0 > self.now {
                    break;
                }
                let message = first.remove();
                match self.ends[to].take(&message, self.now) {
                    Arrived::Bytes(bytes) => self.heard[to].extend(bytes),
                    Arrived::Note(_) => panic!("nobody has noted anything"),
                    Arrived::End => {
                        assert!(!self.has_heard_end[to], "it ends twice");
                        self.has_heard_end[to] = true;
                    }
                    Arrived::Nothing => {}
                }
            }
            assert!(
                self.said[1 - to].starts_with(&self.heard[to]),
                "something was not said, or not in this order"
            );
        }
    }

    #[test]
    fn whatever_the_engine_does_all_arrives_once_and_in_order() {
        for seed in 0..2_000 {
            let mut world = World::of(seed);
            (0..300).for_each(|_| world.step(false));
            let mut steps = 0;
            while !world.ends.iter().all(Link::is_all_receipted) {
                world.step(true);
                steps += 1;
                assert!(steps < 20_000, "seed {seed}: they never end");
            }
            assert_eq!(world.heard[0], world.said[1], "seed {seed}");
            assert_eq!(world.heard[1], world.said[0], "seed {seed}");
            assert_eq!(world.has_heard_end, [true; 2], "seed {seed}");
        }
    }

    #[test]
    fn no_more_than_a_window_is_on_its_way() {
        let (mut link, now) = (Link::default(), Duration::from_secs(1));
        let mut said = 0;
        while link.has_room() {
            link.say(&[0; 1 << 18], now);
            said += 1 << 18;
        }
        assert_eq!(said, WINDOW);
        let mut other = Link::default();
        while let Some(message) = link.next(now) {
            other.take(&message, now);
        }
        assert!(!link.has_room());
        let receipt = other.next(now).unwrap();
        link.take(&receipt, now);
        assert!(link.has_room());
    }

    #[test]
    fn a_link_with_nothing_to_say_beats() {
        let mut link = Link::default();
        let now = Duration::from_secs(1);
        assert!(link.next(now).is_some());
        assert!(link.next(now).is_none());
        assert_eq!(link.due(), now + super::BEAT);
        assert!(link.next(link.due()).is_some());
    }

    #[test]
    fn a_receipt_of_what_was_never_said_is_not_believed() {
        let mut link = Link::default();
        let now = Duration::from_secs(1);
        link.say(b"a", now);
        link.take(&super::message(super::BEATS, 0, 7, &[]), now);
        assert!(!link.sent.is_empty());
        assert_eq!(link.next(now).unwrap()[super::HEAD_BYTES..], *b"a");
    }
}
