//! `rescore`: judges the stored outputs of a run again, by the expectations and graders of the scenario as it is now.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use runner_model::{Outcome, Reason, RunStatus, exit::Exit};
use runner_model::{status::RunVerdict, units::plural, visible::shown_path};
use runner_record::{End, Fold, Manifest, NewSession, RESCORE, ResultsRoot, RunDir, now};
use runner_results::row_filter;
use runner_scenario::RowFilter;

use super::reruns::Reruns;
use super::resume::claim;
use super::resume_plan::check_foreign;
use super::run::{PlannedSession, lock_root, run_further};
use crate::event::{Ended, Observer, RunEvent};
use crate::plan::{PlannedAccess, RescorePlan, Rescored, manifest_providers, resolve_filter};
use crate::run_parts::keep_suite;
use crate::trust::{find_named, owner_notices};
use crate::workers::prestart;
use crate::{EngineError, RescoreRequest};

/// Ids of missing tests that a notice names.
const MAX_NAMED: usize = 5;

/// A session of `rescore` before it starts.
pub(super) struct PreparedRescore {
    pub(super) plan: RescorePlan,
    /// State by the rows on disk.
    pub(super) fold: Fold,
    /// Messages for the user.
    pub(super) notices: Vec<String>,
}

/// Judges the outputs of a run again. A run whose outputs are judged already is not changed. The status of the run stays, and
/// trials without a result do not run.
///
/// # Errors
///
/// The run or the scenario cannot be used, or the run cannot be written.
pub fn rescore(
    request: &RescoreRequest,
    observer: &mut dyn Observer,
) -> Result<Ended, EngineError> {
    let prestarted = prestart()?;
    let (request, root, dir, notices) = find(request)?;
    lock_root(&root, request.session.share)?;
    let mut manifest = dir.manifest()?;
    let owned = claim(&root, &dir, &mut manifest)?;
    let mut prepared = PreparedRescore::new(&root, &dir, &manifest, &request)?;
    prepared.plan.plan.override_by(&request.session)?;
    let replaces_grades = prepared.plan.replaces_grades();
    let plan = &mut prepared.plan.plan;
    let fold = prepared.fold.clone();
    let notices: Vec<_> = notices.into_iter().chain(prepared.notices).collect();
    for notice in &notices {
        observer.event(&RunEvent::Notice(notice));
    }
    if plan.rejudge.count() == 0 && plan.new_known.is_none() {
        let text = format!("nothing to judge in run {}", manifest.id);
        observer.event(&RunEvent::Notice(&text));
        let ended = Ended::of(manifest, dir.clone(), Duration::ZERO);
        // An earlier session was stopped, and not this one.
        return Ok(Ended { stop: None, stop_signal: None, ..ended }.report(observer));
    }
    plan.prepare_grants(&request.session)?;
    let Manifest { reason, signal, message, larger_budgets, verdict, .. } = manifest;
    // A completed run may have lost results since.
    let reason = reason.or_else(|| (fold.left() > 0).then_some(Reason::Storage));
    let before = End { reason, signal, message, larger_budgets, at: now() };
    plan.rescored = Some(Rescored { before, replaces_grades });
    notices.iter().for_each(|notice| owned.log(notice));

    let count = plan.rejudge.count();
    let judged_by = plan.suite.digest();
    let mut graders = manifest_providers(plan);
    graders.drain(..graders.iter().position(|one| one.is_grader).unwrap_or(graders.len()));
    let session =
        NewSession { suite: Some(judged_by), graders, ..plan.session(RESCORE, &request.session) };
    let RescorePlan { plan, suite, sources, .. } = prepared.plan;
    let known = plan.new_known.clone();
    let work = PlannedSession::further(&owned, plan, prepared.fold, request.session.share);
    let store = move |root: &ResultsRoot| {
        keep_suite(root, suite, &judged_by)?;
        sources.keep(root)?;
        if let Some(known) = known {
            root.keep_bytes(known.as_bytes())?;
        }
        Ok(None)
    };
    let next = command(&dir, &request, &[]);
    let mut tally = ChangeTally {
        before: fold,
        verdict,
        left: count,
        changes: BTreeMap::new(),
        observer,
        next,
    };
    let ended = run_further(prestarted, work, owned, session, store, &mut tally)?;
    Ok(tally.settle(ended))
}

/// Finds the run that a request names. Returns the request for its root, the root, the run, and notices of skipped runs.
pub(super) fn find(
    request: &RescoreRequest,
) -> Result<(RescoreRequest, ResultsRoot, RunDir, Vec<String>), EngineError> {
    let (session, root, dir, notices) = find_named(&request.session, request.run.as_deref())?;
    Ok((RescoreRequest { session, ..request.clone() }, root, dir, notices))
}

/// Returns the command that judges the same trials of a run.
fn command(dir: &RunDir, request: &RescoreRequest, more: &[&str]) -> String {
    let mut words = Vec::new();
    let path = request.scenario.as_ref().map(|path| path.to_string_lossy());
    words.extend(path.iter().flat_map(|path| ["--scenario", path]));
    words.extend((!request.with_graders).then_some("--no-graders"));
    words.extend(request.filter.iter().flat_map(|filter| ["--filter", filter.text()]));
    words.extend(more);
    dir.command("rescore", &words)
}

