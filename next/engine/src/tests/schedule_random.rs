//! Runs the schedule through random sessions with messages that are delayed, doubled, dropped and wrong, workers that die, stops
//! and a disk that fails, and checks invariants after each step.
//!
//! A failure prints its seed. `RUNNER_TEST_SEED=N` repeats only that session.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, HashSet, VecDeque},
    env,
    rc::Rc,
    time::Duration,
};

use runner_model::{
    Budgets, FailFast, HostFault, Micros, Reason, RunTime, SessionSettings, TaskId, WorkerId,
    provider::Rate,
};

use super::{
    Assignment, Blame, Bounds, Effect, LostReason, Policy, Schedule, ScheduleSettings, Spending,
    StopMode,
    harness::{Grid, Todo, read, retries, row, session},
};

/// Longest time until a row is on disk, in microseconds.
const DISK: u64 = 20_000;
/// Delay of a start that the rate catches up on, in microseconds.
const MAX_CATCH_UP: u64 = 10_000;
/// The smallest reserve of memory.
const MIB: u64 = 1 << 20;
/// Steps after which a session counts as endless.
const MAX_STEPS: u32 = 200_000;

/// SplitMix64: the same seed gives the same session.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `count`.
    fn below(&mut self, count: u64) -> u64 {
        self.next() % count
    }

    /// Returns `true` once in `count` times, and never if it is 0.
    fn one_in(&mut self, count: u64) -> bool {
        count > 0 && self.below(count) == 0
    }

    /// Returns a number up to `most`, of all orders of magnitude.
    fn spread(&mut self, most: u64) -> u64 {
        let bits = 64 - most.leading_zeros();
        let shift = self.below(u64::from(bits) + 1);
        self.below((most >> shift) + 1)
    }
}

/// Behaviour of a guest in all attempts of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Guest {
    Pass,
    Fail,
    /// Passes after this many attempts with `unavailable`.
    Unavailable(u32),
    /// Ends its worker, always or in the first attempt.
    Kill {
        always: bool,
    },
    /// Ends its worker before the slot is written.
    KillUnseen,
    /// Stays inside one instruction until the supervisor kills the worker.
    Stuck,
    /// Stays inside one instruction, unnoticed by the supervisor.
    Hang,
    /// Lacks memory or files in its first two attempts.
    Lack,
}

/// Frequencies of faults: each happens once in this many times, and never if it is 0.
#[derive(Clone, Copy, Debug, Default)]
struct World {
    double: u64,
    drop: u64,
    die: u64,
    lie: u64,
    stop: u64,
    pause: u64,
    disk_fails: u64,
    lack: u64,
    hang: u64,
}

impl World {
    fn new(random: &mut Random) -> Self {
        let mut some = |share: u64, most: u64| match random.below(share) {
            0 => 2 + random.below(most),
            _ => 0,
        };
        Self {
            double: some(2, 10),
            drop: some(6, 200),
            die: some(2, 200),
            lie: some(3, 20),
            stop: some(3, 1),
            pause: some(3, 1),
            disk_fails: some(6, 300),
            lack: some(3, 6),
            hang: some(6, 100),
        }
    }

    /// Returns whether every trial can be done in the end, unless the machine lacks something.
    fn is_kind(&self) -> bool {
        self.drop + self.stop + self.disk_fails + self.hang == 0
    }
}

