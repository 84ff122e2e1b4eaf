//! [`Hearing`]: what a worker says becomes what its executors say to the dispatcher.

use std::{io, mem, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    held::HeldTrials,
    remote_news::RemoteNews,
    wire::{ArtifactHead, Decoder, FromWorker, Garbled, LogLevel, Read, Reported},
};
use crate::{
    model::{Artifact, Attempt, AttemptError, Content as _, Outcome},
    plugin::{Extents, Spool, Spooled, unkept},
    run::seam::{ExecutorId, FromExecutors, Loss},
};

/// What a worker tells whoever has started it.
#[derive(Debug)]
pub(in crate::run) enum WorkerNews {
    /// It can make attempts.
    Ready,
    /// It cannot, for this reason.
    Unready(String),
    /// It has closed its end of the socket, or said what no worker says.
    Gone,
    /// Nothing has come from it for so long.
    Silent(Duration),
    /// Something of it is told by its machine.
    Remote(RemoteNews),
}

/// Who speaks with a worker.
pub(super) struct Talk {
    /// What the worker is called.
    pub(super) who: ExecutorId,
    /// What its attempts are marked with; none where it is a process of this machine.
    pub(super) name: Option<Arc<str>>,
    /// What is told of it by its machine.
    pub(super) remote: Option<UnboundedReceiver<RemoteNews>>,
    /// Hears what its executors say.
    pub(super) dispatcher: UnboundedSender<FromExecutors>,
    /// Where files without names are made.
    pub(super) scratch_root: PathBuf,
}

/// Hears a worker.
pub(super) struct Hearing {
    who: ExecutorId,
    name: Option<Arc<str>>,
    remote: Option<UnboundedReceiver<RemoteNews>>,
    held: HeldTrials,
    dispatcher: UnboundedSender<FromExecutors>,
    scratch_root: PathBuf,
    pieces: Pieces,
    /// How many attempts the last message told of.
    usual: usize,
}

/// The content of the artifacts of an attempt that has yet to come.
#[derive(Default)]
struct Pieces {
    spool: Spool,
    contents: Vec<Extents>,
    /// Why some of it could not be kept.
    lost: Option<io::Error>,
}

/// What became of what an attempt has left.
enum Kept {
    /// It is kept, or the attempt says why not.
    All,
    /// This machine lacks what it takes to keep it.
    Lacking,
}

impl Hearing {
    pub(super) fn new(talk: Talk, held: HeldTrials) -> Self {
        Self {
            who: talk.who,
            name: talk.name,
            remote: talk.remote,
            held,
            dispatcher: talk.dispatcher,
            scratch_root: talk.scratch_root,
            pieces: Pieces::default(),
            usual: 0,
        }
    }

    /// Tells whether the worker is on another machine; whether it is still there is known by the way to it.
    pub(super) fn is_remote(&self) -> bool {
        self.name.is_some()
    }

    /// What is told of it by its machine next; never, for one that has none.
    pub(super) async fn remote_news(&mut self) -> RemoteNews {
        if let Some(remote) = &mut self.remote
            && let Some(news) = remote.recv().await
        {
            return news;
        }
        std::future::pending().await
    }

    /// The same, if it is there already.
    pub(super) fn last_remote_news(&mut self) -> Option<RemoteNews> {
        self.remote.as_mut()?.try_recv().ok()
    }

    /// Takes a message, and says what of it is not for the dispatcher.
    ///
    /// # Errors
    ///
    /// Fails if no worker says such a thing.
    pub(super) fn take(&mut self, frame: &[u8]) -> Read<Option<WorkerNews>> {
        match FromWorker::decode(frame)? {
            FromWorker::Ready => return Ok(Some(WorkerNews::Ready)),
            FromWorker::Unready(reason) => return Ok(Some(WorkerNews::Unready(reason))),
            FromWorker::Piece(is_next, bytes) => self.take_piece(is_next, bytes)?,
            FromWorker::Said(said) => self.take_said(said)?,
            FromWorker::Beat => {}
            FromWorker::Log(level, line) => {
                // Nobody is to take what another machine says for what this one does.
                let whose = self.name.as_ref();
                let whose = whose.map_or_else(String::new, |name| format!("worker {name}: "));
                match level {
                    LogLevel::Info => tracing::info!("{whose}{line}"),
                    LogLevel::Warn => tracing::warn!("{whose}{line}"),
                    LogLevel::Error => tracing::error!("{whose}{line}"),
                }
            }
        }
        Ok(None)
    }

