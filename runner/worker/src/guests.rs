//! The guest thread: loads plugins, then runs tasks, one at a time in each slot.

use std::future::{Future, pending, poll_fn};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};
use std::{cell::Cell, fs, fs::File, io, rc::Rc, sync::Arc, time::SystemTime};

use runner_model::prepare::{Described, Prepare, Ready, WallStatus};
use runner_model::protocol::{DIVERGED, FromWorker, LOG_LINE, Line, Recorded, Task, TaskKind};
use runner_model::provider::{Grading, PreparedProvider, ProviderFile, Reuse};
use runner_model::row::{Judgement, StandingGrade};
use runner_model::test::{Attachment, Test};
use runner_model::workspace::{GradedAccess, GradedWorkspace, KeptChanges, read_base};
use runner_model::{Digest, Outcome, Row, RowRef, TaskId, log::Said, visible::visible_line};
use runner_sandbox::{
    Activity, AttachedFile, Base, CallWorkspace, Engines, Journal, Keeper, Kept, Overlay,
    RecordedCalls, Redactor,
};
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};
use tokio::{runtime, time::sleep};

use crate::grade::{Question, ScoreBounds, decide, grade};
use crate::instances::{Instances, TEARDOWN, tear_down};
use crate::judge::{CompiledCache, Evidence, JudgedFiles, max_tree_bytes, rejudge};
use crate::left::workspaces::{Bases, content};
use crate::provider::{LoadedProvider, Tools, load_plugins, plugin_key};
use crate::report::{AttemptReport, AttemptResult};
use crate::worker_state::{QueuedTask, WorkerState};
use crate::{attempt::Attempt, control::unexpected};

/// Time for which a slot runs tasks before it yields to the others.
const TURN: Duration = Duration::from_millis(1);
/// Time for which a report may wait in a batch.
const REPORT_WITHIN: Duration = Duration::from_millis(10);
/// Bytes of lines that one worker sends for the run's log. Guests write them during teardown.
const MAX_LOG: usize = 512 << 10;
/// The last line of a worker that has reached [`MAX_LOG`].
const LOG_IS_FULL: &str = "further output of guests during teardown is not logged";

struct Slots {
    state: Arc<WorkerState>,
    /// By index; `None` if the plugin cannot be used.
    providers: Vec<Option<Arc<LoadedProvider>>>,
    /// Bytes for the guests of one slot.
    memory: u64,
    /// Bytes left of [`MAX_LOG`].
    log_left: Cell<usize>,
    blobs: String,
    bases: Bases,
    cache: CompiledCache,
    compile_key: String,
}

/// Records that a guest can continue, and wakes it.
struct ReadyWaker {
    activity: Activity,
    inner: Waker,
}

impl Wake for ReadyWaker {
    fn wake(self: Arc<Self>) {
        self.activity.set_ready(true);
        self.inner.wake_by_ref();
    }
}

/// Runs tasks until all slots have torn down their instances.
///
/// # Errors
///
/// A supervisor that is gone or broken.
pub fn run(
    state: Arc<WorkerState>,
    engines: &Engines,
    prepare: Prepare,
    wall: WallStatus,
) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let plugins = load_plugins(&prepare, engines, &state).await?;
        let mut providers = Vec::new();
        let mut described = Vec::new();
        for (index, prepared) in (0..).zip(&prepare.providers) {
            let plugin = &plugins[&plugin_key(&prepare, prepared)];
            let mut description = None;
            let provider = LoadedProvider::new(&prepare, prepared, plugin, &mut description).await;
            described.push(Described {
                provider: index,
                description,
                problem: provider.as_ref().err().cloned(),
            });
            providers.push(provider.ok());
        }
        let providers = with_tools(&prepare.providers, providers);
        state.send(&FromWorker::Ready(Ready { providers: described, wall }))?;
        let slots = Rc::new(Slots {
            memory: prepare.memory / u64::from((prepare.slots + prepare.grader_slots).max(1)),
            log_left: Cell::new(MAX_LOG),
            providers,
            blobs: prepare.blobs,
            bases: Bases::new(&prepare.scratch),
            cache: CompiledCache::default(),
            compile_key: Engines::compile_key(),
            state,
        });
        let mut running = JoinSet::new();
        for slot in 0..slots.state.slot_count() {
            running.spawn_local(slots.clone().run(slot));
        }
        spawn_local(slots.flush_reports());
        // A slot fails only if the supervisor is gone, so the others must end, too.
        while let Some(ended) = running.join_next().await {
            ended.map_err(io::Error::other)??;
        }
        Ok(())
    })
}

