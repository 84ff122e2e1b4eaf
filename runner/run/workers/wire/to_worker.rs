//! [`ToWorker`]: what the runner says to a worker, once that is set up.

use std::time::Duration;

use super::{
    bytes::{Decoder, Encoder, Garbled, Read},
    frame::Frame,
};

const OPEN: u8 = 0;
const ASSIGN: u8 = 1;
const TAKE_BACK: u8 = 2;
const STOP: u8 = 3;
const CLOSE: u8 = 4;
const PAUSE: u8 = 5;
const GO_ON: u8 = 6;

/// What the runner says to a worker.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) enum ToWorker {
    /// Make attempts in these slots of the run, too.
    Open(Vec<usize>),
    /// Make these attempts, in this order.
    Assign(Vec<TaskKey>),
    /// Give back what has not been begun.
    TakeBack,
    /// Ask guests to end by themselves, and interrupt them when so much time has passed.
    Stop(Duration),
    /// Nothing more will be assigned.
    Close,
    /// Begin nothing, and let guests wait where they are.
    Pause,
    /// Let them go on.
    GoOn,
}

/// All that a worker needs to know of an attempt: it has the list of tests itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::run) struct TaskKey {
    pub(in crate::run) ordinal: u64,
    pub(in crate::run) number: u32,
    /// What is reserved for it, in bytes.
    pub(in crate::run) memory: u64,
    /// How much is left of the test's `trial_timeout`.
    pub(in crate::run) trial_left: Option<Duration>,
}

impl ToWorker {
    pub(in crate::run) fn encode(&self) -> Vec<u8> {
        let frame = match self {
            Self::Open(slots) => {
                let mut frame = Frame::begin(OPEN);
                frame.list(slots, |frame, slot| frame.usize(*slot));
                frame
            }
            Self::Assign(tasks) => {
                let mut frame = Frame::begin(ASSIGN);
                frame.list(tasks, |frame, task| task.encode(frame));
                frame
            }
            Self::TakeBack => Frame::begin(TAKE_BACK),
            Self::Stop(grace) => {
                let mut frame = Frame::begin(STOP);
                frame.duration(*grace);
                frame
            }
            Self::Close => Frame::begin(CLOSE),
            Self::Pause => Frame::begin(PAUSE),
            Self::GoOn => Frame::begin(GO_ON),
        };
        Frame::end(frame)
    }

    pub(in crate::run) fn decode(frame: &[u8]) -> Read<Self> {
        let mut decoder = Decoder::new(frame);
        let message = match decoder.u8()? {
            OPEN => Self::Open(decoder.list(Decoder::usize)?),
            ASSIGN => Self::Assign(decoder.list(TaskKey::decode)?),
            TAKE_BACK => Self::TakeBack,
            STOP => Self::Stop(decoder.duration()?),
            CLOSE => Self::Close,
            PAUSE => Self::Pause,
            GO_ON => Self::GoOn,
            _ => return Err(Garbled),
        };
        if decoder.is_at_end() {
            Ok(message)
        } else {
            Err(Garbled)
        }
    }
}

impl TaskKey {
    fn encode(self, frame: &mut Encoder) {
        frame.u64(self.ordinal);
        frame.u64(self.number.into());
        frame.u64(self.memory);
        frame.option(self.trial_left, Encoder::duration);
    }

    fn decode(decoder: &mut Decoder<'_>) -> Read<Self> {
        Ok(Self {
            ordinal: decoder.u64()?,
            number: decoder.u32()?,
            memory: decoder.u64()?,
            trial_left: decoder.option(Decoder::duration)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{TaskKey, ToWorker};

    #[test]
    fn what_is_said_to_a_worker_is_read_back() {
        let task = |ordinal, number, trial_left| TaskKey {
            ordinal,
            number,
            memory: 1 << 28,
            trial_left,
        };
        for message in [
            ToWorker::Open(vec![0, 4095]),
            ToWorker::Assign(vec![
                task(u64::MAX, u32::MAX, Some(Duration::new(7, 999_999_999))),
                task(0, 1, None),
            ]),
            ToWorker::TakeBack,
            ToWorker::Stop(Duration::MAX),
            ToWorker::Close,
            ToWorker::Pause,
            ToWorker::GoOn,
        ] {
            let sent = message.encode();
            assert_eq!(ToWorker::decode(&sent[4..]), Ok(message));
            ToWorker::decode(&sent[4..sent.len() - 1]).unwrap_err();
            ToWorker::decode(&[&sent[4..], &[0]].concat()).unwrap_err();
        }
    }
}
