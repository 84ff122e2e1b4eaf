//! What the pool does with a worker's messages: they are accepted by the phase of the worker.

use runner_model::{
    HostFault, Reason, WorkerId, cache::is_compile_key, prepare::Ready, protocol::FromWorker,
    visible::visible_line,
};

use super::{
    events::{PoolEvent, ReadyWorker},
    pool::{Phase, Pool},
    supply::plugin_of,
};

/// Bytes of what a worker says about a plugin that cannot be used.
const MAX_PROBLEM: usize = 64 << 10;
/// Bytes of one worker in `runner.log`: more than one that works has to say.
const MAX_LOGGED: usize = 1 << 20;

impl Pool {
    /// Takes a message.
    ///
    /// # Errors
    ///
    /// What the worker has done, as the rest of a sentence.
    pub(super) fn receive_message(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let is_closing = self.is_closing();
        // What a worker says after a fault is not believed.
        let entry = self.workers.get_mut(&worker);
        let Some(entry) = entry.filter(|entry| entry.fault.is_none()) else {
            return Ok(None);
        };
        let accepted = match (entry.phase, message) {
            (Phase::Started, FromWorker::Hello(hello)) => {
                const OURS: &str = env!("CARGO_PKG_VERSION");
                if hello.version != OURS || !is_compile_key(&hello.compile_key) {
                    let version = visible_line(&hello.version);
                    let message = format!(
                        "a worker is of version {version} and this program of version {OURS}; start it again"
                    );
                    return Ok(Some(PoolEvent::Failed(Reason::Internal, message)));
                }
                (entry.phase, entry.compile_key) = (Phase::Known, hello.compile_key);
                return Ok(None);
            }
            (Phase::Known, FromWorker::NeedPlugin(plugin)) => return self.compile(worker, plugin),
            (Phase::Known, FromWorker::Ready(ready)) => return self.receive_ready(worker, ready),
            (phase, FromWorker::NeedBlob(blob)) if phase >= Phase::Known => {
                return self.put_blob(worker, blob);
            }
            (phase, FromWorker::Log(line)) if phase >= Phase::Known => {
                entry.logged += line.len();
                if entry.logged > MAX_LOGGED {
                    return Err("said too much for `runner.log`");
                }
                FromWorker::Log(line)
            }
            (Phase::Working, FromWorker::Returned(tasks)) => {
                // One that stops gives back what still comes, too.
                if !is_closing {
                    let unasked = "gave back tasks that nobody wanted back";
                    entry.open_take_backs = entry.open_take_backs.checked_sub(1).ok_or(unasked)?;
                }
                FromWorker::Returned(tasks)
            }
            (phase, message @ (FromWorker::Doing(_) | FromWorker::Bye))
                if phase >= Phase::Known =>
            {
                message
            }
            _ => return Err("said what it may not say at that time"),
        };
        Ok(Some(PoolEvent::Message(worker, accepted)))
    }

    pub(super) fn receive_ready(
        &mut self,
        worker: WorkerId,
        ready: Ready,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let described = ready.providers.iter();
        let described = described.map(|about| usize::from(about.provider));
        if !described.eq(0..self.supplies.providers.len()) {
            return Err("described other providers than it has");
        }
        let problems = self.problems(&ready);
        let Some(entry) = self.workers.get_mut(&worker) else {
            return Ok(None);
        };
        if problems.is_none() {
            entry.phase = Phase::Ready;
            self.is_described |= entry.describes;
            if !entry.describes {
                self.failed_starts = 0;
            }
        }
        Ok(match problems {
            _ if entry.describes => Some(PoolEvent::Described(ready)),
            problems => problems.map(|(reason, problems)| PoolEvent::Failed(reason, problems)),
        })
    }

    /// Why providers cannot be used, a line each; none if all can. What the machine lacks is no plugin's fault.
    pub(crate) fn problems(&self, ready: &Ready) -> Option<(Reason, String)> {
        let mut reason = Reason::Plugin;
        let lines = ready.providers.iter().filter_map(|about| {
            let problem = about.problem.as_ref()?;
            reason = HostFault::parse(&problem.code).map_or(reason, HostFault::reason);
            let provider = self.supplies.providers.get(usize::from(about.provider))?;
            let most = problem.message.floor_char_boundary(MAX_PROBLEM);
            let message = visible_line(&problem.message[..most]);
            Some(format!("{} {message}", plugin_of(provider)))
        });
        let lines: Vec<_> = lines.collect();
        (!lines.is_empty()).then(|| (reason, lines.join("\n")))
    }

    /// A worker that is ready and was not named yet. There is none before the plugins were described; the one that has described
    /// them is the first.
    pub(crate) fn next_ready(&mut self) -> Option<ReadyWorker> {
        let workers = self.workers.iter_mut().filter(|_| self.is_described);
        let ready = workers.filter(|(_, entry)| entry.phase == Phase::Ready);
        let (worker, entry) = ready.min_by_key(|(_, entry)| !entry.describes)?;
        entry.phase = Phase::Working;
        let (worker, shape, alone) = (*worker, entry.shape, entry.alone);
        Some(ReadyWorker { worker, shape, alone })
    }

    /// Notes that inputs were checked: the one that has done so is needed no longer.
    pub(crate) fn checked(&mut self) {
        (self.is_checked, self.failed_starts) = (true, 0);
    }
}
