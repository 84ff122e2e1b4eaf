//! [`World`]: a dispatcher, its executors and its disk on a virtual clock.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

use super::{
    agenda::{Agenda, Happening},
    audit::Audit,
    executor::{Script, Scripted},
    random::Random,
    shape::{AuditRules, PlanShape},
};
use crate::{
    model::{Digest, Fingerprint, Outcome, Reason, StopMode},
    plugin::{Moment, TEARDOWN_TIME},
    record::{
        Entry, JudgementEntry, RecordError, State, WaitingTrial, WaitingTrials, Written, testing,
    },
    run::{
        clock::Now,
        dispatcher::{
            AHEAD, AHEAD_ELSEWHERE, Dispatcher, DispatcherParts, Effects, Rules, SessionMessage,
            Suspects, Turn,
        },
        event::Event,
        seam::{ExecutorId, GRADERS, ToExecutor},
        session_end::SessionEnd,
        spending::Spending,
        stop::{Cause, StopRequest},
    },
};

/// More turns than any schedule takes.
const MAX_TURNS: u32 = 200_000;
/// How late the clock of a test may be: nothing in it takes time, but times are rounded.
const ROUNDING: Duration = Duration::from_millis(1);

/// Everything that a session depends on.
pub(super) struct Schedule {
    pub(super) shape: Arc<PlanShape>,
    pub(super) executors: Vec<Script>,
    /// What executes graders, where there are some.
    pub(super) graders: Script,
    pub(super) rules: AuditRules,
    /// When somebody asks for a stop, and how hard.
    pub(super) stops: Vec<(Duration, StopMode)>,
    /// How long rows are on their way to the disk.
    pub(super) disk_lag: Duration,
    /// After how many rows the disk fails.
    pub(super) disk_fails_after: Option<usize>,
    pub(super) seed: u64,
}

/// What a session came to.
pub(super) struct Played {
    pub(super) ending: SessionEnd,
    pub(super) audit: Audit,
    /// What each trial came to, by ordinal.
    pub(super) outcomes: Vec<Option<Outcome>>,
    /// When it was over.
    pub(super) over_at: Duration,
}

/// What the dispatcher's decisions reach.
struct World {
    agenda: Agenda,
    executors: HashMap<ExecutorId, Scripted>,
    audit: Audit,
    disk: Disk,
    wall: Timestamp,
}

struct Disk {
    lag: Duration,
    fails_after: Option<usize>,
    on_its_way: Vec<Entry>,
    judgements: Vec<JudgementEntry>,
    is_syncing: bool,
    /// The number of the last line.
    seq: u64,
}

impl Effects for World {
    fn send(&mut self, who: ExecutorId, message: ToExecutor) {
        if let ToExecutor::Assign(batch) = &message {
            assert!(!batch.is_empty());
            for assignment in batch {
                self.audit.assigned(self.agenda.now, who, assignment);
            }
        }
        let lag = self.executors[&who].lag();
        self.agenda.after(lag, Happening::Told(who, message));
    }

    fn record(&mut self, entries: Vec<Entry>) {
        self.audit.recorded(&entries);
        self.disk.on_its_way.extend(entries);
        self.begin_sync();
    }

    fn judge(&mut self, judgements: Vec<JudgementEntry>) {
        self.audit.judged(&judgements);
        self.disk.judgements.extend(judgements);
        self.begin_sync();
    }

    fn flush(&mut self) {
        let soon = self.disk.lag.min(Duration::from_millis(1));
        self.agenda.after(soon, Happening::Synced);
    }

    fn wait(&mut self, waits: WaitingTrials) {
        let is_named_once = |wait: &WaitingTrial| {
            let same = waits.first.iter().filter(|other| other.key == wait.key);
            same.count() == 1
        };
        assert!(waits.first.iter().all(is_named_once), "{waits:?}");
        let is_somebody_there = self.audit.machines.slots() > 0;
        assert!(waits.without_workers_since.is_none() || !is_somebody_there);
    }

    fn show(&mut self, event: Event<'_>) {
        match event {
            Event::Stopping { mode, .. } => self.audit.stopping(self.agenda.now, mode),
            Event::Rows { counts, .. } => assert!(counts.done() <= counts.planned),
            _ => {}
        }
    }
}

impl World {
    fn new(schedule: &Schedule) -> Self {
        let mut agenda = Agenda::default();
        let shape = &schedule.shape;
        let scripts = (0..).map(ExecutorId).zip(&schedule.executors);
        let graders = (!shape.graders.is_empty()).then_some((GRADERS, &schedule.graders));
        let executors = scripts.chain(graders).map(|(who, script)| {
            let seed = schedule.seed ^ u64::from(who.0) << 32;
            let memory = match who {
                GRADERS => shape.grader_memory(),
                _ => shape.memory(),
            };
            let executor = Scripted::new(who, script.clone(), memory, seed, &mut agenda);
            (who, executor)
        });
        let executors = executors.collect();
        for (at, mode) in &schedule.stops {
            agenda.at(*at, Happening::Asked(*mode));
        }
        Self {
            agenda,
            executors,
            audit: Audit::new(Arc::clone(&schedule.shape), schedule.rules),
            disk: Disk {
                lag: schedule.disk_lag,
                fails_after: schedule.disk_fails_after,
                on_its_way: Vec::new(),
                judgements: Vec::new(),
                is_syncing: false,
                seq: 0,
            },
            wall: "2026-11-20T04:39:12Z".parse().unwrap(),
        }
    }

    fn begin_sync(&mut self) {
        if !self.disk.is_syncing {
            self.disk.is_syncing = true;
            self.agenda.after(self.disk.lag, Happening::Synced);
        }
    }

