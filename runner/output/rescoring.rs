//! `rescore`: which trials mean something else now.

use owo_colors::OwoColorize as _;

use super::{format, plural};
use crate::{
    model::{CheckVerdict, Counts},
    view::{KeptTrial, RescoreReport, RescoredCheck, RescoredTrial},
};

/// How many trials of each kind are told.
const MAX_TRIALS: usize = 20;

/// What came of judging trials again, for people; for each trial that changed also which checks did, if that is to be
/// `is_explained`.
pub fn rescored_text(report: &RescoreReport, is_explained: bool) -> String {
    let mut parts = vec![head(report)];
    let is_fixed = |trial: &&RescoredTrial| trial.before.is_bad() && !trial.after.is_bad();
    let is_regressed = |trial: &&RescoredTrial| !trial.before.is_bad() && trial.after.is_bad();
    let is_other = |trial: &&RescoredTrial| trial.before.is_bad() == trial.after.is_bad();
    let rescored = report.rescored;
    let changes = || report.changes.iter();
    let regressed: Vec<_> = changes().filter(is_regressed).collect();
    let fixed: Vec<_> = changes().filter(is_fixed).collect();
    let others: Vec<_> = changes().filter(is_other).collect();
    for (title, count, trials) in [
        ("regressed", rescored.regressed, regressed),
        ("fixed", rescored.fixed, fixed),
        ("changed otherwise", rescored.other, others),
    ] {
        if count > 0 {
            parts.push(changed(title, count, &trials, is_explained));
        }
    }
    if rescored.kept > 0 {
        parts.push(kept(rescored.kept, &report.kept));
    }
    if rescored.ungraded > 0 {
        parts.push(ungraded(report));
    }
    parts.push(sums(report));
    parts.join("\n\n")
}

fn head(report: &RescoreReport) -> String {
    let rescored = report.rescored;
    let by = format::path(&report.scenario);
    let judged = plural(rescored.judged(), "trial");
    let ungraded = plural(rescored.ungraded, "trial");
    let mut words = vec![
        match (report.is_dry_run, rescored.judged(), rescored.ungraded) {
            (false, ..) => format!("{judged} judged again by {by}"),
            (true, _, 0) => format!("{judged} would be judged again by {by}"),
            (true, 0, _) => format!("graders would be asked of {ungraded} by {by}"),
            (true, ..) => {
                format!("{judged} would be judged again by {by}, and graders asked of {ungraded}")
            }
        },
    ];
    for (count, word) in [
        (rescored.regressed, "regressed"),
        (rescored.fixed, "fixed"),
        (rescored.other, "changed otherwise"),
        (rescored.same, "the same"),
        (rescored.unchanged, "judged so already"),
        (rescored.kept, "not judged"),
        (
            // Of a dry run it is said before.
            rescored.ungraded * u64::from(!report.is_dry_run),
            "to be graded",
        ),
    ] {
        if count > 0 {
            words.push(format!("{} {word}", format::count(count)));
        }
    }
    let first = words.remove(0);
    match words.is_empty() {
        true => format!("{}", first.bold()),
        false => format!("{}: {}", first.bold(), words.join(", ")),
    }
}

fn changed(title: &str, count: u64, trials: &[&RescoredTrial], is_explained: bool) -> String {
    let mut lines = vec![format!(
        "{} {}",
        title.bold(),
        format::count(count).dimmed()
    )];
    for trial in trials.iter().take(MAX_TRIALS) {
        lines.push(format!(
            "  {}  {} → {}",
            format::visible_line(&trial.trial),
            trial.before,
            format::outcome(trial.after),
        ));
        if is_explained {
            lines.extend(trial.checks.iter().map(check));
        }
    }
    lines.extend(more(count, trials.len()));
    lines.join("\n")
}

fn check(check: &RescoredCheck) -> String {
    let change = match check.name.strip_prefix("graders.") {
        Some(grader) => graded(grader, check.before, check.after),
        None => checked(&check.name, check.before, check.after),
    };
    match &check.message {
        Some(message) => format!("      {change}: {}", format::visible_line(message)),
        None => format!("      {change}"),
    }
}

fn checked(name: &str, before: Option<CheckVerdict>, after: Option<CheckVerdict>) -> String {
    let name = format::visible_line(name);
    let was = match before {
        None => "was not checked",
        Some(CheckVerdict::Pass) => "held",
        Some(CheckVerdict::Fail) => "did not hold",
        Some(CheckVerdict::Skip) => "did not apply",
    };
    let now = match after {
        None => "is not checked any more",
        Some(CheckVerdict::Pass) => "holds now",
        Some(CheckVerdict::Fail) => "does not hold now",
        Some(CheckVerdict::Skip) => "does not apply now",
    };
    format!("`{name}` {was}, and {now}")
}

fn graded(grader: &str, before: Option<CheckVerdict>, after: Option<CheckVerdict>) -> String {
    let grader = format::visible_line(grader);
    let was = match before {
        None => "gave no verdict",
        Some(CheckVerdict::Pass) => "let it pass",
        Some(CheckVerdict::Fail) => "let it fail",
        Some(CheckVerdict::Skip) => "skipped it",
    };
    let now = match after {
        None => "gives none any more",
        Some(CheckVerdict::Pass) => "lets it pass now",
        Some(CheckVerdict::Fail) => "lets it fail now",
        Some(CheckVerdict::Skip) => "skips it now",
    };
    format!("grader `{grader}` {was}, and {now}")
}

fn kept(count: u64, trials: &[KeptTrial]) -> String {
    let title = "not judged, and as before";
    let mut lines = vec![format!(
        "{} {}",
        title.bold(),
        format::count(count).dimmed()
    )];
    lines.extend(trials.iter().take(MAX_TRIALS).map(|trial| {
        let (id, because) = (
            format::visible_line(&trial.trial),
            format::visible_line(&trial.because),
        );
        format!("  {id}  {}  {because}", trial.outcome)
    }));
    lines.extend(more(count, trials.len()));
    lines.join("\n")
}

fn ungraded(report: &RescoreReport) -> String {
    let title = match report.is_dry_run {
        // That they would be asked is said before.
        true => "to be graded",
        false => "graders were not asked any more; `runner rescore` goes on with them",
    };
    let count = report.rescored.ungraded;
    let mut lines = vec![format!(
        "{} {}",
        title.bold(),
        format::count(count).dimmed()
    )];
    let trials = report.ungraded.iter().take(MAX_TRIALS);
    lines.extend(trials.map(|trial| {
        let graders: Vec<_> = trial
            .graders
            .iter()
            .map(|name| format::visible_line(name))
            .collect();
        let id = format::visible_line(&trial.trial);
        format!("  {id}  {}  {}", trial.outcome, graders.join(", "))
    }));
    lines.extend(more(count, report.ungraded.len()));
    lines.join("\n")
}

/// Says how many are not told.
fn more(count: u64, told: usize) -> Option<String> {
    let told = told.min(MAX_TRIALS) as u64;
    let more = count.saturating_sub(told);
    (more > 0).then(|| format!("  … and {} more; `--json` names them", format::count(more)))
}

fn sums(report: &RescoreReport) -> String {
    let passed = |counts: Counts| {
        let (passed, done) = (format::count(counts.passed), format::count(counts.done()));
        format!("{passed} of {done} passed")
    };
    let (before, after) = (passed(report.before.into()), passed(report.after.into()));
    match (report.is_dry_run, before == after) {
        (_, true) => after,
        (true, false) => format!("{before}; it would be {after}"),
        (false, false) => format!("{before} before, {after} now"),
    }
}
