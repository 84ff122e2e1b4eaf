//! The guest thread: loads plugins, then makes attempts, as many at once as there are slots.

use std::{
    fs,
    future::{Future as _, poll_fn},
    io,
    path::Path,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, TaskId,
    prepare::{Prepare, Ready, Standing},
    protocol::{FromWorker, TaskKind},
    test::Test,
};
use runner_sandbox::Engines;
use tokio::{
    runtime,
    task::{JoinSet, LocalSet, yield_now},
    time::sleep,
};

use crate::{
    attempt::Attempt,
    judge::{Judge, judge_again},
    link::REPORT_WITHIN,
    provider::{Provider, load_plugins},
    report::Report,
    shared::{Order, Shared},
};

/// How long a slot goes on before other slots have their turn.
const TURN: Duration = Duration::from_millis(1);

/// All that the guest thread begins with.
pub struct Guests {
    pub shared: Arc<Shared>,
    pub engines: Engines,
    pub prepare: Prepare,
}

/// All that slots work with.
struct Slots {
    shared: Arc<Shared>,
    /// By index; none where the plugin cannot be used.
    providers: Vec<Option<Provider>>,
    blobs: String,
    judge: Judge,
}

impl Guests {
    /// Makes attempts. Does not return but by an error: a supervisor that is gone or broken.
    pub fn run(self) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        LocalSet::new().block_on(&runtime, self.serve())
    }

    async fn serve(self) -> io::Result<()> {
        let Self {
            shared,
            engines,
            prepare,
        } = self;
        let plugins = load_plugins(&prepare, &engines, &shared).await?;
        let (mut providers, mut described) = (Vec::new(), Vec::new());
        for (index, prepared) in prepare.providers.into_iter().enumerate() {
            let plugin = &plugins[&prepared.digest];
            let (provider, words) = Provider::new(index, prepared, plugin, prepare.describe).await;
            providers.push(provider);
            described.push(words);
        }
        shared.say(&FromWorker::Ready(Ready {
            providers: described,
            standing: Standing::default(),
        }))?;
        let slots = Rc::new(Slots {
            providers,
            blobs: prepare.blobs,
            judge: Judge::default(),
            shared,
        });
        let mut running = JoinSet::new();
        for slot in 0..slots.shared.count() {
            running.spawn_local(slots.clone().run(slot));
        }
        running.spawn_local(slots.report_in_time());
        // The first that ends does so by an error or a panic, and none can go on without it.
        let ended = running.join_next().await;
        ended.map_or(Ok(()), |ended| ended.map_err(io::Error::other)?)
    }
}

impl Slots {
    /// Makes one attempt after the other.
    async fn run(self: Rc<Self>, slot: usize) -> io::Result<()> {
        let mut turn_began = Instant::now();
        loop {
            let wake = self.shared.wake.notified();
            let Some(order) = self.shared.next() else {
                self.shared.rest(slot)?;
                wake.await;
                turn_began = Instant::now();
                continue;
            };
            self.attempt(slot, &order).await?;
            if turn_began.elapsed() >= TURN {
                yield_now().await;
                turn_began = Instant::now();
            }
        }
    }

    async fn attempt(&self, slot: usize, order: &Order) -> io::Result<()> {
        let id = order.task.id;
        let read;
        let line = match order.line() {
            Ok(line) => line,
            Err(digest) => {
                read = self.blob(digest).await?;
                &read
            }
        };
        self.shared.begin(slot, id)?;
        let report = self.make(order, line).await?;
        self.shared.report(slot, id, &report)
    }

    /// Makes the attempt, and lets others see when its guest is on the processor.
    async fn make<'a>(&self, order: &'a Order, line: &[u8]) -> io::Result<Report<'a>> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let task = &order.task;
        let test: Test<'_> = serde_json::from_slice(line)?;
        if task.kind == TaskKind::Judge {
            return judge_again(&self.judge, &test.expect, order.row());
        }
        let provider = self.providers.get(usize::from(task.provider));
        let Some(Some(provider)) = provider else {
            return Err(bad("a task of a provider that cannot be used"));
        };
        let attempt = Attempt {
            task,
            test: &test,
            judge: &self.judge,
        };
        let mut made = pin!(attempt.make(provider));
        let watched = poll_fn(|context| {
            self.shared.put_on_processor(task.id);
            let poll = made.as_mut().poll(context);
            self.shared.put_on_processor(TaskId(0));
            poll
        });
        Ok(watched.await)
    }

    /// Reads a blob of the session, and asks for it if it is missing.
    async fn blob(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        let path = Path::new(&self.blobs).join(digest.to_string());
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shared.say(&FromWorker::NeedBlob(*digest))?;
                self.shared.arrival(digest).await;
                fs::read(&path)
            }
            read => read,
        }
    }

    /// Sends reports that no later one sends.
    async fn report_in_time(self: Rc<Self>) -> io::Result<()> {
        loop {
            sleep(REPORT_WITHIN).await;
            self.shared.flush()?;
        }
    }
}
