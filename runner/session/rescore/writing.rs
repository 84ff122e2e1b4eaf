//! [`Writing`]: the session in which judgements are written. It is opened by the first of them: where nothing has changed,
//! there is none.

use std::{
    mem,
    sync::mpsc::{Receiver, channel},
};

use crate::{
    error::Error,
    model::{Reason, RunStatus, Stage, Verdict, chain, plural},
    record::{
        Claim, Conclusion, End, JudgementEntry, Manifest, Opening, RecordError, Recorder, Rerun,
        State, Written,
    },
    session::Host,
};

/// How many judgements may be on their way to the disk: each takes half a kilobyte of memory until it is there.
const MOST_UNDER_WAY: u64 = 16 * 1024;

/// Where judgements go.
pub(super) struct Writing<'a> {
    host: &'a Host,
    /// What the run is by the judgements that are on disk.
    state: State,
    /// What it was before.
    manifest: Manifest,
    stage: WritingStage,
}

enum WritingStage {
    /// There is no session yet.
    Claimed(Box<Claim>),
    Open(Box<OpenSession>),
    /// Nothing can be written any more.
    Failed(Error),
    /// It was closed.
    Over,
}

struct OpenSession {
    recorder: Recorder,
    acks: Receiver<Written>,
    under_way: u64,
    failure: Option<RecordError>,
}

impl<'a> Writing<'a> {
    pub(super) fn new(claim: Claim, state: State, host: &'a Host) -> Self {
        Self {
            host,
            state,
            manifest: claim.manifest().clone(),
            stage: WritingStage::Claimed(Box::new(claim)),
        }
    }

    /// Hands judgements over; tells whether more can be written.
    pub(super) fn take(&mut self, batch: Vec<JudgementEntry>) -> bool {
        if let WritingStage::Claimed(_) = self.stage {
            self.stage = match mem::replace(&mut self.stage, WritingStage::Over) {
                WritingStage::Claimed(claim) => match self.open(*claim) {
                    Ok(open) => WritingStage::Open(Box::new(open)),
                    Err(error) => WritingStage::Failed(Error::record(error)),
                },
                other => other,
            };
        }
        let WritingStage::Open(open) = &mut self.stage else {
            return false;
        };
        open.under_way += batch.len() as u64;
        open.recorder.judge(batch);
        while open.under_way > MOST_UNDER_WAY && open.failure.is_none() {
            open.wait(&mut self.state);
        }
        open.failure.is_none()
    }

    fn open(&self, claim: Claim) -> Result<OpenSession, RecordError> {
        let opening = Opening {
            now: (self.host.now)(),
            opened_by: "rescore",
            rerun: Some(Rerun::Judgements),
            is_forced: false,
            counts: self.state.counts(),
            options: self.manifest.options.clone(),
            replanned: None,
            is_judged_apart: true,
        };
        let (sender, acks) = channel();
        // Whoever waits no more has seen a failure.
        let recorder = claim.open(opening, move |written| drop(sender.send(written)))?;
        match recorder.open_log() {
            Ok(file) => self.host.log.go_to(file, std::iter::empty()),
            Err(error) => tracing::warn!("cannot write the session's log: {error}"),
        }
        tracing::info!(
            "run {}, session {}: trials are judged again, and none runs",
            recorder.run_id(),
            recorder.session()
        );
        recorder.begin_run_stage()?;
        Ok(OpenSession {
            recorder,
            acks,
            under_way: 0,
            failure: None,
        })
    }

    /// Waits until all that was handed over is on disk, and closes the session; `None` if there was none.
    pub(super) fn close(mut self) -> Result<(Option<Conclusion>, State), Error> {
        let mut open = match self.stage {
            WritingStage::Claimed(_) | WritingStage::Over => return Ok((None, self.state)),
            WritingStage::Failed(error) => return Err(error),
            WritingStage::Open(open) => open,
        };
        open.recorder.flush();
        while open.under_way > 0 && open.failure.is_none() {
            open.wait(&mut self.state);
        }
        let end = end(
            &self.state,
            &self.manifest,
            open.failure.as_ref(),
            self.host,
        );
        let (run, dir) = (
            open.recorder.run_id().clone(),
            open.recorder.run_dir().to_owned(),
        );
        let conclusion = Conclusion::of(run, dir, open.recorder.session(), &end);
        let done = plural(self.state.counts().done(), "trial");
        tracing::info!("the run is {}, with {done}", end.status);
        open.recorder.finish(&end).map_err(Error::record)?;
        Ok((Some(conclusion), self.state))
    }
}

impl OpenSession {
    /// Waits for the next acknowledgement.
    fn wait(&mut self, state: &mut State) {
        let Ok(written) = self.acks.recv() else {
            let gone = std::io::Error::other("the thread that writes is gone");
            self.failure = Some(RecordError::Io {
                action: "write judgements",
                source: gone,
            });
            return;
        };
        self.under_way -= written.judgements.len() as u64;
        match written.error {
            Some(error) => self.failure = Some(error),
            None => written.judgements.iter().for_each(|judgement| {
                state.judged(judgement.mark);
            }),
        }
    }
}

/// What the run becomes: what it was, but for what its trials have shown.
fn end(state: &State, before: &Manifest, failure: Option<&RecordError>, host: &Host) -> End {
    let counts = state.counts();
    let is_complete = state.is_complete();
    let reason = match failure {
        Some(_) => Some(Reason::Storage),
        None if is_complete => None,
        // A completed run of which a row is damaged by now, and its trial is left to run.
        None => before.reason.or(Some(Reason::Crashed)),
    };
    End {
        status: match reason {
            None => RunStatus::Completed,
            Some(_) => RunStatus::Incomplete,
        },
        reason,
        signal: before.signal.filter(|_| !is_complete),
        stage: match is_complete {
            true => Stage::Finish,
            false => Stage::Run,
        },
        verdict: match reason {
            None => counts.verdict(),
            Some(_) => Verdict::None,
        },
        counts,
        error: failure.map(|error| chain(error)),
        by: None,
        now: (host.now)(),
    }
}
