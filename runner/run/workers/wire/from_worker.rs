//! [`FromWorker`]: what a worker says.

use std::fmt;

use super::{
    attempt::{self, ArtifactHead},
    bytes::{Decoder, Encoder, Garbled, Read},
    frame::Frame,
};
use crate::{
    model::{Attempt, TrialId},
    record::AttemptKey,
    run::seam::{FromExecutors, Loss},
};

const READY: u8 = 0;
const UNREADY: u8 = 1;
const PIECE: u8 = 2;
const SAID: u8 = 3;
const LOG: u8 = 4;
const BEAT: u8 = 5;

const STARTED: u8 = 0;
const REPORTED: u8 = 1;
const RETURNED: u8 = 2;
const BROKEN: u8 = 3;
const LEFT: u8 = 4;

/// What a worker says.
pub(in crate::run) enum FromWorker<'a> {
    /// It can make attempts.
    Ready,
    /// It cannot, for this reason.
    Unready(String),
    /// The content of the artifacts of the next attempt that has some, a piece at a time: of the next one of them, if that is
    /// true, else of the same as the piece before.
    Piece(bool, &'a [u8]),
    /// What its executors say, which is read by [`FromWorker::said`].
    Said(Decoder<'a>),
    /// A line for the session's log.
    Log(LogLevel, &'a str),
    /// It is at work, whatever else there is to say.
    Beat,
}

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) enum LogLevel {
    Info,
    Warn,
    Error,
}

/// What a worker's executors say.
pub(in crate::run) enum Reported {
    Started(AttemptKey),
    Attempt(Box<Attempt>, Vec<ArtifactHead>),
    Returned(AttemptKey),
    Broken(String),
    Left,
}

pub(in crate::run) fn encode_ready() -> Vec<u8> {
    Frame::end(Frame::begin(READY))
}

pub(in crate::run) fn encode_unready(reason: &dyn fmt::Display) -> Vec<u8> {
    let mut frame = Frame::begin(UNREADY);
    frame.str(&reason.to_string());
    Frame::end(frame)
}

pub(in crate::run) fn encode_beat() -> Vec<u8> {
    Frame::end(Frame::begin(BEAT))
}

pub(in crate::run) fn encode_piece(is_next: bool, bytes: &[u8]) -> Vec<u8> {
    let mut frame = Frame::begin(PIECE);
    frame.bool(is_next);
    frame.bytes(bytes);
    Frame::end(frame)
}

pub(in crate::run) fn encode_log(level: LogLevel, text: &str) -> Vec<u8> {
    let mut frame = Frame::begin(LOG);
    frame.u8(match level {
        LogLevel::Info => 0,
        LogLevel::Warn => 1,
        LogLevel::Error => 2,
    });
    frame.str(text);
    Frame::end(frame)
}

/// What the executors of a worker say to the dispatcher, in one message. That they have joined is said by whoever opens their
/// slots.
pub(in crate::run) struct SaidFrame(Encoder);

impl Default for SaidFrame {
    fn default() -> Self {
        Self(Frame::begin(SAID))
    }
}

impl SaidFrame {
    pub(in crate::run) fn started(&mut self, key: AttemptKey) {
        self.key(STARTED, key);
    }

    pub(in crate::run) fn report(&mut self, attempt: &Attempt) {
        self.0.u8(REPORTED);
        attempt::encode(&mut self.0, attempt);
    }

    pub(in crate::run) fn add(&mut self, message: &FromExecutors) {
        match message {
            FromExecutors::Joined { .. } => {}
            FromExecutors::Started { attempts, .. } => {
                attempts.iter().for_each(|key| self.started(*key));
            }
            FromExecutors::Reports { attempts, .. } | FromExecutors::Unkept { attempts, .. } => {
                attempts.iter().for_each(|attempt| self.report(attempt));
            }
            FromExecutors::Returned { attempts, .. } => {
                attempts.iter().for_each(|key| self.key(RETURNED, *key));
            }
            FromExecutors::Lost { attempts, why, .. } => {
                attempts.iter().for_each(|key| self.key(RETURNED, *key));
                if let Loss::Broken(text) = why {
                    self.0.u8(BROKEN);
                    self.0.str(text);
                }
            }
            FromExecutors::Left { .. } => self.0.u8(LEFT),
        }
    }

    /// How long it is, in bytes.
    pub(in crate::run) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::run) fn end(self) -> Vec<u8> {
        Frame::end(self.0)
    }

    fn key(&mut self, kind: u8, key: AttemptKey) {
        self.0.u8(kind);
        self.0.u64(key.ordinal);
        self.0.u64(key.number.into());
    }
}

impl<'a> FromWorker<'a> {
    pub(in crate::run) fn decode(frame: &'a [u8]) -> Read<Self> {
        let mut decoder = Decoder::new(frame);
        Ok(match decoder.u8()? {
            READY => Self::Ready,
            UNREADY => Self::Unready(decoder.string()?),
            PIECE => Self::Piece(decoder.bool()?, decoder.bytes()?),
            SAID => Self::Said(decoder),
            LOG => {
                let level = match decoder.u8()? {
                    0 => LogLevel::Info,
                    1 => LogLevel::Warn,
                    2 => LogLevel::Error,
                    _ => return Err(Garbled),
                };
                Self::Log(level, decoder.str()?)
            }
            BEAT => Self::Beat,
            _ => return Err(Garbled),
        })
    }

    /// Reads the next thing that a worker's executors say; `trial_of` knows which attempts it has.
    pub(in crate::run) fn said(
        decoder: &mut Decoder<'a>,
        trial_of: &mut dyn FnMut(AttemptKey) -> Option<TrialId>,
    ) -> Read<Option<Reported>> {
        if decoder.is_at_end() {
            return Ok(None);
        }
        Ok(Some(match decoder.u8()? {
            STARTED => Reported::Started(key(decoder)?),
            RETURNED => Reported::Returned(key(decoder)?),
            REPORTED => {
                let (attempt, artifacts) = attempt::decode(decoder, &mut |ordinal, number| {
                    trial_of(AttemptKey { ordinal, number })
                })?;
                Reported::Attempt(Box::new(attempt), artifacts)
            }
            BROKEN => Reported::Broken(decoder.string()?),
            LEFT => Reported::Left,
            _ => return Err(Garbled),
        }))
    }
}

fn key(decoder: &mut Decoder<'_>) -> Read<AttemptKey> {
    Ok(AttemptKey {
        ordinal: decoder.u64()?,
        number: decoder.u32()?,
    })
}
