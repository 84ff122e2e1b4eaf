//! Large lists of JSON Lines: several threads make the lines of tests, and one puts them together in order.

use std::{
    fs::File,
    io::{self, Read as _},
    iter,
    ops::Range,
};

use super::{Normaliser, filter, hash_of, plain_records::PlainRecords, resolver::TestResolver};
use crate::{
    model::{cores, lines_of, work_in_lanes},
    scenario::{
        error::RecordPlace,
        records,
        shard::{OwnLines, ShardLines},
        source::{FromList, RecordSource},
    },
};

/// From how many bytes on a list is large: with fewer it takes longer to start threads.
const LARGE_BYTES: u64 = 1 << 20;
/// About how many bytes of a list are handed to a thread at once; of a longer line all of it.
const PIECE_BYTES: u64 = 128 * 1024;
/// More threads than this would wait for the one that puts lines together.
const MOST_LANES: usize = 8;

/// Some lines of a list.
struct Piece {
    text: Vec<u8>,
    /// The number of the first of them in its file, and of its record: empty lines have none.
    line: u64,
    record: u64,
}

/// A record of a piece.
struct PieceRecord {
    /// Where it is in the piece, and in its file.
    text: Range<usize>,
    line: u64,
    number: u64,
}

/// What came of a piece.
struct PreparedPiece {
    text: Vec<u8>,
    /// The lines of its tests, one after the other.
    lines: Vec<u8>,
    /// What a shard has of these, if one is wanted.
    own: OwnLines,
    records: Vec<(PieceRecord, PreparedRecord)>,
}

/// What came of a record.
enum PreparedRecord {
    /// It is not selected; with the hash of its id.
    NotRun(u64),
    /// Its line has so many bytes, and it makes so many trials. A shard has so many lines of it.
    Line {
        id: u64,
        bytes: usize,
        trials: u64,
        own: usize,
    },
    /// It names files, or something is wrong with it: whoever knows of all tests looks at it.
    NotPlain,
}

impl Normaliser<'_> {
    /// Takes all records of a list on several threads; says whether the list is large enough for that.
    pub(super) fn take_large(
        &mut self,
        resolver: &mut TestResolver<'_>,
        from: &FromList<'_>,
    ) -> io::Result<bool> {
        let file = fs_err::File::open(&from.file.path)?.into_parts().0;
        let metadata = file.metadata()?;
        if cores() == 1 || !metadata.is_file() || metadata.len() < LARGE_BYTES {
            return Ok(false);
        }
        let mut failed = None;
        let pieces = pieces(file, &mut failed);
        let preparer = Preparer {
            plain: PlainRecords::of(resolver, from),
            resolver: resolver.clone(),
            divider: self.part.as_ref().map(|part| part.divider.clone()),
            from,
        };
        let workers = vec![preparer; cores().min(MOST_LANES)];
        let workers = workers
            .into_iter()
            .map(|mut preparer| move |piece: Piece| preparer.prepare(piece));
        work_in_lanes(pieces, workers, |piece| {
            self.take_piece(resolver, from, &piece);
            Ok::<_, io::Error>(true)
        })??;
        match failed {
            None => Ok(true),
            Some(error) => Err(error),
        }
    }

    fn take_piece(
        &mut self,
        resolver: &mut TestResolver<'_>,
        from: &FromList<'_>,
        piece: &PreparedPiece,
    ) {
        let mut rest = &piece.lines[..];
        let mut owned = piece.own.lines();
        for (record, prepared) in &piece.records {
            match prepared {
                PreparedRecord::NotRun(id) => self.ids.push(*id),
                PreparedRecord::Line {
                    id,
                    bytes,
                    trials,
                    own,
                } => {
                    let (line, after) = rest.split_at(*bytes);
                    rest = after;
                    self.ids.push(*id);
                    self.whole.add(*trials, line);
                    for (trials, line) in owned.by_ref().take(*own) {
                        self.add_to_part(trials, line);
                    }
                }
                PreparedRecord::NotPlain => {
                    let text = &piece.text[record.text.clone()];
                    let source = record.source(from);
                    self.take(resolver, &source, records::object(text));
                }
            }
        }
    }
}

/// Makes lines of records. A clone of it is for another thread.
#[derive(Clone)]
struct Preparer<'a, 's> {
    resolver: TestResolver<'s>,
    plain: Option<PlainRecords>,
    /// Says what a shard has of them, if one is wanted.
    divider: Option<ShardLines<'s>>,
    from: &'a FromList<'a>,
}

impl PieceRecord {
    fn source<'a>(&self, from: &'a FromList<'a>) -> RecordSource<'a> {
        RecordSource {
            place: RecordPlace {
                file: from.file.name.clone(),
                line: Some(self.line),
            },
            number: self.number,
            list: Some(from),
        }
    }
}

