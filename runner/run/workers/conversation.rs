//! [`Conversation`]: the runner's side of what is said over the socket of a worker, wherever that is.

use std::{io, os::unix::net::UnixStream, sync::Arc};

use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
};

use super::{
    beat::SILENCE,
    hearing::{Hearing, Talk, WorkerNews},
    held::HeldTrials,
    socket::{self, Socket},
    wire::{FrameBuffer, TaskKey, ToWorker},
};
use crate::{
    plugin::{Moment, clock},
    run::seam::Assignment,
};

/// What is said to a worker and by it. It ends with this value, and the socket with it.
pub(super) struct Conversation {
    outgoing: UnboundedSender<Vec<u8>>,
    held: HeldTrials,
    tasks: [JoinHandle<()>; 2],
}

impl Conversation {
    /// Begins to speak. Needs the runtime of the session around it.
    ///
    /// # Errors
    ///
    /// Fails if the socket cannot be waited for.
    pub(super) fn begin(
        socket: UnixStream,
        talk: Talk,
        news: impl Fn(WorkerNews) + Send + 'static,
    ) -> io::Result<Self> {
        let held = HeldTrials::default();
        let hearing = Hearing::new(talk, held.clone());
        let (outgoing, to_send) = mpsc::unbounded_channel();
        let stream = Socket::new(socket)?;
        let sending = stream.stream.clone();
        let tasks = [
            tokio::spawn(say(sending, to_send)),
            tokio::spawn(hear(stream, hearing, news)),
        ];
        Ok(Self {
            outgoing,
            held,
            tasks,
        })
    }

    /// Tells whether the worker has answered any of its attempts.
    pub(super) fn has_answered(&self) -> bool {
        self.held.has_answered()
    }

    /// Sends what is encoded. A worker that is gone is told of by its news.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        drop(self.outgoing.send(bytes));
    }

    /// Assigns it attempts.
    pub(super) fn assign(&self, batch: Vec<Assignment>) {
        let tasks = batch.iter().map(|assignment| TaskKey {
            ordinal: assignment.ordinal,
            number: assignment.number,
            memory: assignment.memory,
            trial_left: assignment.trial_left,
        });
        let message = ToWorker::Assign(tasks.collect());
        self.held.add(batch);
        self.send(message.encode());
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn say(stream: Arc<tokio::net::UnixStream>, mut to_send: UnboundedReceiver<Vec<u8>>) {
    while let Some(bytes) = to_send.recv().await {
        if socket::send(&stream, &bytes).await.is_err() {
            break;
        }
    }
}

async fn hear(mut socket: Socket, mut hearing: Hearing, news: impl Fn(WorkerNews)) {
    let mut buffer = FrameBuffer::default();
    loop {
        let silence = clock::sleep_until(Moment::now() + SILENCE);
        let is_remote = hearing.is_remote();
        tokio::select! {
            biased;
            more = socket.fill(&mut buffer) => match more {
                Ok(true) => {}
                Ok(false) | Err(_) => {
                    while let Some(told) = hearing.last_remote_news() {
                        news(WorkerNews::Remote(told));
                    }
                    return news(WorkerNews::Gone);
                }
            },
            told = hearing.remote_news() => news(WorkerNews::Remote(told)),
            () = silence, if !is_remote => return news(WorkerNews::Silent(SILENCE)),
        }
        loop {
            match buffer.next() {
                Ok(None) => break,
                Ok(Some(frame)) => match hearing.take(frame) {
                    Ok(None) => {}
                    Ok(Some(told)) => news(told),
                    Err(_) => return news(WorkerNews::Gone),
                },
                Err(_) => return news(WorkerNews::Gone),
            }
        }
    }
}
