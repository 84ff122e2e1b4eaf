//! The language between the runner and its workers: messages, each behind its length.
//!
//! Both sides are the same program, so there are no versions. Whoever reads believes nothing: a worker runs foreign code.

mod attempt;
mod bytes;
mod frame;
mod from_worker;
mod to_worker;
mod value;

pub(super) use self::{
    attempt::ArtifactHead,
    bytes::{Decoder, Encoder, Garbled, Read},
    frame::{Frame, FrameBuffer},
    from_worker::{
        FromWorker, LogLevel, Reported, SaidFrame, encode_beat, encode_log, encode_piece,
        encode_ready, encode_unready,
    },
    to_worker::{TaskKey, ToWorker},
};
