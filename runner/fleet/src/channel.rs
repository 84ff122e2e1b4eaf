//! [`open`]: a link to another machine. Drives a [`Window`] over NATS, seals its messages, and decides when the other end is dead.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::StreamExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};
use tracing::debug;

use crate::broker::{Broker, lock};
use crate::error::FleetError;
use crate::seal::{Opener, Sealer};
use crate::window::{RECEIPT_AFTER, Window};
use crate::wire::{Control, Kind, MAX_OUTSTANDING, Piece, Role, down_subject, shown, up_subject};

/// Time without a piece after which the other end is dead.
const SILENT_FOR: Duration = Duration::from_secs(60);
/// Time after a reconnection in which the other end may still be disconnected.
const RECONNECTED_WITHIN: Duration = Duration::from_secs(10);
/// Interval of checks for a new connection.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Time for sending queued messages when a link is closed.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// Time for the last messages to leave this process.
const FLUSH_WITHIN: Duration = Duration::from_millis(500);
/// Time without a subscription of the other end after which a closing link ends.
const ABSENT_AT_CLOSE: Duration = Duration::from_millis(400);
/// Time between two checks that shows that this process was stopped. They are at most 2 s apart.
const STOPPED_FOR: Duration = Duration::from_secs(5);
/// Messages that were handed over and not yet read. They are not counted as unread, so they are few.
const HANDED_OVER: usize = 4;
/// Running tasks in a control message. With more it would be too long for a piece.
const MAX_STARTED: usize = 1_200;

/// A message from the other end.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The next bytes of the stream of frames.
    Frames(Vec<u8>),
    Control(Control),
    /// The end of the link, always last. Completes a sentence that starts with the other end.
    Lost(String),
}

/// Returns the time after which the other end is dead if it has no subscription.
fn absent_for(own: Role) -> Duration {
    match own {
        Role::Coordinator => Duration::from_secs(4),
        // The work of a coordinator may be worth more than that of a worker.
        Role::Worker => Duration::from_secs(15),
    }
}

/// Sends messages on a link, from any thread.
#[derive(Clone)]
pub(crate) struct ChannelSender(Arc<Link>);

struct Link {
    state: Mutex<LinkState>,
    /// Wakes the task of the link.
    wake: Notify,
    /// Signaled when the other end has received content, and at the end.
    room: Condvar,
}

struct LinkState {
    window: Window,
    /// Time at which the link ends even if content is not received. `None` while it is open.
    close_at: Option<Instant>,
}

impl ChannelSender {
    /// Queues frames of any length. Never blocks. Does nothing once the link is closed or lost.
    pub(crate) fn send_frames(&self, frames: &[u8]) {
        self.send(Kind::Frames, frames);
    }

    /// Queues a control message, as [`Self::send_frames`] does frames.
    pub(crate) fn send_control(&self, control: Control) {
        self.send(Kind::Control, &encode(control));
    }

    fn send(&self, kind: Kind, content: &[u8]) {
        let mut state = lock(&self.0.state);
        if state.close_at.is_some() {
            return;
        }
        let was_ready = state.window.is_ready();
        state.window.send(kind, content);
        // Waking the task for content that only waits for a receipt would cost a system call for each small message.
        if !was_ready && state.window.is_ready() {
            self.0.wake.notify_one();
        }
    }

    /// Blocks this thread while more than [`MAX_OUTSTANDING`] bytes are queued and the link is open.
    pub(crate) fn wait_for_room(&self) {
        let waited = self.0.room.wait_while(lock(&self.0.state), |state| {
            state.window.unreceived() > MAX_OUTSTANDING && state.close_at.is_none()
        });
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Returns whether the link is being closed, or has ended.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.0.state).close_at.is_some()
    }

    /// Ends the link once all queued messages are received, or after 2 s.
    pub(crate) fn close(&self) {
        lock(&self.0.state).close_at.get_or_insert(Instant::now() + CLOSE_WITHIN);
        self.0.wake.notify_one();
        self.0.room.notify_all();
    }

    /// Removes the next message that has arrived.
    ///
    /// # Errors
    ///
    /// An invalid message.
    fn take(&self) -> Option<Result<Incoming, String>> {
        let (kind, content) = lock(&self.0.state).window.take(Instant::now())?;
        if kind == Kind::Frames {
            return Some(Ok(Incoming::Frames(content)));
        }
        let control = serde_json::from_slice(&content).map(Incoming::Control);
        Some(control.map_err(|_| "is disconnected, because it sent an invalid message".to_owned()))
    }
}

