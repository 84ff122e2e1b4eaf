//! [`Pool`]: the workers of a session. It starts and replaces them, prepares them, has plugins compiled that they miss, and
//! hands them tasks.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    env, fs, io, mem,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender},
    },
};

use runner_model::{
    Digest, Micros, Reason, TaskId, WorkerId, digest,
    prepare::{Prepare, SecretValues},
    protocol::{Line, MAX_LINE, MAX_TASKS, SlotWord, Task, ToWorker},
    provider::PreparedProvider,
};
use runner_prepare::{ContentSource, machine};
use runner_record::{PluginCache, Scratch};

use super::{
    events::{PoolEvent, Supply, WorkerExit},
    link::{EventSink, WorkerLink},
    shape::Shape,
};
use crate::{clock::monotonic, input::Input, schedule::Blame};

/// Starts a worker.
pub(crate) type Launch = Box<dyn FnMut(EventSink) -> io::Result<Box<dyn WorkerLink>>>;

/// Tasks of one frame.
const BATCH: usize = 64;
/// So many workers in a row that die before they are ready end the session.
const MAX_FRUITLESS: u32 = 3;
/// Events of a worker that the session has not taken. With more of them its reader waits: a worker that speaks faster than it
/// is heard costs no memory.
const MAX_UNTAKEN: usize = 64;

/// The first worker of a session. It is started before it is known what it is to do, because starting takes a while.
pub(crate) struct PrestartedWorker {
    launch: Launch,
    link: Box<dyn WorkerLink>,
    untaken: Receiver<()>,
    sender: Sender<Input>,
    inputs: Receiver<Input>,
}

/// What workers are prepared with, and what they may ask for.
#[derive(Debug)]
pub(crate) struct Supplies {
    /// The scenario's name, for messages.
    pub(crate) name: String,
    /// The session's number, from 1.
    pub(crate) session: u32,
    pub(crate) grace: Micros,
    pub(crate) providers: Vec<PreparedProvider>,
    pub(crate) plugins: ContentSource,
    pub(crate) blobs: ContentSource,
    pub(crate) secrets: SecretValues,
    pub(crate) cache: PluginCache,
}

/// The workers of a session.
pub(crate) struct Pool {
    pub(super) launch: Launch,
    /// The worker that was started before the pool.
    pub(super) prestarted: Option<(Box<dyn WorkerLink>, Receiver<()>)>,
    pub(super) inputs: Sender<Input>,
    pub(super) workers: BTreeMap<WorkerId, PoolWorker>,
    pub(super) last: u32,
    pub(super) supplies: Supplies,
    pub(super) folder: Scratch,
    /// Set once no more workers are started and no plugin is needed any more.
    pub(super) is_closing: Arc<AtomicBool>,
    /// Who waits for what is being made.
    pub(super) waiting: HashMap<Supply, Vec<WorkerId>>,
    pub(super) is_described: bool,
    /// Whether what the one that has described the plugins was to check is checked.
    pub(super) is_checked: bool,
    /// Workers in a row that died before they were ready, or while they checked.
    pub(super) fruitless: u32,
    /// Whether all guests are to wait.
    pub(super) is_paused: bool,
    /// How many have died.
    pub(crate) deaths: u32,
}

