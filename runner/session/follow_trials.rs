//! [`TrialLogs`]: what is said in the attempts of some trials, as they say it.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use super::{Followed, Observe, TrialGlob, Waiting};
use crate::{
    error::Error,
    record::{AttemptKey, LineError, LiveSaid, Row, RowTail, RunEntry, RunReader, Said},
    run::TrialNames,
    view::AttemptName,
};

/// What is seen of trials that somebody follows. Whoever sees it breaks off to see no more.
pub enum SeenOfTrial<'a> {
    /// What was said in an attempt since the last look: whole lines, those of its log as JSON.
    Said {
        /// Which attempt.
        name: &'a AttemptName,
        /// What is new.
        said: Said,
    },
    /// An attempt has ended, and everything that was said in it has been seen.
    Ended(&'a Row<'a>),
    /// Of an attempt it cannot be read what was said, or a row is damaged.
    Damaged(&'a dyn std::error::Error),
    /// Everything that is there has been seen.
    UpToDate,
}

/// What is said in the attempts of some trials, until each of these is settled, or nobody works on the run any more.
pub struct TrialLogs<'a> {
    run: &'a RunEntry,
    wanted: TrialGlob,
    tail: RowTail,
    /// How many lines have been seen, of attempts that go on.
    seen: HashMap<AttemptKey, SeenLines>,
    ended: HashSet<AttemptKey>,
    /// The trials that are not settled; `None` where the plan is not there any more.
    unsettled: Option<HashSet<u64>>,
    see: &'a mut dyn FnMut(SeenOfTrial<'_>) -> ControlFlow<()>,
}

/// How many lines were seen: of the log, of standard output, of standard error.
#[derive(Clone, Copy, Default)]
struct SeenLines {
    log: usize,
    stdout: usize,
    stderr: usize,
}

impl<'a> TrialLogs<'a> {
    /// Begins with the attempts that have ended already.
    ///
    /// # Errors
    ///
    /// Fails if the run cannot be read, or if no trial is meant by `glob`: its id or its test's.
    pub fn new(
        run: &'a RunEntry,
        glob: &str,
        see: &'a mut dyn FnMut(SeenOfTrial<'_>) -> ControlFlow<()>,
    ) -> Result<Self, Error> {
        let mut wanted = TrialGlob::new(glob).map_err(|error| {
            Error::usage(miette::miette!("the trial is not a valid glob: {error}"))
        })?;
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        let unsettled = TrialNames::of(&reader).map(|mut names| {
            let ordinals = 0..reader.manifest().metadata.planned_test_count;
            let meant = ordinals.filter(|ordinal| {
                let trial = names.name(*ordinal);
                trial.is_some_and(|trial| wanted.means(&trial.to_string()))
            });
            meant.collect::<HashSet<_>>()
        });
        if unsettled.is_some() {
            wanted.check("of the run")?;
        }
        Ok(Self {
            run,
            wanted,
            tail: reader.tail().map_err(Error::record)?,
            seen: HashMap::new(),
            ended: HashSet::new(),
            unsettled,
            see,
        })
    }

    /// Hands over what is there.
    fn hand_over(&mut self, reader: &RunReader, is_over: bool) -> Result<ControlFlow<()>, Error> {
        // Before the rows: one that ends meanwhile has one.
        let live = reader.live_said();
        while let Some(row) = self.tail.next_row() {
            let seen = match row {
                Ok(row) => self.end(reader, &row),
                Err(error @ LineError::Damaged { .. }) => (self.see)(SeenOfTrial::Damaged(&error)),
                Err(error) => return Err(Error::storage(miette::Report::from_err(error))),
            };
            if seen.is_break() {
                return Ok(seen);
            }
        }
        if is_over
            && let Some(row) = self.tail.last_row()
            && self.end(reader, &row).is_break()
        {
            return Ok(ControlFlow::Break(()));
        }
        for live in live {
            if self.wanted.means(&live.trial)
                && !self.ended.contains(&live.key)
                && self.go_on(live).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok((self.see)(SeenOfTrial::UpToDate))
    }

    /// Shows what is new of an attempt that goes on.
    fn go_on(&mut self, live: LiveSaid) -> ControlFlow<()> {
        let name = AttemptName {
            trial: live.trial,
            number: live.key.number,
        };
        let seen = self.seen.entry(live.key).or_default();
        let said = seen.take(&live.said);
        if said == Said::default() {
            return ControlFlow::Continue(());
        }
        let name = &name;
        (self.see)(SeenOfTrial::Said { name, said })
    }

    /// Shows an attempt that has ended, if it is one of those.
    fn end(&mut self, reader: &RunReader, row: &Row<'_>) -> ControlFlow<()> {
        if !self.wanted.means(&row.trial) {
            return ControlFlow::Continue(());
        }
        let mark = row.mark();
        self.ended.insert(mark.key);
        if let Some(unsettled) = self.unsettled.as_mut().filter(|_| mark.is_final) {
            unsettled.remove(&mark.key.ordinal);
        }
        let mut seen = self.seen.remove(&mark.key).unwrap_or_default();
        match reader.said(row) {
            Ok(said) => {
                let said = seen.take(&said);
                let name = &AttemptName {
                    trial: row.trial.to_string(),
                    number: row.attempt,
                };
                if said != Said::default() {
                    (self.see)(SeenOfTrial::Said { name, said })?;
                }
            }
            Err(error) => (self.see)(SeenOfTrial::Damaged(&error))?,
        }
        (self.see)(SeenOfTrial::Ended(row))
    }
}

impl SeenLines {
    /// What `said` has beyond that, which is seen now.
    fn take(&mut self, said: &Said) -> Said {
        Said {
            log: behind(&said.log, &mut self.log),
            stdout: behind(&said.stdout, &mut self.stdout),
            stderr: behind(&said.stderr, &mut self.stderr),
        }
    }
}

/// The lines of a text behind the first `seen` ones, which grow by them.
fn behind(text: &str, seen: &mut usize) -> String {
    let new: Vec<_> = text.lines().skip(*seen).collect();
    *seen += new.len();
    new.join("\n")
}

impl Waiting for TrialLogs<'_> {
    type Answer = Followed;

    fn poll(&mut self, _: &mut dyn Observe) -> Result<Option<Followed>, Error> {
        // Asked before the rows are read: what a process has written is there before it ends.
        let reader = RunReader::open(&self.run.dir).map_err(Error::record)?;
        let is_over = !reader.is_alive();
        if self.hand_over(&reader, is_over)?.is_break() {
            return Ok(Some(Followed::NoLonger));
        }
        let is_settled = self.unsettled.as_ref().is_some_and(HashSet::is_empty);
        Ok((is_over || is_settled).then_some(Followed::ToItsEnd))
    }
}

#[cfg(test)]
mod tests {
    use super::{Said, SeenLines};

    #[test]
    fn each_line_is_seen_once_however_the_text_grows() {
        let mut seen = SeenLines::default();
        let mut all = Vec::new();
        let said = |stdout: &str| Said {
            stdout: stdout.to_owned(),
            ..Said::default()
        };
        for text in [
            "",
            "one\n",
            "one\n",
            "one\ntwo\nthree\n",
            "one\ntwo\nthree\nfour",
        ] {
            let new = seen.take(&said(text));
            assert!(new.log.is_empty() && new.stderr.is_empty());
            all.extend(new.stdout.lines().map(str::to_owned));
        }
        assert_eq!(all, ["one", "two", "three", "four"]);
    }
}
