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
        source::{FromList, RecordSource},
    },
};

/// From how many bytes on a list is large: with fewer it takes longer to start threads.
const LARGE_BYTES: u64 = 1 << 20;
/// About how many bytes of a list are handed to a thread at once; of a longer line all of it.
const PIECE_BYTES: u64 = 64 * 1024;
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
    records: Vec<(PieceRecord, PreparedRecord)>,
}

/// What came of a record.
enum PreparedRecord {
    /// It is not selected; with the hash of its id.
    NotRun(u64),
    /// Its line has so many bytes, and it makes so many trials.
    Line { id: u64, bytes: usize, trials: u64 },
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
        let plain = PlainRecords::of(resolver, from);
        let workers = vec![(resolver.clone(), plain); cores().min(MOST_LANES)];
        let workers = workers.into_iter().map(|(mut resolver, mut plain)| {
            move |piece: Piece| piece.prepare(&mut resolver, plain.as_mut(), from)
        });
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
        for (record, prepared) in &piece.records {
            match prepared {
                PreparedRecord::NotRun(id) => self.ids.push(*id),
                PreparedRecord::Line { id, bytes, trials } => {
                    let (line, after) = rest.split_at(*bytes);
                    rest = after;
                    self.ids.push(*id);
                    self.write_line(line);
                    self.parts.add(*trials, line);
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
    fn prepare(
        self,
        resolver: &mut TestResolver<'_>,
        mut plain: Option<&mut PlainRecords>,
        from: &FromList<'_>,
    ) -> PreparedPiece {
        let mut lines = Vec::with_capacity(self.text.len() * 2);
        let records = self.records().map(|record| {
            let text = &self.text[record.text.clone()];
            if let Some(plain) = &mut plain
                && let Some(prepared) = prepare_plain(text, plain, &mut lines)
            {
                return (record, prepared);
            }
            let prepared = prepare(text, &record.source(from), resolver, &mut lines);
            (record, prepared.unwrap_or(PreparedRecord::NotPlain))
        });
        let records = records.collect();
        PreparedPiece {
            text: self.text,
            lines,
            records,
        }
    }

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

fn prepare_plain(
    text: &[u8],
    plain: &mut PlainRecords,
    lines: &mut Vec<u8>,
) -> Option<PreparedRecord> {
    let (start, trials) = (lines.len(), plain.trials);
    let id = hash_of(plain.write(text, lines)?);
    Some(PreparedRecord::Line {
        id,
        bytes: lines.len() - start,
        trials,
    })
}

/// `None` if whoever knows of all tests has to look at the record.
fn prepare(
    text: &[u8],
    source: &RecordSource<'_>,
    resolver: &mut TestResolver<'_>,
    lines: &mut Vec<u8>,
) -> Option<PreparedRecord> {
    let record = records::object(text).ok()?;
    let no_schema = |_: &str| Err(String::new().into());
    let test = resolver.resolve(source, record, no_schema).ok()?;
    let id = hash_of(&test.id);
    if !test.files.is_empty() || resolver.lacks(&test).next().is_some() {
        return None;
    }
    if !filter::is_run(&test, source.list.map(|from| from.list)) {
        return Some(PreparedRecord::NotRun(id));
    }
    let start = lines.len();
    let trials = resolver.write(&test, &[], lines);
    Some(PreparedRecord::Line {
        id,
        bytes: lines.len() - start,
        trials,
    })
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
