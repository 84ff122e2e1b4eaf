//! [`LiveSaid`]: what was said in attempts that have not ended.

use super::{reader::RunReader, said::Said};
use crate::record::{
    disk::regular,
    format::{
        live_line::{LiveHead, LiveLine},
        mark::AttemptKey,
    },
};

/// What was said so far in an attempt that has not ended, or of which that is not known because its process has died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveSaid {
    /// Which attempt.
    pub key: AttemptKey,
    /// The trial's id.
    pub trial: String,
    /// What was said.
    pub said: Said,
}

impl RunReader {
    /// What was said so far in attempts that have not ended, by their places in the plan. Those that have just begun, or that
    /// have said nothing, are not among them, and one that ends meanwhile may be or not.
    pub fn live_said(&self) -> Vec<LiveSaid> {
        let paths = self.dir().all_live().unwrap_or_default().into_iter();
        // Whatever is no such file is somebody else's.
        let mut all: Vec<_> = paths
            .filter_map(|path| parse(&regular::read(&path).ok()?))
            .collect();
        all.sort_by_key(|live| live.key);
        all
    }
}

fn parse(bytes: &[u8]) -> Option<LiveSaid> {
    let whole = &bytes[..bytes.iter().rposition(|byte| *byte == b'\n')?];
    let mut lines = whole.split(|byte| *byte == b'\n');
    let head: LiveHead<'_> = serde_json::from_slice(lines.next()?).ok()?;
    let mut said = Said::default();
    for line in lines {
        match serde_json::from_slice(line).ok()? {
            LiveLine::Log(record) => {
                // As a value, whose keys are in one order.
                let record = serde_json::to_value(record).ok()?;
                said.log += &format!("{record}\n");
            }
            LiveLine::Stdout(line) => said.stdout += &format!("{line}\n"),
            LiveLine::Stderr(line) => said.stderr += &format!("{line}\n"),
        }
    }
    Some(LiveSaid {
        key: AttemptKey {
            ordinal: head.ordinal,
            number: head.attempt,
        },
        trial: head.trial.into_owned(),
        said,
    })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use crate::{
        model::LogRecord,
        record::format::live_line::{LiveHead, LiveText},
    };

    #[test]
    fn every_prefix_of_a_file_gives_its_whole_lines() {
        let mut text = LiveText::default();
        text.line(&LiveHead {
            ordinal: 7,
            trial: "a@b#1".into(),
            attempt: 2,
        });
        let head = text.bytes().len();
        text.log(&LogRecord {
            at: None,
            level: "info",
            message: "zwölf\u{9b}\n".to_owned(),
            fields: vec![("key".to_owned(), "value".to_owned())],
        });
        text.stdout("one");
        text.stderr("two \"quoted\"");
        text.stdout("three");
        let shown = std::str::from_utf8(text.bytes()).unwrap();
        assert!(!shown.contains('\u{9b}'));
        let newlines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        for length in 0..=text.bytes().len() {
            let bytes = &text.bytes()[..length];
            let Some(live) = parse(bytes) else {
                assert!(length < head);
                continue;
            };
            assert_eq!((live.key.ordinal, live.key.number), (7, 2));
            assert_eq!(live.trial, "a@b#1");
            let said = [&live.said.log, &live.said.stdout, &live.said.stderr];
            let lines: usize = said.iter().map(|text| text.lines().count()).sum();
            assert_eq!(lines, newlines(bytes) - 1);
        }
        let live = parse(text.bytes()).unwrap();
        assert_eq!(live.said.stdout, "one\nthree\n");
        assert_eq!(live.said.stderr, "two \"quoted\"\n");
        let log = r#"{"fields":{"key":"value"},"level":"info","message":"zwölf\n"}"#;
        let record: serde_json::Value = serde_json::from_str(&live.said.log).unwrap();
        assert_eq!(
            record,
            serde_json::from_str::<serde_json::Value>(log).unwrap()
        );
    }
}
