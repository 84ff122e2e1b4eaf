//! [`Remotes`]: the workers on other machines that make attempts of a session.
//!
//! They bring slots of their own, come and go when they like, and are heard over a socket like those that are processes of the
//! runner: whoever hands one over carries what is said to its machine and back.

use std::{collections::BTreeSet, fmt, io, os::unix::net::UnixStream, path::Path, sync::Arc};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::{
    conversation::Conversation,
    hearing::{Talk, WorkerNews},
    remote_news::{RemoteNews, RunNews},
    wire::ToWorker,
    workplace::worker_of_seat,
};
use crate::{
    record::AttemptKey,
    run::seam::{Assignment, Capacity, ExecutorId, FromExecutors, MachineName},
    scenario::SuiteSegments,
};

/// A worker on another machine, as whoever has found it hands it over.
pub struct RemoteWorker {
    /// What its attempts are marked with.
    pub name: Arc<str>,
    /// How much it carries at a time.
    pub capacity: Capacity,
    /// Over which it speaks: it is gone when this is closed.
    pub socket: UnixStream,
    /// What is told of it by its machine. The last of it is there before the socket is closed.
    pub news: UnboundedReceiver<RemoteNews>,
    /// What its machine is told, encoded.
    pub notes: UnboundedSender<Vec<u8>>,
    /// The pieces of the list of tests, of which its machine fetches those that it is told to need.
    pub segments: Arc<SuiteSegments>,
}

impl fmt::Debug for RemoteWorker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Those of a session.
#[derive(Default)]
pub(super) struct Remotes {
    members: Vec<RemoteMember>,
}

struct RemoteMember {
    who: ExecutorId,
    name: Arc<str>,
    machine: MachineName,
    capacity: Capacity,
    talk: Conversation,
    notes: UnboundedSender<Vec<u8>>,
    segments: Arc<SuiteSegments>,
    /// Which of them its machine was told to need.
    needed: BTreeSet<usize>,
    /// What it had begun when it ended, once that is known.
    begun: Vec<AttemptKey>,
    is_ready: bool,
}

impl Remotes {
    /// Lets one in, which has still to say that it is ready.
    ///
    /// # Errors
    ///
    /// Fails if its socket cannot be waited for.
    pub(super) fn add(
        &mut self,
        who: ExecutorId,
        worker: RemoteWorker,
        scratch_root: &Path,
        dispatcher: UnboundedSender<FromExecutors>,
        news: impl Fn(WorkerNews) + Send + 'static,
    ) -> io::Result<()> {
        let talk = Talk {
            who,
            name: Some(Arc::clone(&worker.name)),
            remote: Some(worker.news),
            dispatcher,
            scratch_root: scratch_root.to_owned(),
        };
        self.members.push(RemoteMember {
            who,
            machine: MachineName(Some(worker_of_seat(&worker.name).into())),
            name: worker.name,
            capacity: worker.capacity,
            talk: Conversation::begin(worker.socket, talk, news)?,
            notes: worker.notes,
            segments: worker.segments,
            needed: BTreeSet::new(),
            begun: Vec::new(),
            is_ready: false,
        });
        Ok(())
    }

    /// The conversation with one of them.
    pub(super) fn find(&self, who: ExecutorId) -> Option<&Conversation> {
        let mut members = self.members.iter();
        let found = members.find(|member| member.who == who)?;
        Some(&found.talk)
    }

    /// Assigns attempts to one of them, whose machine fetches their tests before the worker hears of them.
    pub(super) fn assign(&mut self, who: ExecutorId, batch: Vec<Assignment>) {
        let mut members = self.members.iter_mut();
        // What a worker has that is gone is lost when that is heard of.
        let Some(member) = members.find(|member| member.who == who) else {
            return;
        };
        let ordinals = batch.iter().map(|assignment| assignment.ordinal);
        let places = ordinals.filter_map(|ordinal| member.segments.of_trial(ordinal));
        let segments: Vec<_> = places
            .filter(|place| member.needed.insert(*place))
            .collect();
        if !segments.is_empty() {
            let news = RunNews::Needs { segments };
            // Where nobody carries it any more, the worker is as good as gone.
            drop(member.notes.send(news.encode()));
        }
        member.talk.assign(batch);
    }

    /// Tells the machine of one of them something, before what is said to the worker from now on.
    pub(super) fn note(&self, who: ExecutorId, news: &RunNews) {
        let mut members = self.members.iter();
        if let Some(member) = members.find(|member| member.who == who) {
            // Where nobody carries it any more, the worker is as good as gone.
            drop(member.notes.send(news.encode()));
        }
    }

    /// Says the same to all of them.
    pub(super) fn tell(&self, message: &ToWorker) {
        for member in &self.members {
            member.talk.send(message.encode());
        }
    }

    /// Takes what one of them tells, and says who has joined by that, or left; `None` if it is not one of these.
    pub(super) fn hear(&mut self, who: ExecutorId, news: WorkerNews) -> Option<Vec<FromExecutors>> {
        let place = self.members.iter().position(|member| member.who == who)?;
        let member = &mut self.members[place];
        Some(match news {
            WorkerNews::Ready if !member.is_ready => {
                member.is_ready = true;
                tracing::info!("worker {} makes attempts", member.name);
                let slots = (0..member.capacity.slots).collect();
                member.talk.send(ToWorker::Open(slots).encode());
                vec![FromExecutors::Joined {
                    who,
                    capacity: member.capacity,
                    machine: member.machine.clone(),
                }]
            }
            WorkerNews::Ready => Vec::new(),
            WorkerNews::Remote(RemoteNews::Leaving) => {
                tracing::info!("worker {} leaves", member.name);
                member.talk.send(ToWorker::TakeBack.encode());
                member.talk.send(ToWorker::Close.encode());
                let capacity = Capacity {
                    slots: 0,
                    memory: 0,
                };
                let machine = member.machine.clone();
                vec![FromExecutors::Joined {
                    who,
                    capacity,
                    machine,
                }]
            }
            WorkerNews::Remote(RemoteNews::Ended { begun, words }) => {
                tracing::warn!(
                    "worker {} has ended with {} attempts{words}",
                    member.name,
                    begun.len()
                );
                member.begun = begun;
                Vec::new()
            }
            WorkerNews::Unready(reason) => {
                tracing::warn!("worker {} cannot make attempts: {reason}", member.name);
                Vec::new()
            }
            WorkerNews::Gone | WorkerNews::Silent(_) => {
                let member = self.members.swap_remove(place);
                tracing::info!("worker {} has left", member.name);
                let begun = member.begun;
                vec![
                    FromExecutors::Started {
                        who,
                        attempts: begun,
                    },
                    FromExecutors::Left { who },
                ]
            }
        })
    }
}
