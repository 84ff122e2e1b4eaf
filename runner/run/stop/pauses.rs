//! [`Pauses`]: whether a session is paused, by whom, and since when.
//!
//! Two may want it: somebody who asks for it, and Ctrl-Z, which stops the process as well. It is paused while either does, and
//! a stop ends what was asked for. While it is, the clock of its process stands still.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::watch;

use crate::{
    model::Actor,
    plugin::clock,
    record::{By, RunPause, pauses},
    run::clock::wall_clock,
};

/// How many pauses of a session are written down; those before are in its log.
const MAX_PAUSES: usize = 100;

/// How long a guest that computes may take to its next epoch, and more.
const HOLD_TIME: Duration = Duration::from_millis(30);

/// Whether a session is paused; its clones are one. Dropped, the last one lets the clock go.
#[derive(Clone)]
pub struct Pauses(Arc<PausedSession>);

/// What whoever leads a session hears of it: who has paused it, if it is paused.
pub type PauseNews = watch::Receiver<Option<Arc<str>>>;

struct PausedSession {
    run_dir: PathBuf,
    session: u32,
    state: Mutex<PauseState>,
    news: watch::Sender<Option<Arc<str>>>,
}

#[derive(Default)]
struct PauseState {
    /// Who has asked for it.
    asked: Option<Option<Actor>>,
    /// Whether the process is about to be stopped, or was.
    is_stopped: bool,
    /// Whether the session is to end; then nobody can ask for it any more.
    is_ending: bool,
    /// Whether the clock is held for it.
    is_held: bool,
    all: Vec<RunPause>,
}

impl Pauses {
    /// A session that nobody has paused.
    pub fn new(run_dir: PathBuf, session: u32) -> Self {
        let (news, _) = watch::channel(None);
        Self(Arc::new(PausedSession {
            run_dir,
            session,
            state: Mutex::default(),
            news,
        }))
    }

    /// Hears of what changes from now on.
    pub fn news(&self) -> PauseNews {
        self.0.news.subscribe()
    }

    /// Pauses the session for somebody, or lets it go on; the same again changes nothing.
    pub fn ask(&self, is_paused: bool, by: Option<Actor>) {
        let mut state = self.0.lock();
        if !state.is_ending && state.asked.is_some() != is_paused {
            state.asked = is_paused.then_some(by);
            self.0.apply(&mut state);
        }
    }

    /// Lets the session go on, if somebody has paused it, and nobody pauses it any more: it is to end.
    pub fn end(&self) {
        self.ask(false, None);
        self.0.lock().is_ending = true;
    }

    /// Pauses the session because its process is about to be stopped, or lets it go on.
    pub fn stop_process(&self, is_stopped: bool) {
        let mut state = self.0.lock();
        state.is_stopped = is_stopped;
        self.0.apply(&mut state);
    }
}

impl PausedSession {
    fn lock(&self) -> MutexGuard<'_, PauseState> {
        // What is changed under the lock is changed whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds the clock or lets it go, writes it down, and tells it.
    fn apply(&self, state: &mut PauseState) {
        let is_paused = state.asked.is_some() || state.is_stopped;
        if state.is_held == is_paused {
            return;
        }
        state.is_held = is_paused;
        let now = wall_clock();
        let asker = state.asked.clone().flatten();
        match is_paused {
            true => {
                clock::pause();
                let who = match &asker {
                    Some(actor) => actor.to_string(),
                    None => "SIGTSTP".to_owned(),
                };
                tracing::info!("paused by {}", who.replace('\n', " "));
                state.all.push(RunPause {
                    at: now,
                    until: None,
                    by: asker.as_ref().map(By::from),
                });
                let superfluous = state.all.len().saturating_sub(MAX_PAUSES);
                state.all.drain(..superfluous);
                self.news.send_replace(Some(who.into()));
                // Whoever is told that it is paused may rely on it: workers hear of it, and guests come to their next epoch.
                thread::sleep(HOLD_TIME);
            }
            false => {
                if let Some(latest) = state.all.last_mut() {
                    latest.until = Some(now);
                }
                clock::resume();
                tracing::info!("the run goes on");
                self.news.send_replace(None);
            }
        }
        // A run goes on without it.
        if let Err(error) = pauses::write(&self.run_dir, self.session, &state.all) {
            tracing::warn!("cannot write down that the run is paused, or goes on: {error}");
        }
    }
}

impl Drop for PausedSession {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if state.unwrap_or_else(PoisonError::into_inner).is_held {
            clock::resume();
        }
    }
}
