//! A worker, as it sees itself: its first message sets it up, and then it makes attempts until it is told that there are no
//! more, or nobody is left to tell it.

use std::{
    fmt::Display,
    io,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use rustix::process::getppid;
use tokio::{
    runtime::{self, Runtime},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{self, Instant, MissedTickBehavior},
};

use super::{
    beat::{BEAT, Beating, OVERDUE},
    lines::{self, WorkerLine},
    said_buffer::SaidBuffer,
    saying,
    setup::Setup,
    socket::{Socket, send_now},
    wire::{
        FrameBuffer, Garbled, LogLevel, TaskKey, ToWorker, encode_beat, encode_log, encode_ready,
        encode_unready,
    },
};
use crate::{
    model::{Digest, ProviderId, ShownDuration, TrialId, chain},
    plugin::{Engine, EngineOptions, Interrupt, MemoryBudget, clock},
    record::{InFlight, RunReader},
    run::{
        attempt::Budget,
        local::{Executor, POOL, Pool, PoolHost},
        plan::Plan,
        seam::{Assignment, FromExecutors, Loss, ToExecutor},
    },
    scenario::SuiteReader,
};

/// As long as any process lives.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// Makes attempts for the runner that has started this process, with which it speaks over its standard input.
pub fn worker_child() -> ExitCode {
    hold_on_to_the_parent();
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody is there any more who could be told why.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Lets this process die with the thread that has started it, and of no signal that the runner has yet to decide on.
fn hold_on_to_the_parent() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Signal, set_parent_process_death_signal};
        // Elsewhere it ends when it reads the end of its socket.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        // Where no memory is left, the kernel is to take the worker, whose attempts are made again.
        let _ = fs_err::write("/proc/self/oom_score_adj", "500");
    }
    // Of Ctrl-Z the runner tells it.
    for signal in [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP] {
        // Nobody looks at the flag: all that matters is that the signal does not end the process.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

async fn serve() -> io::Result<()> {
    let input = rustix::stdio::stdin().try_clone_to_owned()?;
    let mut socket = Socket::new(input.into())?;
    let mut buffer = FrameBuffer::default();
    let setup = loop {
        if let Some(frame) = buffer.next().map_err(garbled)? {
            break Setup::decode(frame).map_err(garbled)?;
        }
        if !socket.fill(&mut buffer).await? {
            return Ok(());
        }
    };
    let parent = getppid().map(|pid| pid.as_raw_pid().unsigned_abs());
    if parent != Some(setup.parent) {
        // It died before this process could ask to die with it.
        return Ok(());
    }
    let (sender, said) = mpsc::unbounded_channel();
    let lines = lines::gather();
    let beating = Beating::begin(&socket.stream);
    let set_up = Workshop::set_up(setup, sender).await;
    drop(beating);
    let mut workshop = match set_up {
        Ok(workshop) => workshop,
        Err(reason) => return send_now(&socket.stream, &encode_unready(&reason)),
    };
    send_now(&socket.stream, &encode_ready())?;
    let done = workshop.work(&mut socket, &mut buffer, said, lines).await;
    // A guest inside one long instruction cannot be joined.
    workshop.guests.shutdown_background();
    done
}

/// All that a worker works with.
struct Workshop {
    pool: Pool,
    tests: SuiteReader,
    /// By their places in the scenario.
    providers: Vec<ProviderId>,
    said: SaidBuffer,
    dispatcher: UnboundedSender<FromExecutors>,
    guests: Runtime,
    _engine: Engine,
}

impl Workshop {
    /// Plans what the runner has planned, and links its plugins; the error says why it cannot.
    async fn set_up(
        setup: Setup,
        dispatcher: UnboundedSender<FromExecutors>,
    ) -> Result<Self, String> {
        let run = RunReader::open(&setup.run_dir).map_err(|error| chain(&error))?;
        let plan =
            Plan::of_handed(&run, setup.plan, &setup.suite).map_err(|error| chain(&error))?;
        let engine = setup.engine;
        let options = EngineOptions {
            compiler: engine.compiler,
            cache: engine.cache,
            compile_timeout: engine.compile_timeout,
            pool: engine
                .pools_sandboxes
                .then(|| plan.pool_of(setup.slots, setup.threads)),
        };
        let engine = Engine::new(options).map_err(|error| chain(&error))?;
        let guests = start_threads(setup.threads).map_err(|error| chain(&error))?;
        let interrupt = Interrupt::default();
        engine.heed(&interrupt);
        engine.tell();
        let content = run.content();
        let blobs = move |digest: Digest| -> PathBuf { content.path(digest) };
        let linked = plan.link_again(&engine, &interrupt, &blobs).await;
        let mut providers = linked.map_err(|(provider, error)| {
            format!("the plugin of provider `{provider}`: {}", chain(&error))
        })?;
        for provider in providers.iter_mut().flatten() {
            provider.access.scratch_root.clone_from(&setup.scratch_root);
        }
        let executor = Executor {
            providers,
            seed: plan.options().seed(),
            blobs: Box::new(blobs),
            budget: Budget { cap: plan.time_cap },
            memory_share: setup.memory_share,
            memory: setup.memory.map(MemoryBudget::new),
        };
        let in_flight = InFlight::join(&setup.run_dir, setup.session)
            .map_err(|error| format!("cannot note what is in flight: {error}"))?;
        let host = PoolHost {
            who: POOL,
            guests: guests.handle().clone(),
            interrupt,
            in_flight: Some(in_flight),
            run_dir: Some(setup.run_dir),
            dispatcher: dispatcher.clone(),
            closed: Box::new(|_| ()),
        };
        let planned = plan.scenario().providers().iter();
        Ok(Self {
            pool: Pool::new(executor, host),
            tests: plan.suite().reader(),
            providers: planned.map(|provider| provider.id.clone()).collect(),
            said: SaidBuffer::new(setup.window),
            dispatcher,
            guests,
            _engine: engine,
        })
    }

    /// Makes attempts until there are no more.
    async fn work(
        &mut self,
        socket: &mut Socket,
        buffer: &mut FrameBuffer,
        mut said: UnboundedReceiver<FromExecutors>,
        mut lines: UnboundedReceiver<WorkerLine>,
    ) -> io::Result<()> {
        let mut beats = time::interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(frame) = buffer.next().map_err(garbled)? {
                self.take(ToWorker::decode(frame).map_err(garbled)?);
            }
            self.said.look_again(self.pool.queued());
            let due = self.said.due();
            // No timer is as quick as none.
            if due.is_some_and(|due| due <= Instant::now()) {
                if !self.pass_on(socket, &mut said, &mut lines)? {
                    return Ok(());
                }
                continue;
            }
            tokio::select! {
                biased;
                _ = beats.tick() => self.beat(socket)?,
                more = socket.fill(buffer) => if !more? {
                    return Ok(());
                },
                Some(line) = lines.recv() => {
                    send_now(&socket.stream, &encode_log(line.level, &line.text))?;
                }
                () = time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
                Some(first) = said.recv(), if due.is_none() => {
                    self.said.begin(first, self.pool.queued());
                }
            }
        }
    }

    /// Passes on what executors have said; `false` if that was the last of it.
    fn pass_on(
        &mut self,
        socket: &Socket,
        said: &mut UnboundedReceiver<FromExecutors>,
        lines: &mut UnboundedReceiver<WorkerLine>,
    ) -> io::Result<bool> {
        let batch = self.said.take(|| said.try_recv().ok());
        let mut messages = batch.iter();
        let has_left = messages.any(|message| matches!(message, FromExecutors::Left { .. }));
        while let Ok(line) = lines.try_recv() {
            send_now(&socket.stream, &encode_log(line.level, &line.text))?;
        }
        saying::say(&socket.stream, batch)?;
        Ok(!has_left)
    }

    /// Says that it is there, unless it is not: no guest can be let go that does not heed its deadline.
    fn beat(&self, socket: &Socket) -> io::Result<()> {
        let Some(key) = self.pool.overdue(OVERDUE) else {
            return send_now(&socket.stream, &encode_beat());
        };
        let text = format!(
            "attempt {} of the trial with ordinal {} goes on {} behind its deadline: its process hangs and ends",
            key.number,
            key.ordinal,
            ShownDuration(OVERDUE)
        );
        send_now(&socket.stream, &encode_log(LogLevel::Error, &text))?;
        Err(io::ErrorKind::TimedOut.into())
    }

    fn take(&mut self, message: ToWorker) {
        match message {
            ToWorker::Open(slots) => slots.into_iter().for_each(|slot| self.pool.open(slot)),
            ToWorker::Assign(tasks) => {
                let batch: io::Result<Vec<_>> =
                    tasks.into_iter().map(|task| self.find(task)).collect();
                match batch {
                    Ok(batch) => self.pool.take(ToExecutor::Assign(batch)),
                    Err(error) => self.say_broken(&error),
                }
            }
            ToWorker::TakeBack => self.pool.take(ToExecutor::TakeBack),
            ToWorker::Stop(grace) => self.pool.take(ToExecutor::Stop { grace }),
            ToWorker::Close => self.pool.take(ToExecutor::Close),
            ToWorker::Pause => clock::pause(),
            ToWorker::GoOn => clock::resume(),
        }
    }

    /// Finds what is to be done for a trial.
    fn find(&mut self, task: TaskKey) -> io::Result<Assignment> {
        let (test, provider, repeat) = self.tests.at(task.ordinal)?;
        Ok(Assignment {
            ordinal: task.ordinal,
            number: task.number,
            provider,
            trial: TrialId {
                test: test.id.clone(),
                provider: self.providers[provider].clone(),
                repeat,
            },
            memory: task.memory,
            test,
            trial_left: task.trial_left,
        })
    }

    fn say_broken(&self, error: &dyn Display) {
        // It is there as long as this is.
        drop(self.dispatcher.send(FromExecutors::Lost {
            who: POOL,
            attempts: Vec::new(),
            why: Loss::Broken(format!("cannot read the run's tests: {error}")),
        }));
    }
}

fn start_threads(threads: usize) -> io::Result<Runtime> {
    let guests = runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("guest")
        .thread_keep_alive(FOR_EVER)
        .enable_all()
        .build()?;
    // One thread for what blocks is made now and stays.
    drop(guests.spawn_blocking(|| ()));
    Ok(guests)
}

fn garbled(_: Garbled) -> io::Error {
    io::ErrorKind::InvalidData.into()
}