/// Gives tools to the providers that may call them. `None` for providers that cannot be used.
fn with_tools(
    prepared: &[PreparedProvider],
    providers: Vec<Option<LoadedProvider>>,
) -> Vec<Option<Arc<LoadedProvider>>> {
    let providers = providers.into_iter().map(|provider| provider.map(Arc::new));
    let mut providers: Vec<_> = providers.collect();
    for (index, called) in prepared.iter().enumerate() {
        let all = prepared.iter().map(|one| &one.provider);
        let tools = called.provider.tools(all).filter_map(|place| providers[place].clone());
        let tools: Vec<_> = tools.collect();
        if !tools.is_empty()
            && let Some(provider) = providers[index].as_mut().and_then(Arc::get_mut)
        {
            provider.tools = Some(Arc::new(Tools::new(tools)));
        }
    }
    providers
}

/// Sends the entries of a task's journal to the coordinator.
struct EntryKeeper {
    state: Arc<WorkerState>,
    task: TaskId,
}

impl Keeper for EntryKeeper {
    fn keep(&self, entry: &[u8]) -> Kept {
        let wait = self.state.keep_entry(self.task, entry);
        Box::pin(async move {
            // Without the coordinator this worker ends.
            let is_kept = match wait {
                Ok(wait) => wait.await.is_ok(),
                Err(_) => false,
            };
            if !is_kept {
                pending::<()>().await;
            }
        })
    }
}

impl Slots {
    /// Runs one task after the other.
    async fn run(self: Rc<Self>, slot: usize) -> io::Result<()> {
        let mut instances = Instances::default();
        let mut turn_started = Instant::now();
        loop {
            let wake = self.state.wake.notified();
            let Some(queued) = self.state.pop_task(slot) else {
                self.state.clear_slot(slot)?;
                if self.state.is_finished() {
                    return self.log(instances.tear_down(None).await);
                }
                wake.await;
                turn_started = Instant::now();
                continue;
            };
            self.run_task(slot, &queued, &mut instances).await?;
            if turn_started.elapsed() >= TURN {
                yield_now().await;
                turn_started = Instant::now();
            }
        }
    }

