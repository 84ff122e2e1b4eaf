//! A session from the moment its run can be listed until its end is written down; the same for new runs and those that
//! are gone on with.

use std::time::Duration;

use miette::miette;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::{
    Begin, Host, Notice, Observe,
    closing::close,
    engine::worker_host,
    log_entries,
    set_up::{SetUp, SettingUp, contained},
    spreading::Spreading,
    waiting::until,
};
use crate::{
    error::{Error, ExitStatus},
    model::{Counts, MachineShare},
    plugin::{self, Interrupt},
    record::{Conclusion, History, Manifest, RecordError, Recorder, RunId, Store, Written},
    run::{
        self, Backlog, LeftToOthers, PauseNews, Pauses, Plan, Session, SessionEnd, SessionMessage,
        StopRequest, Watchdog, WatchdogSettings,
    },
};

/// A session that has begun.
pub(super) struct Live<'a> {
    plan: &'a Plan,
    host: &'a Host,
    store: &'a Store,
    recorder: Recorder,
    inbox: UnboundedReceiver<SessionMessage>,
    news: PauseNews,
    interrupt: Interrupt,
    watchdog: Watchdog,
    setting_up: SettingUp<'a>,
    spreading: Option<Spreading>,
}

/// How the recorder acknowledges rows.
pub(super) type Acks = Box<dyn Fn(Written) + Send>;

impl<'a> Live<'a> {
    /// Begins a session; from here on signals and requests stop it in order.
    ///
    /// `open` makes the recorder: a birth, or another session of a run that exists.
    pub(super) fn begin(
        plan: &'a Plan,
        store: &'a Store,
        host: &'a Host,
        setting_up: SettingUp<'a>,
        observe: &mut dyn Observe,
        open: impl FnOnce(Acks) -> Result<Recorder, RecordError>,
    ) -> Result<Self, Error> {
        let (sender, inbox) = mpsc::unbounded_channel();
        let interrupt = Interrupt::default();
        let stop = stopper(&sender, &interrupt);
        // A signal that comes before the watchdog is there reaches the dispatcher all the same.
        if let Some(signals) = &host.signals {
            signals.listen(stop.clone());
        }

        let acks: Acks =
            Box::new(move |written| drop(sender.send(SessionMessage::Written(written))));
        let recorder = open(acks).map_err(Error::record)?;
        match recorder.open_log() {
            Ok(file) => host.log.go_to(file, plan.secret_values()),
            Err(error) => tracing::warn!("cannot write the session's log: {error}"),
        }
        log_entries::begin(plan, &recorder, host);
        // The time in which it waits for others does not count.
        let timeout = (!store.is_to_be_alone()).then(|| plan.timeout());
        let pauses = Pauses::new(recorder.run_dir().into(), recorder.session());
        let news = pauses.news();
        let watchdog = watch(plan, &recorder, host, (timeout, &pauses), stop.clone())?;
        if let Some(signals) = &host.signals {
            let told = watchdog.notifier();
            signals.pause_session(pauses.clone());
            signals.listen(move |request| {
                pauses.end();
                told(&request);
                stop(request);
            });
        }

        let grants = plan.access();
        observe.begin(&Begin {
            run: recorder.run_id(),
            run_dir: recorder.run_dir(),
            scenario: plan.scenario().name(),
            planned: plan.trial_count(),
            providers: plan.provider_count(),
            grants: grants
                .map(|(_, provider, _, grants)| (provider.as_str(), grants))
                .collect(),
            jobs: plan.jobs(),
            is_spread: plan.is_spread(),
            open_log: &|| recorder.open_log(),
        });
        Ok(Self {
            plan,
            host,
            store,
            recorder,
            inbox,
            news,
            interrupt,
            watchdog,
            setting_up,
            spreading: None,
        })
    }

    /// Lets workers on other machines make the attempts, if that is asked for.
    pub(super) fn over(mut self, spreading: Option<Spreading>) -> Self {
        self.spreading = spreading;
        self
    }

    /// Runs the trials that are left as soon as the session may, and writes down how it ended.
    pub(super) fn run(self, history: History, observe: &mut dyn Observe) -> Conclusion {
        self.go_on(history, None, observe)
    }

    /// The same, but only judges what is on disk; trials that are left to run leave the run as it was `before`.
    pub(super) fn judge(
        self,
        history: History,
        backlog: Backlog,
        before: &Manifest,
        observe: &mut dyn Observe,
    ) -> Conclusion {
        self.go_on(history, Some((backlog, before)), observe)
    }

