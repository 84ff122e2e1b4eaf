//! `runner logs`.

use std::{thread, time::Duration};

use super::{
    Surroundings,
    naming::{self, Named},
    trial_logs,
};
use crate::{
    cli::LogsArgs,
    error::{Error, ExitStatus},
    output::{Follow, Output, Reader},
    record::{LineError, RunEntry, RunReader, Store, Tail},
};

/// How often new rows are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Prints the rows of a run, and those that come until it has ended if that was asked for.
pub(super) fn logs(
    args: &LogsArgs,
    surroundings: &Surroundings,
    output: &Output,
) -> Result<ExitStatus, Error> {
    let store = Store::existing(&args.results.root).map_err(Error::record)?;
    let mut run = Named::or_latest(args.run.as_deref(), surroundings).find(&store)?;
    if args.runner {
        return runner(&run, args.follow, output);
    }
    if let Some(glob) = args.trial.as_deref().or(args.trials.as_deref()) {
        return trial_logs::trials(&run, glob, args.json, output);
    }
    let mut follow = Follow::new(output.clone(), args.json);
    let open = || RunReader::open(&run.dir).map_err(Error::record);
    let mut tail = open()?.tail().map_err(Error::record)?;

    loop {
        // Asked before the rows are read: what a process has written is there before it ends.
        let is_over = !open()?.is_alive();
        if print(&mut tail, &mut follow, output)? == Reader::Gone {
            return Ok(ExitStatus::Success);
        }
        if is_over && let Some(last) = tail.last_row() {
            follow.row(&last.row, last.line);
        }
        if is_over || !args.follow {
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    if args.follow {
        run.refresh().map_err(Error::record)?;
        let resume = naming::resume_entry(&run, surroundings);
        follow.finish(&run, resume.as_deref());
    }
    Ok(ExitStatus::Success)
}

/// Prints what the runner itself has written down of a run, and goes on with it until the run has ended if that was asked
/// for.
fn runner(run: &RunEntry, is_followed: bool, output: &Output) -> Result<ExitStatus, Error> {
    let mut start = 0;
    loop {
        let reader = RunReader::open(&run.dir).map_err(Error::record)?;
        // As with rows; a holder that has yet to open its session, or to tell how it ended, still writes.
        let is_over = reader.holder().is_none();
        let mut log = reader.log_from(start).map_err(Error::record)?;
        if !is_over {
            log.truncate(
                log.iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |at| at + 1),
            );
        }
        start += log.len() as u64;
        let told = output.log(&String::from_utf8_lossy(&log));
        if told == Reader::Gone || output.reader() == Reader::Gone || is_over || !is_followed {
            return Ok(ExitStatus::Success);
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Prints the rows that are there, for as long as somebody reads them.
fn print(tail: &mut Tail, follow: &mut Follow, output: &Output) -> Result<Reader, Error> {
    while let Some(next) = tail.next_row() {
        match next {
            Ok(next) => {
                if follow.row(&next.row, next.line) == Reader::Gone {
                    return Ok(Reader::Gone);
                }
            }
            Err(error @ LineError::Damaged { .. }) => output.warn(&error.to_string()),
            Err(error) => return Err(Error::storage(miette::Report::from_err(error))),
        }
    }
    Ok(output.reader())
}
