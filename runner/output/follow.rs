//! [`Follow`]: what is told of a run that another process works on.

use std::mem;

use super::{Output, Reader, events, next, runs};
use crate::{
    record::{Conclusion, Row, RunEntry},
    session::SeenRow,
    view::{EventLine, StreamEvent},
};

/// How much text is printed at once where there is more.
const PIECE_BYTES: usize = 64 * 1024;

/// The rows and the end of a run that another process works on.
pub struct Follow {
    output: Output,
    is_json: bool,
    /// What is not printed yet: each row on its own would cost more than everything else that is done with it.
    unprinted: Vec<u8>,
    /// Lines of the event stream so far.
    lines: u64,
}

impl Follow {
    /// Begins to tell, as JSON Lines or as text.
    pub fn new(output: Output, is_json: bool) -> Self {
        Self {
            output,
            is_json,
            unprinted: Vec::new(),
            lines: 0,
        }
    }

    /// Tells what is seen of the rows.
    pub fn see(&mut self, seen: &SeenRow<'_>) -> Reader {
        match seen {
            SeenRow::Row(row) => self.row(row),
            SeenRow::Damaged(error) => {
                let reader = self.flush();
                self.output.warn(&error.to_string());
                reader
            }
            SeenRow::UpToDate => match self.flush() {
                Reader::Here => self.output.reader(),
                Reader::Gone => Reader::Gone,
            },
        }
    }

    /// Tells a row. It may be seen only when [`Follow::flush`] is called.
    fn row(&mut self, row: &Row<'_>) -> Reader {
        if self.is_json {
            self.emit(StreamEvent::Row { row });
        } else {
            self.unprinted
                .extend_from_slice(runs::row_text(row).as_bytes());
            self.unprinted.push(b'\n');
        }
        match self.unprinted.len() < PIECE_BYTES {
            true => Reader::Here,
            false => self.flush(),
        }
    }

    /// Prints what was told.
    pub fn flush(&mut self) -> Reader {
        let unprinted = mem::take(&mut self.unprinted);
        match (unprinted.is_empty(), self.is_json) {
            (true, _) => Reader::Here,
            (false, true) => self.output.bytes(&unprinted),
            (false, false) => self.output.feed(&String::from_utf8_lossy(&unprinted)),
        }
    }

    /// Tells how the run ended, and the command that goes on with it, if anything is left.
    pub fn finish(mut self, run: &RunEntry, resume: Option<&str>) {
        if !self.is_json {
            if let Some(resume) = resume {
                self.output.talk(&next::resume_line(resume));
            }
            self.output.talk(&runs::headline(&run.id, run));
            return;
        }
        let conclusion = Conclusion::from(run);
        let run_dir = conclusion.run_dir.to_string_lossy();
        self.emit(events::finished(&conclusion, &run_dir, None));
        self.flush();
    }

    fn emit(&mut self, event: StreamEvent<'_>) {
        self.lines += 1;
        EventLine::write(self.lines, event, &mut self.unprinted);
    }
}
