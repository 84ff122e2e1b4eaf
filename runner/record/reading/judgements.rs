//! [`Judgements`]: where the judgements are that stand apart from their attempts.

use std::io;

use super::{read_line::LineEnd, row_files::RowFiles};
use crate::{
    model::Outcome,
    record::format::{
        brief::{self, BriefKind},
        cells::RowCells,
        glance::RowGlance,
        judgement::{JudgementLine, is_judgement},
        mark::AttemptKey,
        row::Row,
        row_parts::RowGrade,
    },
};

/// The newest judgement of each attempt that has one: its place only, because there may be as many as there are attempts.
pub(in crate::record) struct Judgements {
    files: RowFiles,
    /// By the attempt's line.
    places: Vec<JudgementPlace>,
    /// The same of those that keep answers of some graders, whatever else was judged before.
    parts: Vec<JudgementPlace>,
    /// How much of the files was read: what came meanwhile is of another moment.
    end: u64,
}

#[derive(Clone, Copy)]
struct JudgementPlace {
    of: u64,
    is_final: bool,
    at: u64,
    bytes: u32,
}

/// Bytes of the files around a judgement: those of attempts that follow each other mostly do so, too.
#[derive(Default)]
pub struct JudgementWindow {
    at: u64,
    bytes: Vec<u8>,
}

/// What is read of an attempt's line, as far as a judgement can stand for it.
pub(in crate::record) trait Judged {
    /// The line's place in the run, and whose it is.
    fn place(&self) -> (u64, AttemptKey);

    /// Lets a judgement stand for what the attempt was taken for until then.
    fn judge(&mut self, by: JudgementLine<'static>);
}

impl Judged for Row<'static> {
    fn place(&self) -> (u64, AttemptKey) {
        let brief = self.brief();
        (brief.seq, brief.mark.key)
    }

    fn judge(&mut self, by: JudgementLine<'static>) {
        Self::judge(self, by);
    }
}

impl Judged for RowCells<'_> {
    fn place(&self) -> (u64, AttemptKey) {
        let brief = self.brief();
        (brief.seq, brief.mark.key)
    }

    fn judge(&mut self, by: JudgementLine<'static>) {
        Self::judge(self, by);
    }
}

impl Judged for RowGlance {
    fn place(&self) -> (u64, AttemptKey) {
        let brief = self.brief();
        (brief.seq, brief.mark.key)
    }

    fn judge(&mut self, by: JudgementLine<'static>) {
        Self::judge(self, &by);
    }
}

impl Judgements {
    /// Looks for all of them; damaged lines are passed over.
    pub(in crate::record) fn find(files: &RowFiles) -> io::Result<Self> {
        let end = files.length()?;
        let mut lines = files.clone().lines_to(end);
        let mut places = Vec::new();
        let mut parts = Vec::new();
        let mut line = Vec::new();
        while let Some(line_end) = lines.next(&mut line)? {
            if is_judgement(&line)
                && let Ok(brief) = brief::decode_brief(&line)
                && let BriefKind::Judgement { of } = brief.kind
            {
                let place = JudgementPlace {
                    of,
                    is_final: brief.mark.is_final,
                    at: lines.begin(),
                    bytes: u32::try_from(line.len()).expect("a line is bounded"),
                };
                places.push(place);
                if brief.mark.outcome == Outcome::Ungraded {
                    parts.push(place);
                }
            }
            if line_end == LineEnd::File {
                break;
            }
        }
        Ok(Self {
            files: files.clone(),
            places: newest(places),
            parts: newest(parts),
            end,
        })
    }

    /// How much of the files was read, in bytes.
    pub(in crate::record) fn end(&self) -> u64 {
        self.end
    }

    /// The newest judgement of the attempt with this line.
    pub(in crate::record) fn of(
        &self,
        (seq, key): (u64, AttemptKey),
    ) -> io::Result<Option<JudgementLine<'static>>> {
        match find(&self.places, seq) {
            Some(place) => self.read(place, key),
            None => Ok(None),
        }
    }

    /// What graders have answered of the attempt with this line since it was judged last, if others were still to be asked.
    pub(in crate::record) fn answers_of(
        &self,
        (seq, key): (u64, AttemptKey),
    ) -> io::Result<Vec<RowGrade<'static>>> {
        let judged_at = find(&self.places, seq).map(|place| place.at);
        let part = find(&self.parts, seq).filter(|part| Some(part.at) >= judged_at);
        let part = part.map(|part| self.read(part, key)).transpose()?;
        Ok(part.flatten().map(|part| part.grades).unwrap_or_default())
    }

    /// The line of that, as it is written.
    pub(in crate::record) fn line_of<'w>(
        &self,
        seq: u64,
        window: &'w mut JudgementWindow,
    ) -> io::Result<Option<&'w [u8]>> {
        match find(&self.places, seq) {
            Some(place) => window.read(&self.files, place, self.end).map(Some),
            None => Ok(None),
        }
    }

    fn read(
        &self,
        place: &JudgementPlace,
        key: AttemptKey,
    ) -> io::Result<Option<JudgementLine<'static>>> {
        let mut line = vec![0; place.bytes as usize];
        self.files.read_exact_at(&mut line, place.at)?;
        let judgement = JudgementLine::decode(&line).map_err(io::Error::other)?;
        // What names another attempt than the line's is damage, and means nothing.
        Ok(Some(judgement).filter(|judgement| judgement.brief().mark.key == key))
    }
}

