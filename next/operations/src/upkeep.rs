//! [`Upkeep`]: the regular work on a results root: ends dead runs, sends notifications, and applies `[retention]`.

use std::time::Duration;

use runner_model::Time;
use runner_record::{Manifest, PrunePolicy, Pruning, RecordError, ResultsRoot};
use runner_scenario::Retention;

use crate::settings::Settings;

/// Time between two applications of `[retention]`.
const BETWEEN_PRUNINGS: Duration = Duration::from_secs(60 * 60);

/// The upkeep of a results root, by a server or `queue work`.
#[derive(Debug)]
pub struct Upkeep {
    root: ResultsRoot,
    /// Time of the last application of `[retention]`.
    pruned_at: Option<Time>,
}

/// The work of one tick.
#[derive(Debug, Default)]
pub struct UpkeepReport {
    /// Dead runs that were ended.
    pub ended: Vec<Manifest>,
    /// Present if `[retention]` was applied.
    pub pruned: Option<Pruning>,
    /// Failures, each with its cause. The next tick tries again.
    pub problems: Vec<String>,
}

impl Upkeep {
    pub fn new(root: ResultsRoot) -> Self {
        Self { root, pruned_at: None }
    }

    /// Does the work that is due. Call it at the start and then once a minute. Blocks while receivers answer, for each at
    /// most its `timeout`.
    pub fn tick(&mut self, now: Time) -> UpkeepReport {
        let mut report = UpkeepReport::default();
        self.end_dead_runs(&mut report);
        match Settings::read(&self.root) {
            Ok(settings) => {
                if let Err(error) = self.prune(&settings.keys.retention, now, &mut report) {
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

    /// Applies `[retention]` at the first tick, and then once an hour.
    fn prune(
        &mut self,
        retention: &Retention,
        now: Time,
        report: &mut UpkeepReport,
    ) -> Result<(), RecordError> {
        let is_due =
            self.pruned_at.is_none_or(|last| now < last || now.since(last) >= BETWEEN_PRUNINGS);
        let policy = PrunePolicy {
            older_than: retention.older_than,
            keep_last: retention.keep_last,
            max_size: retention.max_size,
            ..PrunePolicy::default()
        };
        if is_due && !policy.is_empty() {
            self.pruned_at = Some(now);
            report.pruned = Some(self.root.prune(&policy, false, now)?);
        }
        Ok(())
    }
}