pub(super) struct PoolWorker {
    pub(super) link: Box<dyn WorkerLink>,
    /// One for each event that was not taken.
    pub(super) untaken: Receiver<()>,
    pub(super) shape: Shape,
    pub(super) alone: bool,
    pub(super) describes: bool,
    pub(super) phase: Phase,
    pub(super) compile_key: String,
    pub(super) tasks: Vec<Task>,
    pub(super) body: Vec<u8>,
    /// Plugins that it did not find in the cache.
    pub(super) asked: Vec<Digest>,
    /// Answers that it owes to `TakeBack`.
    pub(super) owes_tasks: u32,
    /// Bytes that it has said for `runner.log`.
    pub(super) logged: usize,
    /// Why it is being killed, for messages, and the task that it lied about.
    pub(super) fault: Option<(String, Option<TaskId>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Started,
    /// It has said who it is.
    Known,
    /// It has loaded all plugins.
    Ready,
    /// The session knows of it and may send tasks.
    Working,
}

impl PrestartedWorker {
    /// Starts the worker.
    pub(crate) fn start(mut launch: Launch) -> io::Result<Self> {
        let (sender, inputs) = mpsc::channel();
        let (sink, untaken) = event_sink(WorkerId(1), &sender);
        let link = launch(sink)?;
        Ok(Self { launch, link, untaken, sender, inputs })
    }
}

/// Sends what is heard of a worker to the session, and waits while too much of it was not taken. Whoever takes an event takes
/// one from the receiver, too.
fn event_sink(worker: WorkerId, inputs: &Sender<Input>) -> (EventSink, Receiver<()>) {
    let inputs = inputs.clone();
    let (told, untaken) = mpsc::sync_channel(MAX_UNTAKEN);
    let sink = Box::new(move |event| {
        // Without a receiver the worker is gone, or the session has ended.
        let _ = told.send(());
        let _ = inputs.send(Input::Link(worker, event));
    });
    (sink, untaken)
}

impl Pool {
    /// Makes a pool without workers, and the receiver of its inputs.
    ///
    /// # Errors
    ///
    /// The temporary folder cannot be written.
    pub(super) fn new(
        prestarted: PrestartedWorker,
        supplies: Supplies,
    ) -> io::Result<(Self, Receiver<Input>)> {
        let folder = Scratch::make(&env::temp_dir()).map_err(io::Error::other)?;
        fs::create_dir(folder.path().join("blobs"))?;
        let PrestartedWorker { launch, link, untaken, sender, inputs } = prestarted;
        let pool = Self {
            launch,
            prestarted: Some((link, untaken)),
            inputs: sender,
            workers: BTreeMap::new(),
            last: 0,
            supplies,
            folder,
            is_closing: Arc::default(),
            waiting: HashMap::new(),
            is_described: false,
            is_checked: false,
            fruitless: 0,
            is_paused: false,
            deaths: 0,
        };
        Ok((pool, inputs))
    }

    /// Starts a worker of each shape. The prestarted one becomes the first.
    ///
    /// # Errors
    ///
    /// No process can be started.
    pub(crate) fn start(&mut self, shapes: &[Shape]) -> io::Result<()> {
        shapes.iter().try_for_each(|shape| self.add(*shape, false))
    }

    /// Ends the prestarted worker: the session does not start soon.
    pub(crate) fn drop_prestarted(&mut self) {
        if self.prestarted.take().is_some() {
            // Its exit is reported under its id, which no other worker may get.
            self.last += 1;
        }
    }

    /// Sends to the receiver that hears of workers.
    pub(crate) fn sender(&self) -> Sender<Input> {
        self.inputs.clone()
    }

    /// Starts a worker with one slot for an attempt that may end it.
    pub(crate) fn start_alone(&mut self) -> io::Result<()> {
        let memory = self.workers.values().map(|worker_state| worker_state.shape.memory);
        let memory = memory.max().unwrap_or_else(machine::memory);
        self.add(Shape { slots: 1, memory }, true)
    }

    /// Starts and prepares a worker.
    fn add(&mut self, shape: Shape, alone: bool) -> io::Result<()> {
        self.last += 1;
        let worker = WorkerId(self.last);
        let (link, untaken) = match self.prestarted.take() {
            Some(started) => started,
            None => {
                let (sink, untaken) = event_sink(worker, &self.inputs);
                ((self.launch)(sink)?, untaken)
            }
        };
        let scratch = self.folder.path().join(format!("worker-{}", worker.0));
        fs::create_dir(&scratch)?;
        let is_asked =
            self.is_described || self.workers.values().any(|worker_state| worker_state.describes);
        let of = &self.supplies;
        link.send(ToWorker::Prepare(Box::new(Prepare {
            run: of.name.clone(),
            session: of.session,
            cache: path_text(of.cache.path())?,
            blobs: path_text(&self.folder.path().join("blobs"))?,
            scratch: path_text(&scratch)?,
            slots: shape.slots,
            memory: shape.memory,
            grace: of.grace,
            describe: !is_asked,
            providers: of.providers.clone(),
            secrets: of.secrets.clone(),
        })));
        if self.is_paused {
            link.send(ToWorker::Pause(true));
        }
        let worker_state = PoolWorker {
            link,
            untaken,
            shape,
            alone,
            describes: !is_asked,
            phase: Phase::Started,
            compile_key: String::new(),
            tasks: Vec::new(),
            body: Vec::new(),
            asked: Vec::new(),
            owes_tasks: 0,
            logged: 0,
            fault: None,
        };
        self.workers.insert(worker, worker_state);
        Ok(())
    }

