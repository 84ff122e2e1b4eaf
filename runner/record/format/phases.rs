//! What attempts in flight are doing and what trials wait for, as it stands in `inflight` behind the slots of what was begun.
//!
//! Nothing depends on it: it is for whoever looks on. Each piece has a checksum, because a reader may come while it is
//! written.

use jiff::Timestamp;

use super::mark::AttemptKey;

/// Where the phases begin: behind all slots there may be.
pub(super) const PHASES_AT: u64 = 128 * 1024;
/// How many there may be.
pub(super) const MAX_SLOTS: usize = 4096;
/// The checksum (4 bytes), whether it waits (1) and the length of what it waits for (1), two zeros, the ordinal (8), the
/// attempt (4), the session (4), since when (8, milliseconds since 1970), then what it waits for; little-endian.
pub(super) const PHASE_BYTES: usize = 256;
const PHASE_HEAD: usize = 32;
/// Where the trials stand that wait.
pub(super) const WAITS_AT: u64 = PHASES_AT + (MAX_SLOTS * PHASE_BYTES) as u64;
/// The checksum (4), the session (4), how many trials follow (4), a mark (4), how many more wait (8), and since when there is
/// no worker (8, milliseconds since 1970; zero if there is one, or none is needed). Who knows keys alone takes the mark for a
/// session that there is not.
const WAITS_HEAD: usize = 32;
const WAITS_MARK: &[u8; 4] = b"wait";
/// The ordinal (8), the attempt (4), why (4), until when (8), and zeros.
const WAIT_BYTES: usize = 32;
/// How many trials are named.
pub const MAX_WAITS: usize = 64;
/// All that is written of those that wait.
pub(super) const WAITS_BYTES: usize = WAITS_HEAD + MAX_WAITS * WAIT_BYTES;

/// What an attempt in flight is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptPhase {
    /// What its guest waits for in the host, as `http api.example.com:443`; absent while it computes.
    pub waits_for: Option<String>,
    /// Since when; absent where that is since it began.
    pub since: Option<Timestamp>,
}

/// A trial whose next attempt has to wait for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingTrial {
    /// The trial's place in the plan, and the attempt that comes.
    pub key: AttemptKey,
    /// What keeps it.
    pub why: WaitReason,
    /// Until when.
    pub until: Timestamp,
}

/// Why the next attempt of a trial has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// The attempt before did not go well.
    Retry,
    /// As many of its provider were begun as may be in that time.
    RateLimit,
}

/// All that trials wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingTrials {
    /// Those that are due first, up to [`MAX_WAITS`].
    pub first: Vec<WaitingTrial>,
    /// How many more there are.
    pub more: u64,
    /// Since when no worker is there, where these make the attempts and there are some to make.
    pub without_workers_since: Option<Timestamp>,
}

impl WaitReason {
    /// Every reason.
    pub const ALL: [Self; 2] = [Self::Retry, Self::RateLimit];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RateLimit => "rate-limit",
        }
    }

    fn mark(self) -> &'static [u8; 4] {
        match self {
            Self::Retry => b"retr",
            Self::RateLimit => b"rate",
        }
    }
}

/// What is written of an attempt of `session` that waits, or has begun to compute, `since` then.
pub(super) fn encode(
    key: AttemptKey,
    session: u32,
    waits_for: Option<&str>,
    since: Timestamp,
) -> [u8; PHASE_BYTES] {
    let mut bytes = [0; PHASE_BYTES];
    let text = waits_for.unwrap_or_default();
    let text = &text[..text.floor_char_boundary(PHASE_BYTES - PHASE_HEAD)];
    bytes[4] = u8::from(waits_for.is_some());
    bytes[5] = u8::try_from(text.len()).expect("a text is cut to what has room");
    bytes[8..16].copy_from_slice(&key.ordinal.to_le_bytes());
    bytes[16..20].copy_from_slice(&key.number.to_le_bytes());
    bytes[20..24].copy_from_slice(&session.to_le_bytes());
    bytes[24..32].copy_from_slice(&since.as_millisecond().to_le_bytes());
    bytes[PHASE_HEAD..PHASE_HEAD + text.len()].copy_from_slice(text.as_bytes());
    seal(&mut bytes);
    bytes
}