/// A future event, including messages in transit. The first `u32` is the worker.
#[derive(Debug)]
enum Event {
    Ready { slots: u32, alone: bool },
    Task(u32, Assignment),
    TakeBack(u32, usize),
    StopGuests(u32, u64),
    GuestEnds(u32, TaskId, End),
    Report(u32, TaskId, &'static str, f64, Option<HostFault>),
    Returned(u32, Vec<TaskId>),
    Dies(u32, Option<Blame>),
    Lost(u32, Vec<TaskId>, Option<Blame>),
    Acked(u64),
    Stop(StopMode),
    Pause,
    DiskFails,
    Wake,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    ByItself,
    Interrupted,
}

/// A worker process.
#[derive(Debug)]
struct Process {
    slots: u32,
    alone: bool,
    queue: VecDeque<Assignment>,
    running: BTreeMap<TaskId, Assignment>,
    is_stopped: bool,
}

/// The expected state, by the events and effects of the schedule.
#[derive(Debug, Default)]
struct Truth {
    /// Rows of each trial.
    attempts: HashMap<u64, u32>,
    had_bad: HashSet<u64>,
    is_final: HashSet<u64>,
    /// Final rows that are bad.
    bad: u64,
    /// Number of reports of each provider, which is also their sum of the metric `m`.
    measured: Vec<u64>,
    /// Time of each provider's first start, and number of starts.
    starts: HashMap<u16, (u64, u64)>,
    /// Trials that lacked memory, whose full limit must be reserved.
    lacked: HashSet<u64>,
    /// Bytes that must be reserved for tasks in flight.
    reserved: HashMap<TaskId, u64>,
    pending: HashSet<u64>,
    /// Tasks in flight.
    open: BTreeMap<TaskId, (u32, Assignment)>,
    tasks: HashSet<TaskId>,
    unacked: u64,
    /// Deadline of the end after a stop.
    ends: Option<u64>,
    has_stopped: bool,
    is_paused: bool,
    /// Whether the worker for suspects is being started.
    is_alone_starting: bool,
    /// Whether workers that did not answer were killed.
    has_killed: bool,
    disk_failed: bool,
    finished: Option<Option<Reason>>,
}

struct Session {
    random: Random,
    world: World,
    grid: Grid,
    settings: ScheduleSettings,
    policy: Policy,
    /// Budgets of the run and of the first provider.
    budgets: [Option<u64>; 2],
    guests: Vec<Guest>,
    todo: Rc<Todo>,
    schedule: Schedule,
    now: u64,
    order: u64,
    coming: BinaryHeap<Reverse<(u64, u64)>>,
    what: HashMap<u64, Event>,
    workers: BTreeMap<u32, Process>,
    /// Workers of the schedule: slots, whether they run suspects, and memory.
    known: BTreeMap<u32, (usize, bool, u64)>,
    last_worker: u32,
    truth: Truth,
}

impl Session {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let world = World::new(&mut random);
        let grid = Grid { tests: 1 + random.spread(200), providers: 1 + random.below(4) as u16 };
        let jobs = 1 + random.below(8) as u32;
        let is_paced = random.one_in(3);
        let providers = (0..grid.providers).map(|_| Bounds {
            concurrency: random.below(4) as u32,
            rate: (is_paced && random.one_in(2))
                .then(|| Rate { count: 20 + random.spread(5_000) as u32, per: Micros(1_000_000) }),
            memory: MIB * (1 + random.below(4)),
            is_grader: false,
        });
        let providers = providers.collect();
        let mut budget = || random.one_in(6).then(|| 1 + random.spread(300));
        let budgets = [budget(), budget()];
        let fail_fast = random.one_in(6).then(|| 1 + random.spread(30));
        let timeout = if world.is_kind() { 100_000_000 } else { 1 + random.spread(3_000) };
        let session = SessionSettings {
            timeout: Duration::from_millis(timeout),
            grace: Duration::from_micros(random.spread(200_000)),
            fail_fast: fail_fast.map_or(FailFast::Off, FailFast::Count),
            ..session(jobs)
        };
        let settings = ScheduleSettings {
            session,
            planned: grid.count(),
            providers,
            spending: spending(budgets),
        };
        let mut policy = retries(random.below(4) as u32, random.spread(100));
        if random.one_in(3) {
            policy.trial_timeout = Some(Micros(random.spread(500_000)));
        }
        let guests = (0..grid.count()).map(|_| match random.below(60) {
            0 => Guest::Kill { always: true },
            1 => Guest::Kill { always: false },
            2 => Guest::Stuck,
            59 => Guest::KillUnseen,
            3..10 => Guest::Unavailable(random.below(5) as u32),
            10..15 => Guest::Fail,
            _ if random.one_in(world.hang) => Guest::Hang,
            _ if random.one_in(world.lack) => Guest::Lack,
            _ => Guest::Pass,
        });
        let guests = guests.collect();
        let is_resumed = random.one_in(2);
        let pending: Vec<_> = (0..grid.count())
            .map(|_| match random.below(4) {
                _ if !is_resumed => Some((0, false)),
                0 => None,
                1 => Some((random.spread(300) as u32, random.one_in(2))),
                _ => Some((0, false)),
            })
            .collect();
        let mut truth = Truth { measured: vec![0; grid.providers.into()], ..Truth::default() };
        for (index, state) in (0..).zip(&pending) {
            let Some((attempts, had_bad)) = state else {
                continue;
            };
            truth.pending.insert(index);
            truth.attempts.insert(index, *attempts);
            if *had_bad {
                truth.had_bad.insert(index);
            }
        }
        let todo = Rc::new(Todo { grid, pending });
        let schedule = todo.schedule(settings.clone());
        let mut session = Self {
            random,
            world,
            grid,
            settings,
            policy,
            budgets,
            guests,
            todo,
            schedule,
            now: 0,
            order: 0,
            coming: BinaryHeap::new(),
            what: HashMap::new(),
            workers: BTreeMap::new(),
            known: BTreeMap::new(),
            last_worker: 0,
            truth,
        };
        session.set_up(jobs);
        session
    }