    pub(super) fn lose(
        &mut self,
        worker: WorkerId,
        mut loss: WorkerExit,
        events: &mut VecDeque<PoolEvent>,
    ) {
        let Some(worker_state) = self.workers.remove(&worker) else {
            return;
        };
        for waiting in self.waiting.values_mut() {
            waiting.retain(|waiting| *waiting != worker);
        }
        if let Some((fault, task)) = worker_state.fault {
            // The slot of a task that was reported may be empty.
            let task = task.filter(|task| loss.begun.iter().all(|word| word.task != task.0));
            loss.begun.extend(task.map(|TaskId(task)| SlotWord { task, began: monotonic() }));
            loss.blame = Some(Blame::Died);
            loss.how = format!("was killed, because it {fault}");
        }
        let has_checked = self.is_checked || !worker_state.describes;
        self.is_described &= has_checked;
        let is_fruitless = worker_state.phase < Phase::Ready || !has_checked;
        self.fruitless += u32::from(is_fruitless);
        let is_last_straw = is_fruitless && self.fruitless == MAX_FRUITLESS && !self.is_closing();
        if is_last_straw {
            let reason = match worker_state.phase {
                Phase::Started => Reason::Internal,
                _ => Reason::Plugin,
            };
            let message = format!(
                "{MAX_FRUITLESS} workers in a row ended before they were ready; the last one {}",
                loss.how
            );
            events.push_back(PoolEvent::Failed(reason, message));
        }
        events.push_back(PoolEvent::Exited(worker, loss));
        self.deaths += 1;
        // The schedule asks for another one to run an attempt alone, unless this one never came so far.
        if self.is_closing() || is_last_straw || worker_state.alone && !is_fruitless {
            return;
        }
        if let Err(error) = self.add(worker_state.shape, worker_state.alone) {
            let message = format!("a worker cannot be started: {error}");
            events.push_back(PoolEvent::Failed(Reason::Internal, message));
        }
    }

    /// Kills a worker that is broken or hostile; `fault` says what it did, in a report of `task`.
    pub(crate) fn fault(&mut self, worker: WorkerId, task: Option<TaskId>, fault: String) {
        if let Some(worker_state) = self.workers.get_mut(&worker) {
            worker_state.fault.get_or_insert((fault, task));
            worker_state.link.kill();
        }
    }

    /// Tells whether what a worker says still counts: not once it is being killed for what it said before.
    pub(crate) fn believes(&self, worker: WorkerId) -> bool {
        let worker_state = self.workers.get(&worker);
        worker_state.is_some_and(|worker_state| worker_state.fault.is_none())
    }

    /// Kills a worker that has not answered in time.
    pub(crate) fn kill(&self, worker: WorkerId) {
        if let Some(worker_state) = self.workers.get(&worker) {
            worker_state.link.kill();
        }
    }

    /// Hands a task over, to be sent with others by [`Self::flush`]. `body` is its test's line, then its stored row if it has one.
    pub(crate) fn assign(
        &mut self,
        worker: WorkerId,
        mut task: Task,
        body: &[u8],
    ) -> io::Result<()> {
        let Some(worker_state) = self.workers.get_mut(&worker) else {
            return Ok(());
        };
        let (line, row) = body.split_at(body.len() - task.row_bytes as usize);
        if line.len() > MAX_LINE {
            let digest = digest(line);
            let blob = self.folder.path().join("blobs").join(digest.to_string());
            if !blob.exists() {
                fs::write(blob, line)?;
            }
            task.line = Line::Digest(digest);
        }
        let body = if line.len() > MAX_LINE { row } else { body };
        if worker_state.body.len() + body.len() > MAX_TASKS {
            worker_state.flush();
        }
        worker_state.body.extend_from_slice(body);
        worker_state.tasks.push(task);
        if worker_state.tasks.len() == BATCH {
            worker_state.flush();
        }
        Ok(())
    }