    fn go_on(
        mut self,
        history: History,
        judging: Option<(Backlog, &Manifest)>,
        observe: &mut dyn Observe,
    ) -> Conclusion {
        let alone = self.wait_until_alone(history.state.counts());
        let Self {
            plan,
            host,
            store,
            mut recorder,
            inbox,
            news,
            interrupt,
            watchdog,
            setting_up,
            spreading,
        } = self;
        let counts = history.state.counts();
        let (judging, before) = judging.unzip();
        if let Err(ended) = alone {
            return close(recorder, watchdog, ended, plan, host, observe);
        }
        let spread = spreading.map(|spreading| spreading.open(plan, &recorder));
        let (open_run, remotes) = match spread.transpose() {
            Ok(spread) => spread.unzip(),
            Err(problem) => {
                let ended = SessionEnd::not_set_up(problem, counts);
                return close(recorder, watchdog, ended, plan, host, observe);
            }
        };
        plugin::sweep_folders(&host.scratch_root, (host.now)().into());
        // The engine stays until the end is written down: its ticker tells the watchdog's clock that the process runs.
        let (ended, _engine) = match setting_up.finish() {
            Err(panic) => (broken(&panic, counts), None),
            Ok(Err(problem)) => (SessionEnd::not_set_up(problem, counts), None),
            Ok(Ok(SetUp {
                engine,
                guests,
                main,
            })) => {
                engine.tell();
                let session = Session {
                    engine: &engine,
                    guests: guests.handle().clone(),
                    recorder: &mut recorder,
                    history,
                    inbox,
                    pauses: news,
                    interrupt,
                    scratch_root: host.scratch_root.clone(),
                    judging,
                    workers: worker_host(host, store.root()),
                    remotes,
                    observe: &mut |event| {
                        log_entries::goes_on(&event);
                        observe.event(&event);
                    },
                };
                let ended = contained(|| main.block_on(run::run(plan, session)));
                let ended = ended.unwrap_or_else(|panic| broken(&panic, counts));
                // A guest inside one long instruction cannot be joined.
                guests.shutdown_background();
                // With it ends what still speaks with workers elsewhere: their sockets are closed.
                drop(main);
                (ended, Some(engine))
            }
        };
        let ended = match before {
            Some(before) => ended.of_judging(before.reason, before.signal),
            None => ended,
        };
        let conclusion = close(recorder, watchdog, ended, plan, host, observe);
        // Workers elsewhere hear of it, and wait for other runs. Until they do it may take seconds, in which nothing could
        // be lost any more.
        drop(open_run);
        conclusion
    }

    /// Waits until this session is alone in its results root, if it is to be; a stop ends the wait, and then the session.
    fn wait_until_alone(&mut self, counts: Counts) -> Result<(), SessionEnd> {
        if !self.store.is_to_be_alone() {
            return Ok(());
        }
        tracing::info!("waiting for the other runs in the results root to end");
        let alone = until(self.host, || {
            if let Ok(SessionMessage::Stop(request)) = self.inbox.try_recv() {
                return Some(Err(SessionEnd::stopped_early(request.cause(), counts)));
            }
            match self.store.try_alone((self.host.now)()) {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(SessionEnd::not_stored(&error, counts))),
            }
        });
        self.watchdog.bound(self.plan.timeout());
        alone
    }
}

/// Sees to it that this process can do what a plan asks for, before anything is created.
pub(super) fn make_room(plan: &mut Plan, observe: &mut dyn Observe) -> Result<(), Error> {
    let reduced = plan.make_room().map_err(|no_room| Error {
        status: ExitStatus::Failed,
        report: no_room.into(),
    })?;
    for reduced in &reduced {
        observe.notice(&Notice::Reduced(reduced));
    }
    Ok(())
}

/// Leaves the other runs of the results root what they work with, and says so.
pub(super) fn leave_to_others(
    plan: &mut Plan,
    store: &Store,
    shares: &[(RunId, MachineShare)],
    observe: &mut dyn Observe,
) -> Option<LeftToOthers> {
    if store.is_to_be_alone() {
        // It waits until they have ended.
        return None;
    }
    let left = plan.leave_to_others(shares)?;
    observe.notice(&Notice::LeftToOthers(&left));
    Some(left)
}

fn stopper(
    sender: &UnboundedSender<SessionMessage>,
    interrupt: &Interrupt,
) -> impl Fn(StopRequest) + Clone + Send + 'static {
    let (sender, interrupt) = (sender.clone(), interrupt.clone());
    move |request| {
        if request.interrupts() {
            interrupt.request();
        }
        // Without a dispatcher there is nothing left to stop.
        drop(sender.send(SessionMessage::Stop(request)));
    }
}

fn watch(
    plan: &Plan,
    recorder: &Recorder,
    host: &Host,
    (timeout, pauses): (Option<Duration>, &Pauses),
    stop: impl Fn(StopRequest) + Send + 'static,
) -> Result<Watchdog, Error> {
    let settings = WatchdogSettings {
        run_dir: recorder.run_dir().into(),
        holding: recorder.holding(),
        timeout,
        grace: plan.grace(),
        exit_code: |reason, signal| ExitStatus::of_unkept_stop(reason, signal).code().into(),
        overdue: host.overdue.clone(),
        pauses: pauses.clone(),
    };
    Watchdog::start(settings, stop)
        .map_err(|error| Error::internal(miette!("cannot start the watchdog: {error}")))
}

/// How a session ends in which the runner has panicked. What is on disk is counted when that is written down.
fn broken(panic: &str, counts: Counts) -> SessionEnd {
    let error = format!("the runner itself failed: {panic}; this is a bug, please report it");
    SessionEnd::broken(error, counts)
}