    fn set_up(&mut self, jobs: u32) {
        let workers = 1 + self.random.below(u64::from(jobs)) as u32;
        for place in 0..workers {
            let slots = jobs / workers + u32::from(place < jobs % workers);
            let at = self.random.spread(30_000);
            self.later(at, Event::Ready { slots, alone: false });
        }
        if self.world.stop > 0 {
            for _ in 0..1 + self.random.below(3) {
                let modes = [StopMode::Drain, StopMode::Stop, StopMode::Kill];
                let mode = modes[self.random.below(3) as usize];
                let at = self.random.spread(1_000_000);
                self.later(at, Event::Stop(mode));
            }
        }
        if self.world.pause > 0 {
            for _ in 0..1 + self.random.below(4) {
                let at = self.random.spread(1_000_000);
                self.later(at, Event::Pause);
            }
        }
        self.later(0, Event::Wake);
    }

    fn later(&mut self, delay: u64, what: Event) {
        self.order += 1;
        self.coming.push(Reverse((self.now + delay, self.order)));
        self.what.insert(self.order, what);
    }

    /// Returns the delay of a message, in microseconds.
    fn delay(&mut self) -> u64 {
        50 + self.random.spread(2_000)
    }

    fn run(&mut self) {
        for _ in 0..MAX_STEPS {
            if self.truth.finished.is_some() {
                return;
            }
            let wake = self.schedule.wake_at().map(|at| at.0.max(self.now));
            match self.coming.pop() {
                Some(Reverse((at, order))) if wake.is_none_or(|wake| at <= wake) => {
                    self.now = at;
                    let what = self.what.remove(&order).unwrap();
                    self.handle(what);
                }
                next => {
                    self.coming.extend(next);
                    let wake = wake.expect("something happens, or the schedule wants to be woken");
                    self.now = wake;
                }
            }
            // Often several events precede a tick.
            if self.random.one_in(3) || self.coming.is_empty() || wake == Some(self.now) {
                self.tick();
                let wake = self.schedule.wake_at();
                assert!(wake.is_none_or(|at| at.0 > self.now), "woken at {wake:?} again and again");
            } else {
                self.later(1, Event::Wake);
            }
            if let Some(ends) = self.truth.ends {
                assert!(self.now <= ends, "a stop takes too long");
            }
        }
        panic!("the session never ends");
    }

    fn handle(&mut self, what: Event) {
        match what {
            Event::Ready { slots, alone } => self.worker_comes(slots, alone),
            Event::Task(worker, task) => self.task_comes(worker, task),
            Event::TakeBack(worker, keep) => self.give_back(worker, keep),
            Event::StopGuests(worker, grace) => self.stop_guests(worker, grace),
            Event::GuestEnds(worker, task, end) => self.guest_ends(worker, task, end),
            Event::Dies(worker, blame) => self.worker_dies(worker, blame),
            Event::Report(worker, task, outcome, millis, fault) => {
                self.report(worker, task, outcome, millis, fault);
            }
            Event::Returned(worker, tasks) => {
                let (open, at) = (&mut self.truth.open, worker);
                for task in &tasks {
                    if open.get(task).is_some_and(|(worker, _)| *worker == at) {
                        open.remove(task);
                    }
                }
                self.apply(|schedule| schedule.returned(WorkerId(worker), &tasks));
            }
            Event::Lost(worker, started, blame) => self.lost(worker, &started, blame),
            Event::Acked(rows) => {
                self.truth.unacked -= rows;
                let rows = self.truth.unacked;
                self.apply(|schedule| schedule.acked(rows, rows));
            }
            Event::Stop(mode) => {
                self.start_stop(mode);
                self.apply(|schedule| schedule.stop(mode, Reason::Interrupted, None));
            }
            Event::Pause => self.pause(),
            Event::DiskFails => {
                self.apply(Schedule::storage_failed);
                self.truth.disk_failed = true;
            }
            Event::Wake => {}
        }
    }

