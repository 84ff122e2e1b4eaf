//! [`ShardRun`]: a shard as merging finds it.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::problem::ShardProblem;
use crate::{
    model::{Counts, RunStatus, Shard, cores, work_in_lanes},
    record::{
        RunReader,
        disk::layout::is_run,
        error::RecordError,
        format::{manifest::Manifest, shard::ManifestShard},
        reading::{
            death,
            fold::{Fold, Reopened},
            history::{History, NextSession},
            lines::{LineError, RowsLine},
        },
    },
};

/// How many trials without a result are named of a shard.
const MAX_HOLES: usize = 5;

/// A shard as merging finds it: what its rows come to, and everything that keeps it from being merged.
#[derive(Debug)]
pub struct ShardRun {
    pub(super) reader: RunReader,
    /// With its sessions closed, as a sweep would leave it.
    pub(super) manifest: Manifest,
    pub(super) info: ManifestShard,
    pub(super) shard: Shard,
    /// Which trials each session was to run again.
    pub(super) reopened: Vec<Reopened>,
    pub(super) last_seq: u64,
    counts: Counts,
    holes: Vec<u64>,
    problems: Vec<ShardProblem>,
}

impl ShardRun {
    /// Reads the shards in these directories, on every core; tells of each in their order.
    ///
    /// # Errors
    ///
    /// The inner ones say why one is no shard that can be merged at all.
    pub fn look_at_all(dirs: &[PathBuf]) -> Result<Vec<Result<Self, ShardProblem>>, RecordError> {
        let mut shards = Vec::new();
        let workers = (0..cores().min(dirs.len())).map(|_| |dir: &PathBuf| Self::look(dir));
        let looked = work_in_lanes(dirs.iter(), workers, |shard| {
            shards.push(shard?);
            Ok::<_, RecordError>(true)
        });
        looked.map_err(RecordError::io("read shards beside each other"))??;
        Ok(shards)
    }

    fn look(dir: &Path) -> Result<Result<Self, ShardProblem>, RecordError> {
        let reader = match RunReader::open(dir) {
            Ok(reader) => reader,
            Err(_) if !is_run(dir) => return Ok(Err(ShardProblem::NoRun)),
            Err(error) => {
                return Ok(Err(ShardProblem::Unreadable {
                    error: error.into(),
                }));
            }
        };
        let Some(info) = reader.manifest().shard.clone() else {
            return Ok(Err(ShardProblem::NoShard));
        };
        let Some(shard) = info.shard() else {
            return Ok(Err(ShardProblem::OtherFunction {
                function: info.function,
            }));
        };
        if let Some(holder) = reader.holder() {
            return Ok(Err(ShardProblem::Running { pid: holder.pid }));
        }
        let mut problems = Vec::new();
        let (history, reopened) = read_rows(&reader, shard, &mut problems)?;
        let mut manifest = reader.manifest().clone();
        if manifest.status == RunStatus::Running {
            // Its process has died, and nobody has said so yet.
            death::close_by(reader.dir(), &mut manifest, &history, Timestamp::MAX)?;
        }
        let counts = history.state.counts();
        let holes = holes(&history);
        if counts.done() < counts.planned {
            problems.push(ShardProblem::Holes {
                count: counts.planned - counts.done(),
                status: manifest.status,
                reason: manifest.reason,
            });
        }
        Ok(Ok(Self {
            reader,
            manifest,
            info,
            shard,
            reopened,
            last_seq: history.last_seq,
            counts,
            holes,
            problems,
        }))
    }

    /// Which shard it is.
    pub fn shard(&self) -> Shard {
        self.shard
    }

    /// What it says of the whole.
    pub fn info(&self) -> &ManifestShard {
        &self.info
    }

    /// Its reader.
    pub fn reader(&self) -> &RunReader {
        &self.reader
    }

    /// How many of its trials came to what.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The first of its trials without a result, by their ordinals in the shard.
    pub fn holes(&self) -> &[u64] {
        &self.holes
    }

    /// What keeps it from being merged.
    pub fn problems(&self) -> &[ShardProblem] {
        &self.problems
    }

    /// Fails if somebody has worked on it since it was read.
    pub(super) fn check_unchanged(&self) -> Result<(), RecordError> {
        let now = RunReader::open(self.reader.dir().path())?;
        if now.manifest() == self.reader.manifest() && now.holder().is_none() {
            return Ok(());
        }
        Err(RecordError::ChangedMeanwhile {
            run: self.reader.dir().path().to_owned(),
        })
    }
}

/// What the rows come to, and which trials were opened again by which session.
fn read_rows(
    reader: &RunReader,
    shard: Shard,
    problems: &mut Vec<ShardProblem>,
) -> Result<(History, Vec<Reopened>), RecordError> {
    let mut fold = Fold::new(reader.manifest(), NextSession::default())?;
    let mut rows = reader.named_lines();
    let (mut damaged, mut misplaced) = (None::<((String, u64), String)>, None);
    while let Some(line) = rows.next_line() {
        match line {
            Ok(RowsLine::Attempt((brief, trial))) => {
                if misplaced.is_none() && !shard.has(&trial) {
                    misplaced = Some((place(&rows.path(), rows.line()), trial.clone()));
                }
                fold.named_row((brief, trial));
            }
            Ok(RowsLine::Judgement(judgement)) => fold.row(judgement),
            Err(LineError::Damaged {
                path,
                line,
                problem,
            }) => {
                fold.damaged();
                damaged.get_or_insert((place(&path, line), problem));
            }
            Err(LineError::Io(source)) => return Err(reader.rows_failed(source)),
        }
    }
    if let Some(problem) = rows.torn() {
        problems.push(ShardProblem::Torn {
            problem: problem.to_owned(),
        });
    }
    if let Some(((file, line), trial)) = misplaced {
        problems.push(ShardProblem::Misplaced { file, line, trial });
    }
    let (history, reopened) = fold.finish_traced();
    if let Some(((file, line), problem)) = damaged {
        let lines = history.damaged_lines;
        problems.push(ShardProblem::Damaged {
            lines,
            file,
            line,
            problem,
        });
    }
    Ok((history, reopened))
}

/// The name of a file of rows, and which line of it.
fn place(path: &Path, line: u64) -> (String, u64) {
    let name = path.file_name().unwrap_or_default();
    (name.to_string_lossy().into_owned(), line)
}

/// The first trials without a result.
fn holes(history: &History) -> Vec<u64> {
    let state = &history.state;
    let all = 0..state.counts().planned;
    let holes = all.filter(|ordinal| state.outcome(*ordinal).is_none());
    holes.take(MAX_HOLES).collect()
}
