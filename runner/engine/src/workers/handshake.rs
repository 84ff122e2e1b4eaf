//! Messages of workers to the pool, each accepted only in certain phases of the worker.

use runner_model::{
    HostFault, Reason, WorkerId, cache::is_compile_key, prepare::Ready, protocol::FromWorker,
    visible::visible_line,
};

use super::link::{Phase, PoolEvent, ReadyWorker, RequestedContent};
use super::{pool::Pool, supply::plugin_of};

/// Bytes of a worker's message about a plugin.
const MAX_PROBLEM: usize = 64 << 10;

impl Pool {
    /// Handles a message.
    ///
    /// # Errors
    ///
    /// A fault of the worker, as the rest of a sentence.
    pub(super) fn receive_message(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let (is_closing, is_remote) = (self.is_closing(), self.is_remote(worker));
        let Some(entry) = self.workers.get_mut(&worker) else {
            return Ok(None);
        };
        let accepted = match (entry.phase, message) {
            (Phase::Started, FromWorker::Hello(hello)) => {
                const OURS: &str = env!("CARGO_PKG_VERSION");
                if is_remote && hello.version != OURS {
                    return Err("is of another version");
                }
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
            (phase, FromWorker::NeedPlugin(plugin)) if is_remote && phase >= Phase::Known => {
                return self.publish(worker, RequestedContent::Plugin(plugin)).map(|()| None);
            }
            (phase, FromWorker::NeedBlob(blob)) if is_remote && phase >= Phase::Known => {
                return self.publish(worker, RequestedContent::Blob(blob)).map(|()| None);
            }
            (Phase::Known, FromWorker::NeedPlugin(plugin)) => {
                return self.compile(worker, plugin).map(|()| None);
            }
            (Phase::Known, FromWorker::Ready(ready)) => return self.receive_ready(worker, ready),
            (phase, FromWorker::NeedBlob(blob)) if phase >= Phase::Known => {
                return self.put_blob(worker, blob).map(|()| None);
            }
            (Phase::Working, FromWorker::Returned(tasks)) => {
                // A stopping worker returns tasks without a request.
                if !is_closing {
                    let unasked = "returned tasks without a request";
                    entry.open_take_backs = entry.open_take_backs.checked_sub(1).ok_or(unasked)?;
                }
                FromWorker::Returned(tasks)
            }
            (phase, FromWorker::Doing(doing)) if phase >= Phase::Known => {
                let slots = entry.shape.slots.max(1) + entry.shape.graders;
                if doing.len() > slots as usize {
                    return Err("reported more running tasks than it has slots");
                }
                FromWorker::Doing(doing)
            }
            (phase, message @ (FromWorker::Log(_) | FromWorker::Bye)) if phase >= Phase::Known => {
                message
            }
            _ => return Err("sent a message that is not allowed in its phase"),
        };
        Ok(Some(PoolEvent::Message(worker, accepted)))
    }

    pub(super) fn receive_ready(
        &mut self,
        worker: WorkerId,
        ready: Ready,
    ) -> Result<Option<PoolEvent>, &'static str> {
        let described = ready.providers.iter().map(|about| usize::from(about.provider));
        if !described.eq(0..self.supplies.providers.len()) {
            return Err("described the wrong providers");
        }
        let problems = self.problems(&ready);
        if let Some((_, lines)) = problems.as_ref().filter(|_| self.is_remote(worker)) {
            let name = self.shown(worker);
            self.kill(worker);
            return Ok(Some(PoolEvent::Notice(format!("worker {name} cannot join: {lines}"))));
        }
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
        let is_reported = entry.describes || problems.is_some();
        Ok(is_reported.then_some(PoolEvent::Described(ready)))
    }

    /// Returns the problems of providers as lines, with the reason for the run's failure: a lack of memory or files is not the
    /// plugin's fault.
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

    /// Returns the next ready worker, or `None` until the plugins are described. The worker that described them is the first.
    pub(crate) fn next_ready(&mut self) -> Option<ReadyWorker> {
        let workers = self.workers.iter().filter(|_| self.is_described);
        let ready = workers.filter(|(worker, entry)| {
            entry.phase == Phase::Ready
                && (entry.alone
                    || !self.is_remote(**worker)
                    || self.usable(**worker, entry.shape).slots > 0)
        });
        let (worker, entry) = ready.min_by_key(|(_, entry)| !entry.describes)?;
        let (worker, alone) = (*worker, entry.alone);
        let shape = if alone { entry.shape } else { self.usable(worker, entry.shape) };
        let entry = self.workers.get_mut(&worker)?;
        (entry.phase, entry.shape) = (Phase::Working, shape);
        Some(ReadyWorker { worker, shape, alone })
    }

    /// Marks the checks as passed. From then on the describing worker may be lost without repeating them.
    pub(crate) fn checked(&mut self) {
        (self.is_checked, self.failed_starts) = (true, 0);
    }
}
