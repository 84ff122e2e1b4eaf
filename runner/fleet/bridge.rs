//! [`carry`]: what is said over a socket goes over a link, and what comes over the link into the socket.

use std::{
    io,
    os::unix::net::UnixStream as StdUnixStream,
    time::{Duration, Instant},
};

use async_nats::Subscriber;
use futures::StreamExt as _;
use tokio::{
    io::Interest,
    net::UnixStream,
    sync::{mpsc::UnboundedReceiver, watch},
    time,
};

use super::{
    FleetError,
    connection::EngineConnection,
    link::{Arrived, BEAT, Link, MOST_BYTES},
};

/// How long a side that has said all waits until the other has all of it.
const FAREWELL: Duration = Duration::from_secs(2);
/// How much of what came may wait for the socket, in bytes: what is more is left to come again.
const MOST_WAITING: usize = 8 << 20;
/// For how long what is said gathers: each message costs the engine and both ends far more than a few bytes more in it.
const GATHER: Duration = Duration::from_millis(10);
/// As much, in bytes, is worth a message at once.
const WORTH_A_MESSAGE: usize = 64 << 10;
/// The longest time between two looks that counts: in more than that, the process itself was stopped.
const MOST_LAG: Duration = Duration::from_secs(2);

/// How a bridge came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CarryEnd {
    /// The socket was closed on this side.
    Closed,
    /// The other side has said all.
    Over,
    /// Nothing came for too long.
    Silent,
}

/// For how long nothing may come before the other side is taken for gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// While the engine can be spoken with.
    pub(super) silence: Duration,
    /// While it cannot.
    pub(super) outage: Duration,
}

/// One side of a bridge.
pub(super) struct Bridge<'a> {
    pub(super) engine: EngineConnection,
    /// Where this side speaks, and what it hears.
    pub(super) speaks: String,
    pub(super) heard: Subscriber,
    pub(super) patience: Patience,
    /// Called with each note of the other side.
    pub(super) noted: &'a mut (dyn FnMut(&[u8]) + Send),
    /// What this side notes.
    pub(super) notes: UnboundedReceiver<Vec<u8>>,
    /// How many of the other side's notes something is still to be done for: until then, nothing goes into the socket that
    /// was said after them.
    pub(super) undone: watch::Receiver<usize>,
}

/// Carries what is said until one side has ended; `last` is noted to the other then, if the socket was closed on this side.
///
/// # Errors
///
/// Fails if nothing can wait for the socket.
pub(super) async fn carry(
    bridge: Bridge<'_>,
    socket: StdUnixStream,
    last: impl FnOnce() -> Option<Vec<u8>>,
) -> Result<CarryEnd, FleetError> {
    let mut heard = bridge.heard;
    socket
        .set_nonblocking(true)
        .and_then(|()| UnixStream::from_std(socket))
        .map(|socket| (socket, Instant::now()))
        .map_err(FleetError::io("wait for a socket"))
        .map(|(socket, began)| Carrying {
            socket: Some(socket),
            began,
            link: Link::default(),
            waiting: Vec::new(),
            let_through: 0,
            undone: bridge.undone,
            reads_at: Duration::ZERO,
            is_up: true,
            notes: bridge.notes,
        })?
        .go_on(
            &mut heard,
            &bridge.engine,
            &bridge.speaks,
            bridge.patience,
            bridge.noted,
            last,
        )
        .await
}

struct Carrying {
    /// None once this side has closed it.
    socket: Option<UnixStream>,
    began: Instant,
    link: Link,
    /// What came and is still to go into the socket.
    waiting: Vec<u8>,
    /// How much of that may go there now, in bytes.
    let_through: usize,
    undone: watch::Receiver<usize>,
    /// When it is read again what is said here.
    reads_at: Duration,
    is_up: bool,
    notes: UnboundedReceiver<Vec<u8>>,
}

