//! [`run`]: from a plan to a session: makes providers ready, starts the pool, and lets the dispatcher go on.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
};

use super::{
    attempt::Budget,
    clock::Now,
    dispatcher::{
        AHEAD, AHEAD_ELSEWHERE, Dispatcher, DispatcherParts, GradingParts, Lane, LaneRules, Rules,
        SessionMessage, Suspects, Tests,
    },
    drive::{Inboxes, LiveEffects, drive},
    event::Event,
    graders::{self, GraderHost},
    grading::Backlog,
    local::{Executor, POOL, Pool, PoolHost, ReadyProvider},
    plan::{Fingerprints, Plan, PlannedProvider},
    ready::{ReadyError, ReadyPlugins},
    seam::{Capacity, FromExecutors},
    session_end::SessionEnd,
    stop::{Cause, PauseNews, StopRequest},
    workers::{Crew, CrewEvent, CrewParts, RemoteWorker, WorkerHost, Workers},
};
use crate::{
    model::Reason,
    plugin::{Engine, Interrupt, MemoryBudget, Moment, clock},
    record::{History, Recorder, State, WaitingTrials},
};

/// How long a session waits for somebody who lacks nothing: longer than it takes until whoever was cut off is back.
const FORSAKEN: Duration = Duration::from_secs(30);

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
    /// What the recorder acknowledges, and requests to stop.
    pub inbox: UnboundedReceiver<SessionMessage>,
    /// Who has paused the session, if somebody has.
    pub pauses: PauseNews,
    /// Stops guests.
    pub interrupt: Interrupt,
    /// Under which folder attempts have theirs.
    pub scratch_root: PathBuf,
    /// What is judged again, where that is all that the session does: no trial is run.
    pub judging: Option<Backlog>,
    /// What workers are started with.
    pub workers: WorkerHost,
    /// The workers on other machines, as they come; then nobody makes attempts but these.
    pub remotes: Option<UnboundedReceiver<RemoteWorker>>,
    /// Sees what happens.
    pub observe: &'a mut dyn FnMut(Event<'_>),
}

/// Runs a plan's trials to their end.
pub async fn run(plan: &Plan, session: Session<'_>) -> SessionEnd {
    begin(plan, session).await.unwrap_or_else(|early| early)
}

/// The same; the error is an end before the first trial.
async fn begin(plan: &Plan, mut session: Session<'_>) -> Result<SessionEnd, SessionEnd> {
    let ends = Moment::now() + plan.timeout();
    session.engine.heed(&session.interrupt);
    let mut ready = make_ready(plan, &mut session, ends).await?;
    let plugins = ready.providers.iter_mut().chain(&mut ready.graders);
    for provider in plugins.flatten() {
        provider
            .access
            .scratch_root
            .clone_from(&session.scratch_root);
    }
    let counts = session.history.state.counts();
    session
        .recorder
        .begin_run_stage()
        .map_err(|error| SessionEnd::not_stored(&error, counts))?;

    let fingerprints = Fingerprints::new(&plan.providers, &plan.graders, plan.options());
    let fingerprints = Arc::new(fingerprints);
    let is_judging = session.judging.is_some();
    let (lanes, suspects, grading) = what_is_left(plan, &mut session, &fingerprints)?;
    let (sender, executors) = mpsc::unbounded_channel();
    let (events, crew_inbox) = mpsc::unbounded_channel();
    let memory = plan.memory_budget();
    let graders = GraderHost {
        plan,
        memory: memory.clone(),
        dispatcher: sender.clone(),
        guests: session.guests.clone(),
        interrupt: session.interrupt.clone(),
        content: session.recorder.content(),
        in_flight: session.recorder.inflight(),
    };
    let (graders, graders_joined) = graders.begin(ready.graders);
    if let Some(remotes) = session.remotes.take() {
        tokio::spawn(let_in(remotes, events.clone()));
    }
    let parts = crew_parts(plan, ready.providers, memory, &session, sender, events);
    let (crew, mut joined) = Crew::begin(parts);
    joined.extend(graders_joined);
    let parts = DispatcherParts {
        rules: Rules {
            fail_fast: plan.fail_fast().filter(|_| !is_judging),
            grace: plan.grace(),
            ends,
            limit: plan.time_limit(),
            most: plan.most_spread(),
            is_spread: plan.is_spread(),
            forsaken: FORSAKEN,
            ahead: match plan.is_spread() {
                true => AHEAD_ELSEWHERE,
                false => AHEAD,
            },
            spending: plan.spending.clone(),
        },
        state: session.history.state,
        lanes,
        suspects,
        grading,
        fingerprint: Box::new(move |provider, test| fingerprints.of(provider, test)),
        out: LiveEffects {
            crew,
            graders,
            in_flight: session.recorder.inflight(),
            waits: WaitingTrials::default(),
            recorder: session.recorder,
            observe: session.observe,
        },
    };
    let inboxes = Inboxes {
        session: &mut session.inbox,
        executors,
        crew: crew_inbox,
        pauses: session.pauses,
    };
    let now = Now::read();
    let mut dispatcher = Dispatcher::begin(parts, now);
    for message in joined {
        dispatcher.receive_from_executor(now, message);
    }
    Ok(drive(dispatcher, inboxes).await)
}

