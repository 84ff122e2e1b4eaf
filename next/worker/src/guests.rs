//! The guest thread: loads plugins, then makes attempts, as many at once as there are slots.

use std::{
    cell::Cell,
    fs,
    future::{Future, pending, poll_fn},
    io,
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, TaskId,
    prepare::{Described, Prepare, Ready, Standing},
    protocol::{FromWorker, TaskKind},
    provider::Reuse,
    test::{Attachment, Expect, Test},
};
use runner_sandbox::{AttachedFile, Engines, Redactor};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet, yield_now},
    time::sleep,
};

use crate::{
    attempt::{Attempt, Made},
    check::check,
    instances::{Idle, Instances, MAX_LINE, TEARDOWN},
    judge::{Judge, SharedSchema, Stored, judge_again, most_tree},
    link::REPORT_WITHIN,
    provider::{Provider, load_plugins},
    report::Report,
    shared::{Order, Shared},
};

/// How long a slot goes on before other slots have their turn.
const TURN: Duration = Duration::from_millis(1);
/// Bytes of lines that one worker tells for the run's log.
const MAX_LOG: usize = 512 << 10;

/// All that the guest thread begins with.
pub struct Guests {
    pub shared: Arc<Shared>,
    pub engines: Engines,
    pub prepare: Prepare,
    /// What stands of the second wall.
    pub standing: Standing,
}

