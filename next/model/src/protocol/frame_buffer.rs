//! [`FrameBuffer`]: extracts whole frames from a byte stream.

use std::{
    io::{self, Read},
    marker::PhantomData,
};

use super::frame::{BadFrame, Message, PREFIX, read_prefix};

/// Bytes of one read.
const READ: usize = 64 << 10;

/// Received bytes that hold frames.
pub struct FrameBuffer<M> {
    bytes: Vec<u8>,
    /// Number of received bytes in `bytes`.
    end: usize,
    /// Offset of the next frame.
    at: usize,
    message: PhantomData<M>,
}

impl<M> Default for FrameBuffer<M> {
    fn default() -> Self {
        Self { bytes: Vec::new(), end: 0, at: 0, message: PhantomData }
    }
}

impl<M: Message> FrameBuffer<M> {
    /// Reads once from `source`. Returns the number of bytes, 0 at the end.
    ///
    /// # Errors
    ///
    /// An error of `source`.
    pub fn fill(&mut self, mut source: impl Read) -> io::Result<usize> {
        self.bytes.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        if self.bytes.len() < self.end + READ {
            self.bytes.resize(self.end + READ, 0);
        }
        let read = source.read(&mut self.bytes[self.end..])?;
        self.end += read;
        Ok(read)
    }

    /// Removes the next whole frame. `None` if the rest of it has not been read.
    ///
    /// # Errors
    ///
    /// Bytes that are not a frame of the other end. Nothing after them can be read.
    #[allow(clippy::should_implement_trait, reason = "an iterator would end at a partial frame")]
    pub fn next(&mut self) -> Result<Option<M>, BadFrame> {
        let bytes = &self.bytes[self.at..self.end];
        let Some((prefix, rest)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let (kind, length) = read_prefix(*prefix, M::SENDER)?;
        let Some(content) = rest.get(..length) else {
            return Ok(None);
        };
        let message = M::decode(kind, content)?;
        self.at += PREFIX + length;
        Ok(Some(message))
    }
}