    /// Fetches the blobs of a task, runs it and reports.
    async fn run_task(
        &self,
        slot: usize,
        queued: &QueuedTask,
        instances: &mut Instances,
    ) -> io::Result<()> {
        let task = &queued.task;
        let read;
        let line = match &task.line {
            Line::Bytes(_) => queued.line(),
            Line::Digest(digest) => {
                read = fs::read(self.blob(digest).await?)?;
                &read[..]
            }
        };
        let test: Test<'_> = serde_json::from_slice(line)?;
        let Some(Some(provider)) = self.providers.get(usize::from(task.provider)) else {
            return Err(unexpected("a task of a provider that cannot be used"));
        };
        let schema = match &test.expect.schema {
            Some(digest) => Some(self.cache.schema(digest, &self.blob(digest).await?)?),
            None => None,
        };
        let of_provider = provider.settings.files.iter().map(ProviderFile::attachment);
        let files = self.files(task.kind, test.files.iter().cloned().chain(of_provider)).await?;
        self.state.start_task(slot, task.id)?;
        let report = match task.kind {
            TaskKind::Judge => {
                let stored: RowRef<'_> = serde_json::from_slice(queued.row())?;
                let workspace = self.left_files(&test, &stored).await;
                let transcript = self.transcript(&test, &stored).await;
                let evidence = Evidence {
                    max_tree: max_tree_bytes(provider.settings.limits.reply),
                    schema: schema.as_deref(),
                    exit_code: provider.is_plain().then_some(0),
                    json_key: provider.json_key(),
                    stderr: "",
                    workspace: workspace.as_ref(),
                    transcript: transcript.as_ref(),
                };
                let mut row = rejudge(&self.cache, &test.expect, stored.clone(), &evidence);
                // The stored output may be longer than a row.
                row.output = None;
                row.fit();
                row.checks.retain(|check| check.kind.is_some());
                let judgement = Judgement {
                    outcome: row.outcome,
                    cut_by: row.cut_by,
                    checks: row.checks,
                    truncated: row.truncated,
                    grades: self.standing_grades(&test, &stored),
                };
                AttemptReport::from_result(&judgement, None)
            }
            TaskKind::Grade => self.grade(slot, queued, &test, provider, instances).await?,
            TaskKind::Check => {
                let problems = provider.check(&task.trial, &test, &files, schema.as_deref());
                AttemptReport::from_result(&problems, None)
            }
            TaskKind::Run => {
                let journal = self.journal(task, provider).await?;
                let workspace = self.workspace(task, &test, provider).await;
                let (test, cache) = (&test, &self.cache);
                let blobs = Path::new(&self.blobs);
                let clock = None;
                let attempt =
                    Attempt { task, test, files, schema, cache, blobs, workspace, clock, journal };
                let result = self.run_attempt(slot, &attempt, provider, instances).await?;
                self.report(task.id, result, provider.access.secrets.redactor())?
            }
        };
        self.state.report(slot, task.id, &report)
    }

    /// Calls a grader for a stored row.
    async fn grade(
        &self,
        slot: usize,
        queued: &QueuedTask,
        test: &Test<'_>,
        grader: &Arc<LoadedProvider>,
        instances: &mut Instances,
    ) -> io::Result<AttemptReport> {
        let task = &queued.task;
        let Some(grading) = &grader.settings.grading else {
            return Err(unexpected("a grade by a provider that is not a grader"));
        };
        let row: RowRef<'_> = serde_json::from_slice(queued.row())?;
        let bounds = ScoreBounds::new(grading, test);
        let question = match Question::new(grader, grading, test, &row) {
            Ok(question) => question,
            Err(error) => {
                let now = SystemTime::now().into();
                let row = Row {
                    outcome: Outcome::Error,
                    error: Some(error),
                    ..Row::new(&task.trial, task.attempt, now, Duration::ZERO, Duration::ZERO)
                };
                let grade = grade(task, grader, bounds, None, row, &Said::default());
                return Ok(AttemptReport::from_result(&grade, None));
            }
        };
        let asked = Test {
            tags: test.tags.clone(),
            ..Test::new(test.id.clone(), &question.input, task.timeout)
        };
        let attempt = Attempt {
            task,
            test: &asked,
            files: Vec::new(),
            schema: None,
            cache: &self.cache,
            blobs: Path::new(&self.blobs),
            workspace: self.graded_workspace(grading, test, &row, &grader.settings.name).await,
            clock: Some(row.started_at),
            journal: self.journal(task, grader).await?,
        };
        let AttemptResult { row, said, host_fault, .. } =
            self.run_attempt(slot, &attempt, grader, instances).await?;
        // The error of a grade whose journal cannot be used is a message to the coordinator.
        let has_diverged = row.error.as_ref().is_some_and(|error| &*error.code == DIVERGED);
        let is_interrupted = row.outcome == Outcome::Stopped && !has_diverged;
        let grade = (!is_interrupted)
            .then(|| grade(task, grader, bounds, Some(question.asked), row, &said));
        Ok(AttemptReport::from_result(&grade, host_fault))
    }

