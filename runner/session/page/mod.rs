//! [`trial_page`]: one trial of a run, with all that is known of it.

mod find;
mod hand_out;
mod repeat;

use std::{collections::BTreeMap, path::Path};

use miette::miette;
use serde_json::Map;

use crate::{
    error::{Error, ExitStatus},
    record::{LineError, LiveSaid, Row, RowOutput, RunReader, Said},
    run::TrialNames,
    scenario::Test,
    view::{DocumentVersion, PageAttempt, PageFile, PlannedTest, SpokenAttempt, TrialPage},
};

pub use hand_out::{OpenPart, open_part, save_parts};

use find::FoundTrial;

/// Which trial is asked for.
#[derive(Clone, Copy, Debug)]
pub struct AskedTrial<'a> {
    /// Its id, or a part of it that no other trial's has.
    pub name: &'a str,
    /// Which attempt a screen shows; `None` for the one that settles it, or the latest.
    pub attempt: Option<u32>,
}

/// Finds a trial of the run in `dir`, and tells all that is known of it; `damaged` hears of what cannot be read any more.
///
/// # Errors
///
/// Fails if the run cannot be read, or if the name means no trial, or more than one.
pub fn trial_page(
    dir: &Path,
    asked: AskedTrial<'_>,
    damaged: impl FnMut(&dyn std::error::Error),
) -> Result<TrialPage, Error> {
    let reader = RunReader::open(dir).map_err(|error| Error::find(error.into()))?;
    let mut names = TrialNames::of(&reader);
    let found = find::find(asked.name, &reader, names.as_mut())?;
    // Before the rows: one that ends meanwhile has one.
    let live = reader.live_said();
    let rows = rows_of(&found, &reader)?;
    let test = names
        .as_mut()
        .zip(found.ordinal)
        .and_then(|(names, ordinal)| names.test(ordinal));
    let command = names
        .as_ref()
        .zip(test.as_deref())
        .and_then(|(names, test)| repeat::command(dir, &reader, names.scenario(), test, &found));
    let planned = found.ordinal.zip(test.as_deref());
    let planned = planned.map(|(ordinal, test)| planned_test(&reader, ordinal, test, &found));
    let attempts = attempts(&reader, rows, live, &found, damaged);
    let shown = shown(&attempts, asked.attempt, &found)?;
    Ok(TrialPage {
        v: DocumentVersion,
        run: found.run,
        run_dir: dir.to_owned(),
        trial: found.trial,
        test: found.test,
        provider: found.provider,
        planned,
        shown,
        attempts,
        command,
    })
}

/// The rows of the trial, in the order of writing.
fn rows_of(found: &FoundTrial, reader: &RunReader) -> Result<Vec<Row<'static>>, Error> {
    let mut named = reader.named_rows();
    let mut rows = Vec::new();
    while let Some(row) = named.next_of(|trial| trial == found.trial) {
        match row {
            Ok(row) => rows.push(row),
            Err(LineError::Damaged { .. }) => {}
            Err(LineError::Io(source)) => return Err(Error::record(reader.rows_failed(source))),
        }
    }
    Ok(rows)
}

fn attempts(
    reader: &RunReader,
    rows: Vec<Row<'static>>,
    live: Vec<LiveSaid>,
    found: &FoundTrial,
    mut damaged: impl FnMut(&dyn std::error::Error),
) -> Vec<PageAttempt> {
    // A row that is there twice, because a session was torn between two writes, is the later one.
    let mut attempts = BTreeMap::new();
    let live = live.into_iter().filter(|live| live.trial == found.trial);
    for live in live {
        let said = SpokenAttempt::of_live(live);
        attempts.insert(said.name.number, attempt(reader, said, None, &mut damaged));
    }
    for row in rows {
        let said = reader.said(&row).unwrap_or_else(|error| {
            damaged(&error);
            Said::default()
        });
        let number = row.attempt;
        let said = SpokenAttempt::new(row.clone(), said);
        attempts.insert(number, attempt(reader, said, Some(row), &mut damaged));
    }
    attempts.into_values().collect()
}

fn attempt(
    reader: &RunReader,
    said: SpokenAttempt,
    row: Option<Row<'static>>,
    damaged: &mut impl FnMut(&dyn std::error::Error),
) -> PageAttempt {
    let output = row.as_ref().and_then(|row| match row.output.as_ref()? {
        RowOutput::Inline(value) => Some(value.clone().into_owned()),
        RowOutput::Stored(stored) => {
            let read = reader.output(row, stored);
            read.inspect_err(|error| damaged(error)).ok()
        }
    });
    let artifacts = row.iter().flat_map(|row| {
        let folder = reader.attempt_folder(row);
        row.artifacts.iter().map(move |file| PageFile {
            name: file.name.to_string(),
            media_type: file.media_type.to_string(),
            bytes: file.bytes,
            path: folder.join(file.name.as_ref()),
        })
    });
    PageAttempt {
        said,
        output,
        artifacts: artifacts.collect(),
        row,
    }
}

/// Which attempt a screen shows.
fn shown(
    attempts: &[PageAttempt],
    asked: Option<u32>,
    found: &FoundTrial,
) -> Result<Option<u32>, Error> {
    let number = |attempt: &PageAttempt| attempt.said.name.number;
    let Some(asked) = asked else {
        let settles = attempts.iter().rev().find(|attempt| attempt.is_final());
        return Ok(settles.or(attempts.last()).map(number));
    };
    if attempts.iter().any(|attempt| number(attempt) == asked) {
        return Ok(Some(asked));
    }
    let known: Vec<_> = attempts.iter().map(|one| number(one).to_string()).collect();
    let help = match known[..] {
        [] => "none has ended yet".to_owned(),
        _ => format!("there is {}", known.join(", ")),
    };
    Err(Error {
        status: ExitStatus::NothingSelected,
        report: miette!(
            help = help,
            "trial `{}` has no attempt {asked}",
            found.trial
        ),
    })
}

fn planned_test(reader: &RunReader, ordinal: u64, test: &Test, found: &FoundTrial) -> PlannedTest {
    let files = test.files.iter().map(|file| PageFile {
        name: file.name.clone(),
        media_type: file.media_type.clone(),
        bytes: file.bytes,
        path: reader.content().path(file.sha256),
    });
    PlannedTest {
        ordinal,
        repeat: found.repeat,
        tags: test.tags.to_vec(),
        meta: Map::clone(&test.meta),
        input: serde_json::from_str(&test.input).unwrap_or_default(),
        expect: test.expect.whole().told(),
        files: files.collect(),
    }
}