impl JudgementWindow {
    /// More would be read in vain where judgements are in another order than attempts.
    const BYTES: u64 = 8 * 1024;

    fn read(&mut self, files: &RowFiles, place: &JudgementPlace, end: u64) -> io::Result<&[u8]> {
        let length = place.bytes as usize;
        let inside = |window: &Self| {
            let from = usize::try_from(place.at.checked_sub(window.at)?).ok()?;
            let to = from.checked_add(length)?;
            (to <= window.bytes.len()).then_some(from..to)
        };
        let range = match inside(self) {
            Some(range) => range,
            None => {
                let bytes = Self::BYTES.min(end - place.at).max(u64::from(place.bytes));
                self.bytes.resize(bytes as usize, 0);
                self.at = place.at;
                files.read_exact_at(&mut self.bytes, place.at)?;
                0..length
            }
        };
        Ok(&self.bytes[range])
    }
}

/// The newest one of each attempt: none takes back what has settled its trial.
fn newest(mut places: Vec<JudgementPlace>) -> Vec<JudgementPlace> {
    places.sort_by_key(|place| (place.of, place.is_final, place.at));
    places.dedup_by(|later, kept| {
        let is_same = later.of == kept.of;
        if is_same {
            std::mem::swap(later, kept);
        }
        is_same
    });
    places
}

