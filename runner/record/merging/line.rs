//! A line of a shard with the numbers that it has in the merged run.

use crate::record::format::{line::seal, row::RowLogs};

/// The numbers of a line that a merged run counts in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LineNumbers {
    pub(super) seq: u64,
    pub(super) session: u32,
    /// Of a judgement: the number of the attempt's line.
    pub(super) of: Option<u64>,
    pub(super) ordinal: u64,
}

/// A line of a row or of a judgement, without its newline, whose checksum is right.
#[derive(Debug)]
pub(super) struct NumberedLine<'a> {
    /// Its beginning, up to the first number.
    begin: &'a [u8],
    pub(super) numbers: LineNumbers,
    /// What is between the numbers and the place of its log.
    middle: &'a [u8],
    /// Where what was said in the attempt is.
    pub(super) logs: Option<RowLogs>,
    /// What follows that, without the checksum.
    end: &'a [u8],
}

/// How lines begin that these programs write.
const BEGINNINGS: [&[u8]; 3] = [
    b"{\"v\":2,",
    b"{\"v\":3,",
    b"{\"v\":3,\"kind\":\"judgement\",",
];
const CRC: &[u8] = b",\"crc\":\"";
const LOGS: &[u8] = b",\"logs\":{\"file\":";
/// How much of that there is up to its brace.
const LOGS_BRACE: usize = b",\"logs\":{".len();
const DIGESTS: &[u8] = b",\"digests\":\"";

impl<'a> NumberedLine<'a> {
    /// Reads the numbers of a line; `None` if another program has written it.
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let line = &line[..find_last(line, CRC)?];
        // The longest that fits.
        let mut beginnings = BEGINNINGS.into_iter().rev();
        let begin = beginnings.find(|begin| line.starts_with(begin))?.len();
        let (begin, mut rest) = line.split_at(begin);
        let seq = number(&mut rest, b"\"seq\":")?;
        let session = match number(&mut rest, b",\"session\":") {
            Some(session) => u32::try_from(session).ok()?,
            None => 1,
        };
        let of = number(&mut rest, b",\"of\":");
        let ordinal = number(&mut rest, b",\"ordinal\":")?;
        let numbers = LineNumbers {
            seq,
            session,
            of,
            ordinal,
        };
        let (middle, logs, end) = split_at_logs(rest);
        Some(Self {
            begin,
            numbers,
            middle,
            logs,
            end,
        })
    }

    /// Appends the line with other numbers, and its newline.
    pub(super) fn write(&self, numbers: LineNumbers, logs: Option<RowLogs>, lines: &mut Vec<u8>) {
        let start = lines.len();
        let LineNumbers {
            seq,
            session,
            of,
            ordinal,
        } = numbers;
        lines.extend(self.begin);
        write(lines, b"\"seq\":", seq);
        if session != 1 {
            write(lines, b",\"session\":", session.into());
        }
        if let Some(of) = of {
            write(lines, b",\"of\":", of);
        }
        write(lines, b",\"ordinal\":", ordinal);
        lines.extend(self.middle);
        if let Some(RowLogs { file, at, bytes }) = logs {
            write(lines, LOGS, file.into());
            write(lines, b",\"at\":", at);
            write(lines, b",\"bytes\":", bytes);
            lines.push(b'}');
        }
        lines.extend(self.end);
        lines.push(b'}');
        seal(lines, start);
    }
}

/// Appends a line of a log file, without its newline, with another ordinal, and its newline; `None` if another program has
/// written it.
pub(super) fn renumber_log(line: &[u8], ordinal: u64, lines: &mut Vec<u8>) -> Option<()> {
    let start = lines.len();
    let mut rest = &line[..find_last(line, CRC)?];
    let version = number(&mut rest, b"{\"v\":")?;
    number(&mut rest, b",\"ordinal\":")?;
    write(lines, b"{\"v\":", version);
    write(lines, b",\"ordinal\":", ordinal);
    lines.extend(rest);
    lines.push(b'}');
    seal(lines, start);
    Some(())
}

/// Appends a key and the number behind it.
fn write(lines: &mut Vec<u8>, key: &[u8], number: u64) {
    lines.extend(key);
    lines.extend(itoa::Buffer::new().format(number).as_bytes());
}

/// Takes a key and the number behind it.
fn number(rest: &mut &[u8], key: &[u8]) -> Option<u64> {
    let behind = rest.strip_prefix(key)?;
    let digits = behind
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let (digits, behind) = behind.split_at(digits);
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    *rest = behind;
    Some(number)
}

/// Finds where a row tells the place of its log: right before the digests, which are near its end. A guest's output may have
/// the same keys, but nowhere behind them.
fn split_at_logs(rest: &[u8]) -> (&[u8], Option<RowLogs>, &[u8]) {
    let split = || {
        let digests = find_last(rest, DIGESTS)?;
        let (before, end) = rest.split_at(digests);
        // There is no other object in it: mostly it is seen at once that this is something else.
        let object = before.strip_suffix(b"}")?;
        let brace = object
            .iter()
            .rposition(|byte| matches!(byte, b'{' | b'}'))?;
        let at = before[..=brace].len().checked_sub(LOGS_BRACE)?;
        if !before[at..].starts_with(LOGS) {
            return None;
        }
        let (middle, mut logs) = before.split_at(at);
        let file = u32::try_from(number(&mut logs, LOGS)?).ok()?;
        let at = number(&mut logs, b",\"at\":")?;
        let bytes = number(&mut logs, b",\"bytes\":")?;
        (logs == b"}").then_some((middle, Some(RowLogs { file, at, bytes }), end))
    };
    split().unwrap_or((rest, None, b""))
}

