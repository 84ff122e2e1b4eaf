//! The guest thread: loads plugins, then makes attempts, as many at once as there are slots.

use std::{
    cell::Cell,
    fs,
    future::{Future, poll_fn},
    io,
    path::{Path, PathBuf},
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use runner_model::{
    Digest, TaskId,
    prepare::{Described, Prepare, Ready, WallStatus},
    protocol::{FromWorker, Line, TaskKind},
    provider::Reuse,
    test::{Attachment, Test},
};
use runner_sandbox::{AttachedFile, Engines, Redactor};
use tokio::{
    runtime,
    task::{JoinSet, LocalSet, spawn_local, yield_now},
    time::sleep,
};

use crate::{
    attempt::{Attempt, AttemptResult},
    check::check,
    control::refused,
    instances::{Instances, TEARDOWN, tear_down},
    judge::{Evidence, Judge, judge_again, most_tree},
    provider::{LoadedProvider, load_plugins},
    report::AttemptReport,
    shared::{QueuedTask, WorkerState},
};

/// How long a slot goes on before other slots have their turn.
const TURN: Duration = Duration::from_millis(1);
/// How long a report may wait for others.
const REPORT_WITHIN: Duration = Duration::from_millis(10);
/// Bytes of lines that one worker tells for the run's log, and what it tells then.
const MAX_LOG: usize = 512 << 10;
const NOT_TOLD: &str = "what guests say when they are torn down is not told any more";

/// All that slots work with.
struct Slots {
    shared: Arc<WorkerState>,
    /// By index; none where the plugin cannot be used.
    providers: Vec<Option<Rc<LoadedProvider>>>,
    /// Bytes that the guests of one slot may have together.
    memory: u64,
    /// Bytes of lines that are still told for the run's log.
    log_left: Cell<usize>,
    blobs: String,
    judge: Judge,
}

/// Makes attempts until all slots have torn down what they keep.
///
/// # Errors
///
/// A supervisor that is gone or broken.
pub fn run(
    shared: Arc<WorkerState>,
    engines: &Engines,
    prepare: Prepare,
    standing: WallStatus,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let plugins = load_plugins(&prepare, engines, &shared).await?;
        let (mut providers, mut described) = (Vec::new(), Vec::new());
        for (index, prepared) in (0..).zip(&prepare.providers) {
            let (plugin, mut description) = (&plugins[&prepared.digest], None);
            let provider = LoadedProvider::new(&prepare, prepared, plugin, &mut description).await;
            described.push(Described {
                provider: index,
                description,
                problem: provider.as_ref().err().cloned(),
            });
            providers.push(provider.ok().map(Rc::new));
        }
        shared.say(&FromWorker::Ready(Ready { providers: described, standing }))?;
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
        spawn_local(slots.report_in_time());
        // One that fails does so for want of a supervisor, and none can go on without it.
        while let Some(ended) = running.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

impl Slots {
    /// Makes one attempt after the other.
    async fn run(self: Rc<Self>, slot: usize) -> io::Result<()> {
        let mut instances = Instances::default();
        let mut turn_began = Instant::now();
        loop {
            let wake = self.shared.wake.notified();
            let Some(order) = self.shared.next() else {
                self.shared.rest(slot)?;
                if self.shared.is_finished() {
                    return self.log(instances.tear_down(None).await);
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
        order: &QueuedTask,
        instances: &mut Instances,
    ) -> io::Result<()> {
        let task = &order.task;
        let read;
        let line = match &task.line {
            Line::Bytes(_) => &order.line,
            Line::Digest(digest) => {
                read = fs::read(self.blob(digest).await?)?;
                &read
            }
        };
        let test: Test<'_> = serde_json::from_slice(line)?;
        let provider = self.providers.get(usize::from(task.provider));
        let Some(Some(provider)) = provider else {
            return Err(refused("a task of a provider that cannot be used"));
        };
        let schema = match &test.expect.schema {
            Some(digest) => Some(self.judge.schema(digest, &self.blob(digest).await?)?),
            None => None,
        };
        let files = self.files(task.kind, &test.files).await?;
        self.shared.begin(slot, task.id)?;
        let report = match task.kind {
            TaskKind::Judge => {
                let evidence = Evidence {
                    most_tree: most_tree(provider.settings.limits.reply),
                    schema: schema.as_deref(),
                    exit_code: provider.is_plain().then_some(0),
                    stderr: "",
                };
                let row = judge_again(&self.judge, &test.expect, &order.row, &evidence)?;
                self.report(task.id, row.into(), None)?
            }
            TaskKind::Check => {
                AttemptReport::of_problems(&check(provider, &test, &files, schema.as_deref()))
            }
            TaskKind::Run | TaskKind::Grade { .. } => {
                let attempt = Attempt { task, test: &test, files, schema, judge: &self.judge };
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
        provider: &Rc<LoadedProvider>,
        instances: &mut Instances,
    ) -> io::Result<AttemptReport> {
        let task = attempt.task.id;
        let made = async {
            let mut kept = instances.take(provider);
            let room = self.memory.saturating_sub(provider.settings.limits.memory);
            let mut lines = instances.tear_down(Some(room)).await;
            let activity = &self.shared.activities[slot];
            let made = attempt.make(provider, &mut kept, activity).await;
            match (kept, provider.settings.reuse) {
                (Some(instance), Some(Reuse::Instance)) => instances.keep(provider, instance),
                (Some(instance), None) => {
                    lines.extend(tear_down(provider, instance, TEARDOWN).await);
                }
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
        made: AttemptResult<'_>,
        redactor: Option<&Arc<Redactor>>,
    ) -> io::Result<AttemptReport> {
        AttemptReport::new(made, redactor, |index, bytes| {
            let piece = FromWorker::Artifact { task, index, bytes };
            self.shared.say(&piece)
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
        for line in lines {
            let (line, left) = match self.log_left.get() {
                0 => break,
                left => match left.checked_sub(line.len() + 1) {
                    Some(left) => (line, left),
                    None => (NOT_TOLD.into(), 0),
                },
            };
            self.log_left.set(left);
            self.shared.say(&FromWorker::Log(line))?;
        }
        Ok(())
    }

    /// The attachments of a test. Those of a call are there afterwards.
    async fn files(
        &self,
        kind: TaskKind,
        files: &[Attachment<'_>],
    ) -> io::Result<Vec<AttachedFile>> {
        let is_call = matches!(kind, TaskKind::Run | TaskKind::Grade { .. });
        let mut attached = Vec::with_capacity(files.len());
        for file in files {
            attached.push(AttachedFile {
                name: file.name.to_string(),
                bytes: file.bytes,
                path: match is_call {
                    true => self.blob(&file.sha256).await?,
                    false => PathBuf::new(),
                },
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