    /// Pauses for a few events. Run time does not advance meanwhile.
    fn pause(&mut self) {
        self.apply(|schedule| schedule.pause(true));
        for _ in 0..self.random.below(6) {
            let Some(Reverse((_, order))) = self.coming.pop() else {
                break;
            };
            let what = self.what.remove(&order).unwrap();
            self.handle(what);
            self.tick();
        }
        self.apply(|schedule| schedule.pause(false));
        assert!(!self.truth.is_paused || self.truth.finished.is_some());
    }

    // Behaviour of workers.

    fn worker_comes(&mut self, slots: u32, alone: bool) {
        if alone && self.random.one_in(self.world.die) {
            // The worker dies before it is ready, and another one is started.
            self.later(3_000, Event::Ready { slots, alone });
            return;
        }
        self.last_worker += 1;
        let id = self.last_worker;
        self.workers.insert(
            id,
            Process {
                slots,
                alone,
                queue: VecDeque::new(),
                running: BTreeMap::new(),
                is_stopped: false,
            },
        );
        let limits = self.settings.providers.iter().map(|bounds| bounds.memory);
        let memory = limits.max().unwrap() + self.random.below(8) * MIB;
        self.known.insert(id, (slots as usize, alone, memory));
        self.truth.is_alone_starting &= !alone;
        self.apply(|schedule| schedule.worker_ready(WorkerId(id), slots, memory, alone));
    }

    fn task_comes(&mut self, worker: u32, task: Assignment) {
        if let Some(process) = self.workers.get_mut(&worker) {
            process.queue.push_back(task);
            self.start_tasks(worker);
        }
    }

    /// Starts tasks in order while slots are free.
    fn start_tasks(&mut self, worker: u32) {
        loop {
            let Some(process) = self.workers.get_mut(&worker) else {
                return;
            };
            let is_full = process.running.len() >= process.slots as usize;
            if is_full || process.is_stopped {
                return;
            }
            let Some(task) = process.queue.pop_front() else {
                return;
            };
            if self.guests[task.trial as usize] == Guest::KillUnseen {
                self.worker_dies(worker, Some(Blame::Died));
                return;
            }
            process.running.insert(task.task, task);
            let took = 1 + self.random.spread(50_000);
            match self.guests[task.trial as usize] {
                Guest::Kill { always } if always || task.attempt == 1 => {
                    self.later(took, Event::Dies(worker, Some(Blame::Died)));
                }
                Guest::Stuck => {
                    let blame = Some(Blame::Stuck(task.task));
                    self.later(took, Event::Dies(worker, blame));
                }
                Guest::Hang => {}
                _ => self.later(took, Event::GuestEnds(worker, task.task, End::ByItself)),
            }
            if self.random.one_in(self.world.die) {
                let blame = [None, Some(Blame::Died)][self.random.below(2) as usize];
                self.later(took / 2, Event::Dies(worker, blame));
            }
        }
    }

