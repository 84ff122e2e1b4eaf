//! [`Journals`]: the recorded calls of attempts, from the lines of `calls.jsonl`.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufReader};
use std::{fs::File, mem, os::unix::fs::FileExt as _, path::Path};

use runner_model::protocol::{CALLS_VERSION, CallLine, Entry};
use runner_model::row::{Calls, Grade, has_right_checksum};
use runner_model::{Digest, Fingerprint, Micros, ProviderName, RowRef, visible::visible_line};
use sha2::{Digest as _, Sha256};

use crate::disk::beneath::Reader;
use crate::disk::{fault, layout::CALLS};
use crate::rows::line_reader::read_json_line;
use crate::{Manifest, RecordError, RunDir};

/// Bytes that are read at once.
const BLOCK: usize = 256 << 10;

/// The cause of lines that no runner has written so.
const CHANGED: &str = ": another program has changed the file";

/// The problem of a last line whose process died before it was written.
pub(crate) const TORN: &str = "is not whole";

/// A line of `calls.jsonl`, or the reason why it is not one.
pub(crate) type ReadCall<'a> = Result<CallLine<'a>, &'static str>;

/// The journals of attempts.
#[derive(Debug, Default)]
pub struct Journals {
    attempts: HashMap<JournalKey, Journal>,
    /// The sessions of all lines in the file.
    sessions: HashSet<u32>,
}

/// The attempt of a trial's provider, or of a grader of its output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalKey {
    /// A number of the trial.
    pub trial: u64,
    /// The provider's attempt.
    pub attempt: u32,
    /// The grader and its attempt. `None` for the provider.
    pub grader: Option<(ProviderName, u32)>,
}

/// The recorded calls of an attempt since its last start that does not continue.
#[derive(Debug, Default)]
pub struct Journal {
    is_started: bool,
    /// Number of the last line.
    last: u64,
    /// First byte and length of each line, without line breaks.
    lines: Vec<(u64, usize)>,
    /// Numbers of the exchanges.
    numbers: HashSet<u32>,
    /// Number of the last call of a tool whose time was over. 0 without one.
    last_ended: u32,
    /// Of the first start, the exchanges and the ends of tools.
    hash: Sha256,
    /// The calls before each new start of an attempt with a row.
    earlier: Vec<Calls>,
    /// How many times the attempt has continued.
    pub continued: u32,
    /// Real time of the attempt until the last exchange.
    pub used: Micros,
    /// The number by which guests know the attempt.
    pub tries: u32,
    /// Whether each request was recorded before it was sent.
    pub records_sent: bool,
    /// Whether a line is of a session that another key made.
    pub is_foreign: bool,
    /// The session of the last line.
    session: u32,
    /// The fingerprint of the last line.
    pub fingerprint: Option<Fingerprint>,
    /// Reason why no attempt can continue with the journal.
    pub problem: Option<String>,
}