impl Carrying {
    async fn go_on(
        mut self,
        heard: &mut Subscriber,
        engine: &EngineConnection,
        speaks: &str,
        patience: Patience,
        noted: &mut (dyn FnMut(&[u8]) + Send),
        last: impl FnOnce() -> Option<Vec<u8>>,
    ) -> Result<CarryEnd, FleetError> {
        let mut last = Some(last);
        let mut piece = vec![0; MOST_BYTES];
        let (mut silent, mut farewell) = (Duration::ZERO, Duration::ZERO);
        let mut looked_at = self.now();
        loop {
            let now = self.now();
            let passed = now.saturating_sub(looked_at).min(MOST_LAG);
            looked_at = now;
            silent += passed;
            if self.socket.is_none() {
                farewell += passed;
                if self.link.is_all_receipted() || farewell > FAREWELL {
                    // What was sent last is to reach the engine.
                    drop(time::timeout(BEAT, engine.client.flush()).await);
                    return Ok(CarryEnd::Closed);
                }
            }
            let is_up = engine.is_up();
            if is_up != self.is_up {
                self.is_up = is_up;
                silent = Duration::ZERO;
                if is_up {
                    self.link.resend(now);
                }
            }
            let patient = match is_up {
                true => patience.silence,
                false => patience.outage,
            };
            if silent > patient {
                return Ok(CarryEnd::Silent);
            }
            while is_up && let Some(message) = self.link.next(now) {
                let said = engine.client.publish(speaks.to_owned(), message.into());
                // What does not reach the engine is sent again.
                drop(said.await);
            }
            let has_gathered = now >= self.reads_at;
            let look_at = match has_gathered {
                true => self.link.due(),
                false => self.link.due().min(self.reads_at),
            };
            let until = look_at.max(now + Duration::from_millis(1));
            let pause = until.saturating_sub(now).min(BEAT);
            let reads = has_gathered && self.link.has_room();
            let writes = self.let_through > 0;
            tokio::select! {
                message = heard.next() => {
                    let Some(message) = message else {
                        return Ok(CarryEnd::Silent);
                    };
                    silent = Duration::ZERO;
                    // What there is no room for comes again.
                    if self.waiting.len() > MOST_WAITING {
                        continue;
                    }
                    match self.link.take(&message.payload, self.now()) {
                        Arrived::Bytes(bytes) => {
                            self.waiting.extend(bytes);
                            self.let_through();
                            self.write();
                        }
                        Arrived::Note(note) => noted(note),
                        Arrived::End => {
                            self.say_farewell(engine, speaks).await;
                            self.flush_socket().await;
                            return Ok(CarryEnd::Over);
                        }
                        Arrived::Nothing => {}
                    }
                }
                Ok(()) = self.undone.changed() => {
                    self.let_through();
                    self.write();
                }
                Some(note) = self.notes.recv() => {
                    let now = self.now();
                    self.link.note(&note, now);
                }
                ready = ready(self.socket.as_ref(), reads, writes) => {
                    // Whoever has noted something and then said something is heard in this order.
                    while let Ok(note) = self.notes.try_recv() {
                        self.link.note(&note, now);
                    }
                    let is_open = ready.is_ok() && self.read(&mut piece) && self.write();
                    if !is_open {
                        self.socket = None;
                        let now = self.now();
                        if let Some(note) = last.take().and_then(|last| last()) {
                            self.link.note(&note, now);
                        }
                        self.link.end(now);
                    }
                }
                () = time::sleep(pause) => {}
            }
        }
    }

    fn now(&self) -> Duration {
        // Not zero: a link that was never sent anything says so at once.
        self.began.elapsed() + BEAT
    }

    /// Says all that can be read now; `false` if the socket is closed.
    fn read(&mut self, piece: &mut [u8]) -> bool {
        let now = self.now();
        let Some(socket) = &self.socket else {
            return false;
        };
        if now < self.reads_at {
            return true;
        }
        let mut all = 0;
        while self.link.has_room() {
            match socket.try_read(piece) {
                Ok(0) => return false,
                Ok(read) => {
                    self.link.say(&piece[..read], now);
                    all += read;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        if (1..WORTH_A_MESSAGE).contains(&all) {
            self.reads_at = now + GATHER;
        }
        true
    }

    /// Lets what has come go into the socket, unless something is to be done before.
    fn let_through(&mut self) {
        if *self.undone.borrow_and_update() == 0 {
            self.let_through = self.waiting.len();
        }
    }

    /// Writes what can be written now; `false` if the socket is closed.
    fn write(&mut self) -> bool {
        let Some(socket) = &self.socket else {
            self.waiting.clear();
            self.let_through = 0;
            return true;
        };
        let mut written = 0;
        while written < self.let_through {
            match socket.try_write(&self.waiting[written..self.let_through]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.waiting.drain(..written);
        self.let_through -= written;
        true
    }

    /// Lets the other side know that its end has come.
    async fn say_farewell(&mut self, engine: &EngineConnection, speaks: &str) {
        let now = self.now() + BEAT;
        if let Some(message) = self.link.next(now) {
            drop(
                engine
                    .client
                    .publish(speaks.to_owned(), message.into())
                    .await,
            );
        }
        drop(time::timeout(BEAT, engine.client.flush()).await);
    }

    /// Writes what has come before the end.
    async fn flush_socket(&mut self) {
        let until = Instant::now() + FAREWELL;
        while self.let_through > 0 && self.write() && Instant::now() < until {
            time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Waits until the socket can be read or written, as far as that is wanted.
async fn ready(socket: Option<&UnixStream>, reads: bool, writes: bool) -> io::Result<()> {
    let interest = match (reads, writes) {
        (true, true) => Interest::READABLE | Interest::WRITABLE,
        (true, false) => Interest::READABLE,
        (false, true) => Interest::WRITABLE,
        (false, false) => return std::future::pending().await,
    };
    match socket {
        Some(socket) => socket.ready(interest).await.map(drop),
        None => std::future::pending().await,
    }
}
