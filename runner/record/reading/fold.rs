//! The one fold over rows and sessions, for readers, sweep and resume alike.

use std::{collections::VecDeque, ops::Range};

use super::{
    briefs::take_briefs,
    history::{History, NextSession, died_with},
    lines::{LineError, Rows, RowsLine},
    missing::MissingRows,
    row_files::RowFiles,
    state::{Accepted, State},
    trial_set::TrialSet,
};
use crate::{
    model::{Counts, Outcome},
    record::{
        disk::layout::RunDir,
        error::RecordError,
        format::{
            brief::{self, Brief, BriefKind},
            manifest::{Manifest, ManifestSession},
            rerun::{self, Rerun, Selector},
        },
    },
};

/// Reads all rows and lets the sessions of the manifest happen between them, and at last one that is opened now.
pub(in crate::record) fn fold(
    dir: &RunDir,
    manifest: &Manifest,
    asked: NextSession<'_>,
) -> Result<History, RecordError> {
    let mut fold = Fold::new(manifest, asked)?;
    if fold.ids.is_empty() {
        let files = RowFiles::open(dir).map_err(RecordError::io("read rows"))?;
        let taken = take_briefs(&files, |line| match line {
            Ok(brief) => fold.row(brief),
            Err(damage) => fold.damaged_by(&damage),
        });
        if !taken.map_err(RecordError::io("read rows"))? {
            fold.read(Rows::new(dir, brief::decode_brief), Fold::row)?;
        }
    } else {
        fold.read(Rows::new(dir, brief::decode_named), Fold::named_row)?;
    }
    Ok(fold.finish())
}

pub(in crate::record) struct Fold<'a> {
    history: History,
    /// What happened between rows, in order.
    events: VecDeque<SessionEvent<'a>>,
    /// For every selection by id, which trials it means.
    ids: Vec<(globset::GlobMatcher, TrialSet)>,
    /// Which trials each session opened again.
    reopened: Vec<Reopened>,
    /// How many final rows the manifest counts: those that were there when its latest session was opened or closed. While it
    /// lasts they only become more.
    counted: u64,
    /// The latest session.
    latest: u32,
}

/// Which trials a session opened again: its number, and ranges of ordinals without their ends.
pub(in crate::record) type Reopened = (u32, Vec<Range<u64>>);

/// Something that happened after the row with number `after` and before the next one.
struct SessionEvent<'a> {
    after: u64,
    session: u32,
    what: SessionEffect<'a>,
}

