//! The calls of a rehearsal, one after another, and what the plugin says meanwhile.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::{
    model::LogRecord,
    plugin::{Heard, Listener},
    run::{Rehearsal, Rehearsed},
    session::{Notice, Observe, plugins::Bench},
};

/// Calls the plugin until it was called often enough, or did not do well, or is interrupted. One call is heard as it goes
/// on; of many, what the last one said is told when it is over.
pub(super) fn call(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Bench,
    observe: &mut dyn Observe,
) -> Vec<Rehearsed> {
    let mut rehearsed = Vec::new();
    for number in 1..=repeat {
        let mut said = Vec::new();
        let hear = |heard: OwnedHeard| match repeat {
            1 => observe.notice(&Notice::Heard(heard.borrowed())),
            _ => said.push(heard),
        };
        let called = bench.wait(call_once(rehearsal, number, bench, hear));
        // Those of the last call are shown; of a thousand calls no others are kept.
        if let Some(Rehearsed { attempt, .. }) = rehearsed.last_mut() {
            attempt.artifacts = Vec::new();
        }
        let is_last =
            number == repeat || called.attempt.outcome.is_bad() || bench.interrupted().is_some();
        rehearsed.push(called);
        if is_last {
            if !said.is_empty() {
                let of = repeat;
                observe.notice(&Notice::LastCallSaid { number, of });
            }
            for heard in &said {
                observe.notice(&Notice::Heard(heard.borrowed()));
            }
            break;
        }
    }
    rehearsed
}

/// Makes one call, and hands over what the plugin says while it runs.
async fn call_once(
    rehearsal: &Arc<Rehearsal>,
    repeat: u32,
    bench: &Bench,
    mut hear: impl FnMut(OwnedHeard),
) -> Rehearsed {
    // Not handed over where it is heard: an observer that does not move on must not hold the guest up.
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = Listener::new(move |heard: Heard<'_>| {
        if let Some(heard) = OwnedHeard::of(heard) {
            // Nobody waits for it once the call is given up.
            drop(sender.send(heard));
        }
    });
    let ended = rehearsal.attempt(repeat, Some(listener), bench.guests(), &bench.interrupt);
    tokio::pin!(ended);
    let ended = loop {
        tokio::select! {
            biased;
            Some(heard) = heard.recv() => hear(heard),
            ended = &mut ended => break ended,
        }
    };
    while let Ok(heard) = heard.try_recv() {
        hear(heard);
    }
    ended
}

/// [`Heard`], on its way between threads.
enum OwnedHeard {
    Log(LogRecord),
    Stdout(String),
    Stderr(String),
    Progress {
        fraction: Option<f64>,
        message: String,
    },
}

impl OwnedHeard {
    /// Nothing for a line without words.
    fn of(heard: Heard<'_>) -> Option<Self> {
        Some(match heard {
            Heard::Stdout(line) | Heard::Stderr(line) if line.trim().is_empty() => return None,
            Heard::Log(record) => Self::Log(record.clone()),
            Heard::Stdout(line) => Self::Stdout(line.to_owned()),
            Heard::Stderr(line) => Self::Stderr(line.to_owned()),
            Heard::Progress { fraction, message } => Self::Progress {
                fraction,
                message: message.to_owned(),
            },
        })
    }

    fn borrowed(&self) -> Heard<'_> {
        match self {
            Self::Log(record) => Heard::Log(record),
            Self::Stdout(line) => Heard::Stdout(line),
            Self::Stderr(line) => Heard::Stderr(line),
            Self::Progress { fraction, message } => Heard::Progress {
                fraction: *fraction,
                message,
            },
        }
    }
}
