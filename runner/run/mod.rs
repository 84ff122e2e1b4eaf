//! Turns a plan into rows.
//!
//! [`Plan::new`] finds what will run, [`run`] makes it happen: it links the plugins, starts the pool of executors, and
//! lets the dispatcher go on until no trial is left or a stop wins.

mod adopt;
mod canonical;
mod ceiling;
mod copies;
mod deadline;
mod dispatcher;
mod error;
mod executor;
mod expect;
mod filesystems;
mod fingerprint;
mod first_recipe;
mod fit;
mod folders;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod grants;
mod json;
mod kept;
mod lane;
mod names;
mod plan;
mod poison;
mod pool;
mod ready;
mod rehearsal;
mod requests;
mod retry;
mod room;
mod schema;
mod schema_cost;
mod signals;
mod spots;
mod stop;
mod stored;

use std::{collections::HashSet, io, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    runtime::Handle,
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
};

pub use adopt::AdoptError;
pub use ceiling::set_limits;
pub use deadline::DEFAULT_TIMEOUT;
pub use dispatcher::{Ending, Message};
pub use error::{PlanError, ProviderError, ReadyError};
pub use executor::fill_argument;
pub use fit::{UnfitError, check_config, check_input, describe};
pub use folders::{FolderError, Protected, check_folders};
pub use grants::{Environment, check_scenario, mounts, secret_names, secrets};
pub use names::TrialNames;
pub use plan::{Overrides, Plan};
pub use rehearsal::{Rehearsal, Rehearsed};
pub use requests::not_granted;
pub use room::{NoRoom, Reduced};
pub use schema::{SCHEMA_ARGUMENT, schema_child};
pub use signals::StopSignals;
pub use stop::{Cause, StopRequest, Watch, Watchdog};
pub use stored::{StoredError, stored_overrides, stored_selection};

use self::{
    deadline::Budget,
    dispatcher::{Dispatcher, Parts, Rules},
    executor::{Executor, ReadyProvider},
    fingerprint::Fingerprints,
    lane::Lane,
    poison::Suspects,
    pool::Pool,
};
use crate::{
    model::{Counts, Grants, ProviderId, Reason, Stage, StopMode},
    plugin::{Engine, Interrupt, Moment, clock},
    record::{Entry, History, RecordError, Recorder, State},
};

/// What a session lets the world see while it goes on.
pub enum Event<'a> {
    /// A plugin is compiled, unless that is in the cache, and checked.
    Linking {
        /// The provider it is for.
        provider: &'a ProviderId,
    },
    /// That is done.
    Linked {
        /// The provider it is for.
        provider: &'a ProviderId,
        /// How long it took.
        took: Duration,
    },
    /// A plugin asks for more than its provider is granted.
    Requests {
        /// The provider.
        provider: &'a ProviderId,
        /// What is not granted, in the plugin's words.
        requests: &'a [&'a str],
        /// What to grant so that it has what it asks for; absent where nobody knows what that is.
        grants: Option<&'a Grants>,
        /// Whether these need a limit of what may be written, and there is none.
        lacks_scratch: bool,
    },
    /// Plugins are ready, and trials are begun.
    Begun {
        /// What earlier sessions have come to.
        counts: Counts,
    },
    /// Rows are on disk.
    Rows {
        /// The attempts they tell of.
        entries: &'a [Entry],
        /// The rows as written, one for each entry, each with its newline.
        lines: &'a [u8],
        /// All that is on disk.
        counts: Counts,
    },
    /// Some time has passed.
    Progress {
        /// All that is on disk.
        counts: Counts,
        /// How many attempts are being executed.
        running: usize,
        /// The one that began first.
        longest: Option<Running<'a>>,
    },
    /// No new trials are begun.
    Stopping {
        /// How hard.
        mode: StopMode,
        /// Why.
        reason: Reason,
        /// The same for people.
        why: &'a str,
        /// How many attempts have begun and not ended.
        in_flight: usize,
    },
    /// A stop takes long.
    Awaiting {
        /// How hard it is.
        mode: StopMode,
        /// What is being executed.
        running: &'a [Running<'a>],
        /// How many rows are on their way to the disk.
        rows: usize,
    },
}

/// An attempt that is being executed.
pub struct Running<'a> {
    /// Its trial.
    pub trial: &'a str,
    /// For how long.
    pub elapsed: Duration,
}

/// What a session needs beside its plan.
pub struct Session<'a> {
    /// Compiles and calls plugins.
    pub engine: &'a Engine,
    /// The runtime that guests run on; nothing else does.
    pub guests: Handle,
    /// Writes the run.
    pub recorder: &'a mut Recorder,
    /// What earlier sessions came to.
    pub history: History,
    /// Where executors, the recorder and signals report to.
    pub sender: UnboundedSender<Message>,
    /// The other end of `sender`.
    pub inbox: UnboundedReceiver<Message>,
    /// Stops guests.
    pub interrupt: Interrupt,
    /// Under which folder attempts have theirs.
    pub scratch_root: PathBuf,
    /// Sees what happens.
    pub observe: &'a mut dyn FnMut(Event<'_>),
}

