//! [`RunResults`]: everything that the rows of a run come to, read once.

use std::error::Error;

use super::{
    fold::Fold,
    history::{History, NextSession},
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
    state::State,
    tally::{Tallied, Tally},
    trial_set::TrialSet,
};
use crate::record::{
    error::RecordError,
    format::{brief::Brief, glance::RowGlance, mark::AttemptKey, row::Row},
};

/// Everything that the rows of a run come to.
#[derive(Debug)]
pub struct RunResults {
    /// What rows and sessions come to.
    pub history: History,
    /// What the trials came to, by provider; no failures are kept.
    pub tally: Tally,
    /// The rows that were asked for, in the order of writing.
    pub rows: Vec<Row<'static>>,
    /// How many trials the latest session has settled.
    pub done: u64,
    /// How many attempts were read, damaged lines included.
    pub lines: u64,
}

/// Whether a row is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// It is if it still settles its trial once all rows are read.
    IfCurrent,
}

impl State {
    /// Tells whether a row is the one that settles its trial now: later sessions may have run it again.
    pub fn is_current(&self, row: &Row<'_>) -> bool {
        self.is_settled_by(row.ordinal, row.attempt)
    }

    /// The same of an attempt with this number.
    pub fn is_settled_by(&self, ordinal: u64, attempt: u32) -> bool {
        self.outcome(ordinal).is_some() && self.attempts(ordinal) == attempt
    }
}

impl RunReader {
    /// Reads all rows once. `wants` says which of them are asked for, and `damaged` hears of lines that give none, and of rows that are
    /// missing.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read, or what a session was to run again cannot be.
    pub fn results(
        &self,
        mut wants: impl FnMut(&Row<'static>) -> Wanted,
        damaged: impl FnMut(&dyn Error),
    ) -> Result<RunResults, RecordError> {
        let take = |pass: &mut Pass<'_>, mut row: Row<'static>, rows: &Rows<_>| {
            let written = row.brief();
            rows.judge(&mut row)?;
            pass.count(written, &row.trial, row.session, &Tallied::from(&row));
            let wanted = wants(&row);
            if wanted != Wanted::No {
                pass.rows.push((row, wanted));
            }
            Ok(())
        };
        self.read_once(self.rows(), take, damaged)
    }

    /// The same for whoever asks for few rows or none, by no more than is counted: it takes a third of the time.
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does.
    pub fn results_at_a_glance(
        &self,
        mut wants: impl FnMut(&RowGlance) -> Wanted,
        damaged: impl FnMut(&dyn Error),
    ) -> Result<RunResults, RecordError> {
        let take = |pass: &mut Pass<'_>, mut row: RowGlance, rows: &Rows<_>| {
            let written = row.brief();
            rows.judge(&mut row)?;
            let wanted = wants(&row);
            if wanted != Wanted::No {
                pass.rows.push((rows.whole_row()?, wanted));
            }
            pass.count(written, &row.trial, row.session, &Tallied::from(&row));
            Ok(())
        };
        self.read_once(self.glances(), take, damaged)
    }

    fn read_once<T>(
        &self,
        mut rows: Rows<T>,
        mut take: impl FnMut(&mut Pass<'_>, T, &Rows<T>) -> Result<(), LineError>,
        mut damaged: impl FnMut(&dyn Error),
    ) -> Result<RunResults, RecordError> {
        let mut pass = Pass::new(self)?;
        while let Some(line) = rows.next_line() {
            let row = match line {
                Ok(RowsLine::Judgement(judgement)) => {
                    pass.judged(judgement);
                    continue;
                }
                Ok(RowsLine::Attempt(row)) => Ok(row),
                Err(error) => Err(error),
            };
            pass.lines += 1;
            match row.and_then(|row| take(&mut pass, row, &rows)) {
                Ok(()) => {}
                Err(error @ LineError::Damaged { .. }) => {
                    pass.fold.damaged();
                    damaged(&error);
                }
                Err(LineError::Io(source)) => return Err(self.rows_failed(source)),
            }
        }
        let (mut results, tallying) = pass.finish();
        self.tell_missing(&results.history, &mut damaged);
        if tallying == Tallying::ToDo {
            self.tally_again(&mut results)?;
        }
        Ok(results)
    }

    /// Tallies what settles trials now, where trials were run again: nothing is held of each of them by which it could be
    /// taken back what they came to before.
    fn tally_again(&self, results: &mut RunResults) -> Result<(), RecordError> {
        let state = &results.history.state;
        results.tally.providers.clear();
        let mut tallied = TrialSet::default();
        for row in self.glances() {
            let row = match row {
                Ok(row) => row,
                // Somebody has heard of these.
                Err(LineError::Damaged { .. }) => continue,
                Err(LineError::Io(source)) => return Err(self.rows_failed(source)),
            };
            let AttemptKey { ordinal, number } = row.brief().mark.key;
            if row.is_final && state.is_settled_by(ordinal, number) && tallied.insert(ordinal) {
                results.tally.settle_with(&Tallied::from(&row));
            }
        }
        Ok(())
    }
}

impl Tally {
    /// How many failures are kept until it is known whether they were run again.
    const MAX_CANDIDATES: usize = 10 * Self::MAX_FAILURES;

