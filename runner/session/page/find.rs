//! Which trial of a run is meant.

use miette::miette;

use crate::{
    error::{Error, ExitStatus, Refusal, RefusalKind},
    record::{LineError, RunId, RunReader},
    run::TrialNames,
    session::matching::Nearest,
};

/// How many trials a message lists of those that a name means.
const MAX_LISTED: usize = 8;

/// A trial of a run.
pub(super) struct FoundTrial {
    pub(super) run: RunId,
    pub(super) trial: String,
    pub(super) test: String,
    pub(super) provider: String,
    /// From 1.
    pub(super) repeat: u32,
    /// Its place in the plan; `None` where that is not there any more.
    pub(super) ordinal: Option<u64>,
}

/// How well a name fits a trial; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NameFit {
    /// It is the trial's id.
    Id,
    /// It is the id of its test, or that with the provider.
    Test,
    /// It is in the trial's id.
    Part,
}

/// Trials that a name fits, as far as they are the best so far.
#[derive(Default)]
struct NameFits {
    best: Option<NameFit>,
    /// The first ones, by their ids and places.
    first: Vec<(String, Option<u64>)>,
    count: usize,
}

/// Finds the trial that `name` means: its id, or a part of it that no other trial's has.
pub(super) fn find(
    name: &str,
    reader: &RunReader,
    names: Option<&mut TrialNames>,
) -> Result<FoundTrial, Error> {
    let mut names = names;
    let mut fits = NameFits::default();
    each_trial(reader, names.as_deref_mut(), |trial, ordinal| {
        fits.take(name, trial, ordinal)
    })?;
    match fits.first.pop() {
        Some((trial, ordinal)) if fits.count == 1 => found(reader, trial, ordinal),
        Some(last) => {
            fits.first.push(last);
            Err(fits.ambiguous(name))
        }
        None => {
            let mut nearest = Nearest::new(name);
            each_trial(reader, names, |trial, _| {
                nearest.remember(trial);
                false
            })?;
            Err(Error {
                status: ExitStatus::NothingSelected,
                report: miette!(
                    help = nearest.help(),
                    "run `{}` has no trial `{name}`",
                    reader.id()
                ),
            })
        }
    }
}

/// Shows `look` the id of each trial, with its place in the plan where that is known, until it says that this is enough.
fn each_trial(
    reader: &RunReader,
    names: Option<&mut TrialNames>,
    mut look: impl FnMut(&str, Option<u64>) -> bool,
) -> Result<(), Error> {
    if let Some(names) = names {
        let mut ordinals = 0..reader.manifest().metadata.planned_test_count;
        ordinals.any(|ordinal| {
            let trial = names.name(ordinal);
            trial.is_some_and(|trial| look(&trial.to_string(), Some(ordinal)))
        });
        return Ok(());
    }
    // What has rows is known all the same.
    let mut rows = reader.named_rows();
    let mut is_enough = false;
    while let Some(row) = rows.next_of(|trial| {
        is_enough = is_enough || look(trial, None);
        false
    }) {
        if let Err(LineError::Io(source)) = row {
            return Err(Error::record(reader.rows_failed(source)));
        }
    }
    Ok(())
}

fn found(reader: &RunReader, trial: String, ordinal: Option<u64>) -> Result<FoundTrial, Error> {
    let damaged = || Error::internal(miette!("`{trial}` is no trial's id"));
    let (rest, repeat) = trial.rsplit_once('#').ok_or_else(damaged)?;
    let (test, provider) = rest.rsplit_once('@').ok_or_else(damaged)?;
    Ok(FoundTrial {
        run: reader.id(),
        test: test.to_owned(),
        provider: provider.to_owned(),
        repeat: repeat.parse().map_err(|_| damaged())?,
        ordinal,
        trial,
    })
}

impl NameFits {
    /// Looks at a trial; tells whether no other can be meant.
    fn take(&mut self, name: &str, trial: &str, ordinal: Option<u64>) -> bool {
        let Some(fit) = NameFit::of(name, trial) else {
            return false;
        };
        if self.best.is_none_or(|best| fit < best) {
            *self = Self {
                best: Some(fit),
                ..Self::default()
            };
        }
        let is_known = self.first.iter().any(|(known, _)| known == trial);
        if self.best == Some(fit) && !is_known {
            self.count += 1;
            if self.first.len() < MAX_LISTED {
                self.first.push((trial.to_owned(), ordinal));
            }
        }
        fit == NameFit::Id
    }

    fn ambiguous(&self, name: &str) -> Error {
        let listed: Vec<_> = self.first.iter().map(|(trial, _)| trial.as_str()).collect();
        let more = match self.count - listed.len() {
            0 => String::new(),
            more => format!("\n… and {more} more"),
        };
        Error::usage(Refusal {
            kind: RefusalKind::Conflict,
            text: format!("`{name}` means {} trials", self.count),
            help: format!("name one of them:\n{}{more}", listed.join("\n")),
        })
    }
}

impl NameFit {
    fn of(name: &str, trial: &str) -> Option<Self> {
        if trial == name {
            return Some(Self::Id);
        }
        let without_repeat = trial.rsplit_once('#').map_or(trial, |(rest, _)| rest);
        let test = without_repeat
            .rsplit_once('@')
            .map_or(trial, |(test, _)| test);
        if name == test || name == without_repeat {
            return Some(Self::Test);
        }
        trial.contains(name).then_some(Self::Part)
    }
}

#[cfg(test)]
mod tests {
    use super::{NameFit, NameFits};

    #[test]
    fn the_best_fit_is_meant_and_parts_only_without_a_better_one() {
        let trials = ["a@x#1", "a@x#2", "aa@x#1", "b@y#1"];
        let meant = |name: &str| {
            let mut fits = NameFits::default();
            for (ordinal, trial) in (0..).zip(trials) {
                fits.take(name, trial, Some(ordinal));
            }
            let first = fits.first.into_iter().map(|(trial, _)| trial);
            (fits.best, first.collect::<Vec<_>>().join(" "))
        };
        assert_eq!(meant("a@x#2"), (Some(NameFit::Id), "a@x#2".to_owned()));
        assert_eq!(meant("a"), (Some(NameFit::Test), "a@x#1 a@x#2".to_owned()));
        assert_eq!(meant("aa"), (Some(NameFit::Test), "aa@x#1".to_owned()));
        assert_eq!(meant("y"), (Some(NameFit::Part), "b@y#1".to_owned()));
        assert_eq!(meant("z"), (None, String::new()));
    }
}