impl Piece {
    fn records(&self) -> impl Iterator<Item = PieceRecord> {
        let (mut line, mut number) = (self.line, self.record);
        places(&self.text).filter_map(move |text| {
            let record = PieceRecord {
                text: record_in(&self.text, text, line),
                line,
                number,
            };
            line += 1;
            number += u64::from(!record.text.is_empty());
            (!record.text.is_empty()).then_some(record)
        })
    }
}

impl Preparer<'_, '_> {
    fn prepare(&mut self, piece: Piece) -> PreparedPiece {
        let mut lines = Vec::with_capacity(piece.text.len() * 2);
        let mut own = OwnLines::default();
        let records = piece.records().map(|record| {
            let text = &piece.text[record.text.clone()];
            let prepared = self
                .prepare_plain(text, &mut lines, &mut own)
                .or_else(|| self.prepare_any(text, &record, &mut lines, &mut own));
            (record, prepared.unwrap_or(PreparedRecord::NotPlain))
        });
        let records = records.collect();
        PreparedPiece {
            text: piece.text,
            lines,
            own,
            records,
        }
    }

    fn prepare_plain(
        &mut self,
        text: &[u8],
        lines: &mut Vec<u8>,
        own: &mut OwnLines,
    ) -> Option<PreparedRecord> {
        let plain = self.plain.as_mut()?;
        let start = lines.len();
        plain.write(text, lines)?;
        let (id, line) = (plain.id()?, &lines[start..]);
        let divider = self.divider.as_mut();
        let own =
            divider.map(|divider| divider.take(id, &plain.providers, plain.repeat, line, own));
        Some(PreparedRecord::Line {
            id: hash_of(id),
            bytes: line.len(),
            trials: plain.trials,
            own: own.unwrap_or_default(),
        })
    }

    /// `None` if whoever knows of all tests has to look at the record.
    fn prepare_any(
        &mut self,
        text: &[u8],
        record: &PieceRecord,
        lines: &mut Vec<u8>,
        own: &mut OwnLines,
    ) -> Option<PreparedRecord> {
        let source = record.source(self.from);
        let record = records::object(text).ok()?;
        let no_schema = |_: &str| Err(String::new().into());
        let test = self.resolver.resolve(&source, record, no_schema).ok()?;
        let id = hash_of(&test.id);
        if !test.files.is_empty() || self.resolver.lacks(&test).next().is_some() {
            return None;
        }
        if !filter::is_run(&test, source.list.map(|from| from.list)) {
            return Some(PreparedRecord::NotRun(id));
        }
        let start = lines.len();
        let trials = self.resolver.write(&test, &[], lines);
        let line = &lines[start..];
        let repeat = self.resolver.repeat(&test.settings);
        let divider = self.divider.as_mut();
        let own = divider.map(|divider| divider.take(&test.id, &test.providers, repeat, line, own));
        Some(PreparedRecord::Line {
            id,
            bytes: line.len(),
            trials,
            own: own.unwrap_or_default(),
        })
    }
}

/// The lines of a file in pieces, until it ends or cannot be read.
fn pieces(mut file: File, failed: &mut Option<io::Error>) -> impl Iterator<Item = Piece> {
    let mut begun = Vec::new();
    let (mut line, mut record) = (1, 1);
    let mut is_over = false;
    iter::from_fn(move || {
        let mut text = std::mem::take(&mut begun);
        while !is_over {
            let start = text.len();
            match file.by_ref().take(PIECE_BYTES).read_to_end(&mut text) {
                Ok(0) => is_over = true,
                Ok(_) => {
                    let newline = text[start..].iter().rposition(|byte| *byte == b'\n');
                    if let Some(newline) = newline {
                        begun = text.split_off(start + newline + 1);
                        break;
                    }
                }
                Err(error) => {
                    *failed = Some(error);
                    is_over = true;
                }
            }
        }
        if text.is_empty() {
            return None;
        }
        let piece = Piece { text, line, record };
        for text in places(&piece.text) {
            record += u64::from(!record_in(&piece.text, text, line).is_empty());
            line += 1;
        }
        Some(piece)
    })
}

/// Where each line is, with its line end.
fn places(text: &[u8]) -> impl Iterator<Item = Range<usize>> {
    lines_of(text).scan(0, |start, line| {
        let place = *start..*start + line.len();
        *start = place.end;
        Some(place)
    })
}

/// The part of a line that is a record, which is empty if there is none.
fn record_in(text: &[u8], line: Range<usize>, number: u64) -> Range<usize> {
    let mut part = &text[line.clone()];
    if number == 1 {
        part = records::without_mark(part);
    }
    let part = part.trim_ascii_start();
    let start = line.end - part.len();
    start..start + part.trim_ascii_end().len()
}
