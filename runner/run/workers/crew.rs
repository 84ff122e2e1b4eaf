//! [`Crew`]: the processes of a session that make attempts, and which of its slots each of them has.
//!
//! There are as many slots as attempts may run at once, and each is open in one process at a time: those of workers are opened
//! there once they are closed here. So no more attempts run at once than are allowed, whoever comes and goes.

use std::{mem, time::Duration};

use tokio::sync::mpsc::UnboundedSender;

use super::{
    hearing::{Talk, WorkerNews},
    process::WorkerProcess,
    remote_news::RunNews,
    remotes::{RemoteWorker, Remotes},
    staff::Workers,
    wire::ToWorker,
};
use crate::{
    model::ShownDuration,
    plugin::{Moment, clock},
    record::InFlight,
    run::{
        local::{POOL, Pool},
        plan::Staffing,
        seam::{Capacity, ExecutorId, FromExecutors, MachineName, ToExecutor},
    },
};

/// How much work must be left for workers to be worth their start.
const WORTH: Duration = Duration::from_millis(50);
/// After how many attempts it can be told how much work is left.
const ENOUGH_TO_TELL: u32 = 16;
/// How many workers in a row may end in a place without having begun anything, before it is given up.
const MAX_FRUITLESS: u32 = 3;
/// How long it takes until the next one is started there; longer each time.
const PAUSE: Duration = Duration::from_millis(100);

/// What a crew hears beside what executors say.
#[derive(Debug)]
pub(in crate::run) enum CrewEvent {
    /// A slot of this process was closed.
    Closed(usize),
    /// A worker tells something.
    News(ExecutorId, WorkerNews),
    /// It is time to start a worker in this place.
    Start(usize),
    /// There is a worker on another machine.
    Arrived(RemoteWorker),
}

/// What a crew is made of.
pub(in crate::run) struct CrewParts<'a> {
    pub(in crate::run) pool: Pool,
    /// All that may run at the same time.
    pub(in crate::run) capacity: Capacity,
    /// How many trials are left.
    pub(in crate::run) pending: u64,
    pub(in crate::run) in_flight: InFlight,
    pub(in crate::run) workers: Workers<'a>,
    pub(in crate::run) dispatcher: UnboundedSender<FromExecutors>,
    pub(in crate::run) events: UnboundedSender<CrewEvent>,
}

/// The processes of a session that make attempts.
pub(in crate::run) struct Crew<'a> {
    parts: CrewParts<'a>,
    /// What each worker is told first; empty before there is one.
    setup: Vec<u8>,
    /// How many slots are open in this process.
    in_pool: usize,
    /// How many are being closed there.
    closing: usize,
    /// Slots that are open nowhere.
    free: Vec<usize>,
    places: Vec<Place>,
    remotes: Remotes,
    /// How many workers there were.
    started: u32,
    /// How many attempts were made, and since when.
    made: u32,
    begun: Moment,
    /// Whether nothing more is begun.
    is_ending: bool,
    /// Whether workers are to wait.
    is_paused: bool,
}

/// Where a worker is, or will be.
#[derive(Default)]
struct Place {
    worker: Option<Worker>,
    fruitless: u32,
    is_given_up: bool,
}

struct Worker {
    who: ExecutorId,
    process: WorkerProcess,
    is_ready: bool,
    slots: Vec<usize>,
}

impl<'a> Crew<'a> {
    /// Begins with the executors of this process or with workers, and says who has joined.
    pub(in crate::run) fn begin(parts: CrewParts<'a>) -> (Self, Vec<FromExecutors>) {
        let mut crew = Self {
            setup: Vec::new(),
            in_pool: 0,
            closing: 0,
            free: (0..parts.capacity.slots).collect(),
            places: Vec::new(),
            remotes: Remotes::default(),
            started: 0,
            made: 0,
            begun: Moment::now(),
            is_ending: false,
            is_paused: false,
            parts,
        };
        if let Staffing::Workers(count) = crew.parts.workers.staffing {
            crew.start_all(count);
        }
        let joined = crew.hand_out();
        (crew, joined)
    }

    /// Says something to an executor.
    pub(in crate::run) fn send(&mut self, who: ExecutorId, message: ToExecutor) {
        if !matches!(message, ToExecutor::Assign(_) | ToExecutor::SetAside { .. }) {
            self.is_ending = true;
        }
        if who == POOL {
            self.parts.pool.take(message);
            return;
        }
        let mut workers = self.places.iter().filter_map(|place| place.worker.as_ref());
        let ours = workers.find(|worker| worker.who == who);
        let ours = ours.map(|worker| &worker.process.talk);
        let (first, last) = match message {
            ToExecutor::Assign(batch) => {
                return match ours {
                    Some(talk) => talk.assign(batch),
                    None => self.remotes.assign(who, batch),
                };
            }
            ToExecutor::TakeBack => (None, ToWorker::TakeBack),
            ToExecutor::SetAside { why } => {
                self.remotes.note(who, &RunNews::SetAside { why });
                (Some(ToWorker::TakeBack), ToWorker::Close)
            }
            ToExecutor::Stop { grace } => (None, ToWorker::Stop(grace)),
            ToExecutor::Close => (None, ToWorker::Close),
        };
        // What a worker has that is gone is lost when that is heard of.
        if let Some(talk) = ours.or_else(|| self.remotes.find(who)) {
            first
                .iter()
                .chain([&last])
                .for_each(|message| talk.send(message.encode()));
        }
    }

