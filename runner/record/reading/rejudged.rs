//! [`RunReader::rejudged`]: the attempts that were judged apart from their rows, with all that they came to.

use std::collections::{BTreeMap, HashSet};

use super::{
    lines::{LineError, Rows, RowsLine},
    reader::RunReader,
};
use crate::{
    model::Outcome,
    record::{
        error::RecordError,
        format::{
            brief::{Brief, BriefKind},
            manifest::Manifest,
        },
    },
};

/// An attempt that was judged apart from its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejudgedAttempt {
    /// Its trial's id.
    pub trial: String,
    /// What it came to, and in which session, the oldest first.
    pub came_to: Vec<(u32, Outcome)>,
}

/// The attempts that were judged apart from their rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejudgedAttempts {
    /// The first of them, in the order of their rows.
    pub first: Vec<RejudgedAttempt>,
    /// How many there are.
    pub count: u64,
}

impl RunReader {
    /// The attempts that were judged apart from their rows, with all that the first `most` of them came to. Damaged lines are
    /// passed over.
    ///
    /// # Errors
    ///
    /// Fails if the rows cannot be read.
    pub fn rejudged(&self, most: usize) -> Result<RejudgedAttempts, RecordError> {
        if !self.manifest().is_judged_apart() {
            return Ok(RejudgedAttempts::default());
        }
        let mut judged = HashSet::new();
        // Answers that some graders have given while others had still to be asked mean nothing yet.
        let is_part = |brief: &Brief| {
            brief.mark.outcome == Outcome::Ungraded && brief.kind != BriefKind::Attempt
        };
        self.each(|brief, _| {
            if is_part(&brief) {
                return;
            }
            if let BriefKind::Judgement { of } = brief.kind {
                judged.insert(of);
            }
        })?;
        let count = judged.len() as u64;
        let mut first: BTreeMap<u64, RejudgedAttempt> = BTreeMap::new();
        self.each(|brief, trial| {
            if is_part(&brief) {
                return;
            }
            let came_to = (session_of(self.manifest(), brief.seq), brief.mark.outcome);
            match brief.kind {
                BriefKind::Attempt if judged.contains(&brief.seq) && first.len() < most => {
                    let attempt = RejudgedAttempt {
                        trial,
                        came_to: vec![came_to],
                    };
                    first.insert(brief.seq, attempt);
                }
                BriefKind::Attempt => {}
                BriefKind::Judgement { of } => {
                    if let Some(attempt) = first.get_mut(&of) {
                        attempt.came_to.push(came_to);
                    }
                }
            }
        })?;
        let first = first.into_values().collect();
        Ok(RejudgedAttempts { first, count })
    }

    fn each(&self, mut see: impl FnMut(Brief, String)) -> Result<(), RecordError> {
        let mut rows: Rows<(Brief, String)> = self.named_lines();
        while let Some(line) = rows.next_line() {
            match line {
                Ok(RowsLine::Attempt((brief, trial))) => see(brief, trial),
                Ok(RowsLine::Judgement(brief)) => see(brief, String::new()),
                Err(LineError::Damaged { .. }) => {}
                Err(LineError::Io(source)) => return Err(self.rows_failed(source)),
            }
        }
        Ok(())
    }
}

/// The session that wrote the line with this number.
fn session_of(manifest: &Manifest, seq: u64) -> u32 {
    let sessions = manifest.sessions.iter().rev();
    let mut before = sessions.skip_while(|session| session.from_seq >= seq);
    before.next().map_or(1, |session| session.n)
}