/// Why a session ended without an [`Ending`].
#[derive(Debug)]
pub enum SessionError {
    /// The plugins are not usable: the run is `failed (plugin)`.
    Ready(ReadyError),
    /// A stop came before the first trial.
    Stopped(Cause),
    /// It could not be written down how far the run is.
    Storage(RecordError),
    /// The runner could not go on.
    Run {
        /// Why.
        error: String,
        /// What is on disk.
        counts: Counts,
    },
}

/// Runs a plan's trials to their end.
pub async fn run(plan: &Plan, mut session: Session<'_>) -> Result<Ending, SessionError> {
    let ends = Moment::now() + plan.timeout();
    let mut providers = make_ready(plan, &mut session, ends).await?;
    for provider in providers.iter_mut().flatten() {
        provider
            .access
            .scratch_root
            .clone_from(&session.scratch_root);
    }
    let counts = session.history.state.counts();
    let broken = |error: String| SessionError::Run { error, counts };
    session
        .recorder
        .set_stage(Stage::Run)
        .map_err(SessionError::Storage)?;

    let poison_after = plan.scenario.run().poison_after;
    let suspects = Suspects::of(&session.history, poison_after, plan.suite())
        .map_err(|error| broken(format!("cannot read the run's tests: {error}")))?;
    let content = session.recorder.content();
    let executor = Executor {
        providers,
        seed: plan.scenario.run().seed,
        blobs: Box::new(move |digest| content.path(digest)),
        budget: Budget { cap: plan.time_cap },
        memory_share: plan.memory_share(),
    };
    let pool = Pool::start(
        &session.guests,
        plan.jobs(),
        executor,
        session.interrupt.clone(),
        session.recorder.inflight(),
        session.sender,
    );
    let lanes = lanes(plan, &session.history.state, &suspects.held)
        .map_err(|error| broken(format!("cannot read the run's tests: {error}")))?;
    let dispatcher = Dispatcher::new(Parts {
        lanes,
        state: session.history.state,
        suspects,
        recorder: session.recorder,
        pool,
        interrupt: session.interrupt,
        rules: Rules {
            memory: plan.memory(),
            fail_fast: plan.fail_fast(),
            grace: plan.grace(),
            ends,
            limit: plan.time_limit(),
        },
        fingerprints: Fingerprints::new(&plan.providers, plan.scenario.run().seed),
        observe: session.observe,
    });
    dispatcher.run(&mut session.inbox).await
}

/// Links the plugins, unless a stop or the run's deadline comes first.
async fn make_ready(
    plan: &Plan,
    session: &mut Session<'_>,
    ends: Moment,
) -> Result<Vec<Option<ReadyProvider>>, SessionError> {
    let interrupt = &session.interrupt;
    let stop = async {
        tokio::select! {
            request = next_stop(&mut session.inbox) => request.cause(),
            () = clock::sleep_until(ends) => Cause::of(Reason::Timeout),
        }
    };
    tokio::pin!(stop);
    let ready = tokio::select! {
        biased;
        stop = &mut stop => Err(stop),
        ready = plan.link(session.engine, &session.guests, interrupt, session.observe) => Ok(ready),
    };
    let cause = match ready {
        Ok(Ok(providers)) => return Ok(providers),
        // It saw the request before its message came here.
        Ok(Err(ReadyError::Stopped)) => stop.await,
        Ok(Err(error)) => return Err(SessionError::Ready(error)),
        Err(stop) => stop,
    };
    interrupt.now();
    Err(SessionError::Stopped(cause))
}

async fn next_stop(inbox: &mut UnboundedReceiver<Message>) -> StopRequest {
    loop {
        match inbox.recv().await {
            Some(Message::Stop(request)) => return request,
            Some(Message::Report(_) | Message::Broken(_) | Message::Written(_)) => {}
            None => std::future::pending().await,
        }
    }
}

/// Makes a lane for every provider that has trials; what earlier sessions have done lies behind all of them.
fn lanes(plan: &Plan, state: &State, held: &Arc<HashSet<u64>>) -> io::Result<Vec<Lane>> {
    let suite = plan.suite();
    let first_test = match state.next_pending(0) {
        Some(ordinal) => suite.reader().at(ordinal)?.0.index,
        None => suite.test_count(),
    };
    let planned = plan.providers.iter().enumerate();
    Ok(planned
        .filter_map(|(index, provider)| {
            let held = Arc::clone(held);
            Some(Lane::new(
                index,
                provider.as_ref()?,
                suite,
                held,
                first_test,
            ))
        })
        .collect())
}

/// Reads the wall clock; everything that is measured uses the monotonic one.
pub fn wall_clock() -> Timestamp {
    Timestamp::now()
}
