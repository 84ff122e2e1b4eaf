//! [`Voices`]: what the guests of attempts say that take their time, on disk while they run.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    model::TrialId,
    plugin::{Heard, Listener, Moment, clock},
    record::{AttemptKey, LiveLog, LiveText},
};

/// How long an attempt has run before what it says is written, so that the many that are quick cost nothing; and how often
/// that is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// The voices of a pool's executors.
pub(super) struct Voices {
    run_dir: PathBuf,
    voices: Mutex<Vec<Arc<Voice>>>,
    is_broken: AtomicBool,
}

/// What is said in the attempts of one executor.
pub(super) struct Voice(Mutex<Speech>);

#[derive(Default)]
struct Speech {
    of: Option<Speaker>,
    unwritten: LiveText,
    /// The attempt's file, once something was written.
    file: Option<LiveLog>,
}

struct Speaker {
    key: AttemptKey,
    trial: TrialId,
    begun: Moment,
}

impl Voices {
    pub(super) fn new(run_dir: PathBuf) -> Self {
        Self {
            run_dir,
            voices: Mutex::default(),
            is_broken: AtomicBool::new(false),
        }
    }

    /// The voice of one more executor, and who hears it.
    pub(super) fn open(&self) -> (Arc<Voice>, Listener) {
        let voice = Arc::new(Voice(Mutex::default()));
        lock(&self.voices).push(Arc::clone(&voice));
        let heard = Arc::clone(&voice);
        (voice, Listener::new(move |words| heard.hear(words)))
    }

    /// Forgets an executor that leaves.
    pub(super) fn close(&self, voice: &Arc<Voice>) {
        lock(&self.voices).retain(|other| !Arc::ptr_eq(other, voice));
    }

    /// Writes what is said, for ever. Needs the runtime of the session around it, because guests may keep theirs busy.
    pub(super) async fn write(self: Arc<Self>) {
        loop {
            let now = Moment::now();
            clock::sleep_until(now + EVERY).await;
            let due: Vec<_> = {
                let voices = lock(&self.voices);
                let due = voices.iter().filter(|voice| voice.is_due(now));
                due.cloned().collect()
            };
            if due.is_empty() {
                continue;
            }
            let voices = Arc::clone(&self);
            let written = tokio::task::spawn_blocking(move || {
                due.iter()
                    .try_for_each(|voice| voice.write(&voices.run_dir))
            });
            // A run goes on without it.
            if let Ok(Err(error)) = written.await
                && !self.is_broken.swap(true, Ordering::Relaxed)
            {
                tracing::warn!("cannot write what is said in attempts that go on: {error}");
            }
        }
    }
}

impl Voice {
    /// What is said from now on is of this attempt.
    pub(super) fn begin(&self, key: AttemptKey, trial: TrialId) {
        let begun = Moment::now();
        lock(&self.0).of = Some(Speaker { key, trial, begun });
    }

    /// It has ended, and what it has said is somewhere else soon.
    pub(super) fn end(&self) {
        let mut speech = lock(&self.0);
        speech.of = None;
        speech.unwritten.clear();
        speech.file = None;
    }

    fn hear(&self, words: Heard<'_>) {
        let mut speech = lock(&self.0);
        match words {
            Heard::Log(record) => speech.unwritten.log(record),
            Heard::Stdout(line) => speech.unwritten.stdout(line),
            Heard::Stderr(line) => speech.unwritten.stderr(line),
            Heard::Progress { .. } => {}
        }
    }

    /// Tells whether there is something to be written of an attempt that had begun some time before `now`.
    fn is_due(&self, now: Moment) -> bool {
        let speech = lock(&self.0);
        let has_begun = speech.of.as_ref().is_some_and(|of| of.begun <= now);
        has_begun && !speech.unwritten.is_empty()
    }

    fn write(&self, run_dir: &std::path::Path) -> io::Result<()> {
        let mut speech = lock(&self.0);
        let Speech {
            of: Some(of),
            unwritten,
            file,
        } = &mut *speech
        else {
            return Ok(());
        };
        let file = match file {
            Some(file) => file,
            None => file.insert(LiveLog::begin(run_dir, of.key, &of.trial)?),
        };
        file.append(unwritten)?;
        unwritten.clear();
        Ok(())
    }
}

/// Locks a mutex that no panic can leave half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
