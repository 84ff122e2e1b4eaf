//! Progress of a session: on the screen, in `runner.log` and in `live.json`.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, mem, thread};

use runner_model::{Micros, Places, RunTime, Stage as Shown, TaskId, Time, worker_of};
use runner_model::{protocol::SlotWord, recent_output::MOST_SHOWN, visible::visible_line};
use runner_record::{
    Compiling, InFlight, Live, Manifest, ResultsRoot, Scratch, WaitingTrial, sweep_every,
};

use super::coordinator::{Coordinator, PROGRESS_EVERY};
use super::stage::Stage;
use crate::{LongWait, RunEvent, clock::monotonic, plan::Ids, schedule::Waiting};

/// Delay before a stop lists the trials that it is waiting for, in microseconds.
const WAITING_AFTER: u64 = 2_000_000;
/// Trials in that list.
const MAX_NAMED: usize = 3;
/// Interval of `live.json`, in microseconds.
const LIVE_EVERY: u64 = 200_000;
/// Wait of a trial that is shown, in microseconds.
const LONG_WAIT: u64 = 3_000_000;
/// Running attempts, and workers on other machines, in `live.json`.
const MAX_LIVE: usize = 1000;
/// Waiting trials in `live.json`.
const MAX_WAITING: usize = 100;