    /// Returns the stored grades that answer the questions of a test's graders. The other graders must be called.
    fn standing_grades<'a>(&self, test: &Test<'a>, stored: &RowRef<'_>) -> Vec<StandingGrade<'a>> {
        let standing = |name: &String| {
            let mut providers = self.providers.iter().flatten();
            let grader = providers.find(|provider| {
                provider.settings.grading.is_some() && *provider.settings.name == *name
            })?;
            let grading = grader.settings.grading.as_ref()?;
            let question = Question::new(grader, grading, test, stored).ok()?;
            let mut grades = stored.grades.iter();
            let old = grades
                .find(|grade| *grade.grader == *name && grade.asked == Some(question.asked))?;
            let bounds = ScoreBounds::new(grading, test);
            // A grade whose score alone did not decide has an error, too.
            let verdict = decide(old.own_verdict, old.score, bounds).ok()?;
            let grader = name.clone().into();
            let weight = grading.weight;
            Some(StandingGrade { grader, verdict, min_score: bounds.min(), weight })
        };
        test.expect.graders.iter().filter_map(standing).collect()
    }

    /// Returns the journal of an attempt, or the reason why the attempt cannot continue from it. `None` without one.
    async fn journal(
        &self,
        task: &Task,
        provider: &LoadedProvider,
    ) -> io::Result<Option<Result<Journal, String>>> {
        let settings = provider.settings.deterministic;
        let Some(in_flight) = settings.and_then(|settings| settings.journal) else {
            return Ok(None);
        };
        let clock = settings.and_then(|settings| settings.clock);
        let recorded = match &task.recorded {
            None => None,
            Some(recorded) => {
                let lines = File::open(self.blob(&recorded.sha256).await?)?;
                let Recorded { used, replayed, .. } = *recorded;
                let replayed = replayed.map(|start| clock.unwrap_or(start));
                let read =
                    RecordedCalls::read(lines, used, replayed, task.timeout, &self.compile_key);
                match read {
                    Ok(calls) => Some(Arc::new(calls)),
                    Err(reason) => return Ok(Some(Err(reason))),
                }
            }
        };
        let keeper = Arc::new(EntryKeeper { state: self.state.clone(), task: task.id });
        let is_replay = task.recorded.is_some_and(|recorded| recorded.replayed.is_some());
        Ok(Some(Ok(Journal {
            keeper,
            recorded,
            in_flight,
            is_replay,
            compile_key: self.compile_key.clone(),
        })))
    }