    /// Sends all tasks that were assigned.
    pub(crate) fn flush(&mut self) {
        for worker_state in self.workers.values_mut() {
            worker_state.flush();
        }
    }

    /// Asks a worker for tasks that it has not begun; it may keep so many.
    pub(crate) fn take_back(&mut self, worker: WorkerId, keep: u32) {
        if let Some(worker_state) = self.workers.get_mut(&worker) {
            worker_state.owes_tasks += 1;
            worker_state.link.send(ToWorker::TakeBack { keep });
        }
    }

    /// Lets all guests wait, or go on; those of workers that come later, too.
    pub(crate) fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
        for worker_state in self.workers.values() {
            worker_state.link.send(ToWorker::Pause(is_paused));
        }
    }

    /// Tells workers to stop, ends those that cannot take tasks yet, and starts no more.
    pub(crate) fn stop(&mut self, kill: bool) {
        let grace = self.supplies.grace;
        self.close(&ToWorker::Stop { grace, kill });
    }

    /// Tells workers that nothing more will come.
    pub(crate) fn finish(&mut self) {
        let teardown = self.keeps_instances();
        self.close(&ToWorker::Finish { teardown });
    }

    /// Whether workers that were told to end tear down instances first.
    pub(crate) fn keeps_instances(&self) -> bool {
        let mut providers = self.supplies.providers.iter();
        providers.any(|prepared| prepared.provider.reuse.is_some())
    }

    fn close(&mut self, last: &ToWorker) {
        self.is_closing.store(true, Ordering::Release);
        for worker_state in self.workers.values() {
            if worker_state.phase < Phase::Ready {
                worker_state.link.kill();
            } else {
                worker_state.link.send(last.clone());
            }
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Acquire)
    }

    /// Whether all workers have exited.
    pub(crate) fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// How many workers there are.
    pub(crate) fn len(&self) -> usize {
        self.workers.len()
    }

    /// What all slots have begun.
    pub(crate) fn slots(&self) -> impl Iterator<Item = SlotWord> + '_ {
        self.workers.values().flat_map(|worker_state| worker_state.link.slots())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.is_closing.store(true, Ordering::Release);
    }
}

impl PoolWorker {
    fn flush(&mut self) {
        if !self.tasks.is_empty() {
            self.link.send(ToWorker::Tasks {
                tasks: mem::take(&mut self.tasks),
                body: mem::take(&mut self.body),
            });
        }
    }
}

fn path_text(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?;
    path.into_os_string()
        .into_string()
        .map_err(|path| io::Error::other(format!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        thread,
        time::Duration,
    };

    use runner_model::WorkerId;

    use super::{super::events::LinkEvent, MAX_UNTAKEN, event_sink};

    #[test]
    fn reader_waits_for_untaken_events() {
        let (sender, _inputs) = mpsc::channel();
        let (sink, untaken) = event_sink(WorkerId(1), &sender);
        let told = AtomicUsize::new(0);
        let is_told = |count| {
            while told.load(Ordering::SeqCst) < count {
                thread::yield_now();
            }
            // One that does not wait would go on now.
            thread::sleep(Duration::from_millis(20));
            told.load(Ordering::SeqCst) == count
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                // Moved, so that it ends with this thread.
                let sink = sink;
                for _ in 0..MAX_UNTAKEN + 10 {
                    sink(LinkEvent::Messages(Vec::new()));
                    told.fetch_add(1, Ordering::SeqCst);
                }
            });
            assert!(is_told(MAX_UNTAKEN));
            untaken.recv().unwrap();
            assert!(is_told(MAX_UNTAKEN + 1));
            // Of a worker that is gone nothing is waited for.
            drop(untaken);
            assert!(is_told(MAX_UNTAKEN + 10));
        });
    }
}