impl Journal {
    /// Adds an entry with its bytes and the place of its line.
    ///
    /// # Errors
    ///
    /// The entry cannot follow the others. The reason is the end of a sentence about it.
    pub fn add(
        &mut self,
        entry: &Entry<'_>,
        bytes: &[u8],
        place: (u64, usize),
    ) -> Result<(), &'static str> {
        match entry {
            Entry::Start { continues: false, records_sent, .. } => {
                self.restart();
                self.is_started = true;
                self.records_sent = *records_sent;
                self.hash.update(bytes);
            }
            _ if !self.is_started => return Err("has no start before it"),
            Entry::Start { records_sent, .. } => {
                self.continued += 1;
                self.records_sent &= records_sent;
            }
            Entry::Sent { .. } => {}
            Entry::Void { reason } => self.void(&visible_line(reason)),
            Entry::Ended { call, .. } => {
                if *call <= self.last_ended {
                    return Err("repeats a call");
                }
                self.last_ended = *call;
                self.hash.update(bytes);
            }
            Entry::Exchange(exchange) => {
                if !self.numbers.insert(exchange.number) {
                    return Err("repeats a call");
                }
                self.hash.update(bytes);
                self.used = self.used.max(Micros(exchange.used_us));
                if exchange.redacted {
                    self.void("a secret in a response was replaced by a mark");
                }
            }
        }
        self.lines.push(place);
        self.last = self.next_line();
        Ok(())
    }

    /// Adds a line of a file.
    ///
    /// # Errors
    ///
    /// The line cannot follow the others, as the end of a sentence about it.
    fn add_line(
        &mut self,
        call: &CallLine<'_>,
        manifest: &Manifest,
        place: (u64, usize),
    ) -> Result<(), String> {
        let session = manifest.check_call(call)?;
        let bytes = call.entry.get().as_bytes();
        let entry = Entry::read(bytes).map_err(|error| format!("has {error}"))?;
        let next = self.next_line();
        if call.line < next {
            return Err(format!("repeats line {} of its attempt{CHANGED}", call.line));
        }
        // Lines before a new start are void. A problem has often others as its consequence.
        let is_new = matches!(entry, Entry::Start { continues: false, .. });
        let is_void = self.problem.is_some();
        let added = self.add(&entry, bytes, place);
        self.last = call.line;
        (self.tries, self.session) = (call.tries, call.session);
        self.is_foreign |= session.foreign;
        if self.fingerprint.replace(call.fingerprint).is_some_and(|old| old != call.fingerprint) {
            self.void("its test or provider has changed meanwhile");
        }
        match added {
            _ if is_void => Ok(()),
            _ if call.line > next && !is_new => Err(format!(
                "is line {} of its attempt, and line {next} belongs here{CHANGED}",
                call.line
            )),
            added => added.map_err(str::to_owned),
        }
    }

    /// Returns the number of the attempt's next line.
    pub fn next_line(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Makes the lines void, because the attempt starts anew.
    pub fn restart(&mut self) {
        let mut earlier = mem::take(&mut self.earlier);
        earlier.extend(self.calls());
        *self = Self { last: self.last, earlier, ..Self::default() };
    }

    fn is_empty(&self) -> bool {
        !self.is_started && self.problem.is_none()
    }

    /// Keeps attempts from continuing with the journal.
    pub fn void(&mut self, problem: &str) {
        self.problem.get_or_insert_with(|| problem.to_owned());
    }

    /// Returns the calls as a row has them. `None` without exchanges and ends of tools.
    pub fn calls(&self) -> Option<Calls> {
        let sha256 = Digest(self.hash.clone().finalize().into());
        let count = self.numbers.len() as u32;
        (count > 0 || self.last_ended > 0).then_some(Calls { count, sha256 })
    }
}

impl JournalKey {
    /// Returns the key of an attempt of the provider.
    pub fn new(trial: u64, attempt: u32) -> Self {
        Self { trial, attempt, grader: None }
    }

    /// Returns the key of the attempt of a grader that has led to a grade.
    pub fn of_grade(trial: u64, row: &RowRef<'_>, grade: &Grade<'_>) -> Self {
        let grader = ProviderName::parse(&grade.grader).ok().map(|name| (name, grade.attempt));
        Self { trial, attempt: row.attempt, grader }
    }
}

