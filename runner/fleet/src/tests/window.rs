//! Two windows over networks that lose, repeat, delay and reorder messages, and hostile pieces.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use runner_model::protocol::{FrameBuffer, FromWorker, Message, ReportHead, ToWorker};
use runner_model::{Digest, Micros, TaskId};

use super::{PING_EVERY, RECEIPT_AFTER, Window};
use crate::wire::{Kind, MAX_DOCUMENT, MAX_OUTSTANDING, MAX_PIECE, Piece};

const MILLISECOND: Duration = Duration::from_millis(1);

/// Faults of a network and of the readers at its ends.
#[derive(Clone, Debug)]
struct Faults {
    seed: u64,
    /// Percent of messages that are lost, and that come twice.
    lost: u64,
    repeated: u64,
    /// Longest delay of a message. Different delays reorder messages.
    delay: u64,
    /// Milliseconds of the cut, at its start.
    cut: u64,
    /// Milliseconds between two reads.
    reads_every: u64,
    /// Milliseconds after which the network works.
    last: u64,
}

fn faults() -> impl Strategy<Value = Faults> {
    (any::<u64>(), 0..60_u64, 0..30_u64, 0..40_u64, 0..3_000_u64, 1..40_u64, 0..4_000_u64).prop_map(
        |(seed, lost, repeated, delay, cut, reads_every, last)| Faults {
            seed,
            lost,
            repeated,
            delay,
            cut,
            reads_every,
            last: last.max(cut),
        },
    )
}

/// Two windows and the network between them, by milliseconds.
struct Simulation {
    faults: Faults,
    random: u64,
    now: Instant,
    millisecond: u64,
    ends: [Window; 2],
    /// Messages for each end, each with the millisecond of its arrival.
    under_way: [Vec<(u64, Vec<u8>)>; 2],
    received: [Vec<(Kind, Vec<u8>)>; 2],
    messages: usize,
}

impl Simulation {
    fn new(faults: Faults) -> Self {
        let now = Instant::now();
        Self {
            random: faults.seed | 1,
            faults,
            now,
            millisecond: 0,
            ends: [Window::new(now), Window::new(now)],
            under_way: Default::default(),
            received: Default::default(),
            messages: 0,
        }
    }

