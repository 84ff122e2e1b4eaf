//! [`tell_all`]: everybody at once, each again until it has arrived or the time is up.

use std::{
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    backoff::Backoff,
    delivery::Delivery,
    program::{NotifiedProgram, start_program},
    webhook::{Address, Message, post},
};

/// The waits between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How often is looked whether nobody waits any more.
const PAUSE: Duration = Duration::from_millis(20);

/// Who is told.
#[derive(Clone)]
pub enum Recipient {
    /// A server.
    Webhook(Address),
    /// A program. It is called once.
    Program(NotifiedProgram),
}

/// For how long somebody is told something.
pub struct Telling<'a> {
    /// What.
    pub message: &'a (dyn Fn(usize) -> Message + Sync),
    /// Until when; no attempt goes on for longer.
    pub until: Instant,
    /// Whether nobody waits for it any more.
    pub is_over: &'a (dyn Fn() -> bool + Sync),
    /// Reads the wall clock.
    pub now: fn() -> Timestamp,
}

/// Tells everybody at once, and blocks until all have been told or the time is up. Each attempt may take as long as stands
/// beside its recipient. `heard` is called after every attempt, with the recipient's place.
pub fn tell_all(
    recipients: &[(Recipient, Duration)],
    telling: &Telling<'_>,
    mut heard: impl FnMut(usize, Delivery),
) {
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for (place, (recipient, timeout)) in recipients.iter().enumerate() {
            let sender = sender.clone();
            scope.spawn(move || telling.tell(place, recipient, *timeout, &sender));
        }
        drop(sender);
        for (place, told) in receiver {
            heard(place, told);
        }
    });
}

impl Telling<'_> {
    fn tell(
        &self,
        place: usize,
        recipient: &Recipient,
        timeout: Duration,
        heard: &Sender<(usize, Delivery)>,
    ) {
        let message = (self.message)(place);
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        loop {
            let left = self.until.saturating_duration_since(Instant::now());
            if left.is_zero() || (self.is_over)() {
                return;
            }
            let timeout = timeout.min(left);
            let (told, is_once) = match recipient {
                Recipient::Webhook(address) => {
                    (post(address, &message, (self.now)(), timeout), false)
                }
                Recipient::Program(program) => {
                    (start_program(program, &message.body, timeout), true)
                }
            };
            let is_done = is_once || !matches!(told, Delivery::Failed(_));
            // Whoever has told it hears all of it.
            _ = heard.send((place, told));
            if is_done || !self.rest(backoff.wait()) {
                return;
            }
        }
    }

    /// Waits before the next attempt; `false` if there is to be none.
    fn rest(&self, wait: Duration) -> bool {
        let next = Instant::now() + wait;
        while Instant::now() < next {
            if Instant::now() >= self.until || (self.is_over)() {
                return false;
            }
            thread::sleep(PAUSE);
        }
        true
    }
}