    fn guest_ends(&mut self, worker: u32, id: TaskId, end: End) {
        let process = self.workers.get_mut(&worker);
        let Some(task) = process.and_then(|process| process.running.remove(&id)) else {
            return;
        };
        let (outcome, fault) = match self.guests[task.trial as usize] {
            _ if end == End::Interrupted => ("stopped", None),
            Guest::Fail => ("failed", None),
            Guest::Unavailable(times) if task.attempt <= times => ("unavailable", None),
            Guest::Lack if task.attempt <= 2 => {
                let lacks = [HostFault::Memory, HostFault::Files];
                ("stopped", Some(lacks[usize::from(task.trial % 4 > 0)]))
            }
            _ => ("passed", None),
        };
        let millis = self.random.spread(100_000) as f64 / 1e3;
        let mut delay = self.delay();
        if !self.random.one_in(self.world.drop) {
            self.later(delay, Event::Report(worker, id, outcome, millis, fault));
        }
        if self.random.one_in(self.world.double) {
            delay += self.delay();
            self.later(delay, Event::Report(worker, id, "failed", 0.0, None));
        }
        if self.random.one_in(self.world.lie) {
            self.lie(worker, id);
        }
        self.start_tasks(worker);
    }

    /// Sends a false message.
    fn lie(&mut self, worker: u32, id: TaskId) {
        let other = TaskId(self.random.below(id.0 + 5));
        let elsewhere = 1 + self.random.below(u64::from(self.last_worker) + 2) as u32;
        let delay = self.delay();
        let lie = match self.random.below(4) {
            // A report of any task counts if the worker has the task.
            0 => Event::Report(worker, other, "passed", 1e9, None),
            1 => Event::Report(elsewhere, id, "passed", 0.0, None),
            2 => Event::Returned(worker, vec![other, id, other]),
            _ => Event::Report(worker, other, "stopped", 0.0, Some(HostFault::Files)),
        };
        self.later(delay, lie);
    }

    fn give_back(&mut self, worker: u32, keep: usize) {
        let Some(process) = self.workers.get_mut(&worker) else {
            return;
        };
        let keep = keep.min(process.queue.len());
        let back = process.queue.split_off(keep);
        let back = back.into_iter().map(|task| task.task).collect();
        let delay = self.delay();
        self.later(delay, Event::Returned(worker, back));
    }

    fn stop_guests(&mut self, worker: u32, grace: u64) {
        let Some(process) = self.workers.get_mut(&worker) else {
            return;
        };
        process.is_stopped = true;
        let running: Vec<_> = process.running.values().copied().collect();
        for task in running {
            let guest = self.guests[task.trial as usize];
            if !matches!(guest, Guest::Stuck | Guest::Hang) {
                let ends = Event::GuestEnds(worker, task.task, End::Interrupted);
                self.later(grace, ends);
            }
        }
    }

    /// Ends a process. The coordinator receives the exit later, and starts another one.
    fn worker_dies(&mut self, worker: u32, blame: Option<Blame>) {
        let Some(process) = self.workers.remove(&worker) else {
            return;
        };
        let mut started: Vec<_> = process.running.into_keys().collect();
        if self.random.one_in(self.world.lie) {
            started.push(TaskId(self.random.below(100)));
        }
        let delay = self.delay();
        self.later(delay, Event::Lost(worker, started, blame));
        if !process.alone {
            let slots = process.slots;
            self.later(delay + 3_000, Event::Ready { slots, alone: false });
        }
    }

    // Events of the schedule, and checks of their effects.

    fn start_stop(&mut self, mode: StopMode) {
        self.truth.has_stopped = true;
        let grace = match mode {
            StopMode::Drain => return,
            StopMode::Stop => self.settings.grace().0,
            StopMode::Kill => 0,
        };
        let ends = self.now + grace + 200_000;
        self.truth.ends = Some(self.truth.ends.map_or(ends, |before| before.min(ends)));
    }

