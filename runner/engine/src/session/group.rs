//! [`Group`]: runs that one process runs one after the other. A stop ends all of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::{collections::VecDeque, path::PathBuf, thread, time::Duration};

use runner_model::{Reason, StopSignal};
use runner_record::{End, GroupPlace, Owned, RecordError, ResultsRoot, new_id, now};

use super::ending::{UNSTARTED, write_end};
use super::rescore::rescore;
use super::resume::continue_run;
use super::run::{PlannedSession, PreparedSession, lock_root};
use super::start::{planned, prepare};
use crate::event::{Ended, Observer};
use crate::run_parts::RunParts;
use crate::signals::{self, ListenerGuard, SignalEvent};
use crate::trust::usable;
use crate::validate::plugin_problems;
use crate::workers::{check_machine, prestart};
use crate::{EngineError, ExecRequest, RescoreRequest, ResumeRequest, error::machine_error};

/// Interval between two checks for changes of labels of waiting runs.
const LABEL_EVERY: Duration = Duration::from_millis(200);

/// Runs that one process runs in order. The process holds all of them until they have ended.
pub struct Group {
    id: String,
    left: Arc<Mutex<VecDeque<GroupRun>>>,
    /// The first signal, including signals between two runs.
    signal: Arc<OnceLock<StopSignal>>,
    /// The end of the remaining runs, once a run was stopped.
    end: Option<End>,
    _listener: ListenerGuard,
}

enum GroupRun {
    /// A new run in the stage `waiting`.
    Waiting(Box<(PlannedSession, Owned)>),
    Incomplete(Box<(ResumeRequest, Owned)>),
    /// A run whose outputs are judged again.
    Judged(Box<RescoreRequest>),
}

