//! [`Workplace`]: a worker's machine, made ready for a run that another one has; and [`Seat`]: one of its processes.

use std::{
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    bundle::Bundle,
    process::{WorkerChild, WorkerProgram},
    remote_news::RemoteNews,
    said_buffer::WINDOW_ELSEWHERE,
    setup::{Setup, WorkerEngine},
    staff::WorkerHost,
    suite_copy::SuiteCopy,
};
use crate::{
    model::{chain, cores},
    plugin,
    record::{AttemptKey, InFlight, RunLikeness, RunReader},
    run::{plan::Plan, seam::Capacity},
};

/// What the list of tests is called there.
const SUITE: &str = "tests.jsonl";

/// A worker's machine, made ready for a run that another one has.
pub struct Workplace {
    bundle: Bundle,
    root: PathBuf,
    run_dir: PathBuf,
    suite: PathBuf,
    plan: Plan,
    share: Share,
}

/// What each process of a worker has of its machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    processes: usize,
    slots: usize,
    threads: usize,
    memory: u64,
}

/// What a worker may use of its machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineAllowance {
    /// How many attempts run at once; by itself as many as a run of its own would make.
    pub jobs: Option<usize>,
    /// What they may hold together, in bytes; by itself most of the machine's memory.
    pub memory: Option<u64>,
}

/// A process of a worker, which ends with this value.
pub struct Seat {
    child: WorkerChild,
    in_flight: InFlight,
    slots: usize,
    run_dir: PathBuf,
}

impl Workplace {
    /// Makes the plan of a run again, whose blobs are below `root`, those segments of its tests that define something among
    /// them. Gives the list of tests beside it, which the others go into; the error says why it cannot be made here.
    ///
    /// # Errors
    ///
    /// Fails if something is missing, is not what its name says, or does not fit this machine.
    pub fn open(
        bundle: Bundle,
        root: &Path,
        allowed: MachineAllowance,
    ) -> Result<(Self, SuiteCopy), String> {
        let name = format!("plan-{}", uuid::Uuid::new_v4().simple());
        let (run_dir, _) = (bundle.make(root, &name)).map_err(|error| error.to_string())?;
        let run = RunReader::open(&run_dir).map_err(|error| chain(&error))?;
        let suite = run_dir.join(SUITE);
        let copy = copy_suite(&bundle, &suite, root).map_err(|error| error.to_string())?;
        let plan = Plan::of_handed(&run, bundle.plan.clone(), &suite);
        let plan = plan.map_err(|error| chain(&error))?;
        let share = Share::of(&plan, allowed)?;
        let workplace = Self {
            bundle,
            root: root.to_owned(),
            run_dir,
            suite,
            plan,
            share,
        };
        Ok((workplace, copy))
    }

    /// The plan, whose secrets and folders are to be found here.
    pub fn plan(&mut self) -> &mut Plan {
        &mut self.plan
    }

    /// Removes what was made for it; what came by its digest stays, for the next one.
    pub fn clear(self) {
        // What cannot be removed is removed by the next worker.
        drop(RunLikeness::remove(&self.run_dir));
    }

    /// How many processes make its attempts here.
    pub fn processes(&self) -> usize {
        self.share.processes
    }

    /// How much each of them carries.
    pub fn capacity(&self) -> Capacity {
        Capacity {
            slots: self.share.slots,
            memory: self.share.memory,
        }
    }