/// Lets workers on other machines in, as they come.
async fn let_in(mut remotes: UnboundedReceiver<RemoteWorker>, events: UnboundedSender<CrewEvent>) {
    while let Some(worker) = remotes.recv().await {
        if events.send(CrewEvent::Arrived(worker)).is_err() {
            return;
        }
    }
}

/// What is left to run and to grade, or only to judge.
fn what_is_left(
    plan: &Plan,
    session: &mut Session<'_>,
    fingerprints: &Arc<Fingerprints>,
) -> Result<(Vec<Lane>, Suspects, GradingParts), SessionEnd> {
    let state = &session.history.state;
    let counts = state.counts();
    let unreadable = |error| {
        let error = format!("cannot read the run's tests: {error}");
        SessionEnd::broken(error, counts)
    };
    let graders = graders::of_plan(plan);
    let killed = session.history.grading_deaths.clone();
    if let Some(backlog) = session.judging.take() {
        let grading = graders::parts(plan, graders, counts.planned, backlog, killed);
        return Ok((Vec::new(), Suspects::default(), grading));
    }
    let mut reader = plan.suite().reader();
    let deaths = &session.history.deaths;
    let poison_after = plan.options().poison_after();
    let suspects = Suspects::of(deaths, state, poison_after, |ordinal| reader.at(ordinal));
    let suspects = suspects.map_err(unreadable)?;
    let lanes = lanes(plan, state, &suspects.held).map_err(unreadable)?;
    let run_dir = session.recorder.run_dir();
    let backlog = graders::ungraded(plan, state, run_dir, fingerprints, &graders);
    let backlog = backlog.map_err(unreadable)?;
    let grading = graders::parts(plan, graders, counts.planned, backlog, killed);
    Ok((lanes, suspects, grading))
}

fn crew_parts<'a>(
    plan: &'a Plan,
    providers: Vec<Option<ReadyProvider>>,
    memory: Option<MemoryBudget>,
    session: &Session<'_>,
    dispatcher: UnboundedSender<FromExecutors>,
    events: UnboundedSender<CrewEvent>,
) -> CrewParts<'a> {
    let content = session.recorder.content();
    let counts = session.history.state.counts();
    let executor = Executor {
        providers,
        seed: plan.options().seed(),
        blobs: Box::new(move |digest| content.path(digest)),
        budget: Budget { cap: plan.time_cap },
        memory_share: plan.memory_share(),
        memory,
    };
    let capacity = Capacity {
        // Those on other machines bring theirs.
        slots: if plan.is_spread() { 0 } else { plan.jobs() },
        memory: plan.memory(),
    };
    let host = PoolHost {
        who: POOL,
        guests: session.guests.clone(),
        interrupt: session.interrupt.clone(),
        in_flight: Some(session.recorder.inflight()),
        run_dir: Some(session.recorder.run_dir().to_owned()),
        dispatcher: dispatcher.clone(),
        closed: {
            let events = events.clone();
            // Without a driver there is nobody to hear.
            Box::new(move |slot| drop(events.send(CrewEvent::Closed(slot))))
        },
    };
    CrewParts {
        pool: Pool::new(executor, host),
        capacity,
        pending: counts.planned.saturating_sub(counts.done()),
        in_flight: session.recorder.inflight(),
        workers: Workers::of(
            plan,
            session.recorder,
            &session.workers,
            &session.scratch_root,
        ),
        dispatcher,
        events,
    }
}

/// Links the plugins, unless a stop or the run's deadline comes first.
async fn make_ready(
    plan: &Plan,
    session: &mut Session<'_>,
    ends: Moment,
) -> Result<ReadyPlugins, SessionEnd> {
    let counts = session.history.state.counts();
    let interrupt = &session.interrupt;
    let content = session.recorder.content();
    let blobs = |digest| content.path(digest);
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
        ready = plan.link(session.engine, &session.guests, interrupt, &blobs, session.observe) => Ok(ready),
    };
    let cause = match ready {
        Ok(Ok(providers)) => return Ok(providers),
        // It saw the request before its message came here.
        Ok(Err(ReadyError::Stopped)) => stop.await,
        Ok(Err(error)) => return Err(SessionEnd::not_ready(&error, counts)),
        Err(stop) => stop,
    };
    interrupt.now();
    Err(SessionEnd::stopped_early(cause, counts))
}

async fn next_stop(inbox: &mut UnboundedReceiver<SessionMessage>) -> StopRequest {
    loop {
        match inbox.recv().await {
            Some(SessionMessage::Stop(request)) => return request,
            Some(SessionMessage::Written(_)) => {}
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
            let mut reader = suite.reader_of_lane();
            let tests = Tests {
                read: Box::new(move |test| reader.test(test)),
                first: first_test,
                count: suite.test_count(),
            };
            let rules = lane_rules(plan, index, provider.as_ref()?);
            Some(Lane::new(rules, tests, Arc::clone(held)))
        })
        .collect())
}

fn lane_rules(plan: &Plan, index: usize, provider: &PlannedProvider) -> LaneRules {
    let definition = &provider.definition;
    LaneRules {
        provider: index,
        id: definition.id.clone(),
        concurrency: plan.concurrency(provider),
        rate: definition.rate,
        memory: provider.limits.memory,
        keeps_instances: definition.reuse.is_some(),
    }
}
