//! What of each line decides state, found by several threads beside each other.

use std::io;

use super::{
    lines::LineError,
    row_batches::{RowBatch, RowBatches},
    row_files::RowFiles,
};
use crate::{
    model::{cores, work_in_lanes},
    record::format::brief::{Brief, decode_brief},
};

/// From how many bytes on rows are read by several threads: with fewer it takes longer to start these.
const LARGE_BYTES: u64 = 4 << 20;
/// More threads than these would wait for the one that takes what they find.
const MOST_THREADS: usize = 8;

/// Takes what every line decides, or its damage, in the order of the lines; tells whether it did. Of few rows it does not, or
/// where no thread can be started, and then nothing was taken.
pub(super) fn take_briefs(
    files: &RowFiles,
    take: impl FnMut(Result<Brief, LineError>),
) -> io::Result<bool> {
    match files.length()? {
        ..LARGE_BYTES => Ok(false),
        LARGE_BYTES.. => take_in_lanes(files, take),
    }
}

fn take_in_lanes(
    files: &RowFiles,
    mut take: impl FnMut(Result<Brief, LineError>),
) -> io::Result<bool> {
    let workers = (0..cores().min(MOST_THREADS)).map(|_| briefs_of);
    let worked = work_in_lanes(RowBatches::open(files, u64::MAX), workers, |briefs| {
        briefs?.into_iter().for_each(&mut take);
        Ok::<_, io::Error>(true)
    });
    match worked {
        Ok(worked) => worked.map(|()| true),
        Err(_) => Ok(false),
    }
}

fn briefs_of(batch: io::Result<RowBatch>) -> io::Result<Vec<Result<Brief, LineError>>> {
    let batch = batch?;
    let briefs = batch.readable_lines().filter_map(|line| {
        match decode_brief(line.line) {
            Ok(brief) => Some(Ok(brief)),
            // What a crash has torn, or what is being written right now.
            Err(_) if batch.may_be_torn(&line) => None,
            Err(problem) => Some(Err(LineError::Damaged {
                path: batch.path.to_path_buf(),
                line: line.number,
                problem,
            })),
        }
    });
    Ok(briefs.collect())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::{decode_brief, take_in_lanes};
    use crate::{
        model::{Outcome, RunStatus},
        record::{
            Store,
            disk::layout::RunDir,
            format::line::MAX_LINE_BYTES,
            reading::{
                lines::{LineError, Rows, RowsLine},
                row_files::RowFiles,
            },
            testing::{end, entry, ignore, new_run},
        },
    };

    /// The lines of a run, each with its newline.
    fn lines() -> Vec<Vec<u8>> {
        const ROWS: u64 = 20;
        let directory = tempfile::tempdir().unwrap();
        let recorder = Store::open(directory.path()).unwrap();
        let recorder = recorder.begin(new_run(ROWS), ignore).unwrap();
        recorder.record((0..ROWS).map(|it| entry(it, 1, Outcome::Failed)).collect());
        let run = recorder.finish(&end(RunStatus::Completed, ROWS)).unwrap();
        let rows = fs_err::read(run.run_dir.join("index.jsonl")).unwrap();
        let lines = rows.split_inclusive(|byte| *byte == b'\n');
        lines.map(<[u8]>::to_vec).collect()
    }

    fn told(line: Result<impl Debug, LineError>) -> String {
        match line {
            Ok(brief) => format!("{brief:?}"),
            Err(error) => error.to_string(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn several_threads_find_what_one_does(
            // Whole lines, damaged ones, foreign line ends, ones that are too long, and torn ends of files.
            files in prop::collection::vec(prop::collection::vec(0..12_usize, 0..40), 1..4),
            ends in prop::collection::vec(0..3_usize, 4),
        ) {
            let known = lines();
            let directory = tempfile::tempdir().unwrap();
            let dir = RunDir::new(directory.path());
            let mut next = 0;
            for ((number, kinds), end) in (1..).zip(&files).zip(ends) {
                let mut text = Vec::new();
                for kind in kinds {
                    let mut line = known[next % known.len()].clone();
                    next += 1;
                    match kind {
                        0 => line[30] ^= 1,
                        1 => line.splice(line.len() - 1.., *b"\r\n").for_each(drop),
                        2 => line = [vec![b'x'; MAX_LINE_BYTES + 200_000], b"\n".to_vec()].concat(),
                        3 => line = b"\n".to_vec(),
                        _ => {}
                    }
                    text.extend(line);
                }
                let line = &known[next % known.len()];
                match end {
                    0 => text.extend(&line[..line.len() / 2]),
                    1 => text.extend(&line[..line.len() - 1]),
                    _ => {}
                }
                fs_err::write(dir.row_file(number), text).unwrap();
            }
            let mut expected = Vec::new();
            let mut rows = Rows::new(&dir, decode_brief);
            while let Some(line) = rows.next_line() {
                expected.push(told(line.map(|line| match line {
                    RowsLine::Attempt(brief) | RowsLine::Judgement(brief) => brief,
                })));
            }
            let mut found = Vec::new();
            let files = RowFiles::open(&dir).unwrap();
            prop_assert!(take_in_lanes(&files, |line| found.push(told(line))).unwrap());
            prop_assert_eq!(found, expected);
        }
    }
}
