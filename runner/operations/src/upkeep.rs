//! [`Upkeep`]: the regular work on a results root: ends dead runs, sends notifications, and applies `[retention]`.

use std::{collections::HashSet, time::Duration};

use runner_model::{RunStatus, Time};
use runner_record::{Manifest, PrunePolicy, Pruning, RecordError, ResultsRoot, RunHead};
use runner_report::SentNotification;

use crate::notify::{Deadline, RunNotifications, SendScope, unsent, visit_recent};
use crate::settings::Settings;

/// Time between two applications of `[retention]`.
const BETWEEN_PRUNINGS: Duration = Duration::from_secs(60 * 60);

/// The upkeep of a results root, by a server or `queue work`.
#[derive(Debug)]
pub struct Upkeep {
    root: ResultsRoot,
    /// Time of the last application of `[retention]`.
    pruned_at: Option<Time>,
    /// Ended runs whose notifications are sent, with their numbers of sessions.
    notified: HashSet<(String, u64)>,
}

/// The work of one tick.
#[derive(Debug, Default)]
pub struct UpkeepReport {
    /// Dead runs that were ended.
    pub ended: Vec<Manifest>,
    /// Notifications that were sent, or failed.
    pub notified: Vec<SentNotification>,
    /// `None` if `[retention]` was not applied.
    pub pruned: Option<Pruning>,
    /// Failures, each with its cause. The next tick retries.
    pub problems: Vec<String>,
}

impl Upkeep {
    pub fn new(root: ResultsRoot) -> Self {
        Self { root, pruned_at: None, notified: HashSet::new() }
    }

    /// Does the work that is due. Call it at the start and then once a minute. Blocks while receivers answer, for each at
    /// most its `timeout`.
    pub fn tick(&mut self, now: Time) -> UpkeepReport {
        let mut report = UpkeepReport::default();
        self.end_dead_runs(&mut report);
        match Settings::read(&self.root) {
            Ok(settings) => {
                self.notify(&settings, now, &mut report);
                if let Err(error) = self.prune(&settings, now, &mut report) {
                    report.problems.push(error.to_string());
                }
            }
            Err(error) => report.problems.push(error.to_string()),
        }
        report
    }

    fn end_dead_runs(&self, report: &mut UpkeepReport) {
        match self.root.sweep_of(|_| true) {
            Ok(swept) => {
                report.ended = swept.ended;
                let failed = swept.failed.into_iter();
                report.problems.extend(failed.map(|(run, error)| format!("run {run}: {error}")));
            }
            Err(error) => report.problems.push(error.to_string()),
        }
    }

    /// Sends the notifications that are left, each once. A receiver that fails is left out until the next tick.
    fn notify(&mut self, settings: &Settings, now: Time, report: &mut UpkeepReport) {
        let key = |head: &RunHead| (head.id.clone(), head.sessions);
        let (mut settled, mut failed) = (Vec::new(), HashSet::new());
        let mut visit = |head: &RunHead, mut run: RunNotifications<'_>| {
            let is_running = head.status == RunStatus::Running;
            if !is_running && run.left(SendScope::Expected)?.is_empty() {
                settled.push(key(head));
                return Ok(());
            }
            run.leave_out(&failed);
            let deadline = Deadline { until: None, is_over: &|| false };
            // `None` if another process is sending them now.
            let sent =
                run.send(SendScope::Due(now), Duration::ZERO, &deadline)?.unwrap_or_default();
            let of_failed = sent.iter().filter(|sent| !sent.is_delivered());
            failed.extend(of_failed.map(|sent| sent.to.clone()));
            report.notified.extend(sent);
            Ok(())
        };
        let is_selected = |head: &RunHead| !self.notified.contains(&key(head));
        match visit_recent(&self.root, settings, now, &is_selected, &mut visit) {
            Ok(problems) => report.problems.extend(problems),
            Err(error) => report.problems.push(error.to_string()),
        }
        self.notified.extend(settled);
    }

    /// Applies `[retention]` at the first tick, and then once an hour.
    fn prune(
        &mut self,
        settings: &Settings,
        now: Time,
        report: &mut UpkeepReport,
    ) -> Result<(), RecordError> {
        let is_due =
            self.pruned_at.is_none_or(|last| now < last || now.since(last) >= BETWEEN_PRUNINGS);
        let retention = &settings.keys.retention;
        let mut policy = PrunePolicy {
            older_than: retention.older_than,
            keep_last: retention.keep_last,
            max_size: retention.max_size,
            ..PrunePolicy::default()
        };
        if is_due && !policy.is_empty() {
            self.pruned_at = Some(now);
            policy.only_own = true;
            policy.keep = unsent(&self.root, settings, now)?;
            report.pruned = Some(self.root.prune(&policy, false, now)?);
        }
        Ok(())
    }
}
