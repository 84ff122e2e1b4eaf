//! [`warnings`]: why a comparison may not mean what it seems to.

use std::collections::BTreeSet;

use super::{cases::Cases, side::Side};
use crate::{
    model::{RunStatus, count, plural},
    view::{CaseCounts, UnfairComparison, UnfairKind},
};

pub(super) fn warnings(
    base: &Side,
    new: &Side,
    cases: &Cases,
    counts: &CaseCounts,
) -> Vec<UnfairComparison> {
    let mut warnings = Vec::new();
    let mut warn = |kind, text| warnings.push(UnfairComparison { kind, text });
    if base.run.scenario != new.run.scenario {
        let text = format!(
            "the scenarios are `{}` and `{}`",
            base.run.scenario, new.run.scenario
        );
        warn(UnfairKind::OtherScenario, text);
    }
    let is_one = base.run.dir == new.run.dir;
    for side in [base, new].into_iter().take(if is_one { 1 } else { 2 }) {
        if let Some((kind, text)) = unfinished(side) {
            warn(kind, text);
        }
    }
    let shared = cases.in_order().iter();
    let shared = shared.filter(|case| !case.base.is_empty() && !case.new.is_empty());
    if shared.clone().next().is_none() {
        // Of two providers somebody knows that.
        let text = match is_one {
            true => "no test is on both sides",
            false => {
                "no test is on both sides with the same provider; `--provider A B` compares two of other names"
            }
        };
        warn(UnfairKind::NothingShared, text.to_owned());
    } else if counts.new + counts.gone > 0 {
        let text = format!(
            "the tests are not the same: {} on the new side alone, {} on the base side alone",
            count(counts.new),
            count(counts.gone)
        );
        warn(UnfairKind::OtherTests, text);
    }
    let (inputs, expectations) = other_contents(base, new);
    if inputs > 0 {
        let text = format!("{} another input, other tags or files", have(inputs));
        warn(UnfairKind::OtherInput, text);
    }
    if expectations > 0 {
        let text = format!("{} another expectation", have(expectations));
        warn(UnfairKind::OtherExpectation, text);
    }
    let repeats = shared.filter(|case| case.has_other_repeats()).count() as u64;
    if repeats > 0 {
        let text = format!(
            "{} not repeated as often on both sides: their means are compared",
            if repeats == 1 {
                "1 test is".to_owned()
            } else {
                format!("{} are", plural(repeats, "test"))
            }
        );
        warn(UnfairKind::OtherRepeats, text);
    }
    if let (Some(before), Some(now)) = (machine(base), machine(new))
        && before != now
    {
        let text = format!("the machines are {before} and {now}: durations are not comparable");
        warn(UnfairKind::OtherMachine, text);
    }
    warnings
}

/// The machines that a run was made on, where that is known of all of its sessions.
pub(super) fn machine(side: &Side) -> Option<String> {
    let sessions = side.manifest.sessions.iter();
    let machines: Option<BTreeSet<String>> = sessions
        .map(|session| {
            let machine = session.machine.as_ref()?;
            let cores = plural(machine.cores, "core");
            Some(format!(
                "{} ({}, {cores})",
                machine.host, machine.architecture
            ))
        })
        .collect();
    Some(Vec::from_iter(machines?).join(" with "))
}

fn have(tests: u64) -> String {
    match tests {
        1 => "1 test has".to_owned(),
        more => format!("{} have", plural(more, "test")),
    }
}

/// Why a run is not all that it is to be.
fn unfinished(side: &Side) -> Option<(UnfairKind, String)> {
    let run = &side.run;
    let settled = side
        .trials
        .iter()
        .filter(|trial| trial.outcome.is_some())
        .count() as u64;
    let planned = run.counts.planned;
    let so_far = format!("{} of {} settled", count(settled), plural(planned, "trial"));
    match run.status {
        RunStatus::Running => Some((UnfairKind::Running, format!("{} goes on: {so_far}", run.id))),
        _ if settled < planned => Some((
            UnfairKind::Partial,
            format!("{} is partial ({}): {so_far}", run.id, run.status),
        )),
        _ => None,
    }
}

/// How many tests of both sides have another input, and how many another expectation.
fn other_contents(base: &Side, new: &Side) -> (u64, u64) {
    let mut others = (0, 0);
    for (number, content) in (0..).zip(&new.contents) {
        let before = base.tests.find(new.tests.word(number));
        let before = before.and_then(|before| *base.contents.get(before as usize)?);
        if let (Some(before), Some(now)) = (before, content) {
            others.0 += u64::from(before.execution != now.execution);
            others.1 += u64::from(before.judgement != now.judgement);
        }
    }
    others
}
