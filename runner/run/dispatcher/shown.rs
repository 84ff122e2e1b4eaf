//! What a dispatcher lets the world see.

use std::io;

use super::{Dispatcher, Effects, Event, work::UnderWay};
use crate::{
    model::{Outcome, StopMode},
    record::{WaitingTrials, Written, is_judgement},
    run::{
        clock::Now,
        event::{JudgedTrial, Shortage},
    },
};

impl<E: Effects> Dispatcher<E> {
    /// How many attempts are being executed.
    pub(super) fn running(&self) -> usize {
        self.work.flights.begun() + self.grading.work.flights.begun()
    }

    /// The attempt that is being executed and began first.
    pub(super) fn longest(&self, now: Now) -> Option<UnderWay> {
        let both = [self.work.longest(now), self.grading.work.longest(now)];
        both.into_iter().flatten().max_by_key(|it| it.elapsed)
    }

    /// Shows what is on disk, and lets graders have what they have to speak of.
    pub(super) fn show_written(&mut self, written: Written) {
        let Written {
            entries,
            judgements,
            mut lines,
            ..
        } = written;
        for judgement in &judgements {
            self.work.state.judged(judgement.mark);
            self.grading.written(judgement);
        }
        let mut trials = Vec::new();
        if !judgements.is_empty() {
            let all = std::mem::take(&mut lines);
            let mut judged = judgements.iter();
            for line in all.split_inclusive(|byte| *byte == b'\n') {
                if !is_judgement(line) {
                    lines.extend_from_slice(line);
                } else if let Some(judgement) = judged.next() {
                    let row = self.grading.row(judgement, line.trim_ascii_end());
                    trials.extend(row.map(|row| JudgedTrial { row }));
                }
            }
        }
        let counts = self.work.state.counts();
        if !entries.is_empty() {
            self.out.show(Event::Rows {
                entries: &entries,
                lines: &lines,
                counts,
            });
        }
        if !trials.is_empty() {
            self.out.show(Event::Judged {
                trials: &trials,
                counts,
            });
        }
        let lines = lines.split(|byte| *byte == b'\n');
        for (entry, line) in entries.into_iter().zip(lines) {
            if entry.attempt.outcome == Outcome::Ungraded {
                self.grading.arrive(entry, line);
            }
        }
    }

    pub(super) fn show_progress(&mut self, now: Now) -> io::Result<()> {
        let shortage = self.shortage(now)?;
        let since = (shortage == Some(Shortage::Workers)).then_some(now.wall);
        self.without_workers_since = since.map(|now| self.without_workers_since.unwrap_or(now));
        let waits = match self.stop {
            // Nothing more begins.
            Some(_) => WaitingTrials::default(),
            None => WaitingTrials {
                without_workers_since: self.without_workers_since,
                ..self.work.waits(now)?
            },
        };
        self.out.wait(waits);
        let longest = self.longest(now);
        self.out.show(Event::Progress {
            counts: self.work.state.counts(),
            running: self.running(),
            ungraded: self.grading.waiting(),
            longest: longest.as_ref().map(UnderWay::shown),
            shortage,
        });
        Ok(())
    }

    /// What there is too little of for more attempts to be executed.
    fn shortage(&mut self, now: Now) -> io::Result<Option<Shortage>> {
        if self.stop.is_some() {
            return Ok(None);
        }
        if self.is_without_workers()? {
            return Ok(Some(Shortage::Workers));
        }
        let waits = self.work.waits_for_memory(now.at)?;
        Ok(waits.then_some(Shortage::Memory))
    }

    /// Tells whether trials wait for workers on other machines, of which none is there.
    fn is_without_workers(&mut self) -> io::Result<bool> {
        let is_nobody_there = self.work.executors.machines().is_empty();
        Ok(self.rules.is_spread
            && is_nobody_there
            && self.work.flights.is_empty()
            && self.work.is_left()?)
    }

    pub(super) fn show_what_is_awaited(&mut self, now: Now, mode: StopMode) {
        let mut running = self.work.running(now);
        running.extend(self.grading.work.running(now));
        let running: Vec<_> = running.iter().map(UnderWay::shown).collect();
        self.out.show(Event::Awaiting {
            mode,
            running: &running,
            rows: self.unwritten.rows(),
        });
    }
}
