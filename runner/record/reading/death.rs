//! How a session ended whose process could not say so itself, from what it has left.

use jiff::Timestamp;

use super::{
    fold,
    history::{History, NextSession},
    sign,
};
use crate::{
    model::{Reason, RunStatus, Stage, Verdict},
    record::{
        disk::layout::RunDir,
        error::RecordError,
        format::{
            inflight,
            last_words::{self, LastWords},
            manifest::{End, Manifest},
            pauses,
        },
    },
};

/// Who writes the transitions of a sweep.
const WRITER: &str = "sweep";

/// Closes the open session in the manifest alone: what a sweep at `now` will write, and what readers show until then. Gives
/// what the rows and all sessions come to with that.
pub(in crate::record) fn close(
    dir: &RunDir,
    manifest: &mut Manifest,
    now: Timestamp,
) -> Result<History, RecordError> {
    let mut history =
        fold::fold(dir, manifest, NextSession::default()).map_err(|error| error.or_gone(dir))?;
    close_by(dir, manifest, &history, now)?;
    if let Some(session) = manifest.sessions.last() {
        history.end(session);
    }
    Ok(history)
}

/// The same by what its rows come to, which were read already.
pub(in crate::record) fn close_by(
    dir: &RunDir,
    manifest: &mut Manifest,
    history: &History,
    now: Timestamp,
) -> Result<(), RecordError> {
    let n = manifest.session();
    let words = last_words::read(dir.path()).filter(|words| words.session == n);
    let opened = manifest.sessions.last().map(|open| open.opened_at);
    let is_unexplained = words.is_none();
    let last_sign = sign::last(dir, opened.unwrap_or(manifest.started_at), now);
    let end = end(dir, manifest, history, words, last_sign);
    if let Some(session) = manifest.sessions.last_mut() {
        session.pauses = pauses::read(dir, n);
        session.in_flight = inflight::read(&dir.inflight(), n)
            .into_iter()
            .filter(|key| history.is_unrecorded(*key))
            .map(|key| (key.ordinal, key.number))
            .collect();
        if is_unexplained {
            session.grading = inflight::read_grading(&dir.inflight(), n);
        }
    }
    manifest.close(WRITER, now.max(last_sign), &end)?;
    Ok(())
}

/// How a session ended that could not say so itself.
fn end(
    dir: &RunDir,
    manifest: &Manifest,
    history: &History,
    words: Option<LastWords>,
    now: Timestamp,
) -> End {
    let counts = history.state.counts();
    if history.state.is_complete() {
        return End {
            status: RunStatus::Completed,
            reason: None,
            signal: None,
            stage: Stage::Finish,
            verdict: counts.verdict(),
            counts,
            error: None,
            by: None,
            now,
        };
    }
    let from_seq = manifest.sessions.last().map_or(0, |last| last.from_seq);
    let has_rows = history.last_seq > from_seq;
    End {
        status: RunStatus::Incomplete,
        reason: Some(words.as_ref().map_or(Reason::Crashed, |words| words.reason)),
        signal: words.as_ref().and_then(|words| words.signal),
        stage: match has_rows || inflight::is_running(&dir.inflight(), manifest.session()) {
            true => Stage::Run,
            false => manifest.stage,
        },
        verdict: Verdict::None,
        counts,
        error: None,
        by: words.and_then(|words| words.by),
        now,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::SignedDuration;

    use crate::{
        model::{Outcome, Reason, RunStatus, Stage, StopSignal},
        record::{
            LastWords, RunFilter, Store,
            format::last_words,
            testing::{actor, claim, crashed, end, entry, ignore, list, new_run, now, resume_at},
        },
    };

    #[test]
    fn a_dead_session_ended_with_its_last_sign_of_life_and_not_with_its_sweep() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let after = |seconds| now() + SignedDuration::from_secs(seconds);
        for (name, seconds) in [("benchmark.json", 1), ("inflight", 5), ("runner.log", 3)] {
            let mut options = fs_err::OpenOptions::new();
            let file = options.create(true).append(true);
            let file = file.open(dir.join(name)).unwrap();
            file.file().set_modified(after(seconds).into()).unwrap();
        }
        let store = Store::existing(directory.path()).unwrap();
        let shown = store.find("latest").unwrap();
        assert!(shown.is_not_yet_swept);

        let swept_at = after(24 * 3600);
        let run = store.find("latest").unwrap();
        let claimed = store.claim(&run, swept_at).unwrap();
        let swept = claimed.manifest();
        assert_eq!(swept.completed_at, Some(after(5)));
        assert_eq!(swept.sessions[0].closed_at, Some(after(5)));
        assert_eq!(swept.transitions[1].at, swept_at);
        // Readers knew all of it, and SQLite does.
        let mut known = store.runs(&RunFilter::default()).unwrap().runs.remove(0);
        assert!(!known.is_not_yet_swept);
        known.is_not_yet_swept = true;
        assert_eq!(known, shown);
        assert_eq!(shown.worked, Duration::from_secs(5));

        let (recorder, _) = resume_at(claimed, None, after(48 * 3600));
        let mut end = end(RunStatus::Incomplete, 3);
        end.reason = Some(Reason::Stopped);
        end.now = after(48 * 3600 + 10);
        recorder.finish(&end).unwrap();
        let run = store.runs(&RunFilter::default()).unwrap().runs.remove(0);
        assert_eq!((run.worked, run.sessions), (Duration::from_secs(15), 2));
        assert_eq!(run.opened_at, after(48 * 3600));
    }

    #[test]
    fn a_session_with_rows_had_come_to_its_trials_though_its_note_of_that_is_lost() {
        for (entries, stage) in [
            (vec![], Stage::Plan),
            (vec![entry(0, 1, Outcome::Passed)], Stage::Run),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path()).unwrap();
            let recorder = store.begin(new_run(3), ignore).unwrap();
            if !entries.is_empty() {
                recorder.begin_run_stage().unwrap();
                recorder.record(entries);
            }
            let dir = recorder.run_dir().to_owned();
            drop(recorder);
            fs_err::remove_file(dir.join("inflight")).unwrap();
            assert_eq!(list(directory.path())[0].stage, stage);
            assert_eq!(claim(&dir).unwrap().manifest().stage, stage);
        }
    }

    #[test]
    fn last_words_of_the_open_session_tell_why_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let dir = crashed(directory.path());
        let words = |session, reason, signal| LastWords {
            session,
            reason,
            signal,
            by: Some((&actor(Some("disk needed"))).into()),
        };
        last_words::write(&dir, &words(2, Reason::Timeout, None)).unwrap();
        assert_eq!(
            claim(&dir).unwrap().manifest().reason,
            Some(Reason::Crashed)
        );

        let dir = crashed(directory.path());
        let signal = Some(StopSignal::Terminate);
        last_words::write(&dir, &words(1, Reason::Interrupted, signal)).unwrap();
        let claimed = claim(&dir).unwrap();
        assert_eq!(claimed.manifest().reason, Some(Reason::Interrupted));
        assert_eq!(claimed.manifest().signal, signal);
        let by = claimed.manifest().transitions[1].by.clone().unwrap();
        assert_eq!(by.text.as_deref(), Some("disk needed"));
        assert_eq!(last_words::read(&dir), None);
    }
}
