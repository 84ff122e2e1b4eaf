//! [`FollowTrials`]: what is said in the attempts of trials that somebody follows.

use owo_colors::OwoColorize as _;

use super::{Output, Reader, attempt_logs::record, failure, format, runs, wrap};
use crate::{record::Said, session::SeenOfTrial, view::AttemptName};

/// What is said in the attempts of trials, line by line.
pub struct FollowTrials {
    output: Output,
    /// The attempt that the last line was said in.
    speaker: Option<AttemptName>,
}

impl FollowTrials {
    /// Begins to tell.
    pub fn new(output: Output) -> Self {
        Self {
            output,
            speaker: None,
        }
    }

    /// Tells what is seen of them.
    pub fn see(&mut self, seen: &SeenOfTrial<'_>) -> Reader {
        match seen {
            SeenOfTrial::Said { name, said } => self.said(name, said),
            SeenOfTrial::Ended(row) => {
                self.speaker = None;
                self.feed(&(runs::row_text(row) + "\n"))
            }
            SeenOfTrial::Damaged(error) => {
                self.output.warn(&error.to_string());
                Reader::Here
            }
            SeenOfTrial::UpToDate => self.output.reader(),
        }
    }

    fn said(&mut self, name: &AttemptName, said: &Said) -> Reader {
        let mut text = String::new();
        if self.speaker.as_ref() != Some(name) {
            text += &failure::attempt_name(name);
            text.push('\n');
            self.speaker = Some(name.clone());
        }
        for line in said.log.lines() {
            text += &format!("    {}\n", record(line));
        }
        for (stream, lines) in [("stdout", &said.stdout), ("stderr", &said.stderr)] {
            for line in lines.lines() {
                let line = format::visible_line(line);
                text += &format!("    {} {line}\n", stream.dimmed());
            }
        }
        self.feed(&text)
    }

    fn feed(&self, text: &str) -> Reader {
        self.output
            .feed(&wrap::wrapped(text, self.output.columns()))
    }
}