    /// Starts one of them, which dies with the thread that calls this; `name` is no other's. Gives the socket over which it
    /// speaks.
    ///
    /// # Errors
    ///
    /// Fails if it cannot be started.
    pub fn start(
        &self,
        name: &str,
        host: &WorkerHost,
        scratch_root: &Path,
    ) -> io::Result<(Seat, UnixStream)> {
        let (run_dir, in_flight) = self.bundle.make(&self.root, name)?;
        let program = WorkerProgram {
            path: host.engine.compiler.clone(),
            env: host.env.clone(),
            scratch_root: scratch_root.to_owned(),
        };
        let (child, socket) = WorkerChild::start(&program)?;
        let Share {
            slots,
            threads,
            memory,
            ..
        } = self.share;
        let largest = self.plan.plugins().map(|plugin| plugin.limits.memory).max();
        let most = largest.unwrap_or_default().saturating_mul(slots as u64);
        let setup = Setup {
            parent: std::process::id(),
            run_dir: run_dir.clone(),
            session: self.bundle.session,
            plan: self.plan.handed(),
            suite: self.suite.clone(),
            memory_share: memory / slots as u64,
            memory: (most > memory).then_some(memory),
            slots,
            threads,
            window: WINDOW_ELSEWHERE,
            scratch_root: scratch_root.to_owned(),
            engine: WorkerEngine::of(&host.engine, host.pools_sandboxes),
        };
        io::Write::write_all(&mut &socket, &setup.encode())?;
        let seat = Seat {
            child,
            in_flight,
            slots,
            run_dir,
        };
        Ok((seat, socket))
    }
}

/// The list of tests, with what is needed to read any of it.
fn copy_suite(bundle: &Bundle, path: &Path, root: &Path) -> io::Result<SuiteCopy> {
    let mut copy = SuiteCopy::create(path, Arc::clone(bundle.segments()))?;
    for place in &bundle.segments().defining {
        if !copy.take(*place, &Bundle::content(root))? {
            return Err(io::Error::other(
                "a segment of the list of tests was altered in the worker's store",
            ));
        }
    }
    Ok(copy)
}

impl Seat {
    /// What ends it at once, whoever has it.
    pub fn kill_switch(&self) -> impl Fn() + use<> {
        let pid = rustix::process::Pid::from_raw(self.child.pid().cast_signed());
        move || {
            if let Some(pid) = pid {
                // It fails only if it has ended already.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }

    /// Ends it, if it has not ended, and tells what it had begun, and how it ended; nothing of one that was done.
    pub fn end(self) -> Option<RemoteNews> {
        let (status, words) = self.child.end();
        let begun: Vec<AttemptKey> = (0..self.slots)
            .filter_map(|slot| self.in_flight.noted(slot))
            .collect();
        // It is of no more use, and what is left of it is removed with all the rest.
        drop(RunLikeness::remove(&self.run_dir));
        if status.is_some_and(|status| status.success()) {
            return None;
        }
        let status = status.map_or_else(String::new, |status| format!(": {status}"));
        let words = match words.as_str() {
            "" => String::new(),
            words => format!(", with the words: {words}"),
        };
        Some(RemoteNews::Ended {
            begun,
            words: format!("{status}{words}"),
        })
    }
}

impl Share {
    fn of(plan: &Plan, allowed: MachineAllowance) -> Result<Self, String> {
        let memory = allowed.memory.unwrap_or_else(plugin::most_of_the_memory);
        let largest = plan.plugins().map(|plugin| plugin.limits.memory).max();
        let largest = largest.unwrap_or_default().max(1);
        let fitting = usize::try_from(memory / largest).unwrap_or(usize::MAX);
        if fitting == 0 {
            return Err(format!(
                "an attempt may take {}, and there are {} for all of them",
                bytesize::ByteSize(largest),
                bytesize::ByteSize(memory)
            ));
        }
        let jobs = allowed.jobs.unwrap_or_else(|| plan.default_jobs()).max(1);
        let processes = cores().min(jobs).min(fitting);
        Ok(Self {
            processes,
            slots: jobs.div_ceil(processes),
            threads: cores().div_ceil(processes),
            memory: memory / processes as u64,
        })
    }
}

/// The name of a worker's process, in which its machine and its place there can be seen.
pub fn seat_name(worker: &str, place: usize) -> Arc<str> {
    format!("{worker}/{place}").into()
}

/// The worker that a process of this name is one of.
pub(super) fn worker_of_seat(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(worker, _)| worker)
}