    fn report(
        &mut self,
        worker: u32,
        task: TaskId,
        outcome: &'static str,
        millis: f64,
        host_fault: Option<HostFault>,
    ) {
        let open = self.truth.open.get(&task);
        let assignment = open.filter(|(at, _)| *at == worker).map(|(_, task)| *task);
        let mut text = row(outcome, millis, None);
        text.truncate(text.len() - 1);
        text += r#","metrics":[{"name":"m","value":1.0}]}"#;
        let policy = self.policy.clone();
        let effects = self.call(|schedule| {
            schedule.report(WorkerId(worker), task, &read(&text), None, host_fault, &policy);
        });
        let writes = effects.iter().filter_map(|effect| match effect {
            Effect::Write { task, lost: None, is_final, flaky } => Some((*task, *is_final, *flaky)),
            _ => None,
        });
        let writes: Vec<_> = writes.collect();
        match assignment.filter(|_| self.truth.finished.is_none()) {
            Some(assignment) => {
                let [(written, is_final, flaky)] = writes[..] else {
                    panic!("a report has one row, not {writes:?}");
                };
                assert_eq!(written, task);
                assert!(!is_final || outcome != "stopped");
                let had_bad = self.truth.had_bad.contains(&assignment.trial);
                assert_eq!(flaky, is_final && outcome == "passed" && had_bad);
                if !matches!(outcome, "passed" | "stopped") {
                    self.truth.had_bad.insert(assignment.trial);
                }
                let lane = self.grid.provider(assignment.trial);
                self.truth.measured[usize::from(lane)] += 1;
                if host_fault == Some(HostFault::Memory)
                    && self.truth.reserved[&task] < self.bounds(assignment.trial).memory
                {
                    self.truth.lacked.insert(assignment.trial);
                }
                let is_bad = !matches!(outcome, "passed" | "stopped");
                self.truth.bad += u64::from(is_final && is_bad);
                self.write(assignment, is_final);
            }
            None => assert_eq!(effects, [], "a report of nothing that is in flight there"),
        }
        self.carry_out(effects);
    }

    fn lost(&mut self, worker: u32, started: &[TaskId], blame: Option<Blame>) {
        let policy = self.policy.clone();
        let effects = self.call(|schedule| {
            schedule.worker_lost(WorkerId(worker), started, blame, Some(&policy));
        });
        self.carry_out(effects);
        self.known.remove(&worker);
        self.truth.open.retain(|_, (at, _)| *at != worker);
    }

    fn tick(&mut self) {
        if self.now >= self.settings.timeout().0 && self.schedule.left() > 0 {
            // The session's own timeout is a stop.
            if self.truth.ends.is_none() {
                self.start_stop(StopMode::Stop);
            }
        }
        let todo = Rc::clone(&self.todo);
        self.apply(|schedule| schedule.tick(&*todo));
    }

    fn apply(&mut self, event: impl FnOnce(&mut Schedule)) {
        let effects = self.call(event);
        self.carry_out(effects);
    }

    fn call(&mut self, event: impl FnOnce(&mut Schedule)) -> Vec<Effect> {
        let effects = self.schedule.apply(RunTime(self.now), event);
        if self.truth.finished.is_some() {
            assert_eq!(effects, [], "nothing follows the end");
        }
        effects
    }

