//! What becomes of the processes in a storm, and how each of them may end.

use std::time::Duration;

use crate::support::{
    random::Random,
    runner::{Ran, Running, Signal},
};

/// What becomes of a process.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fate {
    Ends,
    Signal(Duration, Signal),
    /// The same signal again a moment later.
    Twice(Duration, Signal),
    /// Held for a moment and let go.
    Held(Duration, Duration),
}

/// A process that has ended.
pub(super) struct Done {
    pub(super) args: Vec<String>,
    pub(super) fate: Fate,
    pub(super) ran: Ran,
    pub(super) signal: Option<i32>,
}

impl Done {
    pub(super) fn is_json(&self) -> bool {
        self.args.iter().any(|arg| arg == "--json")
    }

    /// Whether it may have ended as it did, whoever else did what beside it.
    pub(super) fn may_exit(&self) -> bool {
        let sent = match self.fate {
            Fate::Signal(_, signal) | Fate::Twice(_, signal) => Some(signal),
            Fate::Ends | Fate::Held(..) => None,
        };
        let Some(code) = self.ran.code else {
            // Other signals end only who works on nothing yet, or no longer.
            let has = |event: &str| self.ran.stdout.contains(&format!("\"event\":\"{event}\""));
            let is_that = sent.is_some_and(|sent| self.signal == Some(sent.as_raw()));
            let is_working = has("started") && !has("finished");
            return is_that && (sent == Some(Signal::KILL) || !is_working);
        };
        let signalled = sent.map_or(0, |signal| 128 + signal.as_raw());
        let codes: &[i32] = match self.args[0].as_str() {
            // Stopped and cancelled by others, or held where it shares a directory.
            "exec" if self.args.contains(&"--into".to_owned()) => &[0, 1, 2, 4, 6],
            "exec" => &[0, 1, 4],
            "resume" => &[0, 1, 2, 4, 6],
            "stop" | "cancel" => &[0, 2, 6],
            "list" | "reindex" | "cleanup" => &[0],
            "show" => &[0, 2],
            "logs" | "wait" => &[0, 1, 2, 4, 130, 143],
            // A last row that is torn is damage until somebody repairs it.
            "verify" => &[0, 1, 2],
            "prune" | "pin" | "unpin" => &[0, 2, 6],
            other => panic!("`{other}` is no command here"),
        };
        codes.contains(&code) || code == signalled
    }

    /// Who works on runs may have something to warn of.
    pub(super) fn may_warn(&self) -> bool {
        matches!(self.args[0].as_str(), "exec" | "resume" | "stop" | "cancel")
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            args,
            fate,
            ran,
            signal,
        } = self;
        let stdout: String = ran.stdout.chars().rev().take(600).collect();
        let stdout: String = stdout.chars().rev().collect();
        write!(
            formatter,
            "runner {}\n  fate {fate:?}, exit {:?}, signal {signal:?}\n  stderr: {}\n  stdout: …{stdout}",
            args.join(" "),
            ran.code,
            ran.stderr,
        )
    }
}

pub(super) fn any_fate(random: &mut Random) -> Fate {
    let after = random.up_to(Duration::from_millis(1200));
    match random.below(12) {
        0..=4 => Fate::Ends,
        5..=7 => Fate::Signal(after, Signal::KILL),
        8 => Fate::Signal(after, Signal::INT),
        9 => Fate::Signal(after, Signal::TERM),
        10 => Fate::Twice(after, Signal::INT),
        _ => Fate::Held(after, random.up_to(Duration::from_secs(1))),
    }
}

pub(super) fn quick_fate(random: &mut Random) -> Fate {
    match random.below(12) {
        0 => Fate::Signal(random.up_to(Duration::from_millis(150)), Signal::KILL),
        _ => Fate::Ends,
    }
}

/// Lets happen to a process what is its fate, if it lives to see it.
pub(super) fn befall(live: &Running, fate: Fate) {
    match fate {
        Fate::Ends => {}
        Fate::Signal(after, signal) => {
            std::thread::sleep(after);
            live.signal(signal);
        }
        Fate::Twice(after, signal) => {
            std::thread::sleep(after);
            live.signal(signal);
            std::thread::sleep(Duration::from_millis(5));
            live.signal(signal);
        }
        Fate::Held(after, length) => {
            std::thread::sleep(after);
            live.signal(Signal::STOP);
            std::thread::sleep(length);
            live.signal(Signal::CONT);
        }
    }
}
