//! Whether this process may open the files and start the threads that a plan needs, before anything is created.

use std::fmt;

use miette::Diagnostic;
use rustix::process::{Resource, getrlimit};
use thiserror::Error;

use super::{planned::Plan, threads::startable};
use crate::{
    model::cores,
    plugin::{Kind, MemoryBudget},
};

/// Files that a session has open beside those of its attempts: the run's own, SQLite's, two event loops, a compiling
/// child, artifacts that wait to be recorded.
const FILES: u64 = 40;
/// Files for the names that are looked up, of which only so many are at a time.
const FILES_LOOKUPS: u64 = 16;
/// Files that are open before it begins, where nobody can be asked.
const FILES_BEFORE: u64 = 8;
/// Files that every attempt may need: one for a moment, and one for large artifacts.
const FILES_EACH: u64 = 2;
/// Files that an attempt's private folder needs while it is made, used and removed.
const FILES_PRIVATE: u64 = 4;
/// Files that a granted folder needs.
const FILES_MOUNT: u64 = 2;
/// Files that requests to servers need: connections.
const FILES_NET: u64 = 3;
/// Threads beside those that guests run on: the recorder's, the watchdog's, the clock's, one for what blocks, and those of a
/// compiling child.
const THREADS: usize = 9;

/// What kept a run from getting all that it asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Reduced {
    /// How many attempts run at the same time instead.
    pub jobs: usize,
    asked: usize,
    why: Lack,
}

/// Why there is not even room for one attempt.
#[derive(Debug, Error, Diagnostic)]
#[error("the run cannot begin: {0}")]
#[diagnostic(help("{}", self.0.help()))]
pub struct NoRoom(Lack);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lack {
    Files { may: u64, needs: u64 },
    Threads { may: usize, needs: usize },
}

impl Plan {
    /// Sees to it that no more attempts run at once than this process may open files and start threads for.
    ///
    /// # Errors
    ///
    /// Fails if there is not even room for one.
    pub fn make_room(&mut self) -> Result<Vec<Reduced>, NoRoom> {
        let may = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let lookups = u64::from(self.reaches_servers()) * FILES_LOOKUPS;
        let graders = self.grader_slots() as u64 * self.files_each();
        let base = FILES + lookups + graders + open_files();
        let asked = self.jobs();
        let by_files = fit_files(asked, may, base, self.files_each())?;
        let guests = by_files.fit.min(cores());
        let by_threads = fit_threads(guests, startable(THREADS + guests))?;
        let mut reduced = Vec::new();
        for (fit, most) in [(&by_files, asked), (&by_threads, guests)] {
            if let Some(why) = fit.why {
                self.most_jobs = self.most_jobs.min(fit.fit);
                reduced.push(Reduced {
                    jobs: fit.fit,
                    asked: most,
                    why,
                });
            }
        }
        Ok(reduced)
    }

    /// What the sandboxes of one executor may hold together where instances are kept, in bytes.
    pub(in crate::run) fn memory_share(&self) -> u64 {
        self.memory() / self.jobs() as u64
    }

    /// The memory that attempts wait for; none where all of them can have all that they may.
    pub(in crate::run) fn memory_budget(&self) -> Option<MemoryBudget> {
        self.is_memory_scarce()
            .then(|| MemoryBudget::new(self.memory()))
    }

    /// Tells whether not all attempts that run at once can have all that they may.
    pub(in crate::run) fn is_memory_scarce(&self) -> bool {
        self.most_memory() > self.memory()
    }

    /// How many files one attempt may have open for the runner, by the provider that needs most.
    fn files_each(&self) -> u64 {
        let needs = self.plugins().map(|provider| {
            let grants = &provider.definition.grants;
            let private =
                provider.limits.scratch > 0 || matches!(provider.file.kind, Kind::Command(_));
            FILES_EACH
                + u64::from(private) * FILES_PRIVATE
                + provider.mounts.len() as u64 * FILES_MOUNT
                + u64::from(!grants.net.is_empty()) * FILES_NET
        });
        needs.max().unwrap_or(FILES_EACH)
    }
}

/// How many attempts there is room for, and what there is too little of for more.
#[derive(Debug, PartialEq, Eq)]
struct Fit {
    fit: usize,
    why: Option<Lack>,
}

fn fit_files(asked: usize, may: u64, base: u64, each: u64) -> Result<Fit, NoRoom> {
    let needs = |jobs: usize| base.saturating_add(each.saturating_mul(jobs as u64));
    let room = usize::try_from(may.saturating_sub(base) / each).unwrap_or(usize::MAX);
    let lack = |jobs| Lack::Files {
        may,
        needs: needs(jobs),
    };
    match room.min(asked) {
        0 => Err(NoRoom(lack(1))),
        fit => Ok(Fit {
            fit,
            why: (fit < asked).then(|| lack(asked)),
        }),
    }
}

fn fit_threads(guests: usize, may: usize) -> Result<Fit, NoRoom> {
    let lack = |guests| Lack::Threads {
        may,
        needs: THREADS + guests,
    };
    match may.saturating_sub(THREADS).min(guests) {
        0 => Err(NoRoom(lack(1))),
        fit => Ok(Fit {
            fit,
            why: (fit < guests).then(|| lack(guests)),
        }),
    }
}

/// How many files this process has open now.
fn open_files() -> u64 {
    let listed = std::fs::read_dir("/proc/self/fd");
    listed.map_or(FILES_BEFORE, |files| files.count() as u64)
}

impl Lack {
    fn help(self) -> String {
        match self {
            Self::Files { needs, .. } => {
                format!("`ulimit -n {needs}` raises the limit, where the hard limit allows it")
            }
            Self::Threads { .. } => {
                "raise `ulimit -u`, or `pids.max` of the control group that it runs in".to_owned()
            }
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { may, needs } => write!(
                formatter,
                "it needs {needs} open files, and this process may have {may}"
            ),
            Self::Threads { may, needs } => write!(
                formatter,
                "it needs {needs} more threads, and this process can start {may}"
            ),
        }
    }
}

impl fmt::Display for Reduced {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, asked, why } = self;
        let help = why.help();
        write!(
            formatter,
            "{jobs} attempts run at a time instead of {asked}: {why}; {help}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{THREADS, fit_files, fit_threads};

    #[test]
    fn as_many_attempts_fit_as_there_are_files_for() {
        let fit = |asked, may| fit_files(asked, may, 40, 5);
        assert_eq!(fit(16, 1024).unwrap().why, None);
        assert_eq!(fit(16, 120).unwrap().fit, 16);
        let reduced = fit(16, 119).unwrap();
        assert_eq!(reduced.fit, 15);
        let why = reduced.why.unwrap();
        assert_eq!(
            why.to_string(),
            "it needs 120 open files, and this process may have 119"
        );
        assert_eq!(fit(16, 45).unwrap().fit, 1);
        let refused = fit(16, 44).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the run cannot begin: it needs 45 open files, and this process may have 44"
        );
        assert_eq!(fit(4, u64::MAX).unwrap().fit, 4);
    }

    #[test]
    fn as_many_threads_run_guests_as_are_left() {
        assert_eq!(fit_threads(4, THREADS + 4).unwrap().why, None);
        assert_eq!(fit_threads(4, THREADS + 2).unwrap().fit, 2);
        assert!(fit_threads(4, THREADS).is_err());
    }
}