    /// Carries out and checks effects.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { worker, assignment } => self.send(worker.0, assignment),
                Effect::TakeBack { worker, keep } => {
                    let delay = self.delay();
                    self.later(delay, Event::TakeBack(worker.0, keep as usize));
                }
                Effect::Stop { kill } => {
                    self.truth.has_stopped = true;
                    let grace = if kill { 0 } else { self.settings.grace().0 };
                    for worker in self.workers.keys().copied().collect::<Vec<_>>() {
                        let delay = self.delay();
                        self.later(delay, Event::StopGuests(worker, grace));
                    }
                }
                Effect::Kill(worker) => {
                    self.truth.has_killed = true;
                    // Some processes hang inside the kernel and do not die.
                    if !self.random.one_in(4) {
                        let delay = self.random.below(10_000);
                        self.later(delay, Event::Dies(worker.0, None));
                    }
                }
                Effect::StartAlone => {
                    assert!(!self.truth.has_stopped && !self.truth.is_alone_starting);
                    self.truth.is_alone_starting = true;
                    let delay = 500 + self.random.spread(5_000);
                    let (slots, alone) = (1, true);
                    self.later(delay, Event::Ready { slots, alone });
                }
                Effect::Pause(is_paused) => {
                    assert_ne!(is_paused, self.truth.is_paused);
                    assert!(!is_paused || !self.truth.has_stopped);
                    self.truth.is_paused = is_paused;
                }
                // `report` has checked it.
                Effect::Write { lost: None, .. } => {}
                Effect::Write { task, lost: Some(reason), is_final, .. } => {
                    let assignment = self.truth.open[&task].1;
                    assert!(!is_final || matches!(reason, LostReason::Stuck | LostReason::Crash));
                    if reason == LostReason::Crash {
                        let guest = self.guests[assignment.trial as usize];
                        let is_killer = matches!(guest, Guest::Kill { .. } | Guest::KillUnseen);
                        assert!(is_killer || self.world.die > 0, "{guest:?} kills nothing");
                    }
                    if reason == LostReason::Stuck {
                        self.truth.had_bad.insert(assignment.trial);
                    }
                    self.truth.bad += u64::from(is_final);
                    self.write(assignment, is_final);
                }
                Effect::LeaveOutRetry { .. } => {}
                Effect::Finish { reason, .. } => self.finish(reason),
            }
        }
    }

    fn send(&mut self, worker: u32, assignment: Assignment) {
        let truth = &mut self.truth;
        assert!(!truth.has_stopped, "{assignment:?} after a stop");
        assert!(!truth.is_paused, "{assignment:?} in a pause");
        assert!(assignment.task.0 > 0 && truth.tasks.insert(assignment.task));
        assert!(truth.pending.contains(&assignment.trial), "not pending");
        assert!(!truth.is_final.contains(&assignment.trial), "it is done");
        assert_eq!(assignment.attempt, truth.attempts[&assignment.trial] + 1);
        let (slots, alone, _) = self.known[&worker];
        let mut open = truth.open.values();
        assert!(
            open.all(|(_, other)| other.trial != assignment.trial),
            "{assignment:?} twice at a time"
        );
        let at_worker = truth.open.values().filter(|(at, _)| *at == worker).count();
        let lane = self.grid.provider(assignment.trial);
        let of_lane = truth
            .open
            .values()
            .filter(|(_, other)| self.grid.provider(other.trial) == lane)
            .count();
        let bounds = self.settings.providers[usize::from(lane)];
        let most = bounds.concurrency;
        let mut is_bounded = (1..=self.settings.session.jobs).contains(&most);
        if is_bounded {
            assert!(of_lane < most as usize, "more than {most} in flight");
        }
        is_bounded |= bounds.rate.is_some() || !self.settings.spending.is_empty();
        let window = if is_bounded || alone { slots } else { 512 };
        assert!(at_worker < window, "too many wait at a worker");
        truth.open.insert(assignment.task, (worker, assignment));
        self.check_bounds(worker, assignment);
        let delay = self.delay();
        self.later(delay, Event::Task(worker, assignment));
    }

    fn bounds(&self, trial: u64) -> Bounds {
        self.settings.providers[usize::from(self.grid.provider(trial))]
    }

    /// Checks rates, budgets, memory and `fail_fast`.
    fn check_bounds(&mut self, worker: u32, assignment: Assignment) {
        let (now, bounds) = (self.now, self.bounds(assignment.trial));
        let lane = self.grid.provider(assignment.trial);
        let (slots, alone, memory) = self.known[&worker];
        let truth = &mut self.truth;
        let given_up = self.settings.most_bad().filter(|most| truth.bad >= *most);
        assert_eq!(given_up, None, "it has given up");
        let used = [truth.measured.iter().sum(), truth.measured[0]];
        for ((used, most), is_own) in used.into_iter().zip(self.budgets).zip([false, true]) {
            let is_used_up = most.is_some_and(|most| used >= most);
            assert!(!is_used_up || is_own && lane != 0, "{used} of {most:?}");
        }
        let (first, count) = truth.starts.entry(lane).or_insert((now, 0));
        if let Some(rate) = bounds.rate {
            let in_time = *first + *count * rate.gap().0;
            assert!(now + MAX_CATCH_UP >= in_time, "start {count} comes too early");
        }
        *count += 1;
        let is_known = truth.measured[usize::from(lane)] >= 8 && !alone;
        let needs_limit = !is_known || truth.lacked.contains(&assignment.trial);
        let reserved = if needs_limit { bounds.memory } else { MIB };
        truth.reserved.insert(assignment.task, reserved);
        let at_worker = truth.open.iter().filter(|(_, (at, _))| *at == worker);
        let sizes: Vec<_> = at_worker.map(|(task, _)| truth.reserved[task]).collect();
        let limits = self.settings.providers.iter().map(|bounds| bounds.memory);
        let is_counted = limits.max().unwrap() * slots as u64 > memory;
        assert!(
            !is_counted || sizes.len() == 1 || sizes.iter().sum::<u64>() <= memory,
            "{sizes:?} of {memory}"
        );
    }

    /// Checks a row and sends it to the disk.
    fn write(&mut self, assignment: Assignment, is_final: bool) {
        let truth = &mut self.truth;
        assert!(!truth.disk_failed, "the disk has failed");
        assert!(truth.open.remove(&assignment.task).is_some());
        let attempts = truth.attempts.get_mut(&assignment.trial).unwrap();
        assert_eq!(assignment.attempt, *attempts + 1, "a number of its own");
        *attempts += 1;
        assert!(!truth.is_final.contains(&assignment.trial), "it is done");
        if is_final {
            truth.is_final.insert(assignment.trial);
        }
        truth.unacked += 1;
        let delay = 1 + self.random.below(DISK);
        let fails = self.random.one_in(self.world.disk_fails);
        self.later(delay, if fails { Event::DiskFails } else { Event::Acked(1) });
    }

    fn finish(&mut self, reason: Option<Reason>) {
        let truth = &mut self.truth;
        assert_eq!(truth.finished, None, "there is one end");
        truth.finished = Some(reason);
        let is_done = truth.pending.iter().all(|trial| truth.is_final.contains(trial));
        match reason {
            Some(Reason::Storage) => {}
            reason => {
                assert_eq!(truth.unacked, 0, "rows are not on disk");
                assert_eq!(reason.is_none(), is_done, "{reason:?}");
                assert!(truth.open.is_empty() || truth.has_killed);
            }
        }
        let used: u64 = truth.measured.iter().sum();
        let [all, own] = self.budgets;
        let may_end = match reason {
            Some(Reason::FailFast) => {
                self.settings.most_bad().is_some_and(|most| truth.bad >= most)
            }
            Some(Reason::Budget) => {
                all.is_some_and(|most| used >= most)
                    || own.is_some_and(|most| truth.measured[0] >= most)
            }
            _ => true,
        };
        assert!(may_end, "{reason:?} without a reason");
        let gives_up = matches!(reason, Some(Reason::FailFast | Reason::Budget));
        // Three attempts in a row that were stopped end a session.
        let is_fault = matches!(reason, Some(Reason::Machine | Reason::Internal));
        let may_lack = self.world.lack + self.world.lie > 0;
        if self.world.is_kind() && !gives_up && !(may_lack && is_fault) {
            assert_eq!(reason, None, "everything could be done");
        }
    }
}

