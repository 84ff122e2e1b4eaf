//! [`Follow`]: what is told of a run that another process works on.

use serde_json::value::RawValue;

use super::{Output, Reader, events, next, runs};
use crate::{
    record::{Conclusion, Row, RunEntry},
    view::{EventLine, StreamEvent},
};

/// The rows and the end of a run that another process works on.
pub struct Follow {
    output: Output,
    is_json: bool,
    /// Lines of the event stream so far.
    lines: u64,
}

impl Follow {
    /// Begins to tell, as JSON Lines or as text.
    pub fn new(output: Output, is_json: bool) -> Self {
        Self {
            output,
            is_json,
            lines: 0,
        }
    }

    /// Tells a row; `line` is its line of `index.jsonl`.
    pub fn row(&mut self, row: &Row<'_>, line: &[u8]) -> Reader {
        if self.is_json {
            let row: &RawValue = serde_json::from_slice(line).expect("a row is valid JSON");
            return self.emit(StreamEvent::Row { row });
        }
        self.output.feed(&format!("{}\n", runs::row_text(row)))
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
    }

    fn emit(&mut self, event: StreamEvent<'_>) -> Reader {
        let mut text = Vec::new();
        self.lines += 1;
        EventLine::write(self.lines, event, &mut text);
        self.output.bytes(&text)
    }
}