    fn take_piece(&mut self, is_next: bool, bytes: &[u8]) -> Read<()> {
        let Pieces {
            spool,
            contents,
            lost,
        } = &mut self.pieces;
        if is_next {
            if contents.is_empty() {
                *spool = Spool::new(&self.scratch_root);
            }
            contents.push(Extents::default());
        }
        let content = contents.last_mut().ok_or(Garbled)?;
        if lost.is_none() {
            *lost = spool.append(content, bytes).err();
        }
        Ok(())
    }

    fn take_said(&mut self, mut said: Decoder<'_>) -> Read<()> {
        let who = self.who;
        let (mut started, mut returned) = (Vec::new(), Vec::new());
        // Attempts are large, and a list that grows copies them.
        let mut reports = Vec::with_capacity(self.usual);
        let mut unkept = Vec::new();
        let (mut broken, mut has_left) = (None, false);
        while let Some(one) = FromWorker::said(&mut said, &mut |key| self.held.take(key))? {
            match one {
                Reported::Started(key) => started.push(key),
                Reported::Attempt(attempt, artifacts) => {
                    let mut attempt = *attempt;
                    attempt.worker.clone_from(&self.name);
                    match self.add_artifacts(&mut attempt, artifacts)? {
                        Kept::All => reports.push(attempt),
                        Kept::Lacking => unkept.push(attempt),
                    }
                }
                Reported::Returned(key) => {
                    self.held.take(key);
                    returned.push(key);
                }
                Reported::Broken(text) => broken = Some(text),
                Reported::Left => has_left = true,
            }
        }
        self.usual = reports.len();
        let messages = [
            some(started).map(|attempts| FromExecutors::Started { who, attempts }),
            some(reports).map(|attempts| FromExecutors::Reports { who, attempts }),
            some(unkept).map(|attempts| FromExecutors::Unkept { who, attempts }),
            some(returned).map(|attempts| FromExecutors::Returned { who, attempts }),
            broken.map(|text| FromExecutors::Lost {
                who,
                attempts: Vec::new(),
                why: Loss::Broken(text),
            }),
            has_left.then_some(FromExecutors::Left { who }),
        ];
        for message in messages.into_iter().flatten() {
            // Without a dispatcher there is nothing left to hear.
            drop(self.dispatcher.send(message));
        }
        Ok(())
    }

    /// Puts the artifacts whose content has come into their attempt.
    fn add_artifacts(&mut self, attempt: &mut Attempt, heads: Vec<ArtifactHead>) -> Read<Kept> {
        if heads.is_empty() {
            return Ok(Kept::All);
        }
        let Pieces {
            spool,
            contents,
            lost,
        } = mem::take(&mut self.pieces);
        if let Some(error) = lost {
            let has_lacked = |error: &AttemptError| error.fault.is_some();
            // Neither settles anything: it is made again with all that it leaves.
            if attempt.outcome == Outcome::Stopped || attempt.error.as_ref().is_some_and(has_lacked)
            {
                return Ok(Kept::All);
            }
            // As where a guest's own process cannot keep them.
            let error = unkept(spool.folder(), &error);
            let kept = match has_lacked(&error) {
                true => Kept::Lacking,
                false => Kept::All,
            };
            attempt.outcome = Outcome::Error;
            attempt.error = Some(error);
            return Ok(kept);
        }
        if contents.len() != heads.len() {
            return Err(Garbled);
        }
        let spool = Arc::new(spool);
        for (head, content) in heads.into_iter().zip(contents) {
            let content = Spooled::new(&spool, content);
            if content.size() != head.size {
                return Err(Garbled);
            }
            attempt.artifacts.push(Artifact {
                name: head.name,
                media_type: head.media_type,
                content: Arc::new(content),
            });
        }
        Ok(Kept::All)
    }
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