impl Group {
    /// Plans and validates all scenarios, then creates their runs. Returns the scenarios without selected tests, which get no run.
    ///
    /// # Errors
    ///
    /// The problems of all scenarios, or a run that cannot be created.
    pub fn create(requests: &[ExecRequest]) -> Result<(Self, Vec<PathBuf>), EngineError> {
        check_machine()?;
        // Listens from here on: when the last listener is removed, such as that of a plugin's check, a signal is forgotten.
        let mut group = Self::new(new_id("group", now()))?;
        let (mut plans, mut problems, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for request in requests {
            let planned = planned(request).and_then(|(plan, suite)| {
                let (_, problems) = plugin_problems(prestart()?, &plan)?;
                EngineError::check(problems).map(|()| (plan, suite))
            });
            match planned {
                Ok((plan, suite)) => plans.push((request, plan, suite)),
                Err(EngineError::NothingSelected(_) | EngineError::NothingFailed(_)) => {
                    empty.push(request.scenario.clone());
                }
                Err(stopped @ EngineError::Stopped(_)) => return Err(stopped),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(EngineError::Several(problems));
        }
        let Some((first, ..)) = plans.first() else {
            return Err(EngineError::NothingSelected(Vec::new()));
        };
        let root = ResultsRoot::open(&first.session.results)?;
        // Runs of a group wait at first, so a root in use is an error only if `share` forbids waiting.
        lock_root(&root, first.session.share)?;
        let of = plans.len() as u32;
        group.accept_labels()?;
        for ((request, plan, suite), place) in plans.into_iter().zip(1..) {
            let (work, parts) = prepare(request, root.clone(), plan, suite)?;
            let id = group.id.clone();
            let place = GroupPlace { id, place, of };
            match create(parts, place) {
                Ok(owned) => group.left().push_back(GroupRun::Waiting(Box::new((work, owned)))),
                Err(error) => {
                    group.give_up(&error);
                    return Err(error.into());
                }
            }
        }
        Ok((group, empty))
    }

    /// Claims incomplete runs of a group, to continue them in this order.
    ///
    /// # Errors
    ///
    /// A run cannot be read, or another process holds it.
    pub fn resume(id: String, requests: Vec<ResumeRequest>) -> Result<Self, EngineError> {
        let group = Self::new(id)?;
        let Some(session) = requests.first().map(|request| &request.session) else {
            return Ok(group);
        };
        let root = ResultsRoot::existing(&session.results)?;
        lock_root(&root, session.share)?;
        group.accept_labels()?;
        for request in requests {
            let run = usable(&root.find(request.run.as_deref().unwrap_or_default())?)?;
            let owned = root.claim(&run)?;
            group.left().push_back(GroupRun::Incomplete(Box::new((request, owned))));
        }
        Ok(group)
    }

    /// Judges the outputs of runs of a group again, in this order.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn rescore(id: String, requests: Vec<RescoreRequest>) -> Result<Self, EngineError> {
        let group = Self::new(id)?;
        let judged = requests.into_iter().map(|request| GroupRun::Judged(Box::new(request)));
        group.left().extend(judged);
        Ok(group)
    }

    fn new(id: String) -> Result<Self, EngineError> {
        let signal = Arc::new(OnceLock::new());
        let first_signal = Arc::clone(&signal);
        let listening = signals::add_listener(move |signal| {
            if let SignalEvent::Stop(signal, _) = signal {
                let _ = first_signal.set(signal);
            }
        });
        Ok(Self {
            id,
            left: Arc::default(),
            signal,
            end: None,
            _listener: listening.map_err(machine_error)?,
        })
    }

    fn left(&self) -> MutexGuard<'_, VecDeque<GroupRun>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes labels of runs that wait, on a thread that ends with this group. No other process can: the runs are locked.
    fn accept_labels(&self) -> Result<(), EngineError> {
        let left = Arc::downgrade(&self.left);
        let thread = thread::Builder::new().name("labels".into());
        thread.spawn(move || while label_waiting(&left) {}).map(drop).map_err(machine_error)
    }

    /// Returns the group's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns whether [`Self::run_next`] has work: after a stop, runs that have started before stay as they are.
    pub fn has_next(&mut self) -> bool {
        if let (None, Some(signal)) = (&self.end, self.signal.get()) {
            self.end = Some(End { signal: Some(*signal), ..unstarted(Some(Reason::Interrupted)) });
        }
        match self.left().front() {
            Some(GroupRun::Incomplete(_) | GroupRun::Judged(_)) => self.end.is_none(),
            next => next.is_some(),
        }
    }

    /// Runs the next run to its end. After a stop, a new run ends without starting, for the same reason.
    ///
    /// # Errors
    ///
    /// No run is left, or it cannot be started, read or written. The group can continue with the next run.
    pub fn run_next(&mut self, observer: &mut dyn Observer) -> Result<Ended, EngineError> {
        signals::pass("next");
        let next = self.left().pop_front();
        let ended = match next {
            None => return Err(EngineError::NothingSelected(Vec::new())),
            Some(GroupRun::Waiting(waiting)) => {
                let (work, owned) = *waiting;
                let prepare = || PreparedSession::new(prestart()?, &work, true);
                let prepared = match self.end.clone() {
                    Some(end) => Err(End { at: now(), ..end }),
                    None => prepare().map_err(|error| End {
                        message: Some(error.to_string()),
                        ..unstarted(Some(Reason::Machine))
                    }),
                };
                match prepared {
                    Ok(prepared) => prepared.run(work, move || Ok(owned), observer)?,
                    // A run whose claim is dropped before its end would count as crashed.
                    Err(end) => {
                        let run = owned.dir().clone();
                        let (manifest, _) = write_end(owned, end, &work.fold, observer);
                        Ended::of(manifest, run, Duration::ZERO).report(observer)
                    }
                }
            }
            Some(GroupRun::Incomplete(incomplete)) => {
                let (request, owned) = *incomplete;
                continue_run(prestart()?, &request, observer, Some(owned))?
            }
            Some(GroupRun::Judged(request)) => rescore(&request, observer)?,
        };
        let reason = ended.stop.filter(|reason| {
            matches!(reason, Reason::Interrupted | Reason::Stopped | Reason::Cancelled)
        });
        if let (None, Some(reason)) = (&self.end, reason) {
            self.end = Some(End { signal: ended.stop_signal, ..unstarted(Some(reason)) });
        }
        Ok(ended)
    }

    /// Ends the runs that were created before another run of the group failed to be created.
    fn give_up(&mut self, error: &RecordError) {
        for member in self.left().drain(..) {
            if let GroupRun::Waiting(run) = member {
                let (work, owned) = *run;
                let message =
                    Some(format!("another run of the group could not be created: {error}"));
                let end = End { message, ..unstarted(Some(Reason::Setup)) };
                // If this cannot be written, the next sweep ends the run.
                let _ = owned.finish(end, &work.fold);
            }
        }
    }
}

/// Returns the end of a run that has not started.
fn unstarted(reason: Option<Reason>) -> End {
    End { reason, message: Some(UNSTARTED.to_owned()), at: now(), ..End::default() }
}

/// Changes labels of the runs that wait, as requested. Returns `false` once the group has ended.
fn label_waiting(left: &Weak<Mutex<VecDeque<GroupRun>>>) -> bool {
    let Some(left) = left.upgrade() else { return false };
    for run in left.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
        let owned = match run {
            GroupRun::Waiting(run) => &mut run.1,
            GroupRun::Incomplete(run) => &mut run.1,
            GroupRun::Judged(_) => continue,
        };
        if let Some(request) = owned.requests().labels()
            && let Err(error) = owned.label(&request)
        {
            owned.log(&error.to_string());
        }
    }
    drop(left);
    thread::sleep(LABEL_EVERY);
    true
}

fn create(mut parts: RunParts, place: GroupPlace) -> Result<Owned, RecordError> {
    parts.new.group = Some(place);
    parts.new.session.waits = true;
    parts.create()
}