/// Goes from one comma to the one before: a key has one in front of it.
fn find_last(line: &[u8], key: &[u8]) -> Option<usize> {
    let mut end = line.len();
    loop {
        end = line[..end].iter().rposition(|byte| *byte == b',')?;
        if line[end..].starts_with(key) {
            return Some(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{LineNumbers, NumberedLine, renumber_log};
    use crate::{
        model::{LogRecord, Outcome},
        record::{
            LogsLine, Row,
            format::{
                judgement::JudgementLine,
                row::{RowLogs, RowPlace},
            },
            testing::{entry, judgement},
        },
    };

    proptest! {
        #[test]
        fn a_renumbered_line_is_the_row_with_these_numbers(
            (seq, session, ordinal) in (1..u64::MAX, 1..4_u32, any::<u64>()),
            (new_seq, new_session, new_ordinal) in (1..u64::MAX, 1..9_u32, any::<u64>()),
            (outcome, is_truncated) in (prop::sample::select(Outcome::ALL.to_vec()), any::<bool>()),
            (logs, new_at) in (prop::option::of((1..9_u32, any::<u64>(), any::<u64>())), any::<u64>()),
            // What looks like the keys that are changed.
            output in prop::sample::select(vec![
                json!({ "a": 1, "logs": { "file": 1, "at": 0, "bytes": 5 } }),
                json!(",\"logs\":{\"file\":1,\"at\":2,\"bytes\":3},\"digests\":\"0\",\"crc\":\"0"),
                json!({ "seq": 1, "digests": "", "crc": "" }),
            ]),
        ) {
            let mut entry = entry(ordinal, 1, outcome);
            entry.attempt.output = Some(output);
            let mut row = Row::new(&entry, RowPlace { seq, session });
            row.logs = logs.map(|(file, at, bytes)| RowLogs { file, at, bytes });
            row.is_truncated = is_truncated;
            let mut line = Vec::new();
            row.encode(&mut line);

            let read = NumberedLine::read(line.trim_ascii_end()).unwrap();
            prop_assert_eq!(read.numbers, LineNumbers { seq, session, of: None, ordinal });
            prop_assert_eq!(read.logs, row.logs);
            row.logs = row.logs.map(|logs| RowLogs { at: new_at, ..logs });
            (row.seq, row.session, row.ordinal) = (new_seq, new_session, new_ordinal);
            let numbers = LineNumbers { seq: new_seq, session: new_session, of: None, ordinal: new_ordinal };
            let (mut renumbered, mut expected) = (Vec::new(), Vec::new());
            read.write(numbers, row.logs, &mut renumbered);
            row.encode(&mut expected);
            prop_assert_eq!(renumbered, expected);
        }
    }

    #[test]
    fn a_judgement_keeps_what_it_is_of() {
        let entry = entry(7, 1, Outcome::Passed);
        let judgement = judgement(3, entry.mark());
        let mut line = Vec::new();
        let place = RowPlace { seq: 9, session: 2 };
        JudgementLine::new(&judgement, place).encode(&mut line);
        let read = NumberedLine::read(line.trim_ascii_end()).unwrap();
        let mut renumbered = Vec::new();
        let numbers = LineNumbers {
            seq: 19,
            session: 12,
            of: Some(13),
            ordinal: 17,
        };
        read.write(numbers, None, &mut renumbered);
        let decoded = JudgementLine::decode(renumbered.trim_ascii_end()).unwrap();
        assert_eq!((decoded.seq, decoded.session), (19, 12));
        assert_eq!((decoded.of, decoded.ordinal), (13, 17));
        let mut as_before = Vec::new();
        let again = NumberedLine::read(renumbered.trim_ascii_end()).unwrap();
        again.write(read.numbers, None, &mut as_before);
        assert_eq!(as_before, line);
    }

    #[test]
    fn a_line_of_a_log_gets_another_ordinal() {
        let mut entry = entry(7, 1, Outcome::Passed);
        entry.attempt.log = vec![LogRecord {
            at: None,
            level: "info",
            message: "\"ordinal\":7".into(),
            fields: Vec::new(),
        }];
        let mut said = LogsLine::of(&entry.attempt).unwrap();
        let (mut line, mut expected, mut renumbered) = (Vec::new(), Vec::new(), Vec::new());
        said.encode(&mut line);
        said.ordinal = 1_234;
        said.encode(&mut expected);
        renumber_log(line.trim_ascii_end(), 1_234, &mut renumbered).unwrap();
        assert_eq!(renumbered, expected);
    }

    #[test]
    fn what_another_program_has_written_is_left_alone() {
        for line in [
            "",
            "{}",
            "{\"v\":1,\"seq\":1,\"crc\":\"00000000\"}",
            "{\"v\":2,\"ordinal\":1,\"crc\":\"0\"}",
        ] {
            assert!(NumberedLine::read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