    /// Lets what is on its way arrive on disk, or not.
    fn sync(&mut self) -> Written {
        self.disk.is_syncing = false;
        let entries = std::mem::take(&mut self.disk.on_its_way);
        let judgements = std::mem::take(&mut self.disk.judgements);
        let on_disk = self.audit.written.len() + entries.len();
        let fails = self.disk.fails_after.is_some_and(|most| on_disk > most);
        if fails {
            self.audit.has_storage_failed = true;
        } else {
            self.audit.synced(&entries, &judgements);
        }
        let lines = match fails {
            true => Vec::new(),
            false => testing::lines(&entries, &judgements, &mut self.disk.seq),
        };
        Written {
            entries,
            judgements: judgements.iter().map(JudgementEntry::judged).collect(),
            lines,
            error: fails.then(|| RecordError::RootIsFile {
                path: PathBuf::from("results"),
            }),
        }
    }
}

impl Schedule {
    /// Lets it happen, and checks at every message what must hold.
    pub(super) fn play(&self) -> Played {
        let base = Moment::now();
        let mut random = Random(self.seed);
        let world = World::new(self);
        let wall = world.wall;
        let at = |now: Duration| Now {
            at: base + now,
            wall,
            suspended: Duration::ZERO,
        };
        let mut dispatcher = Dispatcher::begin(self.parts(world, base), at(Duration::ZERO));
        for _ in 0..MAX_TURNS {
            let now = dispatcher.out.agenda.now;
            dispatcher.out.audit.looked_at(now);
            let Turn::Wait(until) = dispatcher.turn(at(now)).unwrap() else {
                return self.played(dispatcher, now);
            };
            let until = until.saturating_duration_since(base);
            let next = dispatcher.out.agenda.next();
            let next = next.map_or(until, |next| next.min(until)).max(now);
            dispatcher.out.agenda.now = next;
            while let Some(happening) = dispatcher.out.agenda.due() {
                happen(&mut dispatcher, at(next), happening);
                // Messages that arrive together may be looked at together or not.
                if random.one_in(3) {
                    break;
                }
            }
        }
        panic!("the session does not end");
    }

    fn parts(&self, out: World, base: Moment) -> DispatcherParts<World> {
        let state = State::planned(self.shape.trials.len() as u64);
        let after = self.rules.poison_after;
        let none = |_| unreachable!("nothing died before");
        DispatcherParts {
            out,
            rules: Rules {
                fail_fast: self.rules.fail_fast,
                grace: self.rules.grace,
                ends: base + self.rules.ends,
                most: None,
                is_spread: true,
                forsaken: self.rules.forsaken,
                ahead: match self.seed % 2 {
                    0 => AHEAD,
                    _ => AHEAD_ELSEWHERE,
                },
                limit: "the schedule".into(),
                spending: Spending::default(),
            },
            lanes: self.shape.lanes(),
            grading: self.shape.grading(after),
            suspects: Suspects::of(&HashMap::new(), &state, after, none).unwrap(),
            state,
            fingerprint: Box::new(|_, test| Fingerprint {
                execution: Digest::of(test.id.as_str().as_bytes()),
                judgement: test.judgement,
            }),
        }
    }

    fn played(&self, mut dispatcher: Dispatcher<World>, over_at: Duration) -> Played {
        let audit = &dispatcher.out.audit;
        let must_end_at = audit
            .must_end_at()
            .unwrap_or(self.rules.ends + TEARDOWN_TIME + self.rules.grace + TEARDOWN_TIME);
        let bound = must_end_at + self.disk_lag * 2 + ROUNDING;
        assert!(over_at <= bound, "it is over at {over_at:?}, not {bound:?}");
        let state = dispatcher.state().clone();
        let unused = Audit::new(Arc::clone(&self.shape), self.rules);
        let audit = std::mem::replace(&mut dispatcher.out.audit, unused);
        let ending = dispatcher.end();
        let is_broken = |cause: &Cause| cause.reason == Reason::Internal;
        assert!(!ending.cause.as_ref().is_some_and(is_broken), "{ending:?}");
        let reason = ending.cause.as_ref().map(|cause| cause.reason);
        audit.ended(&state, reason);
        let trials = 0..self.shape.trials.len() as u64;
        Played {
            ending,
            audit,
            outcomes: trials.map(|ordinal| state.outcome(ordinal)).collect(),
            over_at,
        }
    }
}

fn happen(dispatcher: &mut Dispatcher<World>, now: Now, happening: Happening) {
    let World {
        agenda,
        executors,
        audit,
        wall,
        ..
    } = &mut dispatcher.out;
    let wall = *wall;
    match happening {
        Happening::Heard(message) => {
            audit.heard(agenda.now, &message);
            dispatcher.receive_from_executor(now, message);
        }
        Happening::Told(who, message) => executors.get_mut(&who).unwrap().take(message, agenda),
        Happening::Joins(who) => executors.get_mut(&who).unwrap().join(agenda),
        Happening::Leaves(who) => executors.get_mut(&who).unwrap().leave(agenda),
        Happening::Ends(who, key) => executors.get_mut(&who).unwrap().end(key, wall, agenda),
        Happening::Late(who, key) => executors
            .get_mut(&who)
            .unwrap()
            .answer_late(key, wall, agenda),
        Happening::Interrupts(who) => executors.get_mut(&who).unwrap().interrupt(wall, agenda),
        Happening::Synced => {
            let disk = &dispatcher.out.disk;
            if !(disk.on_its_way.is_empty() && disk.judgements.is_empty()) {
                let written = dispatcher.out.sync();
                dispatcher.receive(now, SessionMessage::Written(written));
            }
        }
        Happening::Asked(mode) => {
            let request = StopRequest {
                mode,
                signal: None,
                actor: None,
            };
            dispatcher.receive(now, SessionMessage::Stop(request));
        }
    }
}
