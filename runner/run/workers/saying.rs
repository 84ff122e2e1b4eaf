//! What executors of a worker say becomes messages to the runner.

use std::{io, mem};

use tokio::net::UnixStream;

use super::{
    socket::send_now,
    wire::{SaidFrame, encode_piece},
};
use crate::{model::Attempt, record::AttemptKey, run::seam::FromExecutors};

/// How long a message becomes before the next one is begun.
const MESSAGE_BYTES: usize = 1 << 20;
/// How much of an artifact is sent at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Says all of it, in its order; but nobody needs to know that an attempt was begun of which is said what it came to.
///
/// # Errors
///
/// Fails if the runner is gone, or an artifact cannot be read.
pub(super) fn say(stream: &UnixStream, batch: Vec<FromExecutors>) -> io::Result<()> {
    let mut frame = SaidFrame::default();
    let mut started: Vec<AttemptKey> = Vec::new();
    for message in batch {
        match message {
            FromExecutors::Started { attempts, .. } => started.extend(attempts),
            FromExecutors::Reports { attempts, .. } | FromExecutors::Unkept { attempts, .. } => {
                for attempt in attempts {
                    let key = AttemptKey::from(&attempt);
                    started.retain(|begun| *begun != key);
                    if !attempt.artifacts.is_empty() {
                        send_now(stream, &mem::take(&mut frame).end())?;
                        send_artifacts(stream, &attempt)?;
                    }
                    frame.report(&attempt);
                }
            }
            FromExecutors::Joined { .. }
            | FromExecutors::Returned { .. }
            | FromExecutors::Lost { .. }
            | FromExecutors::Left { .. } => frame.add(&message),
        }
        if frame.len() >= MESSAGE_BYTES {
            send_now(stream, &mem::take(&mut frame).end())?;
        }
    }
    for key in started {
        frame.started(key);
    }
    send_now(stream, &frame.end())
}

fn send_artifacts(stream: &UnixStream, attempt: &Attempt) -> io::Result<()> {
    for artifact in &attempt.artifacts {
        let mut pieces = PieceWriter {
            stream,
            piece: Vec::new(),
            is_next: true,
        };
        artifact.content.write_to(&mut pieces)?;
        pieces.send()?;
    }
    Ok(())
}

/// Sends what is written to it, a piece at a time.
struct PieceWriter<'a> {
    stream: &'a UnixStream,
    piece: Vec<u8>,
    is_next: bool,
}

impl PieceWriter<'_> {
    fn send(&mut self) -> io::Result<()> {
        send_now(self.stream, &encode_piece(self.is_next, &self.piece))?;
        self.is_next = false;
        self.piece.clear();
        Ok(())
    }
}

impl io::Write for PieceWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.piece.len() >= PIECE_BYTES {
            self.send()?;
        }
        self.piece.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
