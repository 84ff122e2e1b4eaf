//! Runs the schedule through random runs of several sessions, with graders, with messages that are delayed, doubled, dropped and
//! wrong, workers that die, stops, a coordinator that dies and a disk that fails, and checks invariants after each step.
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
    Assignment, Blame, Bounds, Effect, LostReason, Next, Policy, Schedule, ScheduleSettings,
    Spending, StopMode,
    harness::{Grid, Todo, read, retries, row, session, shape},
    window::Turn,
};

/// Longest time until a row is on disk, in microseconds.
const DISK: u64 = 20_000;
/// Delay of a start that the rate catches up on, in microseconds.
const MAX_CATCH_UP: u64 = 10_000;
/// The smallest reserve of memory.
const MIB: u64 = 1 << 20;
/// Sessions of a run. In the last one nothing fails.
const SESSIONS: u32 = 4;
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

/// Behaviour of a guest in all attempts of a trial, or in all of its grades by one grader.
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
    /// The coordinator dies in one of this many steps.
    killed: u64,
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
            killed: some(4, 2_000),
        }
    }

    /// Returns whether every trial can be done in the end, unless the machine lacks something.
    fn is_kind(&self) -> bool {
        self.drop + self.stop + self.disk_fails + self.hang + self.killed == 0
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

/// The tests of a run: what stays the same in all of its sessions.
#[derive(Debug)]
struct Tests {
    grid: Grid,
    /// Lanes of the graders of each trial, in their order.
    graders: Vec<Vec<u16>>,
    /// Guests of each trial: the provider's, then those of its graders.
    guests: Vec<Vec<Guest>>,
}

impl Tests {
    fn new(random: &mut Random) -> Self {
        let grid = Grid { tests: 1 + random.spread(200), providers: 1 + random.below(4) as u16 };
        let count = random.below(4) as u16;
        let (hang, lack) = (2 + random.below(100), 2 + random.below(6));
        let mut guest = |is_grader: bool| match random.below(60) {
            0 => Guest::Kill { always: true },
            1 => Guest::Kill { always: false },
            2 => Guest::Stuck,
            59 if !is_grader => Guest::KillUnseen,
            3..10 => Guest::Unavailable(random.below(5) as u32),
            10..15 => Guest::Fail,
            _ if random.one_in(hang) => Guest::Hang,
            _ if random.one_in(lack) => Guest::Lack,
            _ => Guest::Pass,
        };
        let guests = (0..grid.count()).map(|_| (0..=count).map(|place| guest(place > 0)).collect());
        let guests = guests.collect();
        let lanes = (0..grid.count()).map(|_| {
            let mut lanes: Vec<_> = (0..count).map(|place| grid.providers + place).collect();
            lanes.retain(|_| !random.one_in(3));
            if random.one_in(2) {
                lanes.reverse();
            }
            lanes
        });
        Self { grid, graders: lanes.collect(), guests }
    }

    /// Returns the guest of an attempt, or of a grade by the grader with this lane.
    fn guest(&self, trial: u64, grader: Option<u16>) -> Guest {
        let place = grader.map_or(0, |lane| lane - self.grid.providers + 1);
        self.guests[trial as usize][usize::from(place)]
    }
}

/// The rows of a trial.
#[derive(Clone, Debug, Default, PartialEq)]
struct Rows {
    /// Rows of attempts.
    attempts: u32,
    /// Whether an attempt did not pass.
    had_bad: bool,
    /// Whether the newest row waits for graders.
    is_ungraded: bool,
    is_final: bool,
    /// The graders that have answered, and the tasks with their answers.
    answers: Vec<(u16, u64)>,
    /// Whether an answer is a fail.
    has_failed: bool,
    /// The graders that have ended in an error in this session. The last one may be called again.
    errors: Vec<u16>,
}

impl Rows {
    /// Returns the first of a trial's graders that has neither answered nor ended in an error, and is not `asked`.
    fn next_grader(&self, graders: &[u16], asked: Option<u16>) -> Option<u16> {
        let has_ended = |lane: &u16| {
            self.answers.iter().any(|(other, _)| other == lane) || self.errors.contains(lane)
        };
        graders.iter().copied().find(|lane| !has_ended(lane) && Some(*lane) != asked)
    }
}

/// A worker process.
#[derive(Debug)]
struct Process {
    /// Slots for attempts and judgements. As many others are for graders.
    slots: u32,
    alone: bool,
    queue: VecDeque<Assignment>,
    running: BTreeMap<TaskId, Assignment>,
    is_stopped: bool,
}

/// The expected state, by the events and effects of the schedule.
#[derive(Debug, Default)]
struct Truth {
    /// By trial, with the rows that are not on disk yet.
    rows: Vec<Rows>,
    /// By trial, with the rows on disk only.
    disk: Vec<Rows>,
    /// Rows that are not on disk yet, in order.
    written: VecDeque<(u64, Rows)>,
    /// Trials with rows of this session.
    has_rows: HashSet<u64>,
    /// Number of interrupted attempts without a row, by trial.
    interrupted: HashMap<u64, u32>,
    /// Number of calls of each grader for each trial.
    questions: HashMap<(u64, u16), u32>,
    /// Final rows that are bad.
    bad: u64,
    /// Number of reports of each lane.
    reports: Vec<u64>,
    /// Sum of the metric `m` of each lane: one for each report of an attempt that does not continue.
    measured: Vec<u64>,
    /// Time of each lane's first start, and number of starts.
    starts: HashMap<usize, (u64, u64)>,
    /// Trials and lanes of tasks that lacked memory, whose full limit must be reserved.
    lacked: HashSet<(u64, usize)>,
    /// Bytes that must be reserved for tasks in flight.
    reserved: HashMap<TaskId, u64>,
    /// Tasks in flight.
    open: BTreeMap<TaskId, (u32, Assignment)>,
    tasks: HashSet<TaskId>,
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
    tests: Rc<Tests>,
    settings: ScheduleSettings,
    /// Policies of providers and of graders.
    policies: [Policy; 2],
    /// Budgets of the run, of the first provider and of the first grader.
    budgets: [Option<u64>; 3],
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
    /// Creates a session of a run with these rows on disk. In the `last` session nothing fails.
    fn new(mut random: Random, tests: &Rc<Tests>, disk: Vec<Rows>, is_last: bool) -> Self {
        let tests = Rc::clone(tests);
        let world = if is_last { World::default() } else { World::new(&mut random) };
        let grid = tests.grid;
        let jobs = 1 + random.below(8) as u32;
        let is_paced = random.one_in(3);
        let lanes = grid.providers + tests.guests[0].len() as u16 - 1;
        let providers = (0..lanes).map(|lane| Bounds {
            concurrency: random.below(4) as u32,
            rate: (is_paced && random.one_in(2))
                .then(|| Rate { count: 20 + random.spread(5_000) as u32, per: Micros(1_000_000) }),
            memory: MIB * (1 + random.below(4)),
            unmeasured: 0,
            is_grader: lane >= grid.providers,
            has_journal: lane < grid.providers && random.one_in(3),
        });
        let providers = providers.collect();
        let has_graders = lanes > grid.providers;
        let mut budget =
            |is_there| (is_there && !is_last && random.one_in(6)).then(|| 1 + random.spread(300));
        let budgets = [budget(true), budget(true), budget(has_graders)];
        let fail_fast = (!is_last && random.one_in(6)).then(|| 1 + random.spread(30));
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
            spending: spending(budgets, grid.providers),
        };
        let mut policy = retries(random.below(4) as u32, random.spread(100));
        let of_graders = retries(random.below(4) as u32, random.spread(100));
        if random.one_in(3) {
            policy.trial_timeout = Some(Micros(random.spread(500_000)));
        }
        let pending = |rows: &Rows| (!rows.is_final).then_some((rows.attempts, rows.had_bad));
        let is_judged = |(_, rows): &(u64, &Rows)| rows.is_ungraded && !rows.is_final;
        let todo = Rc::new(Todo {
            grid,
            pending: disk.iter().map(pending).collect(),
            judged: (0..).zip(&disk).filter(is_judged).map(|(trial, _)| trial).collect(),
        });
        let truth = Truth {
            measured: vec![0; usize::from(lanes) + 1],
            reports: vec![0; usize::from(lanes) + 1],
            rows: disk.clone(),
            disk,
            ..Truth::default()
        };
        let schedule = todo.schedule(settings.clone());
        let mut session = Self {
            random,
            world,
            tests,
            settings,
            policies: [policy, of_graders],
            budgets,
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

    /// Ends the session, in which some of the written rows may have reached the disk. Returns the rows on disk.
    fn into_disk(mut self) -> (Random, Vec<Rows>) {
        let survivors = self.random.below(self.truth.written.len() as u64 + 1) as usize;
        for (trial, rows) in self.truth.written.drain(..survivors) {
            self.truth.disk[trial as usize] = rows;
        }
        // A judgement keeps answers only.
        for rows in self.truth.disk.iter_mut().filter(|rows| !rows.is_final) {
            rows.errors.clear();
        }
        (self.random, self.truth.disk)
    }

    /// Returns the lane of a task.
    fn lane(&self, task: &Assignment) -> usize {
        match task.grader {
            Some(lane) => usize::from(lane),
            None if self.is_judgement(task) => self.settings.providers.len(),
            None => usize::from(self.tests.grid.provider(task.trial)),
        }
    }

    fn is_judgement(&self, task: &Assignment) -> bool {
        task.grader.is_none() && self.todo.judged.contains(&task.trial)
    }

    fn is_attempt(&self, task: &Assignment) -> bool {
        task.grader.is_none() && !self.is_judgement(task)
    }

    fn guest(&self, task: &Assignment) -> Guest {
        if self.is_judgement(task) {
            return Guest::Pass;
        }
        let guest = self.tests.guest(task.trial, task.grader);
        match guest {
            Guest::Hang if self.world.hang == 0 => Guest::Pass,
            Guest::Lack if self.world.lack == 0 => Guest::Pass,
            guest => guest,
        }
    }

    /// Returns how often the guest of a task has been called, this call included.
    fn calls(&self, task: &Assignment) -> u32 {
        match task.grader {
            Some(lane) => self.truth.questions[&(task.trial, lane)],
            None => task.attempt + self.truth.interrupted.get(&task.trial).copied().unwrap_or(0),
        }
    }

    /// Returns whether the task leaves no row if it is interrupted, and its attempt continues.
    fn continues(&self, task: &Assignment) -> bool {
        let bounds = self.settings.providers.get(self.lane(task));
        bounds.is_some_and(|bounds| bounds.has_journal)
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
            if self.truth.finished.is_some() || self.random.one_in(self.world.killed) {
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
                for _ in 0..rows {
                    self.row_on_disk();
                }
                let rows = self.truth.written.len() as u64;
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
        let shape = shape(&self.schedule, slots, memory);
        self.apply(|schedule| schedule.worker_ready(WorkerId(id), shape, alone));
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
            let has_room = |task: &Assignment| {
                let running = process.running.values();
                let same = running.filter(|other| other.grader.is_some() == task.grader.is_some());
                same.count() < process.slots as usize
            };
            let Some(place) = process.queue.iter().position(has_room) else { return };
            if process.is_stopped {
                return;
            }
            let task = process.queue.remove(place).unwrap();
            let guest = self.guest(&task);
            if guest == Guest::KillUnseen {
                self.worker_dies(worker, Some(Blame::Died));
                return;
            }
            let calls = self.calls(&task);
            self.workers.get_mut(&worker).unwrap().running.insert(task.task, task);
            let took = 1 + self.random.spread(50_000);
            match guest {
                Guest::Kill { always } if always || calls == 1 => {
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
        let calls = self.calls(&task);
        let (outcome, fault) = match self.guest(&task) {
            _ if end == End::Interrupted => ("stopped", None),
            Guest::Fail => ("failed", None),
            Guest::Unavailable(times) if calls <= times => ("unavailable", None),
            Guest::Lack if calls <= 2 => {
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
            if !matches!(self.guest(&task), Guest::Stuck | Guest::Hang) {
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
        let assignment = assignment.filter(|_| self.truth.finished.is_none());
        let is_answer = matches!(outcome, "passed" | "failed");
        let (outcome, next) = match &assignment {
            Some(assignment) => self.judged(assignment, outcome),
            None => (outcome, None),
        };
        let is_attempt = assignment.is_some_and(|task| self.is_attempt(&task));
        let is_grade = assignment.is_some_and(|task| task.grader.is_some());
        let mut text = row(outcome, millis, None);
        if is_attempt || is_grade {
            text.truncate(text.len() - 1);
            text += r#","metrics":[{"name":"m","value":1.0}]}"#;
        }
        let policy = match &assignment {
            Some(assignment) => self.policy(assignment),
            None => self.policies[0].clone(),
        };
        let next = next.map_or(Next::Nothing, Next::Grader);
        let effects = self.call(|schedule| {
            schedule.report(WorkerId(worker), task, &read(&text), next, host_fault, &policy);
        });
        let writes = effects.iter().filter_map(|effect| match effect {
            Effect::Write { task, lost: None, is_final, flaky, .. } => {
                Some((*task, *is_final, *flaky))
            }
            _ => None,
        });
        let writes: Vec<_> = writes.collect();
        let Some(assignment) = assignment else {
            assert_eq!(effects, [], "a report of nothing that is in flight there");
            return;
        };
        let lane = self.lane(&assignment);
        let continues = outcome == "stopped" && self.continues(&assignment);
        self.truth.reports[lane] += 1;
        self.truth.measured[lane] += u64::from(!continues);
        if host_fault == Some(HostFault::Memory)
            && self.truth.reserved[&task] < self.settings.providers[lane].memory
        {
            self.truth.lacked.insert((assignment.trial, lane));
        }
        if outcome == "stopped" && (!is_attempt || continues) {
            assert_eq!(writes, [], "an interrupted grade or journal leaves no row");
            self.truth.open.remove(&task);
            *self.truth.interrupted.entry(assignment.trial).or_default() += 1;
            self.carry_out(effects);
            return;
        }
        let [(written, is_final, flaky)] = writes[..] else {
            panic!("a report has one row, not {writes:?}");
        };
        assert_eq!(written, task);
        assert!(!is_final || !matches!(outcome, "stopped" | "ungraded"));
        let mut rows = self.truth.rows[assignment.trial as usize].clone();
        assert_eq!(flaky, is_final && outcome == "passed" && rows.had_bad);
        let is_bad = !matches!(outcome, "passed" | "stopped" | "ungraded");
        rows.had_bad |= is_bad && is_attempt;
        if let Some(lane) = assignment.grader {
            rows.errors.retain(|other| *other != lane);
            if is_answer {
                rows.answers.push((lane, self.random.next()));
                rows.has_failed |= self.guest(&assignment) == Guest::Fail;
            } else {
                rows.errors.push(lane);
            }
            let graders = &self.tests.graders[assignment.trial as usize];
            assert!(!is_final || rows.next_grader(graders, None).is_none(), "not all were asked");
        }
        rows.is_ungraded = outcome == "ungraded" || is_grade && !is_final;
        self.truth.bad += u64::from(is_final && is_bad);
        self.write(assignment, rows, is_final);
        self.carry_out(effects);
    }

    /// Returns the outcome of a guest's end with the graders of its trial, and the lane of the grader to call.
    fn judged(&self, task: &Assignment, outcome: &'static str) -> (&'static str, Option<u16>) {
        let (graders, rows) =
            (&self.tests.graders[task.trial as usize], &self.truth.rows[task.trial as usize]);
        let next = rows.next_grader(graders, task.grader);
        match (task.grader, outcome) {
            // The row stays as it is.
            (Some(_), "stopped") => (outcome, task.grader),
            (_, "passed" | "failed") if task.grader.is_some() || outcome == "passed" => {
                let has_error = rows.errors.iter().any(|lane| Some(*lane) != task.grader);
                match next {
                    Some(_) => ("ungraded", next),
                    None if has_error => ("error", None),
                    None if rows.has_failed => ("failed", None),
                    None => (outcome, None),
                }
            }
            // The coordinator refuses a judgement that was stopped.
            (None, "stopped") if self.is_judgement(task) => ("failed", None),
            _ => (outcome, None),
        }
    }

    fn policy(&self, task: &Assignment) -> Policy {
        match task.grader {
            Some(_) => {
                let (graders, rows) = (
                    &self.tests.graders[task.trial as usize],
                    &self.truth.rows[task.trial as usize],
                );
                let next_grader = rows.next_grader(graders, task.grader);
                Policy { next_grader, ..self.policies[1].clone() }
            }
            None if self.is_judgement(task) => retries(0, 0),
            None => self.policies[0].clone(),
        }
    }

    fn lost(&mut self, worker: u32, started: &[TaskId], blame: Option<Blame>) {
        let open = self.truth.open.iter().map(|(task, (_, assignment))| (*task, *assignment));
        let policies: HashMap<_, _> =
            open.map(|(task, assignment)| (task, self.policy(&assignment))).collect();
        let effects = self.call(|schedule| {
            let policy = |task| policies.get(&task);
            schedule.worker_lost(WorkerId(worker), started, blame, &policy);
        });
        self.carry_out(effects);
        self.known.remove(&worker);
        for (_, (_, task)) in self.truth.open.extract_if(.., |_, (at, _)| *at == worker) {
            *self.truth.interrupted.entry(task.trial).or_default() += 1;
        }
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
        self.check_idle_slots();
    }

    /// Checks that no task that may start waits while a slot of its kind is free.
    fn check_idle_slots(&self) {
        let truth = &self.truth;
        let waits = truth.has_stopped || truth.is_paused || truth.finished.is_some();
        if waits || self.schedule.is_stopping() || self.schedule.waits_for_memory() {
            return;
        }
        for is_grader in [false, true] {
            let is_free = |(id, (slots, alone, _)): (&u32, &(usize, bool, u64))| {
                let at_worker = truth.open.values().filter(|(at, _)| at == id);
                !alone
                    && at_worker.filter(|(_, task)| task.grader.is_some() == is_grader).count()
                        < *slots
            };
            if self.known.iter().any(is_free) {
                let is_other = |lane: &usize| {
                    let bounds = self.settings.providers.get(*lane);
                    bounds.is_some_and(|bounds| bounds.is_grader) != is_grader
                };
                let left_out = (0..=self.settings.providers.len()).filter(is_other).collect();
                let turn = Turn { left_out, ..Turn::default() };
                assert_eq!(self.schedule.first_lane(&turn), None, "graders: {is_grader}");
            }
        }
    }

    /// Records that the oldest written row is on disk.
    fn row_on_disk(&mut self) {
        let (trial, rows) = self.truth.written.pop_front().unwrap();
        let disk = &mut self.truth.disk[trial as usize];
        assert!(rows.answers.starts_with(&disk.answers), "a grade is lost: {disk:?}, {rows:?}");
        assert!(rows.answers.len() <= disk.answers.len() + 1);
        disk.clone_from(&rows);
        if rows.is_ungraded && self.truth.rows[trial as usize].is_ungraded {
            self.apply(|schedule| schedule.is_on_disk(trial));
        }
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
                Effect::StartAlone { .. } => {
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
                    let is_attempt = self.is_attempt(&assignment);
                    let has_row = matches!(reason, LostReason::Stuck | LostReason::Crash);
                    assert!(is_attempt || has_row, "an interrupted grade leaves no row");
                    assert!(has_row || !self.continues(&assignment), "it continues");
                    if reason == LostReason::Crash {
                        let guest = self.guest(&assignment);
                        let is_killer = matches!(guest, Guest::Kill { .. } | Guest::KillUnseen);
                        assert!(is_killer || self.world.die > 0, "{guest:?} kills nothing");
                    }
                    let mut rows = self.truth.rows[assignment.trial as usize].clone();
                    rows.had_bad |= is_attempt && reason == LostReason::Stuck;
                    rows.is_ungraded = !is_attempt && !is_final;
                    if let Some(lane) = assignment.grader {
                        rows.errors.retain(|other| *other != lane);
                        rows.errors.push(lane);
                    }
                    self.truth.bad += u64::from(is_final);
                    self.write(assignment, rows, is_final);
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
        let truth = &self.truth;
        let trial = assignment.trial;
        let (rows, disk) = (&truth.rows[trial as usize], &truth.disk[trial as usize]);
        assert!(!rows.is_final, "it is done");
        let mut open = truth.open.values();
        assert!(open.all(|(_, other)| other.trial != trial), "{assignment:?} twice at a time");
        let (lane, is_attempt) = (self.lane(&assignment), self.is_attempt(&assignment));
        let truth = &self.truth;
        assert_eq!(assignment.attempt, rows.attempts + u32::from(is_attempt));
        if let Some(grader) = assignment.grader {
            assert_eq!(rows, disk, "a grader is asked before the row is on disk");
            assert!(rows.is_ungraded);
            let next = rows.next_grader(&self.tests.graders[trial as usize], None);
            let is_retry = rows.errors.last() == Some(&grader);
            assert!(is_retry || next == Some(grader), "graders are asked in order, and once");
        } else {
            assert!(!rows.is_ungraded || !is_attempt, "the provider runs again");
            assert!(is_attempt || !truth.has_rows.contains(&trial), "it is judged again");
        }
        let (slots, alone, _) = self.known[&worker];
        let same = |(_, other): &&(u32, Assignment)| {
            alone || other.grader.is_some() == assignment.grader.is_some()
        };
        let at_worker = truth.open.values().filter(|(at, _)| *at == worker).filter(same).count();
        let of_lane = truth.open.values().filter(|(_, other)| self.lane(other) == lane).count();
        let bounds = self.settings.providers.get(lane).copied().unwrap_or_default();
        let most = bounds.concurrency;
        let mut is_bounded = (1..=self.settings.session.jobs).contains(&most);
        if is_bounded {
            assert!(of_lane < most as usize, "more than {most} in flight");
        }
        is_bounded |= bounds.rate.is_some() || is_attempt && !self.settings.spending.is_empty();
        let has_no_queue = is_bounded || alone || bounds.is_grader;
        assert!(at_worker < if has_no_queue { slots } else { 512 }, "too many wait at a worker");
        if let Some(grader) = assignment.grader {
            *self.truth.questions.entry((trial, grader)).or_default() += 1;
        }
        self.truth.open.insert(assignment.task, (worker, assignment));
        self.check_bounds(worker, assignment);
        let delay = self.delay();
        self.later(delay, Event::Task(worker, assignment));
    }

    /// Checks rates, budgets, memory and `fail_fast`.
    fn check_bounds(&mut self, worker: u32, assignment: Assignment) {
        let (now, lane) = (self.now, self.lane(&assignment));
        let bounds = self.settings.providers.get(lane).copied().unwrap_or_default();
        let own = [None, Some(0), Some(usize::from(self.tests.grid.providers))];
        let (slots, alone, memory) = self.known[&worker];
        let truth = &mut self.truth;
        let given_up = self.settings.most_bad().filter(|most| truth.bad >= *most);
        assert_eq!(given_up, None, "it has given up");
        // Judgements spend nothing.
        let judging = self.settings.providers.len();
        for (most, own) in self.budgets.into_iter().zip(own) {
            let used = own
                .map_or_else(|| truth.measured[..judging].iter().sum(), |own| truth.measured[own]);
            let is_used_up = most.is_some_and(|most| used >= most);
            assert!(!is_used_up || own.is_some_and(|own| own != lane), "{used} of {most:?}");
        }
        let (first, count) = truth.starts.entry(lane).or_insert((now, 0));
        if let Some(rate) = bounds.rate {
            let in_time = *first + *count * rate.gap().0;
            assert!(now + MAX_CATCH_UP >= in_time, "start {count} comes too early");
        }
        *count += 1;
        let is_known = truth.reports[lane] >= 8 && !alone;
        let needs_limit = !is_known || truth.lacked.contains(&(assignment.trial, lane));
        let reserved = if needs_limit { bounds.memory } else { MIB.min(bounds.memory) };
        truth.reserved.insert(assignment.task, reserved);
        let at_worker = truth.open.iter().filter(|(_, (at, _))| *at == worker);
        let sizes: Vec<_> = at_worker.map(|(task, _)| truth.reserved[task]).collect();
        let limits = self.settings.providers.iter().map(|bounds| bounds.memory);
        let has_graders = self.settings.providers.iter().any(|bounds| bounds.is_grader);
        let at_once = slots as u64 * (1 + u64::from(has_graders));
        let is_counted = limits.max().unwrap() * at_once > memory;
        assert!(
            !is_counted || sizes.len() == 1 || sizes.iter().sum::<u64>() <= memory,
            "{sizes:?} of {memory}"
        );
    }

    /// Checks a row and sends it to the disk. `rows` is the state of the trial with it.
    fn write(&mut self, assignment: Assignment, mut rows: Rows, is_final: bool) {
        let is_attempt = self.is_attempt(&assignment);
        let truth = &mut self.truth;
        assert!(!truth.disk_failed, "the disk has failed");
        assert!(truth.open.remove(&assignment.task).is_some());
        rows.attempts += u32::from(is_attempt);
        assert_eq!(assignment.attempt, rows.attempts, "a number of its own");
        assert!(!rows.is_final, "it is done");
        rows.is_final = is_final;
        truth.has_rows.insert(assignment.trial);
        truth.rows[assignment.trial as usize].clone_from(&rows);
        truth.written.push_back((assignment.trial, rows));
        let delay = 1 + self.random.below(DISK);
        let fails = self.random.one_in(self.world.disk_fails);
        self.later(delay, if fails { Event::DiskFails } else { Event::Acked(1) });
    }

    fn finish(&mut self, reason: Option<Reason>) {
        let truth = &mut self.truth;
        assert_eq!(truth.finished, None, "there is one end");
        truth.finished = Some(reason);
        let is_done = truth.rows.iter().all(|rows| rows.is_final);
        match reason {
            Some(Reason::Storage) => {}
            reason => {
                assert_eq!(truth.written, [], "rows are not on disk");
                assert_eq!(reason.is_none(), is_done, "{reason:?}");
                assert!(truth.open.is_empty() || truth.has_killed);
            }
        }
        let judging = self.settings.providers.len();
        let used: u64 = truth.measured[..judging].iter().sum();
        let [all, own, of_grader] = self.budgets;
        let grader = usize::from(self.tests.grid.providers);
        let may_end = match reason {
            Some(Reason::FailFast) => {
                self.settings.most_bad().is_some_and(|most| truth.bad >= most)
            }
            Some(Reason::Budget) => {
                all.is_some_and(|most| used >= most)
                    || own.is_some_and(|most| truth.measured[0] >= most)
                    || of_grader.is_some_and(|most| truth.measured[grader] >= most)
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

/// Returns budgets of the metric `m` for the run, the first provider and the first grader, which comes after the `providers`.
fn spending([all, own, of_grader]: [Option<u64>; 3], providers: u16) -> Spending {
    let mut budgets = Budgets::default();
    for (name, most) in [("m", all), ("p0:m", own), ("grader:m", of_grader)] {
        if let Some(most) = most {
            budgets.add(&format!("{name}={most}")).unwrap();
        }
    }
    let names: Vec<_> = (0..providers).map(|place| format!("p{place}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).chain(["grader"]).collect();
    Spending::new(&budgets, &names).unwrap()
}

/// Returns rows on disk before the first session of the test.
fn old_rows(random: &mut Random, tests: &Tests) -> Vec<Rows> {
    let is_resumed = random.one_in(2);
    let rows = tests.graders.iter().map(|graders| match random.below(5) {
        _ if !is_resumed => Rows::default(),
        0 => Rows { is_final: true, ..Rows::default() },
        1 => Rows {
            attempts: random.spread(300) as u32,
            had_bad: random.one_in(2),
            ..Rows::default()
        },
        2 => {
            // With all answers, or without graders, only the expectations have changed.
            let answered = random.below(graders.len() as u64 + 1) as usize;
            let answers = graders[..answered].iter().map(|lane| (*lane, random.next()));
            Rows { attempts: 1, is_ungraded: true, answers: answers.collect(), ..Rows::default() }
        }
        _ => Rows::default(),
    });
    rows.collect()
}

/// Runs the sessions of a run to its end. Returns the reasons of all ends.
fn run(seed: u64) -> Vec<Option<Reason>> {
    let mut random = Random(seed);
    let tests = Rc::new(Tests::new(&mut random));
    let mut disk = old_rows(&mut random, &tests);
    let mut ends = Vec::new();
    for number in 1..=SESSIONS {
        let mut session = Session::new(random, &tests, disk, number == SESSIONS);
        session.run();
        let end = session.truth.finished;
        (random, disk) = session.into_disk();
        ends.extend(end);
        if end == Some(None) {
            break;
        }
    }
    let is_done = |(rows, graders): (&Rows, &Vec<u16>)| {
        let mut answered: Vec<_> = rows.answers.iter().map(|(lane, _)| *lane).collect();
        answered.sort_unstable();
        rows.is_final
            && answered.is_sorted_by(|a, b| a < b)
            && answered.iter().all(|lane| graders.contains(lane))
    };
    assert!(disk.iter().zip(&tests.graders).all(is_done), "the last session ends each trial");
    ends
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
        let reasons = std::panic::catch_unwind(|| run(seed))
            .unwrap_or_else(|_| panic!("to repeat it: RUNNER_TEST_SEED={seed}"));
        for reason in reasons {
            *ends.entry(reason).or_default() += 1;
        }
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