impl Journals {
    /// Reads the journals of a run. `number` returns the number of a line's trial, or `None` for an attempt that is left out.
    /// `damaged` gets the number of each line with a problem, from 1.
    pub fn read(
        run: &RunDir,
        manifest: &Manifest,
        number: &dyn Fn(&CallLine<'_>) -> Option<u64>,
        damaged: &mut dyn FnMut(u64, &str),
    ) -> Result<Self, RecordError> {
        let mut journals = Self::default();
        let mut line = 0;
        run.calls(&mut |at, length, read| {
            line += 1;
            let problem = match read {
                Ok(call) => {
                    if manifest.check_call(&call).is_ok() {
                        journals.sessions.insert(call.session);
                    }
                    number(&call).and_then(|trial| {
                        let grader = call.grader.clone().map(|grader| (grader, call.tries));
                        let key = JournalKey { trial, attempt: call.attempt, grader };
                        let journal = journals.at(key.clone());
                        let added = journal.add_line(&call, manifest, (at, length));
                        added.err().map(|problem| (Some(key), problem))
                    })
                }
                Err(problem) => Some((None, problem.to_owned())),
            };
            if let Some((key, problem)) = problem {
                damaged(line, &problem);
                let text = format!("line {line} of {CALLS} {problem}");
                // A damaged line may be of any attempt that has started before it.
                let all = journals.attempts.iter_mut();
                all.filter(|(other, _)| key.as_ref().is_none_or(|key| key == *other))
                    .for_each(|(_, journal)| journal.void(&text));
            }
        })?;
        Ok(journals)
    }

    /// Returns the journal of an attempt. It is empty if there was none.
    pub fn at(&mut self, attempt: JournalKey) -> &mut Journal {
        self.attempts.entry(attempt).or_default()
    }

    pub fn get(&self, attempt: &JournalKey) -> Option<&Journal> {
        self.attempts.get(attempt).filter(|journal| !journal.is_empty())
    }

    /// Returns all journals, in no order.
    pub fn all(&mut self) -> impl Iterator<Item = (&JournalKey, &mut Journal)> {
        self.attempts.iter_mut().filter(|(_, journal)| !journal.is_empty())
    }

    /// Forgets the journal of an attempt, because it has a row.
    pub fn remove(&mut self, attempt: &JournalKey) {
        self.attempts.remove(attempt);
    }

    /// Returns the first session that has recorded calls and has no line in the file any more.
    pub fn lost_session(&self, manifest: &Manifest) -> Option<u32> {
        let mut recorded = manifest.sessions.iter().filter(|session| session.has_calls);
        let lost = recorded.find(|session| !self.sessions.contains(&session.number));
        lost.map(|session| session.number)
    }

    /// Returns whether the calls of a grade in a row are not those of its grader. If a changed plan called the grader again,
    /// the journal has later calls, too.
    pub fn lack(
        &self,
        manifest: &Manifest,
        trial: u64,
        row: &RowRef<'_>,
        grade: &Grade<'_>,
    ) -> bool {
        let Some(calls) = grade.calls else { return false };
        let Some(journal) = self.get(&JournalKey::of_grade(trial, row, grade)) else { return true };
        let judged = row.session.unwrap_or(0);
        let is_older = manifest.has_changed_plan(judged, journal.session);
        journal.calls() != Some(calls) && !(is_older && journal.earlier.contains(&calls))
    }
}

impl RunDir {
    /// Calls `each` with the first byte and the length of every line of `calls.jsonl`, in order, and the line.
    pub(crate) fn calls(
        &self,
        each: &mut dyn FnMut(u64, usize, ReadCall<'_>),
    ) -> Result<(), RecordError> {
        let file = match self.dir.read(CALLS) {
            Err(error) if error.is_missing() => return Ok(()),
            opened => opened?,
        };
        let mut reader = BufReader::with_capacity(BLOCK, Reader { file: &file, at: 0 });
        let mut at = 0;
        let mut line = Vec::new();
        loop {
            let read = read_json_line(&mut reader, &mut line);
            let (bytes, is_whole) = read.map_err(self.dir.failure("read", CALLS))?;
            if bytes == 0 {
                return Ok(());
            }
            let read = if is_whole { parse(&line) } else { Err(TORN) };
            each(at, line.len(), read);
            at += bytes;
        }
    }

    /// Reads the lines of a journal, with their line breaks.
    pub fn call_lines(&self, journal: &Journal) -> Result<Vec<u8>, RecordError> {
        let file = self.dir.read(CALLS)?;
        let mut lines = Vec::new();
        for (at, length) in &journal.lines {
            let start = lines.len();
            lines.resize(start + length, 0);
            let read = file.read_exact_at(&mut lines[start..], *at);
            read.map_err(|source| self.dir.error("read", CALLS, source))?;
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// Cuts the bytes after the last whole line of `calls.jsonl`, whose process died before it was written: no guest has got that
    /// response. Syncs the others.
    pub(crate) fn repair_calls(&self) -> Result<(), RecordError> {
        if self.dir.stat(CALLS)?.is_none() {
            return Ok(());
        }
        let file = self.dir.write(CALLS)?;
        let failed = self.dir.failure("repair", CALLS);
        let length = file.metadata().map_err(failed)?.len();
        let end = last_line_end(&file, length).map_err(failed)?;
        if end < length {
            file.set_len(end).map_err(failed)?;
        }
        fault::sync_data(Path::new(CALLS), &file).map_err(failed)
    }
}

fn parse(line: &[u8]) -> ReadCall<'_> {
    if !has_right_checksum(line) {
        return Err("is damaged");
    }
    match serde_json::from_slice::<CallLine<'_>>(line) {
        Ok(call) if (1..=CALLS_VERSION).contains(&call.v) => Ok(call),
        Ok(_) => Err("is of another version"),
        Err(_) => Err("is not a call"),
    }
}

/// Returns the byte after the last line break. 0 without one.
fn last_line_end(file: &File, length: u64) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let block = &mut block[..(end - start) as usize];
        file.read_exact_at(block, start)?;
        if let Some(last) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
#[path = "tests/calls.rs"]
mod tests;