    /// What all rows of a run come to, with its first failures.
    ///
    /// # Errors
    ///
    /// Fails as [`RunReader::results`] does.
    pub fn of_run(
        reader: &RunReader,
        damaged: impl FnMut(&dyn Error),
    ) -> Result<Self, RecordError> {
        let mut bad = 0;
        let wants = |row: &RowGlance| {
            bad += usize::from(row.is_final && row.outcome.is_bad());
            match row.is_final && row.outcome.is_bad() && bad <= Self::MAX_CANDIDATES {
                true => Wanted::IfCurrent,
                false => Wanted::No,
            }
        };
        let results = reader.results_at_a_glance(wants, damaged)?;
        let mut tally = results.tally;
        tally.failures = results.rows;
        tally.failures.truncate(Self::MAX_FAILURES);
        if tally.failures.len() < Self::MAX_FAILURES && bad > Self::MAX_CANDIDATES {
            // Most of the first ones were run again, and there are others behind them.
            tally.find_failures(reader, &results.history.state);
        }
        Ok(tally)
    }

    /// Keeps the first trials of a run that have ended badly, by its state; lines that give no row are passed over.
    fn find_failures(&mut self, reader: &RunReader, state: &State) {
        let rows = reader.rows().filter_map(Result::<_, LineError>::ok);
        let failures = rows.filter(|row| state.is_current(row) && row.outcome.is_bad());
        self.failures = failures.take(Self::MAX_FAILURES).collect();
    }
}

/// One reading of all rows.
struct Pass<'a> {
    fold: Fold<'a>,
    session: u32,
    /// The last line before the latest session.
    from_seq: u64,
    tally: Tally,
    rows: Vec<(Row<'static>, Wanted)>,
    done: u64,
    lines: u64,
    /// Of which trials a row was tallied.
    tallied: TrialSet,
    /// Whether it was tallied of a trial what may not be what settles it now.
    is_tallied_twice: bool,
}

impl<'a> Pass<'a> {
    fn new(reader: &'a RunReader) -> Result<Self, RecordError> {
        let manifest = reader.manifest();
        let fold = Fold::new(manifest, NextSession::default())?;
        Ok(Self {
            fold,
            session: manifest.session(),
            from_seq: manifest.sessions.last().map_or(0, |latest| latest.from_seq),
            tally: Tally::default(),
            rows: Vec::new(),
            done: 0,
            lines: 0,
            tallied: TrialSet::default(),
            is_tallied_twice: false,
        })
    }

    /// Counts an attempt: `written` is what its own line says, and `tallied` what it means by now.
    fn count(&mut self, written: Brief, trial: &str, session: u32, tallied: &Tallied<'_>) {
        self.tally.deny(tallied);
        self.fold.named_row((written, trial));
        let mark = written.mark;
        self.done += u64::from(session == self.session && mark.is_final);
        let AttemptKey { ordinal, number } = mark.key;
        if let Some(state) = self.fold.planned(ordinal)
            && tallied.settled().is_some()
        {
            let is_first = self.tallied.insert(ordinal);
            self.is_tallied_twice |= !is_first || state.attempts(ordinal) != number;
            self.tally.settle_with(tallied);
        }
    }

    fn judged(&mut self, judgement: Brief) {
        self.fold.row(judgement);
        let is_of_the_session = judgement.seq > self.from_seq;
        self.done += u64::from(is_of_the_session && judgement.mark.is_final);
    }