/// The phase of the attempt `key` of `session`: one that is of another is not its own, and it computes since it began.
/// `None` if it is only half written.
pub(super) fn decode(bytes: &[u8], key: AttemptKey, session: u32) -> Option<AttemptPhase> {
    let computes = AttemptPhase {
        waits_for: None,
        since: None,
    };
    if bytes.iter().all(|byte| *byte == 0) {
        return Some(computes);
    }
    let whole = whole(bytes)?;
    let number = |at: usize| Some(u32::from_le_bytes(*whole.get(at..)?.first_chunk()?));
    let large = |at: usize| Some(u64::from_le_bytes(*whole.get(at..)?.first_chunk()?));
    let of = AttemptKey {
        ordinal: large(8)?,
        number: number(16)?,
    };
    if (of, number(20)?) != (key, session) {
        return Some(computes);
    }
    let text = whole.get(PHASE_HEAD..PHASE_HEAD + usize::from(*whole.get(5)?))?;
    let text = std::str::from_utf8(text).ok()?;
    Some(AttemptPhase {
        waits_for: (*whole.get(4)? == 1).then(|| text.to_owned()),
        since: Timestamp::from_millisecond(large(24)?.cast_signed()).ok(),
    })
}

/// What is written of the trials that wait.
pub(super) fn encode_waits(session: u32, waits: &WaitingTrials) -> Vec<u8> {
    let named = waits.first.iter().take(MAX_WAITS);
    let mut bytes = vec![0; WAITS_HEAD];
    bytes[4..8].copy_from_slice(&session.to_le_bytes());
    let count = u32::try_from(named.len()).expect("there are few of them");
    bytes[8..12].copy_from_slice(&count.to_le_bytes());
    bytes[12..16].copy_from_slice(WAITS_MARK);
    bytes[16..24].copy_from_slice(&waits.more.to_le_bytes());
    let since = waits.without_workers_since;
    let since = since.map_or(0, Timestamp::as_millisecond);
    bytes[24..32].copy_from_slice(&since.to_le_bytes());
    for wait in named {
        bytes.extend(wait.key.ordinal.to_le_bytes());
        bytes.extend(wait.key.number.to_le_bytes());
        bytes.extend(wait.why.mark());
        bytes.extend(wait.until.as_millisecond().to_le_bytes());
        bytes.extend([0; 8]);
    }
    // The checksum is of all that there is room for, whatever stood there before.
    bytes.resize(WAITS_BYTES, 0);
    seal(&mut bytes);
    bytes
}

/// Reads them back; `None` if they are only half written, or of another session.
pub(super) fn decode_waits(bytes: &[u8], session: u32) -> Option<WaitingTrials> {
    let whole = whole(bytes.get(..WAITS_BYTES)?)?;
    let number = |at: usize| Some(u32::from_le_bytes(*whole.get(at..)?.first_chunk()?));
    let large = |at: usize| Some(u64::from_le_bytes(*whole.get(at..)?.first_chunk()?));
    if number(4)? != session {
        return None;
    }
    let count = usize::try_from(number(8)?).ok()?.min(MAX_WAITS);
    let one = |index: usize| {
        let at = WAITS_HEAD + index * WAIT_BYTES;
        let mark = whole.get(at + 12..at + 16)?;
        let mut reasons = WaitReason::ALL.into_iter();
        Some(WaitingTrial {
            why: reasons.find(|why| why.mark() == mark)?,
            key: AttemptKey {
                ordinal: large(at)?,
                number: number(at + 8)?,
            },
            until: Timestamp::from_millisecond(large(at + 16)?.cast_signed()).ok()?,
        })
    };
    Some(WaitingTrials {
        first: (0..count).filter_map(one).collect(),
        more: large(16)?,
        without_workers_since: match large(24)? {
            0 => None,
            since => Timestamp::from_millisecond(since.cast_signed()).ok(),
        },
    })
}