    /// Lets workers wait, or go on; tells whether that is something new.
    pub(in crate::run) fn pause(&mut self, is_paused: bool) -> bool {
        if self.is_paused == is_paused {
            return false;
        }
        self.is_paused = is_paused;
        let message = match is_paused {
            true => ToWorker::Pause,
            false => ToWorker::GoOn,
        };
        for worker in self.places.iter().filter_map(|place| place.worker.as_ref()) {
            worker.process.talk.send(message.encode());
        }
        self.remotes.tell(&message);
        true
    }

    /// Notes that attempts were made here or elsewhere, and starts workers once what is left is worth it.
    pub(in crate::run) fn made(&mut self, attempts: usize) {
        let Staffing::OnceItPays(count) = self.parts.workers.staffing else {
            return;
        };
        if !self.places.is_empty() || self.is_ending {
            return;
        }
        self.made = self
            .made
            .saturating_add(u32::try_from(attempts).unwrap_or(u32::MAX));
        if self.made < ENOUGH_TO_TELL {
            return;
        }
        let left = self.parts.pending.saturating_sub(self.made.into());
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let each = self.begun.elapsed() / self.made;
        if each.saturating_mul(left) > WORTH {
            self.start_all(count);
        }
    }

    /// Takes what happened, and says who has joined by that, or left.
    pub(in crate::run) fn take(&mut self, event: CrewEvent) -> Vec<FromExecutors> {
        match event {
            CrewEvent::Closed(slot) => {
                self.closing = self.closing.saturating_sub(1);
                self.free.push(slot);
                self.hand_out()
            }
            CrewEvent::Start(place) => {
                self.start(place);
                self.hand_out()
            }
            CrewEvent::Arrived(worker) => {
                self.let_in(worker);
                Vec::new()
            }
            CrewEvent::News(who, news) => {
                let of = |place: &Place| {
                    let worker = place.worker.as_ref();
                    worker.is_some_and(|worker| worker.who == who)
                };
                match self.places.iter().position(of) {
                    Some(place) => self.hear(place, news),
                    None => self.remotes.hear(who, news).unwrap_or_default(),
                }
            }
        }
    }

    fn hear(&mut self, place: usize, news: WorkerNews) -> Vec<FromExecutors> {
        let mut said = match news {
            WorkerNews::Ready => {
                if let Some(worker) = &mut self.places[place].worker {
                    worker.is_ready = true;
                    tracing::info!("worker process {} makes attempts", worker.process.pid());
                }
                self.recall()
            }
            WorkerNews::Unready(reason) => {
                tracing::warn!("a worker process cannot make attempts: {reason}");
                self.places[place].is_given_up = true;
                Vec::new()
            }
            // Only of one on another machine is this said for it.
            WorkerNews::Remote(_) => Vec::new(),
            WorkerNews::Gone => self.bury(place),
            WorkerNews::Silent(since) => {
                if let Some(worker) = &self.places[place].worker {
                    tracing::warn!(
                        "worker process {} has said nothing for {} and is killed: it was stopped or hangs",
                        worker.process.pid(),
                        ShownDuration(since)
                    );
                }
                self.bury(place)
            }
        };
        said.extend(self.hand_out());
        said
    }

    fn start_all(&mut self, count: usize) {
        self.setup = self.parts.workers.setup();
        self.places.resize_with(count, Place::default);
        (0..count).for_each(|place| self.start(place));
    }

    fn start(&mut self, place: usize) {
        if self.is_ending {
            return;
        }
        let who = self.next_id();
        let talk = Talk {
            who,
            name: None,
            remote: None,
            dispatcher: self.parts.dispatcher.clone(),
            scratch_root: self.parts.workers.program.scratch_root.clone(),
        };
        match WorkerProcess::start(&self.parts.workers.program, talk, self.news_of(who)) {
            Ok(process) => {
                process.talk.send(self.setup.clone());
                if self.is_paused {
                    process.talk.send(ToWorker::Pause.encode());
                }
                self.places[place].worker = Some(Worker {
                    who,
                    process,
                    is_ready: false,
                    slots: Vec::new(),
                });
            }
            Err(error) => {
                tracing::warn!("cannot start a worker process: {error}");
                self.start_again(place, true);
            }
        }
    }

    /// Lets a worker on another machine in.
    fn let_in(&mut self, worker: RemoteWorker) {
        if self.is_ending {
            return;
        }
        let who = self.next_id();
        let news = self.news_of(who);
        let scratch_root = &self.parts.workers.program.scratch_root;
        let dispatcher = self.parts.dispatcher.clone();
        let added = self
            .remotes
            .add(who, worker, scratch_root, dispatcher, news);
        match (added, self.remotes.find(who)) {
            (Ok(()), Some(talk)) if self.is_paused => talk.send(ToWorker::Pause.encode()),
            (Ok(()), _) => {}
            (Err(error), _) => tracing::warn!("cannot speak with a worker: {error}"),
        }
    }

