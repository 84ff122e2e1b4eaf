//! How values stand in a message: small numbers in few bytes, and what has no end of its own behind its length.

use std::time::Duration;

use jiff::Timestamp;

/// Writes values one behind the other.
#[derive(Debug, Default)]
pub(in crate::run) struct Encoder(pub(super) Vec<u8>);

/// Reads them back in the same order.
#[derive(Debug)]
pub(in crate::run) struct Decoder<'a>(&'a [u8]);

/// A message that nobody has written so.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::run) struct Garbled;

/// What can be read, or the end of it.
pub(in crate::run) type Read<T> = Result<T, Garbled>;

impl Encoder {
    /// How much was written, in bytes.
    pub(in crate::run) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::run) fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(in crate::run) fn bool(&mut self, value: bool) {
        self.u8(value.into());
    }

    /// Seven bits in a byte, the lowest first; the highest bit says that there are more.
    pub(in crate::run) fn u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.u8(value.to_le_bytes()[0]);
    }

    pub(in crate::run) fn usize(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub(in crate::run) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(in crate::run) fn f64(&mut self, value: f64) {
        self.0.extend(value.to_bits().to_le_bytes());
    }

    pub(in crate::run) fn bytes(&mut self, bytes: &[u8]) {
        self.usize(bytes.len());
        self.0.extend(bytes);
    }

    pub(in crate::run) fn str(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(in crate::run) fn duration(&mut self, duration: Duration) {
        self.u64(duration.as_secs());
        self.u64(duration.subsec_nanos().into());
    }

    pub(in crate::run) fn timestamp(&mut self, at: Timestamp) {
        self.i64(at.as_second());
        self.i64(at.subsec_nanosecond().into());
    }

    /// Writes what may not be there.
    pub(in crate::run) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            write(self, value);
        }
    }

    /// Writes how many there are, and each.
    pub(in crate::run) fn list<T>(&mut self, values: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.usize(values.len());
        for value in values {
            write(self, value);
        }
    }
}

impl Encoder {
    /// What was written.
    pub(in crate::run) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl<'a> Decoder<'a> {
    pub(in crate::run) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(in crate::run) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::run) fn u8(&mut self) -> Read<u8> {
        let (first, rest) = self.0.split_first().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(in crate::run) fn bool(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Garbled),
        }
    }

    pub(in crate::run) fn u64(&mut self) -> Read<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Garbled)
    }

    pub(in crate::run) fn u32(&mut self) -> Read<u32> {
        self.u64()?.try_into().map_err(|_| Garbled)
    }

    pub(in crate::run) fn usize(&mut self) -> Read<usize> {
        self.u64()?.try_into().map_err(|_| Garbled)
    }

    pub(in crate::run) fn i64(&mut self) -> Read<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(in crate::run) fn f64(&mut self) -> Read<f64> {
        let bits = self.array().map(u64::from_le_bytes)?;
        Ok(f64::from_bits(bits))
    }

    pub(in crate::run) fn bytes(&mut self) -> Read<&'a [u8]> {
        let length = self.usize()?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Garbled)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(in crate::run) fn str(&mut self) -> Read<&'a str> {
        str::from_utf8(self.bytes()?).map_err(|_| Garbled)
    }

    pub(in crate::run) fn string(&mut self) -> Read<String> {
        self.str().map(str::to_owned)
    }

    pub(in crate::run) fn duration(&mut self) -> Read<Duration> {
        let (seconds, nanos) = (self.u64()?, self.u32()?);
        if nanos >= 1_000_000_000 {
            return Err(Garbled);
        }
        Ok(Duration::new(seconds, nanos))
    }

    pub(in crate::run) fn timestamp(&mut self) -> Read<Timestamp> {
        let (seconds, nanos) = (self.i64()?, self.i64()?);
        let nanos = i32::try_from(nanos).map_err(|_| Garbled)?;
        Timestamp::new(seconds, nanos).map_err(|_| Garbled)
    }

    pub(in crate::run) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Read<Option<T>> {
        match self.bool()? {
            true => read(self).map(Some),
            false => Ok(None),
        }
    }

    pub(in crate::run) fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let count = self.usize()?;
        // A value takes a byte at least, so no count makes room for more than was sent.
        if count > self.0.len() {
            return Err(Garbled);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Garbled)?;
        self.0 = rest;
        Ok(*bytes)
    }
}