    fn random(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    fn step(&mut self) {
        for end in 0..2 {
            let (due, later) = std::mem::take(&mut self.under_way[end])
                .into_iter()
                .partition(|(at, _)| *at <= self.millisecond);
            self.under_way[end] = later;
            let due: Vec<_> = due;
            for (_, message) in due {
                self.ends[end].receive(&Piece::decode(&message).unwrap(), self.now);
            }
            if self.millisecond.is_multiple_of(self.faults.reads_every) {
                self.received[end].extend(self.ends[end].take(self.now));
            }
            while let Some(message) = self.ends[end].next_message(self.now) {
                self.transmit(1 - end, message);
            }
            assert_bounds(&self.ends[end]);
        }
        self.millisecond += 1;
        self.now += MILLISECOND;
    }

    fn transmit(&mut self, to: usize, message: Vec<u8>) {
        self.messages += 1;
        if self.millisecond >= self.faults.last {
            return self.under_way[to].push((self.millisecond + 1, message));
        }
        if self.millisecond < self.faults.cut || self.random(100) < self.faults.lost {
            return;
        }
        let copies = 1 + usize::from(self.random(100) < self.faults.repeated);
        for _ in 0..copies {
            let at = self.millisecond + self.random(self.faults.delay);
            self.under_way[to].push((at, message.clone()));
        }
    }

    /// Runs until all that was sent is read. Panics if there is no progress.
    fn finish(&mut self) {
        let deadline = self.faults.last + 20_000;
        while self.ends.iter().any(|end| end.unreceived() > 0 || end.has_received()) {
            assert!(self.millisecond < deadline, "no progress: {:?}", self.ends[0].outgoing.start);
            self.step();
        }
    }

    fn frames(&self, end: usize) -> Vec<u8> {
        let frames = self.received[end].iter().filter(|(kind, _)| *kind == Kind::Frames);
        frames.flat_map(|(_, content)| content).copied().collect()
    }
}

fn assert_bounds(window: &Window) {
    let unread = &window.incoming.unread;
    let bytes: usize = unread.iter().map(|(_, content)| content.len()).sum();
    assert!(bytes as u64 <= MAX_OUTSTANDING && unread.len() <= super::MAX_UNREAD);
    assert!(unread.iter().all(|(_, content)| (1..=MAX_PIECE).contains(&content.len())));
    let outgoing = &window.outgoing;
    assert!(outgoing.under_way <= outgoing.pieces.len());
    let under_way = outgoing.pieces.iter().take(outgoing.under_way);
    let bytes: usize = under_way.map(|piece| piece.content.len()).sum();
    assert!(bytes as u64 <= MAX_OUTSTANDING);
}

/// Returns bytes that differ at each offset of a stream.
fn bytes(from: usize, length: usize) -> Vec<u8> {
    (from..from + length).map(|at| (at ^ (at >> 8) ^ (at >> 16)) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_once_and_in_order(
        faults in faults(),
        lengths in prop::collection::vec((1..400_000_usize, 0..200_u64, 0..2_usize), 1..12),
    ) {
        let mut simulation = Simulation::new(faults);
        let mut sent = [0; 2];
        for (length, wait, end) in lengths {
            simulation.ends[end].send(Kind::Frames, &bytes(sent[end], length));
            sent[end] += length;
            for _ in 0..wait {
                simulation.step();
            }
        }
        simulation.finish();
        prop_assert!(simulation.frames(1) == bytes(0, sent[0]));
        prop_assert!(simulation.frames(0) == bytes(0, sent[1]));
    }

    #[test]
    fn frames_of_the_protocol_come_out_equal(
        faults in faults(),
        reports in prop::collection::vec((any::<u64>(), 0..3_000_usize), 1..60),
        tasks in prop::collection::vec(any::<u64>(), 1..60),
    ) {
        let up: Vec<_> = reports.iter().map(|(task, length)| report(*task, *length)).collect();
        let down: Vec<_> = tasks.iter().map(|task| match task % 3 {
            0 => ToWorker::TakeBack { keep: *task as u32 },
            1 => ToWorker::Stop { grace: Micros(*task), kill: false },
            _ => ToWorker::PluginReady(Digest([*task as u8; 32])),
        }).collect();
        let mut simulation = Simulation::new(faults);
        for at in 0..up.len().max(down.len()) {
            let mut frames = [Vec::new(), Vec::new()];
            if let Some(message) = up.get(at) {
                message.encode(&mut frames[0]);
            }
            if let Some(message) = down.get(at) {
                message.encode(&mut frames[1]);
            }
            for (end, frames) in frames.into_iter().enumerate() {
                simulation.ends[end].send(Kind::Frames, &frames);
            }
            simulation.step();
        }
        simulation.ends[0].send(Kind::Control, b"last");
        simulation.finish();
        prop_assert_eq!(decode::<FromWorker>(&simulation.frames(1)), up);
        prop_assert_eq!(decode::<ToWorker>(&simulation.frames(0)), down);
        let last = (Kind::Control, b"last".to_vec());
        prop_assert_eq!(simulation.received[1].last(), Some(&last));
    }

    #[test]
    fn hostile_pieces_break_no_bounds(
        pieces in prop::collection::vec((0..3_u8, number(), number(), number(), length()), 1..200),
        own in prop::collection::vec(1..600_000_usize, 0..20),
    ) {
        let mut now = Instant::now();
        let mut window = Window::new(now);
        let total: usize = own.iter().sum();
        for length in own {
            window.send(Kind::Frames, &vec![1; length]);
        }
        for (kind, offset, received, limit, length) in pieces {
            let kind = [Kind::Receipt, Kind::Frames, Kind::Control][usize::from(kind)];
            let length = match kind {
                Kind::Receipt => 0,
                Kind::Frames => length,
                Kind::Control => length.min(MAX_DOCUMENT),
            };
            // Half of the offsets are the expected ones. Otherwise nothing would be taken.
            let offset = if offset % 2 == 0 { window.incoming.received } else { offset };
            let content = vec![0; length];
            window.receive(&Piece { kind, offset, received, limit, content: &content }, now);
            assert_bounds(&window);
            prop_assert!(window.outgoing.start <= window.outgoing.sent);
            let mut messages = 0;
            while let Some(message) = window.next_message(now) {
                prop_assert!(Piece::decode(&message).is_some());
                messages += 1;
            }
            prop_assert!(messages <= 1 + total / MAX_PIECE * 2 + 20);
            now += Duration::from_millis(limit % 700);
            if limit % 5 == 0 {
                window.take(now);
            }
        }
    }
}

/// Numbers near the offsets of a stream, and extreme ones.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..2_000_000_u64, any::<u64>(), Just(0), Just(u64::MAX), Just(MAX_OUTSTANDING)]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![1..100_usize, 1..=MAX_PIECE, Just(MAX_PIECE)]
}

fn report(task: u64, length: usize) -> FromWorker {
    let head =
        ReportHead { task: TaskId(task), row_bytes: length as u32, log_bytes: 0, host_fault: None };
    FromWorker::Report { head, body: bytes(task as usize % 1_000, length) }
}

fn decode<M: Message>(mut bytes: &[u8]) -> Vec<M> {
    let (mut frames, mut messages) = (FrameBuffer::default(), Vec::new());
    while !bytes.is_empty() {
        frames.fill(&mut bytes).unwrap();
        while let Some(message) = frames.next().unwrap() {
            messages.push(message);
        }
    }
    messages
}

fn good_network(reads_every: u64) -> Simulation {
    let (seed, lost, repeated, delay, cut, last) = (1, 0, 0, 0, 0, 0);
    Simulation::new(Faults { seed, lost, repeated, delay, cut, reads_every, last })
}

#[test]
fn first_frame_is_sent_at_once() {
    let mut simulation = good_network(1);
    simulation.step();
    simulation.ends[0].send(Kind::Frames, &[7; 10]);
    assert!(simulation.ends[0].is_ready());
    let message = simulation.ends[0].next_message(simulation.now).unwrap();
    assert_eq!(Piece::decode(&message).unwrap().content, [7; 10]);
}

#[test]
fn small_frames_are_coalesced_while_one_is_under_way() {
    let mut simulation = good_network(1);
    // 20 frames a millisecond, for a second.
    for _ in 0..1_000 {
        for _ in 0..20 {
            simulation.ends[0].send(Kind::Frames, &[7; 300]);
        }
        simulation.step();
    }
    simulation.finish();
    assert_eq!(simulation.frames(1).len(), 20_000 * 300);
    assert!(simulation.messages < 1_000, "{}", simulation.messages);
}

#[test]
fn sender_waits_for_a_reader_that_takes_nothing() {
    let mut simulation = good_network(u64::MAX);
    simulation.step();
    simulation.ends[0].send(Kind::Frames, &bytes(0, 12 << 20));
    for _ in 0..5_000 {
        simulation.step();
    }
    assert_eq!(simulation.ends[0].unreceived(), 4 << 20);
    // Without repetitions: 32 pieces, and receipts and pings.
    assert!(simulation.messages < 100, "{}", simulation.messages);
    simulation.faults.reads_every = 1;
    simulation.finish();
    assert!(simulation.frames(1) == bytes(0, 12 << 20));
}

#[test]
fn nothing_is_repeated_without_end_into_a_cut() {
    let mut window = Window::new(Instant::now());
    window.send(Kind::Frames, &vec![1; 6 << 20]);
    let (start, mut sent) = (Instant::now(), 0);
    for millisecond in 0..30_000 {
        let now = start + millisecond * MILLISECOND;
        while let Some(message) = window.next_message(now) {
            sent += message.len();
        }
    }
    // The whole once, and then one piece after 0.5 s, 1 s, 2 s, and every 4 s.
    assert!(sent < (6 << 20) + 11 * (MAX_PIECE + 100), "{sent}");
}

#[test]
fn new_connection_repeats_content_at_once() {
    let now = Instant::now();
    let mut window = Window::new(now);
    window.send(Kind::Frames, &[1; 10]);
    let first = window.next_message(now).unwrap();
    assert_eq!(window.next_message(now), None);
    window.restart(now);
    assert_eq!(window.next_message(now), Some(first));
}

#[test]
fn idle_end_sends_signs_of_life() {
    let mut now = Instant::now();
    let mut window = Window::new(now);
    let mut sent = 0;
    for _ in 0..10 {
        sent += usize::from(window.next_message(now).is_some());
        assert_eq!(window.next_message(now), None);
        now = window.next_time();
    }
    assert_eq!(sent, 10);
    assert!(PING_EVERY < Duration::from_secs(2) && RECEIPT_AFTER < PING_EVERY);
}