    fn next_id(&mut self) -> ExecutorId {
        self.started += 1;
        ExecutorId(POOL.0 + self.started)
    }

    fn news_of(&self, who: ExecutorId) -> impl Fn(WorkerNews) + Send + use<> {
        let events = self.parts.events.clone();
        // Without a driver there is nobody to hear.
        move |news| drop(events.send(CrewEvent::News(who, news)))
    }

    /// Lets another worker take the place of one that is gone, unless those are of no use there.
    fn start_again(&mut self, place: usize, is_fruitless: bool) {
        let number = place;
        let place = &mut self.places[place];
        place.fruitless = match is_fruitless {
            true => place.fruitless + 1,
            false => 0,
        };
        if place.fruitless >= MAX_FRUITLESS {
            place.is_given_up = true;
        }
        if place.is_given_up || self.is_ending {
            return;
        }
        let pause = PAUSE * place.fruitless;
        let events = self.parts.events.clone();
        tokio::spawn(async move {
            clock::sleep_until(Moment::now() + pause).await;
            drop(events.send(CrewEvent::Start(number)));
        });
    }

    /// Takes what a worker that is gone has noted of what it had begun: whatever else it had never happened.
    fn bury(&mut self, place: usize) -> Vec<FromExecutors> {
        let Some(worker) = self.places[place].worker.take() else {
            return Vec::new();
        };
        let Worker {
            who,
            process,
            slots,
            is_ready,
        } = worker;
        let (pid, has_answered) = (process.pid(), process.talk.has_answered());
        let (status, words) = process.end();
        let mut attempts = Vec::new();
        for slot in &slots {
            attempts.extend(self.parts.in_flight.noted(*slot));
            self.parts.in_flight.end(*slot);
        }
        if !self.is_ending {
            let status = status.map_or_else(String::new, |status| format!(": {status}"));
            let words = match words.as_str() {
                "" => String::new(),
                words => format!(", with the words: {words}"),
            };
            tracing::warn!(
                "worker process {pid} has ended with {} attempts{status}{words}",
                attempts.len()
            );
        }
        self.free.extend(slots);
        let is_fruitless = !is_ready || attempts.is_empty() && !has_answered;
        self.start_again(place, is_fruitless);
        vec![
            FromExecutors::Started { who, attempts },
            FromExecutors::Left { who },
        ]
    }

    /// Closes as many slots of this process as workers have room for.
    fn recall(&mut self) -> Vec<FromExecutors> {
        if self.is_ending {
            return Vec::new();
        }
        let ready = self.places.iter().filter_map(|place| place.worker.as_ref());
        let ready = ready.filter(|worker| worker.is_ready);
        let room: usize = ready.map(|worker| self.share() - worker.slots.len()).sum();
        let coming = self.free.len() + self.closing;
        let close = room.saturating_sub(coming).min(self.in_pool);
        if close == 0 {
            return Vec::new();
        }
        for _ in 0..close {
            self.parts.pool.close_one();
        }
        self.closing += close;
        self.in_pool -= close;
        vec![self.joined(POOL, self.in_pool)]
    }

    /// Opens slots that are open nowhere: with workers where there are some, else in this process.
    fn hand_out(&mut self) -> Vec<FromExecutors> {
        if self.is_ending {
            return Vec::new();
        }
        let share = self.share();
        let mut said = Vec::new();
        for place in 0..self.places.len() {
            let Some(worker) = &mut self.places[place].worker else {
                continue;
            };
            let room = share - worker.slots.len();
            if !worker.is_ready || room == 0 || self.free.is_empty() {
                continue;
            }
            let slots = self
                .free
                .split_off(self.free.len() - room.min(self.free.len()));
            worker.slots.extend(&slots);
            worker.process.talk.send(ToWorker::Open(slots).encode());
            let (who, count) = (worker.who, worker.slots.len());
            said.push(self.joined(who, count));
        }
        let expected: usize = self
            .places
            .iter()
            .filter(|place| !place.is_given_up)
            .map(|place| share - place.worker.as_ref().map_or(0, |worker| worker.slots.len()))
            .sum();
        let ours = self.free.len().saturating_sub(expected);
        if ours > 0 {
            let rest = self.free.split_off(ours);
            for slot in mem::replace(&mut self.free, rest) {
                self.parts.pool.open(slot);
            }
            self.in_pool += ours;
            said.push(self.joined(POOL, self.in_pool));
        }
        said
    }

    /// How many slots a worker has at most.
    fn share(&self) -> usize {
        self.parts.workers.slots
    }

    fn joined(&self, who: ExecutorId, slots: usize) -> FromExecutors {
        let all = self.parts.capacity;
        let memory = u128::from(all.memory) * slots as u128 / all.slots.max(1) as u128;
        let capacity = Capacity {
            slots,
            memory: u64::try_from(memory).unwrap_or(all.memory),
        };
        FromExecutors::Joined {
            who,
            capacity,
            machine: MachineName::default(),
        }
    }
}