impl PreparedRescore {
    pub(super) fn new(
        root: &ResultsRoot,
        dir: &RunDir,
        manifest: &Manifest,
        request: &RescoreRequest,
    ) -> Result<Self, EngineError> {
        let path = request.scenario.as_deref().unwrap_or(Path::new(&manifest.scenario_path));
        let allowing = || command(dir, request, &["--accept-access"]);
        let allowing = (!request.accept_access).then(allowing);
        let access = PlannedAccess { dir, manifest, path, command: allowing };
        let with_graders = request.with_graders;
        let mut rescored = RescorePlan::new(root, dir, manifest, path, with_graders, &access)?;
        let plan = &rescored.plan;
        access.check(&plan.scenario, &manifest_providers(plan))?;
        let reruns = Reruns::read(root, dir, manifest, None, None)?;
        let matches = reruns.selector(&plan.suite, &plan.scenario.providers);
        let mut fold = Fold::of(dir, manifest, &plan.suite, &plan.known, &matches)?;
        fold.rescore(manifest.last_session() + 1);
        check_foreign(dir, &fold)?;
        let mut notices = owner_notices(dir, manifest);
        drop(matches);
        let mut filter = request.filter.clone();
        if let Some(filter) = &mut filter {
            resolve_filter(filter, root)?;
        }
        let rows = filter.as_ref().map(|filter| row_filter(dir, filter)).transpose()?;
        rescored.select(dir, &fold, rows.as_ref())?;
        rows.map_or(Ok(()), RowFilter::finish)?;
        if let Some(filter) = filter.filter(|_| !rescored.has_match()) {
            return Err(EngineError::no_match(&filter));
        }
        let gone = rescored.gone().len();
        if gone > 0 {
            let mut named: Vec<_> =
                rescored.gone().take(MAX_NAMED).map(|id| format!("`{id}`")).collect();
            if gone > MAX_NAMED {
                named.push("…".to_owned());
            }
            notices.push(format!(
                "{} lacks {} of the run, whose results stay as they are: {}",
                shown_path(path),
                plural(gone as u64, "test", "tests"),
                named.join(", ")
            ));
        }
        let lost = manifest.counts.done().saturating_sub(fold.counts().done());
        if lost > 0 {
            notices.push(format!(
                "{} missing from index.jsonl; to run the trials again: {}",
                plural(lost, "result is", "results are"),
                dir.command("resume", &[])
            ));
        }
        let unjudged = rescored.unjudged();
        if unjudged > 0 {
            notices.push(format!(
                "{} cannot be judged again; to list the reasons: {}",
                plural(unjudged as u64, "trial", "trials"),
                command(dir, request, &["--explain"])
            ));
        }
        Ok(Self { plan: rescored, fold, notices })
    }
}

/// Returns the numbers of changed outcomes, such as `3 failed → passed`.
pub(super) fn changed(changes: &BTreeMap<(Outcome, Outcome), u64>) -> Vec<String> {
    let changes = changes.iter().filter(|((before, now), _)| before != now);
    changes.map(|((before, now), count)| format!("{count} {before} → {now}")).collect()
}

/// Counts the changes of outcomes, and reports them at the end of the session.
struct ChangeTally<'a> {
    before: Fold,
    /// The verdict before the session.
    verdict: RunVerdict,
    /// Trials that are not judged yet.
    left: u64,
    /// Numbers of judged trials by their outcomes before and now.
    changes: BTreeMap<(Outcome, Outcome), u64>,
    observer: &'a mut dyn Observer,
    /// The command that judges the trials that are left.
    next: String,
}

impl ChangeTally<'_> {
    /// Returns the result of the session: its own end if it has left trials, or that of the run.
    fn settle(&self, ended: Ended) -> Ended {
        let Some(end) = ended.cut_short.filter(|_| self.left > 0) else {
            return Ended { cut_short: None, ..ended };
        };
        // After a failed write there is no reason of a stop.
        let end = End { reason: end.reason.or(Some(Reason::Storage)), ..end };
        let (status, verdict) = (RunStatus::Incomplete, RunVerdict::None);
        let exit = Exit::of_run(status, end.reason, end.signal, verdict, false);
        Ended { exit, cut_short: Some(end), ..ended }
    }

    /// Returns the numbers of judged trials and of changed outcomes, such as `12 trials judged: 3 failed → passed`, or the change of
    /// the verdict, which also depends on known failures.
    fn text(&self, verdict: RunVerdict) -> String {
        let judged = plural(self.changes.values().sum(), "trial", "trials");
        let changes = changed(&self.changes);
        if changes.is_empty() && verdict != self.verdict {
            return format!(
                "{judged} judged: no outcome has changed, and the verdict has: {} → {verdict}",
                self.verdict
            );
        }
        if changes.is_empty() {
            return format!("{judged} judged: no outcome has changed");
        }
        format!("{judged} judged: {}", changes.join(", "))
    }
}

impl Observer for ChangeTally<'_> {
    fn writes_reports(&self, of_scenario: bool) -> bool {
        self.observer.writes_reports(of_scenario)
    }

    fn event(&mut self, event: &RunEvent<'_>) {
        match event {
            RunEvent::Row { trial, row, again: false, .. } if row.is_final => {
                let before = self.before.trial(*trial).outcome.unwrap_or(Outcome::Ungraded);
                *self.changes.entry((before, row.outcome)).or_default() += 1;
                self.left = self.left.saturating_sub(1);
            }
            RunEvent::Finished { ended } => {
                let mut texts = vec![self.text(ended.manifest.verdict)];
                if self.left > 0 {
                    texts.push(format!(
                        "{} left to judge; to continue: {}",
                        plural(self.left, "trial is", "trials are"),
                        self.next
                    ));
                }
                for text in &texts {
                    self.observer.event(&RunEvent::Notice(text));
                }
                let ended = self.settle((*ended).clone());
                return self.observer.event(&RunEvent::Finished { ended: &ended });
            }
            _ => {}
        }
        self.observer.event(event);
    }
}