/// Encodes a control message for one piece.
fn encode(mut control: Control) -> Vec<u8> {
    match &mut control {
        Control::Exited(exit) => {
            exit.started.truncate(MAX_STARTED);
            exit.how = shown(&exit.how);
        }
        Control::Declined(reason) => *reason = shown(reason),
        Control::Close => {}
    }
    serde_json::to_vec(&control).unwrap_or_default()
}

/// Subjects of a link: the own one, and that of the other end.
fn subjects(link: &str, role: Role) -> (Subject, Subject) {
    let up = up_subject(link).into();
    let down = down_subject(link).into();
    if role == Role::Coordinator { (up, down) } else { (down, up) }
}

/// Subscribes to an end of a link, so that no message is lost before [`open`].
pub(crate) async fn subscribe(
    broker: &Broker,
    link: &str,
    role: Role,
) -> Result<Subscriber, FleetError> {
    broker.client.subscribe(subjects(link, role).0).await.map_err(|error| broker.failure(&error))
}

/// Opens an end of a link.
pub(crate) fn open(
    broker: &Broker,
    link: &str,
    role: Role,
    pieces: Subscriber,
    (sealer, opener): (Sealer, Opener),
) -> (ChannelSender, mpsc::Receiver<Incoming>) {
    let (own, other) = subjects(link, role);
    let now = Instant::now();
    let state = LinkState { window: Window::new(now), close_at: None };
    let link = Link { state: Mutex::new(state), wake: Notify::new(), room: Condvar::new() };
    let sender = ChannelSender(Arc::new(link));
    let (incoming, received) = mpsc::channel(HANDED_OVER);
    let task = LinkTask {
        broker: broker.clone(),
        sender: sender.clone(),
        incoming,
        own,
        other,
        sealer,
        opener,
        life: LifeSigns::new(absent_for(role), now),
        was_connected: true,
        is_other_done: false,
    };
    tokio::spawn(task.run(pieces));
    (sender, received)
}

/// The task of one end of a link.
struct LinkTask {
    broker: Broker,
    sender: ChannelSender,
    incoming: mpsc::Sender<Incoming>,
    /// Subject on which pieces arrive.
    own: Subject,
    /// Subject of the other end.
    other: Subject,
    sealer: Sealer,
    opener: Opener,
    life: LifeSigns,
    was_connected: bool,
    /// Whether a control message has arrived, after which the other end neither sends nor needs content.
    is_other_done: bool,
}

impl LinkTask {
    async fn run(mut self, mut pieces: Subscriber) {
        let lost = self.serve(&mut pieces).await;
        debug!(subject = %self.own, ?lost, "a link has ended");
        // From now on the server answers the other end that there are no responders.
        drop(pieces);
        let _ = timeout(FLUSH_WITHIN, self.broker.client.flush()).await;
        self.sender.close();
        if let Err(how) = lost {
            self.hand_over_rest(how).await;
        }
    }

    /// Runs until the link is closed, or returns how it was lost.
    async fn serve(&mut self, pieces: &mut Subscriber) -> Result<(), String> {
        let incoming = self.incoming.clone();
        loop {
            let connected = self.broker.connected_for();
            let now = Instant::now();
            self.publish_due(connected.is_some(), now).await;
            if self.is_closed(now) {
                // The other end may wait for the receipt.
                self.publish_due(connected.is_some(), now + RECEIPT_AFTER).await;
                return Ok(());
            }
            self.life.check(now, connected)?;
            let (has_received, next_time) = {
                let window = &lock(&self.sender.0.state).window;
                (window.has_received(), window.next_time())
            };
            // No message can be sent while disconnected.
            let next_time = if self.was_connected { next_time } else { now + LOOK_EVERY };
            let is_read = !incoming.is_closed();
            tokio::select! {
                message = pieces.next() => {
                    let ended = "is disconnected, because the connection to the broker has ended";
                    self.receive(&message.ok_or(ended)?);
                }
                permit = incoming.reserve(), if has_received && is_read => {
                    if let (Ok(permit), Some(message)) = (permit, self.sender.take()) {
                        let message = message?;
                        self.is_other_done |= matches!(message, Incoming::Control(_));
                        permit.send(message);
                    }
                }
                () = incoming.closed(), if is_read => self.sender.close(),
                () = self.sender.0.wake.notified() => {}
                () = sleep_until(next_time.into()) => {}
            }
        }
    }

