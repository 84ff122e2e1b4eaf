//! [`History`]: what the rows and sessions of a run come to. The one fold, for readers, sweep and resume alike.

use std::{
    collections::{HashMap, VecDeque},
    path::PathBuf,
};

use super::{
    RecordError,
    manifest::{Manifest, Session},
    reader::{LineError, Rows},
    rerun::{self, Rerun, Selector},
    row::{self, Brief},
    state::{Accepted, AttemptKey, State},
};
use crate::model::{Outcome, Reason};

/// What the rows and sessions of a run come to.
#[derive(Clone, Debug)]
pub struct History {
    /// Every trial; those that a session was asked to run again, and that have no final row since, are pending.
    pub state: State,
    /// The number of the last row; 0 if there is none.
    pub last_seq: u64,
    /// Lines that give no row although others come after them; their trials count as not seen.
    pub damaged_lines: u64,
    /// At how many deaths of a process in a row a trial was being executed, by ordinal.
    ///
    /// A death before the trial was begun does not interrupt the row; an attempt that got through ends it.
    pub deaths: HashMap<u64, u32>,
    /// What was being executed when the latest session's process died, and has no row.
    pub unrecorded: Vec<AttemptKey>,
}

impl History {
    /// What a run of `trials` trials begins with.
    pub fn planned(trials: u64) -> Self {
        Self {
            state: State::planned(trials),
            last_seq: 0,
            damaged_lines: 0,
            deaths: HashMap::new(),
            unrecorded: Vec::new(),
        }
    }
}

/// Reads all rows and lets the sessions of the manifest happen between them.
///
/// `rerun` is what a session would be asked for that is opened now.
pub(super) fn fold(
    pieces: Vec<PathBuf>,
    manifest: &Manifest,
    rerun: Option<&Rerun>,
) -> Result<History, RecordError> {
    let mut fold = Fold::new(manifest, rerun)?;
    if fold.ids.is_empty() {
        fold.read(Rows::new(pieces, row::decode_brief), Fold::row)?;
    } else {
        fold.read(Rows::new(pieces, row::decode_named), Fold::named_row)?;
    }
    Ok(fold.finish())
}

struct Fold<'a> {
    history: History,
    /// What happened between rows, in order.
    events: VecDeque<Event<'a>>,
    /// For every selection by id, which trials it means.
    ids: Vec<(globset::GlobMatcher, Vec<bool>)>,
}

/// Something that happened after the row with number `after` and before the next one.
struct Event<'a> {
    after: u64,
    what: What<'a>,
}

enum What<'a> {
    Death(&'a [(u64, u32)]),
    Outcomes(&'static [Outcome]),
    /// Its place in `ids`.
    Ids(usize),
}

impl<'a> Fold<'a> {
    fn new(manifest: &'a Manifest, rerun: Option<&Rerun>) -> Result<Self, RecordError> {
        let mut fold = Self {
            history: History::planned(manifest.metadata.planned_test_count),
            events: VecDeque::new(),
            ids: Vec::new(),
        };
        let mut sessions = manifest.sessions.iter().peekable();
        while let Some(session) = sessions.next() {
            fold.expect_rerun(session)?;
            let next = sessions.peek().map_or(u64::MAX, |next| next.from_seq);
            if session.reason == Some(Reason::Crashed) && !session.in_flight.is_empty() {
                fold.expect(next, What::Death(&session.in_flight));
            }
        }
        if let Some(rerun) = rerun {
            fold.select(u64::MAX, rerun)?;
        }
        Ok(fold)
    }

    fn expect_rerun(&mut self, session: &Session) -> Result<(), RecordError> {
        match &session.rerun {
            Some(text) => {
                let rerun = text.parse().map_err(RecordError::Rerun)?;
                self.select(session.from_seq, &rerun)
            }
            None => Ok(()),
        }
    }

    fn select(&mut self, after: u64, rerun: &Rerun) -> Result<(), RecordError> {
        let what = match rerun.selector()? {
            Selector::Outcomes(outcomes) => What::Outcomes(outcomes),
            Selector::Ids(glob) => {
                let trials = self.history.state.counts().planned;
                let length = usize::try_from(trials).expect("a plan fits into memory");
                self.ids.push((glob, vec![false; length]));
                What::Ids(self.ids.len() - 1)
            }
        };
        self.expect(after, what);
        Ok(())
    }

    fn expect(&mut self, after: u64, what: What<'a>) {
        self.events.push_back(Event { after, what });
    }

    fn read<T>(&mut self, rows: Rows<T>, take: fn(&mut Self, T)) -> Result<(), RecordError> {
        for row in rows {
            match row {
                Ok(row) => take(self, row),
                Err(damage @ LineError::Damaged { .. }) => {
                    tracing::warn!("{damage}");
                    self.history.damaged_lines += 1;
                }
                Err(LineError::Io(source)) => return Err(RecordError::io("read rows")(source)),
            }
        }
        Ok(())
    }

    fn named_row(&mut self, (brief, trial): (Brief, String)) {
        let ordinal = usize::try_from(brief.mark.key.ordinal).unwrap_or(usize::MAX);
        for (glob, is_meant) in &mut self.ids {
            if let Some(is_meant) = is_meant.get_mut(ordinal) {
                *is_meant = *is_meant || rerun::is_meant(glob, &trial);
            }
        }
        self.row(brief);
    }

    fn row(&mut self, brief: Brief) {
        while let Some(event) = self.events.pop_front_if(|event| event.after < brief.seq) {
            self.happen(&event);
        }
        let history = &mut self.history;
        history.last_seq = history.last_seq.max(brief.seq);
        let is_new = history.state.replay(brief.mark) == Accepted::New;
        if is_new && !history.deaths.is_empty() && brief.mark.outcome != Outcome::Stopped {
            history.deaths.remove(&brief.mark.key.ordinal);
        }
    }

    fn finish(mut self) -> History {
        while let Some(event) = self.events.pop_front() {
            self.happen(&event);
        }
        self.history
    }

    fn happen(&mut self, event: &Event<'_>) {
        let history = &mut self.history;
        match event.what {
            What::Death(in_flight) => history.die(in_flight, event.after == u64::MAX),
            What::Outcomes(outcomes) => history.reopen(|state, ordinal| {
                let outcome = state.outcome(ordinal);
                outcome.is_some_and(|outcome| outcomes.contains(&outcome))
            }),
            What::Ids(index) => {
                let is_meant = &self.ids[index].1;
                history.reopen(|_, ordinal| is_meant[ordinal as usize]);
            }
        }
    }
}

impl History {
    fn die(&mut self, in_flight: &[(u64, u32)], is_latest: bool) {
        for &(ordinal, number) in in_flight {
            let key = AttemptKey { ordinal, number };
            if !self.is_unrecorded(key) {
                continue;
            }
            *self.deaths.entry(ordinal).or_default() += 1;
            if is_latest {
                self.unrecorded.push(key);
            }
        }
    }

    /// Tells whether an attempt may have been begun, and has no row.
    pub(super) fn is_unrecorded(&self, key: AttemptKey) -> bool {
        self.state.is_pending(key.ordinal) && self.state.attempts(key.ordinal) < key.number
    }

    fn reopen(&mut self, is_selected: impl Fn(&State, u64) -> bool) {
        for ordinal in 0..self.state.counts().planned {
            if is_selected(&self.state, ordinal) {
                self.state.reopen(ordinal);
            }
        }
    }
}
