//! [`RemoteNews`]: what the machine of a worker tells of it, beside what the worker says itself; and [`RunNews`]: what it is told.

use std::sync::Arc;

use super::wire::{Decoder, Encoder, Garbled, Read};
use crate::record::AttemptKey;

const LEAVING: u8 = 0;
const ENDED: u8 = 1;

const SET_ASIDE: u8 = 0;
const NEEDS: u8 = 1;

/// What the machine of a worker tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteNews {
    /// It makes what it has begun, and nothing more.
    Leaving,
    /// It has ended.
    Ended {
        /// The attempts that it had begun.
        begun: Vec<AttemptKey>,
        /// How it ended, to be put behind that it did.
        words: String,
    },
}

impl RemoteNews {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        match self {
            Self::Leaving => encoder.u8(LEAVING),
            Self::Ended { begun, words } => {
                encoder.u8(ENDED);
                encoder.list(begun, |encoder, key| {
                    encoder.u64(key.ordinal);
                    encoder.u64(key.number.into());
                });
                encoder.str(words);
            }
        }
        encoder.into_bytes()
    }

    /// Reads what has come; `None` if it is nothing that is told.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read(&mut Decoder::new(bytes)).ok()
    }
}

fn read(decoder: &mut Decoder<'_>) -> Read<RemoteNews> {
    Ok(match decoder.u8()? {
        LEAVING => RemoteNews::Leaving,
        ENDED => RemoteNews::Ended {
            begun: decoder.list(|decoder| {
                Ok(AttemptKey {
                    ordinal: decoder.u64()?,
                    number: decoder.u32()?,
                })
            })?,
            words: decoder.string()?,
        },
        _ => return Err(Garbled),
    })
}

/// What a run tells the machine of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunNews {
    /// The worker gets no more of the run.
    SetAside {
        /// Which attempts have failed there in a row, and what was lacking.
        why: Arc<str>,
    },
    /// What is said to the worker from now on is of trials whose tests are in these segments of the list, too.
    Needs {
        /// Their places.
        segments: Vec<usize>,
    },
}

impl RunNews {
    /// As it travels.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::default();
        match self {
            Self::SetAside { why } => {
                encoder.u8(SET_ASIDE);
                encoder.str(why);
            }
            Self::Needs { segments } => {
                encoder.u8(NEEDS);
                encoder.list(segments, |encoder, place| encoder.usize(*place));
            }
        }
        encoder.into_bytes()
    }

    /// Reads what has come; `None` if it is nothing that is told.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        Some(match decoder.u8().ok()? {
            SET_ASIDE => Self::SetAside {
                why: decoder.string().ok()?.into(),
            },
            NEEDS => Self::Needs {
                segments: decoder.list(Decoder::usize).ok()?,
            },
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{RemoteNews, RunNews};
    use crate::record::AttemptKey;

    #[test]
    fn what_is_told_is_read_back() {
        let key = AttemptKey {
            ordinal: u64::MAX,
            number: 3,
        };
        for news in [
            RemoteNews::Leaving,
            RemoteNews::Ended {
                begun: vec![key],
                words: ": signal 9".into(),
            },
        ] {
            let sent = news.encode();
            assert_eq!(RemoteNews::decode(&sent), Some(news));
            for cut in 0..sent.len() {
                assert_eq!(RemoteNews::decode(&sent[..cut]), None);
            }
        }
    }

    #[test]
    fn what_a_machine_is_told_is_read_back() {
        for news in [
            RunNews::SetAside {
                why: "its disk is full".into(),
            },
            RunNews::Needs {
                segments: vec![0, 300],
            },
        ] {
            let sent = news.encode();
            assert_eq!(RunNews::decode(&sent), Some(news));
            for cut in 0..sent.len() {
                assert_eq!(RunNews::decode(&sent[..cut]), None);
            }
        }
        assert_eq!(RunNews::decode(&[9]), None);
    }
}