    /// Runs an attempt, in a kept instance if the provider reuses them.
    async fn run_attempt(
        &self,
        slot: usize,
        attempt: &Attempt<'_>,
        provider: &Arc<LoadedProvider>,
        instances: &mut Instances,
    ) -> io::Result<AttemptResult<'static>> {
        let task = attempt.task.id;
        let run = async {
            let mut kept = instances.take(provider);
            let room = self.memory.saturating_sub(provider.memory());
            let mut lines = instances.tear_down(Some(room)).await;
            let activity = &self.state.activities[slot];
            let result = attempt.run(provider, &mut kept, activity).await;
            match (kept, provider.settings.reuse) {
                (Some(instance), Some(Reuse::Instance)) => instances.keep(provider, instance),
                (Some(instance), None) => {
                    lines.extend(tear_down(provider, instance, TEARDOWN).await);
                }
                (None, _) => {}
            }
            (result, lines)
        };
        // Pinned here, because moving a future of 6 KiB into another one takes longer than a poll.
        let (result, lines) =
            self.track_processor(task, &self.state.activities[slot], pin!(run)).await;
        self.log(lines)?;
        Ok(result)
    }

    /// Encodes a report, and sends its artifacts.
    fn report(
        &self,
        task: TaskId,
        result: AttemptResult<'_>,
        redactor: Option<&Arc<Redactor>>,
    ) -> io::Result<AttemptReport> {
        AttemptReport::new(result, redactor, |index, bytes| {
            self.state.send(&FromWorker::Artifact { task, index, bytes })
        })
    }

    /// Marks the task as being on the processor during each poll. The supervisor blames it if the worker hangs.
    async fn track_processor<T>(
        &self,
        task: TaskId,
        activity: &Activity,
        mut run: Pin<&mut impl Future<Output = T>>,
    ) -> T {
        let mut own: Option<(Waker, Waker)> = None;
        poll_fn(|context| {
            let (_, waker) = match own.take().filter(|(inner, _)| inner.will_wake(context.waker()))
            {
                Some(same) => own.insert(same),
                None => {
                    let inner = context.waker().clone();
                    let waker = ReadyWaker { activity: activity.clone(), inner };
                    own.insert((context.waker().clone(), Arc::new(waker).into()))
                }
            };
            activity.set_ready(false);
            self.state.set_on_processor(task);
            let poll = run.as_mut().poll(&mut Context::from_waker(waker));
            self.state.set_on_processor(TaskId(0));
            poll
        })
        .await
    }

    /// Sends lines for the run's log, up to [`MAX_LOG`]: the supervisor kills a worker that floods the log.
    fn log(&self, lines: Vec<String>) -> io::Result<()> {
        for line in lines {
            let (line, left) = match self.log_left.get() {
                0 => break,
                left => match left.checked_sub(visible_line(&line).len() + LOG_LINE) {
                    Some(left) => (line, left),
                    None => (LOG_IS_FULL.into(), 0),
                },
            };
            self.log_left.set(left);
            self.state.send(&FromWorker::Log(line))?;
        }
        Ok(())
    }

    /// Returns the attachments of a test and its provider. Fetches their contents for a call only: a check needs just names and
    /// sizes.
    async fn files(
        &self,
        kind: TaskKind,
        files: impl Iterator<Item = Attachment<'_>>,
    ) -> io::Result<Vec<AttachedFile>> {
        let is_call = kind == TaskKind::Run;
        let mut attached = Vec::new();
        for file in files {
            attached.push(AttachedFile {
                name: file.name.to_string(),
                bytes: file.bytes,
                path: if is_call { self.blob(&file.sha256).await? } else { PathBuf::new() },
            });
        }
        Ok(attached)
    }

    /// Returns the workspace of an attempt. `None` without one.
    async fn workspace<'a>(
        &self,
        task: &Task,
        test: &Test<'_>,
        provider: &'a LoadedProvider,
    ) -> Option<io::Result<CallWorkspace<'a>>> {
        let settings = provider.settings.workspace.as_ref()?;
        let base = self.base(test.bases.get(&task.provider)).await;
        let keeps = settings.keep == KeptChanges::Changes;
        Some(base.map(|base| CallWorkspace {
            base,
            mount: &settings.mount,
            overlay: None,
            is_read_only: false,
            keeps,
        }))
    }

    /// Returns the workspace of a grader. `None` without one.
    async fn graded_workspace<'a>(
        &'a self,
        grading: &Grading,
        test: &Test<'_>,
        row: &RowRef<'_>,
        grader: &str,
    ) -> Option<io::Result<CallWorkspace<'a>>> {
        let GradedWorkspace { access, hidden } = grading.workspace.as_ref()?;
        let mut providers = self.providers.iter().flatten();
        let provider = providers.find(|one| one.settings.name == row.trial.provider);
        let Some(workspace) = provider.and_then(|one| one.settings.workspace.as_ref()) else {
            return Some(Err(unexpected("a grade of a provider without a workspace")));
        };
        let mount = &workspace.mount;
        let inside =
            |path: &String| Some(path.strip_prefix(&**mount)?.strip_prefix('/')?.to_owned());
        let replaced = hidden.keys().filter_map(inside).collect();
        let overlay = self.overlay(row, test.grader_files.get(grader), replaced).await;
        let base = self.base(row.workspace?.base.as_ref()).await;
        Some(base.and_then(|base| {
            Ok(CallWorkspace {
                base,
                mount,
                overlay: Some(Arc::new(overlay?)),
                is_read_only: *access == GradedAccess::Read,
                keeps: false,
            })
        }))
    }

    /// Returns what an attempt has left, with the files of a grader.
    async fn overlay(
        &self,
        row: &RowRef<'_>,
        files: Option<&Digest>,
        replaced: Vec<String>,
    ) -> io::Result<Overlay> {
        let [changes, contents] = row.changes();
        let mut overlay = Overlay {
            changes: Vec::new(),
            contents: None,
            replaced,
            files: Vec::new(),
            blobs: PathBuf::from(&self.blobs),
        };
        if let Some(changes) = changes {
            overlay.changes = fs::read(self.blob(&changes.sha256).await?)?;
        }
        if let Some(contents) = contents {
            overlay.contents = Some(self.blob(&contents.sha256).await?);
        }
        if let Some(files) = files {
            overlay.files = fs::read(self.blob(files).await?)?;
            for entry in read_base(&overlay.files)? {
                if let Some(content) = entry.sha256 {
                    self.blob(&content).await?;
                }
            }
        }
        Ok(overlay)
    }

    /// Returns what an attempt has left, as far as its test expects something of it.
    async fn left_files(
        &self,
        test: &Test<'_>,
        row: &RowRef<'_>,
    ) -> Option<Result<JudgedFiles, String>> {
        let expected = test.expect.workspace.as_ref()?;
        let left = row.workspace?;
        // The provider may have had `keep = "none"`. A missing list would look like an attempt that changed nothing.
        if !left.is_kept() {
            return Some(Err("its changes are not kept".to_owned()));
        }
        let base = left.base;
        let found = async {
            let [changes, contents] = row.changes();
            let mut blobs = Vec::new();
            for digest in [base.as_ref(), changes.map(|list| &list.sha256)] {
                blobs.push(match digest {
                    Some(digest) => fs::read(self.blob(digest).await?)?,
                    None => Vec::new(),
                });
            }
            let contents = match contents {
                Some(contents) => Some(File::open(self.blob(&contents.sha256).await?)?),
                None => None,
            };
            for content in JudgedFiles::of_base(expected, &blobs[0], &blobs[1])? {
                self.blob(&content).await?;
            }
            io::Result::Ok((blobs, contents))
        };
        let (blobs, contents) = match found.await {
            Ok(found) => found,
            Err(error) => return Some(Err(error.to_string())),
        };
        let folder = Path::new(&self.blobs);
        Some(JudgedFiles::read(expected, &blobs[0], &blobs[1], |left| {
            content(left, folder, contents.as_ref())
        }))
    }

    /// Returns the transcript of an attempt, if its test has expectations of it.
    async fn transcript(
        &self,
        test: &Test<'_>,
        row: &RowRef<'_>,
    ) -> Option<Result<String, String>> {
        test.expect.transcript.as_ref().filter(|expected| expected.needs_steps())?;
        let digest = row.transcript_artifact()?.sha256;
        let read = async { fs::read_to_string(self.blob(&digest).await?) };
        Some(read.await.map_err(|error| error.to_string()))
    }

    /// Returns the copy of a base. `None` without one.
    async fn base(&self, digest: Option<&Digest>) -> io::Result<Option<Arc<Base>>> {
        let Some(digest) = digest else { return Ok(None) };
        let request = |digest: &Digest| self.request(digest);
        self.bases.copy(digest, request, async |digest| self.blob(digest).await).await.map(Some)
    }

    /// Requests a blob if it is missing.
    fn request(&self, digest: &Digest) -> io::Result<()> {
        let path = Path::new(&self.blobs).join(digest.to_string());
        if path.try_exists()? { Ok(()) } else { self.state.request_blob(*digest) }
    }

    /// Returns the path of a blob. Requests it and waits if it is missing.
    async fn blob(&self, digest: &Digest) -> io::Result<PathBuf> {
        let path = Path::new(&self.blobs).join(digest.to_string());
        if !path.try_exists()? {
            self.state.request_blob(*digest)?;
            self.state.wait_for(digest).await;
        }
        Ok(path)
    }

    /// Sends batched reports every [`REPORT_WITHIN`]: no further report may follow that would fill the batch.
    async fn flush_reports(self: Rc<Self>) -> io::Result<()> {
        loop {
            sleep(REPORT_WITHIN).await;
            self.state.flush()?;
        }
    }
}
