//! [`FrameBuffer`]: messages as they come off a socket, in pieces of any size.

use super::bytes::{Encoder, Garbled, Read};

/// The bytes before a message that say how long it is.
const LENGTH_BYTES: usize = 4;
/// The longest message. What a worker has to say of one attempt is bounded by the limits of its provider, and artifacts
/// come in pieces.
const MAX_BYTES: usize = 1 << 30;

/// A message that is being written: its kind, then what belongs to it.
pub(in crate::run) struct Frame;

impl Frame {
    /// Begins a message.
    pub(in crate::run) fn begin(kind: u8) -> Encoder {
        let mut encoder = Encoder(vec![0; LENGTH_BYTES]);
        encoder.u8(kind);
        encoder
    }

    /// Ends it: these bytes go to the other side.
    pub(in crate::run) fn end(encoder: Encoder) -> Vec<u8> {
        let mut bytes = encoder.0;
        let length = u32::try_from(bytes.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
        bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
        bytes
    }
}

/// What has come and was not taken.
#[derive(Debug, Default)]
pub(in crate::run) struct FrameBuffer {
    bytes: Vec<u8>,
    /// Up to where it was taken.
    taken: usize,
}

impl FrameBuffer {
    /// Takes what has come.
    pub(in crate::run) fn fill(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend(bytes);
    }

    /// The next message, if all of it is there.
    pub(in crate::run) fn next(&mut self) -> Read<Option<&[u8]>> {
        let Some((length, rest)) = self.bytes[self.taken..].split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_BYTES {
            return Err(Garbled);
        }
        if rest.len() < length {
            return Ok(None);
        }
        let start = self.taken + LENGTH_BYTES;
        self.taken = start + length;
        Ok(Some(&self.bytes[start..self.taken]))
    }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameBuffer};

    #[test]
    fn messages_are_whole_in_whatever_pieces_they_come() {
        let messages: Vec<Vec<u8>> = [0, 1, 5, 300].map(|length| vec![7; length]).into();
        let mut sent = Vec::new();
        for message in &messages {
            let mut frame = Frame::begin(9);
            message.iter().for_each(|byte| frame.u8(*byte));
            sent.extend(Frame::end(frame));
        }
        for piece in [1, 2, 3, 7, 1_000] {
            let mut buffer = FrameBuffer::default();
            let mut read = Vec::new();
            for bytes in sent.chunks(piece) {
                buffer.fill(bytes);
                while let Some(frame) = buffer.next().unwrap() {
                    assert_eq!(frame[0], 9);
                    read.push(frame[1..].to_vec());
                }
            }
            assert_eq!(read, messages, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_length_that_no_message_has_is_not_waited_for() {
        let mut buffer = FrameBuffer::default();
        buffer.fill(&u32::MAX.to_le_bytes());
        buffer.next().unwrap_err();
    }
}