fn find(places: &[JudgementPlace], of: u64) -> Option<&JudgementPlace> {
    let index = places.binary_search_by_key(&of, |place| place.of).ok()?;
    places.get(index)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::{
        model::{CheckVerdict, Digest, Grade, Metric, Outcome, Usage},
        record::{
            AttemptKey, Claim, JudgementEntry, Mark, Opening, Rerun, Row, RowCells, RunReader,
            Tally, Verification, Wanted,
            testing::{claim, crashed_run, entry, ignore, judgement, now},
        },
    };

    fn mark(ordinal: u64, number: u32, outcome: Outcome) -> Mark {
        Mark {
            key: AttemptKey { ordinal, number },
            outcome,
            is_final: true,
            is_flaky: false,
        }
    }

    /// Lets a session of its own judge, as far as it comes.
    fn judge(claim: Claim, judgements: Vec<JudgementEntry>) {
        let history = claim.history(Default::default()).unwrap();
        let opening = Opening {
            now: now(),
            opened_by: "rescore",
            rerun: Some(Rerun::Judgements),
            counts: history.state.counts(),
            is_forced: false,
            options: claim.manifest().options.clone(),
            replanned: None,
            is_judged_apart: true,
        };
        let recorder = claim.open(opening, ignore).unwrap();
        recorder.judge(judgements);
        // As if the process had died.
        drop(recorder);
    }

    fn grade(grader: &str, cost: f64) -> Grade {
        Grade {
            grader: grader.to_owned(),
            verdict: Some(CheckVerdict::Pass),
            own_verdict: None,
            score: Some(0.75),
            least: None,
            asked: Some(Digest::of(grader.as_bytes())),
            explanation: None,
            is_kept: false,
            metrics: vec![Metric {
                name: "cost".into(),
                value: cost,
                unit: None,
            }],
            usage: Usage::default(),
            attempts: 1,
            duration: std::time::Duration::from_millis(3),
            error: None,
            log: Vec::new(),
            stdout: String::new(),
            stderr: String::new(),
        }
    }

    fn rows(dir: &Path) -> Vec<Row<'static>> {
        let reader = RunReader::open(dir).unwrap();
        reader.rows().map(Result::unwrap).collect()
    }

    #[test]
    fn the_newest_judgement_of_an_attempt_stands_for_what_its_line_says() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![
            entry(0, 1, Outcome::Passed),
            entry(1, 1, Outcome::Ungraded),
            entry(2, 1, Outcome::Failed),
        ];
        let dir = crashed_run(directory.path(), 4, entries);
        let mut graded = judgement(2, mark(1, 1, Outcome::Failed));
        graded.grades = vec![Grade {
            grader: "judge".into(),
            verdict: Some(CheckVerdict::Fail),
            own_verdict: None,
            score: Some(0.2),
            least: Some(0.5),
            asked: None,
            explanation: Some("beside the point".into()),
            is_kept: false,
            metrics: Vec::new(),
            usage: Usage::default(),
            attempts: 2,
            duration: std::time::Duration::from_millis(3),
            error: None,
            log: Vec::new(),
            stdout: String::new(),
            stderr: "it took a while".into(),
        }];
        let first = judgement(3, mark(2, 1, Outcome::Error));
        let second = judgement(3, mark(2, 1, Outcome::Passed));
        judge(claim(&dir).unwrap(), vec![graded, first, second]);

        let read = rows(&dir);
        let outcomes: Vec<_> = read.iter().map(|row| (row.seq, row.outcome)).collect();
        assert_eq!(
            outcomes,
            [
                (1, Outcome::Passed),
                (2, Outcome::Failed),
                (3, Outcome::Passed)
            ]
        );
        assert_eq!((read[0].judged, read[2].judged.unwrap().seq), (None, 6));
        assert_eq!((read[1].v, read[1].is_final), (3, true));
        assert_eq!(
            read[1].grades[0].explanation.as_deref(),
            Some("beside the point")
        );
        assert_eq!(read[1].output, read[0].output);
        assert_ne!(read[1].judgement_fingerprint, read[0].judgement_fingerprint);

        let reader = RunReader::open(&dir).unwrap();
        let state = reader.state().unwrap();
        assert_eq!((state.counts().passed, state.counts().failed), (2, 1));
        assert_eq!(state.next_pending(0), Some(3));
        let glance = reader.results_at_a_glance(|_| Wanted::Yes, |error| panic!("{error}"));
        let whole = reader.results(|_| Wanted::Yes, |error| panic!("{error}"));
        let (glance, whole) = (glance.unwrap(), whole.unwrap());
        assert_eq!((&glance.rows, &whole.rows), (&read, &read));
        assert_eq!(glance.tally, whole.tally);
        let shown =
            |trial: &str, outcome, score, attempt| (trial.to_owned(), outcome, score, attempt);
        let ignore = |error: &dyn std::error::Error| panic!("{error}");
        let of_row = |row: &Row<'_>| shown(&row.trial, row.outcome, row.score, row.attempt);
        let of_cells = |row: &RowCells<'_>| shown(&row.trial, row.outcome, row.score, row.attempt);
        let mut by_cells = Vec::new();
        let settled = reader.settled_rows(|row| row.attempt, ignore).unwrap();
        settled
            .read(0..4, |_, row| {
                by_cells.push(row.map(of_cells));
                Ok(())
            })
            .unwrap();
        let (_, by_row) = reader.settled(of_row, ignore).unwrap();
        // The first one has measured nothing and was not judged again.
        assert_eq!(settled.kinds().collect::<Vec<_>>(), [0, 1, 1]);
        assert!(by_row.into_iter().eq(by_cells.iter().cloned()));
        assert_eq!(by_cells.into_iter().flatten().count(), 3);
        let mut counts = state.counts();
        counts.planned = counts.done();
        assert_eq!(glance.tally.counts(), counts);
        let failures = Tally::of_run(&reader, |_| {}).unwrap().failures;
        assert_eq!(failures, [read[1].clone()]);
        let mut named = reader.named_rows();
        assert_eq!(
            named
                .next_of(|trial| trial == "test-2@echo#1")
                .unwrap()
                .unwrap(),
            read[2]
        );

        // Whoever follows sees an attempt once more when it is graded, and judged again it is no news.
        let mut tail = reader.tail().unwrap();
        let seen = std::iter::from_fn(|| tail.next_row()).map(|row| row.unwrap().outcome);
        let seen: Vec<_> = seen.collect();
        let (passed, failed) = (Outcome::Passed, Outcome::Failed);
        assert_eq!(seen, [passed, Outcome::Ungraded, failed, failed]);

        // What is gone on with is repaired and closed as ever, and nothing is wrong with it.
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().format, 2);
        let counts = &claimed.manifest().counts;
        assert_eq!((counts.passed, counts.failed), (2, 1));
        drop(claimed);
        let verified = Verification::of(&dir, |_| |_| None).unwrap();
        let damages = verified.damages.iter().map(|damage| &*damage.problem);
        assert!(
            damages.clone().all(|problem| problem == "is missing"),
            "{verified:?}"
        );
        assert_eq!(verified.rows, 6);
    }

    #[test]
    fn answers_before_others_are_asked_settle_nothing_and_are_there_for_whoever_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![
            entry(0, 1, Outcome::Ungraded),
            entry(1, 1, Outcome::Passed),
            entry(2, 1, Outcome::Ungraded),
        ];
        let dir = crashed_run(directory.path(), 3, entries);
        let part = |of, ordinal, cost: f64| {
            let mut part = judgement(of, mark(ordinal, 1, Outcome::Ungraded));
            part.mark.is_final = false;
            part.grades = vec![grade("first", cost)];
            part
        };
        let mut whole = judgement(3, mark(2, 1, Outcome::Passed));
        whole.grades = vec![grade("first", 4.0), grade("second", 8.0)];
        let parts = vec![part(1, 0, 1.0), part(2, 1, 2.0), part(3, 2, 4.0), whole];
        judge(claim(&dir).unwrap(), parts);

        let reader = RunReader::open(&dir).unwrap();
        let state = reader.state().unwrap();
        assert!(state.is_ungraded(0));
        assert_eq!((state.counts().passed, state.ungraded()), (2, 1));
        let outcomes: Vec<_> = rows(&dir)
            .iter()
            .map(|row| (row.outcome, row.grades.len()))
            .collect();
        let (ungraded, passed) = (Outcome::Ungraded, Outcome::Passed);
        assert_eq!(outcomes, [(ungraded, 1), (passed, 0), (passed, 2)]);
        let attempts = reader.written_attempts().unwrap();
        let answers: Vec<_> = attempts
            .map(|attempt| attempt.unwrap().answers.len())
            .collect();
        // What was judged since says more.
        assert_eq!(answers, [1, 1, 0]);
        let mut spent = Vec::new();
        reader
            .measured(|grader, metric| spent.push((grader.to_owned(), metric.value)))
            .unwrap();
        let spent: Vec<_> = spent
            .iter()
            .map(|(grader, cost)| (&**grader, *cost))
            .collect();
        let first = |cost| ("first", cost);
        assert_eq!(spent, [first(1.0), first(2.0), first(4.0), ("second", 8.0)]);
        let mut tail = reader.tail().unwrap();
        let seen = std::iter::from_fn(|| tail.next_row()).map(|row| row.unwrap().outcome);
        let seen: Vec<_> = seen.collect();
        assert_eq!(seen, [ungraded, passed, ungraded, passed]);
        let rejudged = reader.rejudged(10).unwrap();
        assert_eq!((rejudged.count, rejudged.first[0].came_to.len()), (1, 2));
        drop(claim(&dir).unwrap());
        let verified = Verification::of(&dir, |_| |_| None).unwrap();
        let other = |problem: &str| problem != "is missing";
        let found = verified
            .damages
            .iter()
            .find(|damage| other(&damage.problem));
        assert!(found.is_none(), "{verified:?}");
    }

    #[test]
    fn a_judgement_of_nothing_is_found_and_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![entry(0, 1, Outcome::Passed), entry(1, 1, Outcome::Failed)];
        let dir = crashed_run(directory.path(), 2, entries);
        let wrong = vec![
            judgement(2, mark(0, 1, Outcome::Failed)),
            judgement(9, mark(1, 2, Outcome::Passed)),
        ];
        judge(claim(&dir).unwrap(), wrong);
        let verified = Verification::of(&dir, |_| |_| None).unwrap();
        let judges = |problem: &str| problem.starts_with("it judges row");
        let found = verified
            .damages
            .iter()
            .filter(|damage| judges(&damage.problem));
        assert_eq!(found.count(), 2, "{verified:?}");
        let outcomes: Vec<_> = rows(&dir).iter().map(|row| row.outcome).collect();
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed]);
    }

    #[test]
    fn an_older_runner_finds_no_row_in_a_judgement_and_no_outcome_in_what_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let entries = vec![entry(0, 1, Outcome::Ungraded)];
        let dir = crashed_run(directory.path(), 1, entries);
        judge(
            claim(&dir).unwrap(),
            vec![judgement(1, mark(0, 1, Outcome::Passed))],
        );
        let index = fs_err::read_to_string(dir.join("index.jsonl")).unwrap();
        let lines: Vec<_> = index.lines().collect();
        assert!(
            lines[0].starts_with(r#"{"v":3,"seq":1,"ordinal":0,"trial""#),
            "{}",
            lines[0]
        );
        assert!(
            lines[0].contains(r#""final":false,"outcome":"ungraded""#),
            "{}",
            lines[0]
        );
        insta::assert_snapshot!(lines[1], @r#"{"v":3,"kind":"judgement","seq":2,"session":2,"of":1,"ordinal":0,"outcome":"passed","checks":["equals"],"judgement":"f5465bb52aaca13e","scenario":"81977caa70c799f9","crc":"cbb1b805"}"#);
        assert!(Row::decode(lines[1].as_bytes()).is_err());
    }
}