/// All that slots work with.
struct Slots {
    shared: Arc<Shared>,
    /// By index; none where the plugin cannot be used.
    providers: Vec<Option<Rc<Provider>>>,
    /// Bytes that the guests of one slot may have together.
    memory: u64,
    /// Bytes of lines that are still told for the run's log.
    log_left: Cell<usize>,
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
            standing,
        } = self;
        let plugins = load_plugins(&prepare, &engines, &shared).await?;
        let (mut providers, mut described) = (Vec::new(), Vec::new());
        for (index, prepared) in (0..).zip(&prepare.providers) {
            let (plugin, mut description) = (&plugins[&prepared.digest], None);
            let provider = Provider::new(&prepare, prepared, plugin, &mut description).await;
            described.push(Described {
                provider: index,
                description,
                problem: provider.as_ref().err().cloned(),
            });
            providers.push(provider.ok().map(Rc::new));
        }
        shared.say(&FromWorker::Ready(Ready {
            providers: described,
            standing,
        }))?;
        let slots = Rc::new(Slots {
            memory: prepare.memory / u64::from(prepare.slots.max(1)),
            log_left: Cell::new(MAX_LOG),
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
        let mut instances = Instances::new(self.memory);
        let mut turn_began = Instant::now();
        loop {
            let wake = self.shared.wake.notified();
            let Some(order) = self.shared.next() else {
                self.shared.rest(slot)?;
                if self.shared.is_finished() {
                    self.log(instances.tear_down().await)?;
                    self.shared.note_torn_down();
                    return pending().await;
                }
                wake.await;
                turn_began = Instant::now();
                continue;
            };
            self.attempt(slot, &order, &mut instances).await?;
            if turn_began.elapsed() >= TURN {
                yield_now().await;
                turn_began = Instant::now();
            }
        }
    }

    /// Gets all that a task needs, does what it asks for, and reports.
    async fn attempt(
        &self,
        slot: usize,
        order: &Order,
        instances: &mut Instances,
    ) -> io::Result<()> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let task = &order.task;
        let read;
        let line = match order.line() {
            Ok(line) => line,
            Err(digest) => {
                read = fs::read(self.blob(digest).await?)?;
                &read
            }
        };
        let test: Test<'_> = serde_json::from_slice(line)?;
        let provider = self.providers.get(usize::from(task.provider));
        let Some(Some(provider)) = provider else {
            return Err(bad("a task of a provider that cannot be used"));
        };
        let schema = self.schema(&test.expect).await?;
        let files = match task.kind {
            TaskKind::Judge => Vec::new(),
            _ => self.files(&test.files).await?,
        };
        self.shared.begin(slot, task.id)?;
        let report = match task.kind {
            TaskKind::Judge => {
                let stored = Stored {
                    row: order.row(),
                    is_plain: provider.is_plain(),
                    most_tree: most_tree(provider.settings.limits.reply),
                    schema: schema.as_deref(),
                };
                let made = judge_again(&self.judge, &test.expect, &stored)?;
                self.report(task.id, made, None)?
            }
            TaskKind::Check => {
                Report::of_problems(&check(provider, &test, &files, schema.as_ref()))
            }
            TaskKind::Run | TaskKind::Grade { .. } => {
                let attempt = Attempt {
                    task,
                    test: &test,
                    files,
                    schema,
                    judge: &self.judge,
                };
                self.make(slot, &attempt, provider, instances).await?
            }
        };
        self.shared.report(slot, task.id, &report)
    }

    /// Makes the attempt, in an instance that is kept where the provider says so, and sends the files that it left.
    async fn make(
        &self,
        slot: usize,
        attempt: &Attempt<'_>,
        provider: &Rc<Provider>,
        instances: &mut Instances,
    ) -> io::Result<Report> {
        let (task, index) = (attempt.task.id, attempt.task.provider);
        let activity = &self.shared.activities[slot];
        let made = async {
            let mut lines = Vec::new();
            while let Some(idle) = instances.surplus(index, provider.settings.limits.memory) {
                lines.extend(idle.tear_down(TEARDOWN).await);
            }
            let mut kept = instances.take(index);
            let made = attempt.make(provider, &mut kept, activity).await;
            let idle = kept.map(|instance| Idle {
                index,
                provider: provider.clone(),
                instance,
            });
            match (idle, provider.settings.reuse) {
                (Some(idle), Some(Reuse::Instance)) => instances.keep(idle),
                (Some(idle), None) => lines.extend(idle.tear_down(TEARDOWN).await),
                (None, _) => {}
            }
            (made, lines)
        };
        let (made, lines) = self.watched(task, made).await;
        self.log(lines)?;
        self.report(task, made, provider.access.secrets.redactor())
    }

    /// Makes a report, and sends the artifacts.
    fn report(
        &self,
        task: TaskId,
        made: Made<'_>,
        redactor: Option<&Arc<Redactor>>,
    ) -> io::Result<Report> {
        Report::new(made, redactor, |index, bytes| {
            self.shared
                .say(&FromWorker::Artifact { task, index, bytes })
        })
    }

    /// Lets others see when a task's guest is on the processor.
    async fn watched<T>(&self, task: TaskId, made: impl Future<Output = T>) -> T {
        let mut made = pin!(made);
        poll_fn(|context| {
            self.shared.put_on_processor(task);
            let poll = made.as_mut().poll(context);
            self.shared.put_on_processor(TaskId(0));
            poll
        })
        .await
    }

    /// Tells lines for the run's log. No worker is believed that says very much there.
    fn log(&self, lines: Vec<String>) -> io::Result<()> {
        for mut line in lines {
            let mut left = self.log_left.get().saturating_sub(1 + line.len());
            if self.log_left.get() == 0 {
                break;
            }
            if left < MAX_LINE {
                left = 0;
                line = "what guests say when they are torn down is not told any more".into();
            }
            self.log_left.set(left);
            self.shared.say(&FromWorker::Log(line))?;
        }
        Ok(())
    }

    /// The schema that a test expects.
    async fn schema(&self, expect: &Expect) -> io::Result<Option<SharedSchema>> {
        let Some(digest) = &expect.schema else {
            return Ok(None);
        };
        if let Some(schema) = self.judge.schema(digest) {
            return Ok(Some(schema));
        }
        let file = fs::read(self.blob(digest).await?)?;
        Ok(Some(self.judge.add_schema(*digest, &file)))
    }

    /// The attachments of a test, which are there afterwards.
    async fn files(&self, files: &[Attachment<'_>]) -> io::Result<Vec<AttachedFile>> {
        let mut attached = Vec::with_capacity(files.len());
        for file in files {
            attached.push(AttachedFile {
                name: file.name.to_string(),
                bytes: file.bytes,
                path: self.blob(&file.sha256).await?,
            });
        }
        Ok(attached)
    }

    /// Where a blob of the session is; it is asked for if it is missing.
    async fn blob(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = Path::new(&self.blobs).join(digest.to_string());
        if !path.try_exists()? {
            self.shared.say(&FromWorker::NeedBlob(*digest))?;
            self.shared.arrival(digest).await;
        }
        Ok(path)
    }

    /// Sends reports that no later one sends.
    async fn report_in_time(self: Rc<Self>) -> io::Result<()> {
        loop {
            sleep(REPORT_WITHIN).await;
            self.shared.flush()?;
        }
    }
}