enum SessionEffect<'a> {
    Death(&'a [(u64, u32)]),
    GradingDeath(&'a [(u64, u32)]),
    Outcomes(&'static [Outcome]),
    Ordinals(Vec<Range<u64>>),
    /// Its place in `ids`.
    Ids(usize),
}

impl<'a> Fold<'a> {
    pub(in crate::record) fn new(
        manifest: &'a Manifest,
        asked: NextSession<'_>,
    ) -> Result<Self, RecordError> {
        let planned = asked
            .planned
            .unwrap_or(manifest.metadata.planned_test_count);
        let mut fold = Self {
            history: History::planned(planned),
            events: VecDeque::new(),
            ids: Vec::new(),
            reopened: Vec::new(),
            counted: Counts::from(manifest.counts).done(),
            latest: manifest.session(),
        };
        let mut sessions = manifest.sessions.iter().peekable();
        while let Some(session) = sessions.next() {
            fold.expect_rerun(session)?;
            let next = sessions.peek().map_or(u64::MAX, |next| next.from_seq);
            let died_with = died_with(session);
            if !died_with.is_empty() {
                fold.expect(next, session.n, SessionEffect::Death(died_with));
            }
            if !session.grading.is_empty() {
                fold.expect(
                    next,
                    session.n,
                    SessionEffect::GradingDeath(&session.grading),
                );
            }
        }
        if let Some(rerun) = asked.rerun {
            fold.select(u64::MAX, manifest.session() + 1, rerun)?;
        }
        Ok(fold)
    }

    fn expect_rerun(&mut self, session: &ManifestSession) -> Result<(), RecordError> {
        match &session.rerun {
            Some(text) => {
                let rerun = text.parse().map_err(RecordError::Rerun)?;
                self.select(session.from_seq, session.n, &rerun)
            }
            None => Ok(()),
        }
    }

    fn select(&mut self, after: u64, session: u32, rerun: &Rerun) -> Result<(), RecordError> {
        let what = match rerun.selector()? {
            Selector::Outcomes(outcomes) => SessionEffect::Outcomes(outcomes),
            Selector::Ordinals(ranges) => SessionEffect::Ordinals(ranges),
            Selector::Ids(glob) => {
                self.ids.push((glob, TrialSet::default()));
                SessionEffect::Ids(self.ids.len() - 1)
            }
        };
        self.expect(after, session, what);
        Ok(())
    }

    fn expect(&mut self, after: u64, session: u32, what: SessionEffect<'a>) {
        self.events.push_back(SessionEvent {
            after,
            session,
            what,
        });
    }

    fn read<T>(&mut self, mut rows: Rows<T>, take: fn(&mut Self, T)) -> Result<(), RecordError> {
        while let Some(row) = rows.next_line() {
            match row {
                Ok(RowsLine::Attempt(row)) => take(self, row),
                Ok(RowsLine::Judgement(judgement)) => self.row(judgement),
                Err(damage @ LineError::Damaged { .. }) => self.damaged_by(&damage),
                Err(LineError::Io(source)) => return Err(RecordError::io("read rows")(source)),
            }
        }
        Ok(())
    }

    /// What is known so far, if this is a trial of the plan.
    pub(in crate::record) fn planned(&self, ordinal: u64) -> Option<&State> {
        let state = &self.history.state;
        (ordinal < state.counts().planned).then_some(state)
    }

    fn damaged_by(&mut self, damage: &LineError) {
        tracing::warn!("{damage}");
        self.damaged();
    }

    /// Counts a line that gives no row.
    pub(in crate::record) fn damaged(&mut self) {
        self.history.damaged_lines += 1;
    }

    /// Takes what of a row decides state, with its trial's id.
    pub(in crate::record) fn named_row<T: AsRef<str>>(&mut self, (brief, trial): (Brief, T)) {
        let ordinal = brief.mark.key.ordinal;
        let is_planned = self.planned(ordinal).is_some();
        for (glob, meant) in self.ids.iter_mut().filter(|_| is_planned) {
            if !meant.contains(ordinal) && rerun::is_meant(glob, trial.as_ref()) {
                meant.insert(ordinal);
            }
        }
        self.row(brief);
    }

    /// Takes what of a row, or of a judgement, decides state.
    pub(in crate::record) fn row(&mut self, brief: Brief) {
        while let Some(event) = self.events.pop_front_if(|event| event.after < brief.seq) {
            self.happen(&event);
        }
        let history = &mut self.history;
        history.last_seq = history.last_seq.max(brief.seq);
        history.version = history.version.max(brief.version);
        let accepted = match brief.kind {
            BriefKind::Attempt => history.state.replay(brief.mark),
            BriefKind::Judgement { .. } => history.state.judged(brief.mark),
        };
        let is_new = accepted == Accepted::New;
        if is_new && !history.deaths.is_empty() && brief.mark.outcome != Outcome::Stopped {
            history.deaths.remove(&brief.mark.key.ordinal);
        }
        if is_new && !history.grading_deaths.is_empty() {
            history.grading_deaths.remove(&brief.mark.key.ordinal);
        }
    }

    pub(in crate::record) fn finish(self) -> History {
        self.finish_traced().0
    }

    /// The same, and which trials each session opened again.
    pub(in crate::record) fn finish_traced(mut self) -> (History, Vec<Reopened>) {
        let latest = self.latest;
        while let Some(event) = (self.events).pop_front_if(|event| event.session <= latest) {
            self.happen(&event);
        }
        // Only now: a session that is opened now may make trials pending again that were counted.
        let counted = self.counted;
        let missing = counted.saturating_sub(self.history.state.counts().done());
        self.history.missing = (missing > 0).then_some(MissingRows { counted, missing });
        while let Some(event) = self.events.pop_front() {
            self.happen(&event);
        }
        (self.history, self.reopened)
    }

    fn happen(&mut self, event: &SessionEvent<'_>) {
        let history = &mut self.history;
        let reopened = match &event.what {
            SessionEffect::Death(in_flight) => {
                history.die(in_flight, event.after == u64::MAX);
                return;
            }
            SessionEffect::GradingDeath(grading) => {
                history.die_grading(grading);
                return;
            }
            SessionEffect::Outcomes(outcomes) => history.reopen(|state, ordinal| {
                let outcome = state.outcome(ordinal);
                outcome.is_some_and(|outcome| outcomes.contains(&outcome))
            }),
            SessionEffect::Ordinals(ranges) => {
                let planned = history.state.counts().planned;
                let ordinals = ranges.iter().cloned().flatten();
                for ordinal in ordinals.take_while(|ordinal| *ordinal < planned) {
                    history.state.reopen(ordinal);
                }
                ranges.clone()
            }
            SessionEffect::Ids(index) => {
                let meant = &self.ids[*index].1;
                history.reopen(|_, ordinal| meant.contains(ordinal))
            }
        };
        self.reopened.push((event.session, reopened));
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, path::Path};

    use fs_err::OpenOptions;
    use proptest::prelude::*;

    use super::{History, NextSession, fold};
    use crate::{
        model::{Outcome, Reason},
        record::{
            Accepted, AttemptKey, Entry, JudgementLine, Manifest, Mark, Rerun, Row, State, accept,
            disk::layout::RunDir,
            format::{manifest::NewSession, row::RowPlace},
            testing::{end, entry, fast_directory, finished_run, judgement, now},
        },
    };

    const TRIALS: u64 = 5;

    /// A run as the simulation leads it, with its rows in a real file.
    struct Run {
        manifest: Manifest,
        dir: RunDir,
        index: fs_err::File,
        rows: Vec<(u32, Happened)>,
        /// The oracle's.
        deaths: [u32; TRIALS as usize],
    }

    /// What a line says, as the oracle has it.
    #[derive(Clone, Copy)]
    struct Happened {
        mark: Mark,
        is_judgement: bool,
    }

    impl Run {
        fn new(directory: &Path) -> Self {
            let mut manifest = finished_run(directory).manifest;
            manifest.metadata.planned_test_count = TRIALS;
            manifest.sessions.clear();
            let dir = RunDir::new(directory);
            Self {
                manifest,
                index: OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(dir.index())
                    .unwrap(),
                dir,
                rows: Vec::new(),
                deaths: [0; TRIALS as usize],
            }
        }

        fn history(&self, rerun: Option<&Rerun>) -> History {
            let asked = NextSession {
                rerun,
                planned: None,
            };
            fold(&self.dir, &self.manifest, asked).unwrap()
        }

        fn open(&mut self, rerun: Option<&Rerun>) -> State {
            let state = self.history(rerun).state;
            self.manifest.status = crate::model::RunStatus::Incomplete;
            let session = NewSession {
                now: now(),
                opened_by: "resume",
                rerun: rerun.map(ToString::to_string),
                is_forced: false,
                from_seq: self.rows.len() as u64,
            };
            self.manifest.reopen(session).unwrap();
            assert_eq!(self.history(None).state.counts(), state.counts());
            state
        }

        fn write(&mut self, live: &mut State, entry: &Entry) {
            let session = self.manifest.session();
            let seq = self.rows.len() as u64 + 1;
            let mut line = Vec::new();
            Row::new(entry, RowPlace { seq, session }).encode(&mut line);
            std::io::Write::write_all(&mut self.index, &line).unwrap();
            live.written(entry.mark());
            if entry.attempt.outcome != Outcome::Stopped {
                self.deaths[entry.attempt.ordinal as usize] = 0;
            }
            let happened = Happened {
                mark: entry.mark(),
                is_judgement: false,
            };
            self.rows.push((session, happened));
        }

        fn judge(&mut self, live: &mut State, mark: Mark) {
            let session = self.manifest.session();
            let is_of = |(_, row): &(u32, Happened)| !row.is_judgement && row.mark.key == mark.key;
            let of = self.rows.iter().position(is_of).unwrap() as u64 + 1;
            let seq = self.rows.len() as u64 + 1;
            let mut line = Vec::new();
            JudgementLine::new(&judgement(of, mark), RowPlace { seq, session }).encode(&mut line);
            std::io::Write::write_all(&mut self.index, &line).unwrap();
            assert_eq!(live.judged(mark), Accepted::New);
            self.deaths[mark.key.ordinal as usize] = 0;
            let happened = Happened {
                mark,
                is_judgement: true,
            };
            self.rows.push((session, happened));
        }

        /// Tells whether a trial's latest line is an attempt that has yet to be graded.
        fn is_ungraded(&self, ordinal: u64) -> bool {
            let mut rows = self.rows.iter().rev();
            let latest = rows.find(|(_, row)| row.mark.key.ordinal == ordinal);
            latest.is_some_and(|(_, row)| row.mark.outcome == Outcome::Ungraded)
        }

        fn close(&mut self, reason: Reason, in_flight: Vec<(u64, u32)>) {
            let mut end = end(crate::model::RunStatus::Incomplete, TRIALS);
            end.reason = Some(reason);
            self.manifest.sessions.last_mut().unwrap().in_flight = in_flight;
            self.manifest.close("sweep", end.now, &end).unwrap();
        }

        /// What a trial came to, straight from the definition.
        fn outcome(&self, ordinal: u64) -> Option<Outcome> {
            let (n, Happened { mark, .. }) = self
                .rows
                .iter()
                .rev()
                .find(|(_, row)| row.mark.is_final && row.mark.key.ordinal == ordinal)?;
            let is_pending_again = self.manifest.sessions.iter().any(|session| {
                let rerun = session.rerun.as_deref().unwrap_or("none");
                session.n > *n && is_meant(rerun, *mark)
            });
            (!is_pending_again).then_some(mark.outcome)
        }

        fn check(&self, live: &State) {
            let history = self.history(None);
            assert_eq!(history.state.counts(), live.counts());
            assert_eq!(history.state.is_complete(), live.is_complete());
            assert_eq!(history.last_seq, self.rows.len() as u64);
            for ordinal in 0..TRIALS {
                let outcome = self.outcome(ordinal);
                assert_eq!(history.state.outcome(ordinal), outcome);
                assert_eq!(live.outcome(ordinal), outcome);
                let is_ungraded = self.is_ungraded(ordinal);
                assert_eq!(history.state.is_ungraded(ordinal), is_ungraded);
                assert_eq!(live.is_ungraded(ordinal), is_ungraded);
                let is_pending = outcome.is_none() && !is_ungraded;
                assert_eq!(history.state.is_pending(ordinal), is_pending);
            }
        }

        fn check_deaths(&self) {
            let deaths = self.history(None).deaths;
            for (ordinal, expected) in (0..).zip(self.deaths) {
                assert_eq!(deaths.get(&ordinal).copied().unwrap_or(0), expected);
            }
        }
    }

    fn is_meant(rerun: &str, mark: Mark) -> bool {
        let outcome = mark.outcome;
        match rerun {
            "all" => true,
            "failed" => outcome.is_bad(),
            "errors" => outcome.is_bad() && outcome != Outcome::Failed,
            "test-[0-2]" => mark.key.ordinal <= 2,
            "*@echo#1" => true,
            _ => false,
        }
    }

    /// One thing that may happen in a session; what cannot happen at its time is left out.
    #[derive(Clone, Debug)]
    enum Event {
        Assign(u64),
        /// A report of the attempt that is under way, and whether another attempt follows.
        Report(u64, Outcome, bool),
        /// The oldest row on its way arrives on disk.
        Write,
        /// A judgement of what has yet to be graded, or is judged again, and whether another attempt follows.
        Judge(u64, Outcome, bool),
    }

    #[derive(Clone, Debug)]
    struct Schedule {
        rerun: Option<Rerun>,
        events: Vec<Event>,
        is_killed: bool,
    }

    fn schedule() -> impl Strategy<Value = Schedule> {
        let outcome = prop::sample::select(Outcome::ALL.to_vec());
        let judged = prop::sample::select(Outcome::ALL[..5].to_vec());
        let event = prop_oneof![
            3 => (0..TRIALS).prop_map(Event::Assign),
            3 => (0..TRIALS, outcome, any::<bool>())
                .prop_map(|(ordinal, outcome, retry)| Event::Report(ordinal, outcome, retry)),
            2 => Just(Event::Write),
            2 => (0..TRIALS, judged, any::<bool>())
                .prop_map(|(ordinal, outcome, retry)| Event::Judge(ordinal, outcome, retry)),
        ];
        let reruns = ["failed", "errors", "all", "test-[0-2]", "*@echo#1"];
        let rerun = prop::option::of(prop::sample::select(reruns.to_vec()));
        (rerun, prop::collection::vec(event, 0..40), any::<bool>()).prop_map(
            |(rerun, events, is_killed)| Schedule {
                rerun: rerun.map(|text| text.parse().unwrap()),
                events,
                is_killed,
            },
        )
    }

    fn play(run: &mut Run, schedule: &Schedule) {
        let mut live = run.open(schedule.rerun.as_ref());
        let mut under_way = [None; TRIALS as usize];
        let mut is_settled = [false; TRIALS as usize];
        let mut on_its_way = VecDeque::new();
        for event in &schedule.events {
            match *event {
                Event::Assign(ordinal) => {
                    let index = ordinal as usize;
                    let is_free = under_way[index].is_none() && !is_settled[index];
                    if is_free && !live.is_ungraded(ordinal) && live.outcome(ordinal).is_none() {
                        under_way[index] = Some(live.assign(ordinal));
                    }
                }
                Event::Report(ordinal, outcome, is_retried) => {
                    let Some(number) = under_way[ordinal as usize].take() else {
                        continue;
                    };
                    let key = AttemptKey { ordinal, number };
                    assert_eq!(accept(&mut live, key), Accepted::New);
                    let mut entry = entry(ordinal, number, outcome);
                    entry.is_final &= !is_retried;
                    entry.is_flaky = entry.is_final && outcome == Outcome::Passed && number > 1;
                    is_settled[ordinal as usize] = entry.is_final || outcome == Outcome::Ungraded;
                    on_its_way.push_back(entry);
                }
                Event::Write => {
                    if let Some(entry) = on_its_way.pop_front() {
                        run.write(&mut live, &entry);
                        run.check(&live);
                    }
                }
                Event::Judge(ordinal, outcome, is_retried) => {
                    let is_ungraded = live.is_ungraded(ordinal);
                    if is_ungraded || live.outcome(ordinal).is_some() {
                        let mark = Mark {
                            key: AttemptKey {
                                ordinal,
                                number: live.attempts(ordinal),
                            },
                            outcome,
                            is_final: !(is_ungraded && is_retried),
                            is_flaky: false,
                        };
                        run.judge(&mut live, mark);
                        is_settled[ordinal as usize] = mark.is_final;
                        run.check(&live);
                    }
                }
            }
        }

        let begun = (0..).zip(under_way);
        let in_flight: Vec<_> = begun
            .filter_map(|(ordinal, number)| Some((ordinal, number?)))
            .collect();
        if schedule.is_killed {
            for (ordinal, _) in &in_flight {
                run.deaths[*ordinal as usize] += 1;
            }
            run.close(Reason::Crashed, in_flight);
        } else {
            for entry in on_its_way {
                run.write(&mut live, &entry);
            }
            for (ordinal, number) in in_flight {
                accept(&mut live, AttemptKey { ordinal, number });
                run.write(&mut live, &entry(ordinal, number, Outcome::Stopped));
            }
            run.check(&live);
            run.close(Reason::Stopped, Vec::new());
        }
        run.check_deaths();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn the_live_state_is_the_fold_over_any_sessions_reruns_and_deaths(
            schedules in prop::collection::vec(schedule(), 1..6),
        ) {
            let directory = fast_directory();
            let mut run = Run::new(directory.path());
            for schedule in &schedules {
                play(&mut run, schedule);
            }
        }
    }

    #[test]
    fn deaths_in_a_row_are_counted_until_an_attempt_gets_through() {
        let directory = tempfile::tempdir().unwrap();
        let mut run = Run::new(directory.path());
        for expected in 1..=3 {
            run.open(None);
            run.close(Reason::Crashed, vec![(1, 1), (4, 1)]);
            let history = run.history(None);
            assert_eq!(history.deaths[&1], expected);
            let unrecorded: Vec<_> = history.unrecorded.iter().map(|key| key.ordinal).collect();
            assert_eq!(unrecorded, [1, 4]);
        }

        let mut live = run.open(None);
        let number = live.assign(1);
        accept(&mut live, AttemptKey { ordinal: 1, number });
        run.write(&mut live, &entry(1, number, Outcome::Error));
        // Its slot still names the attempt that has a row.
        run.close(Reason::Crashed, vec![(1, number)]);
        let history = run.history(None);
        assert_eq!(history.deaths.get(&1), None);
        assert_eq!(history.deaths[&4], 3);
        assert_eq!(history.unrecorded, []);
    }
}