    /// Publishes all messages that are due at `now`.
    async fn publish_due(&mut self, is_connected: bool, now: Instant) {
        if is_connected && !self.was_connected {
            lock(&self.sender.0.state).window.restart(now);
        }
        self.was_connected = is_connected;
        // While disconnected the client would keep pieces that are repeated later anyway, and would block once it has many.
        if !is_connected {
            return;
        }
        loop {
            let message = lock(&self.sender.0.state).window.next_message(now);
            let Some(message) = message else { return };
            // The server answers on the own subject if the other end has not subscribed to its own.
            let to = self.other.clone();
            let reply = self.own.clone();
            let sealed = self.sealer.seal(&message);
            let sent = self.broker.client.publish_with_reply(to, reply, sealed.into()).await;
            if let Err(error) = sent {
                debug!(%error, "a piece is not sent");
            }
        }
    }

    fn receive(&mut self, message: &Message) {
        let now = Instant::now();
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return self.life.no_responders(now);
        }
        // Other users of the broker can publish on this subject if they know it.
        let Some(bytes) = self.opener.open(&message.payload) else { return };
        let Some(piece) = Piece::decode(&bytes) else { return };
        self.life.piece(now);
        lock(&self.sender.0.state).window.receive(&piece, now);
        self.sender.0.room.notify_all();
    }

    fn is_closed(&self, now: Instant) -> bool {
        let state = lock(&self.sender.0.state);
        state.close_at.is_some_and(|at| {
            let is_received = state.window.unreceived() == 0;
            let is_absent = self.life.absence() >= ABSENT_AT_CLOSE;
            is_received || is_absent || self.is_other_done || at <= now
        })
    }

    /// Hands over all messages that have arrived, and the end.
    async fn hand_over_rest(&self, how: String) {
        while let Some(Ok(message)) = self.sender.take() {
            if self.incoming.send(message).await.is_err() {
                return;
            }
        }
        let _ = self.incoming.send(Incoming::Lost(how)).await;
    }
}

/// Evidence that the other end is dead.
#[derive(Debug)]
struct LifeSigns {
    /// Time without a subscription after which the other end is dead.
    absent_for: Duration,
    last_piece: Instant,
    /// Times of the first and the last answer "no responders" after the last piece.
    no_responders: Option<(Instant, Instant)>,
    last_check: Instant,
}

impl LifeSigns {
    fn new(absent_for: Duration, now: Instant) -> Self {
        Self { absent_for, last_piece: now, no_responders: None, last_check: now }
    }

    fn piece(&mut self, now: Instant) {
        self.last_piece = now;
        self.no_responders = None;
    }

    fn no_responders(&mut self, now: Instant) {
        let first = self.no_responders.map_or(now, |(first, _)| first);
        self.no_responders = Some((first, now));
    }

    /// Returns the time in which all pieces were answered with "no responders".
    fn absence(&self) -> Duration {
        self.no_responders.map_or(Duration::ZERO, |(first, last)| last - first)
    }

    /// Returns an error that describes the death of the other end. `connected` is the time since the own connection.
    fn check(&mut self, now: Instant, connected: Option<Duration>) -> Result<(), String> {
        // This process was stopped, and pieces that have arrived meanwhile are not read yet.
        if now.duration_since(self.last_check) >= STOPPED_FOR {
            self.piece(now);
        }
        self.last_check = now;
        // After a failure of the broker the other end may connect later than this one.
        if connected.is_none_or(|time| time < RECONNECTED_WITHIN) {
            return Ok(());
        }
        if self.absence() >= self.absent_for {
            return Err("has lost its connection to the broker".to_owned());
        }
        if now.duration_since(self.last_piece) >= SILENT_FOR {
            return Err(format!("has sent nothing for {} s", SILENT_FOR.as_secs()));
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "tests/channel.rs"]
mod tests;