impl Coordinator<'_> {
    /// Reports a stop, once per session, unless it removes the run.
    pub(super) fn report_stopping(&mut self) {
        if self.stop.report_at.is_none() && !self.stage.is_unreported() {
            self.stop.report_at = Some(self.now.0 + WAITING_AFTER);
            self.observer.event(&RunEvent::Stopping {
                signal: self.stop.signal,
                by: self.stop.by.as_ref(),
                in_flight: self.schedule.running(),
            });
        }
    }

    /// Lists the running trials, once, if a stop takes long.
    fn report_awaited(&mut self) {
        if self.stop.report_at.is_none_or(|at| self.now.0 < at) {
            return;
        }
        self.stop.report_at = Some(u64::MAX);
        let slots: Vec<_> = self.pool.slots().collect();
        let trials = self.named(&slots);
        if !trials.is_empty() {
            self.notice(&format!("the stop is waiting for {trials}"));
        }
    }

    /// Names the first trials that run in slots. Empty if none runs.
    pub(super) fn named(&self, slots: &[SlotWord]) -> String {
        let Stage::Running(running) = &self.stage else { return String::new() };
        let flights = slots.iter().filter_map(|word| running.tasks.all.get(&TaskId(word.task)));
        let mut trials: Vec<_> = flights.map(|flight| flight.task.trial.to_string()).collect();
        let more = trials.len().saturating_sub(MAX_NAMED);
        trials.truncate(MAX_NAMED);
        if more > 0 {
            trials.push(format!("{more} more"));
        }
        trials.join(", ")
    }

    /// Updates the screen and `live.json`, and sweeps, each at its own interval.
    pub(super) fn report_progress(&mut self) {
        if matches!(self.stage, Stage::Waiting(_)) {
            return;
        }
        let in_flight = self.schedule.running();
        if let Some(run) = self.stage.run() {
            run.writer.expect_more(in_flight > 0);
        }
        if self.now.0 >= self.next_progress {
            self.next_progress = self.now.0 + PROGRESS_EVERY;
            self.report_awaited();
            self.report_lack_of_memory();
            let waits = self.long_wait();
            if let Some(live) = self.live() {
                let planned = self.plan.suite.trials();
                self.observer.event(&RunEvent::Progress { live: &live, planned, in_flight, waits });
            }
        }
        if self.now.0 >= self.sweep.next {
            self.sweep.next = self.now.0 + Micros::from(sweep_every()).0;
            self.start_sweep();
        }
        self.finish_sweep(Duration::ZERO);
        if self.now.0 >= self.next_live {
            self.write_live();
        }
    }

    /// Starts a thread that ends dead runs of the results root and removes dead workers' folders.
    fn start_sweep(&mut self) {
        // The thread may outlive the session, so it opens the root itself.
        let path = self.root.path().to_owned();
        let (ended, received) = mpsc::channel();
        let sweep = move || {
            // Workers have priority.
            let _ = rustix::process::nice(10);
            let swept = ResultsRoot::existing(&path).and_then(|root| root.sweep());
            // Without a receiver the session has ended.
            let _ = ended.send(swept.unwrap_or_default());
            Scratch::sweep(&env::temp_dir());
        };
        self.sweep.running = Some(received);
        // The session does not depend on the sweep, so it runs without the thread, too.
        let _ = thread::Builder::new().name("sweep".into()).spawn(sweep);
    }

    /// Reports the runs that the sweep has ended, and waits up to `patience` for its end.
    pub(super) fn finish_sweep(&mut self, patience: Duration) {
        let until = Instant::now() + patience;
        while let Some(running) = &self.sweep.running {
            match running.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(ended) => {
                    for Manifest { id, status, .. } in ended {
                        self.notice(&format!(
                            "the process of run {id} has died; the run is now {status}"
                        ));
                        self.sweep.swept.push(id);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => self.sweep.running = None,
                Err(RecvTimeoutError::Timeout) => break,
            }
        }
    }

    /// Writes `live.json`, on the thread for it. While the disk is slow, the timer stays due.
    pub(super) fn write_live(&mut self) {
        if let Some(live) = self.live()
            && let Some(run) = self.stage.run()
            && run.live.try_send(live)
        {
            self.next_live = self.now.0 + LIVE_EVERY;
        }
    }

    /// Returns the trials that wait, from the start of a long wait to its end.
    fn long_wait(&mut self) -> Option<LongWait> {
        let Stage::Running(running) = &mut self.stage else { return None };
        let mut waits = LongWait::default();
        let mut first = RunTime(u64::MAX);
        for Waiting { lane, why, until, .. } in self.schedule.waiting() {
            let is_grader = self.plan.providers[lane].provider.grading.is_some();
            let count = match why {
                "retry" => &mut waits.retries,
                _ if is_grader => &mut waits.graders,
                _ => &mut waits.rates,
            };
            *count += 1;
            first = first.min(until);
            if (until - self.now).0 >= LONG_WAIT {
                running.long_wait = running.long_wait.max(until.0);
            }
        }
        waits.next = (first - self.now).into();
        (self.now.0 < running.long_wait && first.0 < u64::MAX).then_some(waits)
    }

    /// Logs a lack of memory, once per session.
    fn report_lack_of_memory(&mut self) {
        if let Stage::Running(running) = &mut self.stage
            && self.schedule.waits_for_memory()
            && !mem::replace(&mut running.has_lacked_memory, true)
        {
            self.log("more wait for memory: `memory` of `[run]` and the providers' `limits.memory` limit how many run at once");
        }
    }

    /// Returns the run time since the first assignments.
    pub(super) fn worked(&self) -> Duration {
        let Stage::Running(running) = &self.stage else { return Duration::ZERO };
        (self.now - running.started).into()
    }

    /// Returns the state of the session. `None` until the run is open.
    fn live(&mut self) -> Option<Live> {
        let session = self.stage.run()?.session;
        let running = if let Stage::Running(running) = &self.stage { Some(running) } else { None };
        let mut slots: Vec<_> = self.pool.slots().collect();
        slots.sort_unstable_by_key(|word| word.started);
        let (now, at) = (monotonic(), runner_record::now());
        let in_flight = (0..).zip(&slots).filter_map(|(place, word)| {
            let flight = running?.tasks.all.get(&TaskId(word.task))?;
            let ms = now.saturating_sub(word.started) / 1000;
            let provider = &self.plan.providers[usize::from(flight.task.provider)].provider;
            let step = flight.step.as_ref();
            let since = step.map_or(ms, |step| (self.now - step.since).0 / 1000);
            let what = step.filter(|step| !step.what.is_empty());
            Some(InFlight {
                trial: flight.task.trial.clone(),
                grader: provider.grading.as_ref().map(|_| provider.name.to_string()),
                attempt: flight.task.attempt,
                worker: self.pool.name(flight.worker).map(|name| worker_of(name).to_owned()),
                ms,
                phase: step.map(|step| step.phase),
                what: what.map(|step| visible_line(&step.what).into_owned()),
                since: Time::from_millis(at.as_millis() - since as i64),
                output: flight.output.clone().filter(|_| place < MOST_SHOWN),
            })
        });
        let compiling = self.compiling.iter().map(|(plugin, since)| {
            let ms = (self.now - *since).0 / 1000;
            let since = Time::from_millis(at.as_millis() - ms as i64);
            Compiling { plugin: plugin.clone(), since }
        });
        Some(Live {
            session,
            at,
            worked_ms: self.worked().as_micros() as f64 / 1e3,
            paused: self.pause.at.is_some(),
            stopping: self.schedule.is_stopping(),
            grace_until: self.schedule.grace_end().map(|end| at + Duration::from(end - self.now)),
            stage: Some(if running.is_some() { Shown::Run } else { Shown::Plan }),
            compiling: compiling.collect(),
            counts: self.fold.counts(),
            last_seq: self.fold.last_seq(),
            in_flight: in_flight.take(MAX_LIVE).collect(),
            waiting: self.waiting_trials(),
            waits_for_memory: self.schedule.waits_for_memory(),
            waits_for_workers: running.and_then(|running| running.lack_of_workers()),
            workers: self.pool.len() as u32,
            deaths: self.pool.deaths,
            joined: self.pool.joined().take(MAX_LIVE).collect(),
        })
    }

    /// Returns the trials whose next attempt waits for a backoff or a rate.
    fn waiting_trials(&self) -> Vec<WaitingTrial> {
        let mut ids = Ids::new(&self.plan.suite, &self.plan.scenario.providers);
        let waiting = self.schedule.waiting().take(MAX_WAITING).filter_map(|waiting| {
            let left = Duration::from(waiting.until - self.now);
            let provider = &self.plan.providers[waiting.lane].provider;
            Some(WaitingTrial {
                trial: ids.trial(waiting.trial).ok()?,
                grader: provider.grading.as_ref().map(|_| provider.name.to_string()),
                why: waiting.why.to_owned(),
                until: runner_record::now() + left,
            })
        });
        waiting.collect()
    }

    pub(super) fn log(&mut self, line: &str) {
        if let Some(owned) = self.stage.owned() {
            owned.log(line);
        }
    }

    pub(super) fn log_worker(&mut self, line: &str) {
        if let Some(run) = self.stage.run() {
            run.worker_log.add(&run.owned, line);
        }
    }

    pub(super) fn notice(&mut self, notice: &str) {
        if let Stage::Checking(checking) = &mut self.stage {
            checking.add_notice(notice);
        }
        self.log(notice);
        self.observer.event(&RunEvent::Notice(notice));
    }
}