/// Returns budgets of the metric `m` for the run and the first provider.
fn spending([all, own]: [Option<u64>; 2]) -> Spending {
    let mut budgets = Budgets::default();
    for (name, most) in [("m", all), ("p:m", own)] {
        if let Some(most) = most {
            budgets.add(&format!("{name}={most}")).unwrap();
        }
    }
    Spending::new(&budgets, &["p"]).unwrap()
}

#[test]
fn no_trial_is_lost_and_every_stop_ends() {
    let is_full = env::var("RUNNER_TESTS").is_ok_and(|value| value == "full");
    let seeds = match env::var("RUNNER_TEST_SEED") {
        Ok(seed) => {
            let seed = seed.parse().unwrap();
            seed..seed + 1
        }
        Err(_) => 0..if is_full { 10_000 } else { 500 },
    };
    let mut ends = BTreeMap::<_, u32>::new();
    for seed in seeds.clone() {
        let run = || {
            let mut session = Session::new(seed);
            session.run();
            session.truth.finished.flatten()
        };
        let reason = std::panic::catch_unwind(run)
            .unwrap_or_else(|_| panic!("to repeat it: RUNNER_TEST_SEED={seed}"));
        *ends.entry(reason).or_default() += 1;
    }
    if seeds.end - seeds.start >= 500 {
        let reasons = [
            None,
            Some(Reason::Interrupted),
            Some(Reason::Machine),
            Some(Reason::Storage),
            Some(Reason::Timeout),
            Some(Reason::FailFast),
            Some(Reason::Budget),
        ];
        for reason in reasons {
            assert!(ends.contains_key(&reason), "{reason:?} is not among {ends:?}");
        }
    }
}