    /// Gives what all rows come to, and whether what is tallied is what settles the trials.
    fn finish(self) -> (RunResults, Tallying) {
        let history = self.fold.finish();
        let is_settled = |ordinal| history.state.outcome(ordinal).is_some();
        let tallying = match !self.is_tallied_twice && self.tallied.iter().all(is_settled) {
            true => Tallying::Done,
            false => Tallying::ToDo,
        };
        let is_shown = |(row, wanted): &(Row<'_>, Wanted)| {
            *wanted == Wanted::Yes || history.state.is_current(row)
        };
        let mut rows = self.rows;
        rows.retain(is_shown);
        let results = RunResults {
            tally: self.tally,
            rows: rows.into_iter().map(|(row, _)| row).collect(),
            done: self.done,
            lines: self.lines,
            history,
        };
        (results, tallying)
    }
}

/// Whether what settles trials is tallied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tallying {
    Done,
    ToDo,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Wanted;
    use crate::{
        model::{Denied, Outcome, RunStatus},
        record::{
            Entry, RunReader, Store, Tally,
            testing::{claim, end, entry, ignore, new_run, resume},
        },
    };

    fn entries() -> Vec<Entry> {
        let mut entries = vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Failed),
            entry(2, 1, Outcome::Stopped),
            entry(2, 2, Outcome::Timeout),
            entry(3, 1, Outcome::Error),
        ];
        for (place, entry) in (1..).zip(&mut entries) {
            entry.attempt.duration = Duration::from_nanos(place * 1_234_567);
        }
        entries[2].attempt.denied = vec![Denied {
            what: "GET https://a.example".into(),
            grant: None,
        }];
        entries
    }

    fn tally(entries: &[Entry]) -> Tally {
        let mut tally = Tally::default();
        for entry in entries {
            tally.add(&entry.into(), entry.is_final);
        }
        tally
    }

    #[test]
    fn a_tally_is_the_same_live_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(4), ignore).unwrap();
        recorder.record(entries());
        let dir = recorder
            .finish(&end(RunStatus::Completed, 4))
            .unwrap()
            .run_dir;

        let read = || {
            let reader = RunReader::open(&dir).unwrap();
            let bad = |row: &crate::record::Row<'_>| match row.outcome.is_bad() {
                true => Wanted::IfCurrent,
                false => Wanted::No,
            };
            reader.results(bad, |error| panic!("{error}")).unwrap()
        };
        let ordinals = |results: &super::RunResults| -> Vec<u64> {
            results.rows.iter().map(|row| row.ordinal).collect()
        };
        let first = read();
        assert_eq!(first.tally, tally(&entries()));
        assert_eq!((ordinals(&first), first.done), (vec![1, 2, 3], 4));

        // What is run again counts as it ended last, and what was denied before stays told.
        let (recorder, _) = resume(claim(&dir).unwrap(), Some("test-1".parse().unwrap()));
        let again = entry(1, 2, Outcome::Passed);
        recorder.record(vec![again.clone()]);
        recorder.finish(&end(RunStatus::Completed, 4)).unwrap();
        let mut settled = entries();
        settled[1] = again;
        let second = read();
        assert_eq!(second.tally, tally(&settled));
        assert_eq!((ordinals(&second), second.done), (vec![2, 3], 1));
        let failures = Tally::of_run(&RunReader::open(&dir).unwrap(), |_| {}).unwrap();
        let failures: Vec<_> = failures.failures.iter().map(|row| row.ordinal).collect();
        assert_eq!(failures, [2, 3]);
    }

    #[test]
    fn the_first_failures_are_found_behind_many_that_were_run_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path()).unwrap();
        let recorder = store.begin(new_run(130), ignore).unwrap();
        let failed = (0..130).map(|ordinal| entry(ordinal, 1, Outcome::Failed));
        recorder.record(failed.collect());
        let finished = recorder.finish(&end(RunStatus::Completed, 130));
        let dir = finished.unwrap().run_dir;
        let failures = || {
            let tally = Tally::of_run(&RunReader::open(&dir).unwrap(), |_| {}).unwrap();
            let rows = tally.failures.iter().map(|row| row.ordinal);
            rows.collect::<Vec<_>>()
        };
        assert_eq!(failures(), (0..10).collect::<Vec<_>>());

        let again = "test-{?,??,10?}".parse().unwrap();
        let (recorder, _) = resume(claim(&dir).unwrap(), Some(again));
        let passed = (0..110).map(|ordinal| entry(ordinal, 2, Outcome::Passed));
        recorder.record(passed.collect());
        recorder.finish(&end(RunStatus::Completed, 130)).unwrap();
        assert_eq!(failures(), (110..120).collect::<Vec<_>>());
    }
}
