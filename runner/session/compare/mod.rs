//! [`compare`]: what is different between two runs, or two providers of one.

mod cases;
mod differences;
mod fairness;
mod measures;
mod pair;
mod side;

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
};

use miette::miette;

use crate::{
    error::{Error, ExitStatus},
    filter::Filter,
    record::{Look, RecordError},
    view::{CaseClass, CaseCounts, ComparedProvider, ComparedRun, Comparison, DocumentVersion},
};

use super::selecting;
use cases::Cases;
use pair::ProviderPair;
use side::Side;

/// What is compared.
#[derive(Clone, Debug)]
pub struct Compare {
    /// The directory of the run that is compared with.
    pub base: PathBuf,
    /// The directory of the run that is compared; the same one if two of its providers are.
    pub new: PathBuf,
    /// The provider of each that is meant; without them each is compared with the one of the same name.
    pub providers: Option<(String, String)>,
    /// Only tests of which this means a trial of either run.
    pub filter: Option<Filter>,
}

/// Compares two runs, or two providers of one; `damaged` hears of lines that give no row and of rows that are missing.
///
/// # Errors
///
/// Fails if a run or its rows cannot be read, if one has no provider of the name that is meant, if the filter means nothing,
/// or if something would be compared with itself.
pub fn compare(
    asked: &Compare,
    damaged: impl FnMut(&dyn std::error::Error) + Send,
) -> Result<Comparison, Error> {
    let look = |dir: &PathBuf| Look::at(dir).map_err(|error| Error::find(error.into()));
    let (base, new) = (look(&asked.base)?, look(&asked.new)?);
    check(asked, &base, &new)?;
    let root = asked.new.parent().unwrap_or(Path::new("."));
    let filter = asked.filter.clone();
    let filter = filter
        .map(|filter| selecting::resolve(filter, root))
        .transpose()?;
    let damaged = Mutex::new(damaged);
    let (base, new) = read(&base, &new, filter.as_ref(), &damaged).map_err(Error::record)?;
    let comparison = comparison(asked, &base, &new);
    match filter {
        Some(filter) if comparison.counts == CaseCounts::default() => Err(Error {
            status: ExitStatus::NothingSelected,
            report: miette!("no trial of either run is meant by `{filter}`"),
        }),
        _ => Ok(comparison),
    }
}

/// Fails for what cannot be compared.
fn check(asked: &Compare, base: &Look, new: &Look) -> Result<(), Error> {
    let is_one = base.reader().manifest().run_id == new.reader().manifest().run_id
        && same_file(&asked.base, &asked.new);
    let Some((first, second)) = &asked.providers else {
        return match is_one {
            true => Err(Error::usage(miette!(
                help = "name another run, or two of its providers with `--provider A B`",
                "a run is not compared with itself"
            ))),
            false => Ok(()),
        };
    };
    if is_one && first == second {
        return Err(Error::usage(miette!(
            "a provider is not compared with itself"
        )));
    }
    for (look, name) in [(base, first), (new, second)] {
        let manifest = look.reader().manifest();
        let mut names = manifest.providers.iter().map(|provider| &*provider.name);
        if !names.clone().any(|known| known == name) {
            let known: Vec<_> = names.by_ref().map(|name| format!("`{name}`")).collect();
            return Err(Error::usage(miette!(
                help = format!("it has {}", known.join(", ")),
                "the run {} has no provider `{name}`",
                manifest.run_id
            )));
        }
    }
    Ok(())
}

/// Tells whether two paths lead to the same run, also by a symbolic link.
fn same_file(one: &PathBuf, other: &PathBuf) -> bool {
    let real = |path: &PathBuf| fs_err::canonicalize(path).ok();
    one == other || real(one).is_some_and(|path| Some(path) == real(other))
}

/// Reads both sides at once: each has a file of its own, and decoding takes longer than reading.
fn read(
    base: &Look,
    new: &Look,
    filter: Option<&Filter>,
    damaged: &Mutex<impl FnMut(&dyn std::error::Error) + Send>,
) -> Result<(Side, Side), RecordError> {
    let suite = |look: &Look| look.reader().manifest().metadata.suite;
    let are_same_tests = suite(base) == suite(new);
    let side = |look| Side::read(look, are_same_tests, filter, damaged);
    thread::scope(|scope| {
        let base = scope.spawn(|| side(base));
        let new = side(new)?;
        match base.join() {
            Ok(base) => Ok((base?, new)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

fn comparison(asked: &Compare, base: &Side, new: &Side) -> Comparison {
    let pairs = ProviderPair::all(asked.providers.as_ref(), base, new);
    let cases = Cases::of(base, new, &pairs);
    let mut counts = CaseCounts::default();
    let mut by_provider = vec![CaseCounts::default(); pairs.len()];
    let mut shown = Vec::new();
    for case in cases.in_order() {
        counts.add(case.class());
        by_provider[case.pair].add(case.class());
        if case.class() != CaseClass::StillPassing {
            shown.push(case.shown(base, new, &pairs[case.pair]));
        }
    }
    let mut measured = measures::measured(base, new, &cases, &pairs).into_iter();
    let providers = pairs.iter().zip(by_provider).map(|(pair, counts)| {
        let (first, second) = (pair.base.as_ref(), pair.new.as_ref());
        ComparedProvider {
            provider: second.or(first).cloned().unwrap_or_default(),
            base_provider: first
                .filter(|first| second.is_some_and(|second| second != *first))
                .cloned(),
            counts,
            measures: measured.next().unwrap_or_default(),
        }
    });
    let providers = providers.collect();
    Comparison {
        v: DocumentVersion,
        filter: asked.filter.as_ref().map(ToString::to_string),
        base: compared_run(base, asked.providers.as_ref().map(|(first, _)| first)),
        new: compared_run(new, asked.providers.as_ref().map(|(_, second)| second)),
        warnings: fairness::warnings(base, new, &cases, &counts),
        differences: differences::differences(base, new, &pairs),
        counts,
        providers,
        cases: shown,
    }
}

fn compared_run(side: &Side, provider: Option<&String>) -> ComparedRun {
    let run = &side.run;
    ComparedRun {
        run: run.id.clone(),
        scenario: run.scenario.clone(),
        provider: provider.cloned(),
        status: run.status,
        reason: run.reason,
        verdict: run.verdict,
        started_at: run.started_at,
        counts: run.counts.into(),
    }
}