fn seal(bytes: &mut [u8]) {
    let sum = crc32fast::hash(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
}

/// What has its checksum.
fn whole(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, rest) = bytes.split_first_chunk()?;
    (u32::from_le_bytes(*sum) == crc32fast::hash(rest)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{
        AttemptPhase, MAX_WAITS, PHASE_BYTES, WaitReason, WaitingTrial, WaitingTrials, decode,
        decode_waits, encode, encode_waits,
    };
    use crate::record::AttemptKey;

    const KEY: AttemptKey = AttemptKey {
        ordinal: 7,
        number: 2,
    };

    fn instant() -> Timestamp {
        "2026-11-20T04:39:12.123Z".parse().unwrap()
    }

    #[test]
    fn a_phase_is_its_attempts_own_and_half_of_one_is_none() {
        let phase = |waits_for: Option<&str>, since| {
            Some(AttemptPhase {
                waits_for: waits_for.map(str::to_owned),
                since,
            })
        };
        let long = "http ".to_owned() + &"\u{e9}".repeat(200);
        for waits_for in [None, Some("sleep"), Some("http 127.0.0.1:80")] {
            let bytes = encode(KEY, 3, waits_for, instant());
            assert_eq!(decode(&bytes, KEY, 3), phase(waits_for, Some(instant())));
            // That of another attempt, or of another session: this one has never waited.
            let other = AttemptKey { number: 3, ..KEY };
            assert_eq!(decode(&bytes, other, 3), phase(None, None));
            assert_eq!(decode(&bytes, KEY, 4), phase(None, None));
        }
        let bytes = encode(KEY, 3, Some(&long), instant());
        let cut = decode(&bytes, KEY, 3).unwrap().waits_for.unwrap();
        assert!(long.starts_with(&cut) && cut.len() > 200, "{cut}");
        assert_eq!(decode(&[0; PHASE_BYTES], KEY, 3), phase(None, None));
        assert_eq!(decode(&[], KEY, 3), phase(None, None));

        // A reader in the middle of a write has the beginning of one and the end of another.
        let (old, new) = (encode(KEY, 3, Some("sleep"), instant()), bytes);
        for place in 1..PHASE_BYTES {
            let torn = [&new[..place], &old[place..]].concat();
            let read = decode(&torn, KEY, 3);
            assert!(torn == new || read.is_none(), "{place}: {read:?}");
        }
    }

    #[test]
    fn trials_that_wait_are_read_back_as_far_as_there_is_room() {
        let wait = |ordinal| WaitingTrial {
            key: AttemptKey { ordinal, number: 1 },
            why: WaitReason::ALL[ordinal as usize % 2],
            until: instant(),
        };
        let mut waits = WaitingTrials {
            first: (0..MAX_WAITS as u64).map(wait).collect(),
            more: 9,
            without_workers_since: None,
        };
        let bytes = encode_waits(2, &waits);
        assert_eq!(decode_waits(&bytes, 2), Some(waits.clone()));
        assert_eq!(decode_waits(&bytes, 1), None);
        assert_eq!(decode_waits(&bytes[..bytes.len() - 1], 2), None);
        let mut torn = bytes;
        torn[100] ^= 1;
        assert_eq!(decode_waits(&torn, 2), None);
        waits.first.push(wait(999));
        assert_eq!(
            decode_waits(&encode_waits(2, &waits), 2)
                .unwrap()
                .first
                .len(),
            MAX_WAITS
        );
        let alone = WaitingTrials {
            without_workers_since: Some(instant()),
            ..WaitingTrials::default()
        };
        assert_eq!(decode_waits(&encode_waits(2, &alone), 2), Some(alone));
        let none = WaitingTrials::default();
        assert_eq!(decode_waits(&encode_waits(2, &none), 2), Some(none));
    }
}
