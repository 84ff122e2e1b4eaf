//! [`compare_named`]: two runs, or two groups run by run.

use std::path::Path;

use miette::miette;

use super::{Compare, NamedRuns, compare};
use crate::{
    error::{Error, ExitStatus},
    filter::Filter,
    record::RunEntry,
    view::{CaseCounts, Compared, DocumentVersion, GroupComparison},
};

/// What is compared.
#[derive(Clone, Debug)]
pub struct CompareNamed {
    /// What is compared with.
    pub base: NamedRuns,
    /// What is compared; the same if two of its providers are.
    pub new: NamedRuns,
    /// The provider of each run that is meant.
    pub providers: Option<(String, String)>,
    /// Only tests of which this means a trial of either run.
    pub filter: Option<Filter>,
}

/// Compares two runs, or the runs of two groups that are of scenarios with the same name; of several with one name, the
/// first with the first. `damaged` hears of lines that give no row and of rows that are missing.
///
/// # Errors
///
/// Fails as [`compare`] does, if a run is to be compared with a group, and if no scenario is in both groups.
pub fn compare_named(
    asked: &CompareNamed,
    mut damaged: impl FnMut(&dyn std::error::Error) + Send,
) -> Result<Compared, Error> {
    let mut of_pair = |base: &Path, new: &Path| {
        let pair = Compare {
            base: base.to_owned(),
            new: new.to_owned(),
            providers: asked.providers.clone(),
            filter: asked.filter.clone(),
        };
        compare(&pair, &mut damaged)
    };
    let (base, new) = match (&asked.base, &asked.new) {
        (NamedRuns::One(base), NamedRuns::One(new)) => {
            return of_pair(base, new).map(Compared::Runs);
        }
        (NamedRuns::Group(base), NamedRuns::Group(new)) => (base, new),
        (NamedRuns::One(_), NamedRuns::Group(_)) | (NamedRuns::Group(_), NamedRuns::One(_)) => {
            return Err(Error::usage(miette!(
                help = "name two runs or two groups; a run of a group is named by its own id",
                "a run is not compared with a group"
            )));
        }
    };
    let (pairs, only_base, only_new) = paired(base, new);
    if pairs.is_empty() {
        return Err(Error::usage(miette!(
            help = "runs are compared with those of a scenario with the same name",
            "no scenario is in both groups"
        )));
    }
    let mut runs = Vec::new();
    let mut nothing = None;
    for (base, new) in pairs {
        match of_pair(&base.dir, &new.dir) {
            Ok(comparison) => runs.push(comparison),
            // The filter may mean trials of the others.
            Err(error) if error.status == ExitStatus::NothingSelected => nothing = Some(error),
            Err(error) => return Err(error),
        }
    }
    if let (true, Some(error)) = (runs.is_empty(), nothing) {
        return Err(error);
    }
    let mut counts = CaseCounts::default();
    for run in &runs {
        counts.add_all(run.counts);
    }
    let group = |runs: &[RunEntry]| {
        let group = runs.first().and_then(|run| run.id.group());
        group.unwrap_or_default().to_owned()
    };
    Ok(Compared::Groups(GroupComparison {
        v: DocumentVersion,
        base: group(base),
        new: group(new),
        counts,
        runs,
        only_base,
        only_new,
    }))
}

/// Two runs that are compared with each other.
type Pair<'a> = (&'a RunEntry, &'a RunEntry);

/// The runs of both groups in the order of the new one, and the names of the scenarios that only one of them has.
fn paired<'a>(
    base: &'a [RunEntry],
    new: &'a [RunEntry],
) -> (Vec<Pair<'a>>, Vec<String>, Vec<String>) {
    let mut left: Vec<&RunEntry> = base.iter().collect();
    let mut pairs = Vec::new();
    let mut only_new = Vec::new();
    for run in new {
        match left.iter().position(|other| other.scenario == run.scenario) {
            Some(place) => pairs.push((left.remove(place), run)),
            None => only_new.push(run.scenario.clone()),
        }
    }
    let only_base = left.into_iter().map(|run| run.scenario.clone());
    (pairs, only_base.collect(), only_new)
}
